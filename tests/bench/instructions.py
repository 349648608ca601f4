#!/usr/bin/env python3
"""Counts the instructions of what is done for each call, and compares them with those of tests/bench/instructions.txt.

    tests/bench/instructions.py [--record] [BUILD_DIR]      the build is build/release by default

Time on a shared machine tells nothing about a few percent; callgrind counts the same instructions everywhere. More than
5 % more than recorded fails. More than 5 % less fails as well: were the file left as it is, the gain could be lost again
unnoticed. In both cases --record writes the new counts. Counts of another compiler say nothing: they are not compared,
and the status is 77, which tests/run.sh lists as skipped (under CI=true as failed). Needs valgrind (deploy/setup.sh test).
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "bench" / "instructions.txt"
RECORD = "tests/bench/instructions.py --record"
OPERATIONS = {
    "decode": "decoding a call record",
    "judge_new": "judging a call that is new",
    "judge_duplicate": "judging a call that is a duplicate",
    "close": "settling a call that is paid for afterwards",
    "draw_down": "settling a call that a package covers",
}
TOLERANCE = 0.05
SKIPPED = 77
HEAD = f"""\
# Instructions for each call, counted by callgrind. `{RECORD}` writes this file; the tests compare it.
"""
# The C library chooses among its functions by what the processor can do; without these, each is the one that any processor
# has. (Valgrind hides what it cannot do itself, but not all that differs.)
PLAIN_PROCESSOR = "glibc.cpu.hwcaps=" + ",".join(f"-{each}" for each in (
    "AVX", "AVX2", "AVX512F", "AVX512VL", "AVX512BW", "BMI1", "BMI2", "ERMS", "FSRM", "LZCNT", "MOVBE", "RTM", "SSSE3",
    "SSE4_1", "SSE4_2"))


class Failed(Exception):
    """Something could not be counted."""


def count(program, operation):
    """The instructions of one operation for each call, and the compiler of the program."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind"
        done = subprocess.run(["valgrind", "-q", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=counted",
                               f"--callgrind-out-file={out}", program, operation], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "GLIBC_TUNABLES": PLAIN_PROCESSOR})
        if done.returncode != 0:
            raise Failed(f"{operation}: status {done.returncode}: {done.stderr[-2000:]}")
        said = json.loads(done.stdout)
        instructions = int(re.search(r"^totals: (\d+)$", out.read_text(), re.MULTILINE).group(1))
    if instructions < said["calls"]:
        raise Failed(f"{operation}: only {instructions} instructions were counted: the compiler has changed `counted`")
    return instructions / said["calls"], said["compiler"]


def text_of(compiler, counts):
    return HEAD + f"compiler {compiler}\n" + "".join(f"{name} {each:.1f}\n" for name, each in counts.items())


def parse(text):
    """The compiler and the counts of the file."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    (key, compiler), *counts = lines
    if key != "compiler":
        raise Failed(f"{RECORDED.name} does not begin with its compiler: {RECORD}")
    return compiler, {name: float(each) for name, each in counts}


def differences(recorded, counted):
    """What has changed by more than the tolerance, or stands on one side only."""
    found = []
    for name in sorted(recorded.keys() | counted.keys()):
        old, new = recorded.get(name), counted.get(name)
        if old is None or new is None:
            found.append(f"{name}: is {'counted' if old is None else 'recorded'} only; {RECORD}")
        elif abs(new - old) > TOLERANCE * old:
            found.append(f"{name}, {OPERATIONS[name]}: {new:.1f} instructions, {old:.1f} recorded ({new / old - 1:+.1%}). "
                         + ("If that is the price of something: " if new > old else "So that it is not lost again: ") + RECORD)
    return found


def compare(compiler, counts):
    recorded_with, recorded = parse(RECORDED.read_text())
    if compiler != recorded_with:
        print(f"not compared: {RECORDED.name} has the counts of gcc {recorded_with}, the program is of {compiler}")
        return SKIPPED
    found = differences(recorded, counts)
    print("\n".join(found) if found else f"{len(counts)} operations, none differs by more than {TOLERANCE:.0%}")
    return 1 if found else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=ROOT / "build" / "release", metavar="BUILD_DIR")
    parser.add_argument("--record", action="store_true", help=f"write the counts into {RECORDED.name}")
    options = parser.parse_args()
    counts, compiler = {}, None
    try:
        for name in OPERATIONS:
            counts[name], compiler = count(options.build / "tests" / "bench" / "count_instructions", name)
            print(f"{name:16} {counts[name]:8.1f}  {OPERATIONS[name]}", flush=True)
        if not options.record:
            return compare(compiler, counts)
    except (Failed, OSError) as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 1
    RECORDED.write_text(text_of(compiler, counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
