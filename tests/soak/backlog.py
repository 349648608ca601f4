#!/usr/bin/env python3
"""`settled run` works off a backlog while records keep coming and PostgreSQL and the broker stall: does it stay within
bounds?

    tests/soak/backlog.py [--minutes N] [--rate N] [--stall SECONDS] [--settled PATH]

N minutes' worth of records at that rate wait in the topics when the daemon starts; a producer goes on at the rate.
PostgreSQL is stopped for SECONDS, then the broker; then each runs only a fifth of the time. Records that are read ahead
must always stay below their bounds (measured as memory that the fold does not hold), the lag must go away, and in the
end every call must be billed exactly once. Starts its own broker and PostgreSQL; needs the release build and
build/venv.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from deployment import own_deployment  # noqa: E402

FIRST_DAY, WORKERS, PARTITIONS = "2026-11-01", 2, 8
CLOCK, AFTER = f"{FIRST_DAY}T23:59:00+08:00", "2026-11-02T00:10:00+08:00"
# Of one worker: blocks (INTAKE_BYTES), records in librdkafka's queues (queued.min.messages in all, with their
# bookkeeping of some 300 bytes and a fetch of 1 MB each that may be on its way), a step that waits for its commit.
READ_AHEAD = (16 << 20) + 1_000_000 * 400 + PARTITIONS * (1 << 20) + (64 << 20)
RECOVERED, RECOVERY_SECONDS = 0.1, 120  # a tenth of a second's worth of records may be on their way
PIECE_SECONDS = 5  # of the load: each is a run of its own


class Load(threading.Thread):
    """Runs `settled generate`, and knows the expected results of what it sent."""

    def __init__(self, deployment, rate):
        super().__init__(daemon=True)
        self.d, self.rate = deployment, rate
        self.calls, self.records, self.seed, self.stopped, self.error = 0, 0, 0, False, None

    def send(self, records, rate):
        self.seed += 1
        done = subprocess.run(
            [self.d.settled, "generate", "-c", self.d.config, "--seed", str(self.seed), "--accounts", "1000",
             "--calls-per-day", str(records), "--broken", "0.2", "--rate", str(rate), "--format", "json"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        told = json.loads(done.stdout)["calls"]
        self.calls += sum(service["calls"] for service in told["services"].values())
        self.records += told["records"]

    def run(self):
        """Sends at the rate until told to stop."""
        while not self.stopped:
            try:
                self.send(int(self.rate * PIECE_SECONDS), self.rate)
            except AssertionError as error:  # told by whoever waits
                self.error = error
                return

    def finish(self):
        self.stopped = True
        self.join()
        assert self.error is None, self.error


class Watch(threading.Thread):
    """Samples the daemon until told to stop."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.stopped, self.lag, self.most, self.most_lag, self.error = process, False, 0, 0, 0, None

    def run(self):
        while not self.stopped:
            try:
                self.sample()
            except (OSError, AssertionError, ValueError) as error:  # told by whoever waits
                self.error = error
                return
            time.sleep(0.2)

    def sample(self):
        held = self.process.metric("settled_fold_memory_bytes")
        self.lag = int(self.process.metric("settled_log_lag_records"))
        status = pathlib.Path(f"/proc/{self.process.process.pid}/statm").read_text()
        self.most = max(self.most, int(status.split()[1]) * 4096 - held)
        self.most_lag = max(self.most_lag, self.lag)


def by_fits(service, seconds):
    """The service runs only a fifth of the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        service.pause()
        time.sleep(0.8)
        service.cont()
        time.sleep(0.2)


def stalls(services, seconds, watch, out):
    for name, service in services:
        service.pause()
        time.sleep(seconds)
        service.cont()
        print(f"{name} stood still for {seconds:g} s: lag {watch.lag:,} records, most memory {watch.most / 1e6:,.0f} MB",
              file=out, flush=True)
    for name, service in services:
        by_fits(service, seconds)
        print(f"{name} worked a fifth of {seconds:g} s: lag {watch.lag:,} records, most memory {watch.most / 1e6:,.0f} MB",
              file=out, flush=True)


def backlog(d, kafka, postgres, minutes, rate, stall, out=sys.stdout):
    load = Load(d, rate)
    load.send(int(minutes * 60 * rate), 0)
    print(f"{load.records:,} records wait", file=out, flush=True)
    load.start()
    process = d.start("--clock", CLOCK)
    process.await_line("http listens")
    watch = Watch(process)
    watch.start()
    began = time.monotonic()
    stalls((("PostgreSQL", postgres), ("the broker", kafka)), stall, watch, out)
    d.until(lambda: watch.lag <= rate * RECOVERED, process, seconds=RECOVERY_SECONDS)
    print(f"lag gone {time.monotonic() - began - 4 * stall:.1f} s after the last stall; it was {watch.most_lag:,} records",
          file=out, flush=True)
    load.finish()
    d.until(lambda: process.metric("settled_log_lag_records") == 0, process)
    watch.stopped = True
    watch.join()
    assert watch.error is None, watch.error
    assert process.stop() == 0
    check(d, load, watch, out)


def check(d, load, watch, out):
    d.drain(AFTER, seconds=300)
    billed = d.sql("select coalesce(sum(calls), 0)::bigint from settled.settlements")[0][0]
    lost = d.sql("select sum(to_offset - from_offset - accepted - duplicates - rejected - void)::int "
                 "from settled.day_cutoffs")[0][0]
    print(f"{load.records:,} records, {load.calls:,} calls to bill, {billed:,} billed; read ahead and all else: "
          f"{watch.most / 1e6:,.0f} MB at most, {WORKERS * READ_AHEAD / 1e6:,.0f} MB allowed", file=out, flush=True)
    assert billed == load.calls and lost == 0
    assert watch.most <= WORKERS * READ_AHEAD, "more was read ahead than the bounds allow"
    d.check_published()
    print("nothing lost, nothing billed twice, within bounds", file=out, flush=True)


def deployment_options():
    return {"first_day": FIRST_DAY, "partitions": PARTITIONS, "workers": WORKERS, "max_reject_share": "5%"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="the backlog's worth (30)")
    parser.add_argument("--rate", type=int, default=3000, help="records a second (3000)")
    parser.add_argument("--stall", type=float, default=20, help="seconds of each stall (20)")
    parser.add_argument("--settled", type=pathlib.Path, default=ROOT / "build" / "release" / "settled")
    options = parser.parse_args()
    with own_deployment(options.settled, **deployment_options()) as (deployment, kafka, postgres):
        try:
            backlog(deployment, kafka, postgres, options.minutes, options.rate, options.stall)
        except AssertionError as error:
            print(f"backlog: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
