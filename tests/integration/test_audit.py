"""audit: it folds the topics again and compares every table and output topic; each tampering is found and named."""

import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import subprocess
import threading
import time
import uuid

import confluent_kafka
import fastavro
import psycopg
import pytest
from deployment import OUTPUTS, Deployment, alter_topic, at
from topic_copies import copied, messages_of, records_of

FIRST, DAYS = "2026-11-01", 4
LAST = "2026-11-04"


def audit(d, *arguments, config=None):
    return subprocess.run([d.settled, "audit", "-c", config or d.config, *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, encoding="utf-8", timeout=120, check=False)


def findings(d, *arguments, status, config=None):
    done = audit(d, "--format", "json", *arguments, config=config)
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(done.stdout)


@contextlib.contextmanager
def database(superuser):
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield superuser.rpartition("/")[0] + "/" + name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def generated(settled, brokers, dsn, folder):
    """Days of a generated workload with all kinds of records, and records of the open day after them."""
    told = {"package_left": [99, 50, 0], "expiring_days": [365, 364, 363], "balance_below": [0, 100]}
    d = Deployment(settled, brokers, dsn, folder, partitions=2, workers=1, notices=told)
    d.run("generate", "--seed", "7", "--accounts", "25", "--calls-per-day", "250", "--days", str(DAYS),
          "--duplicates", "4", "--late", "4", "--broken", "4", "--purchases", "6", "--credits", "12")
    d.drain("2026-11-05T00:05:00+08:00")
    d.purchase("acme", "package-1", "PURCHASE_INTENT", 10000, 7000000, at("2026-11-05", "08:00:00"))
    d.call("acme", "in debt", at("2026-11-05", "08:30:00"), leads=17000)
    d.top_up("acme", "top-up-1", 100, at("2026-11-05", "09:00:00"))
    d.top_up("acme", "no money", 0, at("2026-11-05", "10:00:00"))
    d.flush()
    d.drain("2026-11-06T00:05:00+08:00")
    d.top_up("acme", "top-up-2", 100000000, at("2026-11-06", "00:06:00"))
    d.call("acme", "of the open day", at("2026-11-06", "00:07:00"), leads=10)
    d.flush()
    d.drain("2026-11-06T00:10:00+08:00")
    return d


@pytest.fixture(scope="module")
def world(settled, brokers, tmp_path_factory):
    with database(os.environ["SETTLED_TEST_DSN"]) as dsn:
        d = generated(settled, brokers, dsn, tmp_path_factory.mktemp("audit"))
        drop_constraints(d)
        yield d
        d.close()


@contextlib.contextmanager
def tampered(d, table, statement):
    """Runs a statement, and restores the table at the end. Gives what the statement returned."""
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute(f"create table public.kept_{table} as table settled.{table}")
        connection.execute("set session_replication_role = replica")  # other tables refer to some
        try:
            done = connection.execute(statement)
            assert done.rowcount > 0
            yield done.fetchall() if done.description else None
        finally:
            connection.execute(f"delete from settled.{table}")
            connection.execute(f"insert into settled.{table} overriding system value table public.kept_{table}")
            connection.execute(f"drop table public.kept_{table}")


def drop_constraints(d):
    """The audit must also find values that the tables themselves would refuse."""
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        for table, name in connection.execute("select conrelid::regclass::text, conname from pg_constraint"
                                              " where connamespace = 'settled'::regnamespace and contype = 'c'"
                                              " and coninhcount = 0").fetchall():
            connection.execute(f"alter table {table} drop constraint {name}")


# --- equal ---


def test_what_was_settled_is_equal(world):
    found = findings(world, status=0)
    counts = dict(world.sql("select 'settlements', count(*) from settled.settlements union all"
                            " select 'messages', sum(sequence)::int8 from settled.shards union all"
                            " select 'days', count(*) from settled.day_closes"))
    assert found["result"] == "equal"
    assert found["differences"] == [] and found["difference_count"] == 0 and found["pending"] == 0
    assert {name: found[name] for name in counts} == counts
    assert counts["settlements"] > 50 and found["days"] == 2 * 5
    assert found["rows"] > counts["messages"]


def test_people_read_the_same(world):
    done = audit(world)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "equal"
    assert "settlements folded again" in done.stdout


@pytest.mark.parametrize("first, last, days", [
    (FIRST, FIRST, 1), (FIRST, LAST, 4), ("2026-11-02", "2026-11-03", 2), ("2026-11-05", "2026-11-05", 1),
    ("2026-11-03", None, 3), (None, "2026-11-02", 2), ("2026-11-06", None, 0)])
def test_a_part_of_the_days(world, first, last, days):
    found = findings(world, *(["--from", first] if first else []), *(["--to", last] if last else []), status=0)
    assert found["days"] == 2 * days


def test_one_account(world):
    found = findings(world, "--account", "acme", status=0)
    assert found["shards"] == 1
    everything = findings(world, status=0)
    assert 0 < found["rows"] < everything["rows"]
    with tampered(world, "credits", "update settled.credits set amount = amount + 1 where account_id = 'acme'"):
        assert findings(world, "--account", "acme", status=1)["difference_count"] > 0
        other = world.sql("select account_id from settled.accounts where account_id <> 'acme' limit 1")[0][0]
        assert findings(world, "--account", other, status=0)["difference_count"] == 0


def test_the_auditors_role_is_enough(world):
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute("create role looks login in role settled_auditor")
        connection.execute("alter role looks set default_transaction_read_only = on")
        try:
            prefix, _, place = world.dsn.rpartition("@")
            dsn = prefix.partition("//")[0] + "//looks@" + place
            config = world.write_config("auditor.yaml", postgres={"dsn": dsn})
            findings(world, status=0, config=config)
        finally:
            connection.execute("drop role looks")


def test_what_is_not_published_yet_is_pending(world):
    """These topics are empty, and PostgreSQL records nothing as published."""
    empty = {key: f"{world.topics[key]}-empty" for key in OUTPUTS}
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": world.brokers})
    for each in admin.create_topics([confluent_kafka.admin.NewTopic(name, 2, 1) for name in empty.values()]).values():
        each.result(30)
    config = world.write_config("empty.yaml", topics=empty)
    messages = world.sql("select sum(sequence)::int8 from settled.shards")[0][0]
    with tampered(world, "shards", "update settled.shards set relayed = 0"):
        found = findings(world, status=0, config=config)
        assert (found["pending"], found["messages"]) == (messages, 0)
    found = findings(world, status=1, config=config)
    assert found["pending"] == 0 and found["difference_count"] == messages


def test_beside_a_running_daemon(deploy):
    d = deploy(partitions=2, workers=2)
    stop, begun = threading.Event(), threading.Event()

    def produce():
        """Three days' records, and the third's go on until it is told to stop."""
        number = 0
        while not stop.is_set():
            day = f"2026-11-0{min(number // 300, 2) + 1}"
            d.call(f"account-{number % 20}", f"call-{number}", at(day, "10:00:00"), leads=number)
            d.top_up(f"account-{number % 20}", f"credit-{number}", 1000, at(day, "11:00:00"))
            number += 1
            if number == 100:
                d.flush()
                begun.set()
            d.producer.poll(0)
            time.sleep(0.002 if number < 900 else 0.02)

    producer = threading.Thread(target=produce)
    producer.start()
    assert begun.wait(60)
    daemon = d.start("--clock", "2026-11-04T00:20:00+08:00")  # the first day that it closes has settlements
    daemon.await_ready()
    try:
        found = [findings(d, status=0)]
        deadline = time.monotonic() + 60
        while found[-1]["records"] <= found[0]["records"] or found[-1]["settlements"] == 0 or len(found) < 6:
            assert time.monotonic() < deadline, found
            found.append(findings(d, status=0))
    finally:
        stop.set()
        producer.join()
    assert daemon.stop() == 0


# --- rows that differ ---


KEYS = {"settlements": 2, "settlement_lines": 3, "accounts": 1, "packages": 3, "credits": 3, "status_changes": 2,
        "notices": 3, "rejects": 3, "day_closes": 2, "day_cutoffs": 3, "shard_logs": 2}
# Times of writing are not compared. Cutoffs are tested below, because the fold of a day depends on them.
LEFT_OUT = {"day_closes": ["closed_at"], "day_cutoffs": ["to_offset", "cut_by"], "rejects": ["reason", "decision"],
            "shard_logs": ["next_offset"]}
ANOTHER = {"bigint": "coalesce({0}, 0) + 1", "integer": "coalesce({0}, 0) + 1", "date": "{0} + 1",
           "timestamp with time zone": "coalesce({0}, now()) + interval '1 hour'", "text": "coalesce({0}, '') || '!'"}


def columns_of(d, table):
    return d.sql("select column_name, data_type from information_schema.columns where table_schema = 'settled'"
                 " and table_name = %s order by ordinal_position", table)


@pytest.mark.parametrize("table", KEYS)
def test_every_column_is_compared(world, table):
    """Each column of a row gets another value; the audit names each, with both values."""
    key = [row[0] for row in world.sql(
        "select a.attname from pg_index i cross join unnest(i.indkey) with ordinality k (number, place)"
        " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number"
        " where i.indisprimary and i.indrelid = %s::regclass order by k.place", f"settled.{table}")]
    assert key[KEYS[table]:] in ([], ["business_day"])  # a partition's key is in each key, and is compared like the rest
    key = key[:KEYS[table]]
    changed = {name: ANOTHER[kind].format(name) for name, kind in columns_of(world, table)
               if name not in [*key, "shard", *LEFT_OUT.get(table, [])]}
    where = f"where ctid = (select max(ctid) from settled.{table})"
    names = ", ".join(changed)
    before = world.sql(f"select {names} from settled.{table} {where}")[0]
    with tampered(world, table, f"update settled.{table} set {', '.join(f'{n} = {v}' for n, v in changed.items())}"
                                f" {where} returning {', '.join(key)}") as rows:
        after = world.sql(f"select {names} from settled.{table} where ({', '.join(key)}) = ({', '.join(['%s'] * len(key))})",
                          *rows[0])[0]
        found = findings(world, status=1)
    assert found["causes"] == []  # one row that was changed explains no other
    told = {d["field"]: d for d in found["differences"] if d["where"] == table}
    assert {name for name in changed if name != "sequence"} <= set(told), found["differences"][:3]
    if "sequence" in changed:  # compared with the message's own
        assert any(d["field"] == "sequence" for d in found["differences"])
    for name, old, new in zip(changed, before, after):
        if isinstance(new, int) and name in told:
            assert (told[name]["recorded"], told[name]["folded"]) == (str(new), "null" if old is None else str(old))


@pytest.mark.parametrize("table, change, where, field", [
    ("day_cutoffs", "set to_offset = to_offset - 1 where shard = 0 and business_day = '2026-11-02'"
                    " and topic like '%-calls'", "day_cutoffs", "to_offset"),
    ("day_cutoffs", "set to_offset = to_offset + 1 where shard = 0 and business_day = '2026-11-02'"
                    " and topic like '%-calls'", "day_cutoffs", "to_offset"),
    ("day_cutoffs", "set cut_by = 'RECORD' where shard = 0 and business_day = '2026-11-05'", "day_cutoffs", "to_offset"),
    ("rejects", "set reason = 'REFUND' where ctid = (select min(ctid) from settled.rejects where reason = 'INVALID')",
     "rejects", "reason"),
    ("rejects", "set decision = 1 where ctid = (select min(ctid) from settled.rejects)", "rejects", None),
    ("rejects", "set topic = 'another' where ctid = (select min(ctid) from settled.rejects)", "rejects", None),
    ("accounts", "set shard = 1 - shard where account_id = 'acme'", "accounts", None),
    ("shard_logs", "set next_offset = next_offset - 1 where shard = 0 and topic like '%-calls'", "shard_logs", None),
    ("shards", "set calls_from = calls_from + 1 where shard = 1", "shards", "calls_from"),
    ("shards", "set horizon = horizon + 1 where shard = 1", "shards", "horizon"),
    ("shards", "set sequence = sequence + 1 where shard = 1", "shards", "sequence"),
    ("shards", "set chain_hash = decode(repeat('ab', 32), 'hex') where shard = 1", "outbox", "hash"),
    ("shards", "set previous_digest = repeat('1', 64) where shard = 1", "shards", "previous_digest"),
    ("shards", "set open_day = open_day + 1 where shard = 1", "day_cutoffs", None),
    ("shards", "set open_day = open_day - 1 where shard = 1", "day_closes", None),
    ("outbox", "set ce_id = ce_id || 'x' where shard = 0 and sequence = 3", "outbox", None),
    ("outbox", "set hash = decode(repeat('ab', 32), 'hex') where shard = 0 and sequence = 3", "outbox", "hash"),
    ("outbox", "set ce_time_ms = ce_time_ms + 1000 where shard = 0 and sequence = 3", "outbox", "ce_time_ms"),
    ("outbox", "set key = 'somebody' where shard = 0 and sequence = 3", "outbox", "key"),
    ("outbox", "set body = body || 'x' where shard = 0 and sequence = 3", "outbox", "body"),
    ("outbox", "set body = 'x' where shard = 0 and sequence = 3", "outbox", "body"),
    ("parameters", "set max_reject_share_ppm = max_reject_share_ppm + 1", "day_closes", "parameters"),
    ("parameters", "set late_days = 0", None, None),
])
def test_a_changed_value_is_found(world, table, change, where, field):
    with tampered(world, table, f"update settled.{table} {change}"):
        found = findings(world, status=1)
    rules = [cause["kind"] for cause in found["causes"]]
    assert rules == (["other_parameters"] if table == "parameters" else []), found["causes"]
    assert all(re.match(r"2026-11-01 to 2026-11-05 closed by parameters whose SHA-256 is [0-9a-f]{64}, but for that time"
                        " parameters of [0-9a-f]{64} are recorded now", cause["text"]) for cause in found["causes"])
    named = [d for d in found["differences"] if where in (None, d["where"]) and field in (None, d["field"])]
    assert named and named[0]["recorded"] != named[0]["folded"], found["differences"][:5]


COMPARED = [*KEYS, "outbox"]
# Rows before a shard's last one may be dropped once they are published.
LOST = {"outbox": "shard = 0 and sequence = (select max(sequence) from settled.outbox where shard = 0)"}


@pytest.mark.parametrize("table", COMPARED)
def test_a_missing_row_is_found(world, table):
    lost = LOST.get(table, f"ctid = (select max(ctid) from settled.{table})")
    with tampered(world, table, f"delete from settled.{table} where {lost}"):
        found = findings(world, status=1)
    assert any(d["where"] == table and d["recorded"] is None for d in found["differences"]), found["differences"][:5]


EXTRA = {  # what must differ in a copy of a row
    "settlements": {"business_day": "date '2026-11-30'"}, "settlement_lines": {"line_no": "99"},
    "accounts": {"account_id": "'nobody'"}, "packages": {"package_id": "'nothing'"}, "credits": {"credit_id": "'no'"},
    "status_changes": {"account_sequence": "99", "sequence": "99999"}, "notices": {"notice_id": "'no'"}, "rejects": {"kafka_offset": "99999"},
    "day_closes": {"business_day": "date '2026-11-30'"}, "day_cutoffs": {"business_day": "date '2026-10-01'"},
    "shard_logs": {"topic": "'another'"}, "outbox": {"sequence": "99999"}}


@pytest.mark.parametrize("table", COMPARED)
def test_a_row_too_many_is_found(world, table):
    names = [name for name, _ in columns_of(world, table)]
    copied = ", ".join(EXTRA[table].get(name, name) for name in names)
    with tampered(world, table, f"insert into settled.{table} ({', '.join(names)}) select {copied} from settled.{table}"
                                f" where ctid = (select max(ctid) from settled.{table})"):
        found = findings(world, status=1)
    assert any(d["where"] == table and d["folded"] is None for d in found["differences"]), found["differences"][:5]


@pytest.mark.parametrize("table", sorted({*KEYS, "outbox", "decisions", "shards"} - {"settlement_lines", "decisions"}))
def test_rows_of_no_shard_are_found(world, table):
    shard = "partition" if table == "rejects" else "shard"
    names = [name for name, _ in columns_of(world, table)]
    changed = {"account_id": "'nobody'", shard: "77"}
    copied = ", ".join(changed.get(name, name) for name in names)
    with tampered(world, table, f"insert into settled.{table} ({', '.join(names)}) select {copied} from settled.{table}"
                                f" where ctid = (select max(ctid) from settled.{table})"):
        found = findings(world, status=1)
    assert [(d["where"], d["key"]) for d in found["differences"]] == [(table, "77")]


def test_a_shard_without_its_row_is_found(world):
    """The other rows and messages of the shard are still there."""
    with tampered(world, "shards", "update settled.shards set open_day = null, sequence = 0, relayed = 0 where shard = 0"):
        found = findings(world, status=1)
        places = {d["where"].split("/")[0] for d in found["differences"]}
        assert {"accounts", "settlements", "outbox"} < places
        beyond = [d for d in found["differences"] if d.get("kind") == "foreign"]
        published = sum(each["foreign"] for each in found["topics"] if each["shard"] == 0)
        assert len(beyond) == published > 0
        assert all("PostgreSQL's last row is 0: " in d["detail"] for d in beyond)
        account = world.sql("select account_id from settled.accounts where shard = 0 limit 1")[0][0]
        one = findings(world, "--account", account, status=1)["differences"]
        assert {(each["account_id"], each["kind"]) for each in one} == {(account, "foreign")}


def test_what_halts_is_told_whatever_account_is_asked_for(world):
    with tampered(world, "day_cutoffs", "delete from settled.day_cutoffs where business_day = '2026-11-02'"):
        found = findings(world, "--account", "acme", status=1)
    assert [(d["where"], d["day"]) for d in found["differences"]] == [("day_cutoffs", "2026-11-02")]


def test_a_difference_names_account_day_field_and_both_values(world):
    row = world.sql("select account_id, business_day::text, line_no, amount from settled.settlement_lines"
                    " where charge = 'POSTPAID' order by account_id, business_day, line_no limit 1")[0]
    account, day, line, amount = row
    with tampered(world, "settlement_lines", "update settled.settlement_lines set amount = amount + 1 where account_id ="
                                             f" '{account}' and business_day = '{day}' and line_no = {line}"):
        found = findings(world, status=1)
        assert found["differences"] == [{
            "day": day, "account_id": account, "where": "settlement_lines", "key": f"{account}/{day}/{line}",
            "field": "amount", "recorded": str(amount + 1), "folded": str(amount)}]
        done = audit(world)
        assert done.returncode == 1
        lines = done.stdout.splitlines()
        assert lines[:3] == ["DIFFERENCES: 1 of 1 kinds, possible causes before their effects", "",
                             f"  settlement_lines, amount: 1, {day} to {day}"]
        assert lines[3] == ("    " f"{day}  {account}  settlement_lines {account}/{day}/{line}  amount:"
                                               f" recorded {amount + 1} fen, computed again {amount} fen")
        assert lines[-1] == "different"


def test_many_differences_are_counted_and_a_few_are_shown(world):
    """The table shows three of each kind; --all a line for each; a kind that may be the cause comes first."""
    with tampered(world, "settlement_lines", "update settled.settlement_lines set amount = amount + 1"), \
            tampered(world, "credits", "update settled.credits set amount = amount + 1 where account_id = 'acme'"):
        found = findings(world, status=1)
        table, all_of_them = audit(world), audit(world, "--all")
    count = found["difference_count"]
    lines = sum(each["where"] == "settlement_lines" for each in found["differences"])
    assert lines > 50 and found["causes"] == []
    told = table.stdout.splitlines()
    heads = [line for line in told if line.startswith("  ") and ": " in line and line[2] != " " and line[2].isalpha()]
    assert heads[0].startswith("  credits, amount: ") and heads[1].startswith("  settlement_lines, amount: "), heads
    assert told[0].startswith(f"DIFFERENCES: {count:,} of ")
    assert f"    and {lines - 3:,} more; --all prints each" in told
    assert sum("  settlement_lines " in line for line in told if line.startswith("    2")) == 3
    assert sum("  settlement_lines " in line for line in all_of_them.stdout.splitlines() if line[0:1] == "2") == lines
    assert all_of_them.stdout.splitlines()[-1] == "different" and (table.returncode, all_of_them.returncode) == (1, 1)
    assert "more; --all" not in all_of_them.stdout


def test_another_price_book_is_the_cause_and_not_the_inputs(world):
    """Somebody put other prices into the row by which the days were settled, under the digest of the new text."""
    old, text = world.sql("select sha256, file from settled.price_books")[0]
    changed = re.sub(rb"unit_price: (\d+)", lambda found: b"unit_price: %d" % (int(found[1]) + 1), bytes(text))
    new = hashlib.sha256(changed).hexdigest()
    assert changed != bytes(text)
    update = f"set file = decode('{changed.hex()}', 'hex'), sha256 = '{new}'"
    with tampered(world, "price_books", f"update settled.price_books {update}"), \
            tampered(world, "parameters", f"update settled.parameters set book_sha256 = '{new}'"):
        found = findings(world, status=1)
        account = world.sql("select account_id from settled.settlement_lines where unit_price > 0 limit 1")[0][0]
        one = findings(world, "--account", account, status=1)
        told = audit(world).stdout.splitlines()
    for each in (found, one):
        cause, = each["causes"]
        assert cause["kind"] == "other_book"
        assert cause["text"].startswith(f"2026-11-01 to 2026-11-05 settled by price book {old} (not recorded any more), but for"
                                        f" that time {new} is recorded now (")
        assert "by postgres)" in cause["text"] and "was changed (or settled.day_closes), not the inputs" in cause["text"]
    assert told[0] == f"CAUSE: {found['causes'][0]['text']}"
    assert any(re.search(r"  unit_price: recorded \d+ fen, computed again \d+ fen$", line) for line in told)
    assert 4 * len(told) < found["difference_count"]


def test_what_is_told_is_text_of_one_line(world):
    with tampered(world, "outbox", "update settled.outbox set key = '\\x1b5b324aff'::bytea where shard = 0 and sequence = 3"):
        found = findings(world, status=1)
        lines = audit(world, "--all").stdout.splitlines()
    assert ("[2J.", ) == tuple({d["recorded"][1:] for d in found["differences"] if d["field"] == "key"})
    assert sum("  outbox " in line for line in lines) == found["difference_count"]
    assert "\x1b" not in "".join(lines)


# --- messages that differ ---


CHANGED = {"settlements": "amount", "status": "balance", "day_closes": "late", "rejects": "detail",
           "notices": "threshold"}


def rewritten(d, key, value, change):
    schema = d.schemas[OUTPUTS[key]]
    body = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
    change(body)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, body)
    return value[:5] + out.getvalue()


def identity(headers):
    return dict(headers)["ce_id"].decode()


@pytest.fixture(scope="module")
def shard(world):
    """A shard with at least two messages in each output."""
    return world.sql("select shard from settled.status_changes group by 1 having count(*) > 1 limit 1")[0][0]


@pytest.mark.parametrize("key", CHANGED)
def test_a_copied_topic_is_equal(world, key):
    with copied(world, key, lambda partition, messages: messages) as (_, config):
        findings(world, status=0, config=config)


@pytest.mark.parametrize("key", CHANGED)
def test_a_changed_message_is_found(world, shard, key):
    field, about = CHANGED[key], {}

    def change(partition, messages):
        if partition == shard:
            record_key, value, headers = messages[0]

            def another(body):
                about["folded"] = str(body[field])
                body[field] = body[field] + (1 if isinstance(body[field], int) else "!")
                about["recorded"] = str(body[field])

            value = rewritten(world, key, value, another)
            about["key"] = identity(headers)
            headers = [(name, b"text/plain" if name == "content-type" else text) for name, text in headers]
            messages[0] = (b"stranger", value[:1] + (77).to_bytes(4, "big") + value[5:], headers + [("more", b"")])
        return messages

    with copied(world, key, change) as (name, config):
        found = findings(world, status=1, config=config)
    assert all(d["where"] == f"{name}/{shard}/0" and d["key"] == about["key"] for d in found["differences"])
    told = {d["field"]: d for d in found["differences"]}
    assert set(told) == {field, "key", "schema id", "content-type", "headers"}
    assert (told[field]["recorded"], told[field]["folded"]) == (about["recorded"], about["folded"])
    assert told["schema id"]["recorded"] == "77" and told["headers"]["recorded"] == "7"
    assert told["key"]["recorded"] == "stranger" and told["content-type"]["recorded"] == "text/plain"
    assert told[field]["day"] is not None
    assert (told[field]["account_id"] is None) == (key == "day_closes")


# --- rows that are lost, repeated, out of order; records that are foreign ---


KINDS = ("lost", "repeated", "out_of_order", "foreign")
MEANINGS = {"lost": "recorded in PostgreSQL or given by the inputs, and not in the topic, though its turn to be published is"
                    " over: subscribers never got it",
            "repeated": "the row stands in its topic more than once: a subscriber that does not identify records by ce_id",
            "out_of_order": "the row stands on the wrong side of another row of its topic: a subscriber that keeps",
            "foreign": "settled did not write this record there: another program writes to the topic, or the topic or the"}


def sequence_of(d, key, value):
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), d.schemas[OUTPUTS[key]], None)["sequence"]


def offsets_of(d, key, shard):
    """Of the rows of a topic; the ends of transactions have offsets as well."""
    return [message.offset() for message in records_of(d, key, shard)]


def named(d, key, shard, message):
    """What an audit must say of a record, wherever its place is."""
    record_key, value, headers = message
    return {"account_id": None if key == "day_closes" else record_key.decode(), "key": identity(headers), "shard": shard,
            "partition": shard, "sequence": sequence_of(d, key, value)}


class Told:
    """What an audit says of a copied topic, in JSON and as text."""

    def __init__(self, d, key, change, *arguments, status=1):
        with copied(d, key, change) as (self.topic, config):
            self.json = findings(d, *arguments, status=status, config=config)
            done = audit(d, *arguments, config=config)
        assert done.returncode == status, done.stdout + done.stderr
        self.lines = done.stdout.splitlines()
        self.anomalies = [each for each in self.json["differences"] if "kind" in each]
        self.others = [each for each in self.json["differences"] if "kind" not in each]

    def check(self, shard, **counts):
        """Checks the counts of this topic and shard, that there are none elsewhere, and the line of text about it."""
        for topic in self.json["topics"]:
            wrong = counts if (topic["topic"], topic["shard"]) == (self.topic, shard) else {}
            assert {kind: topic[kind] for kind in KINDS} == {kind: wrong.get(kind, 0) for kind in KINDS}, topic
            assert topic["complete"] is True and topic["pending"] == 0
        assert self.json["difference_count"] == len(self.json["differences"])
        line = next(line for line in self.lines if line.startswith(f"{self.topic}/{shard}: "))
        for kind in KINDS:
            assert f", {counts.get(kind, 0)} {kind.replace('_', ' ')}" in line
        assert re.search("; not as it must be" if counts else "; each row once, in order", line)
        assert self.lines[-1] == ("different" if counts else "equal")

    def check_one(self, kind, expected, offset, detail):
        """Checks that this anomaly was reported, in JSON and as a line; returns it."""
        wanted = {**expected, "kind": kind, "topic": self.topic, "offset": offset}
        found = [each for each in self.anomalies if {name: each[name] for name in wanted} == wanted]
        assert len(found) == 1, self.anomalies
        assert detail in found[0]["detail"]
        where = f"{self.topic}/{expected['partition']}" + ("" if offset is None else f"@{offset}")
        assert found[0]["where"] == where
        account = f"account {expected['account_id']}" if expected["account_id"] else "of no account"
        start = f"  {where}: row {expected['sequence']} of shard {expected['shard']}, {account}, id {expected['key']}"
        lines = [line for line in self.lines if line.startswith(start)]
        assert any(line.endswith(found[0]["detail"]) for line in lines), (start, self.lines)
        title = {"lost": "LOST: ", "repeated": "REPEATED: ", "out_of_order": "OUT OF ORDER: ", "foreign": "FOREIGN: "}[kind]
        assert sum(line.startswith(title) for line in self.lines) == 1
        assert any(MEANINGS[kind] in line for line in self.lines if line.startswith(title))
        return found[0]


def of_shard(shard, change):
    return lambda partition, messages: change(messages) if partition == shard else messages


def test_each_topic_is_said_to_be_whole(world):
    found = findings(world, status=0)
    lines = audit(world).stdout.splitlines()
    for key in OUTPUTS:
        for shard in range(world.partitions):
            rows = len(messages_of(world, key, shard))
            assert {"topic": world.topics[key], "shard": shard, "complete": True, "from": 0,
                    "to": max(offsets_of(world, key, shard), default=-1) + 1, "published": rows, "pending": 0,
                    **dict.fromkeys(KINDS, 0)} in found["topics"]
            assert (f"{world.topics[key]}/{shard}: {rows} published, 0 pending, 0 lost, 0 repeated, 0 out of order,"
                    " 0 foreign; each row once, in order") in lines
    assert len(found["topics"]) == len(OUTPUTS) * world.partitions


@pytest.mark.parametrize("key", CHANGED)
def test_a_lost_row_in_the_middle(world, shard, key):
    """A later row of its topic stands behind it, so it is lost, whatever PostgreSQL believes to be published."""
    messages = messages_of(world, key, shard)
    with tampered(world, "shards", "update settled.shards set relayed = 0"):
        told = Told(world, key, of_shard(shard, lambda m: m[:1] + m[2:]))
    last = sequence_of(world, key, messages[-1][1])
    told.check(shard, lost=1)
    one = told.check_one("lost", named(world, key, shard, messages[1]), None,
                         f"a later row, {last}, stands at {told.topic}/{shard}@{len(messages) - 2}; the outbox still has it")
    assert one["day"] is not None and told.others == []
    assert "subscribers never got it" in next(line for line in told.lines if line.startswith("LOST: 1, "))


@pytest.mark.parametrize("key", CHANGED)
def test_a_lost_tail(world, shard, key):
    """Nothing stands behind it in its topic: PostgreSQL counts it as published, or another topic goes beyond it."""
    messages = messages_of(world, key, shard)
    mark = world.sql("select relayed from settled.shards where shard = %s", shard)[0][0]
    told = Told(world, key, of_shard(shard, lambda m: m[:-2]))
    told.check(shard, lost=2)
    for message in messages[-2:]:
        one = named(world, key, shard, message)
        beyond = "another topic has a later row, " if one["sequence"] < mark else f"counts rows up to {mark} as published"
        told.check_one("lost", one, None, beyond)


@pytest.mark.parametrize("key", CHANGED)
def test_a_lost_topic(world, shard, key):
    messages = messages_of(world, key, shard)
    told = Told(world, key, of_shard(shard, lambda m: []))
    told.check(shard, lost=len(messages))
    shown = [line for line in told.lines if line.startswith(f"  {told.topic}/{shard}: row ")]
    assert len(shown) == min(10, len(messages))
    if len(messages) > 10:
        assert f"  and {len(messages) - 10} more; --all names each" in told.lines
    assert [each["sequence"] for each in told.anomalies] == [sequence_of(world, key, m[1]) for m in messages]


def test_a_tail_is_lost_where_another_topic_says_so_and_pending_where_nothing_does(world, shard):
    """The relay is killed between its commit and its mark: rows below the highest one in any topic were published."""
    messages = messages_of(world, "settlements", shard)
    sequences = [sequence_of(world, "settlements", m[1]) for m in messages]
    others = max(sequence_of(world, key, messages_of(world, key, shard)[-1][1]) for key in CHANGED if key != "settlements")
    with tampered(world, "shards", "update settled.shards set relayed = 0"):
        told = Told(world, "settlements", of_shard(shard, lambda m: []))
    told.check(shard, lost=len(sequences))
    assert sequences[-1] < others
    assert all(f"another topic has a later row, {others}; " in each["detail"] for each in told.anomalies)
    newest = world.sql("select sequence from settled.shards where shard = %s", shard)[0][0]
    key = next(key for key in CHANGED if sequence_of(world, key, messages_of(world, key, shard)[-1][1]) == newest)
    with tampered(world, "shards", "update settled.shards set relayed = 0"), \
            copied(world, key, of_shard(shard, lambda m: m[:-1])) as (name, config):
        found = findings(world, status=0, config=config)
        lines = audit(world, config=config).stdout.splitlines()
    assert found["pending"] == 1
    assert [each["pending"] for each in found["topics"] if (each["topic"], each["shard"]) == (name, shard)] == [1]
    assert any(line.startswith(f"{name}/{shard}: ") and ", 1 pending, 0 lost, " in line for line in lines)


def test_a_row_that_the_outbox_no_longer_has_is_lost_as_well(world, shard):
    """Its table and the inputs still give it, however long ago it was published."""
    messages = messages_of(world, "settlements", shard)
    with tampered(world, "outbox", "delete from settled.outbox o where sequence <"
                                   " (select max(sequence) from settled.outbox where shard = o.shard)"):
        told = Told(world, "settlements", of_shard(shard, lambda m: m[1:]))
    told.check(shard, lost=1)
    told.check_one("lost", named(world, "settlements", shard, messages[0]), None, "; the outbox no longer has it")


def test_a_row_that_nothing_has_but_the_inputs_is_lost(world, shard):
    messages = messages_of(world, "settlements", shard)
    one = named(world, "settlements", shard, messages[0])
    with tampered(world, "outbox", f"delete from settled.outbox where shard = {shard} and sequence <= {one['sequence']}"), \
            tampered(world, "settlements", f"delete from settled.settlements where shard = {shard}"
                                               f" and sequence = {one['sequence']}"), \
            copied(world, "settlements", of_shard(shard, lambda m: m[1:])) as (_, config):
        found = findings(world, status=1, config=config)
    lost = [each for each in found["differences"] if each.get("kind") == "lost"]
    assert [(each["key"], each["sequence"], each["detail"]) for each in lost] == [
        (one["key"], None, "the inputs give it; neither the topic nor PostgreSQL has it")]
    row = [each for each in found["differences"] if each["where"] == "settlements"]
    assert [(each["recorded"], each["folded"]) for each in row] == [(None, "a row")]


@pytest.mark.parametrize("key", CHANGED)
@pytest.mark.parametrize("far", [False, True])
def test_a_repeated_row(world, shard, key, far):
    """It is repeated at once, or days later at the end of its topic."""
    messages = messages_of(world, key, shard)
    told = Told(world, key, of_shard(shard, lambda m: m + m[:1] if far else m[:1] + m))
    told.check(shard, repeated=1)
    told.check_one("repeated", named(world, key, shard, messages[0]), len(messages) if far else 1,
                   f"the row stands at {told.topic}/{shard}@0" + (", or somewhat behind it, already" if far else " already"))
    assert told.others == []
    assert "more than once" in next(line for line in told.lines if line.startswith("REPEATED: 1, "))


def test_a_topic_that_was_restored_twice(world, shard):
    messages = messages_of(world, "settlements", shard)
    told = Told(world, "settlements", of_shard(shard, lambda m: m + m))
    told.check(shard, repeated=len(messages))
    assert told.json["messages"] == world.sql("select sum(sequence)::int8 from settled.shards")[0][0]


@pytest.mark.parametrize("key", CHANGED)
@pytest.mark.parametrize("far", [False, True])
def test_a_row_out_of_order(world, shard, key, far):
    """It changed places with the next row, or stands days later at the end of its topic; nothing is lost then."""
    messages = messages_of(world, key, shard)
    told = Told(world, key, of_shard(shard, lambda m: m[1:] + m[:1] if far else [m[1], m[0], *m[2:]]))
    told.check(shard, out_of_order=1)
    one = told.anomalies[0]
    first, second, last = (named(world, key, shard, messages[i]) for i in (0, 1, -1))
    if far:
        told.check_one("out_of_order", first, len(messages) - 1,
                       f"it stands behind row {last['sequence']}, which is at {told.topic}/{shard}@{len(messages) - 2}")
    elif one["offset"] == 1:
        told.check_one("out_of_order", first, 1,
                       f"it stands behind row {second['sequence']}, which is at {told.topic}/{shard}@0")
    else:  # of two days: the later one came too early
        told.check_one("out_of_order", second, 0,
                       f"it stands before row {first['sequence']}, which is at {told.topic}/{shard}@1")
    assert told.others == []


# --- some days only ---


def of_day(d, key, shard, day):
    """The places in a topic of the rows that this day gave, and of those of the day before and the day after it."""
    closes = dict(d.sql("select business_day::text, sequence from settled.day_closes where shard = %s", shard))
    days = [str(datetime.date.fromisoformat(day) + datetime.timedelta(days=count)) for count in (-2, -1, 0, 1)]
    before, begin, end, after = (closes.get(each, 0) for each in days)
    numbers = [sequence_of(d, key, message[1]) for message in messages_of(d, key, shard)]
    place = [sum(number <= limit for number in numbers) for limit in (before, begin, end, after or max(numbers, default=0))]
    return range(place[1], place[2]), range(place[0], place[3])


@pytest.mark.parametrize("day", ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05"])
def test_of_some_days_only_their_messages_are_read(world, day):
    """And those of the day before and the day after, and the row before these, where there is one."""
    told = findings(world, "--from", day, "--to", day, status=0)
    lines = audit(world, "--from", day, "--to", day).stdout.splitlines()
    whole = {(each["topic"], each["shard"]): each for each in findings(world, status=0)["topics"]}
    for key in OUTPUTS:
        for shard in range(world.partitions):
            found = next(each for each in told["topics"] if (each["topic"], each["shard"]) == (world.topics[key], shard))
            _, near = of_day(world, key, shard, day)
            offsets = offsets_of(world, key, shard)
            first = max(near.start - 1, 0)
            assert found["published"] == near.stop - first and found["complete"]
            assert found["from"] == (offsets[first] if near.start > 0 else 0)
            assert found["to"] == (offsets[near.stop - 1] + 1 if near.stop > 0 else 0)
            part = found["from"] > 0 or near.stop < len(offsets)
            assert part or found == whole[found["topic"], shard]
            said = next(line for line in lines if line.startswith(f"{found['topic']}/{shard}: "))
            assert said.endswith(f"each row once, in order (read from offset {found['from']} to {found['to'] - 1})"
                                 if part else "each row once, in order")


SOME_DAY = "2026-11-03"


def moved(messages, place, to):
    left = messages[:place] + messages[place + 1:]
    return left[:to] + messages[place:place + 1] + left[to:]


@pytest.mark.parametrize("key", ["settlements", "day_closes"])
@pytest.mark.parametrize("kind, change, detail", [
    ("lost", lambda m, day: m[:day[0]] + m[day[0] + 1:], "a later row, "),
    ("repeated", lambda m, day: m[:day[-1] + 1] + m[day[0]:], " already"),
    ("out_of_order", lambda m, day: moved(m, day[0], day[-1] + 1), "it stands be"),
    ("out_of_order", lambda m, day: moved(m, day[0], len(m)), "it stands be"),
    ("foreign", lambda m, day: [*m[:day[0]], (m[0][0], b"not one of ours", m[0][2]), *m[day[0]:]], "it cannot be read")])
def test_what_is_wrong_within_the_days_is_found(world, shard, key, kind, change, detail):
    day, _ = of_day(world, key, shard, SOME_DAY)
    told = Told(world, key, of_shard(shard, lambda m: change(m, day)), "--from", SOME_DAY, "--to", SOME_DAY)
    assert {each["kind"] for each in told.anomalies} == {kind} and told.others == []
    assert all(detail in each["detail"] and each["topic"] == told.topic for each in told.anomalies)
    if kind in ("lost", "foreign"):
        assert len(told.anomalies) == 1


@pytest.mark.parametrize("key", OUTPUTS)
@pytest.mark.parametrize("change", [
    lambda m, day: m[day.stop:] + m[:day.stop],  # restored in another order
    lambda m, day: m + m,  # restored twice
    lambda m, day: m + m[:1] * (8 * len(m)),  # the end is full of copies of the first row
    lambda m, day: m[day.start:day.stop] + m[:day.start] + m[day.stop:]])
def test_rows_in_disorder_are_found_wherever_the_search_begins(world, shard, key, change):
    """The search for the first row to be read is misled: nothing is called lost, and contents are compared."""
    day, _ = of_day(world, key, shard, SOME_DAY)
    with copied(world, key, of_shard(shard, lambda m: change(m, day))) as (_, config):
        done = audit(world, "--format", "json", "--from", SOME_DAY, "--to", SOME_DAY, config=config)
    told = json.loads(done.stdout)
    assert done.returncode in (0, 1), done.stderr
    assert all(each["kind"] in ("out_of_order", "repeated") for each in told["differences"])
    found = next(each for each in told["topics"] if each["topic"] not in world.topics.values() and each["shard"] == shard)
    assert found["lost"] == found["foreign"] == 0 and found["published"] >= len(day)


def test_rows_that_stand_nowhere_are_lost_wherever_the_search_begins(world, shard):
    """They are looked for behind the days and in front of them."""
    day, _ = of_day(world, "settlements", shard, SOME_DAY)
    told = Told(world, "settlements", of_shard(shard, lambda m: m[:day[0]] + m[day[0] + 1:] + m[:1] * (8 * len(m))),
                "--from", SOME_DAY, "--to", SOME_DAY)
    assert [each["sequence"] for each in told.anomalies if each["kind"] == "lost"] == [
        sequence_of(world, "settlements", messages_of(world, "settlements", shard)[day[0]][1])]


def test_a_message_in_front_of_what_is_read_is_compared(world, shard):
    day, _ = of_day(world, "settlements", shard, SOME_DAY)

    def change(messages):
        key, value, headers = messages[day[0]]
        wrong = key, rewritten(world, "settlements", value, lambda body: body.update(amount=body["amount"] + 1)), headers
        return [wrong, *messages[:day[0]], *messages[day[0] + 1:]]

    told = Told(world, "settlements", of_shard(shard, change), "--from", SOME_DAY, "--to", SOME_DAY)
    assert told.anomalies == [] and [each["field"] for each in told.others] == ["amount"]


def test_a_row_out_of_order_is_compared_all_the_same(world, shard):
    messages = messages_of(world, "settlements", shard)
    changed = (messages[0][0], rewritten(world, "settlements", messages[0][1],
                                         lambda body: body.update(amount=body["amount"] + 1)), messages[0][2])
    told = Told(world, "settlements", of_shard(shard, lambda m: m[1:] + [changed]))
    told.check(shard, out_of_order=1)
    assert [(each["field"], each["key"], each["where"]) for each in told.others] == [
        ("amount", identity(messages[0][2]), f"{told.topic}/{shard}/{len(messages) - 1}")]
    assert any(line.endswith(f"amount: published {told.others[0]['recorded']} fen, computed again {told.others[0]['folded']} fen")
               for line in told.lines)


def test_rows_in_another_order_are_all_found(world, shard):
    """Whole days stand before others: each row is there, and none is called lost or foreign."""
    for key in CHANGED:
        count = len(messages_of(world, key, shard))
        told = Told(world, key, of_shard(shard, lambda m: m[count // 2:] + m[:count // 2]))
        assert {each["kind"] for each in told.anomalies} == {"out_of_order"} and told.others == []
        told.check(shard, out_of_order=count // 2)


def called(name, headers):
    return [(header, name if header == "ce_id" else value) for header, value in headers]


def foreign_records(d, key, shard, messages):
    """Records that settled did not write: each with the shard and number that it claims, and what the audit must say of
    it."""
    record_key, value, headers = messages[0]
    own, newest = sequence_of(d, key, value), d.sql("select sequence from settled.shards where shard = %s", shard)[0][0]
    strange = called(b"stranger", headers)

    def numbered(number, headers):
        return record_key, rewritten(d, key, value, lambda body: body.update(sequence=number)), headers

    return [
        ((record_key, b"not one of ours", headers), None, None, "it cannot be read: it does not begin with a zero byte and the 4-byte id"),
        ((None, None, None), None, None, "it cannot be read: it does not begin with a zero byte and the 4-byte id"),
        ((record_key, value[:-1], headers), None, None, "it cannot be read: "),
        (numbered(0, strange), None, None, "it cannot be read: "),
        ((record_key, rewritten(d, key, value, lambda body: body.update(shard=5)), headers), 5, own,
         f"it says that it is of shard 5, and stands in the partition of shard {shard}"),
        (numbered(newest + 9, strange), shard, newest + 9, f"PostgreSQL's last row is {newest}: settled did not write it"),
        (numbered(newest + 9, headers), shard, newest + 9, f"it has the id of row {own}, which stands at "),
        (numbered(own, strange), shard, own, f"row {own} is {identity(headers)} of "),
    ]


@pytest.mark.parametrize("key", CHANGED)
def test_foreign_records(world, shard, key):
    """They cannot be read, claim another shard, or have a number of another row or of no row."""
    messages = messages_of(world, key, shard)
    records = foreign_records(world, key, shard, messages)
    change = of_shard(shard, lambda m: [m[0], *(record for record, *_ in records), *m[1:]])
    told = Told(world, key, change)
    told.check(shard, foreign=len(records))
    assert told.others == [] and [each["offset"] for each in told.anomalies] == list(range(1, len(records) + 1))
    for one, (record, of, sequence, detail) in zip(told.anomalies, records):
        account = None if key == "day_closes" or record[0] is None else record[0].decode()
        assert (one["kind"], one["shard"], one["sequence"], one["account_id"]) == ("foreign", of, sequence, account)
        assert one["key"] == (identity(record[2]) if record[2] else None)
        assert detail in one["detail"]
        line = next(line for line in told.lines if line.startswith(f"  {one['where']}: "))
        assert one["where"] == f"{told.topic}/{shard}@{one['offset']}" and line.endswith(f": {one['detail']}")
        assert (f"account {account}, " if account else "of no account, ") in line
    title = next(line for line in told.lines if line.startswith(f"FOREIGN: {len(records)}, "))
    assert "settled did not write this record there" in title
    # The whole topic is read, whichever days are asked for.
    Told(world, key, change, "--to", LAST).check(shard, foreign=len(records))


@pytest.mark.parametrize("key", CHANGED)
def test_a_row_of_another_topic_is_foreign(world, shard, key):
    """A record in this topic has the number and the id of a row of the same day that belongs to another topic."""
    messages = messages_of(world, key, shard)
    other = next(other for other in CHANGED if other != key)
    stranger = messages_of(world, other, shard)[0]
    number = sequence_of(world, other, stranger[1])
    record = (messages[0][0], rewritten(world, key, messages[0][1], lambda body: body.update(sequence=number)), stranger[2])
    for place in (0, len(messages)):
        told = Told(world, key, of_shard(shard, lambda m: m[:place] + [record] + m[place:]))
        told.check(shard, foreign=1)
        one, = told.anomalies
        assert (one["sequence"], one["key"], one["offset"]) == (number, identity(stranger[2]), place)
        assert one["detail"] == (f"row {number} is {identity(stranger[2])} of {world.topics[other]}" if place == 0 else
                                 "the row with this number is another one")


def test_a_foreign_record_hides_no_loss_and_spoils_no_order(world, shard):
    """A number far ahead, twice, so that rows of many days stand behind it."""
    messages = messages_of(world, "settlements", shard)
    ahead = messages_of(world, "day_closes", shard)[-1]
    number = sequence_of(world, "day_closes", ahead[1])
    record = (messages[0][0], rewritten(world, "settlements", messages[0][1], lambda body: body.update(sequence=number)),
              called(b"stranger", messages[0][2]))
    told = Told(world, "settlements", of_shard(shard, lambda m: [m[0], record, record, *m[1:-1]]))
    told.check(shard, foreign=2, lost=1)
    told.check_one("lost", named(world, "settlements", shard, messages[-1]), None, "the outbox still has it")
    assert told.others == []


def test_another_number_of_a_row_is_told_as_such(world, shard):
    """Neither lost nor foreign: it is there, with another number than its row in the table has."""
    with tampered(world, "outbox", f"delete from settled.outbox where shard = {shard} and sequence <"
                                   f" (select max(sequence) from settled.outbox where shard = {shard})"), \
            tampered(world, "settlements", "update settled.settlements set sequence = 99999 where ctid ="
                                               f" (select min(ctid) from settled.settlements where shard = {shard})"):
        found = findings(world, status=1)
        lines = audit(world).stdout.splitlines()
    assert [each for each in found["differences"] if "kind" in each] == []
    told = [each for each in found["differences"] if each["field"] == "sequence" and each["where"] != "outbox"]
    assert [each["folded"] for each in told] == ["99999"]
    assert any(line.endswith(f"sequence: published {told[0]['recorded']}, its row in PostgreSQL has 99999") for line in lines)


def test_what_concerns_another_account_is_not_told(world, shard):
    messages = messages_of(world, "settlements", shard)
    mine = messages[0][0].decode()
    other = next(m[0].decode() for m in messages if m[0] != messages[0][0])
    told = Told(world, "settlements", of_shard(shard, lambda m: m[1:]), "--account", mine)
    told.check(shard, lost=1)
    told.check_one("lost", named(world, "settlements", shard, messages[0]), None, "a later row, ")
    Told(world, "settlements", of_shard(shard, lambda m: m[1:]), "--account", other, status=0).check(shard)


def test_days_beside_those_that_are_asked_for_keep_their_order(world, shard):
    """Their rows are not compared, but no row may stand twice or out of its turn."""
    messages = messages_of(world, "settlements", shard)
    _, near = of_day(world, "settlements", shard, SOME_DAY)
    i = near.start
    told = Told(world, "settlements", of_shard(shard, lambda m: [*m[:i], m[i], m[i], m[i + 2], m[i + 1], *m[i + 3:]]),
                "--from", SOME_DAY)
    told.check(shard, repeated=1, out_of_order=1)
    told.check_one("repeated", named(world, "settlements", shard, messages[i]), i + 1, ", or somewhat behind it, already")
    told.check_one("out_of_order", named(world, "settlements", shard, messages[i + 1]), i + 3, "it stands behind row ")


def test_what_stands_far_from_the_days_is_left_to_an_audit_of_all_days(world, shard):
    change = of_shard(shard, lambda m: [m[0], m[0], m[2], m[1], (m[0][0], b"not one of ours", m[0][2]), *m[3:]])
    assert Told(world, "settlements", change, "--from", SOME_DAY, status=0).anomalies == []
    Told(world, "settlements", change).check(shard, repeated=1, out_of_order=1, foreign=1)


# --- could not look ---


@pytest.fixture
def small(deploy):
    d = deploy(partitions=1, workers=1, late_days=1)
    for day in (FIRST, "2026-11-02"):
        for number in range(5):
            d.call(f"account-{number}", f"call-{day}-{number}", at(day, "10:00:00"), leads=number)
    d.flush()
    d.drain("2026-11-09T00:06:00+08:00")
    findings(d, status=0)
    return d


def cut_off(d, key, offset):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    for each in admin.delete_records([confluent_kafka.TopicPartition(d.topics[key], 0, offset)]).values():
        each.result(30)


def await_end(d, key, end):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": uuid.uuid4().hex})
    deadline = time.monotonic() + 30
    while consumer.get_watermark_offsets(confluent_kafka.TopicPartition(d.topics[key], 0), 10)[1] < end:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    consumer.close()


def refused(d, *arguments, words, config=None):
    done = audit(d, "--format", "json", *arguments, config=config)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert json.loads(done.stdout)["result"] == "incomplete"
    return done


def test_records_that_are_not_kept_any_more(small):
    """The audit names the first day whose records are kept, and that day can be compared."""
    cut_off(small, "calls", 2)
    done = refused(small, words=f"{small.topics['calls']}/0 begins at offset 2 now, and is needed from offset 0 on:"
                                " its older records have expired or were deleted; begin with --from ")
    day = done.stderr.strip().split()[-1]
    assert FIRST < day < "2026-11-09"
    findings(small, "--from", day, status=0)
    cut_off(small, "calls", -1)
    assert audit(small).returncode == 2


def test_records_that_are_gone_from_the_middle_are_the_cause(small):
    """As compaction leaves a topic: what is recorded is right, and nobody changed it."""
    messages = messages_of(small, "calls", 0)
    small.delete_topics(["calls"])
    small._make_topics(["calls"])
    producer = confluent_kafka.Producer({"bootstrap.servers": small.brokers, "transactional.id": f"{small.name}-gap"})
    producer.init_transactions(30)
    stamps = [at(FIRST, "10:00:00") + 1000] * 5 + [at("2026-11-02", "10:00:00") + 1000] * 5
    for offset, (key, value, headers) in enumerate(messages):
        if offset == 2:  # a record that was aborted, and the mark of that, take two offsets and show nothing
            producer.begin_transaction()
            producer.produce(small.topics["calls"], b"", b"", 0)
            producer.flush(30)
            producer.abort_transaction(30)
            await_end(small, "calls", 4)  # the coordinator writes the mark by itself, somewhat later
        if offset not in (2, 3):
            small.producer.produce(small.topics["calls"], value, key, 0, headers=headers, timestamp=stamps[offset])
        small.producer.flush(30)
    alter_topic(small.brokers, small.topics["calls"], cleanup_policy="compact")
    found = findings(small, status=1)
    gone, compacted = sorted(found["causes"], key=lambda cause: cause["kind"], reverse=True)
    assert (gone["kind"], compacted["kind"]) == ("records_gone", "compacted")
    assert gone["text"].startswith(f"{small.topics['calls']}/0: 2 records that were judged on {FIRST} are not in the topic any"
                                   " more (its cleanup.policy is compact): it was compacted, made again, or lost data.")
    assert compacted["text"].startswith(f"{small.topics['calls']} has cleanup.policy compact: compaction takes away records")
    told = audit(small).stdout
    assert told.index("CAUSE: ") == 0 and told.index("CAUSE: ") < told.index("DIFFERENCES: ")


def test_messages_that_are_not_kept_any_more(small):
    cut_off(small, "settlements", 3)
    refused(small, words="begins at offset 3 now, behind messages of 2026-11-01: they have expired or were deleted")
    findings(small, "--from", "2026-11-02", status=0)
    cut_off(small, "settlements", -1)
    refused(small, "--from", "2026-11-02", words="behind messages of 2026-11-02")


def test_what_cannot_be_reached_is_no_difference(world):
    for sections, words in (({"kafka": {"brokers": "127.0.0.1:1"}}, "check kafka.brokers"),
                            ({"postgres": {"dsn": "postgresql://nobody@127.0.0.1:1/none"}}, "127.0.0.1:1/none"),
                            ({"topics": {"settlements": "gone"}}, "topic gone does not exist"),
                            ({"schemas": {"directory": str(world.folder)}}, "does not hold the schema of Settlement")):
        refused(world, words=words, config=world.write_config("broken.yaml", **sections))


def test_topics_that_are_gone(small):
    small.delete_topics(["credits"])
    refused(small, words=f"topic {small.topics['credits']} does not exist")


def test_topics_of_another_size(world, small):
    refused(world, words="has 1 partitions, but this deployment has 2, and its count",
            config=world.write_config("other.yaml", topics={"status": small.topics["status"]}))


def test_logs_that_were_made_again(small):
    small.delete_topics(["calls"])
    small._make_topics(["calls"])
    refused(small, words="were judged: the topic was deleted and made again")


def test_nothing_recorded_yet(deploy):
    refused(deploy(partitions=1), words="nothing is recorded in the database yet")


def test_parameters_that_are_none(world):
    with tampered(world, "parameters", "update settled.parameters set from_day = '2026-11-01'"):
        refused(world, words="settled.parameters does not begin with a row from -infinity on")


@pytest.mark.parametrize("arguments, status, words", [
    (("--to", "2026-11-06"), 2, "has not settled 2026-11-06 yet"),
    (("--from", "2026-12-01"), 2, "has not opened 2026-12-01 yet"),
    (("--to", "2026-10-31"), 2, "2026-10-31 lies before the first day, 2026-11-01"),
    (("--account", "acmee"), 2, "nothing is recorded of account acmee in these days"),
    (("--from", "2026-11-03", "--to", "2026-11-02"), 64, "--from is after --to"),
    (("--from", "yesterday"), 64, "'yesterday' is not a date"),
])
def test_days_that_cannot_be_compared(world, arguments, status, words):
    done = audit(world, *arguments)
    assert done.returncode == status
    assert words in done.stderr


# --- what the topics cannot tell ---


def test_recorded_verdicts_and_decisions_rule(deploy):
    """A schema that was unknown then is known now; a record ahead of the clock was passed; a reject was sent again."""
    d = deploy(partitions=1, workers=1)
    noon = at("2026-11-01", "12:00:00")
    d.call("acme", "call-1", noon, leads=5)
    d.flush()
    record = (d.folder / d.name / "schemas" / "1.avsc").read_bytes()
    consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": uuid.uuid4().hex})
    consumer.assign([confluent_kafka.TopicPartition(d.topics["calls"], 0, 0)])
    value = bytearray(consumer.poll(30).value())
    consumer.close()
    value[1:5] = (999).to_bytes(4, "big")
    value = bytes(value).replace(b"call-1", b"call-2")
    d.send_bytes("calls", value, noon + 5000, "acme")
    d.call("acme", "call-3", noon, leads=7, timestamp=at("2026-11-09", "12:00:00"))
    d.call("acme", "call-4", noon, leads=9, timestamp=noon + 9000)
    d.flush()
    d.drain("2026-11-01T13:00:00+08:00")
    assert d.sql("select reason from settled.rejects") == [("UNKNOWN_SCHEMA",)]
    (d.folder / d.name / "schemas" / "999.avsc").write_bytes(record)
    d.run("rejects", "pass", f"{d.topics['calls']}/0/2")
    d.run("rejects", "requeue", f"{d.topics['calls']}/0/1")
    # What is sent again is stamped now, so the days up to now are settled as well.
    clock = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=10)
    d.drain(clock.isoformat(timespec="seconds"))
    d.drain(clock.isoformat(timespec="seconds"))  # a requeue is decided once its copy was judged
    kinds = [kind for kind, in d.sql("select kind from settled.decisions order by number")]
    assert sorted(kinds) == ["PASS", "REQUEUE"]
    assert findings(d, status=0)["days"] >= 1
    # The decisions are compared, too.
    for change in ("update settled.decisions set as_of = as_of + interval '9 days' where kind = 'PASS'",
                   "update settled.decisions set calls_at = calls_at + 100 where kind = 'PASS'",
                   "update settled.decisions set content = content || '!' where kind = 'REQUEUE'",
                   "delete from settled.decisions where kind = 'REQUEUE'"):
        with tampered(d, "decisions", change):
            assert findings(d, status=1)["difference_count"] > 0, change
    # So are the records of each decision with its digest, and the rejects among them with what they name.
    for table, field, change in (
            ("request_records", "content", "update settled.request_records set kafka_offset = 77 where subject = 'PASS'"),
            ("request_records", "kafka_offset", "update settled.request_records set kafka_offset = 0 where subject = 'REJECT'"),
            ("requests", "request", "update settled.requests set requested_at = requested_at + interval '1 hour'"),
            ("decisions", "content", "update settled.decisions set content = replace(content, ' 1 ', ' 2 ')")):
        with tampered(d, table, change):
            assert ("decisions", field) in {(f["where"], f.get("field")) for f in findings(d, status=1)["differences"]}, change
    findings(d, status=0)
