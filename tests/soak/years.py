#!/usr/bin/env python3
"""Years of a small deployment: does what it reads, holds and writes depend on its age?

    tests/soak/years.py [--years N] [--settled PATH]

Every account is used on each day. One pays in time, one is suspended and resumed again and again, one never pays. At the
end of each year these are measured, in rows that PostgreSQL reads and in partitions that it touches, never in seconds: a
restart, a day (its commits and its close), and an audit of one day, this one also in messages that it reads of the output
topics; besides, what the daemon holds in memory, after a year of running and after a restart. The last year must be as the first one. On the way months are retired: the deployment goes
on, and what is in the tables and in the archives together is every call, billed once. Starts its own broker and PostgreSQL;
needs the release build and the Python packages of tests/requirements.txt (build/venv, which tests/run.sh makes).
"""

import argparse
import collections
import contextlib
import csv
import datetime
import hashlib
import json
import pathlib
import sys
import tempfile
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from deployment import ZONE, at, own_deployment  # noqa: E402

CREDIT_DAYS, LATE_DAYS = 40, 2
INSIGHT = 220000  # fen a call
PAYS, STUMBLES, NEVER = "pays", "stumbles", "never"
GROWING = ("settlements", "settlement_lines", "status_changes", "credits", "rejects", "notices", "month_statements",
           "month_statement_lines")
# Not counted: rows that are read once in a while, as long as a process lives (shards, parameters); rows of days, of which
# there are about five a day and shard (day_cutoffs, day_closes); packages, all of which an audit compares.
COUNTED = (*GROWING, "outbox", "accounts")
PLANNED = 4  # rows of a partition: the planner looks at both ends of an index
MARGIN, SLACK = 1.15, 10  # of rows: the last days of years are not all alike

Cost = collections.namedtuple("Cost", "rows months")


class Grown(AssertionError):
    """Something depends on the age of the deployment."""


class Years:
    def __init__(self, deployment, first_day, year_days):
        self.d, self.first, self.year_days = deployment, datetime.date.fromisoformat(first_day), year_days
        self.sent = self.calls = 0
        name = deployment.dsn.rpartition("/")[2]
        with psycopg.connect(deployment.dsn, autocommit=True) as connection:
            # A small table is read whole, with or without an index: here each index that can be used is.
            connection.execute(f'alter database "{name}" set enable_seqscan = off')
            connection.execute(f'alter database "{name}" set jit = off')  # which takes such plans for expensive ones

    def day(self, number):
        return self.first + datetime.timedelta(days=number)

    def send_day(self, number):
        day = str(self.day(number))
        for account in (PAYS, STUMBLES, NEVER):
            self.d.call(account, f"{account}-{number}", at(day, "10:00:00"))
            self.calls += 1
        self.d.top_up(PAYS, f"credit-{number}", 2 * INSIGHT, at(day, "11:00:00"))
        if number % 7 == 3:
            self.d.top_up(STUMBLES, f"credit-{number}", 8 * INSIGHT, at(day, "12:00:00"))
        if number % 30 == 5:
            self.d.purchase(PAYS, f"package-{number}", "AUDIENCE_INSIGHT", 50, 10000000, at(day, "09:00:00"))
            self.d.top_up(NEVER, f"nothing-{number}", 0, at(day, "09:00:00"))  # a reject

    def clock(self, number):
        """Just after this day ended."""
        return f"{self.day(number + 1)}T00:10:00+08:00"

    def run_to(self, number):
        """A daemon that lives until this day is closed; its memory then."""
        process = self.d.start("--clock", self.clock(number))
        closed = "select count(*)::int from settled.shards where open_day > %s and relayed = sequence"
        self.d.until(lambda: self.d.sql(closed, self.day(number)) == [(self.d.partitions,)], process, seconds=600)
        self.d.run("rejects", "accept", "--all")
        self.d.until(lambda: self.d.sql("select count(*)::int from settled.rejects where decision is null") == [(0,)],
                     process)
        held = process.metric("settled_fold_memory_bytes")
        assert process.stop() == 0
        return held

    def settled(self):
        """What is read until the statistics have come to rest: PostgreSQL counts when a session ends."""
        with psycopg.connect(self.d.dsn, autocommit=True) as connection:
            while connection.execute("select count(*) from pg_stat_activity where datname = current_database()"
                                     " and backend_type = 'client backend'").fetchone()[0] > 1:
                time.sleep(0.05)
            return dict(connection.execute("select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) from"
                                           " pg_stat_user_tables where schemaname = 'settled'").fetchall())

    @contextlib.contextmanager
    def measured(self):
        """Gives a list, to which the cost is appended."""
        cost, before = [], self.settled()
        yield cost
        read = {name: rows - before.get(name, 0) for name, rows in self.settled().items() if rows > before.get(name, 0)}
        months = sorted({name[-7:] for name, rows in read.items()
                         if name.rpartition("_20")[0] in GROWING and rows > PLANNED})
        cost.append(Cost(sum(rows for name, rows in read.items() if name.partition("_20")[0] in COUNTED), months))

    def measure(self, number):
        """The costs after this day, and after one more."""
        costs = {}
        with self.measured() as cost:
            process = self.d.start("--clock", self.clock(number))
            process.await_ready()
            costs["held after a restart"] = Cost(int(process.metric("settled_fold_memory_bytes")), [])
            assert process.stop() == 0
        costs["restart"] = cost[0]
        self.send_day(number + 1)
        self.d.flush()
        with self.measured() as cost:
            self.d.drain(self.clock(number + 1))
        costs["a day, and its close"] = cost[0]
        day = str(self.day(number - 1))
        with self.measured() as cost:
            told = json.loads(self.d.audit("--format", "json", "--from", day, "--to", day))
        costs["audit of a day"] = cost[0]
        costs["messages of an audit"] = Cost(sum(topic["to"] - topic["from"] for topic in told["topics"]), [])
        return costs


def months_before(day, count):
    """The names of so many months up to that of a day."""
    found = []
    for _ in range(count):
        found.append(f"{day:%Y_%m}")
        day = day.replace(day=1) - datetime.timedelta(days=1)
    return found


def compare(years, first, last, day):
    window = months_before(day + datetime.timedelta(days=2), 2 + (CREDIT_DAYS + 30) // 28)
    for what, cost in last.items():
        if cost.rows > first[what].rows * MARGIN + SLACK:
            raise Grown(f"{what}: {first[what].rows:,} in the first year, {cost.rows:,} in the last one")
        if not set(cost.months) <= set(window):
            raise Grown(f"{what} read {cost.months}; only {window} are needed")


@contextlib.contextmanager
def refused_with(text):
    try:
        yield
    except psycopg.Error as error:
        assert text in str(error), error
        return
    raise AssertionError(f"no error: {text}")


def check_refusals(d, before, oldest):
    """What is not published, or not decided, does not go; nor does anything while another one retires."""
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        relayed = connection.execute("select relayed from settled.shards").fetchone()
        connection.execute("update settled.shards set relayed = 1")
        assert "published up to row 1" in d.run("retire", "--before", before, status=78)
        connection.execute("update settled.shards set relayed = %s", relayed)
        decision = connection.execute("update settled.rejects set decision = null where business_day = (select min(business_day)"
                                      " from settled.rejects) returning business_day, 1").fetchone()
        assert f"1 rejects of {d.topics['credits']}/0 are undecided" in d.run("retire", "--before", before, status=78)
        connection.execute("update settled.rejects r set decision = d.number from settled.decisions d join"
                           " settled.request_records q using (request) where q.topic = r.topic and q.kafka_offset ="
                           " r.kafka_offset and r.business_day = %s", decision[:1])
        connection.execute("select pg_advisory_lock('settled'::regnamespace::oid::int, 1)")
        assert "another settled retire is at work" in d.run("retire", "--before", before, status=75)
    assert d.sql("select count(*)::int from settled.settlements where business_day = %s", oldest) == [(3,)]


def check_archive_is_kept(d, before, folder, oldest):
    """A file of the same name is never overwritten, and then no table is dropped."""
    month = folder / f"{oldest:%Y-%m}"
    month.mkdir()
    (month / "credits.csv").write_text("of somebody else\n")
    assert "is there already, with other contents" in d.run("retire", "--before", before, "--archive", str(folder), status=78)
    assert d.sql(f"select count(*) > 0 from settled.credits_{oldest:%Y_%m}") == [(True,)]
    (month / "credits.csv").unlink()


def retire(years, folder, number):
    """Retires what can go after this day: it is refused one month later, and names the month that is possible."""
    d = years.d
    refused = d.run("retire", "--before", f"{years.day(number):%Y-%m}", status=78)
    assert "billing.credit_days" in refused, refused
    before = refused.partition("at most --before ")[2][:7]
    there = d.sql("select count(*)::int, coalesce(sum(calls), 0)::int from settled.settlements")[0]
    oldest = d.sql("select min(business_day) from settled.settlements")[0][0]
    if f"{oldest:%Y-%m}" >= before:
        raise Grown(f"nothing can be retired after {years.day(number)}: {refused}")
    assert "would be retired" in d.run("retire", "--before", before, "--dry-run")
    assert d.sql("select count(*)::int, coalesce(sum(calls), 0)::int from settled.settlements")[0] == there
    check_refusals(d, before, oldest)
    d.run("retire", "--before", before)  # detached; the next one archives them
    check_archive_is_kept(d, before, folder, oldest)
    with psycopg.connect(d.dsn) as connection, refused_with("its month is retired"):
        connection.execute("select settled.make_partitions(%s, %s)", (oldest, oldest))
    assert "archived" in d.run("retire", "--before", before, "--archive", str(folder))
    assert d.run("retire", "--before", before, "--archive", str(folder)) == ""
    compared = f"{before}-02"  # on the first day the statements of a retired month were written
    assert "retired" in d.audit("--from", str(oldest), "--to", str(oldest), status=2)
    assert "retired" in d.run("explain", PAYS, str(oldest), status=78)
    d.run("explain", PAYS, str(years.day(number)))
    assert f"days before {compared} are not compared" in d.audit()
    assert "retired" in d.audit("--from", f"{before}-01", "--to", f"{before}-01", status=2)


def archived(folder):
    """The rows of all archives by table; each file is as its manifest says."""
    rows = collections.defaultdict(list)
    for manifest in sorted(folder.glob("*/manifest.json")):
        for file in json.loads(manifest.read_text())["files"]:
            path = manifest.parent / file["file"]
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"], path
            with path.open(newline="") as lines:
                found = list(csv.DictReader(lines))
            assert len(found) == file["rows"], path
            rows[path.stem] += found
    return rows


def check_rows(years, folder):
    """What is in the tables and in the archives together is every call, billed once."""
    d, old = years.d, archived(folder)
    there = d.sql("select account_id, business_day::text, calls::int, amount::int8 from settled.settlements")
    everything = there + [(r["account_id"], r["business_day"], int(r["calls"]), int(r["amount"])) for r in
                          old["settlements"]]
    assert len({row[:2] for row in everything}) == len(everything) == years.calls  # a call a day and account
    assert all(row[2] == 1 for row in everything)
    assert len(old["settlement_lines"]) > 0 and len(old["credits"]) > 0 and len(old["rejects"]) > 0
    paid = sum(int(r["amount"]) for r in old["credits"]) + d.sql("select sum(amount)::int8 from settled.credits")[0][0]
    assert d.sql("select sum(balance)::int8 from settled.accounts")[0][0] == paid - sum(row[3] for row in everything)
    assert d.sql("select status, suspended_since < now() from settled.accounts where account_id = %s", NEVER) == [
        ("SUSPENDED", True)]


def check_outcome(years, folder):
    check_rows(years, folder)
    if years.d.sql(f"select to_regclass('settled.outbox_{years.first:%Y_%m_%d}') is not null") == [(True,)]:
        raise Grown("the outbox still has its first day")


def years(d, first_day, count, year_days, out=sys.stdout):
    """Runs a fresh deployment (options_of_deployment) for so many years of so many days."""
    y = Years(d, first_day, year_days)
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for year in range(count):
            begin = year * year_days
            for number in range(begin + (1 if year else 0), begin + year_days):
                y.send_day(number)
            d.flush()
            last = begin + year_days - 1
            held = y.run_to(last)
            costs = {"held after a year": Cost(int(held), []), **y.measure(last)}
            told.append(costs)
            for what, cost in costs.items():
                print(f"year {year + 1}, {what:22} {cost.rows:10,}  {' '.join(cost.months)}", file=out, flush=True)
            compare(y, told[0], costs, y.day(last))
            if year > 0:
                retire(y, pathlib.Path(folder), last + 1)
        check_outcome(y, pathlib.Path(folder))
    return told


def options_of_deployment(first_day):
    return {"first_day": first_day, "late_days": LATE_DAYS, "credit_days": CREDIT_DAYS, "partitions": 1, "workers": 1,
            "max_reject_share": "50%", "max_refused_share": "50%"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--settled", type=pathlib.Path, default=ROOT / "build" / "release" / "settled")
    options = parser.parse_args()
    first_day = "2023-01-10"  # so that no day that is measured ends a month: such a day has the statements too
    with own_deployment(options.settled, **options_of_deployment(first_day)) as (deployment, *_):
        try:
            years(deployment, first_day, options.years, 365)
        except AssertionError as error:
            print(f"years: {error}", file=sys.stderr)
            return 1
    print("the last year costs what the first one did, and every call was billed once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
