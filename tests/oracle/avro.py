"""Reading an input record from its Avro bytes, by the specification and the contract.

fastavro names the types of a writer's schema; the bytes are read here, because it is laxer than the specification in
places (negative lengths, numbers beyond their type) and stricter in others (a text that is not UTF-8 is a decoded
record with a bad field here, and a null or an unknown symbol is one, too). `test_avro.py` compares the two.
"""

import json
import pathlib

import fastavro
import fastavro.schema

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas" / "avro"
UNKNOWN = "an enum symbol that the reader does not know"  # no symbol can hold blanks


class Undecodable(Exception):
    pass


class Incompatible(Exception):
    pass


class Body:
    """Bytes and how far they are read."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if size < 0 or self.at + size > len(self.data):
            raise Undecodable(f"{size} bytes wanted at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size:self.at]

    def long(self, bits=64):
        number = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise Undecodable("a number of more than ten bytes")
        if number >= 1 << bits:
            raise Undecodable(f"a number of more than {bits} bits")
        return number >> 1 ^ -(number & 1)


class Writer:
    """A writer's schema; raises Incompatible if the text is not a schema."""

    def __init__(self, text):
        self.named = {}
        try:
            self.schema = fastavro.parse_schema(json.loads(text), named_schemas=self.named)
        except Exception as error:  # fastavro raises what it happens to meet
            raise Incompatible(f"no Avro schema: {error}") from error

    def full(self, schema):
        """The definition behind a name."""
        return self.named.get(schema, schema) if isinstance(schema, str) else schema

    def read(self, schema, body):
        """One value of any type, with its type where it is a union: (type, value)."""
        schema = self.full(schema)
        if isinstance(schema, list):
            branch = body.long()
            if not 0 <= branch < len(schema):
                raise Undecodable(f"branch {branch} of {len(schema)}")
            return self.read(schema[branch], body)
        return schema, self.read_plain(schema, body)

    def read_plain(self, schema, body):
        kind = kind_of(schema)
        if kind == "null":
            return None
        if kind == "boolean":
            return body.take(1) != b"\0"  # none of ours is one: what no field reads may hold any byte
        if kind in ("int", "long"):
            return body.long(32 if kind == "int" else 64)
        if kind in ("float", "double"):
            return body.take(4 if kind == "float" else 8)
        if kind in ("bytes", "string"):
            return body.take(body.long())
        if kind == "fixed":
            return body.take(schema["size"])
        if kind == "enum":
            number = body.long(32)
            if not 0 <= number < len(schema["symbols"]):
                raise Undecodable(f"symbol {number} of {len(schema['symbols'])}")
            return schema["symbols"][number]
        if kind == "record":
            return {field["name"]: self.read(field["type"], body) for field in schema["fields"]}
        return self.read_blocks(schema, body)

    def read_blocks(self, schema, body):
        """The items of an array, or the values of a map. None of our fields is in one, so a block that gives its size
        is skipped by that size."""
        items = []
        while True:
            count = body.long()
            if count == 0:
                return items
            if count < 0:
                body.take(body.long())
            for _ in range(count):
                if schema["type"] == "map":
                    body.take(body.long())
                items.append(self.read(schema.get("items", schema.get("values")), body))


def kind_of(schema):
    return schema["type"] if isinstance(schema, dict) else schema


def logical_type(schema):
    return schema.get("logicalType") if isinstance(schema, dict) else None


class Reader:
    """One of our three input records."""

    def __init__(self, record):
        self.schema = json.loads((SCHEMAS / f"{record}.avsc").read_text())
        self.name = self.schema["name"]

    def field_type(self, field):
        """The type beside null, and whether null is allowed."""
        declared = field["type"]
        if not isinstance(declared, list):
            return declared, False
        return next(each for each in declared if each != "null"), True

    def check(self, writer):
        """Raises Incompatible where the writer's schema does not resolve to this record."""
        branches = writer.schema if isinstance(writer.schema, list) else [writer.schema]
        if not any(self.resolves(writer, writer.full(branch)) for branch in branches):
            raise Incompatible(f"it is no {self.name}, or lacks one of its fields, or has it of another type")

    def resolves(self, writer, schema):
        if kind_of(schema) != "record" or unqualified(schema["name"]) != self.name:
            return False
        written = {field["name"]: field["type"] for field in schema["fields"]}
        return all(self.field_resolves(writer, field, written) for field in self.schema["fields"])

    def field_resolves(self, writer, field, written):
        if field["name"] not in written:
            return "default" in field
        wanted, nullable = self.field_type(field)
        declared = writer.full(written[field["name"]])
        branches = declared if isinstance(declared, list) else [declared]
        return any(type_resolves(wanted, nullable, writer.full(branch)) for branch in branches)

    def read(self, writer, data):
        """The fields by name: bytes of a string, a number, milliseconds, a symbol or UNKNOWN, None. Every byte must
        be read."""
        body = Body(data)
        schema, value = writer.read(writer.schema, body)
        if body.at != len(data):
            raise Undecodable(f"{len(data) - body.at} bytes are left over")
        if value is None:
            return {field["name"]: None for field in self.schema["fields"]}
        if not self.resolves(writer, schema):
            raise Undecodable("a branch that is no such record")
        return {field["name"]: self.field(field, value) for field in self.schema["fields"]}

    def field(self, field, value):
        if field["name"] not in value:
            default = field["default"]
            return default
        wanted, _ = self.field_type(field)
        written, content = value[field["name"]]
        if content is None:
            return None
        if not type_resolves(wanted, False, written):
            raise Undecodable(f"{field['name']} holds a {kind_of(written)}")
        if kind_of(wanted) == "enum" and content not in wanted["symbols"]:
            return UNKNOWN
        if logical_type(wanted) == "timestamp-millis" and logical_type(written) == "timestamp-micros":
            return content // 1000  # floors, before 1970 too
        return content


def unqualified(name):
    return name.rpartition(".")[2]


def type_resolves(wanted, nullable, written):
    """Whether a written type (not a union) may be read as a wanted one."""
    have, want = kind_of(written), kind_of(wanted)
    if have == "null":
        return nullable
    if want == "enum":
        return have == "enum" and unqualified(written["name"]) == wanted["name"]
    if logical_type(wanted) == "timestamp-millis" and have in ("int", "long"):
        # Any other logical type counts from elsewhere or in other units: another instant.
        known = ("timestamp-millis", "timestamp-micros") if have == "long" else ("timestamp-millis",)
        return logical_type(written) is None or logical_type(written) in known
    return have in {"long": ("int", "long"), "string": ("string", "bytes")}[want]
