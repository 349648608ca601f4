#!/usr/bin/env python3
"""How fast a restart has the calls again that are held, against taking them in.

    build/venv/bin/python tests/bench/restart.py [OPTIONS of bench.py]

In each round a fresh deployment takes in a topic of calls of today, and then a second process of the same deployment
starts where the first one ended. The rate of the restart is taken from its log: from the first shard that is claimed to
the last whose calls are replayed. "from start to end" are the two whole processes.

Then the same calls from snapshots: from the first shard that is claimed to the last one that has its calls, against
reading these files and nothing else. Both read them from the disk: the system's copy of them is dropped before.
"""

import concurrent.futures
import datetime
import os
import pathlib
import re
import sys
import tempfile
import time

import frame

PARTITIONS, WORKERS, ACCOUNTS = 8, 2, 5_000
REPLAY = frame.Row("restart: calls replayed", "records/s", "taking them in", frame.ratio_at_least(1.5))
WHOLE = frame.Row("restart, from start to end", "s", "taking them in")
SNAPSHOT = frame.Row("restart: calls from snapshots", "s", "reading their files", frame.ratio_at_most(4))
ROWS = [REPLAY, WHOLE, SNAPSHOT]
READ_BYTES = 1 << 20  # at once


def times_of(process, message):
    """When a process logged the line, in s."""
    return [datetime.datetime.fromisoformat(found).timestamp()
            for found in re.findall(rf'^time=(\S+)Z level=info message="{message}"', process.log, re.MULTILINE)]


def drain_twice(bench, program, records, inputs):
    """The two drains, and how long the second one replayed."""
    with bench.deployment(program, partitions=PARTITIONS, workers=WORKERS, timestamps="log-append",
                          inputs_of=inputs) as deployment:
        first = bench.drain(deployment)
        first.expect(records)
        second = bench.drain(deployment)
        process = deployment.processes[-1]
    held = sum(map(int, re.findall(r'message="calls replayed".* calls_held=(\d+)', process.log)))
    if (second.records, held) != (0, records):
        raise frame.Failed(f"the restart took {second.records} records, and held {held} calls of {records}")
    return first, second, max(times_of(process, "calls replayed")) - min(times_of(process, "shard claimed"))


def drop_copies(files):
    """The next who reads them has them from the disk."""
    for each in files:
        with each.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_files(files):
    """How long that takes, with as many threads as settled has."""
    def read(some):
        buffer = bytearray(READ_BYTES)
        for each in some:
            with each.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(read, [files[n::WORKERS] for n in range(WORKERS)]))
    return time.monotonic() - start


def take_snapshots(bench, program, records, inputs, folder):
    """How long a start took to have all calls from snapshots, and how long it took to read these."""
    tomorrow = f"{frame.today() + datetime.timedelta(days=1)}T00:30:00+08:00"
    with bench.deployment(program, partitions=PARTITIONS, workers=WORKERS, timestamps="log-append",
                          inputs_of=inputs) as deployment:
        deployment.config = deployment.write_config(run={"snapshots": str(folder)})
        writer = deployment.start("--clock", tomorrow)  # each shard writes one when its day is settled
        deployment.until(lambda: writer.log.count('message="snapshot written"') >= PARTITIONS, writer, seconds=frame.TOOL_SECONDS)
        if writer.stop() != 0:
            raise frame.Failed(f"settled did not end well:\n{writer.log[-3000:]}")
        files = sorted(folder.iterdir())
        drop_copies(files)
        reading = read_files(files)
        drop_copies(files)
        bench.drain(deployment, "--clock", tomorrow)
        process = deployment.processes[-1]
    taken = times_of(process, "the calls are taken from a snapshot")
    held = sum(map(int, re.findall(r'message="the calls are taken from a snapshot".* calls=(\d+)', process.log)))
    if (len(files), len(taken), held) != (PARTITIONS, PARTITIONS, records):
        raise frame.Failed(f"{held} calls of {records} came from {len(taken)} of {len(files)} snapshots")
    return max(taken) - min(times_of(process, "shard claimed")), reading


def measure(bench):
    records = bench.size(4_000_000, 50_000)
    inputs = bench.calls(records, ACCOUNTS, PARTITIONS)
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in bench.programs.items():
            if bench.wants(SNAPSHOT):
                with tempfile.TemporaryDirectory(dir=bench.owner.folder) as folder:
                    taking, reading = take_snapshots(bench, program, records, inputs, pathlib.Path(folder))
                figures.add(who, {SNAPSHOT: taking})
                if who == "settled":
                    figures.add("baseline", {SNAPSHOT: reading})
            if not bench.wants(REPLAY, WHOLE):
                continue
            first, second, replayed = drain_twice(bench, program, records, inputs)
            figures.add(who, {REPLAY: records / replayed, WHOLE: second.wall})
            if who == "settled":
                figures.add("baseline", {REPLAY: records / first.seconds, WHOLE: first.wall})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
