"""settled adjust: an adjustment is checked before it is sent, booked once however often the command is repeated, and its
verdict told."""

import subprocess
import time

import pytest
from deployment import at

DAY = "2026-11-01"
OPEN, AFTER = "2026-11-01T13:00:00+08:00", "2026-11-02T00:10:00+08:00"
WHY = ("--reason", "a debit note", "--date", DAY)


@pytest.fixture
def d(deploy):
    """One that knows the account `a`, with 100 yuan."""
    made = deploy(workers=1)
    made.top_up("a", "first", 10000, at(DAY, "09:00:00"))
    made.flush()
    made.drain(OPEN)
    return made


def credits(d):
    return d.sql("select account_id, kind, amount, reason, reference from settled.credits where kind = 'ADJUSTMENT' "
                 "order by position")


def records(d):
    return d.sql("select sum(accepted + duplicates + rejected)::int from settled.shard_logs where topic = %s",
                 d.topics["credits"])[0][0]


def test_it_is_booked_and_told(d):
    process = d.start("--clock", OPEN)
    process.await_ready()
    told = d.run("adjust", "a", "--amount", "-30.5", *WHY, "--reference", "DN-7", "--wait", "60")
    assert "amount     -30.50 yuan" in told and "sent to" in told and "booked" in told.splitlines()
    told = d.run("adjust", "a", "--amount", "+7", *WHY, "--wait", "60")
    assert "booked" in told.splitlines()
    assert process.stop() == 0
    assert credits(d) == [("a", "ADJUSTMENT", -3050, "a debit note", "DN-7"),
                          ("a", "ADJUSTMENT", 700, "a debit note", None)]
    assert d.sql("select balance from settled.accounts") == [(10000 - 3050 + 700,)]
    d.audit()


def test_a_command_that_is_repeated_books_once(d):
    for _ in range(3):  # nobody judges meanwhile: three records
        assert "sent to" in d.run("adjust", "a", "--amount", "-30", *WHY)
    d.drain(OPEN)
    assert credits(d) == [("a", "ADJUSTMENT", -3000, "a debit note", None)]
    assert d.sql("select count(*)::int from settled.rejects") == [(0,)]
    assert records(d) == 4
    assert "booked already: nothing is sent" in d.run("adjust", "a", "--amount", "-30", *WHY)
    # A second equal one says so by its id.
    d.run("adjust", "a", "--amount", "-30", *WHY, "--id", "the-second")
    d.drain(OPEN)
    assert len(credits(d)) == 2 and records(d) == 5


def test_what_is_wrong_is_refused_before_anything_is_sent(d):
    for arguments, status, reason in (
            (("a", *WHY), 64, "say by how much"),
            (("a", "--amount", "0", *WHY), 64, "changes nothing"),
            (("a", "--amount", "1.005", *WHY), 64, "is not an amount in yuan"),
            (("a", "--amount", "1.", *WHY), 64, "is not an amount in yuan"),
            (("a", "--amount", "1e5", *WHY), 64, "is not an amount in yuan"),
            (("a", "--amount", "-", *WHY), 64, "is not an amount in yuan"),
            (("a", "--amount", "100000000000.01", *WHY), 64, "is not an amount in yuan"),
            (("a", "--amount", "99999999999999999999999", *WHY), 64, "is not an amount in yuan"),
            (("a", "--amount", "5"), 64, "say why"),
            (("a", "--amount", "5", "--reason", "two\nlines"), 64, "control character"),
            (("a", "--amount", "5", "--reason", "x" * 1001), 64, "1 to 1000 bytes"),
            (("a", "--amount", "5", "--reason", "r", "--date", "2999-01-01"), 64, "has not begun"),
            (("a", "--amount", "5", *WHY, "--id", ""), 64, "is empty"),
            (("", "--amount", "5", *WHY), 64, "is empty"),
            (("b", "--amount", "5", *WHY), 78, "there is no account b yet"),
            (("a", "--amount", "5", *WHY, "--id", "first"), 78, "already, a top-up of 100.00 yuan")):
        assert reason in d.run("adjust", *arguments, status=status), arguments
    assert "dry run: nothing is sent" in d.run("adjust", "a", "--amount", "100000000000.00", *WHY, "--dry-run")
    d.drain(OPEN)
    assert records(d) == 1


def test_a_new_account_begins_when_it_is_said(d):
    d.run("adjust", "b", "--amount", "5", *WHY, "--new-account")
    d.drain(OPEN)
    assert credits(d) == [("b", "ADJUSTMENT", 500, "a debit note", None)]


def test_a_reject_and_a_wait_that_ends_are_told(d):
    told = d.run("adjust", "a", "--amount", "5", *WHY, "--id", "x", "--wait", "1", status=75)
    assert "it is in the topic, and is booked when the owner of its shard gets there" in told
    waiting = subprocess.Popen([d.settled, "adjust", "-c", d.config, "a", "--amount", "6", *WHY, "--id", "x", "--wait", "60"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert any("sent to" in line for line in waiting.stdout)
    d.drain(OPEN)
    told, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 78 and "the adjustment was rejected: CONFLICT" in told, told
    assert credits(d) == [("a", "ADJUSTMENT", 500, "a debit note", None)]


def test_it_is_booked_where_brokers_stamp(deploy):
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 8 * 3600))
    d = deploy(workers=1, timestamps="log-append", first_day=today)
    d.run("topics", "apply", "--partitions", "4")
    process = d.start()
    process.await_ready()
    assert "booked" in d.run("adjust", "n", "--amount", "12.34", "--reason", "opening balance", "--new-account",
                             "--wait", "60").splitlines()
    assert process.stop() == 0
    assert credits(d) == [("n", "ADJUSTMENT", 1234, "opening balance", None)]
