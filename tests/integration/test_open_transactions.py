"""Transactions that producers leave open in the inputs: the end of a day waits for them, and says so."""

import json
import re
import uuid

import confluent_kafka
import pytest
from deployment import at

DAY = "2026-11-01"
BEFORE_MIDNIGHT = "2026-11-01T23:59:00+08:00"
SPEED = "120"  # 24:00 and the grace are over after 3 s
INSIGHT = 220000


class Transaction:
    """One that stays open until it is ended, or given up."""

    def __init__(self, deployment, key):
        self.topic = deployment.topics[key]
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": deployment.brokers, "transactional.id": f"open-{uuid.uuid4().hex}",
            "transaction.timeout.ms": 300000})
        self.producer.init_transactions(30)
        self.producer.begin_transaction()

    def send(self, value, account, timestamp, partition=0):
        self.producer.produce(self.topic, value, account, partition=partition, timestamp=timestamp)
        assert self.producer.flush(30) == 0


@pytest.fixture
def shop(deploy):
    """One partition, an account that owes a call, and a configuration that waits for 20 s."""
    d = deploy(partitions=1, workers=1)
    config = json.loads(d.config.read_text())
    config["run"]["open_transaction_wait"] = "20s"
    d.config.write_text(json.dumps(config))
    d.call("a", "c-1", at(DAY, "10:00:00"))
    d.flush()
    return d


def closes(d):
    return d.sql("select cut_by, to_offset from settled.day_cutoffs where topic = %s and business_day = %s",
                 d.topics["credits"], DAY)


def test_top_ups_behind_an_open_transaction_count_for_their_day(shop):
    hanging = Transaction(shop, "credits")
    hanging.send(b"x", "a", at(DAY, "11:00:00"))
    shop.top_up("a", "t-1", INSIGHT, at(DAY, "12:00:00"))
    shop.flush()
    process = shop.start("--clock", BEFORE_MIDNIGHT, "--speed", SPEED)
    shop.until(lambda: process.metric("settled_day_state", state="closing") == 1, process)
    shop.until(lambda: process.metric("settled_log_open_transaction_seconds", topic=shop.topics["credits"]) >= 5, process)
    assert process.metric("settled_log_open_transaction_seconds", topic=shop.topics["calls"]) == 0
    assert process.metric("settled_log_lag_seconds", topic=shop.topics["credits"]) >= 5
    assert closes(shop) == []
    hanging.producer.abort_transaction(30)
    shop.until(lambda: closes(shop) != [], process)
    assert closes(shop) == [("CLOCK", 3)]  # the aborted record, the top-up and the marker
    assert shop.sql("select status, balance from settled.accounts") == [("ACTIVE", 0)]
    assert shop.sql("select credits, closing_balance, status from settled.settlements") == [(INSIGHT, 0, "ACTIVE")]
    shop.until(lambda: process.metric("settled_log_open_transaction_seconds") == 0, process)
    assert process.stop() == 0
    shop.check_published()


def test_a_transaction_that_nobody_ends_is_told_of_and_does_not_stop_the_day(shop):
    hanging = Transaction(shop, "credits")
    hanging.send(b"x", "a", at(DAY, "11:00:00"))
    shop.top_up("a", "t-1", INSIGHT + 1, at(DAY, "12:00:00"))
    shop.flush()
    process = shop.start("--clock", BEFORE_MIDNIGHT, "--speed", SPEED)
    said = process.await_line(r"level=warn .*a transaction stays open, and the day is cut before it.* "
                              rf"topic={shop.topics['credits']} partition=0 offset=0 end=2 age_s=(\d+)")
    assert 20 <= int(said.group(1)) <= 30
    shop.until(lambda: closes(shop) != [], process)
    assert closes(shop) == [("CLOCK", 0)]
    assert shop.sql("select status, balance from settled.accounts") == [("SUSPENDED", -INSIGHT)]
    process.await_line(rf"level=warn .*a transaction is open: what lies behind its first record cannot be read until its producer ends it.* topic={shop.topics['credits']} partition=0 offset=0", 70)
    shop.until(lambda: process.get("/healthz/ready")[0] == 503, process)
    reason = process.get("/healthz/ready")[1]
    found = re.search(rf"{shop.topics['credits']}/0: a transaction has been open for (\d+) s, .* offset 0 ", reason)
    assert found and int(found.group(1)) >= 60, reason
    hanging.producer.abort_transaction(30)
    process.await_ready()
    process.await_line("the open transaction has ended, its log goes on")
    shop.until(lambda: shop.sql("select status, balance from settled.accounts") == [("ACTIVE", 1)], process)
    assert process.stop() == 0
    shop.check_published()


def test_calls_behind_an_open_transaction_are_late_and_a_drain_warns(shop):
    hanging = Transaction(shop, "calls")
    hanging.send(b"x", "a", at(DAY, "11:00:00"))
    shop.call("a", "c-2", at(DAY, "12:00:00"))
    shop.flush()
    process = shop.drain("2026-11-02T00:10:00+08:00")
    assert re.search(rf"level=warn .*the drain ends before it.* topic={shop.topics['calls']} partition=0 offset=1 end=3",
                     process.log)
    assert shop.sql("select calls::int from settled.settlements") == [(1,)]
    hanging.producer.abort_transaction(30)
    shop.drain("2026-11-03T00:10:00+08:00")
    assert shop.sql("select business_day::text, usage_day::text, calls::int from settled.settlement_lines order by 1") == [
        (DAY, DAY, 1), ("2026-11-02", DAY, 1)]
    shop.check_published()
