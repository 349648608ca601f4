#!/usr/bin/env python3
"""How fast `settled audit` computes everything again, against the `run --drain` that settled it.

    build/venv/bin/python tests/bench/audit.py [OPTIONS of bench.py]

In each round a fresh deployment takes in a topic of calls of today and settles that day, and then all of it is audited.
Both are timed as whole processes.
"""

import datetime
import re
import sys
import time

import frame

PARTITIONS, WORKERS, ACCOUNTS = 8, 2, 5_000
AUDIT = frame.Row("audit of everything", "records/s", "run --drain", frame.ratio_at_least(0.77))
ROWS = [AUDIT]


def audit(deployment, records):
    """The seconds that it takes; it must have read everything and found nothing."""
    start = time.monotonic()
    said = deployment.run("audit", seconds=frame.TOOL_SECONDS)
    took = time.monotonic() - start
    read = int(re.search(r"([\d,]+)  records read", said).group(1).replace(",", ""))
    if read != records or not re.search(r" 0  differences\nequal$", said.strip()):
        raise frame.Failed(f"the audit read {read} records of {records}:\n{said[-2000:]}")
    return took


def measure(bench):
    records = bench.size(4_000_000, 50_000)
    inputs = bench.calls(records, ACCOUNTS, PARTITIONS)
    after_midnight = f"{frame.today() + datetime.timedelta(days=1)}T00:10:00+08:00"
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in bench.programs.items():
            with bench.deployment(program, partitions=PARTITIONS, workers=WORKERS, timestamps="log-append",
                                  inputs_of=inputs) as deployment:
                drained = bench.drain(deployment, "--clock", after_midnight)
                figures.add(who, {AUDIT: records / audit(deployment, records)})
            if who == "settled":
                figures.add("baseline", {AUDIT: records / drained.wall})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
