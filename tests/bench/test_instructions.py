"""What tests/bench/instructions.py says of counts, by counts made up here."""

import pathlib
import sys
import types

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "lib")]
import instructions  # noqa: E402 (the path is set above)
import run  # noqa: E402

COUNTS = {"decode": 100.0, "judge_new": 1000.0}


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(instructions, "RECORDED", tmp_path / "instructions.txt")
    instructions.RECORDED.write_text(instructions.text_of("12.2.0", COUNTS))


def test_what_is_recorded_is_read_back():
    assert instructions.parse(instructions.text_of("12.2.0", COUNTS)) == ("12.2.0", COUNTS)


@pytest.mark.parametrize("changed", [{}, {"decode": 104.9}, {"decode": 95.1, "judge_new": 1050.0}])
def test_five_percent_are_no_difference(recorded, changed):
    assert instructions.compare("12.2.0", {**COUNTS, **changed}) == 0


@pytest.mark.parametrize("changed, said", [
    ({"decode": 105.1}, "decode, decoding a call record: 105.1 instructions, 100.0 recorded (+5.1%)"),
    ({"judge_new": 949.0}, "judge_new, judging a call that is new: 949.0 instructions, 1000.0 recorded (-5.1%)"),
    ({"close": 3.0}, "close: is counted only"),
])
def test_more_fails_and_names_both_counts_and_the_command(recorded, capsys, changed, said):
    assert instructions.compare("12.2.0", {**COUNTS, **changed}) == 1
    line, = capsys.readouterr().out.splitlines()
    assert line.startswith(said) and line.endswith("tests/bench/instructions.py --record")


def test_an_operation_that_is_counted_no_more_fails(recorded):
    assert instructions.compare("12.2.0", {"decode": 100.0}) == 1


def test_counts_of_another_compiler_are_not_compared(recorded, capsys):
    assert instructions.compare("14.2.0", {"decode": 500.0, "judge_new": 1.0}) == instructions.SKIPPED
    assert capsys.readouterr().out.startswith("not compared: ")


@pytest.mark.parametrize("ci, status, outcome", [
    (False, 0, "passed"), (False, 1, "failed"), (False, instructions.SKIPPED, "skipped"),
    (True, 0, "passed"), (True, instructions.SKIPPED, "failed"),
])
def test_the_test_command_lists_it_as_skipped_and_under_ci_as_failed(monkeypatch, tmp_path, ci, status, outcome):
    monkeypatch.setattr(run, "CI", ci)
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    tests = run.Run(types.SimpleNamespace(long=False, only=None))
    tests.check("counts", ["sh", "-c", f"exit {status}"])
    assert [each.outcome for each in tests.results] == [outcome]
