#!/usr/bin/env python3
"""What a call costs in the fold of one shard, with few and with many calls held: time, memory, and the longest stop where
a table grows; how fast a restart has the calls again, by a replay and from a snapshot; and how many accounts a second it
settles.

    build/venv/bin/python tests/bench/fold.py [OPTIONS of bench.py]

bench_fold.c judges random calls of 100,000 accounts in memory, without any service. What the accounts take is not counted
as memory of calls. --long goes up to 100 million calls if so much memory is free.
"""

import sys

import frame

ACCOUNTS = 100_000
BYTES_A_CALL = 120  # at most, with what is held twice while a table grows


class Size:
    """The rows of a number of calls."""

    def __init__(self, millions, least=None):
        self.calls, self.millions = millions * 1_000_000, millions
        name = f"the fold, {millions} M calls held"
        self.time = frame.Row(f"{name}: a call", "ns", "1 M calls held", frame.ratio_at_most(1.25)) if least else \
            frame.Row(f"{name}: a call", "ns", "", frame.value_at_most(120))
        self.replay = frame.Row(f"{name}: a call again after a restart", "ns", "taking it in", frame.ratio_at_most(1))
        self.stop = frame.Row(f"{name}: longest stop", "ms", "", frame.value_at_most(50))
        self.bytes = frame.Row(f"{name}: memory", "bytes a call", "", frame.value_at_most(40) if millions >= 10 else None)
        self.settled = frame.Row(f"{name}: a day's settlement", "accounts/s")
        self.taken = frame.Row(f"{name}: a call from a snapshot", "ns", "reading its file from memory")
        self.held = frame.Row(f"{name}: longest stop for a snapshot", "ms", "", frame.value_at_most(5))
        self.written = frame.Row(f"{name}: a call into a snapshot, beside", "ns")
        self.rows = [self.time, self.replay, self.stop, self.bytes, self.settled, self.taken, self.held, self.written]


LEAST = Size(1)
SIZES = [LEAST, Size(10, LEAST), Size(50, LEAST), Size(100, LEAST)]
LONG = SIZES[2:]
ROWS = [row for size in SIZES for row in size.rows]


def refused(bench, size):
    """Why this number of calls is not measured."""
    if size in LONG and not bench.options.long:
        return "only with --long"
    free = int(frame.field_of("/proc/meminfo", "MemAvailable").split()[0]) * 1024
    if free < size.calls * BYTES_A_CALL:
        return f"needs {size.calls * BYTES_A_CALL / 2**30:.0f} GiB of free memory"
    return None


def judge(bench, program, size):
    calls = size.calls // bench.size(1, 100)
    got = bench.tool(program, calls, ACCOUNTS // bench.size(1, 100))
    # It judges whole batches.
    if not calls <= got["calls"] < calls + 256 or got["settlements"] > got["accounts"]:
        raise frame.Failed(f"{got['calls']} calls are held of {calls}, {got['settlements']} of {got['accounts']} settled")
    return {size.time: got["ns_a_call"], size.replay: got["replay_ns_a_call"], size.stop: got["longest_ms"],
            size.bytes: got["bytes_a_call"], size.settled: got["settlements_a_second"],
            size.taken: got["take_ns_a_call"], size.held: got["snapshot_stop_ms"], size.written: got["write_ns_a_call"],
            "read": got["read_ns_a_call"]}


def measure(bench):
    wanted = [size for size in SIZES if bench.wants(*size.rows)]
    reasons = {size: refused(bench, size) for size in wanted}
    # Each is compared with the least.
    sizes = [LEAST, *(size for size in wanted if size is not LEAST and not reasons[size])]
    programs = bench.built_with("bench_fold")
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for size in sizes:
            for who, program in programs.items():
                got = judge(bench, program, size)
                read = got.pop("read")
                figures.add(who, got)
                if who == "settled":
                    figures.add("baseline", {size.replay: got[size.time], size.taken: read})
                if size is LEAST and who == "settled":
                    figures.add("baseline", {other.time: got[size.time] for other in sizes if other is not LEAST})
    yield from figures.results()
    for size in wanted:
        if reasons[size]:
            yield from (row.missing(reasons[size]) for row in size.rows if bench.wants(row))


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
