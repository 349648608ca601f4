#!/usr/bin/env bash
# Builds settled on Debian 13, which has a newer compiler and librdkafka 2.8, in a root of its own, and prints the path of a
# program that runs here what was built there, by the libraries of that root. As root; the first time takes some minutes.
#   tests/lib/debian13.sh [PRESET]      default: release
# The root is kept in ${XDG_CACHE_HOME:-~/.cache}/settled/debian13 and used again. Nothing is mounted when this ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
preset=${1:-release}
root=${XDG_CACHE_HOME:-$HOME/.cache}/settled/debian13
source=/root/settled # within the root

if [[ $(id -u) != 0 ]]; then
    echo "debian13.sh: only root may make a root of Debian 13 and change into it: run it as root" >&2
    exit 69
fi
mkdir -p "$(dirname "$root")" build/debian13
exec 9>"$root.lock"
flock 9 # one at a time

if [[ ! -d $root ]]; then
    if ! command -v debootstrap >/dev/null; then
        echo "installing debootstrap" >&2
        { apt-get update -q && apt-get install -q -y --no-install-recommends debootstrap; } >&2
    fi
    echo "making a root of Debian 13 in $root" >&2
    rm -rf "$root.partial"
    if ! debootstrap --variant=minbase trixie "$root.partial" >"$root.log" 2>&1; then
        tail -n 20 "$root.log" >&2
        echo "debian13.sh: debootstrap failed; its last lines are above, the rest is in $root.log" >&2
        exit 69
    fi
    mv "$root.partial" "$root"
fi

# The working tree as it is. A file that is the same keeps its time, so that what has not changed is not built again; one that
# differs gets a new time, whatever time it has here: another checkout may have been built before.
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

build="deploy/setup.sh build
       cmake --preset $preset -DSETTLED_TESTS=OFF
       cmake --build --preset $preset --target settled --parallel $(nproc)"
chroot "$root" env LC_ALL=C HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec "cd $source; $build" >&2

program=$root$source/build/$preset/settled
triplet=$(chroot "$root" gcc -print-multiarch)
loader=$(chroot "$root" readelf -p .interp "$source/build/$preset/settled" | grep -o '/.*')
wrapper=$PWD/build/debian13/settled-$preset
cat >"$wrapper" <<END
#!/bin/sh
exec "$root$loader" --library-path "$root/usr/lib/$triplet" "$program" "\$@"
END
chmod +x "$wrapper"
"$wrapper" version >&2
echo "$wrapper"
