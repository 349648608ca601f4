#!/usr/bin/env python3
"""How fast settled takes calls in, against librdkafka alone on the same topic, broker and machine.

    build/venv/bin/python tests/bench/ingest.py [OPTIONS of bench.py]

One topic of 8 partitions with lz4 is filled once; then, in each round and for each number of workers, as many bare
consumers and settled take turns on it. settled decodes, judges, deduplicates, aggregates and commits; a bare consumer
drops what it gets. Both are timed from the first record to the last: the bare consumer by itself, settled by the line
that it logs at the end of `run --drain`. "from start to end" is the time of the whole process, with joining the group,
committing and publishing. The CPU time of settled is without that of a drain of empty topics.

How much of this rate is left while snapshots are written is measured on a topic of 2 partitions: so each of its shards
holds enough calls for three of them, one after the other, and settled without a folder for them is the baseline.
"""

import sys
import tempfile
import time

import frame

PARTITIONS = 8
ACCOUNTS = 5_000


class Case:
    """The rows of a number of workers."""

    def __init__(self, workers, name, least_rate, most_cpu):
        against = f"{name} bare consumer{'s' if workers > 1 else ''}"
        name = f"ingest, {name} worker{'s' if workers > 1 else ''}"
        self.workers = workers
        self.rate = frame.Row(name, "records/s", against, frame.ratio_at_least(least_rate))
        self.cpu = frame.Row(f"{name}, CPU", "ns a record", against, frame.ratio_at_most(most_cpu))
        self.whole = frame.Row(f"{name}, from start to end", "records/s", against, frame.ratio_at_least(0.7))
        self.rows = [self.rate, self.cpu, self.whole]

    def figures(self, records, seconds, cpu, wall):
        return {self.rate: records / seconds, self.cpu: cpu / records * 1e9, self.whole: records / wall}

    def bare(self, bench, inputs, records):
        start = time.monotonic()
        got = bench.tool("bare_consumer", inputs.brokers, inputs.topics["calls"], self.workers)
        if got["records"] != records:
            raise frame.Failed(f"the bare consumer took {got['records']} records of {records}")
        return self.figures(records, got["seconds"], got["cpu_seconds"], time.monotonic() - start)

    def settled(self, bench, program, inputs, records, idle):
        """`idle`: the CPU time of a drain of empty topics."""
        with self.deployment(bench, program, inputs) as deployment:
            took = bench.drain(deployment)
        took.expect(records)
        return self.figures(records, took.seconds, took.cpu - idle, took.wall)

    def deployment(self, bench, program, inputs=None):
        return bench.deployment(program, partitions=PARTITIONS, workers=self.workers, timestamps="log-append", inputs_of=inputs)

    def idle(self, bench, program):
        with self.deployment(bench, program) as empty:
            return bench.drain(empty).cpu


SNAPSHOTS = frame.Row("ingest, one worker, while snapshots are written", "records/s", "without snapshots",
                      frame.ratio_at_least(0.95))
CASES = [Case(1, "one", 0.95, 1.3), Case(2, "two", 0.75, 1.4)]
ROWS = [*(row for case in CASES for row in case.rows), SNAPSHOTS]


def drain_with(bench, program, inputs, records, folder=None):
    """The records a second of one worker, with a folder for snapshots or without; and how many were written."""
    with bench.deployment(program, partitions=2, workers=1, timestamps="log-append", inputs_of=inputs) as deployment:
        if folder:
            deployment.config = deployment.write_config(run={"snapshots": str(folder)})
        took = bench.drain(deployment)
        written = deployment.processes[-1].log.count('message="snapshot written"')
    took.expect(records)
    return took.records / took.seconds, written


def measure_snapshots(bench, records):
    inputs = bench.calls(records, ACCOUNTS, 2)
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in bench.programs.items():
            without, none = drain_with(bench, program, inputs, records)
            with tempfile.TemporaryDirectory(dir=bench.owner.folder) as folder:
                rate, written = drain_with(bench, program, inputs, records, folder)
            if none or not written:
                raise frame.Failed(f"{written} snapshots were written with a folder, {none} without")
            figures.add(who, {SNAPSHOTS: rate})
            if who == "settled":
                figures.add("baseline", {SNAPSHOTS: without})
    yield from figures.results()


def measure(bench):
    cases = [case for case in CASES if bench.wants(*case.rows)]
    records = bench.size(8_000_000, 100_000)
    inputs = bench.calls(records, ACCOUNTS, PARTITIONS) if cases else None
    figures = frame.Figures(bench)
    idle = {(case, who): case.idle(bench, program) for case in cases for who, program in bench.programs.items()}
    for _ in bench.rounds() if cases else ():
        for case in cases:
            figures.add("baseline", case.bare(bench, inputs, records))
            for who, program in bench.programs.items():
                figures.add(who, case.settled(bench, program, inputs, records, idle[case, who]))
    yield from figures.results()
    if bench.wants(SNAPSHOTS):
        yield from measure_snapshots(bench, records)


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
