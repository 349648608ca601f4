"""Writers' schemas of every kind that the contract names, and encoding with them, also of hostile values."""

import copy
import json
import struct

from oracle import avro

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
ADDED = [  # fields that the reader does not know, of every shape
    {"name": "added_text", "type": "string"},
    {"name": "added_double", "type": "double"},
    {"name": "added_flag", "type": "boolean"},
    {"name": "added_list", "type": {"type": "array", "items": "long"}},
    {"name": "added_map", "type": {"type": "map", "values": ["null", "string"]}},
    {"name": "added_fixed", "type": {"type": "fixed", "name": "Checksum", "size": 4}},
    {"name": "added_record", "type": {"type": "record", "name": "Origin", "fields": [
        {"name": "host", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "OriginKind", "symbols": ["APP", "BATCH"]}},
        {"name": "parents", "type": {"type": "array", "items": "Origin"}}]}},
]


def load(record):
    return json.loads((avro.SCHEMAS / f"{record}.avsc").read_text())


def retype(schema, change):
    """The schema with every field's type passed through change(name, type)."""
    for field in schema["fields"]:
        field["type"] = change(field["name"], field["type"])
        if isinstance(field["type"], list):
            field.pop("default", None)
    return schema


def over_plain(kind, change):
    """Changes the types of one kind, in unions too."""
    def each(_name, declared):
        branches = declared if isinstance(declared, list) else [declared]
        changed = [change(b) if avro.kind_of(b) == kind else b for b in branches]
        return changed if isinstance(declared, list) else changed[0]
    return each


def added(schema, rng):
    extra = [copy.deepcopy(field) for field in ADDED]
    rng.shuffle(extra)
    for field in extra[:rng.randrange(1, len(extra) + 1)]:
        schema["fields"].insert(rng.randrange(len(schema["fields"]) + 1), field)
    return schema


def reordered(schema, rng):
    rng.shuffle(schema["fields"])
    return schema


def promoted(schema, _rng):
    return retype(schema, over_plain("long", lambda t: t if avro.logical_type(t) else "int"))


def micros(schema, _rng):
    return retype(schema, over_plain("long", lambda t: MICROS if avro.logical_type(t) else t))


def nullable(schema, rng):
    def each(_name, declared):
        plain = next(b for b in declared if b != "null") if isinstance(declared, list) else declared
        return rng.choice([["null", plain], [plain, "null"]])
    return retype(schema, each)


def single_unions(schema, _rng):
    return retype(schema, lambda _, t: t if isinstance(t, list) else [t])


def elsewhere(schema, _rng):
    schema["namespace"] = "com.example.billing"
    schema["aliases"] = ["Former"]
    for field in schema["fields"]:
        field["aliases"] = [f"old_{field['name']}"]
    return schema


def absent(schema, _rng):
    schema["fields"] = [field for field in schema["fields"] if "default" not in field]
    return schema


def symbols(schema, _rng):
    def change(enum):
        return {**enum, "symbols": ["NEWER", *reversed(enum["symbols"])]}
    return retype(schema, over_plain("enum", change))


def as_bytes(schema, _rng):
    return retype(schema, over_plain("string", lambda _: "bytes"))


def optional_record(schema, _rng):
    return ["null", schema]


def mixed(schema, rng):
    for change in rng.sample([added, reordered, micros, nullable, symbols, as_bytes], 3):
        schema = change(schema, rng)
    return schema


def no_account(schema, _rng):
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "account_id"]
    return schema


def stranger(schema, _rng):
    schema["name"] = "Stranger"
    return schema


def doubles(schema, _rng):
    return retype(schema, over_plain("long", lambda t: t if avro.logical_type(t) else "double"))


def other_instants(schema, rng):
    """Times by a logical type that says another instant."""
    other = rng.choice([{"type": "long", "logicalType": f"{local}timestamp-{unit}"}
                        for local, unit in (("local-", "millis"), ("local-", "micros"), ("", "nanos"))] +
                       [{"type": "int", "logicalType": "date"}, {"type": "long", "logicalType": "time-micros"}])
    return retype(schema, over_plain("long", lambda t: other if avro.logical_type(t) else t))


def other_enum(schema, _rng):
    return retype(schema, over_plain("enum", lambda t: {**t, "name": "Product"}))


def odd_branch(schema, _rng):
    """Resolves, but the branch that is met does not."""
    times = ("occurred_at", "purchased_at", "credited_at")
    return retype(schema, lambda name, declared: ["double", declared] if name in times else declared)


RESOLVE = [added, reordered, promoted, micros, nullable, single_unions, elsewhere, absent, symbols, as_bytes,
           optional_record, mixed, mixed, odd_branch]
DO_NOT = [no_account, stranger, doubles, other_enum, other_instants]


def zigzag(number):
    number, out = number << 1 ^ number >> 63, b""
    number &= 2 ** 64 - 1
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


class Encoder:
    """Encodes with a writer's schema. Fields come from a dictionary (texts as bytes, times in milliseconds, None for a
    null); missing ones are drawn at random."""

    def __init__(self, schema, rng):
        self.schema, self.rng, self.named = schema, rng, {}

    def record(self, values):
        if isinstance(self.schema, list):
            branch = next(n for n, each in enumerate(self.schema) if each != "null")
            return zigzag(branch) + self.fields(self.schema[branch], values, 0)
        return self.fields(self.schema, values, 0)

    def fields(self, schema, values, depth):
        self.named[schema["name"]] = schema
        return b"".join(self.value(field["type"], values.get(field["name"], ...), depth) for field in schema["fields"])

    def value(self, schema, value, depth):
        schema = self.named.get(schema, schema) if isinstance(schema, str) else schema
        if isinstance(schema, list):
            return self.union(schema, value, depth)
        kind, rng = avro.kind_of(schema), self.rng
        if isinstance(schema, dict) and "name" in schema:
            self.named[schema["name"]] = schema
        if kind == "null":
            return b""
        if kind == "boolean":
            return bytes([rng.randrange(2)])
        if kind == "double":
            return struct.pack("<d", rng.random())
        if kind == "fixed":
            return rng.randbytes(schema["size"])
        if kind == "enum":
            known = value in schema["symbols"]
            return zigzag(schema["symbols"].index(value) if known else rng.randrange(len(schema["symbols"])))
        if kind in ("int", "long"):
            number = value if isinstance(value, int) else rng.randrange(-1000, 1000)
            if avro.logical_type(schema) == "timestamp-micros":
                number = number * 1000 + rng.randrange(1000)
            return zigzag(max(-2 ** 31, min(2 ** 31 - 1, number)) if kind == "int" else number)
        if kind in ("string", "bytes"):
            text = value if isinstance(value, bytes) else rng.choice([b"", b"x", "数据".encode(), b"y" * 70])
            return zigzag(len(text)) + text
        if kind == "record":
            return self.fields(schema, {}, depth + 1)
        return self.blocks(schema, depth)

    def union(self, branches, value, depth):
        null = branches.index("null") if "null" in branches else None
        if value is None and null is not None:
            return zigzag(null)
        others = [n for n, each in enumerate(branches) if each != "null"]
        branch = self.rng.choice(others)
        return zigzag(branch) + self.value(branches[branch], value, depth)

    def blocks(self, schema, depth):
        items = []
        for _ in range(0 if depth > 2 else self.rng.randrange(3)):
            key = b"\x02k" if schema["type"] == "map" else b""
            items.append(key + self.value(schema.get("items", schema.get("values")), ..., depth + 1))
        data = b"".join(items)
        if not items:
            return zigzag(0)
        if self.rng.random() < .5:
            return zigzag(-len(items)) + zigzag(len(data)) + data + zigzag(0)
        return zigzag(len(items)) + data + zigzag(0)


class Writer:
    def __init__(self, schema, rng, text=None):
        self.text = text or json.dumps(schema)
        self.encoder = Encoder(schema, rng)
        self.id = None

    def value(self, fields):
        return b"\0" + self.id.to_bytes(4, "big") + self.encoder.record(fields)


def draw(record, rng, count):
    """Our own writer, some others whose schemas resolve, and one whose schema does not."""
    own = Writer(load(record), rng, (avro.SCHEMAS / f"{record}.avsc").read_text())
    others = [Writer(change(load(record), rng), rng) for change in rng.sample(RESOLVE, count)]
    foreign = Writer(rng.choice(DO_NOT)(load(record), rng), rng)
    return own, others, foreign
