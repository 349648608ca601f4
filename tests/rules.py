#!/usr/bin/env python3
"""Each billing rule has its lines and its tests: the numbers in pricing/README.md against those in the sources.

    rules.py              checks all of them
    rules.py R7 ...       prints a rule, the lines that implement it and the tests that prove it

A rule begins with its number in bold (`**R7 A boundary belongs to the upper tier.**`). A comment of pricing/ or consumer/
that has the number stands at the line that implements the rule; one in a file tests/**/test_* stands at a test that fails
when the rule is broken. A rule without either is reported, and so is a number that is not a rule. No script can check
that each comment is at the right line: whoever moves such a line must move the number with it.
"""

import collections
import pathlib
import re
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[1]
README = "pricing/README.md"
CODE = ("pricing", "consumer")
TESTS = "tests"

NUMBER = re.compile(r"\bR[1-9][0-9]*\b")
DEFINED = re.compile(r"\*\*(R[1-9][0-9]*) ([^*]*)\*\*")
COMMENT = {".c": "//", ".h": "//", ".py": "#"}

# Where a number stands: the file, its line, and what is written there.
Place = collections.namedtuple("Place", "file line text")


def rules(root):
    """The rules as {number: title}, and the faults of the page itself."""
    text = (root / README).read_text()
    found, wrong = {}, []
    for number, title in DEFINED.findall(text):
        if number in found:
            wrong.append(f"{README}: {number} is the number of two rules: give one of them the next number that was never used")
        found.setdefault(number, " ".join(title.split()).rstrip(".:,"))
    wrong += [f"{README}: {number} is mentioned, and no rule begins with **{number} ...**: mend the mention, or write the rule"
              for number in sorted(set(NUMBER.findall(text)) - set(found))]
    return found, wrong


def places(root, folders):
    """Where the comments in these folders have numbers: {number: [Place]}."""
    found = collections.defaultdict(list)
    for path in sorted(each for folder in folders for each in (root / folder).rglob("*") if each.suffix in COMMENT):
        if path == pathlib.Path(__file__).resolve():
            continue
        lines = path.read_text(errors="replace").splitlines()
        for at, line in enumerate(lines):
            before, mark, comment = line.partition(COMMENT[path.suffix])
            # A comment with numbers alone says nothing, so the code before or below it is printed.
            said = comment if re.sub(r"R[0-9]+|[, ]", "", comment) else before.strip() or " ".join(lines[at + 1:at + 2])
            for number in NUMBER.findall(comment) if mark else ():
                found[number].append(Place(path.relative_to(root).as_posix(), at + 1, said.strip()))
    return found


def is_test(place):
    return place.file.rpartition("/")[2].startswith("test_")


def differences(root):
    """What is wrong: each names the rule or the place, what is missing, and where to add it."""
    known, wrong = rules(root)
    code, tests = places(root, CODE), places(root, [TESTS])
    for number, title in known.items():
        if not code[number]:
            wrong.append(f"{number} ({title}): no line of pricing/ or consumer/ implements it: write `// {number}: ...` above "
                         "the line that does")
        if not any(is_test(place) for place in tests[number]):
            wrong.append(f"{number} ({title}): no test names it: write `// {number}` above a test in tests/unit that fails when "
                         "the rule is broken")
    for found in (code, tests):
        wrong += [f"{place.file}:{place.line}: {number} is no rule: name the rule that is meant, or write it in {README}"
                  for number in sorted(found.keys() - known.keys()) for place in found[number]]
    return wrong


def self_test():
    """The check can fail: in a tree of two rules each mistake is reported, and without mistakes nothing is."""
    good = {README: "* **R1 One.** See R2.\n* **R2 Two\n  lines.**\n", "pricing/a.c": "// R1: so.\nint a;\n",
            "consumer/core/b.c": "int b; // R2\n", "tests/unit/test_a.c": "// R1, R2\nint c;\n"}
    cases = [
        ({}, None),
        ({"consumer/core/b.c": "int R2;\n"}, "R2 (Two lines): no line"),
        ({"tests/unit/test_a.c": "// R1\n"}, "R2 (Two lines): no test"),
        ({"tests/unit/test_a.c": "// R1\n", "tests/sim/a.c": "// R2\n"}, "R2 (Two lines): no test"),
        ({"pricing/a.c": "// R1, R3: so.\n"}, "pricing/a.c:1: R3 is no rule"),
        ({"tests/oracle/a.py": "a = 1\nb = 2  # R12\n"}, "tests/oracle/a.py:2: R12 is no rule"),
        ({README: good[README] + "**R1 Once more.**\n"}, "R1 is the number of two rules"),
        ({README: good[README] + "R4\n"}, "R4 is mentioned"),
    ]
    for changed, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**good, **changed}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            found = differences(root)
        if len(found) != (expected is not None) or (expected and expected not in found[0]):
            return [f"self-test: {changed} gave {found}, expected {expected!r}"]
    return []


def show(number):
    known, _ = rules(SOURCE)
    if number not in known:
        print(f"{number} is no rule of {README}; they are R1 to R{max(int(each[1:]) for each in known)}", file=sys.stderr)
        return 64
    print(f"{number} {known[number]}")
    for place in places(SOURCE, [*CODE, TESTS])[number]:
        print(f"  {place.file}:{place.line}: {place.text}")
    return 0


def main():
    if any(argument.startswith("-") for argument in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        return 64
    if len(sys.argv) > 1:
        return max(show(number) for number in sys.argv[1:])
    found = self_test() + differences(SOURCE)
    known, _ = rules(SOURCE)
    print("\n".join(found) if found else f"{len(known)} billing rules, each with its lines and its tests")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
