#!/usr/bin/env python3
"""How soon a resumption is published after the credit that caused it, against the least that any program must do then: one
commit of PostgreSQL and one transaction of Kafka.

    build/venv/bin/python tests/bench/latency.py [OPTIONS of bench.py]

Each time is taken until a read_committed consumer has the record, and the p50 and p99 of a round are its figures. In a
round every program is started with topics and a database of its own, and then credits and bare transactions alternate:

    idle       nothing else is under way
    half load  meanwhile calls come in at half the rate that the program takes in while the same machine makes them, on the
               same shard; that rate is measured before
"""

import concurrent.futures
import contextlib
import datetime
import sys
import time

import confluent_kafka
import psycopg

import frame
from frame import percentile

SLICE = 5.0  # s of load for a program at a time
SLICES = 2  # in a round
SETTLE = 0.5  # s of load before the first credit
LOAD_ACCOUNTS = 5_000
CREDITS_A_SECOND = 40  # at most, one after the other
AGAINST = "commit + transaction"


class Kind:
    """The rows of a kind of load."""

    def __init__(self, name, p50, p99):
        name = f"credit to resumption, {name}"
        self.p50 = frame.Row(f"{name}: p50", "ms", AGAINST, frame.ratio_at_most(p50))
        self.p99 = frame.Row(f"{name}: p99", "ms", AGAINST, frame.ratio_at_most(p99))
        self.rows = [self.p50, self.p99]

    def figures(self, took):
        """From the times of one round, in ms."""
        return {self.p50: percentile(took, 0.5), self.p99: percentile(took, 0.99)}


IDLE, LOADED = Kind("idle", 3, 2), Kind("half load", 4, 3)
RATE = frame.Row("calls taken in while they are made, one shard", "records/s")
ROWS = [*IDLE.rows, *LOADED.rows, RATE]


def now_ms():
    return int(time.time() * 1000)


class Bare:
    """One commit of a row and one transaction of a record at a time, in the database and the cluster of a deployment."""

    def __init__(self, deployment):
        self.topic = deployment.add_topic("bare")
        self.database = psycopg.connect(deployment.dsn, autocommit=True)
        self.database.execute("create table bare (key text)")
        # As settled's producers are: otherwise the next transaction waits 100 ms for the end of the last one.
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": deployment.brokers, "transactional.id": f"{deployment.name}-bare", "linger.ms": 0,
            "retry.backoff.ms": 10})
        self.producer.init_transactions(30)
        self.listener = frame.Listener(deployment.brokers, self.topic, range(deployment.partitions))
        self.number = 0

    def once(self):
        self.number += 1
        return self.listener.time_of(str(self.number), lambda: self.write(str(self.number)))

    def write(self, key):
        self.database.execute("insert into bare values (%s)", [key])
        self.producer.begin_transaction()
        self.producer.produce(self.topic, key, key)
        self.producer.commit_transaction(30)

    def close(self):
        self.listener.close()
        self.database.close()


class Subject:
    """One program in a deployment of its own, which has an account that owes for each credit that is to be paid."""

    def __init__(self, bench, deployment, accounts):
        self.bench, self.deployment = bench, deployment
        self.accounts = [f"debtor-{number}" for number in range(accounts)]
        self.loaded = 0
        self.took = {kind: {"settled": [], "bare": []} for kind in (IDLE, LOADED)}
        self.process = self.listener = self.bare = self.rate = None

    def start(self):
        """Makes each account owe for a call of yesterday; that day is closed as soon as settled runs."""
        day_ago = now_ms() - 86_400_000
        for account in self.accounts:
            self.deployment.call(account, f"call-{account}", day_ago, timestamp=day_ago)
        self.deployment.flush()
        self.process = self.deployment.start()
        self.listener = frame.Listener(self.deployment.brokers, self.deployment.topics["status"], range(self.deployment.partitions))
        self.deployment.until(lambda: len(self.listener.seen) == len(self.accounts), self.process)
        self.bare = Bare(self.deployment)

    def pay(self, kind):
        """A credit to the next suspended account, and then a bare transaction."""
        account = self.accounts.pop()

        def send():
            self.deployment.top_up(account, f"credit-{account}", 10**9, now_ms(), now_ms())
            self.deployment.flush()
        self.took[kind]["settled"].append(self.listener.time_of(account, send))
        self.took[kind]["bare"].append(self.bare.once())

    def await_calls(self, calls):
        """Until all of them are accepted, besides those before."""
        self.loaded += calls
        accepted = "select sum(accepted)::bigint from settled.shard_logs"  # since yesterday's close, which took the debtors'
        self.deployment.until(lambda: self.deployment.sql(accepted)[0][0] >= self.loaded, self.process)

    def measure_rate(self, calls):
        """Calls a second, from the first that is made to the last that is committed."""
        start = time.monotonic()
        self.bench.fill(self.deployment, calls, LOAD_ACCOUNTS)
        self.await_calls(calls)
        self.rate = calls / (time.monotonic() - start)

    def pay_loaded(self, seconds):
        """Credits for so long, beside half of the calls that it could take in."""
        calls = int(self.rate / 2 * (seconds + SETTLE))
        with concurrent.futures.ThreadPoolExecutor() as beside:
            filling = beside.submit(self.bench.fill, self.deployment, calls, LOAD_ACCOUNTS, int(self.rate / 2))
            time.sleep(SETTLE)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends and self.accounts and not filling.done():
                self.pay(LOADED)
            filling.result()
        self.await_calls(calls)

    def add_to(self, figures, who):
        for kind, took in self.took.items():
            figures.add(who, kind.figures(took["settled"]))
            if who == "settled":
                figures.add("baseline", kind.figures(took["bare"]))
        figures.add(who, {RATE: self.rate})

    def close(self):
        for each in (self.listener, self.bare):
            if each:
                each.close()


def turns(subjects, number):
    """All of them, in an order that changes."""
    first = number % len(subjects)
    return subjects[first:] + subjects[:first]


def measure_round(bench, subjects, credits, seconds):
    for subject in subjects:
        subject.start()
        subject.measure_rate(bench.size(1_000_000, 20_000))
    for number in range(credits):
        for subject in turns(subjects, number):
            subject.pay(IDLE)
    for number in range(SLICES):
        for subject in turns(subjects, number):
            subject.pay_loaded(seconds)


def measure(bench):
    credits, seconds = bench.size(150, 5), bench.size(SLICE, 0.5)
    yesterday = frame.today() - datetime.timedelta(days=1)
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        with contextlib.ExitStack() as stack:
            subjects = {}
            for who, program in bench.programs.items():
                deployment = stack.enter_context(bench.deployment(program, partitions=1, workers=1, first_day=str(yesterday)))
                subject = Subject(bench, deployment, credits + int(SLICES * seconds * CREDITS_A_SECOND))
                subjects[who] = stack.enter_context(contextlib.closing(subject))
            measure_round(bench, list(subjects.values()), credits, seconds)
            for who, subject in subjects.items():
                subject.add_to(figures, who)
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
