"""Compares the oracle's own reading of Avro with fastavro: on what both accept, and on what only the specification
refuses."""

import datetime
import io
import json
import random

import fastavro
import pytest

from oracle import avro
from worlds import writers

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
FIELDS = {
    "CallRecord": {"call_id": b"c-1", "account_id": "账户".encode(), "service": "PURCHASE_INTENT", "lead_count": 12_345,
                   "occurred_at": 1_793_500_000_123, "request_id": b"r"},
    "PackagePurchase": {"purchase_id": b"p-1", "account_id": b"a", "service": "AUDIENCE_INSIGHT", "units": 50, "used": 3,
                        "amount": 10_000_000, "currency": b"CNY", "purchased_at": 1_793_500_000_999},
    "AccountCredit": {"credit_id": b"c-1", "account_id": b"a", "kind": "ADJUSTMENT", "amount": -5, "currency": b"CNY",
                      "credited_at": 1_793_500_000_001, "reason": b"why", "reference": None},
}


def comparable(value):
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(milliseconds=1)
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("record", FIELDS)
@pytest.mark.parametrize("change", writers.RESOLVE, ids=lambda change: change.__name__)
def test_reads_as_fastavro_does(record, change):
    reader = avro.Reader(record)
    ours = fastavro.parse_schema(writers.load(record))
    for seed in range(20):
        rng = random.Random(seed)
        schema = change(writers.load(record), rng)
        writer = avro.Writer(json.dumps(schema))
        reader.check(writer)
        body = writers.Encoder(schema, rng).record(FIELDS[record])
        try:
            theirs = fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(without_namespace(schema)), ours)
        except fastavro.read.SchemaResolutionError:
            assert is_odd(reader, writer, body)
            continue
        assert {name: comparable(value) for name, value in reader.read(writer, body).items()} == \
            {name: comparable(value) for name, value in theirs.items()}


def is_odd(reader, writer, body):
    """Whether it holds a branch, a null or a symbol that the reader does not have: fastavro refuses all of them."""
    try:
        fields = reader.read(writer, body)
    except avro.Undecodable:
        return True
    return None in fields.values() or avro.UNKNOWN in fields.values()


def without_namespace(schema):
    """fastavro compares names with their namespace, the contract without."""
    if isinstance(schema, list):
        return [without_namespace(each) for each in schema]
    return {**schema, "namespace": "settled"} if isinstance(schema, dict) else schema


@pytest.mark.parametrize("change", writers.DO_NOT, ids=lambda change: change.__name__)
def test_foreign_writers_are_incompatible(change):
    schema = change(writers.load("PackagePurchase"), random.Random(1))
    with pytest.raises(avro.Incompatible):
        avro.Reader("PackagePurchase").check(avro.Writer(json.dumps(schema)))


@pytest.mark.parametrize("type_, data", [
    ("long", b"\x80" * 10 + b"\x01"), ("long", b"\xff" * 9 + b"\x02"), ("int", b"\x80\x80\x80\x80\x10"), ("long", b"\x80"),
    ("string", b"\x01"), ("string", b"\x06ab"), ("double", b"1234567"), (["null", "long"], b"\x04"),
    (["null", "long"], b"\x01"), ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02"),
    ({"type": "array", "items": "long"}, b"\x02\x02"), ({"type": "array", "items": "long"}, b"\x01\x08\x02\x00")])
def test_refuses(type_, data):
    writer = avro.Writer(json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": type_}]}))
    with pytest.raises(avro.Undecodable):
        writer.read(writer.schema, avro.Body(data))


def test_micros_are_floored_before_1970_too():
    schema = writers.micros(writers.load("CallRecord"), None)
    fields = {**FIELDS["CallRecord"], "occurred_at": -1}
    body = writers.Encoder(schema, random.Random(3)).record(fields)
    assert avro.Reader("CallRecord").read(avro.Writer(json.dumps(schema)), body)["occurred_at"] == -1
