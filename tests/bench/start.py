#!/usr/bin/env python3
"""How long settled takes to start and to end when there is nothing to do: an empty `run --drain`, against librdkafka
alone as a member of a group over the same topics.

    build/venv/bin/python tests/bench/start.py PROGRAM... [--rounds N] [--workers N] [--partitions N]

A program is the path of a built settled. Each has a deployment of its own that has settled a day before, so that the
checks find records to compare. Needs bare_member of the release build. In each round, a bare member joins a group and leaves
it, and then each program drains once, so that a slow moment of the machine hits all. Both are timed as whole processes.
The table has each program's median, its ratio to the bare member of the same round, and what it takes beyond it: the
median, the least and the most of the rounds.
"""

import argparse
import contextlib
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import services  # noqa: E402 (the path is set above)
from deployment import INPUTS, Deployment, at  # noqa: E402

BARE = ROOT / "build" / "release" / "tests" / "bench" / "bare_member"
DAY, NEXT_DAY = "2026-11-01", "2026-11-02"
NOON = f"{NEXT_DAY}T12:00:00+08:00"
ACCOUNTS = 100


class Failed(Exception):
    """A measured program did not do its work."""


def seconds_of(command):
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{pathlib.Path(command[0]).name} ended with status {done.returncode}: {done.stderr[-3000:]}")
    return time.monotonic() - start


def settle_a_day(deployment):
    for number in range(ACCOUNTS):
        account = f"account-{number}"
        deployment.call(account, f"call-{number}", at(DAY, "10:00:00"))
        deployment.purchase(account, f"purchase-{number}", "AUDIENCE_INSIGHT", 50, 10_000_000, at(DAY, "09:00:00"))
        deployment.top_up(account, f"credit-{number}", 10_000, at(DAY, "09:00:00"))
    deployment.flush()
    deployment.drain(NOON)


def run(options, owner):
    kafka, postgres = owner.kafka(start=False), owner.postgres(start=False)
    owner.start()
    bare, found = [], {program: [] for program in options.programs}
    with contextlib.ExitStack() as stack:
        deployments = {}
        for number, program in enumerate(options.programs):
            postgres.sql(f"CREATE DATABASE start_{number}")
            deployments[program] = stack.enter_context(contextlib.closing(Deployment(
                program, kafka.brokers, postgres.dsn_of(f"start_{number}"), owner.folder, first_day=DAY,
                partitions=options.partitions, workers=options.workers)))
            settle_a_day(deployments[program])
        first = deployments[options.programs[0]]
        topics = [first.topics[key] for key in INPUTS]
        for _ in range(options.rounds):
            bare.append(seconds_of([BARE, kafka.brokers, f"{first.name}-bare", *topics]))
            for program, deployment in deployments.items():
                found[program].append(seconds_of([program, "run", "-c", deployment.config, "--drain", "--clock", NOON]))
    show(bare, found)


def show(bare, found):
    width = max(len(str(program)) for program in found)
    print(f"{'':{width}} {'seconds':>8} {'ratio':>6} {'beyond the join':>16} {'least':>6} {'most':>6}")
    print(f"{'bare member':{width}} {statistics.median(bare):>8.2f}")
    for program, took in found.items():
        beyond = [mine - each for mine, each in zip(took, bare)]
        ratio = statistics.median(mine / each for mine, each in zip(took, bare))
        print(f"{program:{width}} {statistics.median(took):>8.2f} {ratio:>6.2f} {statistics.median(beyond):>16.2f} "
              f"{min(beyond):>6.2f} {max(beyond):>6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", default=[str(ROOT / "build" / "release" / "settled")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=8)
    options = parser.parse_args()
    services.stop_on_signals()
    try:
        with services.Services() as owner:
            run(options, owner)
    except services.Stopped as stopped:
        return 128 + stopped.args[0]
    except (services.ServiceError, Failed, AssertionError, OSError) as error:
        print(f"start.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
