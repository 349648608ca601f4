#!/usr/bin/env python3
"""`settled run` while many days pass under load: does it stay as small as it was, and bill every call once?

    tests/soak/days.py [--minutes N] [--rate N] [--day-seconds N] [--settled PATH]

soak.py uses the machine's clock, with which hardly any day ends. Here the daemon's clock runs fast (--clock, --speed).
A producer keeps pace with it and sends calls, some of them twice, late or broken, top-ups and packages. Once all
retained days are full, memory, file descriptors and threads must no longer grow: the last third of the run is compared
with the third before. In the end every call is billed exactly once. Starts its own broker and PostgreSQL; the release
build and the Python packages of tests/requirements.txt are needed (build/venv, which tests/run.sh makes).
"""

import argparse
import collections
import datetime
import pathlib
import random
import signal
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from deployment import ZONE, at, own_deployment  # noqa: E402

FIRST_DAY = "2026-11-01"
DAY_MS = 86_400_000
LATE_DAYS = 2  # calls come a day late, and up to BEHIND_S more
ACCOUNTS = 200
INSIGHT = 220000  # fen a call
BEHIND_S = 1.0  # the producer's clock is behind the daemon's, because a record from the future makes its log wait
ROWS = 20  # of the table
RELOAD_S = 20  # between two SIGHUPs
# Allowed growth without a cause in the data: a fragmented allocator, a new connection.
RSS_SHARE, RSS_BYTES, DESCRIPTORS, THREADS = 0.05, 4 << 20, 4, 2

Sample = collections.namedtuple("Sample", "at rss descriptors threads held days judged lag")


class Grown(AssertionError):
    """Something grew that should not have."""


class Load:
    """The producer: what it sent, and the expected results."""

    def __init__(self, deployment, rate, speed, began):
        self.d, self.rate, self.speed, self.began = deployment, rate, speed, began
        self.rng = random.Random(1)
        self.due = began
        self.number = self.credited = 0
        self.sent = collections.Counter()

    def now(self, real=None):
        """Simulated time in ms."""
        return at(FIRST_DAY) + int((max((real or time.monotonic()) - self.began - BEHIND_S, 0)) * 1000 * self.speed)

    def step(self):
        """Sends what is due by now."""
        now = time.monotonic()
        while self.due < now:
            self.one(self.now(self.due))
            self.due += 1 / self.rate
        self.d.producer.poll(0)

    def one(self, when):
        self.number += 1
        account = f"account-{self.rng.randrange(ACCOUNTS):03}"
        kind = self.rng.random()
        if kind < 0.003:
            self.d.send_bytes("calls", b"broken", when, account)
            self.sent["broken"] += 1
            return
        if kind < 0.005:
            self.d.top_up(account, f"credit-{self.number}", 1000 * INSIGHT, when, when)
            self.credited += 1000 * INSIGHT
            return
        if kind < 0.006:
            self.d.purchase(account, f"package-{self.number}", "AUDIENCE_INSIGHT", 50, 10000000, when, when)
            return
        occurred = when - DAY_MS if kind < 0.02 and when - DAY_MS >= at(FIRST_DAY) else when
        for _ in range(2 if kind > 0.99 else 1):
            self.d.call(account, f"call-{self.number}", occurred, timestamp=when)
        self.sent["twice"] += kind > 0.99
        self.sent["calls"] += 1


def sample(process, began):
    status = dict(line.split(":", 1) for line in
                  pathlib.Path(f"/proc/{process.process.pid}/status").read_text().splitlines())
    return Sample(time.monotonic() - began, int(status["VmRSS"].split()[0]) << 10,
                  len(list(pathlib.Path(f"/proc/{process.process.pid}/fd").iterdir())), int(status["Threads"]),
                  int(process.metric("settled_calls_held")), int(process.metric("settled_days_closed_total")),
                  int(sum(process.metric("settled_records_total", result=result)
                          for result in ("accepted", "duplicate", "rejected"))),
                  int(process.metric("settled_log_lag_records")))


def show(samples, out):
    print(f"{'minute':>7} {'days closed':>12} {'records':>11} {'lag':>7} {'calls held':>11} {'RSS MB':>8} {'files':>6} "
          f"{'threads':>8}", file=out)
    step = max(1, len(samples) // ROWS)
    for s in samples[::step] + ([] if (len(samples) - 1) % step == 0 else samples[-1:]):
        print(f"{s.at / 60:7.1f} {s.days:12,} {s.judged:11,} {s.lag:7,} {s.held:11,} {s.rss / 1e6:8.1f} "
              f"{s.descriptors:6} {s.threads:8}", file=out)


def judge(samples):
    """Raises Grown unless the last third is as small as the one before.

    Descriptors and threads are compared by their medians, because every ten seconds clients that try the permissions
    come and go; what is leaked stays, and moves the median too.
    """
    third = len(samples) // 3
    before, after = samples[third:2 * third], samples[2 * third:]
    for what, of, typical, share, allowed in (
            ("RSS", lambda s: s.rss, max, RSS_SHARE, RSS_BYTES),
            ("file descriptors", lambda s: s.descriptors, statistics.median, 0, DESCRIPTORS),
            ("threads", lambda s: s.threads, statistics.median, 0, THREADS)):
        size = typical(map(of, before))
        bound = size * (1 + share) + allowed
        if typical(map(of, after)) > bound:
            raise Grown(f"{what} grew from {size:,} to {typical(map(of, after)):,}; {int(bound):,} are allowed")
    if samples[-1].days <= samples[third].days:
        raise Grown(f"no day was closed since the first third: {samples[-1].days}")


def check_outcome(d, load):
    """Every call billed once, every credit counted, every broken record rejected."""
    calls, packaged = d.sql("select (select coalesce(sum(calls), 0)::int from settled.settlements), (select "
                            "coalesce(sum(units), 0)::int from settled.settlement_lines where charge = 'PACKAGE')")[0]
    assert calls == load.sent["calls"], f"{calls:,} calls are billed, {load.sent['calls']:,} were made"
    assert d.sql("select coalesce(sum(amount), 0)::bigint from settled.settlements") == [((calls - packaged) * INSIGHT,)]
    assert d.sql("select coalesce(sum(balance), 0)::bigint from settled.accounts") == [
        (load.credited - (calls - packaged) * INSIGHT,)]
    accepted, duplicates, rejected, lost = d.sql(
        "select sum(accepted)::int, sum(duplicates)::int, sum(rejected)::int, sum(to_offset - from_offset)::int - "
        "sum(accepted + duplicates + rejected + void)::int from settled.day_cutoffs where topic = %s",
        d.topics["calls"])[0]
    assert (accepted, duplicates, rejected, lost) == (calls, load.sent["twice"], load.sent["broken"], 0)
    d.check_published()


def days(d, minutes, rate, day_seconds, out=sys.stdout):
    """Runs the load against a fresh deployment (late_days: LATE_DAYS); returns the samples."""
    speed = 86400 // day_seconds
    process = d.start("--clock", f"{FIRST_DAY}T00:00:00+08:00", "--speed", str(speed))
    began = time.monotonic()
    load = Load(d, rate, speed, began)
    samples = []
    next_sample, next_reload = began + day_seconds, began + RELOAD_S
    while time.monotonic() < began + minutes * 60:
        load.step()
        if time.monotonic() >= next_sample:
            next_sample += max(0.5, minutes * 60 / 600)
            samples.append(sample(process, began))
        if time.monotonic() >= next_reload:
            next_reload += RELOAD_S
            process.process.send_signal(signal.SIGHUP)
        assert process.process.poll() is None, process.log[-6000:]
        time.sleep(0.01)
    d.flush()
    d.until(lambda: process.metric("settled_log_lag_records") == 0, process)
    assert process.stop() == 0
    last = datetime.datetime.fromtimestamp(load.now() / 1000 + 2 * 86400, ZONE).date()
    d.drain(f"{last}T00:10:00+08:00")
    show(samples, out)
    print(f"{load.sent['calls']:,} calls, {load.sent['twice']:,} twice, {load.sent['broken']:,} broken; "
          f"{(time.monotonic() - began) / day_seconds:.0f} days of {day_seconds} s", file=out, flush=True)
    check_outcome(d, load)
    judge(samples)
    return samples


def options_of_deployment():
    return {"first_day": FIRST_DAY, "late_days": LATE_DAYS, "max_reject_share": "5%"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=500, help="records a second (500)")
    parser.add_argument("--day-seconds", type=int, default=30, help="how long a simulated day takes (30)")
    parser.add_argument("--settled", type=pathlib.Path, default=ROOT / "build" / "release" / "settled")
    options = parser.parse_args()
    with own_deployment(options.settled, **options_of_deployment()) as (deployment, *_):
        try:
            days(deployment, options.minutes, options.rate, options.day_seconds)
        except AssertionError as error:
            print(f"days: {error}", file=sys.stderr)
            return 1
    print("nothing grew, and every call was billed once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
