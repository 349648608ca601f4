#!/usr/bin/env python3
"""Compares the decode plan with fastavro: writer schemas and values made from a seed are read by both with the same
reader's schema.

    python3 tests/differential/fastavro_plan.py --seed 1 --cases 5000 --runner build/release/tests/differential/plan_runner

Where fastavro departs from the specification or from our contract:
* It has no bit for a null, or an unknown symbol, that the reader has not; it raises. So a case that it refuses is read
  again under a lenient reader (everything nullable, a symbol for the unknown), which says what the bits must be.
* It converts by the writer's logical type, whatever the reader's: such values are turned back into their number.
* It resolves a union only when a branch is met; whether a schema resolves at all is worked out here (`resolves`).
* It takes both a field and the one of its alias; the plan takes the field. Writers here have one of them.
* It compares a record's alias qualified, the contract unqualified: it is given the reader's name instead.
* It reads a time of any logical type; what is none of ours is worked out here, too.
* It reads an int of more than 32 bits and bytes that follow the record; no case has them (test_plan.c does).
"""
import argparse
import copy
import datetime
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import fastavro

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
UNKNOWN = "SYMBOL_UNKNOWN"
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
OTHERS = [{"type": "long", "logicalType": name} for name in (
    "of-my-own", "local-timestamp-millis", "local-timestamp-micros", "timestamp-nanos", "time-micros")]
OTHERS += [{"type": "int", "logicalType": name} for name in ("date", "time-millis")]
TEXTS = ["", "a", "CNY", "acct-17", "人群特征", "0b4f6f0a-3f63-4b1e-9d4e-111111111111", "x" * 200]
# A reader with what ours do not have: aliases, defaults of every kind, an enum with a default.
EXTRA = {
    "type": "record", "name": "Extra", "namespace": "settled", "aliases": ["other.Former"], "fields": [
        {"name": "text", "aliases": ["old_text"], "type": "string", "default": "none"},
        {"name": "number", "aliases": ["n", "old_number"], "type": "long", "default": -3},
        {"name": "maybe", "type": ["long", "null"], "default": 5},
        {"name": "at", "aliases": ["old_at"], "type": ["null", MILLIS], "default": None},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "aliases": ["OldKind"], "symbols": ["A", "B", "C"],
                                  "default": "C"}, "default": "B"},
        {"name": "note", "type": ["null", "string"], "default": None}]}


# ---- types and values ----

def kind(schema):
    return "union" if isinstance(schema, list) else schema["type"] if isinstance(schema, dict) else schema


class Writer:
    """Draws types for added fields, and values of any type, with their encoding."""

    PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]

    def __init__(self, rng):
        self.rng = rng
        self.named = {}  # full name -> schema
        self.closed = []  # of records that are complete: those may be used anywhere
        self.open = []  # of records being drawn: only behind a null, an array or a map
        self.count = 0

    def name(self):
        self.count += 1
        return f"T{self.count}"

    def type(self, depth=0, behind=False):
        choices = ["primitive"] * 4
        if depth < 4:
            choices += ["array", "map", "union", "record", "fixed", "enum"]
        if self.closed:
            choices += ["reference"]
        if self.open and behind:
            choices += ["recursion"] * 2
        choice = self.rng.choice(choices)
        if choice == "primitive":
            plain = self.rng.choice(self.PRIMITIVES)
            return {"type": plain, "x-note": 1} if self.rng.random() < .2 else plain
        if choice == "array":
            return {"type": "array", "items": self.type(depth + 1, True)}
        if choice == "map":
            return {"type": "map", "values": self.type(depth + 1, True)}
        if choice == "union":
            return self.union(depth)
        if choice == "reference":
            return self.rng.choice(self.closed)
        if choice == "recursion":
            return self.rng.choice(self.open)
        return self.declare(choice, depth)

    def declare(self, choice, depth):
        name = self.name()
        space = self.rng.choice(["settled", "other", "deep.er"])
        full = f"{space}.{name}"
        schema = {"type": choice, "name": name, "namespace": space}
        if self.rng.random() < .5:
            schema = {"type": choice, "name": full}
        self.named[full] = schema
        if choice == "fixed":
            schema["size"] = self.rng.choice([0, 1, 7, 16])
        elif choice == "enum":
            schema["symbols"] = ["A", "B", "LAST"]
        else:
            self.open.append(full)
            schema["fields"] = [{"name": f"f{i}", "type": self.type(depth + 1)} for i in range(self.rng.randrange(4))]
            self.open.remove(full)
        self.closed.append(full)
        return schema

    def union(self, depth):
        branches, seen = ["null"], {"null"}
        for _ in range(self.rng.randrange(4)):
            before = list(self.closed)
            branch = self.type(depth + 1, True)
            resolved = self.named.get(branch, branch) if isinstance(branch, str) else branch
            key = resolved["name"] if isinstance(resolved, dict) and "name" in resolved else kind(resolved)
            if key not in seen and key != "union":
                branches.append(branch)
                seen.add(key)
            else:
                self.closed = before  # what the dropped branch declared is not there to be referred to
        if self.rng.random() < .5:
            branches.append(branches.pop(0))  # the null last
        return branches

    def value(self, schema, depth=0):
        """The encoding of a random value."""
        if isinstance(schema, str) and schema in self.named:
            schema = self.named[schema]
        k, rng = kind(schema), self.rng
        if k == "union":
            shallow = schema.index("null") if depth > 6 and "null" in schema else None
            branch = rng.randrange(len(schema)) if shallow is None else shallow
            return zigzag(branch) + self.value(schema[branch], depth + 1)
        if k == "array":
            return self.blocks([self.value(schema["items"], depth + 1) for _ in range(self.length(depth))])
        if k == "map":
            return self.blocks([text(rng.choice(TEXTS)) + self.value(schema["values"], depth + 1)
                                for _ in range(self.length(depth))])
        if k == "record":
            return b"".join(self.value(field["type"], depth + 1) for field in schema["fields"])
        if k == "null":
            return b""
        if k == "boolean":
            return bytes([rng.randrange(2)])
        if k == "enum":
            return zigzag(rng.randrange(len(schema["symbols"])))
        if k == "fixed":
            return rng.randbytes(schema["size"])
        if k in ("float", "double"):
            return rng.randbytes(4 if k == "float" else 8)
        if k in ("bytes", "string"):
            return text(rng.choice(TEXTS))
        return zigzag(self.number(schema))

    def length(self, depth):
        return 0 if depth > 6 else self.rng.choice([0, 0, 1, 2, 3])

    def number(self, schema):
        rng = self.rng
        if kind(schema) == "int":
            return rng.choice([0, 1, -1, 2 ** 31 - 1, -2 ** 31, rng.randrange(-10 ** 6, 10 ** 6)])
        if isinstance(schema, dict) and "logicalType" in schema:  # what a datetime holds
            factor = 1000 if schema["logicalType"] == "timestamp-micros" else 1
            return rng.choice([0, -1, 1, -999, -1001, 999, rng.randrange(-10 ** 13, 10 ** 14)]) * factor + \
                (rng.randrange(1000) if factor > 1 else 0)
        return rng.choice([0, 1, -1, 63, 64, -65, 2 ** 63 - 1, -2 ** 63, rng.randrange(-10 ** 15, 10 ** 15)])

    def blocks(self, items):
        out = b""
        while items:
            size = self.rng.randrange(1, len(items) + 1)
            block, items = b"".join(items[:size]), items[size:]
            counted = self.rng.random() < .5
            out += zigzag(-size) + zigzag(len(block)) if counted else zigzag(size)
            out += block
        return out + zigzag(0)


def zigzag(number):
    number, out = (number << 1) ^ (number >> 63), b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def text(value):
    data = value.encode()
    return zigzag(len(data)) + data


# ---- writers of a reader's fields ----

def plain_of(schema):
    branches = [b for b in schema if b != "null"] if isinstance(schema, list) else [schema]
    return branches[0]


def draw_field(rng, field):
    """A writer's type for a reader's field: mostly one that resolves."""
    plain = plain_of(field["type"])
    if kind(plain) == "enum":
        symbols = plain["symbols"] + rng.choice([[], ["NEW"], ["NEW", "NEWER"]])
        rng.shuffle(symbols)
        name = rng.choice([plain["name"]] * 20 + plain.get("aliases", []) + ["Stranger"])
        base = {"type": "enum", "name": name, "namespace": rng.choice(["settled", "other"]),
                "symbols": symbols[:rng.randrange(1, len(symbols) + 1)]}
    elif kind(plain) == "long":
        base = rng.choice(["long", "int", MILLIS, MICROS, {"type": "long", "logicalType": "of-my-own"}])
        if isinstance(plain, dict):
            if rng.random() < .05:
                return rng.choice(OTHERS)  # no branch: fastavro would read what is refused when it is met
            base = base if base == MICROS or base == MILLIS else rng.choice(["long", "int"])
    else:
        base = rng.choice(["string", "bytes", {"type": "string"}])
    if rng.random() < .02:
        base = rng.choice(["double", "boolean", "null", "string", "long"])
    shape = rng.random()
    if shape < .5 or base == "null":
        return base
    branches = [base]
    if shape < .9:
        branches.append("null")
    if shape > .88 and kind(base) != "double":
        branches.append("double")
    rng.shuffle(branches)
    return branches


def draw(rng, reader):
    writer = Writer(rng)
    fields = []
    for field in reader["fields"]:
        if rng.random() < (.3 if "default" in field else .01):
            continue
        name = rng.choice([field["name"]] * 3 + field.get("aliases", []))
        fields.append({"name": name, "type": draw_field(rng, field)})
    fields += [{"name": f"added{i}", "type": None} for i in range(rng.choice([0, 0, 1, 2, 4]))]
    rng.shuffle(fields)
    for field in fields:  # in order, so that a reference comes after what it refers to
        field["type"] = field["type"] or writer.type()
    name = rng.choice([reader["name"]] * 20 + [a.split(".")[-1] for a in reader.get("aliases", [])] + ["Stranger"])
    schema = {"type": "record", "name": name, "fields": fields}
    space = rng.choice(["settled", "other", None])
    if space:
        schema["namespace"] = space
    return schema, b"".join(writer.value(field["type"]) for field in fields)


# ---- what must come of it ----

def resolves_plain(writer, reader_type):
    plain = plain_of(reader_type)
    nullable = isinstance(reader_type, list)
    w, r = kind(writer), kind(plain)
    if w == "null":
        return nullable
    if w == "enum" and r == "enum":
        return writer["name"] in [plain["name"]] + plain.get("aliases", [])
    if r == "long" and isinstance(plain, dict) and isinstance(writer, dict) and "logicalType" in writer:
        return writer in (MILLIS, MICROS)
    return w in {"long": ("long", "int"), "string": ("string", "bytes")}.get(r, ())


def resolves(writer, reader):
    names = [reader["name"]] + [alias.split(".")[-1] for alias in reader.get("aliases", [])]
    if writer["name"] not in names:
        return False
    written = {field["name"]: field["type"] for field in writer["fields"]}
    for field in reader["fields"]:
        found = [written[name] for name in [field["name"]] + field.get("aliases", []) if name in written]
        if not found and "default" not in field:
            return False
        if found:
            branches = found[0] if isinstance(found[0], list) else [found[0]]
            if not any(resolves_plain(branch, field["type"]) for branch in branches):
                return False
    return True


def lenient(reader):
    reader = copy.deepcopy(reader)
    for field in reader["fields"]:
        plain = plain_of(field["type"])
        if kind(plain) == "enum" and "default" not in plain:
            plain["symbols"].append(UNKNOWN)
            plain["default"] = UNKNOWN
        field["type"] = ["null", plain]
    return reader


def read(writer, reader, body):
    stream = io.BytesIO(body)
    writer = copy.deepcopy(writer) | {"name": reader["name"]}
    record = fastavro.schemaless_reader(stream, fastavro.parse_schema(writer),
                                        fastavro.parse_schema(copy.deepcopy(reader)))
    assert stream.read() == b"", "a case with bytes left over"
    return record


def render(record, reader, writer):
    """The runner's line for a record that fastavro read."""
    nulls = unknown = 0
    out = []
    written = {field["name"]: field["type"] for field in writer["fields"]}
    for number, field in enumerate(reader["fields"]):
        value, plain = record[field["name"]], plain_of(field["type"])
        if isinstance(value, datetime.datetime):
            micros = (value - EPOCH) // datetime.timedelta(microseconds=1)
            source = next(written[n] for n in [field["name"]] + field.get("aliases", []) if n in written)
            branches = source if isinstance(source, list) else [source]
            timestamp = isinstance(plain, dict) and plain.get("logicalType") == "timestamp-millis"
            value = micros if MICROS in branches and not timestamp else micros // 1000
        if value is None:
            nulls |= 1 << number
            out.append("0")
        elif value == UNKNOWN:
            unknown |= 1 << number
            out.append("-1")
        elif kind(plain) == "enum":
            out.append(str(plain["symbols"].index(value)))
        elif isinstance(value, str):
            data = value.encode()
            out.append(f"{len(data)}:{data.hex()}")
        else:
            out.append(str(value))
    out += ["0"] * (8 - len(out))
    return "\t".join(["OK", str(nulls), str(unknown)] + out)


def expect(writer, reader, body):
    if not resolves(writer, reader):
        return "INCOMPATIBLE"
    for attempt in (reader, lenient(reader)):
        try:
            return render(read(writer, attempt, body), reader, writer)
        except fastavro.read.SchemaResolutionError:
            pass
    return "UNDECODABLE"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--runner", required=True, help="the program built from plan_runner.c")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    readers = [json.loads((ROOT / "schemas/avro" / f"{name}.avsc").read_text())
               for name in ("CallRecord", "PackagePurchase", "AccountCredit")] + [EXTRA]
    cases = []
    for _ in range(args.cases):
        reader = rng.choice(readers)
        writer, body = draw(rng, reader)
        cases.append((reader, writer, body, expect(writer, reader, body)))
    with tempfile.NamedTemporaryFile("w", suffix=".cases") as file:
        for reader, writer, body, _ in cases:
            file.write(f"{json.dumps(reader)}\t{json.dumps(writer)}\t{body.hex()}\n")
        file.flush()
        run = subprocess.run([args.runner, file.name], capture_output=True, text=True, check=True, timeout=600)
    lines = run.stdout.splitlines()
    assert len(lines) == len(cases), f"{len(lines)} answers to {len(cases)} cases"
    tally, wrong = {}, 0
    for number, ((reader, writer, body, expected), line) in enumerate(zip(cases, lines)):
        got = line if line.startswith("OK") else line.split("\t")[0]
        tally[got.split("\t")[0]] = tally.get(got.split("\t")[0], 0) + 1
        if got != expected:
            wrong += 1
            print(f"case {number} of seed {args.seed}, {reader['name']}\n  writer   {json.dumps(writer)}\n"
                  f"  body     {body.hex()}\n  expected {expected}\n  got      {line}", file=sys.stderr)
    print(f"fastavro {fastavro.__version__}, seed {args.seed}: {len(cases)} cases, {wrong} differ; " +
          ", ".join(f"{count} {what}" for what, count in sorted(tally.items())))
    missing = {"OK", "INCOMPATIBLE", "UNDECODABLE"} - tally.keys() if args.cases >= 1000 else set()
    if missing:
        print(f"no case was {', '.join(sorted(missing))}: the generator is broken", file=sys.stderr)
    return 1 if wrong or missing else 0


if __name__ == "__main__":
    sys.exit(main())
