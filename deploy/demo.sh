#!/usr/bin/env bash
# Shows what settled does: installs what it needs, builds, and settles three simulated days on a real Kafka broker,
# a real PostgreSQL and a real schema registry, all of them thrown away at the end.
#   deploy/demo.sh [--keep]      --keep: the services stay up, with commands to look around, until Enter or Ctrl-C
# On Debian 12, as root or as a user on a machine where the packages are installed (deploy/setup.sh demo).
set -euo pipefail
cd "$(dirname "$0")/.."

case "$*" in
    '' | --keep) ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "demo.sh: '$*' is not understood; there is only --keep" >&2; exit 64 ;;
esac

# Says what is being done, and shows the output only if it failed.
quietly() {
    local what=$1 output
    shift
    echo "$what"
    output=$("$@" 2>&1) || { tail -n 40 <<<"$output"; echo "demo.sh: this failed: $*"; exit 69; } >&2
}

deploy/setup.sh demo
quietly 'building, in build/release' \
    bash -c 'cmake --preset release && cmake --build --preset release --target settled'
quietly 'fetching Kafka and the registry from Maven Central, unless they are here already' \
    python3 tests/lib/services.py fetch
echo 'starting Kafka, PostgreSQL and the registry on free ports of 127.0.0.1'
exec python3 tests/lib/services.py run --quiet --kafka --postgres --registry -- deploy/demo/story.sh "$@"
