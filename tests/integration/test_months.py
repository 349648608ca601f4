"""Month statements: what belongs to a month, what they add up to, that they are written once and in which place, and that an
audit finds one fen in them."""

import io
import json
import os

import confluent_kafka
import fastavro
import psycopg
import pytest
from deployment import SCHEMAS, Deployment, at
from test_audit import database, tampered

INSIGHT, LEAD, PACK = 220000, 1000, 7000000  # fen
PAYERS = 1100  # more than one page, whichever shards they are in
NOVEMBER = "2026-11-30"  # its last day


def adjust(d, account, credit_id, amount, credited_at):
    d.send("credits", {"credit_id": credit_id, "account_id": account, "kind": "ADJUSTMENT", "amount": amount, "currency": "CNY",
                       "credited_at": credited_at, "reason": None, "reference": None}, credited_at + 1000)


@pytest.fixture(scope="module")
def world(settled, brokers, tmp_path_factory):
    with database(os.environ["SETTLED_TEST_DSN"]) as dsn:
        d = Deployment(settled, brokers, dsn, tmp_path_factory.mktemp("months"), partitions=2, workers=2,
                       first_day="2026-11-29")
        fill(d)
        yield d
        d.close()


def fill(d):
    d.purchase("holder", "pack", "PURCHASE_INTENT", 10000, PACK, at("2026-11-29", "08:00:00"))
    d.top_up("holder", "k1", 1000000, at("2026-11-29", "09:00:00"))
    d.call("holder", "c1", at("2026-11-29", "10:00:00"), leads=4000)
    d.call("holder", "c2", at("2026-11-30", "10:00:00"), leads=8000)
    d.call("holder", "c3", at("2026-11-30", "11:00:00"))
    d.purchase("buyer", "pack", "PURCHASE_INTENT", 10000, PACK, at("2026-11-30", "08:00:00"))
    adjust(d, "debtor", "k1", -5, at("2026-11-29", "09:00:00"))
    # Behind the cutoff, whatever its own time: it belongs to December, and so does the resumption.
    d.top_up("holder", "k2", 5000000, at("2026-11-30", "23:00:00"), timestamp=at("2026-12-01", "00:06:00"))
    d.purchase("later", "pack", "PURCHASE_INTENT", 10000, PACK, at("2026-11-30", "23:00:00"), timestamp=at("2026-12-01", "00:06:00"))
    d.call("late", "c1", at("2026-11-30", "12:00:00"), timestamp=at("2026-12-01", "00:07:00"))
    for number in range(PAYERS):
        d.top_up(f"payer-{number:04}", "k1", number + 1, at("2026-11-29", "12:00:00"))
    d.flush()
    d.drain("2026-12-01T00:10:00+08:00")
    d.first = statements(d)
    d.drain("2027-01-01T00:10:00+08:00", seconds=300)


def statements(d):
    return {body["statement_id"]: body for _, _, _, body in d.read("statements")}


def told(statement, *names):
    return tuple(statement[name] for name in names)


# R75
def test_a_month_adds_up_what_lies_within_its_cutoffs(world):
    found = statements(world)
    money = ("opening_balance", "credits", "adjustments", "amount", "closing_balance", "status")
    holder = found["holder/2026-11"]
    assert told(holder, *money) == (0, 1000000, 0, 2000 * LEAD + INSIGHT, -1220000, "SUSPENDED")
    assert told(holder, "settlements", "calls", "packages_bought", "packages_amount", "currency", "month") == (
        2, 3, 1, PACK, "CNY", "2026-11")
    line = {"package_id": None, "tier_from": None}
    assert holder["lines"] == [
        {**line, "service": "AUDIENCE_INSIGHT", "charge": "POSTPAID", "unit_price": INSIGHT, "calls": 1, "units": 1,
         "amount": INSIGHT},
        {**line, "service": "PURCHASE_INTENT", "charge": "PACKAGE", "package_id": "pack", "unit_price": 0, "calls": 2,
         "units": 10000, "amount": 0},
        {**line, "service": "PURCHASE_INTENT", "charge": "POSTPAID", "tier_from": 0, "unit_price": LEAD, "calls": 1,
         "units": 2000, "amount": 2000 * LEAD}]
    assert told(found["holder/2026-12"], *money) == (-1220000, 5000000, 0, 0, 3780000, "ACTIVE")
    assert told(found["buyer/2026-11"], *money, "packages_bought", "lines") == (0, 0, 0, 0, 0, "ACTIVE", 1, [])
    assert told(found["debtor/2026-11"], *money) == (0, 0, -5, 0, -5, "ACTIVE")
    assert "later/2026-11" not in found and found["later/2026-12"]["packages_bought"] == 1
    assert "late/2026-11" not in found
    assert told(found["late/2026-12"], "calls", "amount", "closing_balance", "status") == (1, INSIGHT, -INSIGHT, "SUSPENDED")
    assert len(found) == PAYERS + 6


def test_each_stands_once_in_its_place_and_stays(world):
    found = world.read("statements")
    for partition in range(world.partitions):
        closes = {str(b["business_day"]): b["sequence"] for p, _, _, b in world.read("day_closes") if p == partition}
        mine = sorted((b["sequence"], b["account_id"]) for p, _, _, b in found if p == partition and b["month"] == "2026-11")
        assert [account for _, account in mine] == sorted(account for _, account in mine)
        assert closes[NOVEMBER] < mine[0][0] and mine[-1][0] < closes["2026-12-01"]
    assert len({b["statement_id"] for _, _, _, b in found}) == len(found)
    assert {key: body for key, body in statements(world).items() if key.endswith("11")} == world.first
    assert world.sql("select sum(amount)::bigint, sum(calls)::int from settled.month_statements") == world.sql(
        "select sum(amount)::bigint, sum(calls)::int from settled.settlements")
    assert world.sql("select count(*) from settled.month_statements where closing_balance <> opening_balance + credits"
                     " + adjustments - amount") == [(0,)]
    rows = world.sql("select statement_id, opening_balance, credits, amount, closing_balance, packages_amount, sequence"
                     " from settled.month_statements order by statement_id collate \"C\"")
    names = ("statement_id", "opening_balance", "credits", "amount", "closing_balance", "packages_amount", "sequence")
    assert rows == sorted((told(body, *names) for body in statements(world).values()), key=lambda row: row[0].encode())
    world.check_published()


@pytest.mark.parametrize("window", [(), ("--from", "2026-12-01"), ("--from", "2026-11-30", "--to", "2026-12-01"),
                                    ("--account", "holder")])
@pytest.mark.parametrize("table, column, account", [("month_statements", "packages_amount", "holder"),
                                                    ("month_statement_lines", "amount", "holder")])
def test_one_fen_is_found(world, window, table, column, account):
    with tampered(world, table, f"update settled.{table} set {column} = {column} + 1 where account_id = '{account}'"
                                f" and business_day = '{NOVEMBER}'"):
        found = json.loads(world.audit("--format", "json", *window, status=1))
    assert {(d["where"], d["field"]) for d in found["differences"]} == {(table, column)}, found["differences"][:4]
    world.audit(*window)


def test_rows_that_do_not_add_up_make_no_statement(settled, brokers, dsn, tmp_path):
    """Somebody has changed a settlement of a month that is not over."""
    d = Deployment(settled, brokers, dsn, tmp_path, partitions=1, workers=1, first_day="2026-11-29")
    d.call("acme", "c1", at("2026-11-29", "10:00:00"))
    d.flush()
    d.drain("2026-11-30T00:10:00+08:00")
    with psycopg.connect(d.dsn) as connection:
        connection.execute("update settled.settlement_lines set amount = amount + 1, unit_price = unit_price + 1")
    ended = d.drain("2026-12-01T00:10:00+08:00", status=78)
    assert "the recorded rows of account acme do not add up in 2026-11: settled audit shows which were changed" in ended.log
    assert d.sql("select count(*) from settled.month_statements") == [(0,)]
    d.close()


def test_a_changed_message_is_found(world):
    """The last test: a message cannot be taken back."""
    [(partition, key, headers, body)] = [each for each in world.read("statements") if each[3]["statement_id"] == "holder/2026-11"]
    changed = io.BytesIO()
    fastavro.schemaless_writer(changed, world.schemas["MonthStatement"], {**body, "amount": body["amount"] + 1})
    producer = confluent_kafka.Producer({"bootstrap.servers": world.brokers})
    producer.produce(world.topics["statements"], world.head(SCHEMAS["MonthStatement"]) + changed.getvalue(), key, partition, headers=list(headers.items()))
    assert producer.flush(30) == 0
    found = json.loads(world.audit("--format", "json", status=1))
    assert any("statements" in d["where"] for d in found["differences"]), found["differences"][:4]
