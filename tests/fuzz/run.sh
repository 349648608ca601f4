#!/usr/bin/env bash
# Fuzzes every target, one after the other, and says what ran: tests/fuzz/run.sh [--minutes N] [TARGET...]
# N minutes in all (default 60), shared evenly; TARGET as in fuzz_TARGET.c (default: all). Needs clang-14. An input that
# breaks a target is kept in build/fuzz/findings. Other new inputs are kept in build/fuzz/corpus, where the next run
# goes on. Put an input that found a bug into tests/fuzz/corpus/TARGET, so that it stays a test.
set -euo pipefail
cd "$(dirname "$0")/../.."

minutes=60
if [[ ${1:-} == --minutes ]]; then
    minutes=${2:?--minutes N}
    shift 2
fi
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
    for file in tests/fuzz/fuzz_*.c; do
        name=$(basename "$file" .c)
        targets+=("${name#fuzz_}")
    done
fi

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
cmake --preset fuzz >/dev/null
programs=("${targets[@]/#/fuzz_}")
cmake --build --preset fuzz --target "${programs[@]/%/_live}"
mkdir -p build/fuzz/findings
seconds=$((minutes * 60 / ${#targets[@]}))
failed=0
for target in "${targets[@]}"; do
    grown=build/fuzz/corpus/$target
    log=build/fuzz/$target.log
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1
        -artifact_prefix="build/fuzz/findings/$target-")
    [[ -e tests/fuzz/$target.dict ]] && options+=(-dict="tests/fuzz/$target.dict")
    mkdir -p "$grown"
    if build/fuzz/tests/fuzz/fuzz_"$target"_live "${options[@]}" "$grown" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
        outcome='nothing found'
    else
        outcome="FOUND, see $log"
        failed=$((failed + 1))
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    echo "$target: $seconds s, ${executions:-0} executions, ${rate:-0}/s, ${edges:-0} edges: $outcome"
done
echo "$((${#targets[@]} - failed)) passed, $failed failed"
[[ $failed -eq 0 ]]
