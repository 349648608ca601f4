#!/usr/bin/env python3
"""Injects the faults of the table (table.py) and checks the result of each; see tests/RELIABILITY.md.

    faults.py [--long] [--only NAMES] [--first N] [--times K] [--bin PATH] [--state FILE] [--jobs J]

The long form takes hours. With --state it notes what is done and goes on there when it is run again; the file also
holds every figure it prints. --only points --first 17 --times 1 repeats one fault.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import sys
import threading
import time
import traceback

import worlds_path  # noqa: F401
import table
from cluster import Cluster
from deployment import ROOT
from subject import Subject

BATCH = {"long": 12, "short": 20}  # faults a world sees, at most, before it is judged as a whole
JOBS = 4
ROUND = 2  # worlds of each row


class Batch:
    """Some faults of a row, one after the other, in one world."""

    def __init__(self, row, first, count, form):
        self.row, self.first, self.count, self.form = row, first, count, form
        self.done, self.problems, self.lines, self.seconds = 0, [], [], 0.0

    @property
    def name(self):
        return f"{self.row.name} {self.first}..{self.first + self.count - 1}"

    def say(self, line):
        self.lines.append(line)

    def live(self, cluster, settled):
        begun = time.monotonic()
        try:
            if self.row.name == "failover":
                for number in range(self.first, self.first + self.count):
                    self.problems += table.fail_over(cluster, settled, table.rng_of(self.row, number), number,
                                                     lambda what, n=number: self.say(f"failover {n}: {what}"))
                    self.done += 1
            else:
                self.live_in_one_world(cluster, settled)
        except Exception as error:  # a fault that could not be injected, a world that did not come to rest
            self.problems.append(f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}")
        self.seconds = time.monotonic() - begun
        return self

    def live_in_one_world(self, cluster, settled):
        postgres = cluster.small_postgres(160) if self.row.name == "disk" else cluster.postgres()
        if postgres is None:
            raise PermissionError("no file system may be mounted here: a full disk needs one (run as root)")
        subject = Subject(settled, cluster, postgres, self.first, **self.row.subject)
        try:
            subject.start()
            subject.converge()
            self.row.prepare(subject)
            end, step = self.first + self.count, self.row.together[self.form]
            for first in range(self.first, end, step):
                self.hurt(subject, range(first, min(first + step, end)))
                if subject.problems and not self.row.each_judged:
                    break
            if self.row.each_judged and subject.problems:
                self.say(f"{self.name}: not compared as a whole, which would only say the same a thousand times")
            else:
                self.judge(subject)
            self.say(f"{self.name}: {subject.statistics()}")
        finally:
            self.problems += subject.problems
            subject.close()
            cluster.do(postgres.kill)

    def judge(self, subject):
        requeues = self.row.name == "requeue"
        subject.judge(calm=not requeues)
        if requeues:
            subject.problems += table.check_requeued(subject)

    def hurt(self, subject, numbers):
        """Injects this many faults, lets a day or more pass, and waits until all of it is settled."""
        begun = subject.stream.now
        subject.stream.go_on()
        what = {}

        def inject(number, **more):
            variant = self.row.variants[number % len(self.row.variants)]
            what[number] = self.row.inject(subject, table.rng_of(self.row, number), variant,
                                           **self.row.options.get(self.form, {}), **more)

        if self.row.each_process and len(numbers) > 1:
            # Both processes get their share of the faults at the same time.
            slots = subject.slots
            with concurrent.futures.ThreadPoolExecutor(len(slots)) as pool:
                list(pool.map(lambda slot: [inject(number, slot=slot) for number in numbers[slot.number::len(slots)]], slots))
        else:
            for number in numbers:
                inject(number)
        subject.stream.pass_days(begun, 1)
        seconds = subject.converge()
        self.done += len(numbers)
        for number in numbers:
            self.say(f"{self.row.name} {number}: {what[number]}")
        self.say(f"{self.row.name} {numbers[0]}..{numbers[-1]}: settled {seconds:.1f} s later")


def batches_of(row, form, first=0, times=None):
    total, most = row.times[form] if times is None else times, row.world or BATCH[form]
    return [Batch(row, start, min(most, first + total - start), form) for start in range(first, first + total, most)]


def rounds_of(batches):
    """A few worlds of each row, then a few more, so that a long form that is ended early has seen every row. When only
    one row has worlds left, they run side by side."""
    rows = {}
    for batch in batches:
        rows.setdefault(batch.row.name, []).append(batch)
    while rows:
        each = ROUND if len(rows) > 1 else None
        yield [batch for row in rows.values() for batch in row[:each]]
        rows = {name: row[each:] for name, row in rows.items() if each and row[each:]}


def run_all(batches, settled, jobs, finished):
    """Worlds run side by side. Those that hurt the whole cluster run before that, alone, while the cluster has few
    topics and restarts quickly."""
    cluster = Cluster()
    lock = threading.Lock()

    def live(batch):
        batch.live(cluster, settled)
        with lock:
            finished(batch)

    try:
        for some in rounds_of(batches):
            for batch in some:
                if batch.row.alone:
                    live(batch)
            with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
                list(pool.map(live, [batch for batch in some if not batch.row.alone]))
    finally:
        cluster.close()


class State:
    """What is done, by row: kept in a file after every world."""

    def __init__(self, path):
        self.path = path and pathlib.Path(path)
        self.rows = json.loads(self.path.read_text()) if self.path and self.path.exists() else {}

    def add(self, batch):
        row = self.rows.setdefault(batch.row.name, {"injected": 0, "worlds": [], "differences": []})
        row["injected"] += batch.done
        row["worlds"].append([batch.first, batch.count])
        row["differences"] += batch.problems
        if self.path:
            self.path.with_suffix(".new").write_text(json.dumps(self.rows, indent=1))
            self.path.with_suffix(".new").rename(self.path)

    def lacks(self, batch):
        return [batch.first, batch.count] not in self.rows.get(batch.row.name, {}).get("worlds", [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", default="", metavar="NAMES", help="rows, separated by commas")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--times", type=int)
    parser.add_argument("--bin", default=str(ROOT / "build" / "faults" / "settled"))
    parser.add_argument("--state")
    parser.add_argument("--jobs", type=int, default=JOBS, help="worlds beside one another")
    options = parser.parse_args()
    form = "long" if options.long else "short"
    state = State(options.state)
    only = set(filter(None, options.only.split(",")))
    batches = [batch for row in table.TABLE if not only or row.name in only
               for batch in batches_of(row, form, options.first, options.times) if state.lacks(batch)]

    def finished(batch):
        state.add(batch)
        print("\n".join(batch.lines), f"({batch.seconds:.0f} s)", flush=True)
        for problem in batch.problems:
            print(f"DIFFERENCE {batch.name}: {problem}", flush=True)

    begun = time.monotonic()
    run_all(batches, options.bin, options.jobs, finished)
    print(f"\n{'fault':60} injected  differences")
    for row in table.TABLE:
        if row.name in state.rows:
            print(f"{row.title:60} {state.rows[row.name]['injected']:8}  {len(state.rows[row.name]['differences']):11}")
    differences = sum(len(row["differences"]) for row in state.rows.values())
    print(f"{sum(row['injected'] for row in state.rows.values())} faults, {differences} differences, "
          f"{time.monotonic() - begun:.0f} s")
    return 1 if differences or any(batch.done < batch.count for batch in batches) else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of proxies and clients are not waited for
