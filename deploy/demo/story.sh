#!/usr/bin/env bash
# The story of deploy/demo.sh, told beside the services that tests/lib/services.py has started. Every step is a command
# that a user has too; the tables are read from PostgreSQL with psql. The seeds make it the same story each time: three
# days of six accounts, some of which are suspended and resumed, with packages, late calls, duplicates and rejects.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
seed=41 days=(2025-10-29 2025-10-30 2025-10-31) # the end of a month
workload=(--accounts 6 --calls-per-day 24 --purchases 2 --credits 6 --late 6 --duplicates 6 --broken 6)
followed=acct-0000003                 # suspended and resumed, twice
explained=(acct-0000002 2025-10-31)   # late calls of two days, one postpaid, one from a package

brokers=${SETTLED_TEST_BROKERS:?run deploy/demo.sh} registry=${SETTLED_TEST_REGISTRY:?}
dsn=${SETTLED_TEST_DSN%/*}/settled
psql -Xq "${SETTLED_TEST_DSN:?}" -c 'create database settled'
unset "${!SETTLED_@}" # the file alone configures what follows
export PGTZ=Asia/Shanghai PATH=$root/build/release:$PATH

folder=$(mktemp -d "${TMPDIR:-/tmp}/settled-demo-XXXXXX")
daemon=
finish() {
    [[ -z $daemon ]] || { kill "$daemon"; wait "$daemon"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
cd "$folder"
cat >demo.yaml <<YAML
kafka:    {brokers: "$brokers", group: settled}
schemas:  {registry: "$registry"}
postgres: {dsn: "$dsn"}
pricing:  {book: "$root/pricing/pricebooks/apcas.yaml"}
billing:  {first_day: ${days[0]}, timestamps: create}
notices:  {balance_below: [5000000]} # fen
http:     {listen: "127.0.0.1:0"}
YAML

# ---- telling ----

chapter() {
    printf '\n━━━━ %s ━━━━\n' "$*"
}

indented() {
    sed 's/^/  /; s/ *$//'
}

# A verb of settled: the command line, and what it prints. Its log is shown only when it fails.
settled() {
    local line="settled $*"
    printf '\n$ %s\n' "${line/ --accounts/ \\$'\n'      --accounts}"
    command settled "$@" 2>log | indented || { cat log >&2; return 1; }
}

# TITLE QUERY. An empty table is left out.
table() {
    local rows
    rows=$(psql -Xq -v ON_ERROR_STOP=1 -P pager=off -P footer=off -P border=0 -d "$dsn" -c "$2")
    (($(wc -l <<<"$rows") > 2)) || return 0
    echo
    indented <<<"${1:+$1$'\n'}$rows"
}

# EXPRESSION HEADING: yuan, aligned as amounts are read.
yuan() {
    printf "to_char((%s) / 100.0, '99,999,990.00') as \"%14s\"" "$1" "$2"
}

settlements_of() {
    table 'Settlements, in yuan: opening + paid in - amount = closing' "
        select account_id as account, calls, calls_while_suspended as \"while suspended\",
               $(yuan opening_balance opening), $(yuan 'credits + adjustments' 'paid in'), $(yuan amount amount),
               $(yuan closing_balance closing), status as \"status after\"
          from settled.settlements where business_day = '$1' order by account_id"
}

packages_of() {
    table 'Drawn from packages' "
        select l.account_id as account, service, calls, l.units, valid_until::date as \"package valid until\"
          from settled.settlement_lines l join settled.packages using (account_id, package_id, service)
         where business_day = '$1' order by l.account_id, line_no"
}

late_of() {
    table 'Late calls, billed with this day at the price of their own' "
        select account_id as account, usage_day, service, calls, units, $(yuan amount amount)
          from settled.settlement_lines where business_day = '$1' and usage_day < business_day
         order by account_id, line_no"
}

events_of() {
    table 'Suspensions and resumptions, as published to account-status' "
        select to_char(effective_at, 'YYYY-MM-DD HH24:MI:SS') as \"effective at\",
               account_id || '/' || account_sequence as event, status, cause, $(yuan balance balance)
          from settled.status_changes
         where effective_at > '$1' and effective_at <= date '$1' + 1 order by effective_at, account_id"
}

closes_of() {
    table 'Day closes, each chained to the shard'\''s previous one' "
        select c.shard, settlements, sum(accepted) as accepted, sum(duplicates) as duplicates,
               sum(rejected) as rejected, left(previous_digest, 8) || '…' as previous, digest
          from settled.day_closes c join settled.day_cutoffs using (shard, business_day)
         where business_day = '$1' group by c.shard, settlements, previous_digest, digest order by c.shard"
}

notices_of() {
    table 'Notices, as published to account-notices' "
        select account_id as account, kind, service, remaining, units, $(yuan balance balance)
          from settled.notices where business_day = '$1' order by account_id, kind, package_id"
}

months_of() {
    table 'Month statements, as published to account-statements' "
        select account_id as account, month, $(yuan opening_balance opening), $(yuan 'credits + adjustments' 'paid in'),
               $(yuan amount amount), $(yuan closing_balance closing), packages_bought as \"packages bought\"
          from settled.month_statements where business_day = '$1' order by account_id"
}

# What a subscriber reads: committed records only.
read_topic() {
    kcat -C -e -q -b "$brokers" -X isolation.level=read_committed -t "$@"
}

# TOPIC TABLE
published() {
    local records rows
    records=$(read_topic "$1" -f '.' | wc -c)
    rows=$(psql -XAtq -d "$dsn" -c "select count(*) from settled.$2")
    printf '  %-18s %3d records, and %3d rows of settled.%s\n' "$1" "$records" "$rows" "$2"
    ((records == rows)) || { echo 'story.sh: they differ' >&2; return 1; }
}

# A daemon whose clock stands at this instant; `address` is where it answers.
start_daemon() {
    : >daemon.log # the other process may be slower to make it than this one is to look
    command settled run -c demo.yaml --clock "$1" 2>>daemon.log &
    daemon=$!
    for _ in {1..300}; do
        address=$(sed -n 's/.*http listens.* port=\([0-9]*\).*/http:\/\/127.0.0.1:\1/p' daemon.log)
        [[ -z $address ]] || return 0
        sleep 0.1
    done
    cat daemon.log >&2
    return 1
}

# ACCOUNT CALLS: the days that are not settled, once the daemon has read so many calls of them.
provisional() {
    python3 - "$address/v1/accounts/$1" "$2" <<'PYTHON'
import json, sys, time, urllib.request
url, calls = sys.argv[1], int(sys.argv[2])
for _ in range(300):
    try:
        told = json.load(urllib.request.urlopen(url))
    except urllib.error.HTTPError:  # the shard is not there yet
        told = {"days": []}
    if sum(day["calls"] for day in told["days"]) >= calls:
        break
    time.sleep(0.1)
else:
    sys.exit(f"story.sh: {url} never told of {calls} calls")
print(f"  {told['account_id']}  balance {told['balance'] / 100:,.2f}  {told['status']}")
for day in told["days"]:
    print(f"  {day['business_day']}  provisional, {day['phase']}")
    for used in day["services"]:
        print(f"    {used['service']:17} {used['calls']:3} calls {used['units']:8,} units {used['amount'] / 100:>14,.2f}")
    print(f"    if the day ended now: amount {day['amount'] / 100:,.2f}, balance {day['balance_after'] / 100:,.2f}, {day['status_after']}")
PYTHON
}

linger() {
    chapter 'all of it stays up until Enter or Ctrl-C'
    cat <<TEXT

  In another terminal:

    cd $folder; PATH=$root/build/release:\$PATH
    settled explain -c demo.yaml $followed ${days[1]}
    settled quote --service PURCHASE_INTENT --leads 120000
    settled rejects accept -c demo.yaml --reason UNDECODABLE
    kill $daemon; settled run -c demo.yaml --drain --clock $(date -d "$today + 1 day" +%F)T00:10:00+08:00   # settles the open day
    psql '$dsn'
    kcat -C -e -q -b $brokers -t settlements -f '%p/%o %k %h\n'
    curl -s $registry/subjects

  The console, in a browser on this machine:

    $address/
    $address/#/accounts/$followed

TEXT
    # Without a terminal or a pipe to wait on, only a signal ends it.
    read -r || sleep infinity
}

# ---- the story ----

begun=$SECONDS
chapter 'a new deployment'
echo
indented <demo.yaml
settled migrate -c demo.yaml
settled topics apply -c demo.yaml --partitions 2
settled schemas register -c demo.yaml
settled check -c demo.yaml

for day in "${days[@]}"; do
    next=$(date -d "$day + 1 day" +%F)
    chapter "$(LC_ALL=C date -d "$day" '+%A, %-d %B %Y')"
    settled generate -c demo.yaml --from-day "$day" --seed "$seed" "${workload[@]}"
    settled run -c demo.yaml --drain --clock "${next}T00:10:00+08:00"
    settlements_of "$day"
    packages_of "$day"
    late_of "$day"
    events_of "$day"
    notices_of "$day"
    closes_of "$day"
    months_of "$day"
    seed=$((seed + 1))
done

chapter 'the price books that were recorded, and by whom'
settled books list -c demo.yaml

chapter "the month of $followed, as its holder is shown it"
settled statement -c demo.yaml "$followed" --month "${days[-1]%-*}"

chapter "why is the amount of ${explained[0]} on ${explained[1]} what it is?"
settled explain -c demo.yaml "${explained[@]}"

chapter 'rejects: what an operator decides about'
settled rejects list -c demo.yaml

chapter 'the same in Kafka, each record exactly once'
published settlements settlements
published account-status status_changes
published day-closes day_closes
published rejects rejects
published account-notices notices
published account-statements month_statements
printf '\n$ kcat -C -e -q -b %s -t account-status -f '\''%%k  %%h\\n'\'' | grep %s\n' "$brokers" "$followed"
read_topic account-status -f '%k  %h\n' | grep "$followed" | indented

chapter 'the audit: all of it once more, from the topics alone'
settled audit -c demo.yaml

today=$(date -d "${days[-1]} + 1 day" +%F)
chapter "the day that is open: what $followed has used so far"
settled generate -c demo.yaml --from-day "$today" --seed "$seed" "${workload[@]}"
start_daemon "${today}T23:59:59+08:00"
printf '\n$ curl -s %s/v1/accounts/%s\n\n' "$address" "$followed"
provisional "$followed" 5

printf '\nThat were %d days in %d s.\n' "${#days[@]}" "$((SECONDS - begun))"
[[ ${1-} != --keep ]] || linger
