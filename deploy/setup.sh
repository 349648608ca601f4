#!/usr/bin/env bash
# Installs the missing packages of Debian 12 or 13 that settled needs. Prints nothing if all are there.
#   deploy/setup.sh [build] [unit] [demo] [test]      what for; each includes `build`, and `test` all. Default: build
# As root it installs; as an ordinary user it prints the line to run as root, and exits 69.
set -euo pipefail

build=(build-essential cmake ninja-build pkg-config git ca-certificates librdkafka-dev libavro-dev libpq-dev
       libjansson-dev libyaml-dev libmicrohttpd-dev libcurl4-openssl-dev libxxhash-dev libssl-dev libsystemd-dev)
# Some packages have a version in their names, which differs between releases of Debian.
postgresql=15 openjdk=17 clang=14
if grep -qs '^VERSION_CODENAME=trixie' /etc/os-release; then
    postgresql=17 openjdk=21 clang=19
fi
# The throw-away services of tests/lib/services.py.
demo=("postgresql-$postgresql" "openjdk-$openjdk-jre-headless" maven python3 kcat)
# For the tests that need no service.
unit=(libcmocka-dev)
test=("clang-$clang" "clang-format-$clang" "clang-tidy-$clang" "libclang-rt-$clang-dev" "llvm-$clang"
      shellcheck python3-venv groff-base pgbouncer openssl valgrind chromium fonts-noto-cjk)

wanted=("${build[@]}")
for purpose in "${@:-build}"; do
    case $purpose in
        build) ;;
        demo) wanted+=("${demo[@]}") ;;
        unit) wanted+=("${unit[@]}") ;;
        test) wanted+=("${unit[@]}" "${demo[@]}" "${test[@]}") ;;
        *) echo "setup.sh: unknown purpose '$purpose': build, unit, demo or test" >&2; exit 64 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "setup.sh: this is no Debian system; install the counterparts of: ${wanted[*]}" >&2
    exit 69
fi
installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii  *//p')
missing=()
for package in "${wanted[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0

if [[ $(id -u) != 0 ]]; then
    echo "setup.sh: packages are missing. As root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 69
fi

echo "installing ${missing[*]}" >&2
log=$(mktemp)
# Nobody asked for a database server or a pooler that stays: while we install, Debian's packages make no cluster and start
# no service of their own.
no_cluster='' no_service=''
finish() {
    rm -f "$log" ${no_cluster:+"$no_cluster"} ${no_service:+"$no_service"}
}
trap finish EXIT
if [[ " ${missing[*]} " == *" pgbouncer "* && ! -e /usr/sbin/policy-rc.d ]]; then
    no_service=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$no_service"
    chmod +x "$no_service"
fi
if [[ " ${missing[*]} " == *" postgresql"* ]]; then
    mkdir -p /etc/postgresql-common/createcluster.d
    no_cluster=/etc/postgresql-common/createcluster.d/settled-setup.conf
    echo "create_main_cluster = false" >"$no_cluster"
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "setup.sh: apt-get failed; its last lines are above" >&2
    exit 69
fi
