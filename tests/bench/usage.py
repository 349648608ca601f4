#!/usr/bin/env python3
"""How soon an account holder is answered, and how fresh the answer is, while calls come in.

    build/venv/bin/python tests/bench/usage.py [OPTIONS of bench.py]

Two processes have a shard each, and calls come in on both: at half and at all of the rate at which the two take them in
while the same machine makes them, which is measured before. GET /v1/accounts/{id} is asked of accounts of one shard, at its
owner and at the other process, which has to ask the owner:

    questions  p50 and p99 at 2,000 requests a second, each timed from the instant at which it was due, in turn with the same
               number of requests for /healthz/live at the same process; and how many are answered when each of a few
               connections asks again as soon as it is answered
    ingest     calls that are made as fast as the broker takes them, with the questions and without
    freshness  from when the broker has acknowledged a call until the owner's answer counts it, with one question after the
               other; at half rate against a bare read_committed consumer of the same partition, for the same record
"""

import concurrent.futures
import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time

import frame
import services
from frame import percentile

PROCESSES = PARTITIONS = 2
SHARD = 0  # whose accounts are asked about
LOAD_ACCOUNTS = 100_000
ASKED = 2_000  # of them, each with a credit and a package; those of the shard are asked about
PROBES = [f"probe-{number}" for number in range(16)]  # no calls of the load are theirs
PER_SECOND = 2_000
CONNECTIONS = 32  # of the questions at a rate
EAGER = 8  # connections that ask again at once
ASK_SECONDS = 4.0  # in half of that a single stall of 20 ms is the p99
SETTLE = 0.5  # s of load before and after what is measured
SEEN_AT_ONCE = 0.00001  # s: a consumer may see a record before its producer has the acknowledgement
PACKAGE = ("PURCHASE_INTENT", 10_000, 7_000_000)


class Questions:
    """The rows of questions to one process at one rate of the load; `share`: of the full rate."""

    def __init__(self, load, share, whom):
        self.share, self.whom = share, whom
        name = f"accounts asked about, {load}, {whom}"
        self.p50 = frame.Row(f"{name}: p50 at {PER_SECOND:,} requests/s", "ms", "/healthz/live")
        self.p99 = frame.Row(f"{name}: p99 at {PER_SECOND:,} requests/s", "ms", "/healthz/live", frame.ratio_at_most(3))
        self.most = frame.Row(f"{name}: most", "requests/s")
        self.rows = [self.p50, self.p99, self.most]


class Freshness:
    """The rows of how fresh answers are; `bare`: whether a bare consumer listens beside."""

    def __init__(self, load, share, goal, bare):
        self.share, self.bare = share, bare
        name, against = f"call to answer, {load}", "bare consumer" if bare else ""
        self.p50 = frame.Row(f"{name}: p50", "ms")
        self.p99 = frame.Row(f"{name}: p99", "ms", against, goal)
        self.rows = [self.p50, self.p99]

    def figures(self, took, bare):
        """From the times of one round, in ms: (settled's figures, the baseline's)."""
        return ({self.p50: percentile(took, 0.5), self.p99: percentile(took, 0.99)},
                {self.p99: percentile(bare, 0.99)} if self.bare else {})


QUESTIONS = [Questions(load, share, whom) for load, share in (("half rate", 0.5), ("full rate", 1))
             for whom in ("at the owner", "elsewhere")]
FRESHNESS = [Freshness("half rate", 0.5, frame.ratio_at_most(3), True),
             Freshness("full rate", 1, frame.value_at_most(1000), False)]
INGEST = frame.Row(f"calls taken in while they are made and {PER_SECOND:,} requests/s asked", "records/s", "nobody asks")
ROWS = [*(row for each in (*QUESTIONS, *FRESHNESS) for row in each.rows), INGEST]


def now_ms():
    return int(time.time() * 1000)


class Bare:
    """A bare consumer that notes when it sees the records of a key."""

    def __init__(self, deployment, key):
        self.process = subprocess.Popen(
            [frame.PROGRAMS / "bare_listener", deployment.brokers, deployment.topics["calls"], str(SHARD), key],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.seen = []
        if self.process.stdout.readline() != "ready\n":
            self.close()
            raise frame.Failed("the bare consumer did not begin")
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            self.seen.append(float(line))

    def await_count(self, count):
        deadline = time.monotonic() + frame.SEEN_SECONDS
        while len(self.seen) < count:
            if time.monotonic() > deadline:
                raise frame.Failed(f"the bare consumer saw {len(self.seen)} records of {count}")
            time.sleep(0.001)

    def close(self):
        self.process.kill()
        self.process.wait()


class Subject:
    """One program in a deployment of its own: two processes, and accounts that are asked about."""

    def __init__(self, bench, deployment):
        self.bench, self.deployment = bench, deployment
        self.processes, self.addresses = [], {}
        self.loaded = self.probes = 0
        self.rate = None

    def start(self):
        d = self.deployment
        for number in range(PROCESSES):
            config = d.write_config(f"process-{number}.yaml", http={"listen": f"127.0.0.1:{services.free_port()}"})
            self.processes.append(d.start(config=config))
        spread = "select count(distinct address) from settled.shards where address <> ''"
        d.until(lambda: d.sql(spread)[0][0] == PROCESSES, *self.processes)
        for process in self.processes:
            process.await_ready()
        owner, = (address for address, in d.sql("select address from settled.shards where shard = %s", SHARD))
        other, = (address for address, in d.sql("select address from settled.shards where address <> %s", owner))
        self.addresses = {"at the owner": owner, "elsewhere": other}
        self.make_accounts()

    def make_accounts(self):
        """Each with a credit and a package."""
        d, now = self.deployment, now_ms()
        accounts = [f"account-{number:08}" for number in range(ASKED)] + PROBES
        for account in accounts:
            d.top_up(account, f"credit-{account}", 10**9, now, now)
            d.purchase(account, f"pack-{account}", *PACKAGE, now, now)
        d.flush()
        for table in ("accounts", "packages"):
            d.until(lambda table=table: d.sql(f"select count(*) from settled.{table}")[0][0] == len(accounts), *self.processes)
        here = [account for account, in d.sql("select account_id from settled.accounts where shard = %s", SHARD)]
        self.probe = next(account for account in here if account in PROBES)
        self.write_targets("accounts", [f"/v1/accounts/{account}" for account in here if account not in PROBES])
        self.write_targets("live", ["/healthz/live"])

    def write_targets(self, name, targets):
        (self.deployment.config.parent / name).write_text("".join(f"{target}\n" for target in targets))

    # --- load ---

    def await_calls(self, calls):
        """Until all of them are accepted, besides those before."""
        self.loaded += calls
        accepted = "select sum(accepted)::bigint from settled.shard_logs"
        most = self.loaded + self.probes + 2 * (ASKED + len(PROBES))
        self.deployment.until(lambda: self.deployment.sql(accepted)[0][0] == most, *self.processes)

    def take_in(self, calls):
        """Calls a second, made as fast as the broker takes them, from the first that is made to the last that is
        committed."""
        start = time.monotonic()
        self.bench.fill(self.deployment, calls, LOAD_ACCOUNTS)
        self.await_calls(calls)
        return calls / (time.monotonic() - start)

    @contextlib.contextmanager
    def load(self, share, seconds):
        """At so much of the full rate, for so long, and for SETTLE before and after."""
        rate = int(self.rate * share)
        calls = int(rate * (seconds + 2 * SETTLE))
        with concurrent.futures.ThreadPoolExecutor() as beside:
            filling = beside.submit(self.bench.fill, self.deployment, calls, LOAD_ACCOUNTS, rate)
            time.sleep(SETTLE)
            yield
            filling.result()
        self.await_calls(calls)

    # --- questions ---

    def asking(self, whom, what, per_second, connections, seconds):
        """The arguments of a program that asks."""
        expected = {"accounts": '"provisional":true', "live": "alive"}[what]
        return (self.addresses[whom], per_second, seconds, connections, expected, self.deployment.config.parent / what)

    def ask(self, *how):
        asking = self.asking(*how)
        got = self.bench.tool("ask", *asking)
        if got["failed"] > 0:
            raise frame.Failed(f"{got['failed']} of {got['answers']} answers of {asking} were not as expected")
        return got

    @contextlib.contextmanager
    def asked(self):
        """Somebody asks the owner as long as this lasts."""
        arguments = map(str, self.asking("at the owner", "accounts", PER_SECOND, CONNECTIONS, frame.TOOL_SECONDS))
        process = subprocess.Popen([frame.PROGRAMS / "ask", *arguments], stdin=subprocess.DEVNULL)
        try:
            yield
            if process.poll() is not None:
                raise frame.Failed("nobody asked any more")
        finally:
            process.kill()
            process.wait()

    def answer(self, questions, seconds):
        """What questions and health probes took, in turn: (settled's figures, the baseline's)."""
        with self.load(questions.share, 3 * seconds):
            live = self.ask(questions.whom, "live", PER_SECOND, CONNECTIONS, seconds)
            accounts = self.ask(questions.whom, "accounts", PER_SECOND, CONNECTIONS, seconds)
            eager = self.ask(questions.whom, "accounts", 0, EAGER, seconds)
        return ({questions.p50: accounts["p50_ms"], questions.p99: accounts["p99_ms"], questions.most: eager["per_second"]},
                {questions.p50: live["p50_ms"], questions.p99: live["p99_ms"]})

    # --- freshness ---

    def told(self, connection):
        """How many calls the owner counts of the probe."""
        connection.request("GET", f"/v1/accounts/{self.probe}")
        answer = json.loads(connection.getresponse().read())
        return answer["days"][0]["calls"] if answer["provisional"] else 0

    def probe_once(self, connection):
        """When a call was acknowledged, and when an answer counted it."""
        self.probes += 1
        self.deployment.call(self.probe, f"probe-{self.probes}", now_ms(), timestamp=now_ms())
        self.deployment.flush()
        acknowledged = time.monotonic()
        while self.told(connection) < self.probes:
            if time.monotonic() > acknowledged + frame.SEEN_SECONDS:
                raise frame.Failed(f"no answer counts call {self.probes} of {self.probe}")
        return acknowledged, time.monotonic()

    def probe_all(self, freshness, seconds):
        """One call after the other, for so long: (settled's figures, the baseline's)."""
        took, bare = [], []
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(contextlib.closing(
                http.client.HTTPConnection(self.addresses["at the owner"], timeout=frame.SEEN_SECONDS)))
            listener = freshness.bare and stack.enter_context(contextlib.closing(Bare(self.deployment, self.probe)))
            stack.enter_context(self.load(freshness.share, seconds))
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                acknowledged, answered = self.probe_once(connection)
                took.append((answered - acknowledged) * 1000)
                if listener:
                    listener.await_count(len(took))
                    bare.append(max(listener.seen[-1] - acknowledged, SEEN_AT_ONCE) * 1000)
        return freshness.figures(took, bare)


def turns(subjects, number):
    """All of them, in an order that changes."""
    first = number % len(subjects)
    return subjects[first:] + subjects[:first]


def measure_round(bench, subjects, figures, number):
    """`subjects`: [(who, subject)]"""
    calls, seconds = bench.size(2_000_000, 20_000), bench.size(ASK_SECONDS, 0.3)
    for who, subject in subjects:
        subject.start()
        subject.rate = subject.take_in(calls)

    def add(who, settled, baseline):
        figures.add(who, settled)
        if who == "settled":
            figures.add("baseline", baseline)
    for questions in QUESTIONS:
        for who, subject in turns(subjects, number):
            if bench.wants(*questions.rows):
                add(who, *subject.answer(questions, seconds))
    for freshness in FRESHNESS:
        for who, subject in turns(subjects, number):
            if bench.wants(*freshness.rows):
                add(who, *subject.probe_all(freshness, seconds))
    for who, subject in turns(subjects, number):
        if bench.wants(INGEST):
            alone = subject.take_in(calls)
            with subject.asked():
                add(who, {INGEST: subject.take_in(calls)}, {INGEST: alone})


def measure(bench):
    figures = frame.Figures(bench)
    for number in bench.rounds():
        with contextlib.ExitStack() as stack:
            subjects = []
            for who, program in bench.programs.items():
                deployment = stack.enter_context(bench.deployment(program, partitions=PARTITIONS, workers=1))
                subjects.append((who, Subject(bench, deployment)))
            measure_round(bench, subjects, figures, number)
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
