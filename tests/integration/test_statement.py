"""statement: what an account holder is shown of a month, in two languages and for programs. And explain, in Chinese."""

import csv
import io
import json
import subprocess
import unicodedata

import psycopg
from deployment import at

DAY = "2026-11-30"
NEXT = "2026-12-01"


def fill(d):
    d.purchase("acme", "pack", "PURCHASE_INTENT", 10000, 7000000, at(DAY, "01:00:00"))
    d.purchase("acme", "later", "AUDIENCE_INSIGHT", 50, 10000000, at(NEXT, "01:00:00"))
    d.top_up("acme", "top-up", 300000, at(DAY, "02:00:00"))
    d.call("acme", "c1", at(DAY, "02:00:00"), leads=12000, request="r-1")
    d.call("acme", "c2", at(NEXT, "02:00:00"))
    d.flush()
    d.drain(f"{NEXT}T00:05:00+08:00")
    d.drain("2026-12-02T00:05:00+08:00")


def columns(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def check_people(d):
    text = d.run("statement", "acme", "--month", "2026-11", "--lang", "en")
    assert text.splitlines()[:12] == [
        "Statement of acme, 2026-11, in yuan", "",
        "  time                 what        reference              yuan     balance",
        "  2026-11-30 02:00:01  top-up      top-up             3,000.00    3,000.00",
        "  2026-12-01 00:00:00  settlement  acme/2026-11-30  -16,000.00  -13,000.00", "",
        "  opening balance                  0.00",
        "  + credits                    3,000.00",
        "  + adjustments                    0.00",
        "  - amount                    16,000.00",
        "  = closing balance          -13,000.00",
        "  SUSPENDED at the end of the month; calls: 1, settlements: 1, packages bought: 1 for 70,000.00 yuan"]
    text = d.run("statement", "acme", "--month", "2026-11", "--lang", "zh")
    assert "  月末停用；调用：1，结算：1，购买套餐包：1，共 70,000.00 元\n" in text and "未结" not in text
    assert "later" not in text  # a package of December
    # Without a month, that of the open day: here as settled until then.
    text = d.run("statement", "acme", "--lang", "zh")
    assert text.startswith("acme 的账单，2026-12，单位：元\n  本月未结：已结算至 2026-12-02；此后的用量未计入\n")
    assert "月末" not in text
    assert "人群特征洞察服务" in text
    lines = text.splitlines()
    table = lines[lines.index("用量明细") + 1:lines.index("套餐包") - 1]
    assert len(table) == 2
    assert len({columns(line) for line in table}) == 1, table  # its last column is aligned
    packages = lines[lines.index("套餐包") + 1:]
    assert [line.split()[0] for line in packages[1:]] == ["pack", "later"]


def check_programs(d):
    found = json.loads(d.run("statement", "acme", "--month", "2026-11", "--format", "json"))
    assert (found["account_id"], found["month"]) == ("acme", "2026-11")
    assert (found["statement"]["opening_balance"], found["statement"]["closing_balance"]) == (0, -1300000)
    assert [s["settlement_id"] for s in found["settlements"]] == [f"acme/{DAY}"]
    assert [p["remaining"] for p in found["packages"]] == [0, 49]
    month = found["month_statement"]
    [(_, _, _, published)] = d.read("statements")
    assert {name: month[name] for name in published if name not in ("lines", "sequence")} == {
        name: value for name, value in published.items() if name not in ("lines", "sequence")}
    assert found["provisional"] is False
    rows = list(csv.DictReader(io.StringIO(d.run("statement", "acme", "--month", "2026-12", "--format", "csv"))))
    assert [(r["kind"], r["amount"], r["balance"], r["provisional"]) for r in rows] == [("SETTLEMENT", "0", "-1300000", "true")]
    rows = list(csv.DictReader(io.StringIO(d.run("statement", "acme", "--month", "2026-11", "--format", "csv"))))
    assert rows and {r["provisional"] for r in rows} == {"false"}
    for month, provisional in (("2025-01", False), ("2026-12", True), ("2027-01", True)):  # of none there is a statement
        found = json.loads(d.run("statement", "acme", "--month", month, "--format", "json"))
        assert (found["provisional"], found["month_statement"]) == (provisional, None)
        assert len(found["settlements"]) == (month == "2026-12")


def check_recorded(d):
    """Of a month that is over each figure is the recorded statement's, not added up again."""
    with psycopg.connect(d.dsn) as connection:
        connection.execute("update settled.month_statements set opening_balance = 1100, credits = 2200, adjustments = 3300, amount = 500,"
                           " closing_balance = 6100, status = 'ACTIVE', calls = 71, settlements = 72, packages_bought = 73,"
                           " packages_amount = 7400 where account_id = 'acme' and month = '2026-11'")
        connection.commit()
        text = d.run("statement", "acme", "--month", "2026-11", "--lang", "en")
        assert text.splitlines()[6:12] == [
            "  opening balance                 11.00",
            "  + credits                       22.00",
            "  + adjustments                   33.00",
            "  - amount                         5.00",
            "  = closing balance               61.00",
            "  ACTIVE at the end of the month; calls: 71, settlements: 72, packages bought: 73 for 74.00 yuan"]
        # As between the close of the month's last day and its statement.
        connection.execute("delete from settled.month_statements where account_id = 'acme' and month = '2026-11'")
    found = json.loads(d.run("statement", "acme", "--month", "2026-11", "--format", "json"))
    assert (found["provisional"], found["month_statement"]) == (True, None)
    assert "provisional: settled until 2026-12-02" in d.run("statement", "acme", "--month", "2026-11", "--lang", "en")


def check_refusals(d):
    for arguments, words in ((["nobody"], "there is no account nobody"), (["acme", "--month", "2026-13"], "is not a month"),
                             (["acme", "--month", "2026-1"], "is not a month")):
        done = subprocess.run([d.settled, "statement", "-c", d.config, *arguments], capture_output=True, text=True, timeout=60,
                              check=False)
        assert (done.returncode, done.stdout) == (64, "")
        assert words in done.stderr


def check_explain(d):
    text = d.run("explain", "acme", DAY, "--lang", "zh")
    for words in (f"结算 acme/{DAY}", "  期初余额                         0.00\n", "购车意向预判服务", "后付费，10,000 起的档位",
                  "2,000 × 8.00 = 16,000.00 元；1 次调用", "请求 r-1", "结算后停用；1 次调用，其中停用期间 0 次", "与记录一致"):
        assert words in text, text


def test_a_statement(deploy):
    d = deploy(partitions=1, workers=1, first_day=DAY)
    fill(d)
    check_people(d)
    check_programs(d)
    check_refusals(d)
    check_explain(d)
    check_recorded(d)
