#!/usr/bin/env python3
"""Proves the recipes of consumer/HACKING.md: each NAME.patch follows one of them and nothing else. It is applied to a copy
of the sources and built, and the tests that it names must pass. The last line counts them: "N passed, N failed".

    tests/recipes/run.py [--only REGEX]

A patch opens with lines of this form:

    # recipe: A metric
    # What the example adds, for people.
    # tests: PROGRAM:CASE ...

The recipe of that name in HACKING.md begins "**A metric** (3 files)." It says how many files the patch touches, and names
each of them, or their folder. PROGRAM:CASE is as in tests/mutants: services that it needs are started here, unless
SETTLED_TEST_* tells of running ones. The sources are built once; each patch begins with a copy of that build.
"""

import argparse
import os
import pathlib
import re
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import services  # noqa: E402 (the path is set above)
from patched import Bench, Broken, files_of, services_needed, supervise, targets_of, tests_in  # noqa: E402


def head_of(patch):
    """(the recipe's name, [(program, case)])."""
    head = [line[2:] for line in patch.read_text().splitlines() if line.startswith("# ")]
    names = [line.removeprefix("recipe: ") for line in head if line.startswith("recipe: ")]
    tests = tests_in(" ".join(line.removeprefix("tests: ") for line in head if line.startswith("tests: ")))
    if len(names) != 1 or not tests:
        raise Broken(f"{patch.name} has to open with '# recipe: NAME' and '# tests: PROGRAM:CASE ...'")
    return names[0], tests


def recipes_of(text):
    """{name: (number of files, what it says)} of HACKING.md."""
    section = text.partition("## Recipes")[2].partition("\n## ")[0]
    found = re.findall(r"^\*\*([^*\n]+)\*\* \((\d+) files?\)\.(.*?)(?=^\*\*|\Z)", section, re.MULTILINE | re.DOTALL)
    return {name: (int(count), said) for name, count, said in found}


def check_text(patch, name, recipes):
    """The recipe says what the patch does."""
    if name not in recipes:
        raise Broken(f"HACKING.md has no recipe '**{name}** (N files).'; it has {', '.join(recipes)}")
    count, said = recipes[name]
    files = files_of(patch)
    if count != len(files):
        raise Broken(f"HACKING.md says that it takes {count} files, the patch touches {len(files)}: {', '.join(files)}")
    for file in files:
        path = pathlib.PurePath(file)
        if not any(str(each) in said for each in (path.name, path.stem, f"{path.parent}/")):
            raise Broken(f"the recipe '{name}' in HACKING.md does not name {file}, which the patch has to touch")


def prove(bench, patch):
    name, tests = head_of(patch)
    check_text(patch, name, recipes_of((ROOT / "consumer" / "HACKING.md").read_text()))
    bench.fresh()
    files = bench.apply(patch)
    for status, output in (bench.command("cmake", "build"), bench.build({"settled", *targets_of(tests)})):
        if status != 0:
            raise Broken(f"who follows it gets a tree that does not build:\n{output[-3000:]}")
    for program, case in tests:
        outcome = bench.case(program, case)
        if outcome != "passed":
            raise Broken(f"{program}:{case} {outcome} with it: the recipe leaves something out\n{bench.said[-3000:]}")
    return f"{len(files)} files"


def tests_of(patches):
    return [each for patch in patches for each in head_of(patch)[1]]


def run(bench, patches):
    """Prints a line for each; returns how many failed."""
    start = time.monotonic()
    bench.prepare({"settled", *targets_of(tests_of(patches))})
    bench.keep()
    print(f"built ({time.monotonic() - start:.1f} s)", flush=True)
    failed = 0
    for patch in patches:
        start = time.monotonic()
        try:
            said, outcome = prove(bench, patch), "ok    "
        except Broken as broken:
            said, outcome = str(broken), "FAILED"
            failed += 1
        print(f"{outcome} {patch.stem} ({time.monotonic() - start:.1f} s): {said}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="REGEX", default="")
    options = parser.parse_args()

    def work(owner, folder):
        patches = [each for each in sorted(HERE.glob("*.patch")) if re.search(options.only, each.stem)]
        if not patches:
            raise Broken("no recipe is chosen")
        variables = services.start_asked(owner, **services_needed(tests_of(patches)))
        return len(patches), run(Bench(folder, {**os.environ, **variables}), patches)

    return supervise("recipes", work)


if __name__ == "__main__":
    sys.exit(main())
