"""What a wrong deployment sends must not close a day, suspend anybody, or keep a top-up from its account."""

import hashlib
import json
import re

import confluent_kafka
import confluent_kafka.admin
import fastavro
import psycopg
import psycopg.conninfo
import pytest

from deployment import at
from test_bad_input import add_schema, encode, framed

DAY, NEXT = "2026-11-01", "2026-11-02"
AFTER, LATER = f"{NEXT}T00:10:00+08:00", "2026-11-03T00:10:00+08:00"
MORNING, NOON = at(DAY, "09:00:00"), at(DAY, "12:00:00")
HELD = 75
DECIMAL = 60  # schema id


@pytest.fixture
def shop(deploy):
    return deploy(partitions=1, workers=1)


def held_line(process):
    lines = [line for line in process.log.splitlines() if "the day is held: too many rejects on a log" in line]
    assert len(lines) == 1, process.log[-5000:]
    return dict(re.findall(r'(\w+)=("[^"]*"|\S+)', lines[0]))


def holds(d):
    return d.sql("select topic, reasons, rejects, records from settled.holds order by 1, 2")


def statuses(d):
    return dict(d.sql("select status, count(*) from settled.accounts group by 1"))


def decimal_schema(d):
    """A writer whose amount is a decimal."""
    schema = {"type": "record", "name": "AccountCredit", "fields": [
        {"name": "credit_id", "type": "string"}, {"name": "account_id", "type": "string"},
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}},
        {"name": "currency", "type": "string"}, {"name": "credited_at", "type": "long"}]}
    add_schema(d, DECIMAL, schema)
    schema["fields"][2]["type"] = "bytes"
    return fastavro.parse_schema(schema)


def break_top_ups(d, count):
    schema = decimal_schema(d)
    for i in range(count):
        body = encode(schema, {"credit_id": f"c{i}", "account_id": f"a{i}", "amount": b"\x0f\x42\x40", "currency": "CNY",
                               "credited_at": MORNING})
        d.send_bytes("credits", framed(DECIMAL, body), MORNING + i, f"a{i}")
        d.call(f"a{i}", f"k{i}", NOON, leads=10)
    d.flush()


def accept_as_operator(d, count):
    """By somebody who may ask and do nothing else. Returns how the next close must name the decision."""
    config, topic = d.config, d.topics["credits"]
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute("do $$ begin if to_regrole('\"settled test ops\"') is null then"
                           ' create role "settled test ops" login; end if; end $$')
        connection.execute('grant settled_operator to "settled test ops"')
    d.config = d.write_config("operator.yaml", postgres={
        "dsn": psycopg.conninfo.make_conninfo(d.dsn, user="settled test ops")})
    assert "UNDECODABLE" not in d.run("rejects", "list", "--topic", "credits", "--limit", "1")
    about = f"{topic}/0/0 to {count - 1} ({count} records)"
    digest = hashlib.sha256("".join(f"0/{i}\n" for i in range(count)).encode()).hexdigest()
    assert d.run("rejects", "accept", "--topic", "credits", "--dry-run") == (
        f"{about}: ACCEPT {topic} {count} {digest}: nothing is written, as --dry-run says\n")
    assert d.sql("select * from settled.requests") == []
    assert d.run("rejects", "accept", "--topic", "credits") == (
        f"{about}: ACCEPT, request 1: waits for the owner of the shard\n")
    assert d.run("rejects", "accept", "--topic", "credits", "--dry-run") == "no open rejects without a request\n"
    # One of the records of that request cannot be asked about anew, nor with others that could.
    refused = d.run("rejects", "accept", f"{topic}/0/7", f"{topic}/0/999", status=78)
    assert f"{topic}/0/7: ACCEPT was asked for already (request 1, WAITING)" in refused
    assert f"so nothing is decided about {topic}/0/7 to 999 (2 records)" in refused
    d.config = config
    return f"1 ACCEPT settled%20test%20ops {topic} {count} {digest}"


def test_broken_top_ups_hold_the_day_and_are_not_stopped(shop):
    d = shop
    break_top_ups(d, 300)
    line = held_line(d.drain(AFTER, status=HELD))
    assert (line["topic"], line["group"], line["rejects"], line["of_records"]) == (
        d.topics["credits"], "broken", "300", "300")
    assert line["reasons"] == '"INCOMPATIBLE_SCHEMA 300"'
    assert (line["schemas"], line["first"]) == ("60", f"{d.topics['credits']}/0/0")
    assert holds(d) == [(d.topics["credits"], "broken", 300, 300)]
    assert d.sql("select count(*) from settled.status_changes") == [(0,)]
    assert d.read("day_closes") == []
    # The mended producer's top-ups are credited while the day is held; more broken ones stop nothing.
    for i in range(300):
        d.top_up(f"a{i}", f"c{i}", 1_000_000, MORNING, timestamp=at(NEXT, "08:00:00") + i)
    d.flush()
    again = held_line(d.drain("2026-11-02T09:00:00+08:00", status=HELD))  # said again by each start
    assert (again["rejects"], again["undecided"]) == ("300", "300")
    assert d.sql("select count(*), sum(balance) from settled.accounts") == [(300, 300_000_000)]
    # Only decisions release it.
    name = accept_as_operator(d, 300)
    d.drain("2026-11-02T10:00:00+08:00")
    assert [body["decisions"] for _, _, _, body in d.read("day_closes")] == [[name]]
    assert statuses(d) == {"ACTIVE": 300}
    assert d.sql("select distinct cut_by from settled.day_cutoffs") == [("RELEASE",)]
    assert d.sql("select held_since, released_at from settled.shards") == [(None, None)]
    d.check_published()
    d.run("explain", "a7", DAY)


def test_ids_that_start_over_hold_the_day(shop):
    d = shop
    for day, time in ((DAY, NOON), (NEXT, at(NEXT, "12:00:00"))):
        for i in range(150):
            d.call(f"a{i % 5}", str(i), time + i, leads=1)
    d.flush()
    d.drain(AFTER)
    line = held_line(d.drain(LATER, status=HELD))
    assert (line["group"], line["reasons"]) == ("refused", '"CONFLICT 150"')
    assert holds(d) == [(d.topics["calls"], "refused", 150, 150)]


def test_seconds_for_milliseconds_hold_the_day(shop):
    d = shop
    for i in range(20):
        d.top_up("a", f"c{i}", 100, MORNING // 1000, timestamp=MORNING + i)
    for i in range(120):
        d.call("a", f"k{i}", NOON // 1000, leads=1, timestamp=NOON + i)
    d.flush()
    process = d.drain(AFTER, status=HELD)
    assert len(re.findall("the day is held: too many rejects on a log", process.log)) == 2
    assert holds(d) == [(d.topics["calls"], "refused", 120, 120), (d.topics["credits"], "refused", 20, 20)]


def test_an_ordinary_shop_is_not_held(shop):
    """Some ask for refunds, some send an id again with another time, a few records are broken."""
    d = shop
    for i in range(400):
        d.call(f"a{i % 7}", f"k{i}", NOON + i, leads=1)
    for i in range(60):
        d.call(f"a{i % 7}", f"k{i}", NOON + i + 1, leads=1)
    for i in range(30):
        d.top_up("a1", f"c{i}", 10_000, MORNING + i)
        d.top_up("a1", f"r{i}", -10_000, MORNING + i)
    for i in range(9):
        d.send_bytes("credits", b"\1?", MORNING + i, "a1")
    d.flush()
    d.drain(AFTER)
    assert holds(d) == []
    assert dict(d.sql("select reason, count(*) from settled.rejects group by 1")) == {
        "CONFLICT": 60, "REFUND": 30, "UNDECODABLE": 9}


def test_a_good_afternoon_releases_no_broken_morning(shop):
    d = shop
    for i in range(120):
        d.send_bytes("calls", b"\0\0\0", MORNING + i, "a")
    d.flush()
    d.drain(AFTER, status=HELD)
    for i in range(13_000):  # 120 of 13,120 are below 1 %
        d.call(f"a{i % 50}", f"k{i}", at(NEXT, "00:00:00") - 1000, timestamp=at(NEXT, "00:20:00") + i)
    d.flush()
    d.drain("2026-11-02T01:00:00+08:00", status=HELD)
    d.run("rejects", "accept", "--topic", "calls")
    d.drain("2026-11-02T02:00:00+08:00")
    assert d.sql("select sum(calls)::int from settled.settlements") == [(13_000,)]
    d.audit()


def test_the_metric_names_log_and_group(shop):
    d = shop
    break_top_ups(d, 20)
    process = d.start("--clock", AFTER)
    process.await_line("the day is held: too many rejects on a log")
    d.until(lambda: process.metric("settled_day_held_rejects", topic=d.topics["credits"], group="broken") == 20, process)
    assert process.metric("settled_day_held_rejects", topic=d.topics["calls"]) == 0
    process.stop()


def test_the_audit_tells_a_hold_that_the_logs_do_not_give(shop):
    d = shop
    break_top_ups(d, 20)
    d.drain(AFTER, status=HELD)
    d.run("rejects", "accept", "--topic", "credits")
    d.drain(AFTER)
    d.audit()
    for statement, told in (("update settled.holds set after_decision = after_decision + 1", "rejects"),
                            ("update settled.holds set after_decision = 0, records = records + 1", "records"),
                            ("delete from settled.holds", "no reason")):
        with psycopg.connect(d.dsn) as connection:
            connection.execute(statement)
        assert told in d.audit(status=1)


def test_the_largest_calls_stop_nothing(shop, tmp_path):
    """Ten calls of the largest size at the highest price once stopped the shard for good."""
    d = shop
    book = tmp_path / "large.yaml"
    book.write_text("""name: large
currency: CNY
time_zone: Asia/Shanghai
services:
  AUDIENCE_INSIGHT: {name: a, unit: call, unit_price: 2200}
  PURCHASE_INTENT:
    name: b
    unit: lead
    tiers:
      - {from: 0, unit_price: 10000000}
""")
    d.config = d.write_config(pricing={"book": str(book)})
    for i in range(10):
        d.call("large", f"l{i}", NOON + i, leads=10**9)
    d.call("small", "s1", NOON, leads=1)
    for i in range(10):
        d.call("largest", f"m{i}", NOON, leads=10_000)  # 10^13 fen each
    d.flush()
    d.drain(AFTER)
    assert dict(d.sql("select account_id, amount from settled.settlements")) == {"small": 10**9, "largest": 10**14}
    assert d.sql("select distinct reason, detail from settled.rejects") == [
        ("INVALID", "1000000000 units at 1000000000 fen are beyond 10^13 fen")]
    d.audit()


def test_what_is_forgotten_is_not_read_again(deploy):
    """A credit_id and a purchase_id come again after credit_days; a start reads neither of the old ones."""
    d = deploy(partitions=1, workers=1, credit_days=2, late_days=1)
    second = at("2026-11-04", "09:00:00")
    d.top_up("a", "c", 5, MORNING)
    d.purchase("a", "p", "AUDIENCE_INSIGHT", 50, 10_000_000, MORNING)
    d.call("a", "k", NOON)
    d.flush()
    d.drain("2026-11-04T00:10:00+08:00")
    d.top_up("a", "old", 5, at(DAY, "23:00:00"), timestamp=second)
    d.top_up("a", "c", 7, second)
    d.purchase("a", "p", "AUDIENCE_INSIGHT", 100, 15_000_000, second)
    d.call("a", "k", second)
    d.flush()
    d.drain("2026-11-05T00:10:00+08:00")
    assert d.sql("select credit_id, amount from settled.credits order by amount") == [("c", 5), ("c", 7)]
    assert d.sql("select reason from settled.rejects") == [("TOO_LATE",)]
    # the older package is drawn first, though its id stands for another now
    assert d.sql("select units, remaining from settled.packages order by units") == [(50, 48), (100, 100)]
    d.check_published()
    d.audit("--from", "2026-11-04")
    d.run("explain", "a", "2026-11-04")


def test_a_reject_whose_input_has_expired_is_sent_again_from_the_topic_of_rejects(shop):
    d, topic = shop, shop.topics["calls"]
    value, large = b"no record \0\xff", b"x" * 950_000
    for sent in (value, large, b"another"):
        d.send_bytes("calls", sent, MORNING, "acme")
        d.flush()
    d.drain(f"{DAY}T13:00:00+08:00")
    assert d.sql("select kafka_offset, reason from settled.rejects order by 1") == [(n, "UNDECODABLE") for n in range(3)]
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    for done in admin.delete_records([confluent_kafka.TopicPartition(topic, 0, 3)]).values():
        done.result(30)
    told = d.run("rejects", "requeue", "--all", "--dry-run", status=78)
    assert f"{topic}/0/0 to 2 (2 records): REQUEUE {topic} 2 " in told
    assert d.sql("select * from settled.requests") == []
    told = d.run("rejects", "requeue", "--all", status=78)
    assert f"{topic}/0/0 to 2 (2 records): REQUEUE, request 1: sent again" in told
    assert f"{topic}/0/1 is not kept any more: the log begins at offset 3 now" in told
    assert "; its reject has no value, as it had none or was too large (" in told
    consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": f"{d.name}-copies"})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, 3)])
    copy, other = consumer.poll(30), consumer.poll(30)
    consumer.close()
    assert (copy.offset(), copy.key(), copy.value(), copy.timestamp()[1]) == (3, b"acme", value, MORNING)
    assert (other.value(), dict(other.headers())["settled_requeued_offset"]) == (b"another", b"2")
    assert dict(copy.headers()) == {"settled_requeued_topic": topic.encode(), "settled_requeued_partition": b"0",
                                    "settled_requeued_offset": b"0", "settled_requeued_request": b"1"}
    assert d.sql("select kafka_offset, new_offset from settled.request_records order by 1") == [(0, 3), (2, other.offset())]
