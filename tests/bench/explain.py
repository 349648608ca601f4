#!/usr/bin/env python3
"""How long `settled explain` takes for one account with many calls in a day, and whether twice the calls take twice the
time: more would show a search that becomes slower with their number.

    build/venv/bin/python tests/bench/explain.py [OPTIONS of bench.py]

With --last both programs explain the same settlements, and must print the same.
"""

import contextlib
import sys
import time

import frame
from deployment import at

ACCOUNT, DAY, NEXT_DAY = "acme", "2026-11-01", "2026-11-02T00:05:00+08:00"
ONCE = frame.Row("explain, 100,000 calls of a day", "s")
TWICE = frame.Row("explain, twice the calls", "s", "100,000 calls", frame.ratio_at_most(2.2))
ROWS = [ONCE, TWICE]


def settle(deployment, calls):
    """Settles a day of so many calls, which do not come in the order of their times, so that no search is lucky."""
    midnight = at(DAY)
    for number in range(calls):
        deployment.call(ACCOUNT, f"call-{number:08}", midnight + number * 7919 % 80_000_000, leads=number % 100,
                        timestamp=midnight + 80_000_000)
    deployment.flush()
    deployment.drain(NEXT_DAY)
    settled = deployment.sql("select calls from settled.settlements")
    if settled != [(calls,)]:
        raise frame.Failed(f"{settled} calls are settled of {calls}")


def explain(deployment, program):
    """What it prints, and how long that takes."""
    deployment.settled, start = program, time.monotonic()
    return deployment.run("explain", ACCOUNT, DAY, seconds=frame.TOOL_SECONDS), time.monotonic() - start


def measure(bench):
    calls = bench.size(100_000, 2_000)
    figures = frame.Figures(bench)
    with contextlib.ExitStack() as stack:
        once, twice = (stack.enter_context(bench.deployment(partitions=1, workers=1, first_day=DAY)) for _ in range(2))
        settle(once, calls)
        settle(twice, 2 * calls)
        for _ in bench.rounds():
            printed = set()
            for who, program in bench.programs.items():
                said, single = explain(once, program)
                said_of_twice, double = explain(twice, program)
                printed.add((said, said_of_twice))
                figures.add(who, {ONCE: single, TWICE: double})
                if who == "settled":
                    figures.add("baseline", {TWICE: single})
            if len(printed) > 1:
                raise frame.Failed("the two programs do not print the same")
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
