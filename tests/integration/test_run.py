"""The promise of the test runner: a test that failed, was skipped or vanished is never counted as passed."""

import argparse

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
    assert run.junit(report, " [asan]") == 4
    assert [(each.name, each.outcome) for each in run.results] == [
        ("unit_good [asan]", "passed"), ("unit_bad [asan]", "failed"), ("unit_idle [asan]", idle),
        ("integration.test_x::test_it [asan]", "failed")]
    assert "why it is bad" in run.results[1].detail
    assert run.summary() == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"1 passed, {3 if ci else 2} failed"


def test_a_report_that_is_missing_or_broken_holds_no_results(run, tmp_path):
    assert run.junit(tmp_path / "none.xml", "") == 0
    (tmp_path / "half.xml").write_text(JUNIT[:100])
    assert run.junit(tmp_path / "half.xml", "") == 0


def test_nothing_run_is_no_success(run):
    assert run.summary() == 1


def test_a_check_is_its_status_and_shows_its_output(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    assert not run.check("a check", ["sh", "-c", "echo the reason; exit 3"])
    assert run.results[0].outcome == "failed" and "the reason" in run.results[0].detail
    assert not run.check("a hanging check", ["sleep", "60"], seconds=1)
    assert "ended after 1 s" in run.results[1].detail
    assert run.check("a good check", ["true"])
