"""`settled run` with a real broker and a real PostgreSQL: days settle, and nothing that happens meanwhile changes the
result."""

import collections
import datetime
import random
import signal
import time

import psycopg
from deployment import SCHEMAS, ZONE, at

DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]
AFTER = "2026-11-04T00:10:00+08:00"
INSIGHT = 220000  # fen a call
TIERS = [(500000, 250), (100000, 300), (50000, 400), (20000, 500), (10000, 800), (0, 1000)]


def postpaid(leads):
    if leads is None:
        return INSIGHT
    return leads * next(price for bound, price in TIERS if leads >= bound)


def fill(deployment, days=DAYS, accounts=40, seed=1, per_day=15):
    """Sends calls and credits drawn from a seed, some of them twice; returns what each account owes for each day, and
    its top-ups."""
    rng = random.Random(seed)
    owed = collections.defaultdict(int)
    paid = collections.defaultdict(int)
    for day in days:
        for number in range(accounts):
            account = f"account-{number:03}"
            if rng.random() < 0.2:
                continue
            when = at(day, "01:00:00")
            for n in range(rng.randrange(1, per_day)):
                when += rng.randrange(60000, 80000000 // per_day)  # stays within the day
                leads = rng.choice([None, rng.randrange(0, 30000), rng.choice([9999, 10000, 500000])])
                for _ in range(rng.choice([1, 1, 1, 2])):
                    deployment.call(account, f"{day}-{account}-{n}", when, leads)
                owed[account, datetime.date.fromisoformat(day)] += postpaid(leads)
            if rng.random() < 0.3:
                amount = rng.randrange(1, 10**9)
                deployment.top_up(account, f"credit-{day}", amount, at(day, "12:00:00"))
                paid[account] += amount
    deployment.flush()
    return dict(owed), paid


def today():
    return datetime.datetime.now(ZONE).date()


def wait_until(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, process.log[-6000:]
        time.sleep(0.1)


def check_amounts(deployment, owed, paid):
    rows = deployment.sql("select account_id, business_day, amount from settled.settlements")
    assert {(account, day): amount for account, day, amount in rows} == owed
    for account, balance in deployment.sql("select account_id, balance from settled.accounts"):
        assert balance == paid[account] - sum(amount for (who, _), amount in owed.items() if who == account)


def check_closed(deployment, days):
    rows = deployment.sql("select shard, business_day::text from settled.day_closes order by 1, 2")
    assert rows == [(shard, day) for shard in range(deployment.partitions) for day in days]


def test_drain_settles_every_due_day(deploy):
    d = deploy()
    owed, paid = fill(d)
    process = d.drain(AFTER)
    check_amounts(d, owed, paid)
    check_closed(d, DAYS)
    assert d.check_published() == len(owed)
    assert "drained" in process.log
    # Once more: nothing is left to do, and nothing is done twice.
    before = d.outcome()
    d.drain(AFTER)
    assert d.outcome() == before
    assert d.check_published() == len(owed)


def test_clock_that_stands_earlier_ends_before_later_records(deploy):
    d = deploy()
    owed, paid = fill(d)
    d.drain("2026-11-02T00:10:00+08:00")
    check_closed(d, DAYS[:1])
    first = {key: amount for key, amount in owed.items() if key[1] == datetime.date(2026, 11, 1)}
    rows = d.sql("select account_id, business_day, amount from settled.settlements")
    assert {(account, day): amount for account, day, amount in rows} == first
    d.drain("2026-11-02T23:00:00+08:00")  # not due yet
    check_closed(d, DAYS[:1])
    d.drain(AFTER)
    check_closed(d, DAYS)
    check_amounts(d, owed, paid)
    d.check_published()


def test_empty_days_are_closed_too(deploy):
    d = deploy(partitions=3)
    d.drain("2026-11-05T12:00:00+08:00")
    check_closed(d, ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"])
    cuts = d.sql("select distinct cut_by, from_offset, to_offset from settled.day_cutoffs")
    assert cuts == [("CLOCK", 0, 0)]


def test_packages_and_suspension(deploy):
    d = deploy()
    d.purchase("p", "pack", "AUDIENCE_INSIGHT", 50, 10000000, at(DAYS[0], "08:00:00"))
    for n in range(60):
        d.call("p", f"c{n}", at(DAYS[0], "09:00:00") + n * 1000)
    d.top_up("p", "more", 10 * INSIGHT + 1, at(DAYS[1], "10:00:00"))
    d.flush()
    d.drain("2026-11-03T00:10:00+08:00")
    lines = d.sql("select charge, package_id, units, amount from settled.settlement_lines order by line_no")
    assert lines == [("PACKAGE", "pack", 50, 0), ("POSTPAID", None, 10, 10 * INSIGHT)]
    status = d.sql("select account_sequence, status, cause, balance from settled.status_changes order by 1")
    assert status == [(1, "SUSPENDED", "ARREARS", -10 * INSIGHT), (2, "ACTIVE", "CREDIT", 1)]
    assert d.sql("select remaining from settled.packages") == [(0,)]
    d.check_published()


def test_killed_again_and_again_ends_the_same(deploy, dsn):
    calm = deploy(dsn=dsn)
    owed, _ = fill(calm, accounts=200, per_day=40)
    calm.drain(AFTER)
    want = calm.outcome()

    other = dsn.rpartition("/")[0] + "/" + dsn.rpartition("/")[2] + "_killed"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE {other.rpartition("/")[2]}')
    try:
        rough = deploy(dsn=other, inputs_of=calm)
        rng = random.Random(7)
        for _ in range(6):
            process = rough.start("--clock", AFTER)
            process.await_line("shards assigned", 60)
            time.sleep(rng.uniform(0, 1.2))
            process.kill()
        rough.drain(AFTER)
        assert rough.outcome() == want
        assert rough.check_published() == len(owed)
    finally:
        for each in rough.processes:
            each.kill()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE {other.rpartition("/")[2]} WITH (FORCE)')


def test_two_processes_share_the_shards(deploy):
    d = deploy(workers=1)
    owed, paid = fill(d)
    one = d.start("--clock", AFTER)
    two = d.start("--clock", AFTER)
    deadline = time.monotonic() + 60
    while True:
        states = [p.metric("settled_shard_state", state="running") for p in (one, two)]
        if states == [2, 2]:
            break
        assert time.monotonic() < deadline, f"shards running: {states}\n{one.log[-3000:]}\n{two.log[-3000:]}"
        time.sleep(0.2)
    drained = d.drain("2026-11-04T00:10:00+08:00", status=75, seconds=60)
    assert "shards are owned by other processes; these settle them" in drained.log
    assert one.stop() == 0
    deadline = time.monotonic() + 60
    while two.metric("settled_shard_state", state="running") != 4:
        assert time.monotonic() < deadline, two.log[-3000:]
        time.sleep(0.2)
    assert two.stop() == 0
    d.drain(AFTER)
    check_amounts(d, owed, paid)
    check_closed(d, DAYS)
    d.check_published()


def test_health_metrics_and_a_clean_end(deploy):
    d = deploy()
    owed, _ = fill(d)
    d.top_up("bad", "refund", -5, at(DAYS[0], "10:00:00"))
    d.flush()
    process = d.start("--clock", AFTER)
    process.await_ready()
    deadline = time.monotonic() + 60
    while process.metric("settled_days_closed_total") < d.partitions * len(DAYS):
        assert time.monotonic() < deadline, process.log[-4000:]
        time.sleep(0.1)
    assert process.get("/healthz/live")[0] == 200
    assert process.get("/nothing")[0] == 404
    assert process.metric("settled_settlements_total") == len(owed)
    assert process.metric("settled_rejects_total", reason="REFUND") == 1
    assert process.metric("settled_records_total", topic=d.topics["calls"], result="accepted") == \
        d.sql("select sum(accepted) from settled.day_cutoffs where topic = %s", d.topics["calls"])[0][0]
    assert process.metric("settled_postgres_up") == 1
    deadline = time.monotonic() + 30
    while process.metric("settled_relay_published_sequence") < process.metric("settled_outbox_sequence"):
        assert time.monotonic() < deadline, process.log[-4000:]
        time.sleep(0.1)
    began = time.monotonic()
    assert process.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 15
    assert d.check_published() == len(owed)


def test_idle_logs_are_cut_by_the_clock(deploy):
    before = [str(today() - datetime.timedelta(days=n)) for n in (2, 1)]
    d = deploy(first_day=before[0], grace="0m")
    d.call("a", "c", at(before[0], "10:00:00"))
    d.flush()
    process = d.start()
    deadline = time.monotonic() + 60
    while process.metric("settled_days_closed_total") < d.partitions * 2:
        assert time.monotonic() < deadline, process.log[-4000:]
        time.sleep(0.1)
    check_closed(d, before)
    assert {row[0] for row in d.sql("select cut_by from settled.day_cutoffs")} == {"CLOCK"}
    # The day that is open takes what comes now.
    d.top_up("a", "credit", 12345, at(str(today())), timestamp=int(time.time() * 1000))
    d.flush()
    deadline = time.monotonic() + 30
    while not d.sql("select 1 from settled.credits"):
        assert time.monotonic() < deadline, process.log[-4000:]
        time.sleep(0.1)
    assert process.stop() == 0


def test_a_topic_made_again_is_refused(deploy):
    d = deploy(partitions=1, workers=1)
    d.top_up("a", "one", 100, at(DAYS[0], "10:00:00"))
    d.flush()
    d.drain("2026-11-02T00:10:00+08:00")
    d.delete_topics(["credits"])
    d._make_topics(["credits"])
    assert "deleted and made again" in d.drain(AFTER, status=78).log
    d.top_up("b", "two", 200, at(DAYS[0], "10:00:00"))
    d.flush()
    assert "deleted and made again" in d.drain(AFTER, status=78).log


def test_a_record_that_shows_where_none_was_is_refused(deploy):
    """A broker takes an aborted record for a committed one: the close had counted one less."""
    d = deploy(partitions=1)
    fill(d)
    d.drain(AFTER)
    where = f"where business_day = '{DAYS[1]}' and topic = '{d.topics['calls']}'"
    judged, start, end = d.sql(f"select accepted + duplicates, from_offset, to_offset from settled.day_cutoffs {where}")[0]
    d.sql(f"update settled.day_cutoffs set accepted = accepted - 1, void = void + 1 {where} returning 1")
    process = d.drain("2026-11-05T00:10:00+08:00", status=78)
    assert (f"of {DAYS[1]} the calls log has {judged} accepted calls and duplicates in offsets {start}..{end}, but "
            f"{judged - 1} are recorded (records show that were not there)") in process.log
    assert d.sql("select count(*) from settled.day_closes") == [(3,)]
    # An audit that begins later reads that day again too, and says the same; one that begins before compares the row.
    assert "(records show that were not there)" in d.run("audit", "--from", DAYS[2], status=1)
    assert "day_cutoffs" in d.run("audit", status=1)


def test_fixed_values_never_change(deploy):
    d = deploy(partitions=1, workers=1)
    d.drain("2026-11-02T00:10:00+08:00")
    d.config = d.write_config("other.yaml", billing={"first_day": "2026-11-02"})
    process = d.start("--drain", "--clock", AFTER)
    assert process.wait() == 78
    assert "first_day" in process.log


def test_lost_connections_lose_nothing(deploy):
    d = deploy(workers=1)
    owed, paid = fill(d, accounts=200, per_day=40)
    process = d.start("--clock", AFTER)
    process.await_line("shards assigned")
    for _ in range(20):
        d.sql("select pg_terminate_backend(pid) from pg_stat_activity "
              "where datname = current_database() and pid <> pg_backend_pid()")
        time.sleep(0.05)
    deadline = time.monotonic() + 60
    while process.metric("settled_days_closed_total") < d.partitions * len(DAYS):
        assert time.monotonic() < deadline, process.log[-4000:]
        time.sleep(0.1)
    assert process.stop() == 0
    d.drain(AFTER)
    check_amounts(d, owed, paid)
    assert d.check_published() == len(owed)


def test_a_held_day_waits_for_the_operator(deploy):
    d = deploy(partitions=1, workers=1)
    owed, paid = fill(d, days=DAYS[:1])
    for n in range(150):
        d.send_bytes("calls", b"not a record", at(DAYS[0], "22:00:00"), f"broken-{n}")
    d.top_up("account-000", "while-held", 77, at(DAYS[1], "10:00:00"))
    d.flush()
    paid["account-000"] += 77
    clock = "2026-11-03T00:10:00+08:00"
    assert "held" in d.drain(clock, status=75).log
    assert d.sql("select 1 from settled.day_closes") == []
    assert d.sql("select amount from settled.credits where credit_id = 'while-held'") == [(77,)]
    d.run("rejects", "accept", "--all")
    d.drain(clock)
    assert {row[0] for row in d.sql("select cut_by from settled.day_cutoffs where business_day = '2026-11-01'")} == \
        {"RELEASE"}
    assert d.sql("select kind, content ~ ' 150 ' from settled.decisions") == [("ACCEPT", True)]
    check_amounts(d, owed, paid)
    check_closed(d, DAYS[:2])
    d.check_published()


def test_a_record_of_the_future_waits_until_it_is_passed(deploy):
    now = int(time.time() * 1000)
    d = deploy(partitions=1, workers=1, first_day=str(today() - datetime.timedelta(days=1)))
    process = d.start()
    process.await_ready()
    for call_id, stamp in ("before", now), ("astray", at("2031-01-01")), ("after", now):
        d.call("a", call_id, now - 1000, timestamp=stamp)
    d.flush()
    wait_until(lambda: process.metric("settled_log_waiting", **{"for": "future_record"}) == 1, process)
    assert process.metric("settled_log_position", topic=d.topics["calls"]) == 1
    d.run("rejects", "pass", f"{d.topics['calls']}/0/1")
    wait_until(lambda: process.metric("settled_records_total", topic=d.topics["calls"], result="accepted") == 3, process)
    assert d.sql("select kind, operator = settled.percent_encoded(session_user) from settled.decisions") == [("PASS", True)]
    assert process.stop() == 0


def test_parameters_are_applied_for_days_to_come(deploy):
    d = deploy(partitions=2, workers=1)
    process = d.start("--clock", "2026-11-01T12:00:00+08:00")
    process.await_ready()
    wait_until(lambda: d.sql("select count(open_day) from settled.shards") == [(2,)], process)
    d.write_config(billing={"grace": "10m"})
    process.process.send_signal(signal.SIGHUP)
    process.await_line("configuration reloaded: log level and format")
    process.await_line("configuration differs.*parameter=billing.grace configured=10m recorded=5m")
    assert d.sql("select from_day::text, grace_ms from settled.parameters") == [("-infinity", 300000)]
    assert "billing.grace: 10m, until then 5m" in d.run("parameters", "apply")
    rows = d.sql("select from_day::text, grace_ms from settled.parameters order by from_day")
    assert rows == [("-infinity", 300000), ("2026-11-02", 600000)]
    d.config.write_text("kafka: {brokers: [")
    process.process.send_signal(signal.SIGHUP)
    process.await_line("the old one stays in force")
    assert process.metric("settled_config_reloads_total") == 1
    assert process.metric("settled_config_reload_errors_total") == 1
    d.write_config(billing={"grace": "10m"})
    assert process.stop() == 0
    # The first day is cut by the old grace, the second by the new one.
    d.drain("2026-11-03T00:07:00+08:00")
    check_closed(d, DAYS[:1])
    d.drain("2026-11-03T00:11:00+08:00")
    check_closed(d, DAYS[:2])


def test_ids_of_eight_bytes(deploy):
    """Apicurio's framing: in and out, recorded, and never changed."""
    d = deploy(workers=1, framing="apicurio")
    large = 2 ** 40 + 5
    folder = d.folder / d.name / "schemas"
    (folder / f"{large}.avsc").write_bytes((folder / f"{SCHEMAS['CallRecord']}.avsc").read_bytes())
    noon = at("2026-11-01", "12:00:00")
    d.call("a", "small", noon)
    d.call("a", "large", noon, schema=large)
    d.call("a", "none", noon, schema=2 ** 62)
    d.flush()
    d.drain("2026-11-02T00:10:00+08:00")
    assert d.sql("select calls::int from settled.settlements") == [(2,)]
    assert d.sql("select reason, detail from settled.rejects") == [
        ("UNKNOWN_SCHEMA", f"no schema registry has a schema of id {2 ** 62}")]
    assert (large,) in d.sql("select id from settled.writer_schemas")
    d.check_published()
    d.audit()
    d.run("explain", "a", "2026-11-01")
    d.framing = "confluent"
    d.write_config()
    assert "schemas.framing is confluent, but apicurio is recorded in the database" in d.drain(
        "2026-11-03T00:10:00+08:00", status=78).log
