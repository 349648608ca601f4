#!/usr/bin/env python3
"""Small wrong changes that a test must notice: each NN-NAME.patch is applied to a copy of the sources, built, and the
tests that it names must then fail. The last line counts them: "N passed, N failed".

    tests/mutants/run.py [--all | --third 0|1|2] [--only REGEX] [--list]

Without --all a third of them runs, chosen by the commit, so that consecutive commits go through all of them; with
SETTLED_LONG=1 all run. A patch opens with lines that say what is wrong, and one that names the tests:

    # tests: PROGRAM:CASE ...

PROGRAM is a test of tests/CMakeLists.txt, CASE one of its cmocka cases, or * for all of them; of `sim` it is a number of
seeds, of `world` a seed (tests/worlds), of `pytest` a test below tests/. Those of integration_*, world and pytest need services;
the variables SETTLED_TEST_* tell of running ones, else they are started here.
"""

import argparse
import dataclasses
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import services  # noqa: E402 (the path is set above)
from patched import Bench, Broken, services_needed, supervise, targets_of, tests_in  # noqa: E402

@dataclasses.dataclass
class Mutant:
    name: str
    patch: pathlib.Path
    what: str
    tests: list  # (program, case)


def read_mutant(path):
    head = []
    for line in path.read_text().splitlines():
        if not line.startswith("# "):
            break
        head.append(line[2:])
    named = [line for line in head if line.startswith("tests: ")]
    tests = tests_in(" ".join(line.removeprefix("tests: ") for line in named))
    if not tests:
        raise Broken(f"{path.name} has no line of the form '# tests: PROGRAM:CASE ...'")
    return Mutant(path.stem, path, " ".join(line for line in head if line not in named), tests)


def read_mutants(folder):
    """All patches of a folder, in the order of their numbers. No two may share a number."""
    by_number = {}
    for path in sorted(folder.glob("*.patch")):
        number = re.match(r"(\d+)-.", path.name)
        if not number:
            raise Broken(f"{path.name} is not named NN-NAME.patch")
        other = by_number.setdefault(int(number[1]), path)
        if other != path:
            raise Broken(f"{other.name} and {path.name} share the number {number[1]}: give one of them the next free one")
    return [read_mutant(path) for _, path in sorted(by_number.items())]


def chosen(mutants, options):
    if options.only:
        return [each for each in mutants if re.search(options.only, each.name)]
    if options.all or (options.third is None and os.environ.get("SETTLED_LONG") == "1"):
        return mutants
    third = options.third
    if third is None:
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, check=False).stdout
        third = hashlib.sha256(head).digest()[0] % 3
    print(f"a third of {len(mutants)} mutants; --third {third} repeats it, --all runs all")
    return mutants[third::3]


def judge(bench, mutant):
    """Returns the case that noticed it."""
    before = bench.apply(mutant.patch)
    try:
        status, output = bench.build(targets_of(mutant.tests))
        if status != 0:
            raise Broken(f"does not compile:\n{output[-3000:]}")
        said = []
        for program, case in mutant.tests:
            outcome = bench.case(program, case)
            if outcome == "failed":
                return f"{program}:{case}"
            said.append(f"{program}:{case} {outcome}")
        raise Broken(f"survives: {', '.join(said)}. Add a case that fails with it")
    finally:
        bench.undo(before)


def run(bench, mutants):
    """Prints a line for each; returns how many failed."""
    start = time.monotonic()
    tests = sorted({each for mutant in mutants for each in mutant.tests})
    bench.prepare(targets_of(tests))
    for program, case in tests:
        outcome = bench.case(program, case)
        if outcome != "passed":
            raise Broken(f"{program}:{case} {outcome} without any mutant:\n{bench.said[-3000:]}")
    print(f"built; {len(tests)} cases pass without a mutant ({time.monotonic() - start:.0f} s)", flush=True)
    failed = 0
    for mutant in mutants:
        start = time.monotonic()
        try:
            said = f"caught by {judge(bench, mutant)}"
            outcome = "ok    "
        except Broken as broken:
            said, outcome = str(broken), "FAILED"
            failed += 1
        print(f"{outcome} {mutant.name} ({time.monotonic() - start:.1f} s): {said}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true")
    which.add_argument("--third", type=int, choices=range(3))
    which.add_argument("--only", metavar="REGEX")
    parser.add_argument("--list", action="store_true", help="print what each gets wrong and run nothing")
    options = parser.parse_args()

    def work(owner, folder):
        mutants = chosen(read_mutants(HERE), options)
        if not mutants:
            raise Broken("no mutant is chosen")
        variables = services.start_asked(owner, **services_needed([each for mutant in mutants for each in mutant.tests]))
        return len(mutants), run(Bench(folder, {**os.environ, **variables}), mutants)

    if not options.list:
        return supervise("mutants", work)
    try:
        for mutant in chosen(read_mutants(HERE), options):
            print(f"{mutant.name}: {mutant.what}")
        return 0
    except Broken as broken:
        print(f"{broken}\n0 passed, 1 failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
