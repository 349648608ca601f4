#!/usr/bin/env python3
"""How long the close of a large day takes, against a COPY of the same rows into the same tables by one connection.

    build/venv/bin/python tests/bench/close.py [OPTIONS of bench.py]

In each round, for each number of accounts, a deployment of 8 partitions is filled with four calls an account, which is about
1.4 lines of a settlement. All of it is read, and the clock is past the day's end, but an open transaction on the log of
purchases keeps the day open. When it is committed, its record cuts the last log, and the day is closed at once:

    on shard 7 first. Its accounts are suspended by that, and credits resume some of them while nothing else is under way
    then on the other seven at once. This is the close that is timed. Meanwhile credits go to shard 7, twenty a second, as
    a gateway's customers would send them

The time is that from before the transaction is committed until a read_committed consumer has the last DayClosed: in each
topic the last message of its day, and within a shard the last of all. The COPY has the rows that this close has written, in
PostgreSQL's binary format, and puts them into a second database with the same tables, on one connection, one table after
the other. What a close takes of the processors tells how far it is from the least that this machine could do: the time if no
core had ever been idle. A credit is timed from before it is sent until a read_committed consumer has the resumption.
"""

import contextlib
import datetime
import os
import subprocess
import sys
import time

import confluent_kafka

import frame
from deployment import at

sys.path.append(str(frame.ROOT / "tests"))
from oracle import rules  # noqa: E402 (the path is set above)

PARTITIONS, WORKERS = 8, 2
ASIDE = PARTITIONS - 1  # the shard that is closed before
CALLS = 4  # an account
SECONDS = 600  # for which a close is waited for
CREDIT_PAUSE = 0.05  # s between credits during the close
# What a close writes, as a query of the rows of the shards that are closed together.
WRITTEN = {
    "accounts": "select * from settled.accounts where shard <> {aside}",
    "settlements": "select * from settled.settlements where shard <> {aside}",
    "settlement_lines": "select l.* from settled.settlement_lines l where exists (select from settled.settlements s where"
                        " s.account_id = l.account_id and s.business_day = l.business_day and s.shard <> {aside})",
    "status_changes": "select * from settled.status_changes where shard <> {aside}",
    "outbox": "select * from settled.outbox where shard <> {aside} order by shard, sequence",
}


class Size:
    """The rows of a number of accounts; `least`: the size with which its growth is compared."""

    def __init__(self, thousands, least=None):
        self.accounts = thousands * 1000
        name = f"close of a day, {self.accounts:,} accounts"
        self.whole = frame.Row(name, "s", "COPY", frame.ratio_at_most(0.9))
        self.p50, self.p99 = (frame.Row(f"{name}: credit to resumption elsewhere, {name_of}", "ms", "nothing is closed")
                              for name_of in ("p50", "p99"))
        self.busy = frame.Row(f"{name}: had no core been idle", "s", "COPY")
        self.database, self.others = (frame.Row(f"{name}: CPU of {whose}", "s", "PostgreSQL's for COPY")
                                      for whose in ("PostgreSQL", "settled and the broker"))
        self.rows = [self.whole, self.busy, self.database, self.others, self.p50, self.p99]
        self.growth = None
        if least:
            self.growth = frame.Row(f"{name}: growth", "µs an account", f"{least.accounts:,} accounts", frame.ratio_at_most(1.1))
            self.rows.append(self.growth)


LEAST = Size(125)
SIZES = [LEAST, Size(250, LEAST), Size(1000, LEAST)]
LONG = SIZES[2:]
ROWS = [row for size in SIZES for row in size.rows]


class Subject:
    """One close by one program, in a deployment of its own."""

    def __init__(self, bench, deployment, accounts):
        self.bench, self.deployment, self.accounts = bench, deployment, accounts
        self.next_day = frame.today() + datetime.timedelta(days=1)
        self.config = deployment.write_config("close.yaml", run={"open_transaction_wait": "1h"})
        self.stack = contextlib.ExitStack()
        self.process = self.statuses = self.day_closes = None
        self.suspended = []

    def hold_open(self, shards):
        """Begins a transaction with a purchase that ends the day of each of these shards, once it is committed."""
        d = self.deployment
        producer = confluent_kafka.Producer({
            "bootstrap.servers": d.brokers, "transactional.id": f"{d.name}-{shards[0]}", "partitioner": "murmur2_random",
            "transaction.timeout.ms": 800_000})
        producer.init_transactions()
        producer.begin_transaction()
        due = at(self.next_day, "00:05:00")
        names = {rules.murmur2(f"ender-{number}".encode()) % PARTITIONS: f"ender-{number}" for number in range(1000)}
        for shard in shards:
            producer.produce(d.topics["purchases"], d.encoded("purchases", {
                "purchase_id": f"end-{shard}", "account_id": names[shard], "service": "AUDIENCE_INSIGHT", "units": 1,
                "used": 0, "amount": 1, "currency": "CNY", "purchased_at": due}), names[shard], timestamp=due)
        producer.flush()
        return producer

    def number(self, statement):
        return self.deployment.sql(statement)[0][0]

    def until(self, condition):
        self.deployment.until(condition, self.process, seconds=SECONDS)

    def start(self):
        """Runs the program on a clock that stands still past the day's end, until all is read."""
        self.process = self.deployment.start("--clock", f"{self.next_day}T00:06:00+08:00", config=self.config)
        accepted = "select coalesce(sum(accepted), 0)::bigint from settled.shard_logs"
        self.until(lambda: self.number(accepted) == CALLS * self.accounts)
        self.statuses, self.day_closes = (
            self.stack.enter_context(contextlib.closing(frame.Listener(
                self.deployment.brokers, self.deployment.topics[key], partitions)))
            for key, partitions in (("status", [ASIDE]), ("day_closes", range(PARTITIONS))))

    def close_aside(self, ender):
        ender.commit_transaction()
        self.day_closes.await_key(str(ASIDE), SECONDS)
        self.suspended = [account for account, in self.deployment.sql(
            "select account_id from settled.accounts where shard = %s and status = 'SUSPENDED' order by account_id", ASIDE)]
        self.until(lambda: len(self.statuses.seen) == self.number(
            f"select count(*) from settled.status_changes where shard = {ASIDE}"))

    def pay(self):
        """Sends a credit to the next suspended account; returns the account and when that was."""
        account = self.suspended.pop()
        self.statuses.seen.pop(account)
        sent, occurred = time.monotonic(), at(self.next_day, "00:04:00")
        self.deployment.top_up(account, f"credit-{account}", 10**9, occurred, at(self.next_day, "00:05:00"))
        self.deployment.flush()
        return account, sent

    def resumed(self, paid):
        """How long each took, in ms."""
        return [1000 * (self.statuses.await_key(account) - sent) for account, sent in paid]

    def pay_idly(self, credits):
        took = []
        for _ in range(credits):
            took += self.resumed([self.pay()])
            time.sleep(CREDIT_PAUSE)
        return took

    def database_cpu(self):
        """CPU seconds of PostgreSQL so far."""
        return frame.cpu_of(self.bench.postgres.process.pid)

    def others_cpu(self):
        """The same of settled and the broker."""
        return sum(map(frame.cpu_of, (self.process.process.pid, *(node.process.pid for node in self.bench.kafka.nodes))))

    def close_day(self, shards, ender):
        """The close that is timed: its seconds, the CPU seconds of PostgreSQL and of the others, its settlements, and how long
        credits of the other shard took meanwhile."""
        self.bench.postgres.sql("checkpoint")
        database, others = self.database_cpu(), self.others_cpu()
        began, paid = time.monotonic(), []
        ender.commit_transaction()
        while not all(str(shard) in self.day_closes.seen for shard in shards):
            if self.suspended:
                paid.append(self.pay())
            if time.monotonic() - began > SECONDS:
                raise frame.Failed(f"the day is not closed after {SECONDS} s:\n{self.process.log[-3000:]}")
            time.sleep(CREDIT_PAUSE)
        closed = max(self.day_closes.seen[str(shard)] for shard in shards) - began
        used = self.database_cpu() - database, self.others_cpu() - others
        return closed, used, self.check(shards), self.resumed(paid)

    def check(self, shards):
        """Every row is there and published; the number of settlements."""
        self.until(lambda: self.number("select sum(sequence - relayed)::bigint from settled.shards") == 0)
        closes = self.number(f"select sum(settlements)::bigint from settled.day_closes where shard <> {ASIDE}")
        rows, calls = self.deployment.sql(
            f"select count(*), sum(calls)::bigint from settled.settlements where shard <> {ASIDE}")[0]
        share = len(shards) / PARTITIONS
        if not closes == rows > 0.9 * self.accounts * share or not 0.9 < calls / (CALLS * self.accounts * share) < 1.1:
            raise frame.Failed(f"{closes} settlements in the closes, {rows} rows, {calls} calls")
        return rows

    def client(self, name, database, *arguments):
        """Runs a client program of PostgreSQL; returns what it prints."""
        done = subprocess.run([self.bench.postgres.bin / name, "-d", self.bench.postgres.dsn_of(database), *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise frame.Failed(f"{name}: {done.stderr}")
        return done.stdout

    def psql(self, database, *commands):
        self.client("psql", database, "-XAtq", "-v", "ON_ERROR_STOP=1",
                    *(argument for command in commands for argument in ("-c", command)))

    def copy(self):
        """The same rows into the same tables, on one connection; the seconds that takes, and PostgreSQL's CPU seconds."""
        database, copied = self.deployment.dsn.rpartition("/")[2], f"{self.deployment.name}_copy"
        files = {table: self.deployment.folder / f"{copied}-{table}" for table in WRITTEN}
        self.psql(database, *(f"\\copy ({query.format(aside=ASIDE)}) to '{files[table]}' with (format binary)"
                              for table, query in WRITTEN.items()))
        self.bench.postgres.sql(f"CREATE DATABASE {copied}")
        self.stack.callback(self.bench.postgres.sql, f"DROP DATABASE {copied} WITH (FORCE)")
        schema = self.deployment.folder / f"{copied}.sql"
        self.client("pg_dump", database, "--schema-only", "--file", schema)
        self.client("psql", copied, "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", schema)
        self.bench.postgres.sql("checkpoint")
        began, before = time.monotonic(), self.database_cpu()
        self.psql(copied, *(f"\\copy settled.{table} from '{file}' with (format binary)" for table, file in files.items()))
        took, used = time.monotonic() - began, self.database_cpu() - before
        for file in (schema, *files.values()):
            file.unlink()
        return took, used

    def close(self):
        self.stack.close()


def close_once(bench, program, size):
    """Figures of the program and of what it is compared with, and the µs an account."""
    accounts = size.accounts // bench.size(1, 50)
    shards = [shard for shard in range(PARTITIONS) if shard != ASIDE]
    with bench.deployment(program, partitions=PARTITIONS, workers=WORKERS) as deployment, \
            contextlib.closing(Subject(bench, deployment, accounts)) as subject:
        bench.fill(deployment, CALLS * accounts, accounts)
        enders = subject.hold_open([ASIDE]), subject.hold_open(shards)
        subject.start()
        subject.close_aside(enders[0])
        idle = subject.pay_idly(bench.size(40, 3))
        closed, used, settlements, during = subject.close_day(shards, enders[1])
        subject.process.stop()
        during = during or idle  # a close that is over before a credit was sent
        copied, copy_used = subject.copy()
        return {size.whole: closed, size.busy: sum(used) / os.cpu_count(), size.database: used[0], size.others: used[1],
                size.p50: frame.percentile(during, 0.5), size.p99: frame.percentile(during, 0.99)}, \
               {size.whole: copied, size.busy: copied, size.database: copy_used, size.others: copy_used,
                size.p50: frame.percentile(idle, 0.5), size.p99: frame.percentile(idle, 0.99)}, \
               closed / settlements * 1e6


def measure(bench):
    wanted = [size for size in SIZES if bench.wants(*size.rows) and (bench.options.long or size not in LONG)]
    sizes = [LEAST, *(size for size in wanted if size is not LEAST)]  # with which each is compared
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in bench.programs.items():
            least = None
            for size in sizes:
                got, baseline, each = close_once(bench, program, size)
                least = least or each
                if size.growth:
                    got[size.growth], baseline[size.growth] = each, least
                figures.add(who, got)
                if who == "settled":
                    figures.add("baseline", baseline)
    yield from figures.results()
    if not bench.options.long:
        yield from (row.missing("only with --long") for size in LONG for row in size.rows if bench.wants(row))


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
