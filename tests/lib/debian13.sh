#!/usr/bin/env bash
# Builds settled on Debian 13, which has a newer compiler and librdkafka 2.8, in a root directory of its own. Run it as
# root; the first time takes some minutes.
#   tests/lib/debian13.sh [PRESET]       builds the program, and prints the path of a command that runs it here by the
#                                        libraries of that root. Default: release
#   tests/lib/debian13.sh --ctest REPORT [OPTION...]
#                                        builds release with the unit tests and the simulator, and runs there the tests
#                                        that the options of ctest select; REPORT becomes their JUnit file
# The root is kept in ${XDG_CACHE_HOME:-~/.cache}/settled/debian13 and used again, by every checkout. Nothing is mounted
# or running when this ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=release report=
if [[ ${1:-} == --ctest ]]; then
    report=$(realpath -m "${2:?--ctest needs the path of the report}")
    shift 2
else
    preset=${1:-release}
fi
root=${XDG_CACHE_HOME:-$HOME/.cache}/settled/debian13
source=/root/settled # within the root

fail() {
    echo "debian13.sh: $1" >&2
    exit 69
}
in_root() { # COMMAND...
    chroot "$root" env -u TMPDIR LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        sh -ec "cd $source; exec \"\$@\"" sh "$@"
}

[[ $(id -u) == 0 ]] || fail "only root may make a root of Debian 13 and change into it: run it as root"
mkdir -p "$(dirname "$root")" build/debian13

# Only one checkout at a time uses it, from copying the sources to the last test: a second one waits, and then builds
# what differs.
exec 9>"$root.lock"
if ! flock --nonblock 9; then
    echo "waiting for another debian13.sh, which works in $root" >&2
    flock 9
fi

if [[ ! -d $root ]]; then
    if ! command -v debootstrap >/dev/null; then
        echo "installing debootstrap" >&2
        { apt-get update -q && apt-get install -q -y --no-install-recommends debootstrap; } >&2 ||
            fail "debootstrap could not be installed; what apt-get said is above"
    fi
    echo "making a root of Debian 13 in $root" >&2
    rm -rf "$root.partial"
    # Only debootstrap itself sees what it mounts and starts, and all of that is gone when it ends, in whatever way. It
    # would wait for hours for a mirror that does not answer.
    if ! timeout --foreground --signal=KILL 900 \
        unshare --mount --propagation private --pid --fork --kill-child \
        debootstrap --variant=minbase trixie "$root.partial" >"$root.log" 2>&1; then
        tail -n 20 "$root.log" >&2
        fail "debootstrap made no root of Debian 13 within 15 minutes: does the mirror answer? Its last lines are above, the rest is in $root.log"
    fi
    mv "$root.partial" "$root"
fi
# The network settings of this machine may be newer than the root.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"

# Copies the working tree as it is. An unchanged file keeps its time, so it is not built again. A changed file gets a
# new time, whatever time it has here, because another checkout may have been built before.
fresh=$root$source.fresh
rm -rf "$fresh"
mkdir -p "$root$source" "$fresh"
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T - | tar -xmf - -C "$fresh"
(cd "$fresh" && find . -type f -print0) | while IFS= read -r -d '' file; do
    if cmp -s "$fresh/$file" "$root$source/$file"; then cp -p "$root$source/$file" "$fresh/$file"; fi
done
find "$root$source" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
find "$fresh" -mindepth 1 -maxdepth 1 -exec mv -t "$root$source" {} +
rmdir "$fresh"

# Completes an installation that was interrupted.
{ in_root dpkg --configure -a && in_root deploy/setup.sh build unit; } >&2 ||
    fail "the packages could not be installed in $root: does the mirror answer? What was said is above"
targets=(settled)
if [[ $report ]]; then targets+=(unit_tests sim); fi
in_root cmake --preset "$preset" -DSETTLED_TESTS=ON >&2 # whatever the cache of an earlier checkout has
in_root cmake --build --preset "$preset" --target "${targets[@]}" --parallel "$(nproc)" >&2

if [[ $report ]]; then
    status=0
    rm -f "$root$source/build/report.xml"
    in_root ctest --test-dir "build/$preset" --no-tests=error --output-junit "$source/build/report.xml" "$@" >&2 || status=$?
    cp "$root$source/build/report.xml" "$report"
    exit "$status"
fi

# Out of the root, where the next checkout puts its own.
program=$PWD/build/debian13/$preset
wrapper=$PWD/build/debian13/settled-$preset
install "$root$source/build/$preset/settled" "$program"
triplet=$(in_root gcc -print-multiarch)
loader=$(in_root readelf -p .interp "build/$preset/settled" | grep -o '/.*')
cat >"$wrapper" <<END
#!/bin/sh
exec "$root$loader" --library-path "$root/usr/lib/$triplet" "$program" "\$@"
END
chmod +x "$wrapper"
"$wrapper" version >&2
echo "$wrapper"
