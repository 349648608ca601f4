#!/usr/bin/env python3
"""How long `settled explain` takes for one account with many calls in a day: several programs in turn, over one topic and
one database.

    build/venv/bin/python tests/bench/explain.py PROGRAM... [--calls N] [--rounds N]

A program is the path of a built settled; the first settles the day. Each explains it in every round, and the fastest
counts. A second line has twice the calls. It shows whether a search becomes slower with their number: twice the calls
should take about twice the time. It exits with 1 when two programs do not print the same.
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import services  # noqa: E402 (the path is set above)
from deployment import Deployment, at  # noqa: E402

ACCOUNT, DAY, NEXT_DAY = "acme", "2026-11-01", "2026-11-02T00:05:00+08:00"


def settle(deployment, calls):
    """Settles a day of so many calls, which do not come in the order of their times, so that no search is lucky."""
    midnight = at(DAY)
    for number in range(calls):
        deployment.call(ACCOUNT, f"call-{number:08}", midnight + number * 7919 % 80_000_000, leads=number % 100,
                        timestamp=midnight + 80_000_000)
    deployment.flush()
    deployment.drain(NEXT_DAY)


def explain(program, config):
    """What it prints, and how long that takes."""
    start = time.monotonic()
    done = subprocess.run([program, "explain", "-c", config, ACCOUNT, DAY], capture_output=True, timeout=600, check=True)
    return done.stdout, time.monotonic() - start


def run(options, owner):
    kafka, postgres = owner.kafka(start=False), owner.postgres(start=False)
    owner.start()
    same = True
    for calls in (options.calls, 2 * options.calls):
        name = f"explain_{calls}"
        postgres.sql(f"CREATE DATABASE {name}")
        with contextlib.closing(Deployment(options.programs[0], kafka.brokers, postgres.dsn_of(name), owner.folder,
                                           partitions=1, workers=1, first_day=DAY)) as deployment:
            settle(deployment, calls)
            took = [[] for _ in options.programs]
            printed = set()
            for _ in range(options.rounds):
                for number, program in enumerate(options.programs):
                    text, seconds = explain(program, deployment.config)
                    printed.add(text)
                    took[number].append(seconds)
        for program, seconds in zip(options.programs, took):
            print(f"{calls:>9,} calls  {min(seconds):7.2f} s  {program}", flush=True)
        same = same and len(printed) == 1
    if not same:
        print("the programs do not print the same")
    return 0 if same else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    services.adopt_orphans()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            return run(options, owner)
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    finally:
        services.reap_all()


if __name__ == "__main__":
    sys.exit(main())
