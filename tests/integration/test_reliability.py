"""The page on reliability names tests, fault rows and mutants: each exists."""

import pathlib
import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "tests" / "RELIABILITY.md").read_text()
KINDS = re.search(r"^## What sites do to it\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL).group(1)
ROWS = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \|$", KINDS, re.MULTILINE)
MUTANTS = {int(path.name.split("-")[0]) for path in (ROOT / "tests" / "mutants").glob("*.patch")}


def source_of(name):
    """The text of the file that a test's name begins with."""
    if name.endswith(".py"):
        found = list((ROOT / "tests").rglob(name))
    else:
        kind, _, module = name.partition("_")
        found = [ROOT / "tests" / kind / f"test_{module}.c"]
    assert len(found) == 1 and found[0].exists(), f"{name} is no file of tests"
    return found[0].read_text()


def mutants_of(tests):
    """Those in brackets: single ones and ranges."""
    named = set()
    for bracket in re.findall(r"\(([\d, to]+)\)", tests):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", bracket):
            named |= set(range(int(first), int(last or first) + 1))
    return named


def test_every_kind_has_its_row():
    assert [int(number) for number, *_ in ROWS] == list(range(1, 15))
    assert all(kind and instances for _, kind, instances, _ in ROWS)


@pytest.mark.parametrize("number, tests", [(number, tests) for number, _, _, tests in ROWS], ids=[row[0] for row in ROWS])
def test_each_test_that_is_named_exists(number, tests):
    named = re.findall(r"`(\w+(?:\.py)?)::(\w+)`", tests)
    assert len(named) >= 2 and len(named) == tests.count("::"), number
    for file, test in named:
        form = rf"^def {test}\(" if file.endswith(".py") else rf"^static void {test}\(void \*\*state\)"
        assert re.search(form, source_of(file), re.MULTILINE), f"{file} has no {test}"
    assert mutants_of(tests) <= MUTANTS
    faults = re.findall(r"\brow `(\w+)`", tests)
    table = pathlib.Path(ROOT / "tests" / "integration" / "faults" / "table.py").read_text()
    assert all(f'Row("{row}"' in table for row in faults)


def test_the_rows_of_faults_are_those_that_are_injected():
    """The short form as often as it is told. A long one takes hours, and is told as it was last run: its rows may have grown
    since."""
    figures = re.search(r"^## Figures\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL).group(1)
    told = re.findall(r"^\| `(\w+)` \| .* \| (\d+) \| ([\d,]+) \|", figures, re.MULTILINE)
    import faults.worlds_path  # noqa: F401  the path of what the faults share
    import table
    assert {name: int(short) for name, short, _ in told} == {row.name: row.times["short"] for row in table.TABLE}
    longest = {row.name: row.times["long"] for row in table.TABLE}
    assert all(int(long.replace(",", "")) <= longest[name] for name, _, long in told)
