#!/usr/bin/env bash
# Line coverage of the code that money depends on. Fails when one of these folders is below the floor.
#   tests/coverage.sh [GCOVR]      runs what needs no service under the coverage preset
set -euo pipefail
cd "$(dirname "$0")/.."
gcovr=${1:-build/venv/bin/gcovr}
build=build/coverage
floor=95

cmake --preset coverage >/dev/null
cmake --build --preset coverage
find "$build" -name '*.gcda' -delete
ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" --timeout 600 --label-exclude 'integration|worlds|bench' \
    || echo "some tests fail under this preset; the others are counted"

status=0
for folder in pricing consumer/base consumer/usage consumer/core consumer/relay/relay_machine.c consumer/relay/published_rows.c; do
    echo "--- $folder"
    "$gcovr" --root . --object-directory "$build" --filter "$folder" --exclude-throw-branches \
        --fail-under-line "$floor" "$build" || status=1
done
exit $status
