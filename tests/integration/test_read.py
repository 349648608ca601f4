"""read: what stands in a topic, decoded, as lines of JSON."""

import json
import subprocess

from deployment import at

DAY = "2026-11-01"
PACKAGE = 7000000


def fill(d):
    """A settled day, with a record that cannot be decoded."""
    d.purchase("acme", "package-1", "PURCHASE_INTENT", 10000, PACKAGE, at(DAY, "01:00:00"))
    d.top_up("acme", "top-up", 300000, at(DAY, "02:00:00"))
    d.call("acme", "c1", at(DAY, "02:00:00"), leads=12000, request="r\u0000\u2028\u5f15")
    d.call("other", "c1", at(DAY, "03:00:00"))
    d.send_bytes("calls", b"junk", at(DAY, "04:00:00"), "acme", headers=[("h", b"\xff"), ("h", None)])
    d.flush()
    d.drain("2026-11-02T00:05:00+08:00")


def read(d, topic, *options):
    return [json.loads(line) for line in d.run("read", d.topics.get(topic, topic), *options).split("\n") if line]


def check_inputs(world):
    [call, junk] = read(world, "calls", "--account", "acme")
    shard = world.sql("select shard from settled.accounts where account_id = 'acme'")[0][0]
    assert call == {
        "topic": world.topics["calls"], "partition": shard, "offset": call["offset"],
        "timestamp": f"{DAY}T02:00:01.000+08:00", "key": "acme", "headers": [], "schema_id": call["schema_id"],
        "value": {"call_id": "c1", "account_id": "acme", "service": "PURCHASE_INTENT", "lead_count": 12000,
                  "occurred_at": f"{DAY}T02:00:00.000+08:00", "request_id": "r\u0000\u2028\u5f15"}}
    assert (junk["value"], junk["fault"], junk["key"], junk["schema_id"]) == (None, "UNDECODABLE", "acme", None)
    assert junk["detail"]
    assert junk["headers"] == [{"name": "h", "value": "\ufffd"}, {"name": "h", "value": None}]
    [other] = read(world, "calls", "--account", "other")
    assert (other["value"]["service"], other["value"]["lead_count"]) == ("AUDIENCE_INSIGHT", None)
    both = read(world, "calls")
    assert sorted((r["partition"], r["offset"]) for r in both) == [(r["partition"], r["offset"]) for r in both]
    assert len(both) == 3
    assert read(world, "calls", "--from", f"{DAY}T04:00:00+08:00") == [junk]
    assert read(world, "calls", "--from", "2026-11-02") == []
    assert len(read(world, "calls", "--limit", "2")) == 2
    assert len(read(world, "calls", "--partition", str(shard))) in (2, 3)
    [package] = read(world, "purchases")
    assert (package["value"]["units"], package["value"]["amount"], package["value"]["used"]) == (10000, PACKAGE, 0)
    [credit] = read(world, "credits")
    assert (credit["value"]["kind"], credit["value"]["reason"]) == ("TOP_UP", None)


def check_outputs(world):
    [settlement] = read(world, "settlements", "--account", "acme")
    value = settlement["value"]
    recorded = world.sql("select settlement_id, business_day::text, calls, amount, closing_balance, status, sequence, shard"
                         " from settled.settlements where account_id = 'acme'")[0]
    assert tuple(value[n] for n in ("settlement_id", "business_day", "calls", "amount", "closing_balance", "status", "sequence",
                                    "shard")) == recorded
    assert [(l["usage_day"], l["charge"], l["package_id"], l["tier_from"], l["units"]) for l in value["lines"]] == [
        (DAY, "PACKAGE", "package-1", None, 10000), (DAY, "POSTPAID", None, 10000, 2000)]
    assert {"name": "ce_id", "value": f"acme/{DAY}"} in settlement["headers"]
    assert isinstance(settlement["schema_id"], int)
    [status] = read(world, "status", "--account", "acme")
    assert (status["value"]["status"], status["value"]["effective_at"]) == ("SUSPENDED", "2026-11-02T00:00:00.000+08:00")
    closes = read(world, "day_closes")
    assert [(c["key"], c["value"]["business_day"]) for c in closes] == [("0", DAY), ("1", DAY)]
    assert len(closes[0]["value"]["cutoffs"]) == 3
    [reject] = read(world, "rejects", "--account", "acme")
    assert (reject["value"]["reason"], bytes.fromhex(reject["value"]["value"]), reject["value"]["occurred_at"]) == (
        "UNDECODABLE", b"junk", None)


def check_a_record_that_settled_did_not_write(world):
    world.send_bytes("status", b"\0\0\0\0\7\2", at("2026-11-02", "01:00:00"), "foreign")
    world.flush()
    [line] = read(world, "status", "--account", "foreign")
    assert (line["value"], line["fault"], line["schema_id"]) == (None, "UNDECODABLE", 7)
    assert "ends" in line["detail"] or "length" in line["detail"]


def check_what_cannot_be_read_says_why(world):
    for arguments, words in ((["nothing"], "'nothing' is none of this deployment's topics"),
                             ([world.topics["day_closes"], "--account", "a"], "has no records of accounts"),
                             ([world.topics["calls"], "--from", "yesterday"], "option --from: 'yesterday' is neither a date"),
                             ([world.topics["calls"], "--partition", "2"], "--partition")):
        done = subprocess.run([world.settled, "read", "-c", world.config, *arguments], capture_output=True, text=True,
                              timeout=60, check=False)
        assert (done.returncode, done.stdout) == (64, "")
        assert words in done.stderr


def test_records_are_read(deploy):
    d = deploy(partitions=2, workers=1)
    fill(d)
    check_inputs(d)
    check_outputs(d)
    check_a_record_that_settled_did_not_write(d)
    check_what_cannot_be_read_says_why(d)
