"""A hostile world made from a seed: what is sent to the topics between one drain and the next, and with which
schemas."""

import copy
import datetime
import io
import json
import pathlib
import random
import time
import uuid

import fastavro

from oracle import avro, rules
from worlds import writers

BOOK = pathlib.Path(__file__).resolve().parents[2] / "pricing" / "pricebooks" / "apcas.yaml"
MINUTE, HOUR = 60_000, 3_600_000
FIRST_DAYS = ["2024-02-26", "2024-12-29", "2025-02-26", "2025-06-01", "2025-10-30"]
LEADS = [0, 1, 9_999, 10_000, 10_001, 19_999, 20_000, 49_999, 50_000, 99_999, 100_000, 499_999, 500_000, 10**9]
ODD_OFFERS = {"AUDIENCE_INSIGHT": [(250, 10_000_000), (50, 10_000_001), (300, 26_999_999)],
              "PURCHASE_INTENT": [(801_001, 120_150_000), (10, 7_000), (10_000, 0), (-10_000, 7_000_000)]}
ACCOUNTS = ["acme", "a" * 128, "账户-一", "😀/é", "0f8fad5b-d9cb-469f-a165-70867728950e", "B2", "x y"]
BAD_TEXTS = [b"", b"a" * 129, "é".encode() * 65, b"tab\there", b"del\x7f", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80",
             b"cut \xe4\xba", "\x85".encode(), b"nul\0"]
ODD_IDS = ["号😀", "i" * 128, "é" * 64, "nbsp\xa0", " ", "quote'\"\\;--", "%s%n", "{0b4f6f0a-3f63-4b1e-9d4e-111111111111}"]
UNKNOWN_IDS = [0, 987_654_321, 2**31 - 1, 2**31, 2**32 - 1]
JSON_SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'


def offers_of(book):
    """(units, amount) of some of what a price book sells, and of what it does not sell, by service."""
    sold, wrong = {}, {}
    for service, prices in book.services.items():
        packages, minimum = list(prices["packages"].items()), prices["custom"][0]
        units, amount = packages[0]
        sold[service] = [*packages[:2], (minimum, book.package_price(service, minimum))]
        wrong[service] = ODD_OFFERS.get(service, [(units, amount + 1), (units + 1, amount), (-units, amount)])
    return sold, wrong


OFFERS, WRONG_OFFERS = offers_of(rules.Book(BOOK.read_bytes()))


def day_number(text):
    return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days


def base(record):
    return json.loads((avro.SCHEMAS / f"{record}.avsc").read_text())


def plain(field, kind):
    """The field with another type and nothing else."""
    return {"name": field["name"], "type": kind}


class Drawn:
    """A writer's schema that writers.py drew."""

    def __init__(self, change, record, rng):
        schema = change(base(record), rng)
        self.text, self.encoder = json.dumps(schema), writers.Encoder(schema, rng)

    def encode(self, record, _time_field):
        return self.encoder.record({name: value.encode() if isinstance(value, str) and name not in ("service", "kind")
                                    else value for name, value in record.items()})


class Variant:
    """A writer's schema, and how a record is put into it."""

    def __init__(self, schema, fill=None, bytes_for_text=False, micros=False):
        self.text = json.dumps(schema)
        self.schema = fastavro.parse_schema(copy.deepcopy(schema)) if isinstance(schema, dict) else schema
        self.fill, self.bytes_for_text, self.micros = fill or {}, bytes_for_text, micros

    def encode(self, record, time_field):
        record = {**record, **self.fill}
        if self.bytes_for_text:
            record = {k: v.encode() if isinstance(v, str) and k not in ("service", "kind") else v
                      for k, v in record.items()}
        if self.micros:
            record[time_field] = record[time_field] * 1000 + 999
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.schema, record)
        return out.getvalue()


def variants(log):
    """Writers whose schemas resolve: each exercises other rules of schema resolution."""
    record = rules.RECORDS[log]
    schema = base(record)
    found = [Variant(schema)]

    grown = copy.deepcopy(schema)
    grown["namespace"] = "somebody.else"
    grown["fields"] = list(reversed(grown["fields"]))
    grown["fields"].insert(2, {"name": "nested", "type": {"type": "record", "name": "Nested", "fields": [
        {"name": "items", "type": {"type": "array", "items": "string"}},
        {"name": "map", "type": {"type": "map", "values": ["null", "double"]}},
        {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}}]}})
    found.append(Variant(grown, {"nested": {"items": ["x", "y" * 70], "map": {"k": 1.5, "n": None}, "fixed": b"1234"}}))

    raw = copy.deepcopy(schema)
    raw["fields"] = [plain(f, "bytes") if f["type"] == "string" else
                     plain(f, ["bytes", "null"]) if f["type"] == ["null", "string"] else f for f in raw["fields"]]
    found.append(Variant(raw, bytes_for_text=True))

    micros = copy.deepcopy(schema)
    micros["fields"] = [plain(f, {"type": "long", "logicalType": "timestamp-micros"})
                        if f["name"] == rules.TIME[log] else f for f in micros["fields"]]
    found.append(Variant(micros, micros=True))

    nullable = copy.deepcopy(schema)
    nullable["fields"] = [plain(f, [f["type"], "null"]) if not isinstance(f["type"], list) else f
                          for f in nullable["fields"]]
    found.append(Variant(nullable))
    return found


def lean(log):
    """A writer that leaves out the fields that have a default."""
    schema = base(rules.RECORDS[log])
    schema["fields"] = [f for f in schema["fields"] if "default" not in f]
    return Variant(schema)


def strange_enum(log):
    """An enum with a symbol that we do not know."""
    schema = base(rules.RECORDS[log])
    for field in schema["fields"]:
        if isinstance(field["type"], dict) and field["type"]["type"] == "enum":
            field["type"] = {**field["type"], "symbols": ["OF_TOMORROW", *field["type"]["symbols"]]}
            field["type"].pop("default", None)
            field.pop("default", None)
    return Variant(schema)


def foreign(log):
    """Writers that do not resolve."""
    lacking = base(rules.RECORDS[log])
    lacking["fields"] = [f for f in lacking["fields"] if f["name"] != "account_id"]
    other = {"type": "record", "name": "SomethingElse", "fields": [{"name": "x", "type": "long"}]}
    floating = base(rules.RECORDS[log])
    floating["fields"] = [plain(f, "double") if f["name"] == rules.TIME[log] else f for f in floating["fields"]]
    renamed = writers.other_enum(base(rules.RECORDS[log]), None)
    return [lacking, other, floating, renamed]


class Message:
    def __init__(self, log, key, value, timestamp, partition=None, transaction=None):
        self.log, self.key, self.value, self.timestamp = log, key, value, timestamp
        self.partition, self.transaction = partition, transaction


class Generator:
    def __init__(self, seed, register):
        """`register`: takes a subject's suffix and a schema's text (and its kind), gives its id."""
        self.random = random.Random(seed)
        self.seed, self.register = seed, register
        self.framing = "apicurio" if seed % 4 == 3 else "confluent"
        self.live = seed % 10 == 9  # the brokers' timestamps: all that is sent comes today
        self.first_day = rules.day_of(self.now()) if self.live else day_number(self.random.choice(FIRST_DAYS))
        self.partitions = self.random.choice([2, 3, 4])
        self.partitioner = self.random.choice(["murmur2", "murmur2", "crc32"])
        self.late_days = self.random.choice([0, 1, 2, 3])
        self.grace = self.random.choice([0, 1000, 5 * MINUTE, 3 * HOUR])
        self.tolerance = self.random.choice([0, 5 * MINUTE, 2 * HOUR])
        self.share = self.random.choice([0, 1, 20, 50])  # percent
        self.refused_share = self.random.choice([5, 20, 50])
        self.credit_days = self.random.choice([400, 400, 3, 30])
        self.days = self.random.randint(4, 9)
        # Days before the first one that have records in the logs when the first drain comes.
        self.lead = 0 if self.live else random.Random(-seed).choice([0, 0, 1, 3])
        self.held_day = self.random.randrange(1, self.days) if seed % 5 == 2 else None
        self.accounts = self.random.sample(ACCOUNTS, self.random.randint(3, len(ACCOUNTS)))
        self.ids = [str(uuid.UUID(int=self.random.getrandbits(128))) for _ in range(30)]
        self.ids += [each.upper() for each in self.ids[:3]] + [f"id-{n}" for n in range(30)] + ODD_IDS
        self.kept = {log: [] for log in rules.LOGS}
        self.unknown_due = seed % 6 == 4
        self.balances = {}  # of accounts, as the last drain left them
        self.schemas = {log: [(v, self.id_of(log, v.text)) for v in variants(log) + self.drawn(log)] for log in rules.LOGS}
        self.lean = {log: (v := lean(log), self.id_of(log, v.text)) for log in rules.LOGS}
        self.strange = {log: (v := strange_enum(log), self.id_of(log, v.text)) for log in (rules.CALLS, rules.CREDITS)}
        self.foreign = {log: [self.id_of(log, json.dumps(each)) for each in foreign(log)] for log in rules.LOGS}
        self.foreign[rules.CALLS].append(self.register("json", JSON_SCHEMA, "JSON"))

    def drawn(self, log):
        return [Drawn(change, rules.RECORDS[log], self.random) for change in self.random.sample(writers.RESOLVE, 3)]

    @staticmethod
    def now():
        return int(time.time() * 1000)

    def id_of(self, log, text):
        return self.register(f"{log}-{uuid.UUID(int=self.random.getrandbits(128))}", text)

    # --- time ---

    def clocks(self):
        """When the drains stand; the last one settles the last day."""
        points = sorted(self.random.sample(range(self.days), self.random.randint(1, 2)))
        found = []
        for day in points:
            due = rules.start_of(self.first_day + day + 1) + self.grace
            found.append(due + self.random.choice([-1, 0, 1, 3 * HOUR, -2 * HOUR]))
        found.append(rules.start_of(self.first_day + self.days) + self.grace + self.random.choice([0, HOUR]))
        return sorted(set(found))

    def instant(self, start, end):
        """A broker's timestamp, often where days meet."""
        if self.live:
            return self.now()
        at = self.random.randrange(start, end)
        if self.random.random() < 0.25:
            midnight = rules.start_of(rules.day_of(at))
            at = midnight + self.random.choice([-1, 0, 1, self.grace - 1, self.grace, self.grace + 1, MINUTE])
        return min(max(at, start), end - 1)

    def own_time(self, timestamp):
        pick = self.random.random()
        if pick < 0.55:
            return timestamp - self.random.randrange(2000)
        if pick < 0.70:
            return rules.start_of(rules.day_of(timestamp)) + self.random.choice([-1, 0, 1])
        if pick < 0.80:
            return timestamp + self.random.choice([self.tolerance, self.tolerance + 1, self.tolerance - 1, 1000])
        return timestamp - self.random.randint(1, self.late_days + 2) * rules.DAY + self.random.randrange(HOUR)

    # --- records ---

    def call(self, timestamp):
        service = self.random.choice(list(rules.SERVICES))
        return {"call_id": self.random.choice(self.ids), "account_id": self.random.choice(self.accounts),
                "service": service, "lead_count": self.random.choice(LEADS) if rules.SERVICES[service] == "lead" else None,
                "occurred_at": self.own_time(timestamp), "request_id": self.random.choice([None, "r"])}

    def purchase(self, timestamp):
        service = self.random.choice(list(rules.SERVICES))
        good = self.random.random() < 0.8
        units, amount = self.random.choice((OFFERS if good else WRONG_OFFERS)[service])
        when = self.own_time(timestamp)
        if self.random.random() < 0.3:  # one that expires about now
            when = rules.a_year_later(timestamp) - 2 * 366 * rules.DAY + self.random.randrange(4 * rules.DAY)
        return {"purchase_id": f"p{self.random.randrange(25)}", "account_id": self.random.choice(self.accounts),
                "service": service, "units": units, "used": self.random.choice([0, 0, 1, max(units, 0), units + 1]),
                "amount": amount, "currency": "CNY", "purchased_at": when}

    def credit(self, timestamp):
        kind = self.random.choice(["TOP_UP", "TOP_UP", "TOP_UP", "ADJUSTMENT"])
        account = self.random.choice(self.accounts)
        owed = -self.balances.get(account, 0)  # at zero, and one fen beside it, resumption is decided
        amount = self.random.choice([1, 220_000, 10_000_000, 10**11, 10**13, 10**13 + 1, -1, -5_000_000, 0,
                                     owed, owed, owed + 1, owed - 1])
        return {"credit_id": self.random.choice(self.ids), "account_id": account,
                "kind": kind, "amount": amount, "currency": self.random.choice(["CNY"] * 12 + ["USD"]),
                "credited_at": self.own_time(timestamp), "reason": self.random.choice([None, "理由"]),
                "reference": None}

    def fresh(self, log, timestamp):
        return {rules.CALLS: self.call, rules.PURCHASES: self.purchase, rules.CREDITS: self.credit}[log](timestamp)

    def message(self, log, timestamp):
        pick = self.random.random()
        if pick < 0.15 and self.kept[log]:
            return self.again(log, timestamp)
        if pick < 0.28:
            return self.broken(log, timestamp)
        record = self.fresh(log, timestamp)
        self.kept[log].append(record)
        return self.framed(log, record, timestamp)

    def head(self, number):
        """What stands before the body."""
        return b"\0" + number.to_bytes(8 if self.framing == "apicurio" else 4, "big")

    def framed(self, log, record, timestamp, variant=None):
        variant, number = variant or self.random.choice(self.schemas[log])
        value = self.head(number) + variant.encode(record, rules.TIME[log])
        return Message(log, record["account_id"].encode(), value, timestamp)

    def again(self, log, timestamp):
        """An earlier record again: the same, or with other content."""
        record = dict(self.random.choice(self.kept[log][-40:]))
        change = self.random.random()
        if change < 0.35:
            field = {rules.CALLS: "occurred_at", rules.PURCHASES: "amount", rules.CREDITS: "amount"}[log]
            record[field] += self.random.choice([1, 1000, rules.DAY])
        elif change < 0.45 and log == rules.CALLS:
            record["request_id"] = "another"
        elif change < 0.5:
            record["account_id"] = self.random.choice(self.accounts)
        return self.framed(log, record, timestamp)

    def broken(self, log, timestamp):
        """A record that is rejected for some reason, or is only unusual."""
        record = self.fresh(log, timestamp)
        good = self.framed(log, record, timestamp)
        key, value = good.key, good.value
        raw = self.schemas[log][2]  # bytes for texts
        bad_text = self.random.choice(BAD_TEXTS)
        return self.random.choice([
            lambda: Message(log, key, None, timestamp),
            lambda: Message(log, key, b"", timestamp),
            lambda: Message(log, key, b"\1" + value[1:], timestamp),
            lambda: Message(log, key, value[:self.random.randrange(len(self.head(0)), len(value))], timestamp),
            lambda: Message(log, key, value + b"x", timestamp),
            lambda: Message(log, b"somebody", value, timestamp),
            lambda: Message(log, None, value, timestamp),
            lambda: Message(log, key, value, timestamp, partition=self.random.randrange(self.partitions)),
            lambda: Message(log, key, self.head(self.random.choice(self.foreign[log])) + b"abc",
                            timestamp),
            lambda: self.with_bytes(log, record, timestamp, raw, rules.ID[log], bad_text, key),
            lambda: self.with_bytes(log, record, timestamp, raw, "account_id", bad_text, bad_text),
            lambda: self.with_null(log, record, timestamp, key),
            lambda: self.with_strange_symbol(log, record, timestamp),
            lambda: self.framed(log, {**record, rules.TIME[log]: self.random.choice([-1, 253_402_300_800_000])},
                                timestamp, self.schemas[log][0]),
            lambda: self.leaned(log, record, timestamp),
            lambda: self.out_of_bounds(log, record, timestamp),
        ])()

    def with_bytes(self, log, record, timestamp, raw, field, text, key):
        variant, number = raw
        value = self.head(number)
        out = io.BytesIO()
        filled = {k: v.encode() if isinstance(v, str) and k not in ("service", "kind") else v
                  for k, v in record.items()}
        if log == rules.CREDITS and self.random.random() < 0.5:
            filled["reason"] = b"bad \xff\xe4\xb8 and \0"
        filled[field] = text
        fastavro.schemaless_writer(out, variant.schema, filled)
        return Message(log, key, value + out.getvalue(), timestamp)

    def with_null(self, log, record, timestamp, key):
        field = self.random.choice([rules.ID[log], "account_id", rules.TIME[log]])
        message = self.framed(log, {**record, field: None} if field != "account_id" else record, timestamp,
                              self.schemas[log][4])
        if field == "account_id":
            variant, number = self.schemas[log][4]
            message.value = self.head(number) + variant.encode({**record, field: None}, None)
        message.key = key
        return message

    def with_strange_symbol(self, log, record, timestamp):
        if log not in self.strange:
            return self.framed(log, record, timestamp)
        field = "service" if log == rules.CALLS else "kind"
        return self.framed(log, {**record, field: "OF_TOMORROW"}, timestamp, self.strange[log])

    def leaned(self, log, record, timestamp):
        """Fields that are left out take the default: a lead_count that is null, a kind that is TOP_UP."""
        return self.framed(log, record, timestamp, self.lean[log])

    def out_of_bounds(self, log, record, timestamp):
        if log == rules.CALLS:
            record = {**record, "service": "PURCHASE_INTENT", "lead_count": self.random.choice([None, -1, 10**9 + 1])}
        elif log == rules.PURCHASES:
            record = {**record, "units": 10**9 + 1}
        return self.framed(log, record, timestamp, self.schemas[log][0])

    # --- a batch ---

    def batch(self, start, end):
        """What is sent between two drains: messages in order of sending, some in transactions, some of those aborted."""
        messages = []
        days = max(1, (end - start) // rules.DAY)
        for log, many in ((rules.CALLS, 45), (rules.PURCHASES, 7), (rules.CREDITS, 12)):
            times = sorted(self.instant(start, end) for _ in range(int(many * days)))
            messages += [self.message(log, at) for at in times]
        messages += self.flood(start, end)
        messages.sort(key=lambda m: m.timestamp)
        messages = self.jittered(messages)
        if self.seed % 7 == 3:
            messages.append(self.huge(end - 1))
        if self.unknown_due:
            messages += self.of_unknown_schemas(start, end)
        if self.seed % 4 == 1:
            self.transact(messages)
        return messages

    def jittered(self, messages):
        """Sometimes neighbours change places, because timestamps of producers do not rise strictly."""
        for at in range(1, len(messages)):
            if self.random.random() < 0.05:
                messages[at - 1], messages[at] = messages[at], messages[at - 1]
        return messages

    def flood(self, start, end):
        """A wrong deployment: within one day, and in one shard, most records of one log are broken or refused."""
        if self.held_day is None:
            return []
        at = rules.start_of(self.first_day + self.held_day) + 12 * HOUR
        if not start <= at < end:
            return []
        wrong = [self.calls_broken, self.credits_of_1970, self.purchases_not_for_sale, self.credits_broken,
                 self.ids_start_over, self.purchases_broken][self.seed // 5 % 6]
        # While the day is held, the logs go on in it.
        later = max(start + (end - start) // 2, at)
        return wrong(at) + [self.message(log, self.random.randrange(later, end)) for log in rules.LOGS for _ in range(5)]

    def calls_broken(self, at):
        """What is only in the wrong partition is billed when it is sent again."""
        key = self.accounts[0].encode()
        return self.unframed(rules.CALLS, at, 100) + [self.astray(at + n, self.partition(key)) for n in range(30)]

    def credits_broken(self, at):
        return self.unframed(rules.CREDITS, at, 30)

    def purchases_broken(self, at):
        return self.unframed(rules.PURCHASES, at, 30)

    def unframed(self, log, at, count):
        return [Message(log, self.accounts[0].encode(), b"\0\0\0", at + n) for n in range(count)]

    def credits_of_1970(self, at):
        """Seconds for milliseconds."""
        return [self.framed(rules.CREDITS, {**self.credit(at + n), "credit_id": f"s{n}", "account_id": self.accounts[0],
                                            "credited_at": at // 1000}, at + n) for n in range(30)]

    def purchases_not_for_sale(self, at):
        service = self.random.choice(list(rules.SERVICES))
        units, amount = self.random.choice([each for each in WRONG_OFFERS[service] if min(each) > 0])
        return [self.framed(rules.PURCHASES, {
            "purchase_id": f"wrong-{n}", "account_id": self.accounts[0], "service": service, "units": units, "used": 0,
            "amount": amount, "currency": "CNY", "purchased_at": at + n}, at + n) for n in range(30)]

    def ids_start_over(self, at):
        """A gateway that counts from one again after each call."""
        return [self.framed(rules.CALLS, {**self.call(at + n), "call_id": "1", "account_id": self.accounts[0],
                                          "service": "PURCHASE_INTENT", "lead_count": n, "occurred_at": at}, at + n)
                for n in range(200)]

    def astray(self, at, partition):
        record = {**self.call(at), "call_id": str(uuid.UUID(int=self.random.getrandbits(128))), "occurred_at": at}
        message = self.framed(rules.CALLS, record, at, self.schemas[rules.CALLS][0])
        message.partition = partition
        return message

    def partition(self, key):
        return rules.partition_of(self.partitioner, key or b"", self.partitions)

    def huge(self, timestamp):
        record = {**self.call(timestamp), "request_id": "r" * 950_000}
        message = self.framed(rules.CALLS, record, timestamp, self.schemas[rules.CALLS][0])
        if self.random.random() < 0.5:
            message.value += b"left over"
        return message

    def of_unknown_schemas(self, start, end):
        """Ids that the registry does not have: once, as they cost a drain ten seconds."""
        self.unknown_due = False
        messages = [self.message(rules.CALLS, self.instant(start, end)) for _ in UNKNOWN_IDS]
        for message, number in zip(messages, UNKNOWN_IDS):
            message.value = self.head(number) + (message.value or b"")[len(self.head(0)):]
        return messages

    def transact(self, messages):
        number = 0
        for at in range(0, len(messages) - 10, 25):
            number += 1
            outcome = self.random.choice(["commit", "abort"])
            for message in messages[at:at + self.random.randint(1, 10)]:
                message.transaction = (number, outcome)
