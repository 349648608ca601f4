#!/usr/bin/env python3
"""Measures how fast settled is, and prints each row with its baseline, ratio, spread and goal.

    build/venv/bin/python tests/bench/bench.py [--only REGEX] [--quick] [--long] [--rounds N] [--json FILE] [--record]

It starts a broker and a PostgreSQL of its own. Each figure is the median of the rounds; in a round, settled and what it
is compared with take turns. By default it takes less than twenty minutes on two cores. After every row the results are
written (--json, --record), so that an interrupted run keeps what it has. It exits with 1 when a row could not be
measured; that a goal is not met is no error. The calls are of today in the time zone of billing: do not let it run across
midnight there (16:00 UTC).
"""

import sys

import assignors
import audit
import close
import explain
import fold
import frame
import ingest
import latency
import relay
import restart
import rolling
import sizes
import start
import usage

SCRIPTS = [ingest, fold, close, latency, start, restart, rolling, audit, explain, relay, sizes, usage, assignors]

if __name__ == "__main__":
    sys.exit(frame.main(__doc__, SCRIPTS))
