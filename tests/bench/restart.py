#!/usr/bin/env python3
"""How fast a restart has the calls again that are held, against taking them in.

    build/venv/bin/python tests/bench/restart.py [OPTIONS of bench.py]

In each round a fresh deployment takes in a topic of calls of today, and then a second process of the same deployment
starts where the first one ended. The rate of the restart is taken from its log: from the first shard that is claimed to
the last whose calls are replayed. "from start to end" are the two whole processes.
"""

import datetime
import re
import sys

import frame

PARTITIONS, WORKERS, ACCOUNTS = 8, 2, 5_000
REPLAY = frame.Row("restart: calls replayed", "records/s", "taking them in", frame.ratio_at_least(1.5))
WHOLE = frame.Row("restart, from start to end", "s", "taking them in")
ROWS = [REPLAY, WHOLE]


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


def measure(bench):
    records = bench.size(4_000_000, 50_000)
    inputs = bench.calls(records, ACCOUNTS, PARTITIONS)
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in bench.programs.items():
            first, second, replayed = drain_twice(bench, program, records, inputs)
            figures.add(who, {REPLAY: records / replayed, WHOLE: second.wall})
            if who == "settled":
                figures.add("baseline", {REPLAY: records / first.seconds, WHOLE: first.wall})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
