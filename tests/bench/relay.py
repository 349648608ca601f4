#!/usr/bin/env python3
"""How fast the relay of one shard publishes rows that wait in its outbox, against a bare transactional producer of the same
messages; and how long one row takes from its commit to its acknowledged transaction.

    build/venv/bin/python tests/bench/relay.py [OPTIONS of bench.py]
"""

import sys

import frame

MANY = frame.Row("relay of one shard", "rows/s", "a bare transactional producer")
SINGLE = frame.Row("relay of one shard, a single row", "ms")
ROWS = [MANY, SINGLE]


def measure(bench):
    rows = bench.size(100_000, 1_000)
    bench.start_services()
    services = {"SETTLED_TEST_BROKERS": bench.kafka.brokers, "SETTLED_TEST_DSN": bench.postgres.dsn}
    programs = bench.built_with("bench_relay")
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in programs.items():
            got = bench.tool(program, rows, environment=services)
            if got["rows"] != rows:
                raise frame.Failed(f"the relay published {got['rows']} rows of {rows}")
            figures.add(who, {MANY: got["relay_a_second"], SINGLE: got["single_ms"]})
            if who == "settled":
                figures.add("baseline", {MANY: got["bare_a_second"]})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
