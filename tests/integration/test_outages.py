"""Services fail, answer nonsense or are not there, and processes are killed: the daemon says so, waits, and bills
everything once when they are back."""

import json
import re
import signal
import time

import psycopg
import pytest
from conftest import ROOT
from deployment import SCHEMAS, at
from fake_registry import FakeRegistry
from services import Services

DAY = "2026-11-01"
OPEN, AFTER = "2026-11-01T13:00:00+08:00", "2026-11-02T00:10:00+08:00"
NOON = at(DAY, "12:00:00")
INSIGHT = 220000  # fen a call
ACCOUNTS = [f"account-{n:02}" for n in range(20)]


@pytest.fixture(scope="module")
def own():
    """A broker and a PostgreSQL of this file's own, to be killed."""
    with Services() as services:
        services.postgres_one = services.postgres(start=False)
        services.kafka_one = services.kafka(start=False)
        services.start()
        yield services


@pytest.fixture
def fragile(own, deploy, tmp_path):
    """A deployment on them."""
    for service in own.all:
        if not all(each.running for each in (getattr(service, "nodes", None) or [service])):
            service.start()
    name = f"test_{tmp_path.name.lower()}"[:60].replace("-", "_")
    own.postgres_one.sql(f'drop database if exists "{name}"')
    own.postgres_one.sql(f'create database "{name}"')
    return deploy(brokers=own.kafka_one.brokers, dsn=own.postgres_one.dsn_of(name))


def send_calls(d, prefix, count=10):
    """Sends this many calls for each account."""
    for n in range(count):
        for account in ACCOUNTS:
            d.call(account, f"{prefix}-{n}", at(DAY, "10:00:00") + n)
    d.flush()
    return count * len(ACCOUNTS)


def judged(process, result="accepted"):
    return process.metric("settled_records_total", result=result)


def all_billed_once(d, calls, rejected=0):
    assert d.sql("select coalesce(sum(calls), 0)::int, coalesce(sum(amount), 0)::bigint from settled.settlements") == [
        (calls, calls * INSIGHT)]
    assert d.sql("select coalesce(-sum(balance), 0)::bigint from settled.accounts") == [(calls * INSIGHT,)]
    assert d.sql("select sum(accepted)::int, sum(rejected)::int, sum(to_offset - from_offset)::int - "
                 "sum(accepted + duplicates + rejected + void)::int from settled.day_cutoffs") == [(calls, rejected, 0)]
    assert d.sql("select count(*)::int from settled.rejects") == [(rejected,)]
    d.check_published()


# ---- the registry ----

@pytest.fixture
def registry():
    made = FakeRegistry({number: (ROOT / "schemas" / "avro" / f"{name}.avsc").read_text()
                         for name, number in SCHEMAS.items()})
    yield made
    made.stop()


def by_registry(d, registry):
    config = json.loads(d.config.read_text())
    config["schemas"] = {"registry": registry.url, "timeout": "500ms"}
    d.config.write_text(json.dumps(config))


def test_ids_that_do_not_fit_the_framing_are_refused(deploy):
    wide = FakeRegistry({number + 2**40: (ROOT / "schemas" / "avro" / f"{name}.avsc").read_text()
                         for name, number in SCHEMAS.items()})
    try:
        d = deploy(workers=1)
        by_registry(d, wide)
        told = d.run("check", status=78)
        assert (f"of the schema of {d.topics['settlements']}-value has no room in 4 bytes, which schemas.framing: confluent"
                " has; use the ids of its Confluent interface") in told
    finally:
        wide.stop()


def test_a_registry_that_fails_while_running_rejects_nothing(deploy, registry):
    d = deploy(workers=1)
    by_registry(d, registry)
    calls = send_calls(d, "known", 1)
    process = d.start("--clock", OPEN)
    d.until(lambda: judged(process) == calls, process)
    for number, mode in enumerate(["error", "garbage", "lost", "gateway", "down"], 100):
        registry.schemas[number] = registry.schemas[SCHEMAS["CallRecord"]]
        if mode == "down":
            registry.stop()
        registry.mode = mode
        SCHEMAS["CallRecord"], known = number, SCHEMAS["CallRecord"]  # a producer with a schema not seen before
        try:
            d.call(ACCOUNTS[0], f"new-{mode}", NOON)
        finally:
            SCHEMAS["CallRecord"] = known
        d.flush()
        d.until(lambda: process.metric("settled_log_waiting", **{"for": "schema"}) == 1, process)
        d.until(lambda: process.metric("settled_registry_up") == 0, process)
        line = process.await_line(rf"level=warn .*a writer's schema is not to be had for now.* schema_id={number} .*").group(0)
        assert registry.url in line
        calls += send_calls(d, mode, 1)
        # Its log waits behind it; the others go on.
        d.until(lambda: judged(process) + process.metric("settled_log_lag_records") == calls + 1, process)
        assert judged(process, "rejected") == 0
        if mode == "down":
            registry.start()
        registry.mode = "well"
        calls += 1
        d.until(lambda: judged(process) == calls, process)
        assert process.metric("settled_registry_up") == 1 and process.metric("settled_log_waiting") == 0
    assert len(re.findall("writers' schemas are to be had again", process.log)) == 5
    assert process.stop() == 0
    d.drain(AFTER)
    all_billed_once(d, calls)


def test_a_record_whose_schema_cannot_be_had_may_be_refused(deploy, registry):
    """Its log waits and everybody may see it; after schemas.patience an operator may decide, and the day names it."""
    d = deploy(workers=1, partitions=1)
    by_registry(d, registry)
    config = json.loads(d.config.read_text())
    config["schemas"]["patience"] = "1h"
    d.config.write_text(json.dumps(config))
    calls = send_calls(d, "before", 1)
    for number in (0, 1):
        d.call(ACCOUNTS[0], f"lost-{number}", NOON, schema=100)
    d.flush()
    calls += send_calls(d, "behind", 1)
    registry.mode = "well"
    process = d.start("--clock", OPEN)
    d.until(lambda: judged(process) == len(ACCOUNTS) or process.log.count("not to be had"), process)
    registry.mode = "gateway"
    where = [f"{d.topics['calls']}/0/{len(ACCOUNTS) + number}" for number in (0, 1)]

    def waiting():
        return [row for row in json.loads(d.run("rejects", "list", "--format", "json")) if row["state"] != "open"]

    d.until(lambda: len(waiting()) == 1, process)
    d.until(lambda: registry.url in waiting()[0]["detail"], process)
    row, = waiting()
    assert (row["reason"], row["state"], row["offset"]) == ("WAITING", "waiting", len(ACCOUNTS))
    assert row["detail"].startswith("for the schema of id 100: schema registry ")
    assert "waits for the schema of id 100 since" in d.run("rejects", "refuse", where[0], status=78)
    assert "is not waiting for its schema" in d.run("rejects", "refuse", where[1], status=78)
    config["schemas"]["patience"] = "2s"
    d.config.write_text(json.dumps(config))
    time.sleep(2)
    assert "decision 1" in d.run("rejects", "refuse", where[0], "--wait", "20")
    # The next one is of the same schema, which was waited for long enough.
    d.until(lambda: [row["offset"] for row in waiting()] == [len(ACCOUNTS) + 1], process)
    assert "decision 2" in d.run("rejects", "refuse", "--all", "--wait", "20")
    d.until(lambda: judged(process) == calls, process)
    assert waiting() == [] and process.stop() == 0
    assert d.sql("select kafka_offset::int, reason, detail, decision::int from settled.rejects order by 1") == [
        (len(ACCOUNTS) + n, "UNKNOWN_SCHEMA", "its schema, of id 100, could not be had, and an operator refused it", n + 1)
        for n in (0, 1)]
    registry.mode = "well"
    registry.schemas[100] = registry.schemas[SCHEMAS["CallRecord"]]  # too late: what is decided stays decided
    d.drain(AFTER)
    assert d.sql("select sum(calls)::int from settled.settlements") == [(calls,)]
    closed = [body for _, _, _, body in d.read("day_closes")]
    assert [" ".join(text.split()[:2]) for text in closed[0]["decisions"]] == ["1 REFUSE", "2 REFUSE"]
    assert "refused" in d.run("rejects", "list", "--all")
    assert "was decided before" in d.run("rejects", "accept", where[0], status=78)
    d.audit()
    d.run("explain", ACCOUNTS[0], DAY)


def test_a_registry_that_compresses_and_refers(deploy, registry):
    """A proxy compresses what nobody asked to be compressed; a schema names types of other subjects."""
    d = deploy(workers=1)
    by_registry(d, registry)
    registry.mode = "compressed"
    text = json.loads(registry.schemas[SCHEMAS["CallRecord"]])
    service = next(field for field in text["fields"] if field["name"] == "service")
    registry.versions["services", 3] = json.dumps({**service["type"], "namespace": "com.acme"})
    service["type"] = "com.acme.Service"
    registry.schemas[100] = json.dumps(text)
    registry.references[100] = [{"name": "com.acme.Service", "subject": "services", "version": 3}]
    calls = send_calls(d, "plain", 1)
    SCHEMAS["CallRecord"], known = 100, SCHEMAS["CallRecord"]
    try:
        calls += send_calls(d, "refers", 1)
    finally:
        SCHEMAS["CallRecord"] = known
    d.drain(AFTER)
    all_billed_once(d, calls)
    (kept,), = d.sql("select schema from settled.writer_schemas where id = 100")
    assert "references" not in json.loads(kept) and "com.acme" in kept
    d.audit()


def test_a_registry_that_fails_at_start(deploy, registry):
    d = deploy(workers=1)
    by_registry(d, registry)
    for mode, status, reason in (("error", 69, "no leader"), ("garbage", 69, "JSON"), ("down", 69, "connect"),
                                 ("lost", 78, "check host and path of the URL")):
        registry.mode = mode
        if mode == "down":
            registry.stop()
        elif mode == "lost":
            registry.start()
        log = d.drain(AFTER, status=status).log
        assert registry.url in log and reason in log, (mode, log)
    registry.mode = "well"
    d.drain(AFTER)


def test_a_registry_without_the_outputs_schemas(deploy, registry):
    d = deploy(workers=1)
    by_registry(d, registry)
    settlement = registry.schemas.pop(SCHEMAS["Settlement"])
    log = d.drain(AFTER, status=78).log
    assert f"subject {d.topics['settlements']}-value does not hold the schema of Settlement; run settled schemas register" in log
    registry.schemas[SCHEMAS["Settlement"]] = settlement
    d.drain(AFTER)


# ---- PostgreSQL ----

def test_a_database_that_is_killed_and_restarted(fragile, own):
    d = fragile
    calls = send_calls(d, "first")
    process = d.start("--clock", OPEN)
    process.await_ready()
    own.postgres_one.kill()
    calls += send_calls(d, "meanwhile")
    d.until(lambda: "waits for the database: PostgreSQL" in process.get("/healthz/ready")[1], process)
    assert process.get("/healthz/live")[0] == 200
    assert process.metric("settled_postgres_up") == 0
    line = process.await_line(r"level=warn .*the database does not answer, trying on.*").group(0)
    assert f"127.0.0.1:{own.postgres_one.port}/" in line
    own.postgres_one.start()
    d.until(lambda: judged(process) == calls, process)
    process.await_line("the database answers again")
    process.await_ready()
    for n in range(3):
        calls += send_calls(d, f"again-{n}")
        own.postgres_one.kill() if n % 2 else own.postgres_one.stop()
        own.postgres_one.start()
    d.until(lambda: judged(process) == calls, process)
    assert process.stop() == 0
    d.drain(AFTER)
    all_billed_once(d, calls)


def test_a_stop_while_the_database_is_away(fragile, own):
    d = fragile
    process = d.start("--clock", OPEN)
    process.await_ready()
    calls = send_calls(d, "one")
    own.postgres_one.pause()  # half-open: connected, and answers nothing
    time.sleep(0.5)
    calls += send_calls(d, "two")
    time.sleep(1)
    began = time.monotonic()
    assert process.stop(seconds=40) == 0
    assert time.monotonic() - began < 25
    own.postgres_one.cont()
    process = d.start("--clock", OPEN)
    process.await_ready()
    own.postgres_one.kill()
    calls += send_calls(d, "three")
    time.sleep(1)
    began = time.monotonic()
    assert process.stop(seconds=40) == 0
    assert time.monotonic() - began < 15
    own.postgres_one.start()
    d.drain(AFTER)
    all_billed_once(d, calls)


# ---- Kafka ----

def test_a_broker_that_is_killed_and_restarted(fragile, own):
    d = fragile
    calls = send_calls(d, "first")
    process = d.start("--clock", AFTER)
    process.await_line("shards assigned")
    own.kafka_one.kill()  # while it settles and publishes
    process.await_line("no Kafka broker can be reached")
    assert process.get("/healthz/live")[0] == 200
    own.kafka_one.start()
    calls += send_calls(d, "later")
    d.until(lambda: len(d.sql("select 1 from settled.day_closes")) == d.partitions, process)
    d.until(lambda: process.metric("settled_log_lag_records") == 0, process)
    d.until(lambda: process.metric("settled_kafka_up") == 1, process)
    assert process.stop() == 0
    d.drain("2026-11-03T00:10:00+08:00")
    all_billed_once(d, calls)


def test_a_stop_while_the_broker_is_away(fragile, own):
    d = fragile
    calls = send_calls(d, "one")
    process = d.start("--clock", OPEN)
    process.await_ready()
    own.kafka_one.kill()
    time.sleep(1)
    began = time.monotonic()
    assert process.stop(seconds=60) == 0
    assert time.monotonic() - began < 25
    own.kafka_one.start()
    d.drain(AFTER)
    all_billed_once(d, calls)


# ---- the daemon itself ----

def test_one_of_two_daemons_is_killed(deploy):
    d = deploy(workers=1)
    calls = send_calls(d, "first")
    pair = [d.start("--clock", OPEN), d.start("--clock", OPEN)]
    d.until(lambda: [p.metric("settled_shard_state", state="running") for p in pair] == [2, 2], *pair)
    calls += send_calls(d, "second")
    pair[0].kill()
    calls += send_calls(d, "third")
    d.until(lambda: pair[1].metric("settled_shard_state", state="running") == 4, pair[1])
    d.until(lambda: pair[1].metric("settled_log_lag_records") == 0, pair[1])
    assert pair[1].stop() == 0
    d.drain(AFTER)
    all_billed_once(d, calls)


def test_stops_under_load_are_clean(deploy):
    d = deploy()
    calls = 0
    for n in range(4):
        process = d.start("--clock", OPEN)
        process.await_ready()
        calls += send_calls(d, f"load-{n}", 50)
        process.process.send_signal(signal.SIGTERM)
        ready = None
        while process.process.poll() is None and ready != 503:
            try:
                ready = process.get("/healthz/ready")[0]
            except OSError:
                ready = 503  # the server is gone
        assert process.wait(15) == 0
        assert "stopped" in process.lines[-1] and "status=0" in process.lines[-1]
    d.drain(AFTER)
    all_billed_once(d, calls)


def test_a_reload_of_a_broken_configuration_keeps_the_old_one(deploy):
    d = deploy(workers=1)
    good = d.config.read_text()
    process = d.start("--clock", OPEN)
    process.await_ready()

    def reload(text, name, count):
        d.config.write_text(text)
        process.process.send_signal(signal.SIGHUP)
        d.until(lambda: process.metric(name) == count, process)

    broken = [(good.replace("first_day", "fist_day"), "billing.fist_day: unknown key; did you mean first_day?"),
              (good.replace("2026-11-01", "2026-11-02"), "first_day"),
              (good.replace("apcas.yaml", "nothing.yaml"), "nothing.yaml"),
              ("{", "settled.yaml")]
    for count, (text, message) in enumerate(broken, 1):
        reload(text, "settled_config_reload_errors_total", count)
        process.await_line(rf"level=error .*the old one stays in force.*{re.escape(message)}", 5)
    calls = send_calls(d, "on", 1)
    d.until(lambda: judged(process) == calls, process)
    assert process.metric("settled_config_reloads_total") == 0
    reload(good.replace('"5m"', '"6m"'), "settled_config_reloads_total", 1)
    assert process.stop() == 0
    d.drain(AFTER)
    all_billed_once(d, calls)
    d.config.write_text(good)


def check_metrics(process, partitions):
    """Each metric of deploy/METRICS.md is there, with a value for every shard, and no other. Returns the text."""
    status, text = process.get("/metrics")
    assert status == 200
    page = (ROOT / "deploy" / "METRICS.md").read_text()
    table = re.findall(r"^\| `(settled_\w+)` \| (\w+) \| ([^|]*) \|", page, re.MULTILINE)
    assert len(table) > 20
    told = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert told == {name: kind for name, kind, _ in table}
    assert set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)) == set(told)
    for name, kind, labels in table:
        series = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:\{{(.*)\}})? (-?[0-9.]+)$", text, re.MULTILINE)
        assert series, name
        assert kind != "counter" or name.endswith("_total")
        for found, _ in series:
            names = re.findall(r'(\w+)="', found)
            assert names == (labels.split(", ") if labels.strip() else []) or kind == "histogram", (name, found)
        shards = {number for found, _ in series for number in re.findall(r'\b(?:shard|partition)="(\d+)"', found)}
        assert shards in (set(), set(map(str, range(partitions)))), name
    return text


def test_metrics_are_those_that_are_documented_from_the_start_and_in_an_idle_process(deploy):
    d = deploy(partitions=2, workers=1)
    calls = send_calls(d, "one", 20)
    process = d.start("--clock", OPEN)
    process.await_line("http listens")
    check_metrics(process, 2)
    d.until(lambda: judged(process) == calls, process)
    d.until(lambda: process.metric("settled_log_lag_records") == 0, process)
    others = [d.start("--clock", OPEN) for _ in range(2)]
    processes = [process, *others]
    d.until(lambda: sorted(each.metric("settled_shard_state", state="running") for each in processes) == [0, 1, 1],
            *processes)
    for each in processes:
        text = check_metrics(each, 2)
        assert not [account for account in ACCOUNTS if account in text]
    with psycopg.connect(d.dsn) as connection:
        rows = connection.execute("select count(*)::int from settled.day_closes").fetchone()
    assert rows == (0,) and process.metric("settled_days_closed_total") == 0
    assert [each.stop() for each in processes] == [0, 0, 0]
