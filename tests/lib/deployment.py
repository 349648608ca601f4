"""One deployment of settled for a test: topics, database, schemas and configuration of its own, records in, results out.

Records carry their own timestamps (`timestamps: create`), so that days pass as fast as they are read.
"""

import collections
import contextlib
import datetime
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid

import confluent_kafka
import confluent_kafka.admin
import fastavro
import psycopg

import services

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZONE = datetime.timezone(datetime.timedelta(hours=8))
INPUTS = {"calls": "CallRecord", "purchases": "PackagePurchase", "credits": "AccountCredit"}
OUTPUTS = {"settlements": "Settlement", "status": "AccountStatusChanged", "day_closes": "DayClosed", "rejects": "Reject",
           "notices": "AccountNotice", "statements": "MonthStatement"}
SCHEMAS = {name: number for number, name in enumerate([*INPUTS.values(), *OUTPUTS.values()], 1)}


def parsed_schema(record):
    return fastavro.parse_schema(json.loads((ROOT / "schemas" / "avro" / f"{record}.avsc").read_text()))


def at(day, clock="00:00:00"):
    """Milliseconds of a local date and time."""
    return int(datetime.datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZONE).timestamp() * 1000)


class Process:
    """A running `settled run`."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})})
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait(self, seconds=90):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"settled did not end within {seconds} s:\n{self.log[-6000:]}") from None
        self._reader.join(10)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)

    def stop(self, number=signal.SIGTERM, seconds=20):
        self.process.send_signal(number)
        return self.wait(seconds)

    def await_line(self, pattern, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in list(self.lines):
                found = re.search(pattern, line)
                if found:
                    return found
            if self.process.poll() is not None:
                self._reader.join(10)
                raise AssertionError(f"settled ended with {self.process.returncode} before {pattern!r}:\n{self.log}")
            time.sleep(0.05)
        raise AssertionError(f"no line {pattern!r} within {seconds} s:\n{self.log[-6000:]}")

    @property
    def port(self):
        return int(self.await_line(r"http listens.* port=(\d+)").group(1))

    def get(self, path):
        """Status and text of a GET."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name, **labels):
        """The sum of the metric's values over all series that carry the labels."""
        total = 0
        text = self.get("/metrics")[1]
        assert f"# TYPE {name} " in text, f"there is no metric {name}"
        for line in text.splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and all(f'{key}="{value}"' in (found.group(1) or "") for key, value in labels.items()):
                total += float(found.group(2))
        return total

    def await_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status, text = self.get("/healthz/ready")
            if status == 200:
                return
            time.sleep(0.1)
        raise AssertionError(f"not ready within {seconds} s ({text.strip()}):\n{self.log[-6000:]}")


def alter_topic(brokers, topic, **settings):
    """Sets a topic's settings, and waits until every broker answers with them, because the brokers' copies lag a
    little."""
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": brokers})
    wanted = {name.replace("_", "."): value for name, value in settings.items()}
    kind, change = confluent_kafka.admin.ConfigResource.Type.TOPIC, confluent_kafka.admin.AlterConfigOpType.SET
    resource = confluent_kafka.admin.ConfigResource(kind, topic, incremental_configs=[
        confluent_kafka.admin.ConfigEntry(name, value, incremental_operation=change) for name, value in wanted.items()])
    admin.incremental_alter_configs([resource])[resource].result(20)
    for number in admin.list_topics(timeout=20).brokers:
        await_settings(admin, number, confluent_kafka.admin.ConfigResource(kind, topic), wanted)


def await_settings(admin, broker, asked, wanted, seconds=20):
    """Waits until the broker with this number, which answers from its own copy, has the settings of the topic or broker
    asked for. It may not know a new topic yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = admin.describe_configs([asked], broker=broker)[asked].result(20)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() != confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            found = {}
        if found and all(found[name].value == value for name, value in wanted.items()):
            return
        assert time.monotonic() < deadline, f"broker {broker} still has {found} of {asked}"
        time.sleep(0.05)


def await_partitions(admin, topic, count, seconds=20):
    """Waits until the broker tells of so many partitions, none for a topic that was deleted: it has acknowledged the
    change before it answers by it, on a busy machine by more than a second."""
    deadline = time.monotonic() + seconds
    while True:
        found = admin.list_topics(timeout=20).topics.get(topic)
        if (len(found.partitions) if found else 0) == count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the broker does not tell of {count} partitions of {topic}")
        time.sleep(0.05)


class Deployment:
    def __init__(self, settled, brokers, dsn, folder, partitions=4, workers=2, inputs_of=None, replicas=1, framing="confluent",
                 notices=None, book=ROOT / "pricing" / "pricebooks" / "apcas.yaml", more_databases=(), **billing):
        self.settled, self.brokers, self.folder = settled, brokers, folder
        self.dsns = [dsn, *more_databases]
        self.partitions, self.replicas = partitions, replicas
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.topics = {key: f"{self.name}-{key.replace('_', '-')}" for key in (*INPUTS, *OUTPUTS)}
        if inputs_of:
            self.topics.update({key: inputs_of.topics[key] for key in INPUTS})
        self.billing = {"first_day": "2026-11-01", "grace": "5m", "timestamps": "create", **billing}
        self.workers, self.framing, self.book, self.notices = workers, framing, book, notices or {}
        self.processes = []
        self.schemas = {record: parsed_schema(record) for record in SCHEMAS}
        self.own_topics = [key for key in self.topics if not (inputs_of and key in INPUTS)]
        self._make_topics(self.own_topics)
        self.config = self.write_config()
        self.run("migrate")
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": brokers, "partitioner": "murmur2_random", "linger.ms": 20,
            "enable.idempotence": True})

    # --- set up ---

    @property
    def dsn(self):
        """Of the first database, which may be exchanged for a copy of it."""
        return self.dsns[0]

    @dsn.setter
    def dsn(self, dsn):
        self.dsns[0] = dsn

    def _make_topics(self, keys):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        stamps = {"message.timestamp.type": "LogAppendTime" if self.billing["timestamps"] == "log-append" else "CreateTime"}
        made = admin.create_topics([confluent_kafka.admin.NewTopic(self.topics[key], self.partitions, self.replicas,
                                                                   config=stamps) for key in keys])
        for each in made.values():
            each.result(30)
        kind = confluent_kafka.admin.ConfigResource.Type.TOPIC
        for number in admin.list_topics(timeout=20).brokers:
            for key in keys:
                await_settings(admin, number, confluent_kafka.admin.ConfigResource(kind, self.topics[key]), stamps)

    def add_topic(self, key):
        """One that settled knows nothing of; its name."""
        self.topics[key] = f"{self.name}-{key}"
        self.own_topics.append(key)
        self._make_topics([key])
        return self.topics[key]

    def delete_topics(self, keys):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        for each in admin.delete_topics([self.topics[key] for key in keys]).values():
            each.result(30)
        for key in keys:
            await_partitions(admin, self.topics[key], 0)

    def add_partitions(self, key, count):
        """So that it has `count`."""
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        new = confluent_kafka.admin.NewPartitions(self.topics[key], count)
        admin.create_partitions([new])[self.topics[key]].result(20)
        await_partitions(admin, self.topics[key], count)

    def write_config(self, name="settled.yaml", **sections):
        folder = self.folder / self.name
        schemas = folder / "schemas"
        schemas.mkdir(parents=True, exist_ok=True)
        for record, number in SCHEMAS.items():
            (schemas / f"{number}.avsc").write_bytes((ROOT / "schemas" / "avro" / f"{record}.avsc").read_bytes())
        config = {
            "kafka": {"brokers": self.brokers, "group": self.name, "properties": {"session.timeout.ms": "6000"}},
            "topics": self.topics,
            "schemas": {"directory": str(schemas), "framing": self.framing},
            "postgres": {"dsn": self.dsns if len(self.dsns) > 1 else self.dsn},
            "pricing": {"book": str(self.book)},
            "billing": self.billing,
            "notices": self.notices,
            "run": {"workers": self.workers},
            "http": {"listen": "127.0.0.1:0"},
        }
        for section, values in sections.items():
            merged = {**config.get(section, {}), **values}
            config[section] = {key: value for key, value in merged.items() if value is not None}  # None takes a key out
        path = folder / name
        path.write_text(json.dumps(config))  # JSON is YAML
        return path

    # --- the program ---

    def run(self, verb, *arguments, status=0, seconds=120):
        done = subprocess.run([self.settled, verb, "-c", self.config, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == status, f"settled {verb} ended with {done.returncode}:\n{done.stderr}{done.stdout}"
        return done.stdout + done.stderr

    def start(self, *arguments, config=None, environment=None):
        process = Process([self.settled, "run", "-c", config or self.config, *arguments], environment)
        self.processes.append(process)
        return process

    def drain(self, clock, status=0, seconds=120):
        process = self.start("--drain", "--clock", clock)
        ended = process.wait(seconds)
        assert ended == status, f"the drain ended with {ended}, not {status}:\n{process.log[-8000:]}"
        return process

    @staticmethod
    def until(condition, *processes, seconds=60):
        """Waits until the condition holds; shows the processes' logs if it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            ended = [process for process in processes if process.process.poll() is not None]
            if ended or time.monotonic() > deadline:
                what = f"a process ended with {ended[0].process.returncode}" if ended else f"not within {seconds} s"
                raise AssertionError(what + "".join(f"\n--- log\n{process.log[-6000:]}" for process in processes))
            time.sleep(0.05)

    def close(self):
        for process in self.processes:
            process.kill()

    # --- records in ---

    def head(self, schema):
        """What stands before a body."""
        return b"\0" + schema.to_bytes(8 if self.framing == "apicurio" else 4, "big")

    def encoded(self, key, record, schema=None):
        """`schema`: another id under which the record's schema is registered."""
        out = io.BytesIO()
        name = INPUTS[key]
        out.write(self.head(schema or SCHEMAS[name]))
        fastavro.schemaless_writer(out, self.schemas[name], record)
        return out.getvalue()

    def send(self, key, record, timestamp, account=None, partition=None, schema=None):
        self.send_bytes(key, self.encoded(key, record, schema), timestamp, account or record["account_id"], partition)

    def send_bytes(self, key, value, timestamp, account, partition=None, headers=None):
        where = {} if partition is None else {"partition": partition}
        while True:
            try:
                self.producer.produce(self.topics[key], value, account, timestamp=timestamp, headers=headers, **where)
                return
            except BufferError:
                self.producer.poll(0.1)

    def call(self, account, call_id, occurred_at, leads=None, timestamp=None, schema=None, request=None):
        self.send("calls", {
            "call_id": call_id, "account_id": account,
            "service": "AUDIENCE_INSIGHT" if leads is None else "PURCHASE_INTENT",
            "lead_count": leads, "occurred_at": occurred_at, "request_id": request}, timestamp or occurred_at + 1000,
            schema=schema)

    def top_up(self, account, credit_id, amount, credited_at, timestamp=None):
        self.send("credits", {
            "credit_id": credit_id, "account_id": account, "kind": "TOP_UP", "amount": amount, "currency": "CNY",
            "credited_at": credited_at, "reason": None, "reference": None}, timestamp or credited_at + 1000)

    def purchase(self, account, purchase_id, service, units, amount, purchased_at, timestamp=None, used=0):
        self.send("purchases", {
            "purchase_id": purchase_id, "account_id": account, "service": service, "units": units, "used": used,
            "amount": amount, "currency": "CNY", "purchased_at": purchased_at}, timestamp or purchased_at + 1000)

    def flush(self):
        assert self.producer.flush(60) == 0

    # --- results out ---

    def sql(self, statement, *parameters):
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement, parameters).fetchall()

    def everywhere(self, statement, *parameters):
        """The rows of all databases, in order."""
        rows = []
        for dsn in self.dsns:
            with psycopg.connect(dsn) as connection:
                rows += connection.execute(statement, parameters).fetchall()
        return sorted(rows)

    def read(self, key):
        """Every committed record of an output topic: (partition, key, headers, decoded)."""
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.brokers, "group.id": f"reader-{uuid.uuid4().hex}", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20})
        consumer.assign([confluent_kafka.TopicPartition(self.topics[key], p, 0) for p in range(self.partitions)])
        found, ended, deadline = [], set(), time.monotonic() + 60
        while len(ended) < self.partitions:
            assert time.monotonic() < deadline, f"{key} has no end"
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
                ended.add(message.partition())
                continue
            value = message.value()
            head = self.head(SCHEMAS[OUTPUTS[key]])
            assert value[:len(head)] == head
            body = fastavro.schemaless_reader(io.BytesIO(value[len(head):]), self.schemas[OUTPUTS[key]], None)
            found.append((message.partition(), message.key(), dict(message.headers() or []), body))
        consumer.close()
        return found

    def check_published(self):
        """Checks that each output row is in the topics exactly once, numbered from 1 without a gap, as in PostgreSQL;
        and that the program's own audit finds no difference."""
        sequences = collections.defaultdict(list)
        for key in OUTPUTS:
            for partition, _, _, body in self.read(key):
                assert body["shard"] == partition
                sequences[partition].append(body["sequence"])
        for partition, numbers in sequences.items():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), f"shard {partition}: {sorted(numbers)}"
        rows = self.everywhere("select account_id, business_day, amount, closing_balance, calls, shard, sequence "
                               "from settled.settlements")
        topic = sorted((b["account_id"], b["business_day"], b["amount"], b["closing_balance"], b["calls"], b["shard"],
                        b["sequence"]) for _, _, _, b in self.read("settlements"))
        assert topic == rows
        self.audit()
        return len(rows)

    def audit(self, *arguments, status=0):
        """Runs `settled audit`, which must end with the status: 0 equal, 1 different, 2 could not look. Returns what it
        says."""
        return self.run("audit", *arguments, status=status)

    def outcome(self):
        """The results in which two runs over the same input must agree, whatever happened meanwhile."""
        return {
            "closes": self.everywhere("select shard, business_day, content_digest, previous_digest, digest, amount "
                                      "from settled.day_closes"),
            "accounts": self.everywhere("select account_id, shard, balance, status, account_sequence from settled.accounts"),
            "statement": self.everywhere("select * from settled.account_statement"),
        }


@contextlib.contextmanager
def own_deployment(settled, **options):
    """A deployment on a broker and a PostgreSQL of its own: (deployment, Kafka, PostgreSQL)."""
    with services.Services() as started, tempfile.TemporaryDirectory() as folder:
        postgres, kafka = started.postgres(start=False), started.kafka(start=False)
        started.start()
        with contextlib.closing(Deployment(settled, kafka.brokers, postgres.dsn, pathlib.Path(folder),
                                           **options)) as deployment:
            yield deployment, kafka, postgres
