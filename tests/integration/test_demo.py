"""The demo prints all its chapters, the README shows what it prints, and it leaves nothing behind."""

import os
import re
import signal
import subprocess
import urllib.request

from conftest import ROOT
from test_services import processes_under

DEMO = ROOT / "deploy" / "demo.sh"


def start(place, *arguments):
    return subprocess.Popen([DEMO, *arguments], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(place)})


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"'{text}' never came, status {process.wait()}:\n" + "".join(lines))


def chapters(output):
    """Title -> text, in order."""
    parts = re.split(r"^━━━━ (.*) ━━━━$", output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def assert_nothing_is_left(place):
    assert processes_under(place) == []
    assert list(place.iterdir()) == []


def assert_the_story(told):
    assert list(told)[:4] == ["a new deployment", "Wednesday, 29 October 2025", "Thursday, 30 October 2025",
                              "Friday, 31 October 2025"]
    wednesday, thursday, friday = list(told.values())[1:4]
    for day in (wednesday, thursday, friday):
        assert re.search(r"^ +[01] +[1-9]\d* .* [0-9a-f]{64}$", day, re.MULTILINE), "each shard closes each day"
    assert "acct-0000003/1 SUSPENDED ARREARS" in wednesday
    assert re.search(r"2025-10-30 \d\d:\d\d:\d\d acct-0000003/2 ACTIVE +CREDIT", thursday)
    assert "Drawn from packages" in wednesday and "Late calls" in thursday
    late = told["why is the amount of acct-0000002 on 2025-10-31 what it is?"]
    assert "2025-10-29  PURCHASE_INTENT  postpaid" in late and "  package " in late
    assert "equal to what is recorded" in late
    for reason in ("CONFLICT", "INVALID", "MISROUTED", "TOO_LATE", "UNDECODABLE"):
        assert f" {reason} " in told["rejects: what an operator decides about"]
    counted = re.findall(r"(\d+) records, and +(\d+) rows", told["the same in Kafka, each record exactly once"])
    assert len(counted) == 6 and all(records == rows != "0" for records, rows in counted)
    titles = [day.count("Month statements, as published to account-statements") for day in (wednesday, thursday, friday)]
    assert titles == [0, 0, 1] and len(re.findall(r"^ +acct-\d+ 2025-10 ", friday, re.MULTILINE)) == 6
    month = told["the month of acct-0000003, as its holder is shown it"]
    assert re.search(r"^ += closing balance +\S+\n +\w+ at the end of the month; calls: \d+, settlements: 3, ", month, re.MULTILINE)
    assert "acct-0000003 BALANCE_LOW" in thursday
    assert re.search(r"^ +2025-11-01  provisional, OPEN$", told["the day that is open: what acct-0000003 has used so far"], re.MULTILINE)
    audit = told["the audit: all of it once more, from the topics alone"]
    assert re.search(r"^ +6  days of shards folded again$", audit, re.MULTILINE) and "\n  equal\n" in audit


def assert_the_readme_shows(output):
    """The lines between two lines of "…" must be in the output without a gap."""
    shown = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    printed = [line.rstrip() for line in output.splitlines()]
    at = 0
    for piece in re.split(r"^…\n", shown, flags=re.MULTILINE):
        lines = [line.rstrip() for line in piece.rstrip().splitlines()]
        places = [i for i in range(at, len(printed)) if printed[i:i + len(lines)] == lines]
        assert places, "the README shows what the demo does not print (any more):\n" + "\n".join(lines)
        at = places[0] + len(lines)


def test_the_story_is_told_and_kept_until_enter(place):
    process = start(place, "--keep")
    output = read_until(process, "stays up until Enter") + read_until(process, "/#/accounts/")
    assert processes_under(place) != []
    dsn = re.search(r"psql '(.*)'", output)[1]
    asked = subprocess.run(["psql", "-XAtc", "select count(*) from settled.settlements", dsn], capture_output=True,
                           text=True, check=True)
    assert asked.stdout == "18\n"
    console = re.search(r"^ +(http://127\.0\.0\.1:\d+/)$", output, re.MULTILINE)[1]
    with urllib.request.urlopen(console) as page:
        assert b"/console/app.js" in page.read()
    process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert_nothing_is_left(place)
    assert_the_story(chapters(output))
    assert_the_readme_shows(output)


def test_an_interrupted_demo_leaves_nothing(place):
    process = start(place)
    read_until(process, "$ settled generate")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert_nothing_is_left(place)


def test_unknown_options_are_refused(place):
    process = start(place, "--keeep")
    assert "only --keep" in process.communicate()[0]
    assert process.returncode == 64
