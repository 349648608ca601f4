"""The HTTP API over what is recorded: a small deployment, and what each path answers about it."""

import concurrent.futures
import contextlib
import csv
import datetime
import hashlib
import http.client
import io
import json
import os
import re
import resource
import signal
import socket
import threading
import time
import urllib.parse
import uuid

import confluent_kafka.admin
import psycopg
import pytest
from conftest import ROOT
from deployment import Deployment, at, own_deployment

DAYS = ["2026-11-01", "2026-11-02"]
AFTER = "2026-11-03T00:10:00+08:00"
INSIGHT = 220000  # fen a call
LEAD = 1000  # fen
PACKAGE = 7000000  # fen, of 10,000 leads

HOLDER = "holder"  # buys a package, pays, falls into arrears, is resumed
HOSTILE = ["a/b", "a%2Fb", "a b+c&d=e?f#g", "..", "引号\"'\\", "=1+1", "<script>", "é" * 64, "x" * 128, "{id}", "a\"b,c"]


def quote(text):
    return urllib.parse.quote(text, safe="")


class Client:
    """Asks a process over connections of its own."""

    def __init__(self, process, token=None):
        self.port = process.port
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, target, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, target, headers={**self.headers, **headers})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, target, status=200, **headers):
        found, got, body = self.ask(target, **headers)
        assert found == status, (target, found, body)
        kind = "application/json" if status == 200 else "application/problem+json"
        assert got["Content-Type"] == kind, (target, got.items())
        return json.loads(body)

    def problem(self, target, status, *texts, **headers):
        body = self.get(target, status, **headers)
        assert body["type"].startswith("urn:settled:problem:")
        assert body["status"] == status
        assert body["title"]
        for text in texts:
            assert text in body["detail"], body
        return body


def fill(d):
    d.purchase(HOLDER, "pack", "PURCHASE_INTENT", 10000, PACKAGE, at(DAYS[0], "08:00:00"))
    d.top_up(HOLDER, "first", 1000000, at(DAYS[0], "09:00:00"))
    d.call(HOLDER, "c1", at(DAYS[0], "10:00:00"), 4000)
    d.call(HOLDER, "c2", at(DAYS[0], "11:00:00"))
    for account in HOSTILE:
        d.top_up(account, "credit, \"quoted\"\\/", 300000, at(DAYS[0], "12:00:00"))
        d.call(account, "call/1", at(DAYS[0], "13:00:00"))
    # Within the grace of the first day, so it is the first day's.
    d.top_up("grace", "g1", 300000, at(DAYS[0], "12:00:00"))
    d.call("grace", "g", at(DAYS[0], "13:00:00"))
    d.top_up("grace", "g2", 7, at(DAYS[1], "00:02:00"))
    d.call(HOLDER, "c3", at(DAYS[1], "10:00:00"), 7000, request='request "3"')  # 6,000 of the package, 1,000 postpaid
    d.top_up(HOLDER, "second", 100000, at(DAYS[1], "23:00:00"))
    d.call("late", "l1", at(DAYS[0], "10:00:00"), timestamp=at(DAYS[1], "10:00:00"))
    d.top_up(HOLDER, "first", 1000001, at(DAYS[0], "09:00:00"), timestamp=at(DAYS[1], "23:00:03"))  # of another amount
    # Refused: no such offer.
    d.purchase("refused", "p", "PURCHASE_INTENT", 17, 100, at(DAYS[0], "08:00:00"))
    d.flush()
    d.drain(AFTER)
    add_month(d)


def add_month(d):
    """A statement as the close of a month's last day records it, at a day that is closed here."""
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute("insert into settled.month_statements select %s, %s, %s, '2026-11', 0, 1100000, 0, 1220000,"
                           " -120000, 'SUSPENDED', 2, 3, 1, %s, shard, 999 from settled.accounts where account_id = %s",
                           (HOLDER, DAYS[1], f"{HOLDER}/2026-11", PACKAGE, HOLDER))
        for number, row in enumerate((("AUDIENCE_INSIGHT", "POSTPAID", None, None, INSIGHT, 1, 1, INSIGHT),
                                      ("PURCHASE_INTENT", "PACKAGE", "pack", None, 0, 2, 10000, 0),
                                      ("PURCHASE_INTENT", "POSTPAID", None, 0, LEAD, 1, 1000, 1000 * LEAD)), 1):
            connection.execute("insert into settled.month_statement_lines values"
                               " (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", (HOLDER, DAYS[1], number, *row))


@pytest.fixture(scope="module")
def filled(settled, tmp_path_factory):
    """A deployment that has settled two days, and a daemon that goes on with the third."""
    for variable in ("SETTLED_TEST_BROKERS", "SETTLED_TEST_DSN"):
        assert os.environ.get(variable), f"{variable} is not set: see conftest.py"
    superuser, name = os.environ["SETTLED_TEST_DSN"], f"test_{uuid.uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        deployment = Deployment(settled, os.environ["SETTLED_TEST_BROKERS"], superuser.rpartition("/")[0] + "/" + name,
                                tmp_path_factory.mktemp("api"), late_days=1)
        with contextlib.closing(deployment):
            fill(deployment)
            process = deployment.start("--clock", AFTER)
            process.await_ready()
            yield deployment, Client(process)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def shard_of(d, account):
    return d.sql("select shard from settled.accounts where account_id = %s", account)[0][0]


def test_account(filled):
    d, client = filled
    found = client.get(f"/v1/accounts/{HOLDER}")
    as_of = found.pop("as_of")
    assert found == {
        "account_id": HOLDER, "currency": "CNY", "balance": -120000,
        "status": "SUSPENDED", "status_since": "2026-11-03T00:00:00.000+08:00", "account_sequence": 1,
        "provisional": True, "final_through": "2026-11-01", "packages_complete": True,
        "days": [{"business_day": "2026-11-03", "phase": "OPEN", "provisional": True, "calls": 0, "services": [], "amount": 0,
                  "balance_after": -120000, "status_after": "SUSPENDED"}],
        "packages": [{
            "package_id": "pack", "service": "PURCHASE_INTENT", "units": 10000, "used": 0, "remaining": 0,
            "remaining_now": 0, "valid_from": "2026-11-01T08:00:00.000+08:00",
            "valid_until": "2027-11-01T08:00:00.000+08:00", "amount": PACKAGE, "currency": "CNY",
            "kafka_offset": found["packages"][0]["kafka_offset"]}]}
    shard = shard_of(d, HOLDER)
    assert as_of.pop("time").endswith("+08:00")
    assert as_of == {
        "shard": shard, "open_day": "2026-11-03",
        "offsets": dict(d.sql("select topic, next_offset from settled.shard_logs where shard = %s", shard)),
        "price_book": hashlib.sha256(d.book.read_bytes()).hexdigest()}


def test_hostile_ids(filled):
    _, client = filled
    for account in HOSTILE:
        found = client.get(f"/v1/accounts/{quote(account)}")
        assert (found["account_id"], found["balance"], found["status"]) == (account, 300000 - INSIGHT, "ACTIVE")
        day = client.get(f"/v1/accounts/{quote(account)}/settlements/{DAYS[0]}")
        assert day["settlement_id"] == f"{account}/{DAYS[0]}"
        entries = client.get(f"/v1/accounts/{quote(account)}/statement")["items"]
        assert [entry["reference"] for entry in entries] == ["credit, \"quoted\"\\/", f"{account}/{DAYS[0]}"]


def test_what_is_not_there(filled):
    _, client = filled
    client.problem("/v1/accounts/nobody", 404, "no account nobody")
    client.problem("/v1/accounts/refused", 404, "no account refused")
    assert client.problem("/v1/accounts/no%2Fbody/statement", 404)["instance"] == "/v1/accounts/no%2Fbody/statement"
    client.problem("/v1/accounts/" + "x" * 3000, 404)
    client.problem("/v1/accounts/", 404)
    client.problem("/v1/nothing", 404)
    client.problem(f"/v1/accounts/{HOLDER}/settlements/2026-11-03", 404, "2026-11-03")
    client.problem(f"/v1/accounts/{HOLDER}/packages/no/deductions", 404, "no package no")


def test_bad_requests_name_what_is_wrong(filled):
    _, client = filled
    account = f"/v1/accounts/{HOLDER}"
    client.problem("/v1/accounts?limit=0", 400, "parameter limit", "1 to 1000")
    client.problem("/v1/accounts?limit=1001", 400, "parameter limit")
    client.problem("/v1/accounts?limit=", 400, "parameter limit")
    client.problem("/v1/accounts?status=active", 400, "parameter status", "ACTIVE nor SUSPENDED")
    client.problem("/v1/accounts?limit=1&limit=1", 400, "parameter limit", "twice")
    client.problem("/v1/accounts?pefix=a", 400, "parameter 'pefix'", "prefix")
    client.problem(f"{account}?day=1", 400, "parameter 'day'", "there is none")
    client.problem(f"{account}/settlements?from=2026-02-30", 400, "parameter from", "write it as 2026-11-01")
    client.problem(f"{account}/settlements?from=2026-11-02&to=2026-11-01", 400, "parameter to")
    client.problem(f"{account}/settlements?after=x", 400, "parameter after")
    client.problem(f"{account}/settlements/yesterday", 400, "'yesterday'")
    client.problem(f"{account}/packages/pack/deductions?after=2026-11-01", 400, "parameter after", "next")
    client.problem("/v1/accounts/%zz", 400, "UTF-8")
    client.problem("/v1/accounts/a%00b", 400, "UTF-8")
    client.problem("/v1/" + "a/" * 9, 400)
    status, headers, _ = client.ask("/v1/accounts", method="POST")
    assert (status, headers["Allow"], headers["Content-Type"]) == (405, "GET, HEAD", "application/problem+json")


def test_settlements(filled):
    d, client = filled
    found = client.get(f"/v1/accounts/{HOLDER}/settlements")
    assert found["next"] is None
    book, shard = hashlib.sha256(d.book.read_bytes()).hexdigest(), shard_of(d, HOLDER)
    line = {"service": "PURCHASE_INTENT", "package_id": None, "tier_from": 0, "package_units": None, "package_amount": None}
    drawn = {**line, "charge": "PACKAGE", "package_id": "pack", "tier_from": None, "package_units": 10000,
             "package_amount": PACKAGE}
    sequences = [row[0] for row in d.sql("select sequence from settled.settlements where account_id = %s order by 1", HOLDER)]
    assert found["items"] == [{
        "settlement_id": f"{HOLDER}/{DAYS[0]}", "account_id": HOLDER, "business_day": DAYS[0], "currency": "CNY",
        "calls": 2, "calls_while_suspended": 0, "amount": INSIGHT, "opening_balance": 0, "credits": 1000000,
        "adjustments": 0, "closing_balance": 780000, "status": "ACTIVE", "price_book": book, "shard": shard,
        "sequence": sequences[0], "lines": [
            {"usage_day": DAYS[0], "service": "AUDIENCE_INSIGHT", "charge": "POSTPAID", "package_id": None,
             "tier_from": None, "calls": 1, "units": 1, "unit_price": INSIGHT, "amount": INSIGHT,
             "package_units": None, "package_amount": None},
            {**drawn, "usage_day": DAYS[0], "calls": 1, "units": 4000, "unit_price": 0, "amount": 0}],
    }, {
        "settlement_id": f"{HOLDER}/{DAYS[1]}", "account_id": HOLDER, "business_day": DAYS[1], "currency": "CNY",
        "calls": 1, "calls_while_suspended": 0, "amount": 1000 * LEAD, "opening_balance": 780000, "credits": 100000,
        "adjustments": 0, "closing_balance": -120000, "status": "SUSPENDED", "price_book": book, "shard": shard,
        "sequence": sequences[1], "lines": [
            {**drawn, "usage_day": DAYS[1], "calls": 1, "units": 6000, "unit_price": 0, "amount": 0},
            {**line, "usage_day": DAYS[1], "charge": "POSTPAID", "calls": 1, "units": 1000, "unit_price": LEAD,
             "amount": 1000 * LEAD}],
    }]
    for days, wanted in (("from=2026-11-02", DAYS[1:]), ("to=2026-11-01", DAYS[:1]),
                         ("from=2026-11-01&to=2026-11-02", DAYS), ("from=2026-11-03", [])):
        items = client.get(f"/v1/accounts/{HOLDER}/settlements?{days}")["items"]
        assert [item["business_day"] for item in items] == wanted
    [late] = client.get("/v1/accounts/late/settlements")["items"]
    assert (late["business_day"], late["lines"][0]["usage_day"]) == (DAYS[1], DAYS[0])


def test_a_settlement_has_an_entity_tag(filled):
    d, client = filled
    target = f"/v1/accounts/{HOLDER}/settlements/{DAYS[0]}"
    status, headers, body = client.ask(target)
    one = json.loads(body)
    assert status == 200
    [listed, _] = client.get(f"/v1/accounts/{HOLDER}/settlements")["items"]
    as_of = one.pop("as_of")
    assert one == listed
    [[closed]] = d.sql("select (extract(epoch from closed_at) * 1000)::bigint from settled.day_closes"
                       " where shard = %s and business_day = %s", listed["shard"], DAYS[0])
    assert as_of.keys() == {"shard", "time"}
    assert at(as_of["time"][:10], as_of["time"][11:23]) == closed
    assert headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert headers["Cache-Control"] == "private, no-cache"
    time.sleep(0.01)
    assert client.ask(target)[2] == body
    for known in (headers["ETag"], f'"other", {headers["ETag"]}', f'W/{headers["ETag"]}', "*"):
        status, again, nothing = client.ask(target, **{"If-None-Match": known})
        assert (status, nothing, again["ETag"]) == (304, b"", headers["ETag"])
    assert client.ask(target, **{"If-None-Match": '"other"'})[0] == 200
    assert client.ask(f"/v1/accounts/{HOLDER}")[1]["ETag"] is None


def calls_of(client, account, day, query=""):
    """Asks again while they are being read."""
    for _ in range(60):
        status, headers, body = client.ask(f"/v1/accounts/{account}/settlements/{day}/calls{query}")
        if status != 503:
            assert status == 200, body
            return headers, json.loads(body)
        assert int(headers["Retry-After"]) > 0
        time.sleep(0.5)
    raise AssertionError(body)


def test_the_calls_of_a_settlement(filled):
    _, client = filled
    headers, found = calls_of(client, HOLDER, DAYS[1])
    assert headers["ETag"]
    line = {"usage_day": DAYS[1], "service": "PURCHASE_INTENT", "call_id": "c3", "request_id": "request \"3\"",
            "occurred_at": f"{DAYS[1]}T10:00:00.000+08:00", "kafka_offset": found["items"][0]["kafka_offset"]}
    covered = {**line, "line_no": 1, "charge": "PACKAGE", "package_id": "pack", "tier_from": None, "unit_price": 0, "units": 6000}
    postpaid = {**line, "line_no": 2, "charge": "POSTPAID", "package_id": None, "tier_from": 0, "unit_price": LEAD, "units": 1000}
    assert (found["items"], found["next"]) == ([covered, postpaid], None)
    settled = client.get(f"/v1/accounts/{HOLDER}/settlements/{DAYS[1]}")
    assert {key: found[key] for key in ("settlement_id", "account_id", "business_day", "currency", "as_of")} == {
        key: settled[key] for key in ("settlement_id", "account_id", "business_day", "currency", "as_of")}

    _, first = calls_of(client, HOLDER, DAYS[1], "?limit=1")
    assert (first["items"], first["next"]) == ([covered], "1/1")
    _, second = calls_of(client, HOLDER, DAYS[1], "?limit=1&after=1/1")
    assert (second["items"], second["next"]) == ([postpaid], None)

    _, other = calls_of(client, HOLDER, DAYS[0])
    assert [(i["line_no"], i["call_id"], i["units"]) for i in other["items"]] == [(1, "c2", 1), (2, "c1", 4000)]
    target = f"/v1/accounts/{HOLDER}/settlements"
    client.problem(f"{target}/2026-11-03/calls", 404, "no settlement of 2026-11-03")
    client.problem(f"{target}/today/calls", 400, "'today', is not a date")
    client.problem(f"{target}/{DAYS[0]}/calls?after=1", 400, "parameter after")
    client.problem(f"/v1/accounts/nobody/settlements/{DAYS[0]}/calls", 404, "no account nobody")


def test_those_who_ask_at_once_are_told_to_ask_again(filled):
    _, client = filled

    def ask(account):
        return calls_of(client, quote(account), DAYS[0])[1]

    with concurrent.futures.ThreadPoolExecutor(len(HOSTILE)) as pool:
        for account, found in zip(HOSTILE, pool.map(ask, HOSTILE)):
            assert found["account_id"] == account
            assert [(i["call_id"], i["charge"], i["units"]) for i in found["items"]] == [("call/1", "POSTPAID", 1)]


def test_head_is_get_without_the_body(filled):
    _, client = filled
    for target in (f"/v1/accounts/{HOLDER}/settlements/{DAYS[0]}", f"/v1/accounts/{HOLDER}/statement", "/v1/accounts/nobody"):
        got, head = client.ask(target), client.ask(target, method="HEAD")
        assert (head[0], head[2]) == (got[0], b"")
        assert head[1]["Content-Type"] == got[1]["Content-Type"]
        assert int(head[1]["Content-Length"]) == len(got[2]) > 0


STATEMENT = [
    ("2026-11-01T09:00:01.000+08:00", "TOP_UP", "first", 1000000, 1000000),
    ("2026-11-02T00:00:00.000+08:00", "SETTLEMENT", f"{HOLDER}/{DAYS[0]}", -INSIGHT, 780000),
    ("2026-11-02T23:00:01.000+08:00", "TOP_UP", "second", 100000, 880000),
    ("2026-11-03T00:00:00.000+08:00", "SETTLEMENT", f"{HOLDER}/{DAYS[1]}", -1000000, -120000),
]


def test_statement(filled):
    _, client = filled
    target = f"/v1/accounts/{HOLDER}/statement"
    for days, entries, opening in (("", STATEMENT, 0), ("?from=2026-11-02", STATEMENT[2:], 780000),
                                   ("?to=2026-11-01", STATEMENT[:2], 0), ("?from=2026-11-02&to=2026-11-02", STATEMENT[2:], 780000),
                                   ("?from=2026-11-03", [], -120000), ("?from=2026-11-04", [], -120000), ("?to=2026-10-31", [], 0)):
        found = client.get(target + days)
        assert [(e["at"], e["kind"], e["reference"], e["amount"], e["balance"]) for e in found["items"]] == entries
        kinds = {kind: sum(e[3] for e in entries if e[1] == kind) for kind in ("TOP_UP", "ADJUSTMENT", "SETTLEMENT")}
        assert (found["opening_balance"], found["credits"], found["adjustments"], found["amount"], found["closing_balance"]) == (
            opening, kinds["TOP_UP"], kinds["ADJUSTMENT"], -kinds["SETTLEMENT"], opening + sum(e[3] for e in entries))
        assert (found["account_id"], found["currency"], found["next"]) == (HOLDER, "CNY", None)
    assert (found["from"], found["to"]) == (None, "2026-10-31")


def test_a_statement_adds_up_across_the_grace(filled):
    _, client = filled
    first = client.get("/v1/accounts/grace/statement?to=2026-11-01")
    assert [(e["reference"], e["balance"]) for e in first["items"]] == [
        ("g1", 300000), ("g2", 300007), ("grace/2026-11-01", 300007 - INSIGHT)]
    second = client.get("/v1/accounts/grace/statement?from=2026-11-02")
    assert (second["items"], second["opening_balance"]) == ([], first["closing_balance"])


def test_statement_as_csv(filled):
    _, client = filled
    target = f"/v1/accounts/{HOLDER}/statement"
    status, headers, body = client.ask(target, Accept="text/csv")
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8; header=present")
    assert body.endswith(b"\r\n") and b"\n" not in body.replace(b"\r\n", b"")
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert [(r["at"], r["kind"], r["reference"], int(r["amount"]), int(r["balance"])) for r in rows] == STATEMENT
    for account in HOSTILE:
        body = client.ask(f"/v1/accounts/{quote(account)}/statement", Accept="text/csv")[2]
        rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
        assert [r["reference"] for r in rows] == ["credit, \"quoted\"\\/", f"{account}/{DAYS[0]}"]
    first = client.ask(target + "?limit=1", Accept="text/csv")
    assert first[1]["Link"] == f'<{target}?limit=1&after={client.get(target)["items"][0]["position"]}>; rel="next"'


@pytest.mark.parametrize(("accept", "kind"), [
    ("*/*", "application/json"), ("", "application/json"), ("text/csv", "text/csv"), ("text/*", "text/csv"),
    ("application/json;q=0.5, text/csv", "text/csv"), ("text/csv;q=0.5, application/json;q=0.6", "application/json"),
    ("*/*, text/csv;q=0", "application/json"), ("application/json;q=0, */*;q=0.1", "text/csv"),
    ("TEXT/CSV; header=present ; q=1.000", "text/csv"), ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
    ("text/html", None), ("text/csv;q=0, application/json;q=0", None), ("text/csv;q=nonsense", None)])
def test_the_form_that_is_asked_for(filled, accept, kind):
    _, client = filled
    status, headers, _ = client.ask(f"/v1/accounts/{HOLDER}/statement", Accept=accept)
    assert (status, headers["Content-Type"].partition(";")[0]) == ((200, kind) if kind else (406, "application/problem+json"))
    if kind == "text/csv" and "*" not in accept and "json" not in accept:
        client.problem(f"/v1/accounts/{HOLDER}", 406, "application/json", Accept=accept)


def test_deductions_of_a_package(filled):
    _, client = filled
    found = client.get(f"/v1/accounts/{HOLDER}/packages/pack/deductions")
    assert [(i["business_day"], i["usage_day"], i["calls"], i["before"], i["drawn"], i["after"]) for i in found["items"]] == [
        (DAYS[0], DAYS[0], 1, 10000, 4000, 6000), (DAYS[1], DAYS[1], 1, 6000, 6000, 0)]
    [package] = client.get(f"/v1/accounts/{HOLDER}/packages")["items"]
    assert (package["package_id"], package["remaining"]) == ("pack", 0)


def test_notices(filled):
    d, client = filled
    [found] = client.get(f"/v1/accounts/{HOLDER}/notices")["items"]
    sequence, shard = d.sql("select sequence, shard from settled.notices where account_id = %s", HOLDER)[0]
    assert found == {
        "notice_id": f"{HOLDER}/{DAYS[1]}/PACKAGE_LOW/pack", "account_id": HOLDER, "business_day": DAYS[1],
        "kind": "PACKAGE_LOW", "package_id": "pack", "service": "PURCHASE_INTENT", "units": 10000, "remaining": 0,
        "valid_until": "2027-11-01T08:00:00.000+08:00", "balance": None, "threshold": 0, "currency": "CNY", "shard": shard,
        "sequence": sequence}
    assert client.get(f"/v1/accounts/{HOLDER}/notices?to={DAYS[0]}")["items"] == []
    assert client.get(f"/v1/accounts/{HOLDER}/notices?after={sequence}")["items"] == []
    assert client.get("/v1/accounts/late/notices")["items"] == []


def test_month_statements(filled):
    _, client = filled
    target = f"/v1/accounts/{HOLDER}/statements"
    [listed] = client.get(target)["items"]
    status, headers, body = client.ask(f"{target}/2026-11")
    assert (status, headers["ETag"]) == (200, f'"{hashlib.sha256(body).hexdigest()}"')
    one = json.loads(body)
    lines, as_of = one.pop("lines"), one.pop("as_of")
    assert one == listed
    assert (one["statement_id"], one["month"], one["closing_balance"], one["calls"], one["packages_amount"]) == (
        f"{HOLDER}/2026-11", "2026-11", -120000, 3, PACKAGE)
    assert [(l["charge"], l["package_id"], l["tier_from"], l["units"], l["amount"]) for l in lines] == [
        ("POSTPAID", None, None, 1, INSIGHT), ("PACKAGE", "pack", None, 10000, 0), ("POSTPAID", None, 0, 1000, 1000 * LEAD)]
    assert as_of["time"].endswith("+08:00")
    rows = list(csv.DictReader(io.StringIO(client.ask(f"{target}/2026-11", Accept="text/csv")[2].decode(), newline="")))
    assert [(int(r["line_no"]), r["charge"], int(r["amount"])) for r in rows] == [
        (1, "POSTPAID", INSIGHT), (2, "PACKAGE", 0), (3, "POSTPAID", 1000 * LEAD)]
    assert client.get(f"{target}?to=2026-10-31")["items"] == client.get(f"{target}?from=2026-12-01")["items"] == []
    client.problem(f"{target}/2026-10", 404, "no statement of 2026-10")
    for wrong in ("2026", "2026-13", "2026-11-01"):
        client.problem(f"{target}/{wrong}", 400, "is not a month")


def test_status_changes(filled):
    _, client = filled
    [found] = client.get(f"/v1/accounts/{HOLDER}/status-changes")["items"]
    del found["shard"], found["sequence"]
    assert found == {"account_sequence": 1, "event_id": f"{HOLDER}/1", "status": "SUSPENDED", "cause": "ARREARS",
                     "settlement_id": f"{HOLDER}/{DAYS[1]}", "credit_id": None, "balance": -120000, "currency": "CNY",
                     "effective_at": "2026-11-03T00:00:00.000+08:00"}


def pages(client, target, **headers):
    """All items, page by page, by the links."""
    items = []
    while target:
        status, got, body = client.ask(target, **headers)
        assert status == 200, body
        page = json.loads(body)
        items += page["items"]
        assert (page["next"] is None) == (got["Link"] is None)
        target = got["Link"] and got["Link"].removeprefix("<").removesuffix('>; rel="next"')
    return items


def test_pages_lose_and_repeat_nothing(filled):
    _, client = filled
    accounts = sorted([*HOSTILE, HOLDER, "late", "grace"], key=str.encode)
    for limit in (1, 2, 5, len(accounts), 1000):
        found = pages(client, f"/v1/accounts?limit={limit}")
        assert [account["account_id"] for account in found] == accounts
    assert [a["account_id"] for a in pages(client, "/v1/accounts?status=SUSPENDED&limit=1")] == [HOLDER, "late"]
    for prefix in ("a", "h", "é", "x" * 100, "x" * 128, "<", quote("a b+c&d"), "%25", "zzz"):
        wanted = [account for account in accounts if account.startswith(urllib.parse.unquote(prefix))]
        assert [a["account_id"] for a in pages(client, f"/v1/accounts?limit=1&prefix={quote(urllib.parse.unquote(prefix))}")] == wanted
    for path in ("settlements", "statement", "status-changes", "packages", "packages/pack/deductions"):
        target = f"/v1/accounts/{HOLDER}/{path}"
        assert pages(client, f"{target}?limit=1") == pages(client, target) != []


# ---- prices and operators ----

def test_prices_and_quotes(filled):
    d, client = filled
    found = client.get("/v1/prices?day=2026-11-01")
    assert (found["day"], found["currency"], found["price_book"]["sha256"], found["time_zone"]) == (
        "2026-11-01", "CNY", hashlib.sha256(d.book.read_bytes()).hexdigest(), "Asia/Shanghai")
    calls, leads = found["services"]
    assert (calls["service"], calls["unit"], calls["tiers"]) == ("AUDIENCE_INSIGHT", "CALL", [{"from": 0, "unit_price": INSIGHT}])
    assert calls["packages"][0] == {"units": 50, "price": 10000000}
    assert calls["custom_package"] == {"minimum": 301, "step": 1, "price_per_step": 50000}
    assert (leads["unit"], leads["tiered"], leads["tiers"][-1]) == ("LEAD", True, {"from": 500000, "unit_price": 250})
    # Whatever is told is as of the daemon's clock, which is not that of the database.
    for target in ("/v1/prices", "/v1/quote?service=AUDIENCE_INSIGHT&calls=2", f"/v1/accounts/{HOLDER}",
                   f"/v1/accounts/{HOLDER}/statement", f"/v1/accounts/{HOLDER}/packages", "/v1/shards"):
        assert client.get(target)["as_of"]["time"][:10] == AFTER[:10], target
    today = client.get("/v1/prices")
    assert (today["day"], today["services"]) == (AFTER[:10], found["services"])  # of the daemon's clock, not the machine's
    for query, options in (("service=PURCHASE_INTENT&leads=8000&calls=3", ("--leads", "8000", "--calls", "3")),
                           ("service=PURCHASE_INTENT&leads=8000,12000", ("--leads", "8000,12000")),
                           ("service=AUDIENCE_INSIGHT&calls=200&day=2026-11-01", ("--calls", "200", "--day", "2026-11-01"))):
        service = query.partition("&")[0].partition("=")[2]
        told = json.loads(d.run("quote", "--service", service, *options, "--format", "json"))
        answer = client.get(f"/v1/quote?{query}")
        assert {key: answer[key] for key in told} == told
    named = client.get("/v1/quote?service=PURCHASE_INTENT&leads=8000")
    for service in ("购车意向预判服务", "purchase intent", "Purchase-Intent"):
        assert client.get(f"/v1/quote?service={quote(service)}&leads=8000")["options"] == named["options"]
    client.problem("/v1/quote?calls=1", 400, "no service; give service")
    client.problem("/v1/quote?service=X&calls=1", 400, "parameter service: 'X'")
    client.problem("/v1/quote?service=PURCHASE_INTENT&leads=a", 400, "parameter leads: 'a'")
    client.problem("/v1/quote?service=PURCHASE_INTENT&leads=1000000001", 400, "1000000000")
    client.problem("/v1/quote?service=AUDIENCE_INSIGHT&calls=0", 400, "parameter calls: '0'")
    client.problem("/v1/prices?day=today", 400, "parameter day")


def test_shards_and_days(filled):
    d, client = filled
    shards = pages(client, "/v1/shards?limit=1")
    assert [(s["shard"], s["open_day"], s["held_since"], s["holds"]) for s in shards] == [
        (p, "2026-11-03", None, []) for p in range(d.partitions)]
    logs = {(s["shard"], log["topic"]): (log["next_offset"], log["accepted"]) for s in shards for log in s["logs"]}
    assert logs == {
        (p, topic): (to, accepted) for p, topic, to, accepted in
        d.sql("select shard, topic, next_offset, accepted from settled.shard_logs")}
    days = pages(client, "/v1/days?limit=3")
    assert [(x["business_day"], x["shard"], x["digest"], x["settlements"], x["amount"]) for x in days] == d.sql(
        "select business_day::text, shard, digest, settlements, amount from settled.day_closes order by 1, 2")
    assert [x["business_day"] for x in pages(client, "/v1/days?from=2026-11-02&to=2026-11-02")] == DAYS[1:] * d.partitions
    for day in days:
        for cut in day["cutoffs"]:
            assert cut["accepted"] + cut["duplicates"] + cut["rejected"] + cut["void"] == cut["to_offset"] - cut["from_offset"]
    client.problem("/v1/days?after=2026-11-01", 400, "parameter after")


def test_the_deployment(filled):
    d, client = filled
    assert client.get("/v1/access") == {"scope": "reader", "account_id": None}
    found = client.get("/v1/deployment")
    (group, offset), = d.sql("select consumer_group, recorded_at from settled.deployment")
    fixed = found["fixed"]
    assert datetime.datetime.fromisoformat(fixed.pop("recorded_at")) == offset.replace(microsecond=offset.microsecond // 1000 * 1000)
    assert fixed.pop("cluster_id")
    assert fixed == {
        "first_day": DAYS[0], "timestamps": "create", "partitioner": "murmur2", "framing": "confluent", "partitions": d.partitions,
        "time_zone": "Asia/Shanghai", "consumer_group": group, "calls_topic": d.topics["calls"],
        "purchases_topic": d.topics["purchases"], "credits_topic": d.topics["credits"]}
    book = hashlib.sha256(d.book.read_bytes()).hexdigest()
    row, = found["parameters"]
    assert (row["from_day"], row["grace_ms"], row["late_days"], row["credit_days"], row["price_book"]) == (
        None, 300000, 1, 400, book)
    assert (row["future_tolerance_ms"], row["max_reject_share_ppm"], row["max_refused_share_ppm"]) == (300000, 10000, 200000)
    assert (row["package_left"], row["expiring_days"], row["balance_below"]) == ([20, 5, 0], [30, 7, 1], [])
    (recorder,), = d.sql("select recorded_by from settled.parameters")
    assert row["recorded_by"] == recorder
    assert [(each["sha256"], each["effective_from"], each["recorded_by"]) for each in found["books"]] == [(book, None, recorder)]


def test_rejects_and_decisions(filled):
    d, client = filled
    listed = json.loads(d.run("rejects", "list", "--all", "--format", "json"))
    found = client.get("/v1/rejects?all=true")["items"]
    assert [{**r, "received_at": None} for r in found] == [{**r, "received_at": None} for r in listed]
    assert len(found) == 2
    assert found[0]["received_at"].endswith("+08:00")
    assert pages(client, "/v1/rejects?limit=1") == found
    for query, wanted in (("topic=purchases", 1), (f"topic={quote(d.topics['purchases'])}", 1), ("topic=credits", 1),
                          ("reason=NOT_FOR_SALE", 1), ("reason=CONFLICT", 1), ("account=refused", 1), ("account=x", 0),
                          (f"partition={found[0]['partition']}&topic={found[0]['topic']}", 1), ("from=2026-11-02", 1),
                          ("to=2026-11-01", 1), ("all=false", 2)):
        assert len(client.get(f"/v1/rejects?{query}")["items"]) == wanted, query
    groups = client.get("/v1/rejects/groups?by=reason")["items"]
    assert [(g["group"], g["count"], g["first"]["topic"]) for g in groups] == [
        ("CONFLICT", 1, d.topics["credits"]), ("NOT_FOR_SALE", 1, d.topics["purchases"])]
    for query, name in (("topic=x", "topic"), ("reason=BAD", "reason"), ("partition=-1", "partition"), ("all=yes", "all"),
                        ("after=1", "after"), ("from=1", "from")):
        client.problem(f"/v1/rejects?{query}", 400, f"parameter {name}")
    client.problem("/v1/rejects/groups", 400, "parameter by")
    assert client.get("/v1/decisions")["items"] == []
    conflict = next(r for r in found if r["reason"] == "CONFLICT")
    d.run("rejects", "accept", f"{conflict['topic']}/{conflict['partition']}/{conflict['offset']}")
    d.until(lambda: client.get("/v1/decisions")["items"])
    [decision] = client.get("/v1/decisions")["items"]
    [[operator]] = d.sql("select operator from settled.decisions")
    assert (decision["kind"], decision["topic"], decision["records"], decision["operator"]) == (
        "ACCEPT", conflict["topic"], 1, operator)
    assert [r["reason"] for r in client.get("/v1/rejects")["items"]] == ["NOT_FOR_SALE"]
    assert client.get("/v1/decisions?after=" + quote(f"{decision['shard']}/{decision['number']}"))["items"] == []


# ---- the description ----

DESCRIPTION = json.loads((ROOT / "schemas" / "http" / "openapi.json").read_text())


def test_the_description_is_answered(filled):
    _, client = filled
    assert client.get("/v1/openapi.json") == DESCRIPTION
    tag = client.ask("/v1/openapi.json")[1]["ETag"]
    assert client.ask("/v1/openapi.json", **{"If-None-Match": tag})[0] == 304


def parameters_of(path):
    found = [p if "$ref" not in p else DESCRIPTION["components"]["parameters"][p["$ref"].rpartition("/")[2]]
             for p in DESCRIPTION["paths"][path]["get"].get("parameters", [])]
    return {kind: [p["name"] for p in found if p["in"] == kind] for kind in ("path", "query")}


def test_the_description_has_the_paths_of_the_program():
    source = (ROOT / "consumer" / "answers" / "answers.c").read_text()
    filters = re.search(r'#define REJECT_FILTER "(.*)"', source).group(1)
    rows = re.findall(r'^    \{"(v1/[^"]*)",\s*([^,]*),\s*API_(\w+), (true|false),', source, re.MULTILINE)
    known = {}
    for path, words, audience, has_csv in rows:
        assert path.startswith("v1/accounts/{id}") == (audience == "HOLDER")
        known["/" + path] = ("".join(words.replace("REJECT_FILTER", f'"{filters}"').split('"')).split(), has_csv == "true")
    assert known.keys() == DESCRIPTION["paths"].keys()
    for path, (parameters, has_csv) in known.items():
        assert sorted(parameters_of(path)["query"]) == sorted(parameters), path
        assert parameters_of(path)["path"] == re.findall(r"\{(\w+)\}", path)
        content = DESCRIPTION["paths"][path]["get"]["responses"]["200"]["content"]
        assert ("text/csv" in content) == has_csv, path


# ---- who may ask ----

def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def write_tokens(d, text, mode=0o600):
    path = d.folder / d.name / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_tokens(deploy):
    d = deploy(partitions=1)
    path = write_tokens(d, f"# readers\n\n{digest('all')} reader\r\n{digest('mine').upper()} account a/b c\n")
    config = d.write_config(http={"tokens": str(path)})
    for account in ("a/b c", "a"):
        d.top_up(account, "t", 5, at(DAYS[0], "08:00:00"))
    d.flush()
    process = d.start("--clock", "2026-11-02T00:10:00+08:00", config=config)
    d.until(lambda: d.sql("select count(*) from settled.accounts") == [(2,)], process)
    reader, holder, nobody, wrong = (Client(process, token) for token in ("all", "mine", None, "All"))
    mine, other = f"/v1/accounts/{quote('a/b c')}", "/v1/accounts/a"
    for client in (nobody, wrong):
        for target in (mine, "/v1/accounts", "/v1/nothing"):
            client.problem(target, 401, "Authorization: Bearer TOKEN")
            assert client.ask(target)[1]["WWW-Authenticate"] == "Bearer"
    assert nobody.ask(mine, Authorization="Basic YWxsOg==")[0] == 401
    assert nobody.ask(mine, Authorization="bearer all")[0] == 200
    assert nobody.ask("/healthz/live")[0] == 200
    assert reader.get(mine)["balance"] == holder.get(mine)["balance"] == reader.get(other)["balance"] == 5
    assert len(reader.get("/v1/accounts")["items"]) == 2
    assert holder.get(f"{mine}/statement")["closing_balance"] == 5
    for target in (other, f"{other}/statement", "/v1/accounts", "/v1/accounts/a%2Fb%20c%20"):
        holder.problem(target, 403, "the account a/b c alone")
    for each in DESCRIPTION["paths"]:
        if "{id}" in each:
            target = each.replace("{id}", "a").format(day=DAYS[0], package="p", month=DAYS[0][:7])
            holder.problem(target, 403, "the account a/b c alone")
    holder.problem("/v1/nothing", 404)
    assert reader.get("/v1/access") == {"scope": "reader", "account_id": None}
    assert holder.get("/v1/access") == {"scope": "account", "account_id": "a/b c"}
    nobody.problem("/v1/access", 401)
    holder.problem("/v1/deployment", 403)
    # A broken file leaves the old tokens in force.
    path.write_text(f"{digest('new')} reader\n{digest('mine')} acount a\n")
    process.process.send_signal(signal.SIGHUP)
    line = process.await_line("the tokens are not reloaded").string
    assert f"{path}:2: the line is neither" in line
    assert (Client(process, "new").ask(mine)[0], reader.ask(mine)[0]) == (401, 200)
    path.write_text(f"{digest('new')} reader\n")
    process.process.send_signal(signal.SIGHUP)
    d.until(lambda: Client(process, "new").ask(mine)[0] == 200, process)
    assert (reader.ask(mine)[0], holder.ask(mine)[0]) == (401, 401)
    assert process.stop() == 0


def test_without_tokens_only_this_machine_is_answered(deploy):
    d = deploy(partitions=1)
    process = d.start(config=d.write_config(http={"listen": "0.0.0.0:0"}))
    client = Client(process)
    client.problem("/v1/accounts", 403, "http.tokens", "loopback")
    client.problem("/v1/accounts/a", 403)
    assert client.ask("/healthz/live")[0] == 200
    process.await_line(r"level=warn message=check finding=\"http.listen is 0.0.0.0:0.*no http.tokens are named")


def test_a_foreign_name_is_not_answered(filled):
    """What a page of somebody else sends that has had its name resolved to this machine."""
    _, client = filled
    for host in ("evil.example", "evil.example:9464", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example:1", "[::2]", "[::1]x",
                 "[::1", "1" * 70):
        client.problem("/v1/accounts", 403, "127.0.0.1 or localhost", Host=host)
    for host in ("localhost", "LOCALHOST:9464", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:9464"):
        assert client.ask("/v1/accounts", Host=host)[0] == 200, host


def test_check_looks_at_the_tokens(deploy):
    d = deploy(partitions=1)
    d.config = d.write_config(http={"tokens": str(write_tokens(d, f"{digest('a')} reader\n", 0o644))})
    assert "every user of this machine may read" in d.run("check")
    for text, why in ((f"{digest('a')} reader\n{digest('a')[1:]} reader\n", ":2: the line is neither"),
                      (f"{digest('a')}  reader\n", ":1: the line is neither"), (f"{digest('a')} account\n", ":1: the line is neither"),
                      (f"{digest('a')} account \n", ":1: the line is neither"), (f"{digest('a')} account {'x' * 129}\n", ":1: the account's id is "),
                      (f"{digest('a')} account a\tb\n", ":1: the account's id ")):
        write_tokens(d, text)
        assert f"http.tokens: {d.folder / d.name / 'tokens'}{why}" in d.run("check", status=78), text
    (d.folder / d.name / "tokens").unlink()
    assert "http.tokens: " in d.run("check", status=78)
    process = d.start()
    assert process.wait() == 78


# ---- what does not go well ----

def test_postgres_goes_and_comes_back(settled):
    with own_deployment(settled, partitions=1) as (d, _, postgres):
        d.top_up("a", "t", 5, at(DAYS[0], "08:00:00"))
        d.flush()
        process = d.start("--clock", "2026-11-02T00:10:00+08:00")
        client = Client(process)
        d.until(lambda: client.ask("/v1/accounts/a")[0] == 200, process)
        postgres.kill()
        client.problem("/v1/accounts/a", 503, "PostgreSQL")
        assert int(client.ask("/v1/accounts/a")[1]["Retry-After"]) > 0
        assert client.ask("/healthz/live")[0] == 200
        postgres.start()
        d.until(lambda: client.ask("/v1/accounts/a")[0] == 200, process)
        # A server that hangs keeps nobody for long, and the process does not wait for it in order to end.
        postgres.pause()
        began = time.monotonic()
        client.problem("/v1/accounts/a", 503, "PostgreSQL")
        assert time.monotonic() - began < 15
        assert client.ask("/healthz/live")[0] == 200
        postgres.cont()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:  # so that each thread of the server has a connection
            assert set(pool.map(lambda _: client.ask("/v1/accounts/a")[0], range(400))) == {200}
        postgres.pause()
        asked = threading.Thread(target=client.problem, args=("/v1/accounts/a", 503, "interrupted"))
        asked.start()
        time.sleep(0.5)
        began = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        asked.join()
        assert time.monotonic() - began < 2
        postgres.cont()
        assert process.wait() == 0


def test_idle_connections_keep_nobody_out(filled):
    _, client = filled
    wanted = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, wanted + 500)), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(wanted):
            stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=10))
        for _ in range(20):
            assert client.get(f"/v1/accounts/{HOLDER}")["balance"] == -120000
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- how it is read ----

GROWING = {"accounts", "credits", "packages", "settlements", "settlement_lines", "status_changes", "notices", "month_statements",
           "month_statement_lines", "day_closes", "day_cutoffs",
           "rejects", "request_records"}


def scans(plan):
    """The nodes of a plan that read a table: (table, kind, condition on the index)."""
    if "Relation Name" in plan:
        condition = plan.get("Index Cond") or " ".join(child.get("Index Cond", "") for child in plan.get("Plans", ()))
        yield re.sub(r"(_\d+)+$", "", plan["Relation Name"]), plan["Node Type"], condition  # a partition is its table
    for child in plan.get("Plans", ()):
        yield from scans(child)


def explained(log):
    """The plans of the sessions that serve the API, by the text of the query."""
    found = re.findall(r"\[(\d+)\] \S+ LOG:  duration: \S+ ms  plan:\n((?:\t.*\n)+)", log)
    plans = [(int(pid), json.loads(text)) for pid, text in found]
    serving = {pid for pid, plan in plans if "final_through" in plan["Query Text"]}
    return [plan for pid, plan in plans if pid in serving]


def test_no_query_reads_a_table_that_grows_as_a_whole(settled):
    account = f"/v1/accounts/{HOLDER}"
    targets = [account, *(f"{account}/{rest}" for rest in (
        "settlements?from=2026-11-01", f"settlements/{DAYS[0]}", "statement", "usage", "notices", "statements",
        "statements/2026-11", "status-changes", "packages",
        "packages/pack/deductions")), "/v1/accounts?prefix=h", "/v1/days?from=2026-11-02", "/v1/decisions", "/v1/shards",
        "/v1/rejects", f"/v1/rejects?account={HOLDER}", "/v1/rejects/groups?by=reason&from=2026-11-01"]
    with own_deployment(settled, late_days=1) as (d, _, postgres):
        fill(d)
        for setting in ("session_preload_libraries = auto_explain", "auto_explain.log_min_duration = 0",
                        "auto_explain.log_format = json", "enable_seqscan = off", "jit = off"):
            with psycopg.connect(d.dsn, autocommit=True) as connection:
                connection.execute("load 'auto_explain'")
                connection.execute(f"alter role postgres set {setting}")
        process = d.start("--clock", AFTER)
        client = Client(process)
        for target in targets:
            for _ in range(32):  # so that on some connection a plan is made once for all values
                client.get(target)
        assert process.stop() == 0
        plans = explained(postgres.log.read_text())
    tables = set()
    for plan in plans:
        for table, kind, condition in scans(plan["Plan"]):
            tables.add(table)
            if table in GROWING:
                assert kind != "Seq Scan", (table, plan)
            if table in GROWING - {"rejects"}:
                assert condition, (table, kind, plan["Query Text"])
    assert tables >= GROWING


def test_calls_that_have_expired_are_gone(filled):
    d, client = filled
    shard = shard_of(d, "grace")
    [[end]] = d.sql("select next_offset from settled.shard_logs where shard = %s and topic = %s", shard, d.topics["calls"])
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    for each in admin.delete_records([confluent_kafka.TopicPartition(d.topics["calls"], shard, end)]).values():
        each.result(30)
    for _ in range(2):
        client.problem(f"/v1/accounts/grace/settlements/{DAYS[0]}/calls", 410, "expired", "from a mirror",
                       "recorded with the settlement")
    assert client.get(f"/v1/accounts/grace/settlements/{DAYS[0]}")["calls"] == 1


def test_a_statement_of_retired_months_is_refused(filled):
    """Whoever names a first day wants all from there on; who names none gets what is left, with the balance before it."""
    d, client = filled
    whole = client.get(f"/v1/accounts/{HOLDER}/statement")
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute("insert into settled.retired_months (month) values ('2026-10-01')")
        try:
            client.problem(f"/v1/accounts/{HOLDER}/statement?from=2026-10-31", 404, "before 2026-11-01 has left the tables",
                           "archive")
            for query in ("", f"?from={DAYS[0]}"):
                found = client.get(f"/v1/accounts/{HOLDER}/statement{query}")
                assert (found["opening_balance"], found["closing_balance"]) == (whole["opening_balance"],
                                                                               whole["closing_balance"])
        finally:
            connection.execute("delete from settled.retired_months where month = '2026-10-01'")
