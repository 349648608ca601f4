#!/usr/bin/env bash
# Runs every test of settled: installs what is missing, builds, starts services of its own, prints one summary.
#   tests/run.sh [--long] [--only REGEX] [--list]      see tests/lib/run.py
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/setup.sh test
exec python3 tests/lib/run.py "$@"
