"""Runs the verifier of schemas/README.md, with fastavro, over the test vector of the same page."""

import io
import pathlib
import re

import fastavro
import pytest

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
README = (SCHEMAS / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def verifier():
    names = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1), names)
    return names


def schema(name):
    return fastavro.schema.load_schema(SCHEMAS / "avro" / f"{name}.avsc")


def vector(name):
    return re.search(rf"^{name} = (\w+)$", README, re.MULTILINE).group(1)


def read(name, message):
    source = io.BytesIO(bytes.fromhex(vector(message)))
    record = fastavro.schemaless_reader(source, schema(name), None)
    assert not source.read()
    return record


def day():
    return [read("Settlement", "message_1"), read("Settlement", "message_2")], read("DayClosed", "message_3")


def test_bodies_are_those_of_the_vector(verifier):
    settlements, close = day()
    assert [verifier["body"](schema("Settlement"), s).hex() for s in settlements] == [vector("body_1"), vector("body_2")]
    assert verifier["body"](schema("DayClosed"), close, digest="").hex() == vector("body_3")


def test_a_true_day_verifies(verifier):
    settlements, close = day()
    assert close["content_digest"] == vector("content_digest")
    assert close["digest"] == vector("digest")
    assert verifier["verify"](schema("Settlement"), schema("DayClosed"), settlements, close)


@pytest.mark.parametrize("change", ["amount", "order", "missing", "close"])
def test_a_changed_day_does_not(verifier, change):
    settlements, close = day()
    if change == "amount":
        settlements[0]["lines"][0]["amount"] += 1
    elif change == "order":
        settlements.reverse()
    elif change == "missing":
        settlements.pop()
    else:
        close["late"] += 1
    assert not verifier["verify"](schema("Settlement"), schema("DayClosed"), settlements, close)
