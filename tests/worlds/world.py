#!/usr/bin/env python3
"""Hostile worlds on a real broker, registry and PostgreSQL, held against the oracle: every table, every topic.

    world.py [--seed N] [--seeds K] [--jobs J] [--bin PATH] [--keep]

Starts services of its own when SETTLED_TEST_BROKERS, _DSN and _REGISTRY are not set.
"""

import argparse
import collections
import concurrent.futures
import datetime
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "worlds"), str(ROOT / "tests" / "lib")]

import confluent_kafka
import confluent_kafka.admin
import fastavro
import psycopg

import generate
from oracle import avro, rules

OUTPUTS = {"settlements": "Settlement", "status": "AccountStatusChanged", "day_closes": "DayClosed", "rejects": "Reject"}
KEYS = (*rules.LOGS, *OUTPUTS)
BOOK = ROOT / "pricing" / "pricebooks" / "apcas.yaml"
UNHELD = 75


def rfc3339(instant):
    local = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=instant + rules.ZONE)
    return local.isoformat(timespec="milliseconds") + "+08:00"


def milliseconds(moment):
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(milliseconds=1)


def day_number(date):
    return (date - datetime.date(1970, 1, 1)).days


class World:
    def __init__(self, seed, binary, brokers, dsn, registry, folder):
        self.seed, self.binary, self.brokers, self.registry, self.folder = seed, binary, brokers, registry, folder
        self.name = f"world-{seed}-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
        self.topics = {key: f"{self.name}-{key}" for key in KEYS}
        self.superuser, database = dsn, self.name.replace("-", "_")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        self.database, self.dsn = database, dsn.rpartition("/")[0] + "/" + database
        self.random = random.Random(seed ^ 0x5EED)
        self.schemas = {}
        self.generator = generate.Generator(seed, self.register)
        self.books = [BOOK.read_bytes()]
        self.billing = {"first_day": str(rules.date_of(self.generator.first_day)), "grace": "5m",
                        "late_days": self.generator.late_days, "future_tolerance": "5m", "max_reject_share": "1%",
                        "timestamps": "create"}
        self.drains, self.log = [], ""
        self.make_topics()
        self.write_config(BOOK)

    # --- set up ---

    def register(self, subject, text):
        request = urllib.request.Request(
            f"{self.registry}/subjects/{self.name}-{subject}/versions", json.dumps({"schema": text}).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            number = json.load(answer)["id"]
        self.schemas[number] = text
        return number

    def make_topics(self):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        settings = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
        made = admin.create_topics([
            confluent_kafka.admin.NewTopic(
                self.topics[key], self.generator.partitions, 1,
                config={**settings, "max.message.bytes": "2097152" if key in OUTPUTS else "1048576"}) for key in KEYS])
        for each in made.values():
            each.result(30)

    def write_config(self, book):
        config = {
            "kafka": {"brokers": self.brokers, "group": self.name, "properties": {"session.timeout.ms": "6000"}},
            "topics": self.topics, "schemas": {"registry": self.registry}, "postgres": {"dsn": self.dsn},
            "pricing": {"book": str(book)}, "billing": self.billing, "run": {"workers": 1}, "http": {"listen": ""},
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
        start = rules.start_of(self.generator.first_day)
        clocks = self.generator.clocks()
        for number, clock in enumerate(clocks):
            # A later drain's records begin a little before the clock of the one before: the broker's time is not ours.
            self.send(self.generator.batch(start, max(clock + self.random.choice([0, 2 * generate.MINUTE]), start + 1)))
            if number + 1 == len(clocks) and self.seed % 3 == 0:
                self.send_from_the_future(clock)
            self.drain(clock)
            start = clock
            self.change_something(number, clock)

    def change_something(self, number, clock):
        """Parameters and price books that come into force on a day that no shard has opened."""
        if number > 0:
            return
        if self.seed % 4 == 0:
            self.billing = {**self.billing, "late_days": self.random.choice([1, 5]), "grace": "7m"}
            self.write_config(self.current_book())
        if self.seed % 3 == 1:
            text = BOOK.read_text().replace("unit_price: 2200", "unit_price: 2300").replace(
                "{units: 50, price: 100000}", "{units: 50, price: 100001}")
            day = rules.day_of(clock) + 3
            later = self.folder / "later.yaml"
            later.write_text(f"effective_from: {rules.date_of(day)}\n" + text)
            self.books.append(later.read_bytes())
            self.write_config(later)

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
                                         "linger.ms": 5, "message.max.bytes": 1048576, **dict(more)})

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
            partition = rules.murmur2(message.key) % self.generator.partitions if message.key is not None else 0
        while True:
            try:
                producer.produce(self.topics[message.log], message.value, message.key, partition=partition,
                                 timestamp=message.timestamp)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    def send_from_the_future(self, clock):
        """A record that no clock can have stamped ends its log in a drain."""
        log = self.random.choice(rules.LOGS)
        self.send([self.generator.framed(log, self.generator.fresh(log, clock), clock + generate.TOLERANCE + 1)])

    def ends(self):
        """Where each log ends, once no transaction is pending any more: its end marker can come after the commit's reply."""
        deadline = time.monotonic() + 60
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
        self.drains.append((clock, self.ends(), self.decided()))
        command = ["run", "--drain", "--clock", rfc3339(clock)]
        if self.seed % 2 == 1:
            self.killed(command)
        done = self.settled(*command, status=(0, UNHELD))
        if done.returncode == 0:
            return
        # Held: an operator takes the loss, and the day is released.
        self.settled("rejects", "accept", "--reason", "UNDECODABLE", "--operator", "oracle")
        ends = self.ends()
        self.settled(*command)
        self.drains.append((clock, ends, self.decided()))

    def killed(self, command):
        """The same drain, killed somewhere: it must change nothing."""
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
            connection.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        for each in admin.delete_topics(list(self.topics.values())).values():
            each.result(30)

    # --- what came of it ---

    def sql(self, statement):
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement).fetchall()

    def read(self, key):
        """Every committed record of a topic, by partition."""
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.brokers, "group.id": f"{self.name}-reader", "enable.auto.commit": False,
            "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest"})
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
        return [{"shard": shard, "number": number, "kind": kind, "content": content, "log": logs[topic],
                 "offset": offset, "as_of": milliseconds(as_of), "day": day_number(day),
                 "at": {rules.CALLS: calls, rules.PURCHASES: purchases, rules.CREDITS: credits}}
                for shard, number, kind, content, topic, offset, as_of, day, calls, purchases, credits in self.sql(
                    "select shard, number, kind, content, topic, kafka_offset, as_of, business_day, calls_at,"
                    " purchases_at, credits_at from settled.decisions order by shard, number")]

    def parameter_rows(self):
        return [{"from_day": day if day is None else day_number(day), "grace": grace, "late_days": late,
                 "tolerance": tolerance, "share": share}
                for day, grace, late, tolerance, share in self.sql(
                    "select case when isfinite(from_day) then from_day end, grace_ms, late_days, future_tolerance_ms,"
                    " max_reject_share_ppm from settled.parameters order by from_day")]

    def oracle(self):
        records = {log: {p: [rules.Record(m.offset(), m.timestamp()[1], m.key(), m.value(),
                                          m.timestamp()[0] == confluent_kafka.TIMESTAMP_CREATE_TIME) for m in messages]
                         for p, messages in self.read(log).items()} for log in rules.LOGS}
        world = rules.World(
            first_day=self.generator.first_day, partitions=self.generator.partitions, topics=self.topics,
            records=records, schemas=self.schemas, books=self.books, parameter_rows=self.parameter_rows(),
            decisions=self.decisions())
        for clock, ends, decided in self.drains:
            world.drain(clock, ends, decided)
        return world


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


def compare_tables(world, oracle, out):
    shards = oracle.shards

    def table(name, columns, expected, width, where="", casts=()):
        wanted = ", ".join(f"{column}::{dict(casts).get(column)}" if column in dict(casts) else column
                           for column in columns)
        actual = [tuple(plain(value) for value in row)
                  for row in world.sql(f"select {wanted} from settled.{name} {where}")]
        out.rows(name, columns, expected, actual, width)

    table("accounts", ("account_id", "shard", "balance", "status", "account_sequence"),
          [(a.decode(), s.number, x.balance, x.status, x.changes)
           for s in shards for a, x in s.accounts.items() if x.stored], 1)
    names = ("account_id", "business_day", "settlement_id", "calls", "calls_while_suspended", "amount",
             "opening_balance", "credits", "adjustments", "closing_balance", "status", "shard")
    settlements = [x for s in shards for x in s.settlements]
    table("settlements", names, [tuple(x[n] for n in names) for x in settlements], 2)
    names = ("usage_day", "service", "charge", "package_id", "tier_from", "calls", "units", "unit_price", "amount")
    lines = [(x["account_id"], x["business_day"], tuple(line[n] for n in names))
             for x in settlements for line in x["lines"]]
    actual = collections.Counter()
    stored = []
    for row in world.sql(f"select account_id, business_day, {', '.join(names)} from settled.settlement_lines"
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
    table("packages", ("account_id", "package_id", "service", "units", "remaining", "amount", "valid_from",
                       "valid_until", "kafka_offset"),
          [(a.decode(), i.decode(), p["service"], p["units"], p["remaining"], p["amount"], p["from"], p["until"],
            p["offset"]) for s in shards for (a, i), p in s.packages.items()], 2)
    table("credits", ("account_id", "credit_id", "kind", "amount", "credited_at", "received_at", "reason", "reference",
                      "kafka_offset"),
          [(a.decode(), i.decode(), c["kind"], c["amount"], c["credited_at"], c["received_at"], c["reason"],
            c["reference"], c["offset"]) for s in shards for (a, i), c in s.credits.items()], 2)
    names = ("account_id", "account_sequence", "status", "cause", "settlement_id", "credit_id", "balance",
             "effective_at")
    table("status_changes", names, [tuple(c[n] for n in names) for s in shards for c in s.status_changes], 2)
    names = ("shard", "business_day", "late", "zero_unit_calls", "settlements", "amount", "price_book", "parameters",
             "content_digest", "previous_digest", "digest")
    table("day_closes", names, [tuple(c[n] for n in names) for s in shards for c in s.closes], 2)
    names = ("topic", "from_offset", "to_offset", "cut_by", "accepted", "duplicates", "rejected", "void")
    table("day_cutoffs", ("shard", "business_day", *names),
          [(number, day, *(cutoff[n] for n in names)) for s in shards for number, day, cutoff in s.cutoffs], 3)
    table("rejects", ("topic", "partition", "kafka_offset", "reason", "account_id", "record_id", "received_at"),
          [(r["topic"], r["partition"], r["offset"], r["reason"], r["account_id"], r["record_id"], r["timestamp"])
           for s in shards for r in s.rejects], 3)
    table("account_statement", ("account_id", "position", "at", "kind", "reference", "amount", "balance"),
          [(row[0].decode(), *row[1:]) for s in shards for row in s.statement], 2)


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
    decoded = {}
    for key, record in OUTPUTS.items():
        schema = fastavro.parse_schema(json.loads((avro.SCHEMAS / f"{record}.avsc").read_text()))
        decoded[key] = {
            p: [(m, number_dates(fastavro.schemaless_reader(io.BytesIO(m.value()[5:]), schema, None)))
                for m in messages] for p, messages in world.read(key).items()}
    for shard in oracle.shards:
        messages = sorted(((body["sequence"], key, message, body) for key in OUTPUTS
                           for message, body in decoded[key][shard.number]), key=lambda each: each[0])
        out.same(f"shard {shard.number}: sequences", list(range(1, len(messages) + 1)), [m[0] for m in messages])
        bodies = [(key, {n: v for n, v in body.items() if n != "sequence"}) for _, key, _, body in messages]
        compare_stream(f"shard {shard.number}", shard.outputs, [each for each in bodies if each[0] != "rejects"], out)
        compare_rejects(shard, [body for key, body in bodies if key == "rejects"], out)
        for sequence, key, message, body in messages:
            compare_headers(world, shard.number, key, message, body, out)


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
    identity = {"settlements": body.get("settlement_id"), "status": body.get("event_id"),
                "day_closes": f"{shard}/{rules.date_of(body.get('business_day', 0))}",
                "rejects": f"{body.get('topic')}/{body.get('partition')}/{body.get('offset')}"}[key]
    instant = {"settlements": lambda: rules.start_of(body["business_day"] + 1), "status": lambda: body["effective_at"],
               "day_closes": lambda: rules.start_of(body["business_day"] + 1),
               "rejects": lambda: body["timestamp"]}[key]()
    headers = dict(message.headers() or [])
    expected = {"ce_specversion": b"1.0", "ce_id": identity.encode(),
                "ce_source": f"/settled/{world.name}/{shard}".encode(),
                "ce_type": f"settled.{OUTPUTS[key]}.v1".encode()}
    out.same(f"{identity}: headers", expected, {name: headers.get(name) for name in expected})
    moment = datetime.datetime.fromisoformat(headers["ce_time"].decode().replace("Z", "+00:00"))
    out.same(f"{identity}: ce_time", instant, milliseconds(moment))
    wanted = {"settlements": lambda: body["account_id"].encode(), "status": lambda: body["account_id"].encode(),
              "day_closes": lambda: str(shard).encode(), "rejects": lambda: body["key"]}[key]()
    out.same(f"{identity}: key", wanted, message.key())


def run(seed, binary, keep=False):
    """Lives one world and returns (differences, a line about it)."""
    start = time.monotonic()
    brokers, dsn, registry = (os.environ[f"SETTLED_TEST_{name}"] for name in ("BROKERS", "DSN", "REGISTRY"))
    with tempfile.TemporaryDirectory(prefix="settled-world-") as folder:
        world = World(seed, binary, brokers, dsn, registry, pathlib.Path(folder))
        out = Differences()
        try:
            world.live()
            oracle = world.oracle()
            compare_tables(world, oracle, out)
            compare_topics(world, oracle, out)
            closes = sum(len(s.closes) for s in oracle.shards)
            reasons = collections.Counter(r["reason"] for s in oracle.shards for r in s.rejects)
            about = (f"seed {seed}: {closes} closes, {sum(len(s.settlements) for s in oracle.shards)} settlements, "
                     f"{sum(len(s.status_changes) for s in oracle.shards)} status changes, "
                     f"{len(world.drains)} drains, rejects {dict(reasons)}, {len(out)} differences, "
                     f"{time.monotonic() - start:.0f} s")
            if out:
                about += f"\nrepeat with: tests/worlds/world.py --seed {seed}\n" + "\n".join(out[:40])
        finally:
            if not keep:
                world.close()
    return out, about


def attempt(seed, binary, keep=False):
    try:
        return run(seed, binary, keep)
    except Exception as error:  # a world that could not be lived differs, too
        return Differences([repr(error)]), f"seed {seed}: {type(error).__name__}: {error}"


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
    failed = 0
    for _, differences, about in run_all(range(options.seed, options.seed + options.seeds), options.bin, options.jobs):
        failed += bool(differences)
        print(about, flush=True)
    print(f"{options.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
