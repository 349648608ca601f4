"""Faults of a record, a schema, a topic, a configuration or a price book: each is reported, and nothing is lost because
of it."""

import datetime
import hashlib
import io
import json
import re
import subprocess
import time

import confluent_kafka
import confluent_kafka.admin
import fastavro
import psycopg
import pytest

from deployment import INPUTS, ROOT, SCHEMAS, ZONE, alter_topic, at

DAY, NEXT = "2026-11-01", "2026-11-02"
AFTER, LATER = "2026-11-02T00:10:00+08:00", "2026-11-03T00:10:00+08:00"
NOON = at(DAY, "12:00:00")
INSIGHT = 220000  # fen a call
FOREIGN, SHORT, UNKNOWN = 50, 51, 777  # schema ids: of another record, of one without its account, of none


# ---- helpers ----

def framed(number, body):
    return b"\0" + number.to_bytes(4, "big") + body


def encode(schema, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def call(call_id="c", account="good", occurred_at=NOON, service="AUDIENCE_INSIGHT", leads=None):
    return {"call_id": call_id, "account_id": account, "service": service, "lead_count": leads,
            "occurred_at": occurred_at, "request_id": None}


def purchase(units=50, amount=10000000, purchased_at=NOON, **other):
    return {"purchase_id": "p", "account_id": "good", "service": "AUDIENCE_INSIGHT", "units": units, "used": 0,
            "amount": amount, "currency": "CNY", "purchased_at": purchased_at, **other}


def credit(amount=100, **other):
    return {"credit_id": "t", "account_id": "good", "kind": "TOP_UP", "amount": amount, "currency": "CNY",
            "credited_at": NOON, "reason": None, "reference": None, **other}


def value_of(d, key, record, number=None):
    return framed(number or SCHEMAS[INPUTS[key]], encode(d.schemas[INPUTS[key]], record))


def place(d, key, value, account=b"good", timestamp=NOON + 1000, partition=None, headers=None):
    """Sends a record and returns where it stands."""
    where = []
    options = {} if partition is None else {"partition": partition}
    if headers:
        options["headers"] = headers
    d.producer.produce(d.topics[key], value, account, timestamp=timestamp, **options,
                       on_delivery=lambda error, message: where.append((error, message)))
    d.flush()
    error, message = where[0]
    assert error is None, error
    return message.topic(), message.partition(), message.offset()


def name(coordinates):
    return "/".join(map(str, coordinates))


def add_schema(d, number, schema):
    (d.folder / d.name / "schemas" / f"{number}.avsc").write_text(
        schema if isinstance(schema, str) else json.dumps(schema))


def rejects(d):
    return {(topic, partition, offset): (reason, detail) for topic, partition, offset, reason, detail in d.sql(
        "select topic, partition, kafka_offset, reason, detail from settled.rejects")}


def counted(d, topic=None):
    """Accepted, duplicates, rejected and void over all closed days; they add up to the number of offsets read."""
    sums = d.sql("select sum(accepted)::int, sum(duplicates)::int, sum(rejected)::int, sum(void)::int, "
                 "sum(to_offset - from_offset)::int from settled.day_cutoffs where topic = %s",
                 topic or d.topics["calls"])[0]
    assert sum(sums[:4]) == sums[4]
    return sums[:4]


def billed(d):
    """Calls and amount by account and settled day."""
    return {(account, str(day)): (calls, amount) for account, day, calls, amount in d.sql(
        "select account_id, business_day, calls, amount from settled.settlements")}


def no_call_is_lost(d, calls, rejected=0):
    """Checks that this many different calls are billed, each once."""
    assert d.sql("select coalesce(sum(calls), 0)::int from settled.settlements") == [(calls,)]
    assert counted(d)[0] == calls and counted(d)[2] == rejected
    d.check_published()


# ---- records ----

def test_every_broken_record_is_rejected_with_its_reason_and_the_rest_is_billed(deploy):
    d = deploy(partitions=2, workers=1)
    add_schema(d, FOREIGN, {"type": "record", "name": "Weather", "fields": [{"name": "degrees", "type": "int"}]})
    add_schema(d, SHORT, {"type": "record", "name": "CallRecord", "fields": [{"name": "call_id", "type": "string"}]})
    good = value_of(d, "calls", call())
    home = place(d, "calls", good)[1]
    huge = value_of(d, "calls", call("x" * 950_000))
    cases = [
        ("calls", None, {}, "UNDECODABLE", "no value"),
        ("calls", b"", {}, "UNDECODABLE", "unknown framing"),
        ("calls", b'{"call_id": "c"}', {}, "UNDECODABLE", "unknown framing"),
        ("calls", b"\1" + good[1:], {}, "UNDECODABLE", "unknown framing"),
        ("calls", good[:-3], {}, "UNDECODABLE", "end"),
        ("calls", good, {"headers": [("__value_schema_id", b"\1" + bytes(16))]}, "UNDECODABLE", "header __value_schema_id"),
        ("calls", good[5:], {"headers": [("apicurio.value.globalId", bytes(8))]}, "UNDECODABLE",
         "in the header apicurio.value.globalId; let its producer write it before the value (apicurio.registry.headers.enabled=false)"),
        ("calls", framed(0, bytes(4) + good[1:]), {}, "UNKNOWN_SCHEMA", "id 0; ids of 8 bytes need schemas.framing: apicurio"),
        ("calls", good + b"\0", {}, "UNDECODABLE", "left"),
        ("calls", framed(UNKNOWN, good[5:]), {}, "UNKNOWN_SCHEMA", f"no schema registry has a schema of id {UNKNOWN}"),
        ("calls", framed(FOREIGN, good[5:]), {}, "INCOMPATIBLE_SCHEMA", "Weather"),
        ("calls", framed(SHORT, good[5:]), {}, "INCOMPATIBLE_SCHEMA", "account_id"),
        ("calls", good, {"account": b"other"}, "MISROUTED", "the key is not the account_id"),
        ("calls", good, {"account": None, "partition": home}, "MISROUTED", "the key is not the account_id"),
        ("calls", good, {"partition": 1 - home}, "MISROUTED", f"belongs to partition {home} of 2"),
        ("calls", huge, {}, "INVALID", "call_id"),
        ("calls", value_of(d, "calls", call("")), {}, "INVALID", "call_id"),
        ("calls", value_of(d, "calls", call("a\nb")), {}, "INVALID", "call_id"),
        ("calls", value_of(d, "calls", call("l", service="PURCHASE_INTENT")), {}, "INVALID", "lead_count is null"),
        ("calls", value_of(d, "calls", call("l", service="PURCHASE_INTENT", leads=-1)), {}, "INVALID", "lead_count -1"),
        ("calls", value_of(d, "calls", call("y", occurred_at=2**60)), {}, "INVALID", "occurred_at is outside"),
        ("calls", value_of(d, "calls", call("f", occurred_at=NOON + 3_600_000)), {}, "FROM_FUTURE", "occurred_at is 3599"),
        ("calls", value_of(d, "calls", call("o", occurred_at=NOON - 86_400_000)), {}, "TOO_LATE", "2026-10-31"),
        ("calls", value_of(d, "calls", call(occurred_at=NOON + 1)), {}, "CONFLICT", "call_id was accepted before"),
        ("purchases", value_of(d, "purchases", purchase(units=250)), {}, "NOT_FOR_SALE", "250 units"),
        ("purchases", value_of(d, "purchases", purchase(amount=1)), {}, "NOT_FOR_SALE", "costs 10000000 fen, not 1"),
        ("purchases", value_of(d, "purchases", purchase(units=-50, amount=-1)), {}, "REFUND", "not refunded"),
        ("credits", value_of(d, "credits", credit(-1)), {}, "REFUND", "not refunded"),
        ("credits", value_of(d, "credits", credit(0, kind="ADJUSTMENT")), {}, "REFUND", "zero changes nothing"),
        ("credits", value_of(d, "credits", credit(currency="USD")), {}, "INVALID", "currency is not CNY"),
        ("credits", value_of(d, "credits", credit(10**13 + 1)), {}, "INVALID", "beyond 10^13 fen"),
        ("credits", None, {}, "UNDECODABLE", "no value"),
    ]
    expected, values = {}, {}
    for key, value, options, reason, detail in cases:
        where = place(d, key, value, **options)
        expected[where] = (reason, detail)
        values[where] = (options.get("account", b"good"), value)
    place(d, "calls", good)  # the same once more is a duplicate, not a reject
    place(d, "calls", value_of(d, "calls", call("last")))
    d.drain(AFTER)

    found = rejects(d)
    assert {where: reason for where, (reason, _) in found.items()} == {
        where: reason for where, (reason, _) in expected.items()}
    for where, (reason, detail) in expected.items():
        assert detail in found[where][1], (where, reason, found[where])
    assert billed(d) == {("good", DAY): (2, 2 * INSIGHT)}
    broken = sum(1 for where in expected if where[0] == d.topics["calls"])
    assert counted(d) == (2, 1, broken, 0)
    # The topic of rejects holds key and value as they came; of a huge one its length and digest.
    published = {(body["topic"], body["partition"], body["offset"]): (key, body["key"], body["value"], body["detail"])
                 for _, key, _, body in d.read("rejects")}
    assert published.keys() == values.keys()
    for where, (key, value) in values.items():
        if value is huge:
            assert published[where][2] is None
            assert str(len(huge)) in published[where][3]
            assert hashlib.sha256(huge).hexdigest() in published[where][3]
        else:
            assert published[where][:3] == (key, key, value)
    d.check_published()


def test_aborted_transactions_are_void_and_an_open_one_is_waited_for(deploy):
    d = deploy(partitions=1, workers=1)
    producer = confluent_kafka.Producer({"bootstrap.servers": d.brokers, "transactional.id": d.name})
    producer.init_transactions(20)

    def transaction(prefix, count, end):
        producer.begin_transaction()
        for n in range(count):
            producer.produce(d.topics["calls"], value_of(d, "calls", call(f"{prefix}{n}")), b"good", timestamp=NOON + 1000)
        producer.flush(20)
        if end:
            end(20)

    transaction("gone", 5, producer.abort_transaction)
    transaction("kept", 3, producer.commit_transaction)
    transaction("gone", 5, producer.abort_transaction)
    transaction("open", 2, None)
    d.drain(AFTER)  # up to the last stable offset: what is open may still be aborted
    assert billed(d) == {("good", DAY): (3, 3 * INSIGHT)}
    # The first day begins with the first record that is delivered: what was aborted before it is not counted.
    assert counted(d) == (3, 0, 0, 7)
    producer.commit_transaction(20)
    d.drain(LATER)
    assert billed(d) == {("good", DAY): (3, 3 * INSIGHT), ("good", NEXT): (2, 2 * INSIGHT)}
    assert d.sql("select usage_day::text from settled.settlement_lines where business_day = %s", NEXT) == [(DAY,)]
    assert counted(d) == (5, 0, 0, 8)
    d.check_published()


def days_ago(days):
    return str((datetime.datetime.now(ZONE) - datetime.timedelta(days=days)).date())


def test_a_record_stamped_years_ahead_waits_for_an_operator(deploy):
    d = deploy(partitions=1, workers=1, first_day=days_ago(1), late_days=7)
    ten = at(days_ago(1), "10:00:00")
    place(d, "calls", value_of(d, "calls", call("before", occurred_at=ten)), timestamp=ten)
    ahead = place(d, "calls", value_of(d, "calls", call("ahead", occurred_at=ten)), timestamp=at("2040-01-01"))
    place(d, "credits", value_of(d, "credits", credit(5, credited_at=ten)), timestamp=ten)

    # It is at the end of its log, and the daemon starts nevertheless: otherwise nobody could ever pass it.
    process = d.start()
    assert name(ahead[:2]) in process.await_line("finding=.*ahead of this clock").group(0)
    d.until(lambda: process.metric("settled_log_waiting", topic=d.topics["calls"], **{"for": "future_record"}) == 1,
            process)
    d.until(lambda: d.sql("select 1 from settled.credits"), process)  # the other logs go on
    assert process.metric("settled_log_lag_records", topic=d.topics["calls"]) == 1
    place(d, "calls", value_of(d, "calls", call("after", occurred_at=ten)), timestamp=ten + 1000)
    d.until(lambda: process.metric("settled_log_lag_records", topic=d.topics["calls"]) == 2, process)
    assert rejects(d) == {} and billed(d) == {}

    # A drain ends at this record, and says so at once; days that are due are settled.
    assert process.stop() == 0
    log = d.drain(datetime.datetime.now(ZONE).isoformat(timespec="seconds")).log
    assert re.search(rf"level=warn .*ahead of the clock.*rejects pass.* topic={ahead[0]} offset={ahead[2]}", log), log
    assert billed(d) == {("good", days_ago(1)): (1, INSIGHT)}

    process = d.start()
    process.await_ready()
    d.run("rejects", "pass", name(ahead), "--wait", "20")
    d.until(lambda: process.metric("settled_log_lag_records") == 0, process)
    assert process.metric("settled_log_waiting") == 0
    assert process.stop() == 0
    tomorrow = days_ago(-1)
    d.drain(f"{tomorrow}T00:10:00+08:00")
    assert billed(d) == {("good", days_ago(1)): (1, INSIGHT), ("good", days_ago(0)): (2, 2 * INSIGHT)}
    assert rejects(d) == {}
    decisions = [body["decisions"] for _, _, _, body in d.read("day_closes")]
    assert len(decisions) == 2 and decisions[0] == [] and len(decisions[1]) == 1 and "PASS" in decisions[1][0]
    no_call_is_lost(d, 3)


# ---- a wrong deployment holds the day ----

def spoil(d, count, make):
    for n in range(count):
        d.send_bytes("calls", make(n), NOON + 2000, "good")
    d.flush()


def in_arrears(d):
    """After day one the account is suspended."""
    d.call("good", "first", NOON)
    d.flush()
    d.drain(AFTER)
    assert d.sql("select status from settled.accounts") == [("SUSPENDED",)]


def test_a_wrong_deployment_holds_the_day_until_requeued(deploy):
    d = deploy(partitions=1, workers=1)
    in_arrears(d)
    noon = at(NEXT, "12:00:00")
    for n in range(50):
        d.call("good", f"fine{n}", noon)
    for n in range(110):  # a producer that was deployed before its schema was registered
        d.send_bytes("calls", framed(UNKNOWN, encode(d.schemas["CallRecord"], call(f"new{n}", occurred_at=noon))),
                     noon + 1000, "good")
    d.flush()
    process = d.drain(LATER, status=75)
    assert re.search(r"level=error .*the day is held: too many rejects on a log; settled rejects requeue or accept.* "
                     rf'shard=0 day={NEXT} topic={d.topics["calls"]} group=broken rejects=110 of_records=160 undecided=110 '
                     rf'reasons="UNKNOWN_SCHEMA 110" schemas={UNKNOWN} first={d.topics["calls"]}/0/51', process.log), process.log
    assert "a shard waits for an operator" in process.log
    assert len(rejects(d)) == 110 and billed(d) == {("good", DAY): (1, INSIGHT)}

    # While it is held a top-up resumes the account.
    process = d.start("--clock", LATER)
    process.await_ready()
    assert process.metric("settled_day_state", state="held") == 1
    d.top_up("good", "paid", 10**9, noon, timestamp=at("2026-11-03", "00:01:00"))
    d.flush()
    d.until(lambda: d.sql("select status from settled.accounts") == [("ACTIVE",)], process)
    d.until(lambda: process.metric("settled_relay_published_sequence") == process.metric("settled_outbox_sequence"), process)
    assert [body["status"] for _, _, _, body in d.read("status")] == ["SUSPENDED", "ACTIVE"]
    assert billed(d) == {("good", DAY): (1, INSIGHT)}

    # The schema is registered, and the records are requeued. When enough of them are judged to bring the rest below the
    # share, the day is released there and settled; the records after that are late, and are billed with the next day.
    add_schema(d, UNKNOWN, (ROOT / "schemas" / "avro" / "CallRecord.avsc").read_text())
    time.sleep(10)  # after this time the registry is asked again for an unknown id
    d.run("rejects", "requeue", "--all", "--wait", "60")
    d.until(lambda: len(billed(d)) == 2, process)
    assert process.stop() == 0
    assert d.run("rejects", "requeue", "--all") == "no open rejects without a request\n"
    assert d.sql("select distinct cut_by from settled.day_cutoffs where business_day = %s", NEXT) == [("RELEASE",)]
    d.drain("2026-11-04T00:10:00+08:00")
    assert billed(d)["good", DAY] == (1, INSIGHT)
    assert 50 < billed(d)["good", NEXT][0] <= 160  # the rules do not say how many come before the release
    assert d.sql("select usage_day::text, sum(calls)::int, sum(amount)::bigint from settled.settlement_lines "
                 "group by 1 order by 1") == [(DAY, 1, INSIGHT), (NEXT, 160, 160 * INSIGHT)]
    no_call_is_lost(d, 161, rejected=110)
    named, = [text for _, _, _, body in d.read("day_closes") for text in body["decisions"]]
    assert named.startswith("1 REQUEUE ") and f" {d.topics['calls']} 110 " in named


def test_a_held_day_is_released_once_the_loss_is_accepted(deploy):
    d = deploy(partitions=1, workers=1)
    for n in range(20):
        d.call("good", f"c{n}", NOON)
    spoil(d, 120, lambda n: b"not avro at all %d" % n)
    d.drain(AFTER, status=75)
    assert billed(d) == {}
    d.drain(AFTER, status=75)  # it stays held
    d.run("rejects", "accept", "--all")
    d.drain(AFTER)
    assert billed(d) == {("good", DAY): (20, 20 * INSIGHT)}
    no_call_is_lost(d, 20, rejected=120)
    assert d.sql("select kind, operator = settled.percent_encoded(session_user) from settled.decisions") == [("ACCEPT", True)]


def test_a_few_broken_records_hold_nothing(deploy):
    d = deploy(partitions=1, workers=1)
    for n in range(20):
        d.call("good", f"c{n}", NOON)
    spoil(d, 99, lambda n: b"broken")
    d.drain(AFTER)
    no_call_is_lost(d, 20, rejected=99)


# ---- configuration, book, topics, database ----

def failing(d, *arguments, status, config=None):
    """Runs `settled run --drain`, which must refuse at once; returns what it says."""
    done = subprocess.run([d.settled, "run", "-c", config or d.config, "--drain", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, f"{done.returncode}, not {status}:\n{done.stderr}"
    return done.stderr


def settles_after_all(d):
    """The repaired deployment bills the records that were there before."""
    d.call("good", "c", NOON)
    d.flush()
    d.drain(AFTER)
    assert billed(d) == {("good", DAY): (1, INSIGHT)}
    d.check_published()


def test_usage_is_told(deploy):
    d = deploy(partitions=1)
    assert "--drian" in failing(d, "--drian", status=64)
    assert "option --clock: 'noon' is not an instant; write it as 2026-11-03T00:10:00+08:00" in failing(
        d, "--clock", "noon", status=64)
    assert "option --speed: it needs --clock, and no --drain" in failing(d, "--speed", "60", "--clock", LATER, status=64)
    assert "nowhere.yaml" in failing(d, status=78, config="nowhere.yaml")


@pytest.mark.parametrize("section, key, wrong, message", [
    ("billing", "first_day", "2026-02-30", "billing.first_day"),
    ("billing", "grace", "5 parsecs", "billing.grace"),
    ("billing", "late_days", -1, "billing.late_days"),
    ("billing", "max_reject_share", "101%", "billing.max_reject_share"),
    ("billing", "lateness", 3, "billing.lateness: unknown key"),
    ("kafka", "properties", {"isolation.level": "read_uncommitted"}, "isolation.level"),
    ("kafka", "properties", {"no.such.property": "1"}, "no.such.property"),
    ("pricing", "book", "/nowhere/book.yaml", "/nowhere/book.yaml"),
    ("postgres", "dsn", "postgresql://%zz", "postgres.dsn"),
    ("http", "listen", "127.0.0.1:http", "http.listen"),
])
def test_a_mistake_in_the_configuration(deploy, section, key, wrong, message):
    d = deploy(partitions=1)
    broken = d.write_config("broken.yaml", **{section: {key: wrong}})
    assert message in failing(d, status=78, config=broken)


@pytest.mark.parametrize("pattern, wrong, message", [
    ("currency: CNY", "currency: cny", "currency"),
    ("from: 10000,", "from: 9999,", "tier begin at the `below` of the one before it"),
    ("tiers:", "teirs:", "did you mean tiers?"),
    ("Asia/Shanghai", "Asia/Atlantis", "Asia/Atlantis"),
])
def test_a_mistake_in_the_price_book(deploy, pattern, wrong, message):
    d = deploy(partitions=1)
    text = (ROOT / "pricing" / "pricebooks" / "apcas.yaml").read_text()
    assert pattern in text
    book = d.folder / "book.yaml"
    book.write_text(text.replace(pattern, wrong, 1))
    told = failing(d, status=78, config=d.write_config("broken.yaml", pricing={"book": str(book)}))
    assert message in told and re.search(r"book.yaml:\d+:\d+", told)
    assert d.sql("select count(*) from settled.deployment") == [(0,)]


def test_a_changed_book_of_a_recorded_version(deploy):
    d = deploy(partitions=1, workers=1)
    settles_after_all(d)
    book = d.folder / "book.yaml"
    book.write_text((ROOT / "pricing" / "pricebooks" / "apcas.yaml").read_text().replace("2200", "2201", 1))
    d.config = d.write_config("changed.yaml", pricing={"book": str(book)})
    assert "effective_from" in d.run("parameters", "apply", status=78)
    assert d.sql("select count(*) from settled.price_books") == [(1,)]
    assert "parameter=pricing.book" in d.drain(AFTER).log  # the recorded one goes on


@pytest.mark.parametrize("key, settings, message", [
    ("calls", {"cleanup_policy": "compact"}, "has cleanup.policy compact: compaction would take records away"),
    ("credits", {"cleanup_policy": "compact,delete"}, "has cleanup.policy compact,delete"),
    ("calls", {"retention_ms": "86400000"}, "keeps records for 24 h only (retention.ms): a restart needs late_days + 2"),
    ("purchases", {"retention_ms": "86400000"}, "it must not, replays and audits begin at its start"),
    ("calls", {"message_timestamp_type": "LogAppendTime"}, "but billing.timestamps needs CreateTime"),
    ("settlements", {"cleanup_policy": "compact"}, "has cleanup.policy compact"),
])
def test_a_topic_that_would_lose_records(deploy, key, settings, message):
    d = deploy(partitions=1, workers=1)
    alter_topic(d.brokers, d.topics[key], **settings)
    told = failing(d, status=78)
    assert message in told and d.topics[key] in told and "run settled topics apply" in told
    d.run("topics", "apply", "--partitions", "1")
    settles_after_all(d)


def test_more_calls_than_may_be_held(deploy):
    """It halts and says what would be enough, and goes on with that value; afterwards `check` knows what late_days
    needs."""
    d = deploy(partitions=1, workers=1)
    for n in range(1500):
        d.call("good", f"c{n}", NOON)
    d.flush()
    tight = d.write_config("tight.yaml", run={"max_calls_held": 1000})
    told = failing(d, "--clock", AFTER, status=78, config=tight)
    found = re.search(r"run\.max_calls_held allows 1000, and \d+ more records wait in the logs: set it to at least (\d+)",
                      told)
    assert found and billed(d) == {}, told
    ended = d.start("--drain", "--clock", AFTER, config=d.write_config("wide.yaml", run={"max_calls_held": int(found[1])}))
    assert ended.wait() == 0, ended.log
    assert billed(d) == {("good", DAY): (1500, 1500 * INSIGHT)}
    # a restart holds the same calls again, and what was replayed does not wait
    d.call("good", "c1500", NOON)
    d.flush()
    told = failing(d, "--clock", AFTER, status=78, config=tight)
    assert "run.max_calls_held allows 1000" in told and "set it to at least 1501 (" in told, told
    for config, words in ((tight, "1500 calls, and late_days has 9 days of them held: a process that has all shards "
                                  "needs 13500"), (d.config, None)):
        told = subprocess.run([d.settled, "check", "-c", config], capture_output=True, text=True, check=False).stdout
        assert (words in told) if words else ("max_calls_held" not in told), told


def test_topics_of_unequal_partition_counts(deploy):
    d = deploy(partitions=2, workers=1)
    d.add_partitions("credits", 3)
    told = failing(d, status=78)
    assert f"{d.topics['calls']} 2" in told and f"{d.topics['credits']} 3" in told
    assert "they need one count; create them anew" in told


def test_a_topic_that_is_missing(deploy):
    d = deploy(partitions=1, workers=1)
    d.delete_topics(["purchases", "rejects"])
    told = failing(d, status=78)
    for key in ("purchases", "rejects"):
        assert f"topic {d.topics[key]} does not exist; run settled topics apply" in told
    d._make_topics(["purchases", "rejects"])
    settles_after_all(d)


def test_records_that_expired_before_they_were_read(deploy):
    d = deploy(partitions=1, workers=1)
    settles_after_all(d)
    for n in range(3):
        d.call("good", f"later{n}", at(NEXT, "10:00:00"))
    d.flush()
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    end = confluent_kafka.TopicPartition(d.topics["calls"], 0, 3)
    admin.delete_records([end])[confluent_kafka.TopicPartition(d.topics["calls"], 0)].result(20)
    told = d.drain(LATER, status=78).log
    assert re.search(rf"{d.topics['calls']}/0: offsets \d+ to 2 are needed and are not kept any more", told), told
    assert billed(d) == {("good", DAY): (1, INSIGHT)}


def test_a_database_without_the_migrations(deploy, dsn):
    d = deploy(partitions=1, workers=1)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("drop schema settled cascade")
    told = failing(d, status=78)
    assert 'run "settled migrate"' in told
    d.run("migrate")
    settles_after_all(d)


def test_a_database_of_a_newer_program(deploy, dsn):
    d = deploy(partitions=1, workers=1)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into settled.schema_migrations (number, name, sha256) values (999, '999_new.sql', 'x')")
    told = failing(d, status=78)
    assert "its schema is newer than this program" in told and "upgrade settled" in told
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("delete from settled.schema_migrations where number = 999")
    settles_after_all(d)


@pytest.mark.parametrize("section, values, message", [
    ("kafka", {"brokers": "127.0.0.1:1"}, "no Kafka broker answers within 5 s (127.0.0.1:1"),
    ("postgres", {"dsn": "postgresql://billing:hunter2@127.0.0.1:1/x"}, "PostgreSQL 127.0.0.1:1/x"),
])
def test_a_service_that_is_not_there(deploy, section, values, message):
    d = deploy(partitions=1, workers=1)
    told = failing(d, status=69, config=d.write_config("broken.yaml", **{section: values}))
    assert message in told and "hunter2" not in told
    settles_after_all(d)
