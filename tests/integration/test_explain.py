"""explain: a settled day is folded again, and every line is traced down to its calls."""

import json
import subprocess

import confluent_kafka.admin
import psycopg
import pytest
from deployment import Deployment, at

ACCOUNT = "acme"


@pytest.fixture
def world(settled, brokers, dsn, tmp_path):
    """Three days of one account: a package in part, a late call, a duplicate, a conflict, arrears and a resumption."""
    d = Deployment(settled, brokers, dsn, tmp_path, partitions=2, workers=1)
    d.purchase(ACCOUNT, "package-1", "PURCHASE_INTENT", 10000, 7000000, at("2026-11-01", "01:00:00"))
    d.call(ACCOUNT, "early", at("2026-11-01", "00:30:00"), leads=100)
    d.call(ACCOUNT, "covered", at("2026-11-01", "02:00:00"), leads=9000)
    d.call(ACCOUNT, "covered", at("2026-11-01", "02:00:00"), leads=9000)
    d.call(ACCOUNT, "covered", at("2026-11-01", "02:00:00"), leads=9001)
    d.call("another", "covered", at("2026-11-01", "02:00:00"))
    d.call(ACCOUNT, "next day's, within the tolerance", at("2026-11-02", "00:03:00"),
           timestamp=at("2026-11-01", "23:59:00"))
    d.flush()
    d.drain("2026-11-02T00:05:00+08:00")
    d.call(ACCOUNT, "late", at("2026-11-01", "03:00:00"), leads=12000, timestamp=at("2026-11-02", "08:00:00"))
    d.call(ACCOUNT, "suspended", at("2026-11-02", "09:00:00"), request="req\x1b-1")
    d.top_up(ACCOUNT, "top-up-1", 200000, at("2026-11-02", "10:00:00"))
    d.call(ACCOUNT, "served again", at("2026-11-02", "11:00:00"))
    d.flush()
    d.drain("2026-11-03T00:05:00+08:00")
    yield d
    d.close()


def explain(world, day, *arguments, account=ACCOUNT):
    return subprocess.run([world.settled, "explain", "-c", world.config, account, day, *arguments],
                          capture_output=True, text=True, timeout=60, check=False)


def pieces(line):
    return [(piece["call_id"], piece["units"]) for piece in line["pieces"]]


def test_every_line_is_traced_to_its_calls(world):
    done = explain(world, "2026-11-01", "--format", "json")
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)
    assert [(l["charge"], l["units"], l["amount"], pieces(l)) for l in first["lines"]] == [
        ("PACKAGE", 9000, 0, [("covered", 9000)]),
        ("POSTPAID", 100, 100000, [("early", 100)])]
    assert (first["amount"], first["closing_balance"], first["status"]) == (100000, -100000, "SUSPENDED")

    done = explain(world, "2026-11-02", "--format", "json")
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    assert [(l["usage_day"], l["charge"], l["tier_from"], l["amount"], pieces(l)) for l in second["lines"]] == [
        ("2026-11-01", "PACKAGE", None, 0, [("late", 1000)]),
        ("2026-11-01", "POSTPAID", 10000, 8800000, [("late", 11000)]),
        ("2026-11-02", "POSTPAID", None, 660000, [("next day's, within the tolerance", 1), ("suspended", 1),
                                                  ("served again", 1)])]
    assert second["calls_while_suspended"] == 2
    assert [piece["request_id"] for piece in second["lines"][2]["pieces"]] == [None, "req\x1b-1", None]
    assert second["credits"] == 200000
    [bought] = world.sql("select units, amount from settled.packages where account_id = 'acme'")
    assert [(line["package_units"], line["package_amount"]) for line in second["lines"]] == [
        bought, (None, None), (None, None)]


def test_people_read_the_same(world):
    done = explain(world, "2026-11-02")
    assert done.returncode == 0, done.stderr
    for words in ("settlement acme/2026-11-02", "88,000.00", "late", "served again", "2 of them while suspended", "suspended  request req.-1\n",
                  "equal to what is recorded"):
        assert words in done.stdout, done.stdout


def test_a_changed_row_is_refused(world):
    with psycopg.connect(world.dsn) as connection:
        connection.execute("update settled.settlement_lines set units = units + 1 where charge = 'POSTPAID'")
    done = explain(world, "2026-11-01")
    assert done.returncode == 78
    assert "acme/2026-11-01: line 2 is recorded with 101 units" in done.stderr
    assert "; the database or the topics were changed after the fact, see the runbook" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("account, day, status, words", [
    (ACCOUNT, "2026-11-03", 78, "has not settled 2026-11-03"),
    (ACCOUNT, "2026-13-01", 64, "'2026-13-01' is not a day"),
    ("nobody", "2026-11-01", 64, "account nobody has no settlement of 2026-11-01"),
])
def test_what_cannot_be_explained_says_why(world, account, day, status, words):
    done = explain(world, day, account=account)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr


def test_a_day_whose_calls_have_expired_says_so(world):
    """Retention took the calls away. What is recorded is as it was, but cannot be traced."""
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": world.brokers})
    topic = world.topics["calls"]
    partition = world.sql("select shard from settled.accounts where account_id = %s", ACCOUNT)[0][0]
    for each in admin.delete_records([confluent_kafka.TopicPartition(topic, partition, 2)]).values():
        each.result(30)
    done = explain(world, "2026-11-01")
    assert (done.returncode, done.stdout) == (78, "")
    assert (f"{topic}/{partition} begins at offset 2 now, and is needed from offset 0 on: its older records have expired"
            " or were deleted; restore them, from a mirror that keeps offsets") in done.stderr
