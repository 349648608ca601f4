#!/usr/bin/env bash
# Every C file is as clang-format 14 writes it. `tests/format.sh --fix` writes it so.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -d '' files < <(git ls-files -z --cached --others --exclude-standard -- '*.c' '*.h')
if [[ ${1:-} == --fix ]]; then
    clang-format-14 -i "${files[@]}"
else
    clang-format-14 --dry-run -Werror "${files[@]}"
    echo "${#files[@]} files are formatted"
fi
