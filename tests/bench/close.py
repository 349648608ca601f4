#!/usr/bin/env python3
"""How long the close of a large day takes, against a COPY of the same rows into the same tables by one connection.

    build/venv/bin/python tests/bench/close.py [--accounts N,N] [--rounds N] [--settled PATH]...

Needs the release build (which holds fill) and what tests/lib/services.py needs. In each round, for each number of accounts
and each program (--settled may be given several times; the first is what the others are compared with), a deployment of 8
partitions is filled with four calls an account, which is about 1.4 lines of a settlement. All of it is read, and the clock
is past the day's end, but an open transaction on the log of purchases keeps the day open. When it is committed, its record
cuts the last log, and the day is closed at once:

    on shard 7 first. Its accounts are suspended by that, and credits resume some of them: "idle"
    then on the other seven at once. This is the close that is timed. Meanwhile credits go to shard 7, twenty a second, as
    a gateway's customers would send them: "during"

    close   from before the transaction is committed until a read_committed consumer has the last DayClosed: in each topic
            the last message of its day, and within a shard the last of all
    commit  the same until the last shard logs "day settled", which is before its messages are published
    COPY    the rows that this close has written, in PostgreSQL's binary format, into a second database of the same
            migrations, on one connection, one table after the other

The table has the medians. "growth" is the time of a number of accounts over that of the first number, divided by the ratio
of the numbers: 1.00 is linear. A credit is timed from before it is sent until a read_committed consumer has the resumption.
It exits with 1 when a program did not do its work.
"""

import argparse
import contextlib
import datetime
import json
import pathlib
import re
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "lib"), str(ROOT / "tests")]
import confluent_kafka  # noqa: E402 (the path is set above)
import services  # noqa: E402
from deployment import ZONE, Deployment, at  # noqa: E402
from oracle import rules  # noqa: E402

PARTITIONS = 8
ASIDE = PARTITIONS - 1  # the shard that is closed before
CALLS = 4  # an account
SECONDS = 300  # for which anything is waited for
CREDIT_PAUSE = 0.05  # s between credits during the close
IDLE_CREDITS = 40
# What a close writes, as a query of the rows of the shards that are closed together.
WRITTEN = {
    "accounts": "select * from settled.accounts where shard <> {aside}",
    "settlements": "select * from settled.settlements where shard <> {aside}",
    "settlement_lines": "select l.* from settled.settlement_lines l where exists (select from settled.settlements s where"
                        " s.account_id = l.account_id and s.business_day = l.business_day and s.shard <> {aside})",
    "status_changes": "select * from settled.status_changes where shard <> {aside}",
    "outbox": "select * from settled.outbox where shard <> {aside} order by shard, sequence",
}


class Failed(Exception):
    """A measured program did not do its work."""


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


class Reader:
    """Notes when a read_committed consumer sees the keys of a topic."""

    def __init__(self, deployment, topic, partitions):
        self.seen = {}
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": deployment.brokers, "group.id": f"{deployment.name}-{topic}-reader",
            "enable.auto.commit": False, "isolation.level": "read_committed", "fetch.wait.max.ms": 500})
        self.consumer.assign([confluent_kafka.TopicPartition(deployment.topics[topic], partition, 0)
                              for partition in partitions])
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.ended.is_set():
            messages = self.consumer.consume(1000, 0.1)
            now = time.monotonic()
            for message in messages:
                if not message.error():
                    self.seen[message.key().decode()] = now
        self.consumer.close()

    def close(self):
        self.ended.set()
        self.thread.join()


class Run:
    """One close by one program, in a deployment of its own."""

    def __init__(self, program, accounts, kafka, postgres, folder):
        self.accounts, self.postgres, self.folder = accounts, postgres, folder
        self.day = datetime.datetime.now(ZONE).date()
        self.next_day = self.day + datetime.timedelta(days=1)
        self.database, self.copied = f"close_{time.monotonic_ns()}", f"copy_{time.monotonic_ns()}"
        postgres.sql(f"CREATE DATABASE {self.database}")
        self.deployment = Deployment(program, kafka.brokers, postgres.dsn_of(self.database), folder,
                                     partitions=PARTITIONS, workers=2, first_day=str(self.day))
        self.config = self.deployment.write_config("close.yaml", run={"open_transaction_wait": "1h"})
        self.process = self.statuses = self.day_closes = None
        self.suspended, self.credits = [], 0

    def fill(self):
        done = subprocess.run(
            [ROOT / "build" / "release" / "tests" / "bench" / "fill", self.deployment.brokers,
             self.deployment.topics["calls"], str(CALLS * self.accounts), str(self.accounts), "1"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0 or json.loads(done.stdout)["failed"]:
            raise Failed(f"fill ended with status {done.returncode}: {done.stdout}{done.stderr}")

    def hold_open(self, shards):
        """Begins a transaction with a purchase that ends the day of each of these shards, once it is committed."""
        d = self.deployment
        producer = confluent_kafka.Producer({
            "bootstrap.servers": d.brokers, "transactional.id": f"{d.name}-{shards[0]}", "partitioner": "murmur2_random",
            "transaction.timeout.ms": 600_000})
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

    def start(self):
        """Runs the program on a clock that stands still past the day's end, until all is read."""
        self.process = self.deployment.start("--clock", f"{self.next_day}T00:06:00+08:00", config=self.config)
        self.until(lambda: self.number("select coalesce(sum(accepted), 0)::bigint from settled.shard_logs")
                   == CALLS * self.accounts, "the calls are not read", pause=0.5)
        self.statuses = Reader(self.deployment, "status", [ASIDE])
        self.day_closes = Reader(self.deployment, "day_closes", range(PARTITIONS))

    def number(self, statement):
        return self.deployment.sql(statement)[0][0]

    def until(self, condition, what, seconds=SECONDS, pause=0.005):
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.process.poll() is not None:
                raise Failed(f"settled ended with {self.process.process.returncode}:\n{self.process.log[-3000:]}")
            if time.monotonic() > deadline:
                raise Failed(f"{what} after {seconds} s:\n{self.process.log[-3000:]}")
            time.sleep(pause)

    def close_aside(self, ender):
        ender.commit_transaction()
        self.until(lambda: str(ASIDE) in self.day_closes.seen, f"shard {ASIDE} has not closed its day")
        self.suspended = self.deployment.sql(
            "select account_id from settled.accounts where shard = %s and status = 'SUSPENDED' order by account_id", ASIDE)
        expected = self.number(f"select count(*) from settled.status_changes where shard = {ASIDE}")
        self.until(lambda: len(self.statuses.seen) == expected, "the suspensions are not seen")

    def pay(self):
        """Sends a credit to the next suspended account; returns the account and when that was."""
        (account,) = self.suspended[self.credits]
        self.credits += 1
        self.statuses.seen.pop(account)
        sent = time.monotonic()
        occurred = at(self.next_day, "00:04:00")
        self.deployment.top_up(account, f"credit-{self.credits}", 10**9, occurred, at(self.next_day, "00:05:00"))
        self.deployment.flush()
        return account, sent

    def resumed(self, paid):
        """How long each took, in ms."""
        self.until(lambda: all(account in self.statuses.seen for account, _ in paid), "resumptions are not seen")
        return [1000 * (self.statuses.seen[account] - sent) for account, sent in paid]

    def pay_idly(self):
        took = []
        for _ in range(IDLE_CREDITS):
            took += self.resumed([self.pay()])
            time.sleep(CREDIT_PAUSE)
        return took

    def close_day(self, shards, ender):
        """The close that is timed."""
        self.postgres.sql("checkpoint", self.database)
        began, ended, paid = time.time(), time.monotonic(), []
        ender.commit_transaction()
        while not all(str(shard) in self.day_closes.seen for shard in shards):
            if self.credits < len(self.suspended):
                paid.append(self.pay())
            if time.monotonic() - ended > SECONDS:
                raise Failed(f"the day is not closed after {SECONDS} s:\n{self.process.log[-3000:]}")
            time.sleep(CREDIT_PAUSE)
        closed = max(self.day_closes.seen[str(shard)] for shard in shards) - ended
        self.check(shards)
        return closed, self.committed() - began, self.resumed(paid)

    def committed(self):
        """When the last shard said that its day is settled: seconds since 1970."""
        said = re.findall(r"^time=(\S+) .*day settled", self.process.log, re.MULTILINE)
        return max(datetime.datetime.fromisoformat(each.replace("Z", "+00:00")).timestamp() for each in said)

    def check(self, shards):
        """Every row is there and published."""
        self.until(lambda: self.number("select sum(sequence - relayed)::bigint from settled.shards") == 0,
                   "rows are unpublished")
        closes = self.number(f"select sum(settlements)::bigint from settled.day_closes where shard <> {ASIDE}")
        rows = self.number(f"select count(*) from settled.settlements where shard <> {ASIDE}")
        if not closes == rows > 0.9 * self.accounts * len(shards) / PARTITIONS:
            raise Failed(f"{closes} settlements in the closes, {rows} rows")

    def psql(self, database, *commands):
        arguments = [argument for command in commands for argument in ("-c", command)]
        done = subprocess.run([self.postgres.bin / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d",
                               self.postgres.dsn_of(database), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"psql: {done.stderr}")

    def copy(self):
        """The same rows into the same tables, on one connection; the seconds that takes."""
        files = {table: self.folder / f"{self.database}-{table}" for table in WRITTEN}
        self.psql(self.database, *(f"\\copy ({query.format(aside=ASIDE)}) to '{files[table]}' with (format binary)"
                                   for table, query in WRITTEN.items()))
        self.postgres.sql(f"CREATE DATABASE {self.copied}")
        config = self.deployment.write_config("copy.yaml", postgres={"dsn": self.postgres.dsn_of(self.copied)})
        subprocess.run([self.deployment.settled, "migrate", "-c", config], stdin=subprocess.DEVNULL, capture_output=True,
                       check=True)
        self.postgres.sql("checkpoint", self.copied)
        began = time.monotonic()
        self.psql(self.copied, *(f"\\copy settled.{table} from '{file}' with (format binary)"
                                 for table, file in files.items()))
        took = time.monotonic() - began
        for file in files.values():
            file.unlink()
        return took

    def measure(self):
        shards = [shard for shard in range(PARTITIONS) if shard != ASIDE]
        self.fill()
        enders = self.hold_open([ASIDE]), self.hold_open(shards)
        self.start()
        self.close_aside(enders[0])
        idle = self.pay_idly()
        closed, committed, during = self.close_day(shards, enders[1])
        accounts = self.number(f"select count(*) from settled.settlements where shard <> {ASIDE}")
        self.process.stop()
        return {"accounts": accounts, "close": closed, "commit": committed, "copy": self.copy(), "idle": idle, "during": during}

    def close(self):
        for reader in (self.statuses, self.day_closes):
            if reader:
                reader.close()
        self.deployment.close()
        with contextlib.suppress(confluent_kafka.KafkaException):
            self.deployment.delete_topics(list(self.deployment.topics))
        for database in (self.database, self.copied):
            self.postgres.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def measured(*arguments):
    with contextlib.closing(Run(*arguments)) as run:
        return run.measure()


def middle(rounds, of):
    return statistics.median(of(each) for each in rounds)


def ratio(each):
    return each["close"] / each["copy"]


def figures(mine, small, first):
    """By column: of one program and number of accounts, against the smallest number, and against the first program."""
    accounts = middle(mine, lambda each: each["accounts"])
    closed = middle(mine, lambda each: each["close"])
    growth = closed / middle(small, lambda each: each["close"]) / (accounts / middle(small, lambda each: each["accounts"]))
    credits = {f"{kind} {name}": f"{percentile([took for each in mine for took in each[kind]], share):.0f}"
               for kind in ("idle", "during") for name, share in (("p50 ms", 0.5), ("p99 ms", 0.99))}
    return {
        "accounts": f"{accounts:,.0f}", "commit s": f"{middle(mine, lambda each: each['commit']):.2f}",
        "close s": f"{closed:.2f}", "COPY s": f"{middle(mine, lambda each: each['copy']):.2f}",
        "ratio": f"{middle(mine, ratio):.2f}",
        "spread": "{:.2f}-{:.2f}".format(min(map(ratio, mine)), max(map(ratio, mine))),
        "to first": f"{statistics.median(each['close'] / other['close'] for each, other in zip(mine, first)):.2f}",
        "growth": f"{growth:.2f}", **credits}


def show(found, programs, sizes):
    width = max(len(program) for program in programs)
    for number, program in enumerate(programs):
        for size in sizes:
            cells = figures(found[number, size], found[number, sizes[0]], found[0, size])
            if number == 0 and size == sizes[0]:
                print(f"{'':{width}} " + " ".join(f"{name:>13}" for name in cells))
            print(f"{program:{width}} " + " ".join(f"{value:>13}" for value in cells.values()), flush=True)


def run(options, owner):
    kafka, postgres = owner.kafka(start=False, jvm=("-Xmx1g",)), owner.postgres(start=False)
    owner.start()
    programs = options.settled or [str(ROOT / "build" / "release" / "settled")]
    sizes = [int(each) for each in options.accounts.split(",")]
    found = {(number, size): [] for number in range(len(programs)) for size in sizes}
    for turn in range(options.rounds):
        for size in sizes:
            for number in sorted(range(len(programs)), reverse=turn % 2 == 1):
                found[number, size].append(measured(programs[number], size, kafka, postgres, owner.folder))
        print(f"round {turn + 1} of {options.rounds}", flush=True)
        show(found, programs, sizes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", default="125000,250000", help="numbers of accounts, the smallest first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settled", action="append", metavar="PATH", help="a built settled; may be given several times")
    options = parser.parse_args()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            run(options, owner)
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    except (services.ServiceError, Failed, AssertionError) as error:
        print(f"close.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
