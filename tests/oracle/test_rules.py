"""Compares the oracle with the examples of the billing page, and with Kafka's vectors."""

import io
import json
import pathlib

import fastavro
import pytest

from oracle import avro, rules

BOOK = (pathlib.Path(__file__).resolve().parents[2] / "pricing" / "pricebooks" / "apcas.yaml").read_bytes()
FIRST_DAY = rules.day_of(1_762_000_000_000)
NOON = rules.start_of(FIRST_DAY) + 12 * 3_600_000
ROW = {"from_day": None, "grace": 300_000, "late_days": 7, "tolerance": 300_000, "share": 10_000,
       "refused_share": 200_000, "credit_days": 400, "package_left": [0, 20, 5], "expiring_days": [1, 7, 365],
       "balance_below": [1000]}


def one_day(calls=(), purchases=(), credits=()):
    """A shard that has settled one day of these records."""
    schemas, records = {}, {}
    for number, (log, each) in enumerate(zip(rules.LOGS, (calls, purchases, credits)), 1):
        text = (avro.SCHEMAS / f"{rules.RECORDS[log]}.avsc").read_text()
        schema = fastavro.parse_schema(json.loads(text))
        schemas[number] = text
        records[log] = {0: []}
        for offset, record in enumerate(each):
            out = io.BytesIO()
            fastavro.schemaless_writer(out, schema, {"account_id": "a", **record})
            records[log][0].append(rules.Record(offset, NOON, b"a", b"\0" + number.to_bytes(4, "big") + out.getvalue()))
    world = rules.World(first_day=FIRST_DAY, partitions=1, topics={log: log for log in rules.LOGS}, records=records,
                        schemas=schemas, books=[BOOK], parameter_rows=[ROW])
    world.drain(rules.start_of(FIRST_DAY + 1) + 300_000, {log: [len(records[log][0])] for log in rules.LOGS})
    return world.shards[0]


def call(number, leads=None):
    return {"call_id": str(number), "service": "AUDIENCE_INSIGHT" if leads is None else "PURCHASE_INTENT",
            "lead_count": leads, "occurred_at": NOON}


def test_the_example_of_the_billing_page():  # R6
    shard = one_day([call(n, 8000) for n in range(3)])
    assert [s["amount"] for s in shard.settlements] == [24_000_000]
    assert shard.settlements[0]["lines"][0]["units"] == 24_000
    assert shard.settlements[0]["status"] == "SUSPENDED"


@pytest.mark.parametrize("leads, fen", [
    (0, 0), (9_999, 9_999_000), (10_000, 8_000_000), (20_000, 10_000_000), (50_000, 20_000_000), (100_000, 30_000_000),
    (500_000, 125_000_000)])
def test_tiers(leads, fen):  # R6, R7
    assert one_day([call(1, leads)]).settlements[0]["amount"] == fen


def test_a_package_covers_in_part():  # R16, R20
    bought = {"purchase_id": "p", "service": "PURCHASE_INTENT", "units": 10_000, "used": 4_000, "amount": 7_000_000,
              "currency": "CNY", "purchased_at": NOON - 1}
    shard = one_day([call(1, 20_000)], [bought])
    assert [(line["charge"], line["units"], line["amount"]) for line in shard.settlements[0]["lines"]] == [
        ("PACKAGE", 6_000, 0), ("POSTPAID", 14_000, 7_000_000)]


def test_zero_is_no_arrears():  # R34
    top_up = {"credit_id": "c", "kind": "TOP_UP", "amount": 220_000, "currency": "CNY", "credited_at": NOON}
    assert one_day([call(1)], credits=[top_up]).status_changes == []


@pytest.mark.parametrize("key, number", [
    (b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829), (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107)])
def test_murmur2_is_that_of_kafka(key, number):  # R41
    """The vectors of Kafka's own UtilsTest."""
    assert rules.murmur2(key) == number & 0x7FFFFFFF


def test_leap_day_goes_to_the_28th():  # R12
    leap = 1_709_175_600_000  # 2024-02-29T11:00+08:00
    assert rules.date_of(rules.day_of(rules.a_year_later(leap))).isoformat() == "2025-02-28"
    assert rules.a_year_later(leap) - leap == 365 * rules.DAY


def top_up(number, when=NOON):
    return {"credit_id": str(number), "kind": "TOP_UP", "amount": 220_000, "currency": "CNY", "credited_at": when}


def test_ten_credits_of_another_time_hold_the_day():  # R50
    shard = one_day(credits=[top_up(n) for n in range(10)] + [top_up(n, NOON - 1) for n in range(9)])
    assert (shard.held, shard.day) == (False, FIRST_DAY + 1)
    shard = one_day(credits=[top_up(n) for n in range(10)] + [top_up(n, NOON - 1) for n in range(10)])
    assert (shard.held, shard.day) == (True, FIRST_DAY)
    assert shard.hold_rows == [(0, FIRST_DAY, "credits", "refused", 10, 20, 20)]


def test_a_credit_of_401_days_ago_is_too_late():  # R59
    shard = one_day(credits=[top_up(1, NOON - 400 * rules.DAY), top_up(2, NOON - 401 * rules.DAY)])
    assert [each["reason"] for each in shard.rejects] == ["TOO_LATE"]


def test_what_account_holders_are_told():  # R63, R64, R65, R66, R67
    def bought(name, used, ends):
        return {"purchase_id": name, "service": "AUDIENCE_INSIGHT", "units": 50, "used": used, "amount": 10_000_000,
                "currency": "CNY", "purchased_at": ends - 365 * rules.DAY}

    midnight = rules.start_of(FIRST_DAY + 1)
    shard = one_day([call(1), call(2, 220)], [
        bought("drawn", 49, NOON + 1), bought("ended", 10, NOON), bought("used", 50, NOON), bought("ends", 0, midnight),
        bought("later", 0, midnight + 1), bought("began", 0, rules.start_of(FIRST_DAY)), bought("b", 0, midnight + 7 * rules.DAY)],
        [top_up(1)])
    told = [(body["kind"], body["package_id"], body["threshold"]) for kind, body in shard.outputs if kind == "notices"]
    assert told == [("PACKAGE_LOW", "drawn", 0), ("PACKAGE_EXPIRING", "ends", 1), ("PACKAGE_EXPIRING", "later", 1),
                    ("PACKAGE_EXPIRED", "ended", None), ("PACKAGE_EXPIRED", "ends", None), ("BALANCE_LOW", None, 1000)]
    assert [kind for kind, _ in shard.outputs] == ["settlements", *["notices"] * 6, "day_closes"]
