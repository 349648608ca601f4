"""The runbook quotes what the program says, and names commands that exist."""

import re
import subprocess

from conftest import ROOT

RUNBOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text()


def said():
    """All string literals, with adjacent ones joined; each format specification becomes "…"."""
    texts = []
    for source in sorted((ROOT / "consumer").rglob("*.c")):
        code = re.sub(r'\s*PRI[a-z0-9]+\s*', '""', source.read_text())
        for literals in re.findall(r'(?:"(?:[^"\\\n]|\\.)*"\s*)+', code):
            text = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', literals)).replace('\\"', '"')
            texts.append(re.sub(r"%[-.*0-9]*(?:[a-z]|$|(?=\W))", "…", text))
    return "\n".join(texts)


def test_each_message_is_one_that_the_program_has():
    known = said()
    quoted = re.findall(r"^> `(.*)`$", RUNBOOK, re.MULTILINE)
    assert len(quoted) > 30
    missing = [quote for quote in quoted for part in quote.split("…")
               if part.strip(" .,()") and part.strip() not in known]
    assert missing == []


UNFORCED = {
    "memory is short",  # nothing that a test can do makes an allocation fail in one place alone
    "Kafka refuses a login",  # the brokers of the tests keep their passwords while they run; a start is refused before it
}
WINDOW = 18  # so many letters of a message, and of no other one, must stand in a test


def expected():
    """All string literals of the tests that run the program or a part of it, with adjacent ones joined."""
    texts = []
    for folder in ("unit", "integration"):
        for source in sorted((ROOT / "tests" / folder).rglob("*.[chp]*")):
            if source.suffix not in (".c", ".h", ".py") or source.name == "test_runbook.py":
                continue
            code = re.sub(r"\s*PRI[a-z0-9]+\s*", '""', source.read_text())
            for literals in re.findall(r'(?:(?<!\w)[frb]{0,2}"(?:[^"\\\n]|\\.)*"\s*)+', code):
                text = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', literals))
                texts.append(re.sub(r"\\(.)", r"\1", text))
    return "\n".join(texts)


def windows(quote):
    parts = [part.strip(" .,():") for part in quote.split("…")]
    return {part[at:at + WINDOW] for part in parts if len(part) >= 10 for at in range(max(1, len(part) - WINDOW + 1))}


def test_each_message_is_forced_by_a_test():
    """What the runbook explains was seen: some test runs into it, and expects words that no other entry has."""
    quoted = set(re.findall(r"^> `(.*)`$", RUNBOOK, re.MULTILINE))
    known = expected()
    unseen = set()
    for quote in quoted:
        own = {words for words in windows(quote) if not any(words in other for other in quoted - {quote})}
        if not any(words in known for words in own or windows(quote)):
            unseen.add(quote)
    assert unseen == UNFORCED


def test_each_place_that_points_to_an_entry_has_it():
    titles = {title.lower() for title in re.findall(r"^#+ (.*)$", RUNBOOK, re.MULTILINE)}
    pointed = set(re.findall(r'runbook, \\?"(\w+)', "\n".join(p.read_text() for p in (ROOT / "consumer").rglob("*.c"))))
    assert pointed and pointed <= titles
    assert {name.lower() for name in re.findall(r'[:,] "([A-Za-z ]+)"', RUNBOOK)} - titles <= {"settled migrate"}


def test_each_command_exists(settled):
    overview = subprocess.run([settled, "--help"], capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE))
    shown = RUNBOOK + (ROOT / "deploy" / "demo" / "story.sh").read_text()  # the demo ends with commands to try
    spans = re.findall(r"(?<!> )`settled\s([^`]*)`", RUNBOOK) + re.findall(r"^    settled ([^#\n]*)", shown, re.MULTILINE)
    assert len(spans) > 8
    for verb, *words in map(str.split, spans):
        assert verb in verbs
        usage = subprocess.run([settled, verb, "--help"], capture_output=True, text=True, check=True).stdout
        assert [word for word in words if word.startswith("--") and word not in usage] == [], verb


def test_each_metric_exists():
    table = (ROOT / "consumer" / "shard" / "metrics.c").read_text()
    for metric in re.findall(r"settled_[a-z_]+(?:_up|_waiting|_state|_rows|_total)+\b", RUNBOOK):
        assert f'"{metric}"' in table, metric


def test_what_an_operator_must_mend_is_not_started_again():
    """systemd compares RestartPreventExitStatus with the status of ExecStart alone: what fails before it, or beside it,
    is started again for ever."""
    unit = (ROOT / "deploy" / "systemd" / "settled.service").read_text()
    settings = re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE)
    assert [value for name, value in settings if name == "RestartPreventExitStatus"] == ["64 78"]
    assert [value.split()[:2] for name, value in settings if name.startswith("Exec") and name != "ExecReload"] == [
        ["/usr/bin/settled", "run"]]
    assert dict(settings)["Restart"] == "on-failure"
