"""A deployment under faults: processes that are started again as systemd would, a stream of input, and its judgement."""

import contextlib
import pathlib
import shutil
import signal
import tempfile
import threading
import time

import checks
import confluent_kafka
import psycopg
from deployment import OUTPUTS, ROOT, SCHEMAS, Deployment
from proxy import PostgresProxy
from stream import FIRST_DAY, GRACE, LATE_DAYS, Stream
from oracle import rules
import world as worlds  # of tests/worlds

SESSION_MS, TRANSACTION_MS, IDLE_MS = 3000, 5000, 6000
CONVERGE_SECONDS = 120
TRANSIENT = {69, 75}  # what it needs is not there yet; it asks to be started again


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what()}")
        time.sleep(0.05)


class Slot:
    """A place for a process. A process that ends is started again, unless the slot is held."""

    def __init__(self, subject, number, config):
        self.subject, self.number, self.config = subject, number, config
        self.clock = subject.folder / f"clock-{number}"
        self.process, self.held = None, True
        self.starts = 0
        self.lock = threading.RLock()

    def start(self, fault=None):
        with self.lock:
            environment = {"SETTLED_FAULT_CLOCK": str(self.clock)}
            if fault:
                environment["SETTLED_FAULT"] = fault
            self.process = self.subject.deployment.start(config=self.config, environment=environment)
            self.held = False
            self.starts += 1
            return self.process

    def stop(self, number=signal.SIGTERM, seconds=45):
        with self.lock:
            self.held = True
            if self.process and self.process.process.poll() is None:
                self.process.process.send_signal(signal.SIGCONT)
                return self.process.stop(number, seconds)
            return None

    def kill(self):
        """SIGKILL; it is started again."""
        if self.process.process.poll() is None:
            self.process.process.kill()

    def look(self):
        """Starts again what has ended."""
        with self.lock:
            if self.held or self.process.process.poll() is None:
                return
            status = self.process.wait(5)  # and what it said last
            if status not in TRANSIENT | {-signal.SIGKILL}:
                self.subject.problems.append(f"a process ended with {status}:\n{self.process.log[-3000:]}")
            if status in TRANSIENT:
                time.sleep(0.3)
            self.start()


class Subject:
    def __init__(self, settled, cluster, postgres, seed, processes=2, proxied=False, partitions=4, dsn=None,
                 brokers_proxied=False, book=None, registry=None, run=None):
        """`book`: the text of another price book. `registry`: makes the one that the processes ask, by schemas. `run`: more
        of that section of their configurations."""
        self.settled, self.cluster, self.postgres, self.seed = settled, cluster, postgres, seed
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="settled-faults-"))
        self.problems, self.done = [], []
        self.brokers_proxied = brokers_proxied  # for every process, not only the one that `proxied` means
        (self.folder / "snapshots").mkdir()
        self.run, self.registry = {"snapshots": str(self.folder / "snapshots"), **(run or {})}, None
        self.more = {}
        if book:
            self.more["book"] = self.folder / "book.yaml"
            self.more["book"].write_text(book)
        self.watch = checks.Watch()
        self.database = f"faults_{seed}_{time.monotonic_ns() % 10**9}"
        self.create_database(self.database)
        self.proxy = PostgresProxy(postgres.port) if proxied else None
        self.deployment = Deployment(settled, cluster.brokers, self.dsn_of(self.database), self.folder,
                                     partitions=partitions, workers=1, replicas=3, first_day=FIRST_DAY,
                                     grace=f"{GRACE // 60_000}m", late_days=LATE_DAYS,
                                     max_refused_share="100%", **self.more)
        cluster.await_topics(self.deployment.topics.values())
        self.schemas = {number: (ROOT / "schemas" / "avro" / f"{name}.avsc").read_text()
                        for name, number in SCHEMAS.items()}
        self.closing = contextlib.ExitStack()  # what is to be closed with it
        if registry:
            self.registry = registry(self.schemas)
            self.closing.callback(self.registry.stop)
        self.slots = [Slot(self, number, self.write_config(number, proxied and number == 0, dsn))
                      for number in range(processes)]
        self.extra = None  # a process that comes and goes
        self.stream = Stream(self.deployment, [slot.clock for slot in self.slots], seed)
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    # --- set up ---

    def create_database(self, name):
        with psycopg.connect(self.postgres.dsn, autocommit=True) as connection:
            connection.execute(f"create database {name}")

    def dsn_of(self, database, port=None):
        # A process that is stopped in a transaction must not hold the shard's row for longer than a test waits.
        return (f"postgresql://postgres@127.0.0.1:{port or self.postgres.port}/{database}"
                f"?options=-cidle_in_transaction_session_timeout%3D{IDLE_MS}")

    def write_config(self, number, proxied, dsn):
        properties = {"session.timeout.ms": str(SESSION_MS), "heartbeat.interval.ms": "500",
                      "transaction.timeout.ms": str(TRANSACTION_MS)}
        brokers = self.cluster.proxied_brokers if proxied or self.brokers_proxied else self.cluster.brokers
        return self.deployment.write_config(
            f"process-{number}.yaml", kafka={"brokers": brokers, "properties": properties},
            postgres={"dsn": dsn or self.dsn_of(self.database, self.proxy.port if proxied else None)},
            run=self.run, schemas={"directory": None, "registry": self.registry.url} if self.registry else {})

    def start(self):
        self.stream.start()
        for slot in self.slots:
            slot.start()
        self._supervisor.start()

    def _supervise(self):
        while not self._ended.wait(0.1):
            for slot in self.slots:
                slot.look()

    # --- operating it ---

    def restart(self, slot, fault=None):
        status = slot.stop()
        if status not in (0, None, *TRANSIENT, -signal.SIGKILL, -signal.SIGTERM):  # the last: it had just begun
            self.problems.append(f"SIGTERM: ended with {status}:\n{slot.process.log[-3000:]}")
        return slot.start(fault)

    def join(self):
        """One more member of the group."""
        self.extra = Slot(self, len(self.slots), self.slots[-1].config)
        self.extra.clock = self.slots[-1].clock
        self.extra.start()
        return self.extra

    def add_schema(self, number):
        """A writer's schema that no process has seen."""
        text = self.schemas[SCHEMAS["CallRecord"]]
        (self.deployment.folder / self.deployment.name / "schemas" / f"{number}.avsc").write_text(text)
        self.schemas[number] = text

    # --- judgement ---

    def lag(self, ends):
        """What is still to be done, in words; empty when everything is read, settled and published."""
        deployment, lacking = self.deployment, []
        read = {(topic, shard): offset for shard, topic, offset in
                deployment.sql("select shard, topic, next_offset from settled.shard_logs")}
        for log in rules.LOGS:
            for partition, end in enumerate(ends[log]):
                at_offset = read.get((deployment.topics[log], partition), 0)
                if at_offset != end:
                    lacking.append(f"{log}/{partition} is read up to {at_offset} of {end}")
        shards = deployment.sql("select shard, open_day, sequence, relayed from settled.shards order by 1")
        if len(shards) < deployment.partitions:
            lacking.append(f"only the shards {[row[0] for row in shards]} were claimed")
        for shard, open_day, sequence, relayed in shards:
            if open_day is None or worlds.day_number(open_day) != self.stream.open_day:
                lacking.append(f"shard {shard} has day {open_day} open, not {rules.date_of(self.stream.open_day)}")
            if relayed != sequence:
                lacking.append(f"shard {shard} has {sequence} rows, of which {relayed} are published")
        return lacking

    def ends(self):
        facts = worlds.World.__new__(worlds.World)
        facts.brokers, facts.name, facts.topics = self.cluster.brokers, self.deployment.name, self.deployment.topics
        facts.generator, facts.open_transaction = self.deployment, None
        return worlds.World.ends(facts)

    def converge(self, seconds=CONVERGE_SECONDS):
        """Stops the stream, waits until all of it is settled and published, and checks the invariants."""
        self.stream.hold()
        begun, ends = time.monotonic(), self.ends()
        while True:
            try:
                lacking = self.lag(ends)
            except psycopg.OperationalError as error:
                lacking = [f"PostgreSQL: {error}"]
            if not lacking:
                break
            if time.monotonic() - begun > seconds:
                logs = "".join(f"\n--- process {slot.number} ({slot.starts} starts)\n{slot.process.log[-4000:]}"
                               for slot in self.slots)
                raise AssertionError(f"I10: not settled {seconds} s after the fault: {'; '.join(lacking[:6])}{logs}")
            time.sleep(0.2)
        self.problems += self.watch.look(self.deployment)
        self.problems += checks.check_invariants(self.deployment)
        return time.monotonic() - begun

    def judge(self, calm=True):
        """Compares everything with the topics, the oracle, the audit and (calm) a run without faults over the same
        input."""
        self.converge()
        deployment, clock = self.deployment, self.stream.now
        self.problems += checks.check_tally(deployment, self.stream.tally, self.stream.open_day - 1)
        self.problems += checks.compare_with_oracle(deployment, clock, self.schemas)
        self.problems += checks.audit(deployment)
        by_record = deployment.sql("select 1 from settled.day_cutoffs where cut_by <> 'RECORD' limit 1") == []
        if calm and by_record:
            self.problems += self.compare_with_calm(clock)
        return self.problems

    def compare_with_calm(self, clock):
        database = f"{self.database}_calm"
        self.create_database(database)
        calm = Deployment(self.settled, self.cluster.brokers, self.dsn_of(database), self.folder,
                          partitions=self.deployment.partitions, workers=1, inputs_of=self.deployment, replicas=3,
                          **{name: self.deployment.billing[name] for name in ("first_day", "grace", "late_days",
                                                                     "max_refused_share")}, **self.more)
        self.cluster.await_topics(calm.topics.values())
        for number, text in self.schemas.items():
            (calm.folder / calm.name / "schemas" / f"{number}.avsc").write_text(text)
        try:
            calm.drain(worlds.rfc3339(clock))
            return [f"calm: {each}" for each in checks.compare_runs(calm, self.deployment)]
        finally:
            calm.close()
            calm.delete_topics(list(OUTPUTS))

    def statistics(self):
        days, settlements, changes, rejects = (self.deployment.sql(f"select count(*) from settled.{table}")[0][0]
                                               for table in ("day_closes", "settlements", "status_changes", "rejects"))
        records = sum(sum(each) for each in self.ends().values())
        return (f"{records} records, {days} closes, {settlements} settlements, {changes} status changes, "
                f"{rejects} rejects")

    def close(self):
        self._ended.set()
        if self._supervisor.is_alive():
            self._supervisor.join(60)
        self.stream.stop()
        self.closing.close()
        self.deployment.close()
        with contextlib.suppress(confluent_kafka.KafkaException, TimeoutError):  # a cluster of many topics restarts slowly
            self.deployment.delete_topics(list(self.deployment.topics))
        if self.proxy:
            self.proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)
