"""The short form of the table, as tests: each row injects its faults, and nothing differs from a run without them.

By hand, and in the long form: faults.py."""

import os
import re
import subprocess

import pytest
import worlds_path  # noqa: F401
import faults
import late
import table
from deployment import ROOT

FAULTS = ROOT / "build" / "faults" / "settled"
RELEASE = ROOT / "build" / "release" / "settled"


@pytest.fixture(scope="session")
def lived():
    """All rows, several worlds at a time: by row, its batches."""
    found = {row.name: [] for row in table.TABLE}
    batches = [batch for row in table.TABLE for batch in faults.batches_of(row, "short")]
    faults.run_all(batches, os.environ.get("SETTLED_FAULTS_BINARY", str(FAULTS)), faults.JOBS,
                   lambda batch: found[batch.row.name].append(batch))
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("row", table.TABLE, ids=lambda row: row.name)
def test_row(lived, row):
    for batch in lived[row.name]:
        print("\n".join(batch.lines))
    problems = [problem for batch in lived[row.name] for problem in batch.problems]
    assert not problems, "\n".join(problems)
    assert sum(batch.done for batch in lived[row.name]) == row.times["short"]


def test_there_are_points_enough():
    assert len(table.points()) >= 20
    assert table.BUSY | table.OPERATOR <= set(table.points())


def test_late_requests_of_every_kind_are_in_the_short_form():
    cases = [case for case in late.FIRST if case != late.BLIND]
    assert len(cases) < len(late.FIRST) == table.TABLE[[row.name for row in table.TABLE].index("late")].times["short"]
    assert {case.kind for case in cases} == set(late.KINDS)
    assert {case.kill for case in cases} == set(late.KILLS)
    assert {case.others for case in cases} == {case.alone for case in cases} == {True, False}
    assert len(set(late.all_cases())) > 500
    assert late.all_cases() == late.all_cases()


def test_nothing_of_it_is_in_a_release():
    """Neither a symbol nor a string is there; and both are in the build that must have them, so the search can find
    them."""
    def traces(program):
        strings = set(subprocess.run(["strings", "-n", "4", program], capture_output=True, text=True, check=True)
                      .stdout.splitlines())
        # The objects from which it was linked are searched, too: the linker may inline a function, and then its name is
        # gone.
        parts = [program, *program.parent.glob("consumer/*.a")]
        symbols = subprocess.run(["nm", *parts], capture_output=True, text=True, check=True).stdout
        assert len(parts) > 1
        return ({line for line in strings if re.search("SETTLED_FAULT|fault point", line)} |
                strings & set(table.points()) | set(re.findall(r"\bfault_\w+", symbols)))

    assert set(table.points()) | {"fault_pass", "fault_clock_ms"} <= traces(FAULTS)
    assert not traces(RELEASE)
