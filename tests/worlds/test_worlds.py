"""Hostile worlds made from seeds, compared with the oracle: 12 seeds, or 200 with SETTLED_LONG. By hand:
tests/worlds/world.py."""

import copy
import os
import pathlib

import psycopg
import pytest
import world

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = range(1, 201 if os.environ.get("SETTLED_LONG") else 13)
JOBS = 4  # worlds wait more than they compute


def binary():
    return os.environ.get("SETTLED_BINARY", str(ROOT / "build" / "release" / "settled"))


@pytest.fixture(scope="session")
def lived():
    """All worlds, several at a time: by seed, the differences and a line about each."""
    return {seed: (differences, about) for seed, differences, about, _ in world.run_all(SEEDS, binary(), JOBS)}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_world(lived, seed):
    differences, about = lived[seed]
    print(about)
    assert not differences, about


# --- a comparison can fail ---


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A world that has been lived, and its oracle."""
    services = (os.environ[f"SETTLED_TEST_{name}"] for name in ("BROKERS", "DSN", "REGISTRY"))
    each = world.World(8, binary(), *services, tmp_path_factory.mktemp("world"))
    try:
        each.asks = 1
        each.live()
        yield each, each.oracle()
    finally:
        each.close()


@pytest.fixture
def tables(one):
    """Runs a statement on a copy of the world's database; from then on the copy is compared."""
    each, _ = one
    database, dsns = f"{each.database}_changed", each.dsns
    each.dsns = [dsns[0].rpartition("/")[0] + "/" + database, *dsns[1:]]

    def change(statement):
        with psycopg.connect(each.dsns[0]) as connection:
            assert connection.execute(statement).rowcount > 0

    with psycopg.connect(each.superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {each.database}")
        yield change
        each.dsns = dsns
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


def compared(each, oracle):
    out = world.Differences()
    for compare in (world.compare_tables, world.compare_shards, world.compare_topics):
        compare(each, oracle, out)
    return out


def test_an_untouched_world_agrees(one):
    assert not compared(*one)


@pytest.mark.parametrize("tampering, words", [
    ("update settled.settlement_lines set amount = amount + 1 where charge = 'POSTPAID'", "settlement_lines"),
    ("update settled.settlements set calls_while_suspended = calls_while_suspended + 1", "settlements"),
    ("delete from settled.settlements where ctid = (select min(ctid) from settled.settlements)", "settlements"),
    ("update settled.accounts set balance = balance + 1, opening = opening + 1", "accounts"),
    ("update settled.packages set remaining = remaining - 1 where remaining > 0", "packages"),
    ("delete from settled.credits where ctid = (select min(ctid) from settled.credits)", "credits"),
    ("update settled.credits set received_at = received_at + interval '1 ms'", "credits"),
    ("update settled.status_changes set balance = balance - 1", "status_changes"),
    ("update settled.notices set threshold = threshold + 1", "notices"),
    ("update settled.notices set remaining = remaining + 1", "notices"),
    ("update settled.rejects set reason = 'REFUND' where reason = 'INVALID'", "rejects"),
    ("update settled.rejects set decision = 77", "rejects"),
    ("update settled.day_closes set digest = repeat('0', 64)", "day_closes"),
    ("update settled.day_cutoffs set accepted = accepted + 1, void = void - 1", "day_cutoffs"),
    ("update settled.day_cutoffs set cut_by = 'RELEASE'", "day_cutoffs"),
    ("update settled.shards set open_day = open_day + 1", "shard"),
    ("update settled.shards set relayed = 0", "shard"),
    ("update settled.settlements set sequence = sequence + 1", "settlements"),
    ("update settled.rejects set sequence = sequence + 1", "rejects"),
    ("update settled.notices set sequence = sequence + 1", "notices"),
])
def test_a_changed_row_is_told(one, tables, tampering, words):
    """By table, row and column."""
    tables(tampering)
    out = compared(*one)
    assert out and all(line.startswith((words, "account_statement")) for line in out), out


@pytest.mark.parametrize("kind, field, value", [
    ("settlements", "amount", -1), ("settlements", "lines", []), ("settlements", "status", "UNKNOWN"),
    ("status", "cause", "UNKNOWN"), ("status", "effective_at", 0), ("day_closes", "late", -1),
    ("notices", "threshold", -1), ("notices", "valid_until", 0), ("notices", "kind", "UNKNOWN"),
    ("day_closes", "content_digest", ""), ("day_closes", "decisions", ["1 PASS x"])])
def test_another_message_is_told(one, kind, field, value):
    """The message is unchanged, but something else is expected."""
    each, oracle = one
    oracle = copy.deepcopy(oracle)
    body = next(body for shard in oracle.shards for output, body in shard.outputs if output == kind)
    body[field] = value
    out = world.Differences()
    world.compare_topics(each, oracle, out)
    assert len(out) == 1 and field in out[0], out


def test_another_usage_is_told(one):
    """Each field of what an account is told is compared."""
    each, _ = one
    number, account, _, found = next(owed for owed in each.owed if owed[3] and any(day[1] for day in owed[3]["days"]))
    for field, value in found.items():
        other = {**found, field: None}
        out = world.Differences()
        each_owed, each.owed = each.owed, [(number, account, other, found)]
        world.compare_usage(each, out)
        each.owed = each_owed
        assert len(out) == 1 and account in out[0] and value != other[field], out


def test_another_reject_is_told(one):
    each, oracle = one
    for field, value in (("reason", "REFUND"), ("value", b"other"), ("record_id", "other"), ("occurred_at", 1)):
        changed = copy.deepcopy(oracle)
        next(shard for shard in changed.shards if shard.rejects).rejects[0][field] = value
        out = world.Differences()
        world.compare_topics(each, changed, out)
        assert len(out) == 1 and "rejects of" in out[0], out
