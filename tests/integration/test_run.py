"""The promise of the test runner: a test that failed, was skipped or vanished is never counted as passed."""

import argparse
import pathlib
import threading

import pytest
import run as runner

JUNIT = """<testsuite>
<testcase name="unit_good" classname="unit_good" status="run"/>
<testcase name="unit_bad" classname="unit_bad" status="fail"><failure message="x"/><system-out>why it is bad</system-out></testcase>
<testcase name="unit_idle" classname="unit_idle" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION"/></testcase>
<testcase name="test_it" classname="integration.test_x"><error message="no fixture"/></testcase>
</testsuite>"""


@pytest.fixture
def run():
    return runner.Run(argparse.Namespace(long=False, only=None, list=False))


@pytest.mark.parametrize("ci, idle", [(False, "skipped"), (True, "failed")])
def test_outcomes_are_read_as_they_are(run, tmp_path, monkeypatch, capsys, ci, idle):
    monkeypatch.setattr(runner, "CI", ci)
    report = tmp_path / "report.xml"
    report.write_text(JUNIT)
    assert run.junit(report, " [asan]") == ["passed", "failed", idle, "failed"]
    assert [(each.name, each.outcome) for each in run.results] == [
        ("unit_good [asan]", "passed"), ("unit_bad [asan]", "failed"), ("unit_idle [asan]", idle),
        ("integration.test_x::test_it [asan]", "failed")]
    assert "why it is bad" in run.results[1].detail
    assert run.summary() == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"1 passed, {3 if ci else 2} failed"


def test_a_report_that_is_missing_or_broken_holds_no_results(run, tmp_path):
    assert run.junit(tmp_path / "none.xml", "") == []
    (tmp_path / "half.xml").write_text(JUNIT[:100])
    assert run.junit(tmp_path / "half.xml", "") == []


def test_nothing_run_is_no_success(run):
    assert run.summary() == 1


def test_a_check_is_its_status_and_shows_its_output(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    assert not run.check("a check", ["sh", "-c", "echo the reason; exit 3"])
    assert run.results[0].outcome == "failed" and "the reason" in run.results[0].detail
    assert not run.check("a hanging check", ["sleep", "60"], seconds=1)
    assert "ended after 1 s" in run.results[1].detail
    assert run.check("a good check", ["true"])


def everything(run, tmp_path, monkeypatch, on_services, computed):
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner, "ON_SERVICES", on_services)
    monkeypatch.setattr(runner, "COMPUTED", computed)
    run.everything()
    return {(each.name, each.outcome) for each in run.results}


def test_the_two_lists_run_side_by_side(run, tmp_path, monkeypatch):
    """Each waits for what the other one makes. Only the one that computes has a lower priority."""
    def until(mine, other):
        return ["timeout", "20", "sh", "-c", f"nice >{tmp_path}/{mine}; until [ -e {tmp_path}/{other} ]; do sleep 0.1; done"]

    assert everything(run, tmp_path, monkeypatch, [runner.Check("waits", until("waits", "computes"))],
                      [runner.Check("computes", until("computes", "waits"))]) == {
        ("waits", "passed"), ("computes", "passed")}
    assert int((tmp_path / "computes").read_text()) > int((tmp_path / "waits").read_text())


def test_a_step_that_breaks_counts_as_failed_in_both_lists(run, tmp_path, monkeypatch):
    broken, good = runner.Check("broken", None), runner.Check("good", ["true"])
    assert everything(run, tmp_path, monkeypatch, [broken], [broken, good]) == {("broken", "failed"), ("good", "passed")}
    assert [each.outcome for each in run.results].count("failed") == 2


def test_after_a_signal_the_other_list_begins_nothing_more(run, tmp_path, monkeypatch):
    def stopped(_):
        raise runner.services.Stopped(15)

    monkeypatch.setattr(run, "pytest", stopped)
    with pytest.raises(runner.services.Stopped):
        everything(run, tmp_path, monkeypatch, [runner.Pytest("a signal", [], [])],
                   [runner.Check("under way", ["sleep", "1"]), runner.Check("next", ["touch", str(tmp_path / "next")])])
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(10)
    assert not pathlib.Path(tmp_path / "next").exists()
    assert "next" not in [each.name for each in run.results]


def test_a_preset_that_both_lists_need_is_built_once(run, monkeypatch):
    built = []
    monkeypatch.setattr(run, "check", lambda name, _: [built.append(name), threading.Event().wait(0.2)])
    lists = [threading.Thread(target=run.build, args=["release"]) for _ in range(2)]
    for each in lists:
        each.start()
    for each in lists:
        each.join(10)
    assert built == ["build release"]
