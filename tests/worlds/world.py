#!/usr/bin/env python3
"""Hostile worlds on a real broker, registry and PostgreSQL; every table and every topic is compared with the oracle.

    world.py [--seed N] [--seeds K] [--jobs J] [--bin PATH] [--keep]

Starts services of its own when SETTLED_TEST_BROKERS, _DSN and _REGISTRY are not set.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import datetime
import hashlib
import io
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "worlds"), str(ROOT / "tests" / "lib")]

import confluent_kafka
import confluent_kafka.admin
import fastavro
import psycopg

import generate
from fake_registry import FakeRegistry
from oracle import avro, rules

OUTPUTS = {"settlements": "Settlement", "status": "AccountStatusChanged", "day_closes": "DayClosed", "rejects": "Reject",
           "notices": "AccountNotice", "statements": "MonthStatement"}
KEYS = (*rules.LOGS, *OUTPUTS)
BOOK = generate.BOOK
UNHELD = 75
LOST_ID = 1_000_000_007  # of a schema that nobody has registered
STAMPS = {"create": confluent_kafka.TIMESTAMP_CREATE_TIME, "log-append": confluent_kafka.TIMESTAMP_LOG_APPEND_TIME}
MOMENTS = 20  # at which all accounts of a world are asked about, where any are
STUCK = 10  # s without a step, after which a log is taken not to be read further
KEYLESS = 78  # `rejects requeue` cannot send all of them: one without a key belongs to no partition


def rfc3339(instant):
    local = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=instant + rules.ZONE)
    return local.isoformat(timespec="milliseconds") + "+08:00"


def milliseconds(moment):
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(milliseconds=1)


def day_number(date):
    return (date - datetime.date(1970, 1, 1)).days


class LosingRegistry(FakeRegistry):
    """Passes everything on to a registry, but never has one schema at hand."""

    def __init__(self, registry):
        self.registry = registry
        super().__init__({})

    def answer(self, path, body):
        if path.startswith(f"/schemas/ids/{LOST_ID}"):
            return 503, b'{"error_code":50003,"message":"not now"}'
        request = urllib.request.Request(self.registry + path, json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


class World:
    def __init__(self, seed, binary, brokers, dsn, registry, folder):
        self.seed, self.binary, self.brokers, self.registry, self.folder = seed, binary, brokers, registry, folder
        self.name = f"world-{seed}-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
        self.topics = {key: f"{self.name}-{key}" for key in KEYS}
        self.superuser, self.database = dsn, self.name.replace("-", "_")
        number = random.Random(f"databases {seed}").choice([1, 1, 1, 2, 2, 3])
        self.databases = [self.database, *(f"{self.database}_{i}" for i in range(1, number))]
        with psycopg.connect(dsn, autocommit=True) as connection:
            for database in self.databases:
                connection.execute(f"CREATE DATABASE {database}")
        self.dsns = [dsn.rpartition("/")[0] + "/" + database for database in self.databases]
        self.random = random.Random(seed ^ 0x5EED)
        self.schemas = {}
        self.generator = generate.Generator(seed, self.register)
        self.books = [BOOK.read_bytes()]
        self.billing = {"first_day": str(rules.date_of(self.generator.first_day)), "grace": f"{self.generator.grace}ms",
                        "late_days": self.generator.late_days, "future_tolerance": f"{self.generator.tolerance}ms",
                        "max_reject_share": f"{self.generator.share}%",
                        "max_refused_share": f"{self.generator.refused_share}%",
                        "credit_days": self.generator.credit_days,
                        "timestamps": "log-append" if self.generator.live else "create"}
        self.limits = random.Random(f"notices {seed}")
        self.notices = self.draw_notices()
        self.drains, self.log = [], ""
        self.asks = .8  # the share of worlds in which accounts are asked about
        self.told = {}  # by a drain's place in `drains`: what the program then told of accounts, by their ids
        self.statuses = {}  # of drains, by their place in `drains`
        self.open_transaction = None
        self.make_topics()
        self.write_config(BOOK)

    # --- set up ---

    def draw_notices(self):
        """What account holders are told of; some of it at each close, some never."""
        choices = {"package_left": [0, 1, 5, 20, 50, 99], "expiring_days": [1, 2, 3, 7, 30, 365],
                   "balance_below": [0, 1, 220_000, 10_000_000, 10**11]}
        return {name: self.limits.sample(some, self.limits.randrange(4)) for name, some in choices.items()}

    def register(self, subject, text, kind="AVRO"):
        request = urllib.request.Request(
            f"{self.registry}/subjects/{self.name}-{subject}/versions",
            json.dumps({"schema": text, "schemaType": kind}).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            number = json.load(answer)["id"]
        self.schemas[number] = text
        return number

    def make_topics(self):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        settings = {"retention.ms": "-1",
                    "message.timestamp.type": "LogAppendTime" if self.generator.live else "CreateTime"}
        made = admin.create_topics([
            confluent_kafka.admin.NewTopic(
                self.topics[key], self.generator.partitions, 1,
                config={**settings, "max.message.bytes": "2097152" if key in OUTPUTS else "1048576"}) for key in KEYS])
        for each in made.values():
            each.result(30)

    def write_config(self, book, billing=None):
        config = {
            "kafka": {"brokers": self.brokers, "group": self.name, "properties": {"session.timeout.ms": "6000"}},
            "topics": {**self.topics, "partitioner": self.generator.partitioner},
            "schemas": {"registry": self.registry, "framing": self.generator.framing}, "postgres": {"dsn": self.dsns},
            "pricing": {"book": str(book)}, "billing": billing or self.billing,
            "notices": self.notices,
            "run": {"workers": 1}, "http": {"listen": ""},
            "log": {"level": "info"}}
        self.config = self.folder / "settled.yaml"
        self.config.write_text(json.dumps(config))

    def settled(self, *arguments, status=(0,), seconds=120):
        done = subprocess.run([self.binary, *arguments, "-c", self.config], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=seconds, check=False)
        self.log += f"$ settled {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        if done.returncode not in status:
            raise AssertionError(f"settled {arguments[0]} ended with {done.returncode}:\n{self.log[-5000:]}")
        return done

    # --- life ---

    def live(self):
        self.settled("migrate")
        self.settled("schemas", "register")
        start = rules.start_of(self.generator.first_day - self.generator.lead)
        clocks = self.generator.clocks()
        self.draw_events(len(clocks))
        for number, clock in enumerate(clocks):
            # The records of a later drain begin a little before the clock of the previous one: the broker's time is not
            # ours.
            self.send(self.generator.batch(start, max(clock + self.random.choice([0, 2 * generate.MINUTE]), start + 1)))
            happens = {event for event, when in self.events.items() if when == number}
            astray = self.send_from_the_future(clock) if "astray" in happens else None
            if "open" in happens:
                self.leave_open(clock)
            if "accept" in happens:
                self.accept_some()
            with self.refusing(clock) if "lost" in happens else contextlib.nullcontext():
                self.drain(clock)
            if "asked" in happens:
                self.ask_usage(start, clock)
                if number == len(clocks) - 1:
                    self.drain(clock)  # commits what was read meanwhile
            if "open" in happens:
                self.end_open()
            if astray:
                self.pass_by(astray, clock)
                self.drain(clock)
            self.generator.balances = dict(self.sql("select account_id, balance from settled.accounts"))
            start = clock
            self.change_something(number, clock)

    def draw_events(self, drains):
        """Draws which event happens before or after which drain; most events happen only in some worlds."""
        shares = {"astray": 0 if self.generator.live else .4, "open": .3, "accept": .3, "lost": .2, "asked": self.asks}
        self.events = {event: self.random.randrange(drains) if self.random.random() < share else None
                       for event, share in shares.items()}

    def change_something(self, number, clock):
        """Records parameters or price books that come into force on a day that no shard has opened."""
        if number > 0:
            return
        if self.seed % 4 == 0:
            self.billing = {**self.billing, "late_days": self.random.choice([1, 5]), "grace": "7m"}
            self.notices = self.draw_notices()
            self.write_config(self.current_book())
            self.settled("parameters", "apply")
        if self.seed % 3 == 1:
            text = BOOK.read_text().replace("unit_price: 2200", "unit_price: 2300").replace(
                "{units: 50, price: 100000}", "{units: 50, price: 100001}").replace(
                "unit_price: 2.5", "unit_price: 100.01")  # at which the largest number of leads costs too much
            day = rules.day_of(clock) + 3
            later = self.folder / "later.yaml"
            later.write_text(f"effective_from: {rules.date_of(day)}\n" + text)
            self.books.append(later.read_bytes())
            self.write_config(later)
            self.settled("parameters", "apply")
        if self.seed % 5 == 2:
            # another file, that nobody applied: what is recorded stays in force
            stale = {**self.billing, "late_days": self.billing["late_days"] + 2, "grace": "9m"}
            self.write_config(BOOK, stale)

    def current_book(self):
        return self.folder / "later.yaml" if len(self.books) > 1 else BOOK

    def send(self, messages):
        plain = self.producer()
        transactional = self.producer({"transactional.id": f"{self.name}-producer"}) if any(
            m.transaction for m in messages) else None
        if transactional:
            transactional.init_transactions(30)
        for transaction, group in self.grouped(messages):
            if transaction is None:
                for message in group:
                    self.produce(plain, message)
                continue
            plain.flush(30)
            transactional.begin_transaction()
            for message in group:
                self.produce(transactional, message)
            if transaction[1] == "commit":
                transactional.commit_transaction(30)
            else:
                transactional.flush(30)  # or they would never reach the log
                transactional.abort_transaction(30)
        if plain.flush(60) != 0:
            raise AssertionError("not everything was delivered")

    def producer(self, more=()):
        return confluent_kafka.Producer({"bootstrap.servers": self.brokers, "enable.idempotence": True,
                                         "linger.ms": 5, "message.max.bytes": 1048576, "log_level": 3, **dict(more)})

    @staticmethod
    def grouped(messages):
        group, current = [], None
        for message in messages:
            if message.transaction != current and group:
                yield current, group
                group = []
            current = message.transaction
            group.append(message)
        if group:
            yield current, group

    def produce(self, producer, message):
        partition = message.partition
        if partition is None:
            partition = self.generator.partition(message.key)
        while True:
            try:
                producer.produce(self.topics[message.log], message.value, message.key, partition=partition,
                                 timestamp=message.timestamp)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def send_from_the_future(self, clock):
        """Sends a record that no clock can have stamped; a drain ends its log there. Returns its place."""
        log = self.random.choice(rules.LOGS)
        ahead = self.generator.tolerance + self.random.choice([1, 400 * rules.DAY])
        message = self.generator.framed(log, self.generator.fresh(log, clock), clock + ahead)
        stands = []
        producer = self.producer()
        producer.produce(self.topics[log], message.value, message.key, partition=self.generator.partition(message.key),
                         timestamp=message.timestamp, on_delivery=lambda _error, sent: stands.append(sent))
        producer.flush(30)
        self.send([self.generator.message(log, clock) for _ in range(5)])  # they wait behind it, or stand elsewhere
        return stands[0].topic(), stands[0].partition(), stands[0].offset()

    def pass_by(self, astray, clock):
        """An operator lets the record be judged as of an instant; the request is the one that `rejects pass` makes."""
        topic, partition, offset = astray
        as_of = datetime.datetime.fromisoformat(rfc3339(clock - self.random.randrange(generate.HOUR)))
        with psycopg.connect(self.dsns[partition % len(self.dsns)]) as connection:
            connection.execute("select settled.ask('PASS', %s, %s, %s, %s, 0)", (topic, partition, [offset], as_of))

    @contextlib.contextmanager
    def refusing(self, clock):
        """Sends a record whose schema the registry cannot give while a drain runs, and an operator refuses it."""
        log = self.random.choice(rules.LOGS)
        message = self.generator.framed(log, self.generator.fresh(log, clock), clock)
        message.value = self.generator.head(LOST_ID) + b"lost"
        self.send([message])
        registry, done = LosingRegistry(self.registry), threading.Event()
        config = json.loads(self.config.read_text())
        operator = concurrent.futures.ThreadPoolExecutor(1)
        try:
            self.config.write_text(json.dumps({**config, "schemas": {
                **config["schemas"], "registry": registry.url, "patience": "0s"}}))
            refusals = operator.submit(self.refuse_what_waits, done)
            yield
        finally:
            done.set()
            operator.shutdown()
            registry.stop()
            self.config.write_text(json.dumps(config))
        refusals.result()

    def refuse_what_waits(self, done):
        while not done.wait(0.2):
            for row in self.sql(f"select topic, shard, kafka_offset from settled.waiting where schema_id = {LOST_ID}"):
                self.settled("rejects", "refuse", "/".join(map(str, row)), status=(0, 78))

    def pieces(self, start, clock):
        """Nothing, and then pieces of what comes when the drain at this clock is over."""
        due, self.generator.unknown_due = self.generator.unknown_due, False  # the program would wait for the registry
        late = self.generator.batch(max(start, clock - rules.DAY), clock)
        self.generator.unknown_due = due
        cuts = sorted(self.random.randrange(len(late) + 1) for _ in range(MOMENTS - 2))
        return [[], *(late[before:cut] for before, cut in zip([0, *cuts], [*cuts, len(late)]))]

    def ask_usage(self, start, clock):
        """Asks the program what accounts owe: as the last drain has left it, and whenever it has read some more."""
        config = json.loads(self.config.read_text())
        self.config.write_text(json.dumps({**config, "http": {"listen": "127.0.0.1:0"}}))
        process = subprocess.Popen([self.binary, "run", "--clock", rfc3339(clock), "-c", self.config], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            port = next(int(found.group(1)) for found in (re.search(r"message=\"http listens\".* port=(\d+)", line)
                                                          for line in process.stderr) if found)
            threading.Thread(target=process.stderr.read, daemon=True).start()
            self.stuck, ends = {}, self.drains[-1][1]
            for number, piece in enumerate(self.pieces(start, clock)):
                if number > 0:
                    self.send(piece)
                    ends = self.ends()
                    self.drains.append((clock, ends, self.decided()))
                self.read_to = {}
                self.told[len(self.drains) - 1] = {
                    account: self.tell(port, account, ends, number > 0) for account in (*self.generator.accounts, "nobody")}
        finally:
            process.terminate()
            process.wait(60)
            self.config.write_text(json.dumps(config))

    def is_read(self, told, ends):
        """Whether the account's shard has read all that there is, or does not go on: a log that did not is not waited for
        again."""
        shard, offsets = told["as_of"]["shard"], told["as_of"]["offsets"]
        for log in rules.LOGS:
            place, offset = (log, shard), offsets[self.topics[log]]
            if offset >= ends[log][shard] or offset == self.stuck.get(place):
                continue
            before, since = self.read_to.get(place, (None, 0))
            if offset != before:
                self.read_to[place] = offset, time.monotonic()
                return False
            if time.monotonic() - since < STUCK:
                return False
            self.stuck[place] = offset
        return True

    def tell(self, port, account, ends, reads):
        """None: the program knows no such account. `reads`: it has been given something since it has begun."""
        url = f"http://127.0.0.1:{port}/v1/accounts/{urllib.parse.quote(account, safe='')}"
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    told = json.load(answer)
                    # Before the shard has restored its calls, what is recorded is told.
                    if told["provisional"] and (not reads or self.is_read(told, ends)):
                        return told
            except urllib.error.HTTPError as error:
                if error.code == 404 and not self.restoring(port):
                    return None
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing provisional is told of {account}")
            time.sleep(0.02)

    @staticmethod
    def restoring(port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz/ready", timeout=30):
                return False
        except urllib.error.HTTPError:
            return True

    def accept_some(self):
        """An operator accepts the loss of some rejects, too few to decide whether a day is held."""
        rows = self.sql("select topic, partition, kafka_offset from settled.rejects where decision is null"
                        " order by random() limit 3")
        if rows:
            self.settled("rejects", "accept", *("/".join(map(str, row)) for row in rows))

    def leave_open(self, clock):
        """Leaves a transaction open while a drain runs: what is behind its records is not stable yet."""
        self.ends()  # what was sent before is stable
        self.open_transaction = self.producer({"transactional.id": f"{self.name}-open"})
        self.open_transaction.init_transactions(30)
        self.open_transaction.begin_transaction()
        for log in rules.LOGS:
            self.produce(self.open_transaction, self.generator.message(log, clock))
        self.open_transaction.flush(30)
        self.send([self.generator.message(log, clock) for log in rules.LOGS for _ in range(4)])

    def end_open(self):
        if self.random.random() < 0.5:
            self.open_transaction.commit_transaction(30)
        else:
            self.open_transaction.abort_transaction(30)
        self.open_transaction = None

    def ends(self):
        """Where each log ends, once no transaction is pending any more: its end marker can come after the commit's reply."""
        deadline = time.monotonic() + 60
        if self.open_transaction:
            return self.ends_by("read_committed")
        while True:
            stable, last = (self.ends_by(level) for level in ("read_committed", "read_uncommitted"))
            if stable == last:
                return stable
            if time.monotonic() > deadline:
                raise AssertionError(f"a transaction stays pending: {stable}, {last}")
            time.sleep(0.1)

    def ends_by(self, level):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": f"{self.name}-ends",
                                             "isolation.level": level})
        found = {log: [consumer.get_watermark_offsets(confluent_kafka.TopicPartition(self.topics[log], p), 30)[1]
                       for p in range(self.generator.partitions)] for log in rules.LOGS}
        consumer.close()
        return found

    def drain(self, clock):
        ends = self.ends()
        command = ["run", "--drain", "--clock", rfc3339(clock)]
        if self.seed % 4 == 1:
            self.killed(command)
        for _ in range(self.generator.days + 1):
            if self.drain_once(clock, ends, command) == 0:
                return
            # The day is held: misrouted records are requeued, the loss of the rest is accepted, and the day is released.
            # The next day that is due may be held as well.
            self.settled("rejects", "requeue", "--reason", "MISROUTED", status=(0, KEYLESS))
            for log in rules.LOGS:
                self.settled("rejects", "accept", "--topic", log)
            ends = self.ends()

    def drain_once(self, clock, ends, command):
        done = self.settled(*command, status=(0, UNHELD))
        self.statuses[len(self.drains)] = done.returncode
        self.drains.append((clock, ends, self.decided()))
        return done.returncode

    def killed(self, command):
        """The same drain, killed somewhere: the result must not change."""
        process = subprocess.Popen([self.binary, *command, "-c", self.config], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(self.random.uniform(0.1, 2.0))
        except subprocess.TimeoutExpired:
            pass
        process.kill()
        process.wait()

    def close(self):
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            for database in self.databases:
                connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        for each in admin.delete_topics(list(self.topics.values())).values():
            each.result(30)

    # --- what came of it ---

    def sql(self, statement):
        """The rows of all databases; what is recorded once is in the first."""
        rows = []
        for dsn in self.dsns:
            with psycopg.connect(dsn) as connection:
                rows += connection.execute(statement).fetchall()
        return rows

    def sql_at_home(self, statement):
        with psycopg.connect(self.dsns[0]) as connection:
            return connection.execute(statement).fetchall()

    def read(self, key):
        """Every committed record of a topic, by partition."""
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.brokers, "group.id": f"{self.name}-reader", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20})
        partitions = self.generator.partitions
        consumer.assign([confluent_kafka.TopicPartition(self.topics[key], p, 0) for p in range(partitions)])
        found, ended = {p: [] for p in range(partitions)}, set()
        deadline = time.monotonic() + 60
        while len(ended) < partitions:
            if time.monotonic() > deadline:
                raise AssertionError(f"{key} has no end")
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                    raise AssertionError(str(message.error()))
                ended.add(message.partition())
                continue
            found[message.partition()].append(message)
        consumer.close()
        return found

    def decided(self):
        """The last decision of each shard."""
        return dict(self.sql("select shard, max(number) from settled.decisions group by shard"))

    def decisions(self):
        logs = {self.topics[log]: log for log in rules.LOGS}
        return [{"shard": shard, "number": number, "kind": kind, "operator": user, "log": logs[topic],
                 "offsets": offsets, "as_of": milliseconds(as_of), "day": day_number(day), "held": held,
                 "at": {rules.CALLS: calls, rules.PURCHASES: purchases, rules.CREDITS: credits}}
                for shard, number, kind, user, topic, offsets, as_of, day, held, calls, purchases, credits in self.sql(
                    "select shard, number, kind, session_user::text, topic, array(select kafka_offset from"
                    " settled.request_records r where r.request = d.request order by 1), as_of, business_day,"
                    " exists (select from settled.holds h where h.shard = d.shard and h.business_day = d.business_day"
                    " and h.after_decision < d.number), calls_at, purchases_at, credits_at from settled.decisions d order by shard, number")]

    def parameter_rows(self):
        return [{"from_day": day if day is None else day_number(day), "grace": grace, "late_days": late,
                 "tolerance": tolerance, "share": share, "refused_share": refused, "credit_days": credit_days,
                 **dict(zip(rules.LIMITS, limits))}
                for day, grace, late, tolerance, share, refused, credit_days, *limits in self.sql_at_home(
                    "select case when isfinite(from_day) then from_day end, grace_ms, late_days, future_tolerance_ms,"
                    f" max_reject_share_ppm, max_refused_share_ppm, credit_days, {', '.join(rules.LIMITS)}"
                    " from settled.parameters order by from_day")]

    def oracle(self):
        timestamps = self.recorded()["timestamps"]
        records = {log: {p: [rules.Record(m.offset(), m.timestamp()[1], m.key(), m.value(),
                                          m.timestamp()[0] == STAMPS[timestamps], m.headers() or ())
                             for m in messages]
                         for p, messages in self.read(log).items()} for log in rules.LOGS}
        self.values = {(self.topics[log], partition, record.offset): record.value for log, partitions in records.items()
                       for partition, delivered in partitions.items() for record in delivered}
        world = rules.World(
            begins=self.begins(), first_day=self.generator.first_day, partitions=self.generator.partitions, topics=self.topics,
            records=records, schemas=self.schemas, books=self.books, parameter_rows=self.parameter_rows(),
            decisions=self.decisions(), **self.recorded())
        self.undone, self.owed = [], []
        for number, (clock, ends, decided) in enumerate(self.drains):
            self.undone.append(world.drain(clock, ends, decided))
            self.owed += [(number, account, usage_of(world, account), told and usage_told(told))
                          for account, told in self.told.get(number, {}).items()]
        return world

    def begins(self):
        """Where each log begins on the first day, by what is recorded; compare_begins looks at it."""
        first = rules.date_of(self.generator.first_day)
        found = self.sql("select topic, shard, from_offset from settled.day_cutoffs where business_day = "
                         f"'{first}' union all select topic, shard, from_offset from settled.shard_logs where not exists "
                         f"(select from settled.day_closes c where c.shard = shard_logs.shard and business_day = '{first}')")
        offsets = {(topic, shard): offset for topic, shard, offset in found}
        return {log: [offsets.get((self.topics[log], shard), 0) for shard in range(self.generator.partitions)]
                for log in rules.LOGS}

    def recorded(self):
        """Of the deployment, what a world may choose."""
        (timestamps, partitioner, framing), = self.sql_at_home("select timestamps, partitioner, framing from settled.deployment")
        return {"timestamps": timestamps, "partitioner": partitioner, "framing": framing}


def usage_of(oracle, account):
    """What an account holder is to be told, by the oracle as it stands; None: there is no such account."""
    key = account.encode()
    shard = oracle.shards[rules.partition_of(oracle.partitioner, key, oracle.partitions)]
    if key not in shard.accounts:
        return None
    known = shard.accounts[key]
    days, left = shard.unsettled(key)
    return {
        "balance": known.balance, "status": known.status, "account_sequence": known.changes,
        "days": [(str(rules.date_of(day)), len(calls), sorted(use_of(calls, settlement).items()),
                  settlement["amount"] if settlement else 0) for day, calls, settlement in days],
        "balance_after": [settlement["closing_balance"] if settlement else None for _, _, settlement in days],
        "packages": {p["offset"]: (p["identity"][1].decode(), p["remaining"], left[p["offset"]])
                     for p in shard.packages if p["identity"][0] == key}}


def use_of(calls, settlement):
    """By service: calls, units, amount."""
    use = {}
    for call in calls:
        service, units, _ = call["content"]
        before = use.get(service, (0, 0, 0))
        use[service] = (before[0] + 1, before[1] + units, before[2])
    for line in settlement["lines"] if settlement else ():
        calls, units, amount = use[line["service"]]
        use[line["service"]] = (calls, units, amount + line["amount"])
    return use


def usage_told(told):
    """The same, as the program tells it. A day without calls leaves the balance as it was."""
    balance, after = told["balance"], []
    for day in told["days"]:
        after.append(day["balance_after"] if day["calls"] or day["balance_after"] != balance else None)
        balance = day["balance_after"]
    return {
        **{name: told[name] for name in ("balance", "status", "account_sequence")},
        "days": [(day["business_day"], day["calls"], sorted((each["service"], (each["calls"], each["units"], each["amount"]))
                                                            for each in day["services"]), day["amount"])
                 for day in told["days"]],
        "balance_after": after,
        "packages": {p["kafka_offset"]: (p["package_id"], p["remaining"], p["remaining_now"]) for p in told["packages"]}}


def compare_usage(world, out):
    """What the program told of accounts is what the oracle settles when it is cut there, to the fen and the unit."""
    for number, account, expected, found in world.owed:
        out.same(f"after drain {number}, account {account}: usage", expected, found)


class Differences(list):
    def same(self, what, expected, actual):
        if expected != actual:
            self.append(f"{what}: expected {expected!r}, found {actual!r}")

    def rows(self, table, columns, expected, actual, width):
        """Rows as tuples; the first `width` columns are the key."""
        wanted = {row[:width]: row for row in expected}
        found = {row[:width]: row for row in actual}
        if len(wanted) != len(expected) or len(found) != len(actual):
            self.append(f"{table}: a key stands twice")
        for key in sorted(wanted.keys() | found.keys(), key=repr):
            if key not in found or key not in wanted:
                self.append(f"{table} {key}: {'missing' if key not in found else 'too much'}: "
                            f"{wanted.get(key, found.get(key))!r}")
                continue
            for column, want, have in zip(columns, wanted[key], found[key], strict=True):
                if want != have:
                    self.append(f"{table} {key} {column}: expected {want!r}, found {have!r}")


def compare_begins(world, oracle, out):
    """R70: nothing that can bill lies before where a log begins, and nothing else behind it before the first that can. With
    the brokers' timestamps the offset itself may be that of the end of a transaction."""
    _, ends, _ = world.drains[0]
    for log in rules.LOGS:
        since = oracle.first_instant(log)
        for shard, begin in enumerate(oracle.begins[log]):
            delivered = [each for each in oracle.records[log][shard] if each.offset < ends[log][shard]]
            young = [each.offset for each in delivered if each.timestamp >= since]
            first = min(young, default=ends[log][shard])
            passed = [each.offset for each in delivered if begin <= each.offset < first]
            if begin > first or passed or (begin < first and oracle.timestamps == "create"):
                out.append(f"{log}/{shard} begins at {begin}, not at {first}")


def compare_tables(world, oracle, out):
    shards = oracle.shards

    def table(name, columns, expected, width, where="", casts=()):
        wanted = ", ".join(f"{column}::{dict(casts).get(column)}" if column in dict(casts) else column
                           for column in columns)
        actual = [tuple(plain(value) for value in row)
                  for row in world.sql(f"select {wanted} from settled.{name} {where}")]
        out.rows(name, columns, expected, actual, width)

    table("accounts", ("account_id", "shard", "balance", "status", "account_sequence", "opening", "credits",
                       "adjustments", "position"),
          [(a.decode(), s.number, x.balance, x.status, x.changes, x.opening, x.credits, x.adjustments, x.position)
           for s in shards for a, x in s.accounts.items() if x.stored], 1)
    # Each field of the message has its column, but for the last four; the first two are the key.
    apart = ("account_id", "business_day", "currency", "price_book", "sequence", "lines")
    names = [*apart[:2], *(f["name"] for f in generate.base("Settlement")["fields"] if f["name"] not in apart)]
    settlements = [x for s in shards for x in s.settlements]
    table("settlements", names, [tuple(x[n] for n in names) for x in settlements], 2)
    names = ("usage_day", "service", "charge", "package_id", "tier_from", "calls", "units", "unit_price", "amount",
             "package_units", "package_amount")
    begun = [each for s in shards for each in s.begun]
    lines = [(x["account_id"], x["business_day"], (*(line[n] for n in names), calls))
             for x, each in zip(settlements, begun, strict=True) for line, calls in zip(x["lines"], each, strict=True)]
    actual = collections.Counter()
    stored = []
    for row in world.sql(f"select account_id, business_day, {', '.join(names)}, calls_begun from settled.settlement_lines"
                         " order by account_id, business_day, line_no"):
        key = (row[0], plain(row[1]))
        stored.append((*key, actual[key], tuple(plain(v) for v in row[2:])))
        actual[key] += 1
    counted = collections.Counter()
    expected = []
    for account, day, line in lines:
        expected.append((account, day, counted[account, day], line))
        counted[account, day] += 1
    out.rows("settlement_lines", ("account_id", "business_day", "number", "line"), expected, stored, 3)
    compare_months(world, [x for s in shards for x in s.statements], table, out)
    table("packages", ("account_id", "package_id", "kafka_offset", "service", "units", "remaining", "amount", "valid_from",
                       "valid_until"),
          [(*(part.decode() for part in p["identity"]), p["offset"], p["service"], p["units"], p["remaining"], p["amount"],
            p["from"], p["until"]) for s in shards for p in s.packages], 3)
    table("credits", ("account_id", "credit_id", "kafka_offset", "kind", "amount", "credited_at", "received_at", "reason",
                      "reference"),
          [(*(part.decode() for part in c["identity"]), c["offset"], c["kind"], c["amount"], c["credited_at"],
            c["received_at"], c["reason"], c["reference"]) for s in shards for c in s.credits], 3)
    names = ("account_id", "account_sequence", "status", "cause", "settlement_id", "credit_id", "balance",
             "effective_at")
    table("status_changes", names, [tuple(c[n] for n in names) for s in shards for c in s.status_changes], 2)
    names = ("account_id", "notice_id", "business_day", "kind", "package_id", "service", "units", "remaining",
             "valid_until", "balance", "threshold")
    table("notices", names, [tuple(body[n] for n in names) for s in shards for key, body in s.outputs if key == "notices"], 2)
    names = ("shard", "business_day", "late", "zero_unit_calls", "settlements", "amount", "price_book", "parameters",
             "content_digest", "previous_digest", "digest")
    table("day_closes", names, [tuple(c[n] for n in names) for s in shards for c in s.closes], 2)
    names = ("topic", "from_offset", "to_offset", "cut_by", "accepted", "duplicates", "rejected", "void")
    table("day_cutoffs", ("shard", "business_day", *names),
          [(number, day, *(cutoff[n] for n in names)) for s in shards for number, day, cutoff in s.cutoffs], 3)
    table("holds", ("shard", "business_day", "topic", "reasons", "rejects", "records", "at_offset"),
          [row for s in shards for row in s.hold_rows], 4)
    table("rejects", ("topic", "partition", "kafka_offset", "reason", "account_id", "record_id", "received_at"),
          [(r["topic"], r["partition"], r["offset"], r["reason"], r["account_id"], r["record_id"], r["timestamp"])
           for s in shards for r in s.rejects], 3)
    table("account_statement", ("account_id", "position", "at", "kind", "reference", "amount", "balance"),
          [(row[0].decode(), *row[1:]) for s in shards for row in s.statement], 2)


def compare_months(world, statements, table, out):
    names = [f["name"] for f in generate.base("MonthStatement")["fields"] if f["name"] not in ("currency", "lines", "sequence")]
    table("month_statements", names, [tuple(x[n] for n in names) for x in statements], 1)
    names = ("service", "charge", "package_id", "tier_from", "unit_price", "calls", "units", "amount")
    out.rows("month_statement_lines", ("account_id", "month", "number", *names),
             [(x["account_id"], x["month"], number, *(line[n] for n in names))
              for x in statements for number, line in enumerate(x["lines"], 1)],
             [tuple(row) for row in world.sql(
                 f"select account_id, to_char(business_day, 'YYYY-MM'), line_no, {', '.join(names)}"
                 " from settled.month_statement_lines")], 3)


def compare_shards(world, oracle, out):
    """How far each shard is, what was answered to operators, and how each drain ended."""
    for shard, day, held, sequence, relayed in world.sql(
            "select shard, open_day, held_since is not null, sequence, relayed from settled.shards order by shard"):
        out.same(f"shard {shard}: the open day", oracle.shards[shard].day, plain(day))
        out.same(f"shard {shard}: held", oracle.shards[shard].held, held)
        out.same(f"shard {shard}: published", sequence, relayed)
    for number, undone in enumerate(world.undone):
        if number not in world.statuses:
            continue  # a moment of a process that went on
        out.same(f"drain {number} of {len(world.undone)}: its status, where shards {undone} have a day left",
                 UNHELD if undone else 0, world.statuses[number])
    decided = {(topic, shard, offset): number for shard, number, topic, offset in world.sql(
        "select d.shard, number, d.topic, kafka_offset from settled.decisions d join settled.request_records using (request)"
        " where kind <> 'PASS'")}
    for topic, partition, offset, number in world.sql(
            "select topic, partition, kafka_offset, decision from settled.rejects"):
        out.same(f"rejects {topic}/{partition}/{offset}: decision", decided.get((topic, partition, offset)), number)
    recorded = {(shard, number): text for shard, number, text in world.sql(
        "select shard, number, concat_ws(' ', number, kind, operator, content) from settled.decisions")}
    for decision in world.decisions():
        out.same("decisions: content", rules.decision_text(decision, world.topics, decision["shard"]),
                 recorded[decision["shard"], decision["number"]])
    # A requeued record behind a transaction that is still open at the last drain is never judged.
    read_to, log_of = world.drains[-1][1], {topic: log for log, topic in world.topics.items()}
    for request in world.sql(
            "select id, kind, state, q.shard, q.topic, max(new_offset) filter (where new_partition = q.shard)"
            " from settled.requests q join settled.request_records on request = id where state <> 'DONE' group by id"):
        _, kind, state, shard, topic, new_offset = request
        unread = ((kind, state) == ("REQUEUE", "WAITING") and new_offset is not None
                  and new_offset >= read_to[log_of[topic]][shard])
        if not unread:
            out.append(f"requests: not decided: {request}")


def compare_order(shard, messages, out):
    """`messages`: (sequence, topic's key, message, body) of a shard by sequence. A close and its settlements stand
    together, after the rejects below its cutoffs and before those that follow."""
    closes = [(sequence, body) for sequence, key, _, body in messages if key == "day_closes"]
    for sequence, key, _, body in messages:
        if key == "statements":
            before = [close["business_day"] for number, close in closes if number < sequence]
            out.same(f"shard {shard}: {body['statement_id']} behind the close of its month's last day and no later one",
                     body["month"], str(rules.date_of(max(before)))[:7])
            out.same(f"shard {shard}: {body['statement_id']} behind a month's last day", 1,
                     rules.date_of(max(before) + 1).day)
    rejects = [(sequence, body) for sequence, key, _, body in messages if key == "rejects"]
    for sequence, close in closes:
        cutoffs = {cutoff["topic"]: cutoff["to_offset"] for cutoff in close["cutoffs"]}
        settled = [number for number, key, _, body in messages if key == "settlements"
                   and body["business_day"] == close["business_day"]]
        between = [key for number, key, _, _ in messages if min(settled, default=sequence) <= number < sequence]
        out.same(f"shard {shard}: rejects amid the close of {close['business_day']}", 0, between.count("rejects"))
        for number, reject in rejects:
            out.same(f"shard {shard}: reject {reject['topic']}/{reject['offset']} before the close of "
                     f"{close['business_day']}", reject["offset"] < cutoffs[reject["topic"]], number < sequence)


def compare_sequences(world, messages, out):
    """A row has the sequence of its message."""
    keys = {"settlements": ("settlements", "account_id, business_day"),
            "status": ("status_changes", "account_id, account_sequence"),
            "notices": ("notices", "account_id, notice_id"),
            "day_closes": ("day_closes", "shard, business_day"),
            "rejects": ("rejects", "topic, partition, kafka_offset"),
            "statements": ("month_statements", "account_id, month")}
    for topic, (table, columns) in keys.items():
        stored = {tuple(plain(value) for value in row[:-1]): row[-1]
                  for row in world.sql(f"select {columns}, sequence from settled.{table}")}
        names = columns.replace("kafka_", "").split(", ")
        published = {tuple(body[name] for name in names): sequence
                     for sequence, key, _, body in messages if key == topic}
        for key in published.keys() | stored.keys():
            out.same(f"{table} {key}: sequence", published.get(key), stored.get(key))


def compare_details(world, messages, out):
    """A reject says what is wrong; if it leaves a value out, it also gives the length and the SHA-256."""
    for _, key, message, body in messages:
        if key != "rejects":
            continue
        where = f"reject {body['topic']}/{body['partition']}/{body['offset']}"
        out.same(f"{where}: has a detail", True, bool(body["detail"]))
        value = world.values.get((body["topic"], body["partition"], body["offset"]))
        if value is not None and body["value"] is None:
            told = body["detail"].replace(",", "")
            out.same(f"{where}: length and digest in {body['detail']!r}", True,
                     str(len(value)) in told and hashlib.sha256(value).hexdigest() in told)


def plain(value):
    if isinstance(value, datetime.datetime):
        return milliseconds(value)
    if isinstance(value, datetime.date):
        return day_number(value)
    return value


def number_dates(value):
    """Decoded Avro with days and instants as numbers again."""
    if isinstance(value, dict):
        return {name: number_dates(each) for name, each in value.items()}
    if isinstance(value, list):
        return [number_dates(each) for each in value]
    return plain(value)


def compare_topics(world, oracle, out):
    decoded, everything, head = {}, [], len(world.generator.head(0))
    for key, record in OUTPUTS.items():
        schema = fastavro.parse_schema(json.loads((avro.SCHEMAS / f"{record}.avsc").read_text()))
        decoded[key] = {
            p: [(m, number_dates(fastavro.schemaless_reader(io.BytesIO(m.value()[head:]), schema, None)))
                for m in messages] for p, messages in world.read(key).items()}
    for shard in oracle.shards:
        messages = sorted(((body["sequence"], key, message, body) for key in OUTPUTS
                           for message, body in decoded[key][shard.number]), key=lambda each: each[0])
        out.same(f"shard {shard.number}: sequences", list(range(1, len(messages) + 1)), [m[0] for m in messages])
        bodies = [(key, {n: v for n, v in body.items() if n != "sequence"}) for _, key, _, body in messages]
        apart = ("rejects", "statements")  # their place among the others is free
        compare_stream(f"shard {shard.number}", shard.outputs, [each for each in bodies if each[0] not in apart], out)
        compare_stream(f"shard {shard.number}", [("statements", each) for each in shard.statements],
                       [each for each in bodies if each[0] == "statements"], out)
        compare_rejects(shard, [body for key, body in bodies if key == "rejects"], out)
        for sequence, key, message, body in messages:
            compare_headers(world, shard.number, key, message, body, out)
        compare_order(shard.number, messages, out)
        everything += messages
    compare_sequences(world, everything, out)
    compare_details(world, everything, out)


def compare_stream(where, expected, actual, out):
    out.same(f"{where}: outputs", [kind for kind, _ in expected], [kind for kind, _ in actual])
    for number, ((kind, want), (_, have)) in enumerate(zip(expected, actual)):
        for name in want.keys() | have.keys():
            if want.get(name) != have.get(name):
                out.append(f"{where}: output {number}, {kind} {want.get('account_id', want.get('business_day'))} "
                           f"{name}: expected {want.get(name)!r}, found {have.get(name)!r}")


def compare_rejects(shard, actual, out):
    for topic in {each["topic"] for each in [*shard.rejects, *actual]}:
        want = [each for each in shard.rejects if each["topic"] == topic]
        have = [{n: v for n, v in each.items() if n != "detail"} for each in actual if each["topic"] == topic]
        out.same(f"shard {shard.number}: rejects of {topic}", want, have)


def compare_headers(world, shard, key, message, body, out):
    identity = {"settlements": body.get("settlement_id"), "status": body.get("event_id"), "notices": body.get("notice_id"),
                "day_closes": f"{shard}/{rules.date_of(body.get('business_day', 0))}",
                "rejects": f"{body.get('topic')}/{body.get('partition')}/{body.get('offset')}",
                "statements": body.get("statement_id")}[key]
    instant = {"settlements": lambda: rules.start_of(body["business_day"] + 1), "status": lambda: body["effective_at"],
               "day_closes": lambda: rules.start_of(body["business_day"] + 1),
               "notices": lambda: rules.start_of(body["business_day"] + 1),
               "rejects": lambda: body["timestamp"], "statements": lambda: end_of_month(body["month"])}[key]()
    headers = dict(message.headers() or [])
    expected = {"ce_specversion": b"1.0", "ce_id": identity.encode(),
                "ce_source": f"/settled/{world.name}/{shard}".encode(),
                "ce_type": f"settled.{OUTPUTS[key]}.v1".encode(), "content-type": b"application/avro"}
    out.same(f"{identity}: headers", expected, {name: headers.get(name) for name in expected})
    moment = datetime.datetime.fromisoformat(headers["ce_time"].decode().replace("Z", "+00:00"))
    out.same(f"{identity}: ce_time", instant, milliseconds(moment))
    wanted = {"settlements": lambda: body["account_id"].encode(), "status": lambda: body["account_id"].encode(),
              "notices": lambda: body["account_id"].encode(),
              "statements": lambda: body["account_id"].encode(),
              "day_closes": lambda: str(shard).encode(), "rejects": lambda: body["key"]}[key]()
    out.same(f"{identity}: key", wanted, message.key())


def end_of_month(month):
    first = datetime.date.fromisoformat(f"{month}-01")
    return rules.start_of(day_number((first + datetime.timedelta(days=31)).replace(day=1)))


def compare_audit(world, oracle, out):
    """The program's own audit finds nothing, either: neither in all days, nor in days in the middle, which it opens
    from recorded rows."""
    days = sorted({str(rules.date_of(close["business_day"])) for shard in oracle.shards for close in shard.closes})
    # A day that every shard has settled.
    both = [day for day in days if all(any(str(rules.date_of(close["business_day"])) == day for close in shard.closes)
                                       for shard in oracle.shards)]
    parts = [()]
    if both:
        first = both[world.seed % len(both)]
        parts += [("--from", first), ("--from", first, "--to", both[-1])]
    for part in parts:
        done = world.settled("audit", *part, status=(0, 1, 2))
        if done.returncode != 0:
            out.append(f"audit {' '.join(part)} ended with {done.returncode}:\n{done.stdout[:2000]}{done.stderr[-1000:]}")


def run(seed, binary, keep=False):
    """Lives one world and returns (differences, a line about it, at how many moments what was told of each of its accounts
    was compared)."""
    start = time.monotonic()
    brokers, dsn, registry = (os.environ[f"SETTLED_TEST_{name}"] for name in ("BROKERS", "DSN", "REGISTRY"))
    with tempfile.TemporaryDirectory(prefix="settled-world-") as folder:
        world = World(seed, binary, brokers, dsn, registry, pathlib.Path(folder))
        out = Differences()
        try:
            world.live()
            oracle = world.oracle()
            compare_begins(world, oracle, out)
            compare_usage(world, out)
            compare_tables(world, oracle, out)
            compare_shards(world, oracle, out)
            compare_topics(world, oracle, out)
            compare_audit(world, oracle, out)
            closes = sum(len(s.closes) for s in oracle.shards)
            reasons = collections.Counter(r["reason"] for s in oracle.shards for r in s.rejects)
            about = (f"seed {seed}: {closes} closes, {sum(len(s.settlements) for s in oracle.shards)} settlements, "
                     f"{sum(len(s.status_changes) for s in oracle.shards)} status changes, "
                     f"{len(world.drains)} drains, {len(world.owed)} answers about {len(asked_of(world))} accounts, rejects {dict(reasons)}, {len(out)} differences, "
                     f"{time.monotonic() - start:.0f} s")
            if out:
                about += f"\nrepeat with: tests/worlds/world.py --seed {seed}\n" + "\n".join(out[:40])
        finally:
            if not keep:
                world.close()
    return out, about, asked_of(world)


def asked_of(world):
    """At how many moments what an account was told was compared, for each that there is."""
    return list(collections.Counter(account for _, account, expected, _ in world.owed if expected).values())


def attempt(seed, binary, keep=False):
    try:
        return run(seed, binary, keep)
    except Exception as error:  # a world that could not be lived differs, too
        return Differences([repr(error)]), f"seed {seed}: {type(error).__name__}: {error}", []


def run_all(seeds, binary, jobs):
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(attempt, seed, binary): seed for seed in seeds}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], *future.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--bin", default=str(ROOT / "build" / "release" / "settled"))
    options = parser.parse_args()
    if "SETTLED_TEST_BROKERS" not in os.environ:
        services = [sys.executable, str(ROOT / "tests" / "lib" / "services.py"), "run", "--kafka", "--postgres",
                    "--registry", "--", sys.executable, *sys.argv]
        os.execv(sys.executable, services)
    failed, moments = 0, []
    for _, differences, about, asked in run_all(range(options.seed, options.seed + options.seeds), options.bin, options.jobs):
        failed += bool(differences)
        moments += asked
        print(about, flush=True)
    print(f"asked about: {len(moments)} accounts, {sum(each >= MOMENTS for each in moments)} of them at {MOMENTS} moments; "
          f"{sum(moments)} answers compared")
    print(f"{options.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
