"""Several databases: the rows of shard p are in database p mod n, and everything is as with one."""

import concurrent.futures
import contextlib
import json
import time
import urllib.parse
import uuid

import psycopg
import pytest
from deployment import at

DAYS = ["2026-11-01", "2026-11-02", "2026-11-03"]
CLOCKS = ["2026-11-02T00:10:00+08:00", "2026-11-03T00:10:00+08:00", "2026-11-04T00:10:00+08:00"]
ACCOUNTS = [f"account-{n:02}" for n in range(24)]
PARTITIONS = 4


@pytest.fixture
def more(dsn):
    """Makes databases beside the test's own."""
    superuser, made = dsn.rpartition("/")[0], []
    with psycopg.connect(dsn, autocommit=True) as connection:
        def make():
            made.append(f"more_{uuid.uuid4().hex}")
            connection.execute(f"create database {made[-1]}")
            return f"{superuser}/{made[-1]}"

        yield make
        for name in made:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def pair(deploy, more):
    """A deployment with two databases, and one with the same inputs and one database."""
    d = deploy(partitions=PARTITIONS, workers=2, more_databases=[more()], late_days=1)
    return d, deploy(partitions=PARTITIONS, workers=2, inputs_of=d, dsn=more(), late_days=1)


def send_day(d, day):
    """Calls of which some conflict and some cannot be decoded, credits, and packages."""
    for i, account in enumerate(ACCOUNTS):
        for n in range(3):
            d.call(account, f"{day}-{account}-{n}", at(day, "10:00:00") + n, leads=100 * i)
        d.call(account, f"{day}-{account}-0", at(day, "11:00:00"), leads=7)
        d.send_bytes("calls", b"nothing", at(day, "11:00:01"), account)
        d.top_up(account, f"top-up-{day}-{account}", 100 * i + 1, at(day, "12:00:00"))
        if i % 3 == 0:
            d.purchase(account, f"pack-{day}-{account}", "PURCHASE_INTENT", 10_000, 7_000_000, at(day, "09:00:00"))
    d.flush()


def asked(process, path, **parameters):
    """All items of a list, page by page; and how many pages it had."""
    items, pages, after = [], 0, {}
    while True:
        query = urllib.parse.urlencode({**parameters, **after})
        status, text = process.get(f"/v1/{path}?{query}")
        assert status == 200, text
        body = json.loads(text)
        items += body["items"]
        pages += 1
        if "next" not in body or not body["next"]:
            return items, pages
        after = {"after": body["next"]}


def without(items, *keys):
    return [{key: value for key, value in item.items() if key not in keys} for item in items]


@contextlib.contextmanager
def away(dsn, beside):
    """Nobody can reach the database; `beside` is another one of the server."""
    name = dsn.rpartition("/")[2]
    with psycopg.connect(beside, autocommit=True) as connection:
        connection.execute(f"alter database {name} allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        yield
        connection.execute(f"alter database {name} allow_connections true")


def settled(d, dsns, *verb, status=78):
    """Runs a verb with other databases."""
    kept, d.config = d.config, d.write_config("other.yaml", postgres={"dsn": dsns})
    try:
        return d.run(*verb, status=status)
    finally:
        d.config = kept


def commands_of(d):
    """What the commands tell of some accounts and of all rejects."""
    told = []
    for account in ACCOUNTS[:6]:
        told += [d.run("explain", account, DAYS[1]), d.run("statement", account, "--month", "2026-11"),
                 d.run("quote", "--service", "PURCHASE_INTENT", "--leads", "5000", "--account", account)]
    told.append(d.run("rejects", "list", "--all"))
    told += [d.run("rejects", "list", "--group-by", by) for by in ("reason", "topic", "account")]
    return told


def test_everything_is_as_with_one_database(pair):
    d, twin = pair
    for day, clock in zip(DAYS, CLOCKS):
        send_day(d, day)
        for each in pair:
            each.drain(clock)
            each.run("rejects", "accept", "--all")
            each.drain(clock)
    assert d.outcome() == twin.outcome()
    assert len(d.outcome()["closes"]) == PARTITIONS * len(DAYS)
    for number, dsn in enumerate(d.dsns):
        with psycopg.connect(dsn) as connection:
            for table in ("shards", "accounts", "settlements", "outbox", "day_closes"):
                rows = connection.execute(f"select distinct shard from settled.{table} order by 1").fetchall()
                assert rows == [(shard,) for shard in range(PARTITIONS) if shard % 2 == number], table
    assert d.check_published() == twin.check_published() > 0
    assert commands_of(d) == commands_of(twin)
    processes = [each.start("--clock", CLOCKS[-1]) for each in pair]
    for process in processes:
        process.await_ready()
    for path, limit, pages in (("accounts", 5, 5), ("days", 5, 3), ("decisions", 3, 4), ("rejects", 50, 2)):
        (ours, count), (theirs, _) = (asked(process, path, limit=limit, **({"all": "true"} if path == "rejects" else {}))
                                      for process in processes)
        volatile = ("request", "closed_at", "decided_at", "decided_as_of", "epoch")
        assert without(ours, *volatile) == without(theirs, *volatile) and count >= pages, path
    assert [shard["shard"] for shard in asked(processes[0], "shards", limit=3)[0]] == list(range(PARTITIONS))
    for path in ("accounts/account-03", "accounts/account-04/settlements", "deployment"):
        ours, theirs = (json.loads(process.get(f"/v1/{path}")[1]) for process in processes)
        assert ours["final_through"] == theirs["final_through"] == "2026-11-02"
        if path != "deployment":
            assert ours.get("packages") == theirs.get("packages") and ours.get("items") == theirs.get("items")
    assert all(process.stop() == 0 for process in processes)


def test_databases_in_another_order_or_number_are_refused(pair, more):
    d, _ = pair
    d.drain(CLOCKS[0])
    for dsns, told in ((d.dsns[::-1], "as database 1 of 2, and it is recorded as database 2 of 2"),
                       (d.dsns[:1], "as database 1 of 1, and it is recorded as database 1 of 2"),
                       ([*d.dsns, more()], "as database 1 of 3, and it is recorded as database 1 of 2")):
        settled(d, dsns, "migrate", status=0)
        for verb in (["check"], ["run", "--drain", "--clock", CLOCKS[1]], ["audit"]):
            said = settled(d, dsns, *verb, status=2 if verb == ["audit"] else 78)
            assert told in said and "their number and order never change" in said, said


def test_what_is_recorded_is_copied_and_only_home_decides(pair):
    d, _ = pair
    send_day(d, DAYS[0])
    d.drain(CLOCKS[0])
    d.config = d.write_config(billing={"late_days": 3})
    d.run("parameters", "apply")
    rows = "select from_day::text, late_days, book_sha256 from settled.parameters order by from_day"
    recorded = d.sql(rows)
    assert len(recorded) == 2
    with psycopg.connect(d.dsns[1], autocommit=True) as second:
        assert second.execute(rows).fetchall() == recorded
        # A recorder that died before it had copied: whoever reads is told, and the next start mends it.
        second.execute("delete from settled.parameters where late_days = 3")
        assert "has not got all that is recorded in the first database" in d.run("audit", status=2)
        d.drain(CLOCKS[1])
        assert second.execute(rows).fetchall() == recorded
        # What home does not have is no copy.
        second.execute("insert into settled.parameters select '2027-01-01', grace_ms, 9, future_tolerance_ms, credit_days,"
                       " max_reject_share_ppm, max_refused_share_ppm, package_left, expiring_days, balance_below, book_sha256"
                       " from settled.parameters limit 1")
        assert "that the first database of postgres.dsn does not have" in d.run("check", status=78)


def test_parameters_that_come_while_a_process_runs(pair):
    """The second database's shards go by them as well, and none by others, though its copy comes late."""
    d, _ = pair
    process = d.start("--clock", "2026-11-01T23:50:00+08:00", "--speed", "3600")
    process.await_ready()
    # As if the recorder had died between home and the copy.
    with psycopg.connect(d.dsn, autocommit=True) as home:
        home.execute("insert into settled.parameters select '2026-11-02', grace_ms, 3, future_tolerance_ms, credit_days,"
                     " max_reject_share_ppm, max_refused_share_ppm, package_left, expiring_days, balance_below, book_sha256"
                     " from settled.parameters")
    d.until(lambda: len(d.everywhere("select 1 from settled.day_closes where business_day = '2026-11-02'")) == PARTITIONS,
            process, seconds=120)
    assert process.stop() == 0
    first, second = ({digest for digest, in d.everywhere("select parameters from settled.day_closes where business_day = %s", day)}
                     for day in DAYS[:2])
    assert len(first) == len(second) == 1 and first != second
    rows = "select from_day::text, late_days from settled.parameters order by 1"
    assert len(d.sql(rows)) == 2 and d.everywhere(rows) == sorted(2 * d.sql(rows))


def test_a_recorder_at_work_holds_up_a_new_day_and_nothing_else(pair):
    """Whoever records locks home first and then the others: a step has the second database's lock and wants home's."""
    d, _ = pair
    process = d.start("--clock", "2026-11-01T23:50:00+08:00", "--speed", "90")
    process.await_ready()
    with psycopg.connect(d.dsn) as home, psycopg.connect(d.dsns[1]) as second:
        home.execute("select 1 from settled.deployment for update")
        d.until(lambda: "could not obtain lock on row" in process.log, process)
        begun = time.monotonic()
        second.execute("select 1 from settled.deployment for update")  # no deadlock: the step has let go
        assert time.monotonic() - begun < 5
        assert d.everywhere("select 1 from settled.day_closes") == []
    d.until(lambda: len(d.everywhere("select 1 from settled.day_closes")) >= PARTITIONS, process)
    assert process.stop() == 0


def test_a_step_that_was_let_in_is_waited_for(pair):
    """It holds its database's lock until its commit, and then its day is one that a shard has reached."""
    d, _ = pair
    d.drain("2026-11-01T12:00:00+08:00")
    d.config = d.write_config(billing={"late_days": 3})
    with concurrent.futures.ThreadPoolExecutor() as beside, psycopg.connect(d.dsns[1]) as step:
        step.execute("select 1 from settled.deployment for share")
        applied = beside.submit(d.run, "parameters", "apply")
        time.sleep(1)
        assert not applied.done()
        step.execute("update settled.shards set open_day = '2026-11-20' where shard = 1")
        step.commit()
        applied.result()
    assert d.sql("select max(from_day)::text from settled.parameters") == [("2026-11-21",)]


def test_a_database_that_is_away_stops_its_own_shards_alone(pair):
    d, _ = pair
    process = d.start("--clock", "2026-11-01T12:00:00+08:00")
    process.await_ready()

    def seen():
        return {account for account, in d.sql("select account_id from settled.accounts")}

    with away(d.dsns[1], d.dsn):
        for account in ACCOUNTS:
            d.top_up(account, f"first-{account}", 100, at(DAYS[0], "10:00:00"))
        d.flush()
        d.until(lambda: len(seen()) > 0, process)
        d.until(lambda: process.get("/healthz/ready")[0] == 503, process)
        here = min(seen())
        status, body = process.get(f"/v1/accounts/{here}/status-changes")
        assert status == 200 and json.loads(body)["final_through"] is None
    process.await_ready()
    d.until(lambda: len(d.everywhere("select 1 from settled.credits")) == len(ACCOUNTS), process)
    assert process.stop() == 0
    d.audit()


def test_a_day_is_closed_while_a_database_is_away(pair):
    d, _ = pair
    process = d.start("--clock", "2026-11-01T23:50:00+08:00", "--speed", "90")
    process.await_ready()
    closes = "select 1 from settled.day_closes where business_day = '2026-11-01'"
    with away(d.dsns[1], d.dsn):
        d.until(lambda: len(d.sql(closes)) == PARTITIONS / 2, process)
    d.until(lambda: len(d.everywhere(closes)) == PARTITIONS, process)
    assert process.stop() == 0


def test_requests_go_where_their_shard_is(pair):
    """Records of the wrong partition are requeued, from one database's shard to another's."""
    d, _ = pair
    for i, account in enumerate(ACCOUNTS):
        record = {"call_id": f"c-{i}", "account_id": account, "service": "AUDIENCE_INSIGHT", "lead_count": None,
                  "occurred_at": at(DAYS[0], "10:00:00"), "request_id": None}
        d.send("calls", record, at(DAYS[0], "10:00:01"), partition=i % PARTITIONS)
    d.flush()
    process = d.start("--clock", "2026-11-01T12:00:00+08:00")
    process.await_ready()
    read = "select coalesce(sum(accepted + rejected), 0)::int from settled.shard_logs"
    d.until(lambda: sum(count for count, in d.everywhere(read)) == len(ACCOUNTS), process)
    d.run("rejects", "requeue", "--all", "--wait", "60")
    ids = [[number for number, in psycopg.connect(dsn).execute("select id from settled.requests").fetchall()] for dsn in d.dsns]
    assert all(ids) and all(number % 2 == part for part, numbers in enumerate(ids) for number in numbers)
    assert d.run("rejects", "list", "--format", "json") == "[]\n"
    assert process.stop() == 0
    d.drain(CLOCKS[0], status=0)
    assert d.everywhere("select sum(calls)::int from settled.settlements having count(*) > 0") != []
    assert sum(row[0] for row in d.everywhere("select coalesce(sum(calls), 0)::int from settled.settlements")) == len(ACCOUNTS)
    d.audit()


def test_months_are_retired_in_each(deploy, more, tmp_path):
    d = deploy(partitions=PARTITIONS, workers=2, more_databases=[more()], first_day="2026-01-30", credit_days=1, late_days=0)
    for account in ACCOUNTS:
        d.top_up(account, f"c-{account}", 100, at("2026-01-30", "10:00:00"))
        d.call(account, f"c-{account}", at("2026-01-30", "10:00:00"))
    d.flush()
    d.drain("2026-02-10T00:10:00+08:00")
    archive = tmp_path / "archive"
    archive.mkdir()
    told = d.run("retire", "--before", "2026-02", "--archive", str(archive))
    assert told.count("archived") == 2
    assert sorted(str(path.relative_to(archive)) for path in archive.glob("*/*")) == ["database-1/2026-01", "database-2/2026-01"]
    rows = [json.loads((path / "manifest.json").read_text()) for path in archive.glob("*/*")]
    assert sum(file["rows"] for manifest in rows for file in manifest["files"] if file["file"] == "settlements.csv") == len(ACCOUNTS)
    assert d.everywhere("select 1 from settled.settlements") == []
    d.drain("2026-02-11T00:10:00+08:00")


def test_check_names_the_database(pair, more):
    d, _ = pair
    empty = more()
    said = settled(d, [d.dsn, empty], "check")
    assert f"{empty.rpartition('/')[2]}: " in said and "run \"settled migrate\"" in said
    said = settled(d, [d.dsn, d.dsn], "check")
    assert "postgres.dsn: names the same database twice" in said
