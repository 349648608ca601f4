"""What the benchmarks say of figures, by figures made up here; and that rows of them work: that they run, and count every
record. Nothing is judged by time."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bench as command  # noqa: E402 (the path is set above)
import frame  # noqa: E402
import services  # noqa: E402

RATE = frame.Row("rate", "records/s", "the bare one", frame.ratio_at_least(0.75))
WAIT = frame.Row("wait", "s", "the bare one", frame.difference_at_most(1))
SIZE = frame.Row("size", "bytes", "", frame.value_at_most(40))
ROWS = [RATE, WAIT, SIZE]
# Each of these starts few programs, and counts its records. With SETTLED_LONG=1 all rows run.
CHEAP = "^(ingest, one worker|the fold, 1 M calls held: a call|restart: calls replayed|audit of everything)$"


class Options(types.SimpleNamespace):
    def __init__(self, **changed):
        super().__init__(**{"rows": ROWS, "settled": "new", "last": None, "rounds": None, "quick": False, "json": None,
                            "record": False, **changed})


@pytest.fixture
def report(monkeypatch):
    """Makes a report without asking programs for their versions."""
    monkeypatch.setattr(frame, "environment", lambda _: {"date": "2026-11-29 20:00 UTC", "machine": "2 × CPU", "Kafka": "4.1"})
    return lambda **options: frame.Report(Options(**options))


def test_a_row_has_the_median_of_the_rounds_and_their_spread():
    result = RATE.result([80, 60, 100], [100, 100, 100])
    assert result.cells() == ["rate", "the bare one", "100", "80.0", "records/s", "0.80 (0.60–1.00)", "3", "≥ 0.75", "yes"]
    assert not RATE.result([80, 60, 70], [100, 100, 100]).met


def test_the_ratio_is_of_two_figures_of_one_round():
    assert RATE.result([10, 20, 90], [10, 20, 90]).figures == [1, 1, 1]
    with pytest.raises(frame.Failed):
        RATE.result([10, 20], [10])


@pytest.mark.parametrize("row, settled, baseline, figure, goal, met", [
    (WAIT, [3.5], [2], "1.50 (1.50–1.50)", "≤ 1 s more", "no"),
    (WAIT, [2.5], [2], "0.50 (0.50–0.50)", "≤ 1 s more", "yes"),
    (SIZE, [40], [], "40.0 (40.0–40.0)", "≤ 40 bytes", "yes"),
    (SIZE, [1234567], [], "1,234,567 (1,234,567–1,234,567)", "≤ 40 bytes", "no"),
    (frame.Row("plain", "s"), [2], [], "2.00 (2.00–2.00)", "", ""),
])
def test_a_goal_bounds_a_difference_or_a_value_too(row, settled, baseline, figure, goal, met):
    assert row.result(settled, baseline).cells()[5:] == [figure, "1", goal, met]


def test_what_is_not_measured_is_neither_met_nor_missed():
    result = SIZE.missing("only with --long")
    assert result.met is None and result.cells()[5:] == ["only with --long", "", "≤ 40 bytes", ""]


def test_another_program_is_compared_round_by_round():
    figures = frame.Figures(types.SimpleNamespace(wants=lambda row: row is SIZE))
    for new, last in ((10, 20), (30, 10)):
        figures.add("settled", {SIZE: new, RATE: new})
        figures.add("last", {SIZE: last, RATE: last})
    size, against = figures.results()
    assert (size.row, size.settled) == (SIZE, [10, 30])
    assert (against.row.name, against.figures) == ("size, against --last", [0.5, 3])


@pytest.mark.parametrize("row, settled, met", [(RATE, 91, True), (RATE, 89, False), (SIZE, 109, True), (SIZE, 111, False)])
def test_another_program_may_not_have_been_better_by_more_than_a_tenth(row, settled, met):
    assert row.against_last().result([settled], [100]).met is met


def test_rows_are_chosen_by_their_names():
    assert frame.parse("", ROWS, ["--only", "^(rate|wait)$"]).rows == [RATE, WAIT]
    with pytest.raises(SystemExit):
        frame.parse("", ROWS, ["--only", "nothing"])
    with pytest.raises(SystemExit):
        frame.parse("", ROWS, ["--quick", "--record"])


def script(name, rows, measure):
    return types.SimpleNamespace(__name__=name, ROWS=rows, measure=measure)


def failing(_bench):
    yield RATE.result([1], [1])
    raise frame.Failed("it took 9 records of 10")


def test_a_script_that_fails_is_told_of_and_keeps_no_other_from_being_measured(report, tmp_path):
    found = report(json=tmp_path / "found.json")
    scripts = [script("one", [RATE], failing), script("two", [SIZE], lambda _: iter([SIZE.result([1])])),
               script("unwanted", [frame.Row("other", "s")], lambda _: pytest.fail("it was not asked for"))]
    frame.measure(frame.Bench(found.options, None), scripts, found)
    written = json.loads((tmp_path / "found.json").read_text())
    assert [row["row"] for row in written["rows"]] == ["rate", "size"]
    assert written["errors"] == ["one: it took 9 records of 10"] and not written["complete"]


def test_an_interrupted_run_keeps_what_it_has(report, tmp_path):
    def interrupted(_bench):
        yield RATE.result([1], [1])
        raise services.Stopped(15)
    found = report(json=tmp_path / "found.json")
    with pytest.raises(services.Stopped):
        frame.measure(frame.Bench(found.options, None), [script("one", [RATE], interrupted)], found)
    written = json.loads((tmp_path / "found.json").read_text())
    assert [row["settled"] for row in written["rows"]] == [[1]] and not written["complete"]


def test_results_are_recorded_above_the_older_ones(report, tmp_path, monkeypatch):
    monkeypatch.setattr(frame, "RESULTS", tmp_path / "RESULTS.md")
    first = report(record=True)
    first.add(SIZE.result([39]))
    assert "ended before all rows" in frame.RESULTS.read_text()
    first.complete = True
    first.keep()
    old = frame.RESULTS.read_text()
    second = report(record=True)
    second.complete = True
    second.add(RATE.result([8, 9], [10, 10]))
    second.fail("relay", "it ended\nbadly")
    text = frame.RESULTS.read_text()
    assert text.startswith(frame.HEAD) and text.endswith(old.removeprefix(frame.HEAD))
    new = text.removeprefix(frame.HEAD).removesuffix(old.removeprefix(frame.HEAD)).splitlines()
    assert new == [
        "", "## 2026-11-29 20:00 UTC", "", "2026-11-29 20:00 UTC; 2 × CPU; Kafka 4.1", "", "Not measured: relay: it ended", "",
        "| what | against | baseline | settled | unit | measured | rounds | goal | met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| rate | the bare one | 10.0 | 8.50 | records/s | 0.85 (0.80–0.90) | 2 | ≥ 0.75 | yes |"]


def test_a_drain_that_lost_or_repeated_a_record_is_no_result():
    frame.Drain(10, 10, 1, 1, 1).expect(10)
    for records, accepted in ((9, 9), (10, 9), (11, 10)):
        with pytest.raises(frame.Failed):
            frame.Drain(records, accepted, 1, 1, 1).expect(10)


def test_each_script_has_rows_of_its_own_and_documents_itself():
    names = [row.name for module in command.SCRIPTS for row in module.ROWS]
    assert len(names) == len(set(names))
    scripts = {path.stem for path in pathlib.Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_")}
    assert scripts - {"bench", "frame", "instructions", "scaling"} == {module.__name__ for module in command.SCRIPTS}
    assert all(module.__doc__ for module in command.SCRIPTS)


@pytest.mark.timeout(900)
def test_rows_work(tmp_path):
    """They start services of their own, so that what a row starts with is what a user's run starts with."""
    found, only = tmp_path / "found.json", "" if os.environ.get("SETTLED_LONG") else CHEAP
    done = subprocess.run([sys.executable, frame.ROOT / "tests" / "bench" / "bench.py", "--quick", "--only", only, "--json",
                           found], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(found.read_text())
    assert written["complete"] and written["errors"] == []
    wanted = frame.parse("", [row for module in command.SCRIPTS for row in module.ROWS], ["--only", only]).rows
    assert {row["row"] for row in written["rows"]} == {row.name for row in wanted}
    for row in written["rows"]:
        if row["note"] != "only with --long":
            assert min(row["settled"]) > 0 and bool(row["baseline"]) == bool(row["against"]), row
