"""The table of faults: each row says how a fault is injected, and how often in the short and in the long form."""

import pathlib
import random
import re
import signal
import subprocess
import time

import worlds_path  # noqa: F401  puts tests/lib, tests/worlds and tests on the path
import late
import sites
from deployment import INPUTS, ROOT
from fake_registry import FakeRegistry
from oracle import rules
from proxy import DOWN, UP
from subject import SESSION_MS, TRANSACTION_MS, Subject, wait_for

SOURCES = ROOT / "consumer"
POINT = re.compile(r"\bfault_point\((\w+)\)")
# Points that are passed often, so it matters which passage is taken.
BUSY = {"step_built", "step_committed", "step_done", "commit_locked", "commit_before", "commit_after", "rows_loaded",
        "produce_before", "row_produced", "produce_after", "offsets_before", "transaction_end_before",
        "transaction_end_after", "mark_before", "mark_after", "log_cut", "close_before", "close_after", "snapshot_piece"}
BESIDE = {"beside_built", "beside_committed"}  # only a large step passes them
# test_retire_kills.py has them.
RETIRE = {"detach_before", "detach_after", "part_opened", "part_written", "part_read", "part_named", "drop_before",
          "drop_after"}
MONTHLY = {"month_taken"}  # a month of the stream takes a minute or two
OPERATOR = {"requeue_asked", "requeue_produced", "requeue_positioned", "requeue_committed", "requeue_recorded"}


def points():
    """The names in the source, without the macro's own definition."""
    found = set()
    for path in SOURCES.rglob("*.c"):
        found |= set(POINT.findall(path.read_text()))
    return sorted(found)


# --- kill -9 at a named point ---

def kill_at_point(subject, rng, point, slot=None):
    slot = slot or rng.choice(subject.slots)
    fault = f"{point}:{rng.randrange(1, 5) if point in BUSY else 1}"
    victim, provoked = subject.restart(slot, fault), time.monotonic() + 5
    patience = 600 if point in MONTHLY else 90
    deadline = time.monotonic() + patience
    while victim.process.poll() is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"{fault} was not passed within {patience} s:\n{victim.log[-3000:]}")
        if time.monotonic() > provoked:
            provoke(subject, slot, point)
            provoked = time.monotonic() + 15
        time.sleep(0.05)
    victim.wait(5)
    if f"fault point {point}: kill" not in victim.log:
        raise AssertionError(f"{fault}: ended with {victim.process.returncode} by itself:\n{victim.log[-3000:]}")
    return fault


def provoke(subject, slot, point):
    """Makes happen what does not happen by itself."""
    if point in ("group_revoked", "shard_revoked"):
        extra = subject.join()
        time.sleep(3)
        extra.stop()
    elif point == "shard_fenced":
        subject.deployment.sql("update settled.shards set epoch = epoch + 1 returning 1")
    elif point == "shard_shutdown":
        if "shard claimed" in slot.process.log:
            slot.process.process.send_signal(signal.SIGTERM)
    elif point in BESIDE:
        subject.stream.extra.append(lambda t: send_crowd(subject, t))
    elif point in ("schema_before", "schema_after"):
        # One for each partition: if two processes look for the same id, only the first passes these points.
        for accounts in subject.stream.accounts.values():
            number = 100 + len(subject.schemas)
            subject.add_schema(number)
            subject.stream.extra.append(lambda t, a=accounts[0], n=number: subject.stream.call(a, t, t, None, n))


def send_crowd(subject, timestamp, each=2600):
    """So many accounts of every shard have a call, and are suspended, that the close of their day is a large step."""
    for number in range(each * subject.deployment.partitions):
        subject.stream.call(f"crowd-{number}", timestamp, timestamp, None)


# --- kill -9 at random ---

def kill_at_random(subject, rng, _):
    victims = subject.slots if rng.random() < 0.3 else [rng.choice(subject.slots)]
    delay = rng.uniform(0, 3)
    time.sleep(delay)
    for slot in victims:
        slot.kill()
    return f"{len(victims)} after {delay:.2f} s"


# --- stopped beyond the time-outs, and going on beside the new owner ---

def stop_and_continue(subject, rng, _):
    slot = rng.choice(subject.slots)
    time.sleep(rng.uniform(0, 1))
    slot.process.process.send_signal(signal.SIGSTOP)
    seconds = (SESSION_MS + TRANSACTION_MS) / 1000 + rng.uniform(1, 4)
    time.sleep(seconds)
    slot.process.process.send_signal(signal.SIGCONT)
    return f"process {slot.number} for {seconds:.1f} s"


# --- joining and leaving ---

def join_and_leave(subject, rng, _):
    time.sleep(rng.uniform(0, 1.5))
    extra = subject.join()
    stay = rng.uniform(0.2, 5)
    time.sleep(stay)
    if rng.random() < 0.5:
        status = extra.stop()
        if status not in (0, 69, 75):
            subject.problems.append(f"the third process ended with {status}:\n{extra.process.log[-3000:]}")
        return f"left after {stay:.1f} s"
    extra.held = True
    extra.process.kill()
    return f"killed after {stay:.1f} s"


# --- brokers ---

BROKERS = {
    "leader of an input": lambda s, rng: s.cluster.leader(
        s.deployment.topics[rng.choice(list(INPUTS))], rng.randrange(s.deployment.partitions)),
    "leader of an output": lambda s, rng: s.cluster.leader(
        s.deployment.topics["settlements"], rng.randrange(s.deployment.partitions)),
    "transaction coordinator": lambda s, rng: s.cluster.coordinator(
        "__transaction_state", f"{s.deployment.name}-relay-{rng.randrange(s.deployment.partitions)}"),
    "group coordinator": lambda s, rng: s.cluster.coordinator("__consumer_offsets", s.deployment.name),
}


def kill_broker(subject, rng, role):
    node = BROKERS[role](subject, rng)
    time.sleep(rng.uniform(0, 1))
    node.kill()
    seconds = rng.uniform(0, 8)
    time.sleep(seconds)
    subject.cluster.do(node.start)
    subject.cluster.wait_in_sync()
    return f"{role}: {node.name} for {seconds:.1f} s"


# --- PostgreSQL ---

def hurt_postgres(subject, rng, kind):
    if kind == "reply to COMMIT lost":
        before = subject.proxy.swallowed
        count = rng.randrange(1, 4)
        for _ in range(count):
            subject.proxy.swallow_commit()
        wait_for(lambda: subject.proxy.swallowed >= before + count, 60,
                 lambda: f"{subject.proxy.swallowed - before} of {count} COMMITs went through the proxy")
        return f"{kind}: {count} times"
    time.sleep(rng.uniform(0, 1))
    if kind == "killed":
        subject.postgres.kill()
    else:  # what pg_ctl calls an immediate shutdown
        subject.postgres.process.send_signal(signal.SIGQUIT)
        subject.postgres.process.wait(30)
    seconds = rng.uniform(0, 6)
    time.sleep(seconds)
    subject.cluster.do(subject.postgres.start)
    return f"{kind}, for {seconds:.1f} s"


# --- network ---

def cut_network(subject, rng, kind, longest=60):
    target, ways = kind
    proxies = [subject.proxy] if target == "database" else [n.proxy for n in subject.cluster.kafka.nodes]
    seconds, reset = rng.uniform(1, longest), rng.random() < 0.5
    for proxy in proxies:
        proxy.cut(ways)
    time.sleep(seconds)
    for proxy in proxies:
        proxy.heal(reset)
    return f"{target}, {' and '.join(ways)}, {seconds:.1f} s, then {'reset' if reset else 'resumed'}"


# --- disk ---

def fill_disk(subject, rng, _):
    filler = pathlib.Path(subject.postgres.folder).parent / "filler"
    with open(filler, "wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    wait_for(lambda: any("trying on" in slot.process.log for slot in subject.slots), 60,
             lambda: "no process says that the database is in trouble")
    seconds = rng.uniform(1, 8)
    time.sleep(seconds)
    filler.unlink()
    died = not subject.postgres.running
    if died:  # it cannot go on without room for its log, and must be started again
        subject.cluster.do(subject.postgres.start)
    return f"full for {seconds:.1f} s{', PostgreSQL gave up' if died else ''}"


# --- clock ---

def step_clock(subject, rng, way):
    slot = subject.slots[rng.randrange(len(subject.slots))]
    subject.stream.step_clock(slot.clock, way * 3_600_000)
    seconds = rng.uniform(2, 6)
    time.sleep(seconds)
    subject.stream.step_clock(slot.clock, 0)
    return f"process {slot.number} {way:+} h for {seconds:.1f} s"


# --- requeue ---

def kill_requeue(subject, rng, point):
    """The operator's command is killed, and run again: each record is sent once more, exactly once."""
    stream, deployment = subject.stream, subject.deployment
    count = rng.randrange(1, 4)

    def astray(timestamp, account, partition, number):
        """Sends a call into the wrong partition: it is rejected there, and must be billed once it was requeued."""
        deployment.send("calls", {
            "call_id": f"astray-{timestamp}-{number}", "account_id": account, "service": "AUDIENCE_INSIGHT",
            "lead_count": None, "occurred_at": timestamp, "request_id": None}, timestamp, partition=partition)
        stream.tally[account, "AUDIENCE_INSIGHT", rules.day_of(timestamp)] += 1

    for number in range(count):
        home = rng.randrange(deployment.partitions)
        astray_at = (rng.choice(stream.accounts[home]), (home + 1) % deployment.partitions, number)
        stream.extra.append(lambda t, a=astray_at: astray(t, *a))
    wait_for(lambda: len(open_rejects(subject)) >= count, 60, lambda: f"{open_rejects(subject)} of {count} rejects")
    command = [subject.settled, "rejects", "requeue", "-c", deployment.config, "--reason", "MISROUTED"]
    # Each point is passed once a record, but that of asking: one request asks about all records of a partition.
    times = 1 if point == "requeue_asked" else rng.randrange(1, count + 1)
    environment = {"SETTLED_FAULT": f"{point}:{times}", "PATH": "/usr/bin"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
                          check=False)
    if done.returncode != -signal.SIGKILL or f"fault point {point}" not in done.stderr:
        raise AssertionError(f"{point}: requeue ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    deployment.run("rejects", "requeue", "--reason", "MISROUTED")
    wait_for(lambda: not open_rejects(subject), 60, lambda: f"{open_rejects(subject)} have no decision")
    return f"{point}, {count} records"


def open_rejects(subject):
    return subject.deployment.sql("select topic, partition, kafka_offset from settled.rejects"
                                  " where reason = 'MISROUTED' and decision is null")


def check_requeued(subject):
    """One copy of each, and one decision about each."""
    found = []
    rejects = subject.deployment.sql("select kafka_offset, partition, decision from settled.rejects"
                                     " where reason = 'MISROUTED'")
    copies = {}
    from checks import Facts
    facts = Facts(subject.deployment, subject.stream.now, subject.schemas)
    for messages in facts.read(rules.CALLS).values():
        for message in messages:
            headers = dict(message.headers() or [])
            if "settled_requeued_offset" in headers:
                key = int(headers["settled_requeued_offset"]), int(headers["settled_requeued_partition"])
                copies[key] = copies.get(key, 0) + 1
    for offset, partition, decision in rejects:
        if decision is None:
            found.append(f"requeue: no decision about calls/{partition}/{offset}")
    if copies != {(offset, partition): 1 for offset, partition, _ in rejects}:
        found.append(f"requeue: copies {copies} of {rejects}")
    return found


# --- a fail-over that loses commits ---

def fail_over(cluster, settled, rng, number, say):
    """Kafka has rows that the promoted standby never got: the processes halt and say so. Then either `repair` restores
    them from the topics, even if it is killed on the way, or the old primary returns."""
    primary = cluster.postgres()
    subject = Subject(settled, cluster, primary, number, processes=1)
    standby = None
    try:
        subject.start()
        subject.converge()
        standby, lost = lag_behind(cluster, subject, primary, rng)
        published = subject.deployment.sql("select sum(relayed) from settled.shards")[0][0]
        halt_twice(cluster, subject, primary, standby)
        if number % 2 == 0:
            ended = bring_back(subject, standby, rng)
        else:
            ended = "the primary came back"
            cluster.do(standby.kill)
            cluster.do(primary.start)
        slot = subject.slots[0]
        slot.config = subject.write_config(0, False, None)
        begun = subject.stream.now
        slot.start()
        subject.stream.pass_days(begun, 1)
        subject.judge()
        say(f"{lost} steps lost, {published} rows published, halted twice, {ended}: {subject.statistics()}")
        return subject.problems
    finally:
        subject.close()
        for service in (standby, primary):
            if service:
                cluster.do(service.kill)


def lag_behind(cluster, subject, primary, rng):
    """A standby that follows for a while only; how many steps it lacks."""
    standby = cluster.standby(primary)
    subject.stream.go_on()
    time.sleep(rng.uniform(1, 3))
    standby.lag()
    behind = standby.sql("select sum(step) from settled.shards", subject.database)
    time.sleep(rng.uniform(3, 6))
    subject.converge()
    return standby, int(primary.sql("select sum(step) from settled.shards", subject.database)) - int(behind)


def halt_twice(cluster, subject, primary, standby):
    """First the process that was running during the fail-over halts, at its next commit; then a new one does, before it
    writes anything."""
    slot = subject.slots[0]
    slot.held = True
    slot.config = subject.deployment.write_config("failover.yaml", kafka={
        "brokers": cluster.brokers, "properties": {"session.timeout.ms": str(SESSION_MS)}}, postgres={"dsn": (
            f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname={subject.database} "
            "target_session_attrs=read-write")})
    subject.restart(slot)
    slot.held = True
    slot.process.await_ready()
    cluster.do(primary.kill)
    standby.promote()
    subject.stream.go_on()
    for what in ("has lost commits", "Kafka holds rows up to sequence"):
        status, said = slot.process.wait(60), slot.process.log
        if status != 78 or what not in said:
            subject.problems.append(f"it ended with {status} and did not say that it {what!r}:\n{said[-3000:]}")
        if what == "has lost commits":
            slot.start()
            slot.held = True


def bring_back(subject, standby, rng):
    """`repair` is killed at a commit, run again, and run once more with nothing left to do."""
    deployment = subject.deployment
    subject.postgres = standby
    subject.watch.epochs = {}  # it lacks epochs that the primary had, and comes there in other steps
    deployment.dsn = subject.dsn_of(subject.database)
    deployment.config = subject.write_config(0, False, None)
    point = f"{rng.choice(['commit_before', 'commit_after', 'commit_locked'])}:{rng.randrange(1, 6)}"
    done = subprocess.run([subject.settled, "repair", "-c", deployment.config], stdin=subprocess.DEVNULL,
                          env={"SETTLED_FAULT": point, "PATH": "/usr/bin"}, capture_output=True, text=True, timeout=120,
                          check=False)
    if done.returncode not in (0, -signal.SIGKILL):
        subject.problems.append(f"repair ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    said = deployment.run("repair")
    again = deployment.run("repair")
    if again.count("nothing is missing") != deployment.partitions:
        subject.problems.append(f"a repaired database is not whole:\n{said}{again}")
    killed = f"killed at {point}" if done.returncode else "not killed"
    return f"repaired from the topics ({killed}, then again)"


# --- the table ---

class Row:
    def __init__(self, name, title, inject, variants=(None,), short=1, long=1, together=1, each_process=False, alone=False,
                 options=None, prepare=None, each_judged=False, world=None, **subject):
        """`short` and `long`: how often, in turn through the variants. `together`: so many in the short form before all
        must be settled; `each_process`: these fall to the processes side by side. `alone`: it hurts every world of the
        cluster. `prepare`: what a world needs before; `each_judged`: what is wrong after one says nothing of the next.
        `world`: so many a world at most, where it is not the usual number."""
        self.name, self.title, self.inject, self.variants = name, title, inject, list(variants)
        self.times, self.together = {"short": short, "long": long}, {"short": together, "long": 1}
        self.alone, self.each_process, self.options, self.subject = alone, each_process, options or {}, subject
        self.prepare, self.each_judged, self.world = prepare or (lambda subject: None), each_judged, world


PROCESS_POINTS = [point for point in points() if point not in OPERATOR | BESIDE | RETIRE]
NETWORK = [(target, ways) for ways in ((UP, DOWN), (UP,), (DOWN,)) for target in ("broker", "database")]

TABLE = [
    Row("points", "kill -9 at a named point", kill_at_point, PROCESS_POINTS, len(PROCESS_POINTS),
        20 * len(PROCESS_POINTS), together=10, each_process=True),
    Row("beside", "kill -9 while a large step is committed beside the fold", kill_at_point, sorted(BESIDE), len(BESIDE),
        20 * len(BESIDE)),
    Row("random", "kill -9 at a random moment", kill_at_random, short=10, long=200, together=2),
    Row("stopped", "stopped beyond session and transaction time-outs, going on beside the new owner",
        stop_and_continue, short=2, long=50),
    Row("joins", "a third process joining and leaving", join_and_leave, short=3, long=100),
    Row("postgres", "PostgreSQL killed, shut down at once, the reply to COMMIT lost", hurt_postgres,
        ["killed", "reply to COMMIT lost", "shut down at once", "reply to COMMIT lost"], 8, 200, together=2,
        proxied=True),
    Row("network", "network cut to brokers or database, one way and both", cut_network, NETWORK, 3, 50, proxied=True,
        options={"short": {"longest": 8}}),
    Row("disk", "disk full for PostgreSQL", fill_disk, short=1, long=10),
    Row("clock", "a process's clock stepped by an hour, both ways", step_clock, [1, -1], 2, 50),
    Row("requeue", "kill -9 of rejects requeue at a named point", kill_requeue, sorted(OPERATOR), len(OPERATOR),
        20 * len(OPERATOR)),
    Row("failover", "fail-over to a standby that is some commits behind, repaired or undone", None, short=1, long=20),
    Row("late", "request of the relay's producer arriving late, in another transaction", late.arrive_late,
        late.all_cases(), len(late.FIRST), 500, together=5, prepare=late.lend, each_judged=True, world=10,
        brokers_proxied=True),
    Row("readonly", "PostgreSQL read-only for a while, or failed over to one that is", sites.turn_read_only,
        [sites.STANDBY, sites.SETTING, sites.RESTARTED], 3, 32, together=3, prepare=sites.follow, proxied=True),
    Row("open", "a transaction of a producer left open over a cutoff", sites.leave_open, sites.OPEN_ENDS, 3, 30, together=3,
        run={"open_transaction_wait": f"{sites.OPEN_WAIT}s"}),
    Row("bound", "records at the bounds of what one may cost, and kill -9", sites.go_to_the_bounds, long=30,
        book=sites.dearest_book()),
    Row("registry", "a registry that answers anything, then right", sites.answer_anything, long=24,
        registry=FakeRegistry),
    Row("brokers", "broker killed and started again", kill_broker, list(BROKERS), 4, 100, alone=True),
]


def rng_of(row, number):
    return random.Random(f"{row.name} {number}")
