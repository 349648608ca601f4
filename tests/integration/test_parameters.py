"""What is recorded of billing parameters and price books stays in force, whatever file a process is started with:
only `settled parameters apply` changes it. Who recorded which book is told."""

import hashlib
import json
import re
import signal

import psycopg
import pytest

from conftest import ROOT

BOOK = ROOT / "pricing" / "pricebooks" / "apcas.yaml"
FIRST = "2026-11-01"
NOON = f"{FIRST}T12:00:00+08:00"
CLOSED = "2026-11-02T00:10:00+08:00"


def started(d, clock=NOON, config=None):
    process = d.start("--clock", clock, config=config)
    process.await_ready()
    d.until(lambda: d.sql("select count(open_day) from settled.shards") == [(d.partitions,)], process)
    return process


def rows(d):
    return d.sql("select from_day::text, late_days, grace_ms from settled.parameters order by from_day")


def later_book(d, day, name="later.yaml"):
    path = d.folder / name
    path.write_text(f"effective_from: {day}\n" + BOOK.read_text().replace("unit_price: 2200", "unit_price: 2300"))
    return path


def findings(d, level, config=None, status=0):
    d.config, kept = config or d.config, d.config
    try:
        return [f["text"] for f in json.loads(d.run("check", "--format", "json", status=status)) if f["level"] == level]
    finally:
        d.config = kept


def test_a_stale_file_changes_nothing_and_says_so(deploy):
    """In a rolling restart with two files the recorded one wins, whoever starts last."""
    d = deploy(partitions=2, workers=1, late_days=9)
    d.drain(NOON)
    old = d.write_config("old.yaml", billing={"late_days": 7})
    last, other = started(d, config=old), started(d)
    last.await_line("level=warn .*configuration differs.*parameter=billing.late_days configured=7 recorded=9")
    assert rows(d) == [("-infinity", 9, 300000)]
    assert last.metric("settled_configuration_differs", parameter="billing.late_days") == 1
    assert last.metric("settled_configuration_differs") == 1
    assert other.metric("settled_configuration_differs") == 0
    assert "configuration differs" not in other.log
    told, = [text for text in findings(d, "warning", old) if "late_days" in text]
    assert told.startswith("billing.late_days is 7, but 9 is recorded, which stays in force: put it into the configuration")
    last.process.send_signal(signal.SIGHUP)
    last.await_line("configuration reloaded")
    assert rows(d) == [("-infinity", 9, 300000)]
    assert (last.stop(), other.stop()) == (0, 0)


def test_what_an_apply_changes_is_printed_and_taken_over_by_running_processes(deploy):
    d = deploy(partitions=2, workers=1, late_days=2)
    process = started(d)
    assert "is recorded already" in d.run("parameters", "apply")
    new = d.write_config("new.yaml", billing={"late_days": 4, "max_reject_share": "0.5%"})
    d.config = new
    trial = d.run("parameters", "apply", "--dry-run")
    assert trial.splitlines() == [
        "from 2026-11-02 on, a day that no shard has opened:", "  billing.late_days: 4, until then 2",
        "    no day before 2026-11-01 becomes billable again: their ids are forgotten",
        "  billing.max_reject_share: 0.5%, until then 1%", "nothing is recorded: this was a trial (--dry-run)"]
    assert rows(d) == [("-infinity", 2, 300000)]
    assert d.run("parameters", "apply").splitlines() == [*trial.splitlines()[:-1], "recorded"]
    assert rows(d) == [("-infinity", 2, 300000), ("2026-11-02", 4, 300000)]
    assert d.sql("select distinct recorded_by from settled.parameters") == d.sql("select session_user")
    line = process.await_line("level=info .*a parameter was recorded.*parameter=billing.late_days.*", 20)[0]
    assert line.endswith("value=4 until_then=2 from_day=2026-11-02"), line
    process.await_line("a parameter was recorded.*parameter=billing.max_reject_share value=0.5% until_then=1%")
    # its own file is the old one now
    process.await_line("configuration differs.*parameter=billing.late_days configured=2 recorded=4", 20)
    assert process.metric("settled_configuration_differs", parameter="billing.late_days") == 1
    assert process.stop() == 0
    assert "configuration differs" not in d.drain(CLOSED).log


def test_a_floor_that_was_reached_does_not_fall(deploy):
    d = deploy(partitions=1, workers=1, late_days=0)
    d.drain("2026-11-05T00:10:00+08:00")
    d.config = d.write_config("more.yaml", billing={"late_days": 30})
    assert "no day before 2026-11-05 becomes billable again" in d.run("parameters", "apply")


def test_what_never_changes_is_refused_by_an_apply(deploy):
    d = deploy(partitions=1, workers=1)
    d.config, good = d.write_config("early.yaml"), d.config
    assert "nothing is recorded yet" in d.run("parameters", "apply", status=78)
    d.config = good
    d.drain(NOON)
    for name, sections, words in [("day", {"billing": {"first_day": "2026-11-02"}}, "billing.first_day is recorded as"),
                                  ("group", {"kafka": {"group": "another"}}, "kafka.group is recorded as"),
                                  ("split", {"topics": {"partitioner": "crc32"}}, "topics.partitioner is recorded as")]:
        d.config = d.write_config(f"{name}.yaml", **sections)
        assert words in d.run("parameters", "apply", status=78)
    assert len(rows(d)) == 1


def test_a_new_book_is_recorded_by_an_apply_and_an_old_file_does_not_bring_it_back(deploy):
    d = deploy(partitions=1, workers=1)
    d.drain(NOON)
    new = d.write_config("new.yaml", pricing={"book": str(later_book(d, "2026-12-01"))})
    old, d.config = d.config, new
    assert "parameter=pricing.book" in d.drain(NOON).log
    assert d.sql("select count(*) from settled.price_books") == [(1,)]
    assert f"  pricing.book: {hashlib.sha256(later_book(d, '2026-12-01').read_bytes()).hexdigest()}" in d.run(
        "parameters", "apply")
    listed = json.loads(d.run("books", "list", "--format", "json"))
    assert [(b["effective_from"], b["effective_to"], b["configured"]) for b in listed] == [
        (None, "2026-11-30", False), ("2026-12-01", None, True)]
    assert "configuration differs" not in d.drain(NOON).log
    d.config = old
    assert "recorded already, and followed by" in d.run("parameters", "apply")
    assert any(re.match("pricing.book is .*, but .* is recorded, which stays in force", text)
               for text in findings(d, "warning"))
    assert "parameter=pricing.book" in d.drain(NOON).log
    # What a day costs is what is recorded for it, whatever file is configured.
    for day, total in (("2026-11-30", 220000), ("2026-12-01", 230000)):
        quoted = json.loads(d.run("quote", "--service", "AUDIENCE_INSIGHT", "--calls", "1", "--day", day, "--format", "json"))
        assert quoted["least"]["total"] == total


@pytest.mark.parametrize("day, words", [("2026-11-01", "but days up to 2026-11-01 are open or have records"),
                                        (None, "effective_from")])
def test_a_book_that_cannot_be_recorded_is_told_by_check_and_refused_by_apply(deploy, day, words):
    d = deploy(partitions=1, workers=1)
    d.drain(NOON)
    path = d.folder / "book.yaml"
    path.write_text((f"effective_from: {day}\n" if day else "") + BOOK.read_text().replace("2200", "2201", 1))
    d.config = d.write_config("new.yaml", pricing={"book": str(path)})
    told, = [text for text in findings(d, "warning") if "pricing.book" in text]
    assert "which is refused now: " in told and words in told
    assert words in d.run("parameters", "apply", status=78)


def test_a_book_put_in_by_hand_is_named_with_who_did_it(deploy):
    d = deploy(partitions=1, workers=1)
    d.drain(CLOSED)
    text = later_book(d, "2026-12-01").read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute("do $$ begin if to_regrole('mallory') is null then create role mallory login; end if; end $$")
        connection.execute("grant settled_writer to mallory")
    name = re.search(rb"(?m)^name: *(.*)$", text).group(1).decode().strip().strip('"')
    with psycopg.connect(d.dsn, user="mallory", autocommit=True) as connection:
        connection.execute("insert into settled.price_books (sha256, name, effective_from, file, recorded_by)"
                           " values (%s, %s, '2026-12-01', %s, 'settled')", (digest, name, text))
    told = f"price book {digest} ({name}): in force from 2026-12-01, recorded "
    suspicion = "by mallory, not the configured one; no row of settled.parameters names it: it was put in by hand"
    for out in (d.run("books", "list"), "\n".join(findings(d, "warning")), d.run("audit")):
        assert any(line.startswith(told) and line.endswith(suspicion) for line in out.splitlines()), out
    assert [b["recorded_by"] for b in json.loads(d.run("audit", "--format", "json"))["price_books"]][1] == "mallory"
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute("update settled.price_books set file = file || ' ' where sha256 = %s", (digest,))
    refused = "has a text whose SHA-256 is"
    assert refused in findings(d, "error", status=78)[0]
    assert refused in d.drain(CLOSED, status=78).log
    assert refused in d.run("audit", status=2)
    listed = d.run("books", "list", status=78)
    assert "ITS DIGEST, NAME OR DAY IS NOT THAT OF ITS TEXT" in listed
    assert f"the recorded price book {digest} was changed by hand: its digest, name or day is not that of its text" in listed
