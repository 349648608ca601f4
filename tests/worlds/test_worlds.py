"""Seeded hostile worlds against the oracle: 20 seeds, or 200 with SETTLED_LONG. By hand: tests/worlds/world.py."""

import os
import pathlib

import psycopg
import pytest
import world

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = range(1, 201 if os.environ.get("SETTLED_LONG") else 21)
JOBS = 3  # worlds wait more than they compute


def binary():
    return os.environ.get("SETTLED_BINARY", str(ROOT / "build" / "release" / "settled"))


@pytest.fixture(scope="session")
def lived():
    """All worlds, several at a time: by seed, the differences and a line about each."""
    return {seed: (differences, about) for seed, differences, about in world.run_all(SEEDS, binary(), JOBS)}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_world(lived, seed):
    differences, about = lived[seed]
    print(about)
    assert not differences, about


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tampering, words", [
    ("update settled.settlement_lines set amount = amount + 1 where charge = 'POSTPAID'", "settlement_lines"),
    ("update settled.accounts set balance = balance + 1, opening = opening + 1", "accounts"),
    ("delete from settled.credits where ctid = (select min(ctid) from settled.credits)", "credits"),
    ("update settled.rejects set reason = 'REFUND' where reason = 'INVALID'", "rejects"),
    ("update settled.day_closes set digest = repeat('0', 64)", "day_closes"),
])
def test_a_comparison_can_fail(tmp_path, tampering, words):
    """One changed table is told, by table, row and column."""
    services = (os.environ[f"SETTLED_TEST_{name}"] for name in ("BROKERS", "DSN", "REGISTRY"))
    each = world.World(8, binary(), *services, tmp_path)
    try:
        each.live()
        oracle, out = each.oracle(), world.Differences()
        world.compare_tables(each, oracle, out)
        assert not out
        with psycopg.connect(each.dsn) as connection:
            connection.execute(tampering)
        world.compare_tables(each, oracle, out)
        assert any(line.startswith(words) for line in out), out
    finally:
        each.close()
