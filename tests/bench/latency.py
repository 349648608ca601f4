#!/usr/bin/env python3
"""How soon a resumption is published after the credit that caused it, and how many transactions a second a relay makes:
several programs in turn, on one broker and one PostgreSQL, so that a slow moment of the machine hits all of them.

    build/venv/bin/python tests/bench/latency.py PROGRAM PROGRAM... [--rounds N] [--credits N] [--seconds S] [--partitions N]

A program is the path of a built settled; the first is what the others are compared with. In each round every program is
started with topics and a database of its own, and then they take turns within the second, in an order that changes:

    calm    from sending a credit until a read_committed consumer has the resumption; nothing else is under way, so
            each is a transaction of its own that begins at once
    busy    the same while rejects come in without a pause, so that the relay is never idle
    txn/s   the transactions of that time, counted by the markers in the topic of rejects. One relay makes as many as the
            shard commits steps; with --partitions 8 the machine limits them

The table has the percentiles over the credits of all rounds, and their ratio to the first program's. It exits with 1 when
a program did not do its work.
"""

import argparse
import contextlib
import datetime
import pathlib
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import confluent_kafka.admin  # noqa: E402 (the path is set above)
import services  # noqa: E402
from deployment import ZONE, Deployment  # noqa: E402

REJECT_PAUSE = 0.004  # s between rejects: less than a transaction takes
SLICE = 2.0  # s for which a program is busy at a time
PERCENTILES = {"p50": 0.5, "p99": 0.99}


class Failed(Exception):
    """A measured program did not do its work."""


def now_ms():
    return int(time.time() * 1000)


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


class Listener:
    """Notes when the resumption of each account is seen, as a gateway would see it."""

    def __init__(self, deployment):
        self.seen, self.error = {}, None
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": deployment.brokers, "group.id": f"{deployment.name}-listener",
            "enable.auto.commit": False, "isolation.level": "read_committed", "fetch.wait.max.ms": 500,
            "auto.offset.reset": "earliest"})
        self.consumer.assign([confluent_kafka.TopicPartition(deployment.topics["status"], partition, 0)
                              for partition in range(deployment.partitions)])
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while not self.ended.is_set():
            message = self.consumer.poll(0.1)
            if message and not message.error():
                # The first change is the suspension; the last one that is seen is the resumption.
                self.seen[message.key().decode()] = time.monotonic()
        self.consumer.close()

    def close(self):
        self.ended.set()
        self.thread.join()


class Measurement:
    """One program in a deployment of its own."""

    def __init__(self, program, options, kafka, postgres, folder, name):
        postgres.sql(f"CREATE DATABASE {name}")
        self.options, self.rejected, self.seconds = options, 0, 0.0
        self.took = {"calm": [], "busy": []}
        yesterday = datetime.datetime.now(ZONE).date() - datetime.timedelta(days=1)
        self.deployment = Deployment(program, kafka.brokers, postgres.dsn_of(name), folder,
                                     partitions=options.partitions, workers=1, first_day=str(yesterday))
        self.accounts = [f"account-{number}" for number in range(2 * options.credits)]  # the calm ones, the busy ones
        self.listener = None

    def start(self):
        self.suspend()
        self.deployment.start()
        self.await_rows("status_changes", len(self.accounts))
        self.listener = Listener(self.deployment)
        self.until(lambda: len(self.listener.seen) == len(self.accounts), "the suspensions are not seen")

    def suspend(self):
        """Makes each account owe for a call of yesterday; that day is closed as soon as settled runs."""
        day_ago = now_ms() - 86_400_000
        for account in self.accounts:
            self.deployment.call(account, f"call-{account}", day_ago, timestamp=day_ago)
        self.deployment.flush()

    @staticmethod
    def until(condition, what, seconds=90):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"{what} after {seconds} s")
            time.sleep(0.01)

    def await_rows(self, table, count):
        def published():
            rows = self.deployment.sql(f"select count(*) from settled.{table}")[0][0]
            waiting = self.deployment.sql("select coalesce(sum(sequence - relayed), 0)::bigint from settled.shards")
            return rows >= count and waiting == [(0,)]
        self.until(published, f"{table} has not {count} rows that are published")

    def pay(self, account):
        """Sends a credit; returns how long it takes to become a resumption, in ms."""
        self.listener.seen.pop(account)
        sent = time.monotonic()
        self.deployment.top_up(account, f"credit-{account}", 10**9, now_ms(), now_ms())
        self.deployment.flush()
        self.until(lambda: account in self.listener.seen, f"no resumption of {account}")
        return (self.listener.seen[account] - sent) * 1000

    def pay_calmly(self, number):
        self.took["calm"].append(self.pay(self.accounts[number]))

    def reject(self, ended):
        """Sends records that cannot be decoded, without a pause that the relay would notice."""
        while not ended.is_set():
            self.rejected += 1
            self.deployment.send_bytes("credits", b"\1broken-%d" % self.rejected, now_ms(), self.accounts[self.rejected % 97])
            self.deployment.producer.poll(0)
            time.sleep(REJECT_PAUSE)

    def pay_busily(self, accounts):
        """Credits, spread over a slice, beside rejects."""
        ended, begun = threading.Event(), time.monotonic()
        rejecting = threading.Thread(target=self.reject, args=(ended,), daemon=True)
        rejecting.start()
        for number, account in enumerate(accounts):
            time.sleep(max(0.0, begun + SLICE * (number + 1) / (len(accounts) + 1) - time.monotonic()))
            self.took["busy"].append(self.pay(account))
        time.sleep(max(0.0, begun + SLICE - time.monotonic()))
        ended.set()
        rejecting.join()
        self.seconds += time.monotonic() - begun
        self.deployment.flush()
        self.await_rows("rejects", self.rejected)

    def rate(self):
        """Transactions a second: each leaves a marker."""
        return (self.offsets("rejects") - self.rejected) / self.seconds

    def offsets(self, key):
        """How many there are in a topic, markers included."""
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.deployment.brokers})
        ends = admin.list_offsets({
            confluent_kafka.TopicPartition(self.deployment.topics[key], partition): confluent_kafka.admin.OffsetSpec.latest()
            for partition in range(self.deployment.partitions)})
        return sum(each.result(20).offset for each in ends.values())

    def close(self):
        if self.listener:
            self.listener.close()
        self.deployment.close()


def turns(measurements, number):
    """All of them, in an order that changes."""
    first = number % len(measurements)
    return measurements[first:] + measurements[:first]


def measure(options, measurements):
    for number in range(options.credits):
        for each in turns(measurements, number):
            each.pay_calmly(number)
    slices = max(1, round(options.seconds / SLICE))
    for number in range(slices):
        for each in turns(measurements, number):
            each.pay_busily(each.accounts[options.credits + number::slices][:options.credits // slices])


def run(options, owner):
    kafka, postgres = owner.kafka(start=False), owner.postgres(start=False)
    owner.start()
    found = [{"calm": [], "busy": [], "txn/s": []} for _ in options.programs]
    for turn in range(options.rounds):
        with contextlib.ExitStack() as stack:
            measurements = []
            for number, program in enumerate(options.programs):
                measurements.append(stack.enter_context(contextlib.closing(Measurement(
                    program, options, kafka, postgres, owner.folder, f"latency_{turn}_{number}"))))
                measurements[-1].start()
            measure(options, measurements)
            for mine, each in zip(found, measurements):
                for kind, took in each.took.items():
                    mine[kind] += took
                mine["txn/s"].append(each.rate())
        print(f"round {turn + 1} of {options.rounds}", flush=True)
        show(options, found)


def figures(mine):
    """By column."""
    cells = {f"{kind} {name} ms": percentile(mine[kind], share) for kind in ("calm", "busy")
             for name, share in PERCENTILES.items()}
    return {**cells, "txn/s": statistics.median(mine["txn/s"])}


def show(options, found):
    width = max(len(program) for program in options.programs)
    first = figures(found[0])
    print(f"{'':{width}} " + " ".join(f"{name:>11} {'ratio':>5}" for name in first))
    for program, mine in zip(options.programs, found):
        print(f"{program:{width}} " + " ".join(f"{value:>11.1f} {value / first[name]:>5.2f}"
                                               for name, value in figures(mine).items()), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--credits", type=int, default=200, help="of each kind in a round")
    parser.add_argument("--seconds", type=float, default=10, help="for which each is busy in a round")
    parser.add_argument("--partitions", type=int, default=1)
    options = parser.parse_args()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            run(options, owner)
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    except (services.ServiceError, Failed, AssertionError) as error:
        print(f"latency.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
