#!/usr/bin/env bash
# clang-tidy 14 over every C file that a build compiled: tests/tidy.sh BUILD_DIR [PATTERN]
# A file is checked again only if it, one of our headers, or the checks have changed since it was found clean.
# The analyzer follows a function's paths up to a bound, which is where nearly all the time goes: a third of its own
# unless SETTLED_LONG=1.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:?tests/tidy.sh BUILD_DIR [PATTERN]}")
pattern=${2:-.}
clean="$build/tidy"
mkdir -p "$clean"

depth=75000
[[ -z ${SETTLED_LONG:-} ]] || depth=225000
common=$({ echo "$depth"; cat .clang-tidy CMakeLists.txt; git ls-files -z --cached --others --exclude-standard -- '*.h' | xargs -0 cat; } | sha256sum)
look_at() {
    local file=$1 stamp report
    stamp=$clean/$({ echo "$common"; echo "$file"; cat "$file"; } | sha256sum | cut -c1-32)
    [[ -e $stamp ]] && return
    # A build by gcc names warnings that clang does not know. The first line of a finding says what is wrong; the lines
    # that show the path are left out.
    if report=$(clang-tidy-14 --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option \
            --extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes=$depth "$file" 2>/dev/null); then
        touch "$stamp"
    else
        grep -E ': (error|warning): ' <<<"$report" || echo "clang-tidy-14 failed on $file"
        return 1
    fi
}
export -f look_at
export build clean common depth

# shellcheck disable=SC2016 # the inner shell expands it
python3 - "$build" "$PWD" "$pattern" <<'PYTHON' | xargs -0 -r -P "$(nproc)" -I{} bash -c 'look_at "$1"' _ {}
import json, os, re, sys
build, source, pattern = sys.argv[1:]
files = {os.path.normpath(os.path.join(each["directory"], each["file"]))
         for each in json.load(open(os.path.join(build, "compile_commands.json")))}
ours = sorted(f for f in files if f.startswith(source + "/") and not f.startswith(build + "/") and re.search(pattern, f))
print("\0".join(os.path.relpath(f, source) for f in ours), end="")
PYTHON
echo "clang-tidy has nothing to say"
