#!/usr/bin/env python3
"""How long settled takes to start and to end when there is nothing to do: an empty `run --drain`, against librdkafka
alone as a member of a group over the same topics.

    build/venv/bin/python tests/bench/start.py [OPTIONS of bench.py]

The deployment has settled a day before, so that the checks find records to compare. In each round a bare member joins a
group and leaves it, and then settled drains once. Both are timed as whole processes.
"""

import contextlib
import subprocess
import sys
import time

import frame
from deployment import INPUTS, at

PARTITIONS, WORKERS, ACCOUNTS = 8, 2, 100
DAY, NOON = "2026-11-01", "2026-11-02T12:00:00+08:00"
EMPTY = frame.Row("empty drain", "s", "a bare member joins and leaves", frame.difference_at_most(1))
ROWS = [EMPTY]


def seconds_of(*command):
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=frame.TOOL_SECONDS)
    if done.returncode != 0:
        raise frame.Failed(f"{command[0]} ended with status {done.returncode}: {done.stderr[-3000:]}")
    return time.monotonic() - start


def settle_a_day(deployment):
    for number in range(ACCOUNTS):
        account = f"account-{number}"
        deployment.call(account, f"call-{number}", at(DAY, "10:00:00"))
        deployment.purchase(account, f"purchase-{number}", "AUDIENCE_INSIGHT", 50, 10_000_000, at(DAY, "09:00:00"))
        deployment.top_up(account, f"credit-{number}", 10_000, at(DAY, "09:00:00"))
    deployment.flush()
    deployment.drain(NOON)


def measure(bench):
    figures = frame.Figures(bench)
    with contextlib.ExitStack() as stack:
        deployments = {}
        for who, program in bench.programs.items():
            deployments[who] = stack.enter_context(
                bench.deployment(program, partitions=PARTITIONS, workers=WORKERS, first_day=DAY))
            settle_a_day(deployments[who])
        measured = deployments["settled"]
        topics = [measured.topics[key] for key in INPUTS]
        for _ in bench.rounds():
            figures.add("baseline", {EMPTY: seconds_of(frame.PROGRAMS / "bare_member", measured.brokers,
                                                       f"{measured.name}-bare", *topics)})
            for who, deployment in deployments.items():
                figures.add(who, {EMPTY: bench.drain(deployment, "--clock", NOON).wall})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
