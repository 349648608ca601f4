"""Partitions that come to a topic, or go: noticed before anything is judged by them, and told with what helps."""

import time

import confluent_kafka
import pytest
from deployment import OUTPUTS, at

DAY = "2026-11-01"
OPEN, AFTER = "2026-11-01T13:00:00+08:00", "2026-11-02T00:10:00+08:00"
NOON = at(DAY, "12:00:00")
ACCOUNTS = [f"account-{n:02}" for n in range(40)]
COUNT = 2


def make_again(d, key, count):
    d.delete_topics([key])
    before, d.partitions = d.partitions, count
    d._make_topics([key])
    d.partitions = before


def send_calls(d, prefix, producer=None):
    d.producer, kept = producer or d.producer, d.producer
    for account in ACCOUNTS:
        d.call(account, prefix, NOON)
    d.flush()
    d.producer = kept


def judged(process):
    return process.metric("settled_records_total", result="accepted")


def ends_with_the_remedy(d, process, key, count):
    began = time.monotonic()
    assert process.wait(40) == 78
    assert time.monotonic() - began < 30
    said = f"topic {d.topics[key]} has {count} partitions, but this deployment has {COUNT}, and its count never changes"
    assert said in process.log
    for verb in (["check"], ["run", "--drain", "--clock", OPEN]):
        assert said in d.run(*verb, status=78)


@pytest.fixture
def running(deploy):
    """A deployment whose process has read what was sent."""
    d = deploy(partitions=COUNT, workers=1)
    send_calls(d, "first")
    process = d.start("--clock", OPEN)
    d.until(lambda: judged(process) == len(ACCOUNTS), process)
    return d, process


@pytest.mark.parametrize("key", ["calls", "purchases", "credits", *OUTPUTS])
def test_partitions_that_are_added(running, key):
    d, process = running
    d.add_partitions(key, COUNT + 1)
    # A producer that has just found them sends by the new count.
    send_calls(d, "second", confluent_kafka.Producer({"bootstrap.servers": d.brokers, "partitioner": "murmur2_random"}))
    ends_with_the_remedy(d, process, key, COUNT + 1)
    assert d.sql("select count(*)::int from settled.rejects") == [(0,)]


@pytest.mark.parametrize("count", [COUNT + 2, COUNT - 1])
def test_a_topic_that_is_made_again_with_another_count(running, count):
    d, process = running
    make_again(d, "credits", count)
    ends_with_the_remedy(d, process, "credits", count)
    assert d.sql("select count(*)::int from settled.rejects") == [(0,)]


def test_a_record_in_the_wrong_partition_is_rejected_once_the_count_was_looked_at(running):
    d, process = running
    for account in ACCOUNTS:
        d.send("calls", {"call_id": "astray", "account_id": account, "service": "AUDIENCE_INSIGHT", "lead_count": None,
                         "occurred_at": NOON, "request_id": None}, NOON + 1000, partition=0)
    d.flush()
    d.until(lambda: judged(process) + process.metric("settled_rejects_total", reason="MISROUTED") == 2 * len(ACCOUNTS), process)
    astray = process.metric("settled_rejects_total", reason="MISROUTED")
    assert 0 < astray < len(ACCOUNTS)
    assert process.metric("settled_log_waiting") == 0
    assert process.stop() == 0
    d.drain(AFTER)
    d.check_published()
