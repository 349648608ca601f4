"""A first start on topics that are months old: what can bill nothing is left, and where each log begins is recorded."""

import re

import confluent_kafka
import confluent_kafka.admin
from deployment import at

FIRST = "2026-11-01"
AFTER = "2026-11-02T00:10:00+08:00"
LATER = "2026-11-03T00:10:00+08:00"
HOUR = 3_600_000
INSIGHT = 220000
ACCOUNTS = [f"account-{n:02}" for n in range(8)]


def begins(d):
    """Where each shard's logs begin, by topic."""
    names = {topic: key for key, topic in d.topics.items()}
    found = {key: {} for key in ("calls", "purchases", "credits")}
    for topic, shard, offset in d.sql("select topic, shard, from_offset from settled.day_cutoffs where business_day = %s",
                                      FIRST):
        found[names[topic]][shard] = offset
    return found


def ends(d, key):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": "ends"})
    found = {p: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(d.topics[key], p), 30)[1]
             for p in range(d.partitions)}
    consumer.close()
    return found


def send_old_calls(d, count=12000):
    for n in range(count):
        d.call(ACCOUNTS[n % len(ACCOUNTS)], f"old-{n}", at("2026-08-01") + n * 600_000)
    d.flush()


def test_a_topic_that_is_months_old_drowns_nobody_in_rejects(deploy):
    """More than 10,000 calls that are too late stop a log; none of them is even read."""
    d = deploy(partitions=2)
    send_old_calls(d)
    for n, account in enumerate(ACCOUNTS):
        d.top_up(account, f"ancient-{n}", 100, at("2025-08-01"))  # more than 400 days before the first
        d.purchase(account, f"ancient-{n}", "AUDIENCE_INSIGHT", 50, 10_000_000, at("2025-08-01"))
    d.flush()
    old = {key: ends(d, key) for key in ("calls", "purchases", "credits")}
    for account in ACCOUNTS:
        d.top_up(account, "opening", 500_000, at("2026-06-01"))
        d.purchase(account, "bought", "AUDIENCE_INSIGHT", 50, 10_000_000, at("2026-06-01"))
        d.call(account, "late", at("2026-10-31", "23:50:00"), timestamp=at(FIRST) - 5 * 60_000)  # the first that counts
        for n in range(3):
            d.call(account, f"new-{n}", at(FIRST, "10:00:00") + n)
    d.flush()
    process = d.drain(AFTER)
    assert begins(d) == old
    assert len(re.findall("the first day begins, what lies before it in the logs is left", process.log)) == 2
    assert d.sql("select distinct reason, record_id from settled.rejects") == [("TOO_LATE", "late")]
    assert d.sql("select sum(calls)::int, sum(amount)::bigint from settled.settlements") == [(3 * len(ACCOUNTS), 0)]
    assert d.sql("select distinct remaining::int from settled.packages") == [(47,)]
    assert d.sql("select distinct balance from settled.accounts") == [(500_000,)]
    d.check_published()
    assert "10:00:00" in d.run("explain", ACCOUNTS[0], FIRST)
    # What is recorded rules from now on, whatever the logs would give.
    d.call(ACCOUNTS[0], "next", at("2026-11-02", "10:00:00"))
    d.flush()
    d.drain(LATER)
    assert begins(d) == old
    d.check_published()


def test_where_no_record_is_young_enough_the_logs_begin_at_their_ends(deploy):
    d = deploy(partitions=2)
    for n in range(50):
        d.call(ACCOUNTS[n % len(ACCOUNTS)], f"old-{n}", at("2026-08-01") + n)
    d.flush()
    old = {key: ends(d, key) for key in ("calls", "purchases", "credits")}
    d.drain(AFTER)
    assert begins(d) == old
    assert old["purchases"] == old["credits"] == {0: 0, 1: 0}  # empty logs
    assert d.sql("select count(*)::int from settled.rejects") == [(0,)]
    d.call(ACCOUNTS[0], "new", at("2026-11-02", "10:00:00"))
    d.flush()
    d.drain(LATER)
    assert d.sql("select sum(calls)::int from settled.settlements") == [(1,)]
    d.check_published()


def test_ends_of_transactions_are_no_records_of_the_first_day(deploy):
    """The broker's clock stamps them, today; the records around them are imported with the times that they have."""
    d = deploy(partitions=1)
    d.producer = confluent_kafka.Producer({"bootstrap.servers": d.brokers, "transactional.id": f"{d.name}-import"})
    d.producer.init_transactions(30)
    for n in range(40):
        d.producer.begin_transaction()
        d.call(ACCOUNTS[0], f"old-{n}", at("2026-08-01") + n)
        if n % 3:
            d.producer.commit_transaction(30)
        else:
            d.producer.flush(30)
            d.producer.abort_transaction(30)
    d.producer.begin_transaction()
    old = ends(d, "calls")
    d.call(ACCOUNTS[0], "new", at(FIRST, "10:00:00"))
    d.producer.commit_transaction(30)
    d.drain(AFTER)
    assert begins(d)["calls"] == old
    assert d.sql("select count(*)::int from settled.rejects") == [(0,)]
    d.check_published()


def test_processes_that_start_at_once_begin_a_log_once(deploy):
    d = deploy(partitions=4)
    send_old_calls(d, 400)
    old = ends(d, "calls")
    for account in ACCOUNTS:
        d.call(account, "new", at(FIRST, "10:00:00"))
    d.flush()
    processes = [d.start("--clock", AFTER) for _ in range(3)]
    d.until(lambda: d.sql("select count(*)::int from settled.day_closes") == [(4,)], *processes)
    for process in processes:
        process.stop()
    assert begins(d)["calls"] == old
    assert d.sql("select sum(calls)::int from settled.settlements") == [(len(ACCOUNTS),)]
    d.drain(AFTER)  # publishes what they had not yet
    d.check_published()


def test_a_log_that_was_trimmed_within_the_first_day_is_told_of(deploy):
    d = deploy(partitions=1)
    for n in range(10):
        d.call(ACCOUNTS[0], f"new-{n}", at(FIRST, "10:00:00") + n)
    d.flush()
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    for each in admin.delete_records([confluent_kafka.TopicPartition(d.topics["calls"], 0, 4)]).values():
        each.result(30)
    process = d.drain(AFTER)
    assert re.search(rf"level=warn .*the log begins within what is billed.* topic={d.topics['calls']} partition=0 offset=4",
                     process.log)
    assert begins(d)["calls"] == {0: 4}
    assert d.sql("select sum(calls)::int from settled.settlements") == [(6,)]
    d.check_published()
