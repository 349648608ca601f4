"""The short form of the table, as tests: each row injects its faults, and nothing differs from a run without them.

By hand, and in the long form: faults.py."""

import gzip
import http.client
import os
import re
import subprocess

import pytest
import worlds_path  # noqa: F401
import faults
import late
import sites
import table
from deployment import ROOT
from fake_registry import Answer, FakeRegistry

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
    assert table.BUSY | table.OPERATOR | table.BESIDE | table.RETIRE <= set(table.points())


def test_late_requests_of_every_kind_are_in_the_short_form():
    cases = [case for case in late.FIRST if case != late.BLIND]
    assert len(cases) < len(late.FIRST) == table.TABLE[[row.name for row in table.TABLE].index("late")].times["short"]
    assert {case.kind for case in cases} == set(late.KINDS)
    assert {case.kill for case in cases} == set(late.KILLS)
    assert {case.others for case in cases} == {case.alone for case in cases} == {True, False}
    assert len(set(late.all_cases())) > 500
    assert late.all_cases() == late.all_cases()


def test_every_way_to_be_read_only_or_open_is_in_the_short_form():
    rows = {row.name: row for row in table.TABLE}
    ways = [rows["readonly"].variants[number] for number in range(rows["readonly"].times["short"])]
    assert set(ways) == {sites.SETTING, sites.STANDBY, sites.RESTARTED}
    opened = [rows["open"].variants[number] for number in range(rows["open"].times["short"])]
    assert {key for key, _ in opened} == {"credits", "purchases"}
    assert {ends for _, ends in opened} == {"aborted", "committed", "left alone"}
    assert len(set(rows["open"].variants)) == 6


@pytest.mark.parametrize("sent", sites.SENT)
def test_the_registry_of_the_row_answers_as_it_was_told(sent):
    answers = sites.wrong_answers()
    assert (404, b'{"error_code":40403,"message":"Schema not found"}') in answers
    assert {status // 100 for status, _ in answers} == {2, 3, 4, 5} and (204, b"") in answers
    registry = FakeRegistry({})
    try:
        registry.script = iter([Answer(status, body, sent, "1") for status, body in answers if body])
        for status, body in answers:
            if not body:
                continue
            connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=10)
            connection.request("GET", "/schemas/ids/7")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Retry-After"]) == (status, "1")
            if sent == "cut off":
                with pytest.raises(http.client.IncompleteRead):
                    answer.read()
            elif status != 304:
                said = answer.read()
                assert (gzip.decompress(said) if sent == "compressed" else said) == body
            if sent == "at last":
                break  # each takes a second
    finally:
        registry.stop()


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
