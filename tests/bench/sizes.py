#!/usr/bin/env python3
"""How much room records and rows take on disk.

    build/venv/bin/python tests/bench/sizes.py [OPTIONS of bench.py]

One deployment takes in a topic of calls of today and settles that day. Its tables are then measured with their indexes,
its topics as the broker keeps them (lz4 for the calls).
"""

import datetime
import sys

import frame

PARTITIONS, ACCOUNTS, CALLS = 8, 50_000, 4  # calls an account
# A settlement's lines and change of status count with it. The outbox keeps its rows for days, not for years.
CALL = frame.Row("room: a call in Kafka", "bytes")
ROWS_OF_DAY = frame.Row("room: a settlement in PostgreSQL, for good", "bytes")
OUTBOX = frame.Row("room: a settlement in the outbox", "bytes")
ACCOUNT = frame.Row("room: an account in PostgreSQL", "bytes")
MESSAGES = frame.Row("room: a settlement in Kafka", "bytes")
ROWS = [CALL, ROWS_OF_DAY, OUTBOX, ACCOUNT, MESSAGES]
TABLES_OF_DAY = ["settlements", "settlement_lines", "status_changes"]


def tables(deployment, names):
    """Bytes, with those of partitions, indexes and what is stored out of line."""
    return deployment.sql(
        "with named as (select ('settled.' || name)::regclass as id from unnest(%s::text[]) as name)"
        " select sum(pg_total_relation_size(id))::bigint from"
        " (select id from named union select relid from named, pg_partition_tree(id)) as parts", names)[0][0]


def topic(bench, deployment, key):
    """Bytes of its segments, without the indexes, which the broker allots in advance."""
    log = bench.kafka.nodes[0].folder / "log"
    return sum(file.stat().st_size for file in log.glob(f"{deployment.topics[key]}-*/*.log"))


def measure(bench):
    accounts = bench.size(ACCOUNTS, 1_000)
    calls = CALLS * accounts
    after_midnight = f"{frame.today() + datetime.timedelta(days=1)}T00:10:00+08:00"
    figures = frame.Figures(bench)
    inputs = bench.calls(calls, accounts, PARTITIONS)
    with bench.deployment(partitions=PARTITIONS, timestamps="log-append", inputs_of=inputs) as deployment:
        took = bench.drain(deployment, "--clock", after_midnight)
        settlements, billed = deployment.sql("select count(*), sum(calls)::bigint from settled.settlements")[0]
        if (took.records, billed) != (calls, calls):
            raise frame.Failed(f"settled took {took.records} calls of {calls}, and billed {billed}")
        figures.add("settled", {
            CALL: topic(bench, inputs, "calls") / calls,
            ROWS_OF_DAY: tables(deployment, TABLES_OF_DAY) / settlements,
            OUTBOX: tables(deployment, ["outbox"]) / settlements,
            ACCOUNT: tables(deployment, ["accounts"]) / settlements,
            MESSAGES: (topic(bench, deployment, "settlements") + topic(bench, deployment, "status")) / settlements})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
