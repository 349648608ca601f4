"""The operator's verbs with a real broker, registry and database: migrate, topics, schemas, check, rejects."""

import json
import signal
import subprocess
import time
import uuid

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType,
                                   ConfigEntry, ConfigResource, NewPartitions, ResourcePatternType, ResourceType)

from conftest import ROOT
from deployment import alter_topic, await_partitions, await_settings
from services import Services

PARTITIONS = 3
KEYS = ["calls", "purchases", "credits", "settlements", "status", "day_closes", "rejects", "notices", "statements"]


class World:
    """A deployment of its own: topics, group and database have names of their own, the services are shared."""

    def __init__(self, settled, brokers, registry, dsn, folder):
        self.settled, self.brokers, self.registry, self.dsn = settled, brokers, registry, dsn
        self.admin = AdminClient({"bootstrap.servers": brokers})
        self.prefix = f"t{uuid.uuid4().hex[:10]}"
        self.topics = {key: f"{self.prefix}-{key}" for key in KEYS}
        self.config = folder / "settled.yaml"
        self.write()

    def write(self, billing="first_day: 2026-11-01", topics=None, dsn=None, brokers=None, registry=None):
        names = ", ".join(f"{key}: {name}" for key, name in (topics or self.topics).items())
        self.config.write_text(
            f"kafka: {{brokers: '{brokers or self.brokers}', group: {self.prefix}}}\n"
            f"topics: {{{names}}}\n"
            f"schemas: {{registry: '{registry or self.registry}'}}\n"
            f"postgres: {{dsn: '{dsn or self.dsn}'}}\n"
            f"pricing: {{book: {ROOT}/pricing/pricebooks/apcas.yaml}}\n"
            f"billing: {{{billing}}}\n")

    def run(self, *arguments, status=0):
        done = subprocess.run([self.settled, *arguments, "-c", self.config], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def set_up(self):
        self.run("migrate")
        self.run("topics", "apply", "--partitions", str(PARTITIONS))
        self.run("schemas", "register")

    def check(self, status=0):
        """Findings by level, without the warnings that every single-broker cluster gets."""
        found = json.loads(self.run("check", "--format", "json", status=status).stdout)
        return {level: [f["text"] for f in found if f["level"] == level and ": one replica: " not in f["text"]]
                for level in ("error", "warning")}

    def setting(self, key, name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topics[key])
        return self.admin.describe_configs([resource])[resource].result()[name].value

    def alter(self, key, **settings):
        alter_topic(self.brokers, self.topics[key], **settings)

    def records(self, key):
        """Every committed record of a topic."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": f"{self.prefix}-test",
                             "isolation.level": "read_committed", "enable.partition.eof": True,
                             "auto.offset.reset": "earliest", "enable.auto.commit": False})
        count = len(consumer.list_topics(self.topics[key]).topics[self.topics[key]].partitions)
        consumer.assign([TopicPartition(self.topics[key], p, 0) for p in range(count)])
        found, ends = [], 0
        while ends < count:
            message = consumer.poll(20)
            assert message is not None
            if message.error() is None:
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ends += 1
        consumer.close()
        return found

    def produce(self, key, partition, record_key, value, headers=()):
        where = []
        producer = Producer({"bootstrap.servers": self.brokers})
        producer.produce(self.topics[key], value, record_key, partition=partition, headers=list(headers),
                         on_delivery=lambda error, message: where.append((error, message.offset())))
        producer.flush(20)
        assert where[0][0] is None
        return where[0][1]

    def sql(self, text, *parameters):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(text, parameters)
            return cursor.fetchall() if cursor.description else None

    def record(self, first_day="2026-11-01", partitions=PARTITIONS, timestamps="log-append", group=None,
               framing="confluent"):
        """Records what the first start of the daemon would record."""
        self.sql("INSERT INTO settled.deployment (first_day, timestamps, partitioner, partitions, time_zone, id_key, framing,"
                 " consumer_group, calls_topic, purchases_topic, credits_topic)"
                 " VALUES (%s, %s, 'murmur2', %s, 'Asia/Shanghai', decode(repeat('00', 32), 'hex'), %s, %s, %s, %s, %s)",
                 first_day, timestamps, partitions, framing, group or self.prefix, self.topics["calls"],
                 self.topics["purchases"], self.topics["credits"])

    def reject(self, key, partition, offset, reason="UNKNOWN_SCHEMA", account="acc", detail="schema 7", at="now()"):
        self.sql("select settled.make_partitions('2026-11-01', '2026-11-01')")
        self.sql("INSERT INTO settled.rejects (topic, partition, kafka_offset, reason, detail, account_id, record_id,"
                 f" received_at, sequence, business_day) VALUES (%s, %s, %s, %s, %s, %s, 'r-1', {at}, 1, '2026-11-01')",
                 self.topics[key], partition, offset, reason, detail, account)

    def where(self, key, partition, offset):
        return f"{self.topics[key]}/{partition}/{offset}"


@pytest.fixture
def world(settled, brokers, registry, dsn, tmp_path):
    made = World(settled, brokers, registry, dsn, tmp_path)
    yield made
    existing = set(made.admin.list_topics(timeout=20).topics) & set(made.topics.values())
    if existing:
        for deleted in made.admin.delete_topics(sorted(existing)).values():
            deleted.result()


@pytest.fixture
def ready(world):
    world.set_up()
    return world


# ---- migrate, topics, schemas ----

def test_migrate_does_its_work_once(world):
    assert world.run("migrate").stdout.startswith("applied ")
    assert world.run("migrate").stdout == "nothing to do\n"


def test_topics_are_created_as_declared_and_only_once(world):
    first = world.run("topics", "apply", "--partitions", str(PARTITIONS)).stdout
    assert first.splitlines() == [f"created    {world.topics[key]}, {PARTITIONS} partitions" for key in KEYS]
    assert world.setting("calls", "message.timestamp.type") == "LogAppendTime"
    assert world.setting("calls", "retention.ms") == "2592000000"
    assert world.setting("credits", "retention.ms") == "-1"
    assert world.setting("rejects", "max.message.bytes") == "2097152"
    again = world.run("topics", "apply", "--partitions", str(PARTITIONS)).stdout
    assert again.splitlines() == [f"unchanged  {world.topics[key]}" for key in KEYS]


def test_topics_get_their_settings_back_and_keep_others(ready):
    ready.alter("purchases", retention_ms="1000", segment_ms="3600000")
    out = ready.run("topics", "apply", "--partitions", str(PARTITIONS)).stdout
    assert f"set        {ready.topics['purchases']}, retention.ms: -1, was 1000\n" in out
    assert ready.setting("purchases", "retention.ms") == "-1"
    assert ready.setting("purchases", "segment.ms") == "3600000"


def test_topics_never_change_a_partition_count(ready):
    failed = ready.run("topics", "apply", "--partitions", "5", status=78)
    assert f"5 partitions are declared, but {ready.topics['calls']} has 3, " in failed.stderr
    assert "nothing was changed" in failed.stderr and failed.stdout == ""


def test_topics_of_the_producers_time_keep_old_records(world):
    world.write(billing="first_day: 2026-11-01, timestamps: create")
    world.run("topics", "apply", "--partitions", "1")
    assert world.setting("calls", "message.timestamp.type") == "CreateTime"
    assert world.setting("calls", "retention.ms") == "-1"
    world.run("topics", "apply", "--partitions", "1")


def test_another_declaration_is_read_and_checked(world, tmp_path):
    file = tmp_path / "topics.yaml"
    file.write_text("partitions: 2\nevery: {cleanup.policy: delete}\ncalls: {retention.ms: 864000000}\n")
    world.run("topics", "apply", "--file", str(file))
    assert world.setting("calls", "retention.ms") == "864000000"
    for text, message in (("partitions: x\n", "topics.yaml:1:13: partitions: is no such number"),
                          ("evry: {}\n", "topics.yaml:1:1: evry: unknown key; did you mean every?"),
                          ("every: {}\n", "topics.yaml:1:1: partitions: is missing"),
                          ("partitions: 1\ncalls: {message.timestamp.type: CreateTime}\n",
                           "topics.yaml:2:9: message.timestamp.type: follows billing.timestamps of the configuration")):
        file.write_text(text)
        assert message in world.run("topics", "apply", "--file", str(file), status=78).stderr


def test_schemas_are_registered_once_and_held_to_their_level(ready):
    lines = ready.run("schemas", "register").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [f"{ready.topics[key]}-value" for key in KEYS]
    assert ready.run("schemas", "register").stdout.splitlines() == lines


# ---- check ----

def test_check_is_content_with_what_the_verbs_made(ready):
    assert ready.check() == {"error": [], "warning": []}
    ready.record()
    assert ready.check() == {"error": [], "warning": []}


def test_check_names_all_that_is_missing_at_once(world):
    errors = world.check(status=78)["error"]
    assert len([e for e in errors if e.endswith("does not exist; run settled topics apply")]) == 9
    assert len([e for e in errors if "run settled schemas register" in e]) == 6
    assert len([e for e in errors if 'run "settled migrate"' in e]) == 1
    assert len(errors) == 16


def test_check_names_everything_that_is_unreachable(world):
    world.write(dsn="postgresql://u:hunter2@127.0.0.1:1/x", brokers="127.0.0.1:1", registry="http://127.0.0.1:1")
    world.config.chmod(0o600)  # it holds a password
    begun = time.monotonic()
    done = world.run("check", status=69)
    assert time.monotonic() - begun < 20
    assert done.stdout.splitlines()[-1] == "3 errors, 0 warnings"
    assert "PostgreSQL 127.0.0.1:1/x" in done.stdout and "http://127.0.0.1:1" in done.stdout
    assert "no Kafka broker answers within 5 s" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_check_names_every_mistake_of_the_configuration(world):
    world.config.write_text("kafka: {broker: x}\nrun: {workers: many}\n")
    lines = world.run("check", status=78).stdout.splitlines()
    assert [line.partition("settled.yaml")[2] for line in lines[:-1]] == [
        ":1:9: kafka.broker: unknown key; did you mean brokers?", ":2:16: run.workers: is not a whole number",
        ": billing.first_day: is missing; write for example 2026-11-01"]
    assert lines[-1] == "3 errors, 0 warnings"


@pytest.mark.parametrize("key, settings, level, text", [
    ("calls", {"message_timestamp_type": "CreateTime"}, "error",
     "has message.timestamp.type CreateTime, but billing.timestamps needs LogAppendTime"),
    ("calls", {"retention_ms": "691200000"}, "error",
     "keeps records for 192 h only (retention.ms): a restart needs late_days + 2 days, 216 h"),
    ("calls", {"retention_bytes": "1000000000"}, "warning", "expires by size (retention.bytes 1000000000)"),
    ("credits", {"retention_ms": "2592000000"}, "error", "expires (retention.ms 2592000000, retention.bytes -1)"),
    ("purchases", {"cleanup_policy": "compact"}, "error", "has cleanup.policy compact"),
    ("rejects", {"max_message_bytes": "900000"}, "error", "takes records of 900000 bytes only"),
    ("rejects", {"max_message_bytes": "1048576"}, "warning", "takes no larger records than the inputs"),
    ("settlements", {"unclean_leader_election_enable": "true"}, "warning", "an election can lose records"),
])
def test_check_names_a_wrong_setting(ready, key, settings, level, text):
    ready.alter(key, **settings)
    found = ready.check(status=78 if level == "error" else 0)
    assert len(found[level]) == 1 and ready.topics[key] in found[level][0] and text in found[level][0]


def test_check_compares_partition_counts_with_each_other_and_the_record(ready):
    ready.record(partitions=PARTITIONS)
    created = ready.admin.create_partitions([NewPartitions(ready.topics["rejects"], 4)])
    created[ready.topics["rejects"]].result()
    await_partitions(ready.admin, ready.topics["rejects"], 4)
    errors = ready.check(status=78)["error"]
    assert len(errors) == 1
    assert f"topic {ready.topics['rejects']} has 4 partitions, but this deployment has 3, and its count never" in errors[0]
    assert "see the runbook: A topic has other partitions" in errors[0]


def test_check_warns_of_a_wait_that_is_shorter_than_a_transaction_may_be(ready):
    ready.config.write_text(ready.config.read_text() + "run: {open_transaction_wait: 14m}\n")
    assert ready.check()["warning"] == [
        "run.open_transaction_wait is 840 s, but a Kafka broker lets a transaction stay open for 900 s "
        "(transaction.max.timeout.ms): a day may be cut before top-ups that a producer commits in time; raise the one or "
        "lower the other"]


def test_check_names_every_recorded_value_that_differs(ready):
    ready.record(first_day="2026-10-01", timestamps="create", group="another", framing="apicurio")
    errors = ready.check(status=78)["error"]
    assert [e.partition(":")[0] for e in errors] == [
        "billing.first_day is 2026-11-01, but 2026-10-01 is recorded in the database",
        "schemas.framing is confluent, but apicurio is recorded in the database",
        "billing.timestamps is log-append, but create is recorded in the database",
        f"kafka.group is {ready.prefix}, but another is recorded in the database"]


def test_check_finds_a_clock_that_is_behind_the_brokers(world):
    world.write(billing="first_day: 2026-11-01, timestamps: create")
    world.set_up()
    producer = Producer({"bootstrap.servers": world.brokers})
    producer.produce(world.topics["calls"], b"x", b"k", partition=1, timestamp=int(time.time() * 1000) + 3600_000)
    producer.flush(20)
    warnings = [text for text in world.check()["warning"] if "expires" not in text]
    assert len(warnings) == 1 and f"the last record of {world.topics['calls']}/1 was stamped 3" in warnings[0]


# ---- brokers that do not refuse late requests ----

@pytest.fixture(scope="module")
def lenient():
    """A broker with KIP-890's verification switched off, and with an authorizer that lets everybody in."""
    with Services() as services:
        yield services.kafka(settings={
            "transaction.partition.verification.enable": "false",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true"})


@pytest.fixture
def on_lenient(settled, lenient, registry, dsn, tmp_path):
    world = World(settled, lenient.brokers, registry, dsn, tmp_path)
    world.set_up()
    return world


def set_on_broker(world, **settings):
    wanted = {key.replace("_", "."): value for key, value in settings.items()}
    resource = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in wanted.items()])
    world.admin.incremental_alter_configs([resource])[resource].result()
    await_settings(world.admin, 1, ConfigResource(ConfigResource.Type.BROKER, "1"), wanted)


def test_a_broker_that_does_not_verify_is_refused_until_it_does(on_lenient):
    refused = "Kafka broker 1: transaction.partition.verification.enable is false: a late request of an earlier transaction"
    errors = on_lenient.check(status=78)["error"]
    assert len(errors) == 1 and errors[0].startswith(refused) and "set it to true" in errors[0]
    assert errors[0] in on_lenient.run("run", "--drain", status=78).stderr
    assert on_lenient.sql("SELECT count(*) FROM settled.deployment") == [(0,)]
    set_on_broker(on_lenient, transaction_partition_verification_enable="true")
    try:
        assert on_lenient.check() == {"error": [], "warning": []}
    finally:
        set_on_broker(on_lenient, transaction_partition_verification_enable="false")


def test_a_broker_that_may_not_be_looked_at_is_warned_of(on_lenient):
    def binding(operation, permission, of=AclBinding):
        return of(ResourceType.BROKER, "kafka-cluster", ResourcePatternType.LITERAL, "User:ANONYMOUS", "*",
                  operation, permission)

    acls = [binding(AclOperation.ALL, AclPermissionType.ALLOW),
            binding(AclOperation.DESCRIBE_CONFIGS, AclPermissionType.DENY)]
    for created in on_lenient.admin.create_acls(acls).values():
        created.result()
    denied = binding(AclOperation.DESCRIBE_CONFIGS, AclPermissionType.DENY, AclBindingFilter)
    while not on_lenient.admin.describe_acls(denied).result():  # the broker follows the log of metadata
        time.sleep(0.05)
    found = on_lenient.check()
    assert found["error"] == [] and len(found["warning"]) == 1
    assert found["warning"][0].startswith("Kafka broker 1: this user may not see its settings: whether it refuses late")
    assert "grant DescribeConfigs on the cluster" in found["warning"][0]


# ---- rejects ----

@pytest.fixture
def rejected(ready):
    """Three rejects; the first two are in the log with key and headers, in a partition that their keys do not belong
    to."""
    ready.record()
    ready.offsets = [ready.produce("calls", 0, b"account-%d" % n, b"value-%d" % n, [("trace", b"t%d" % n)])
                     for n in range(2)]
    for n, offset in enumerate(ready.offsets):
        ready.reject("calls", 0, offset, reason="MISROUTED" if n else "UNKNOWN_SCHEMA", account=f"account-{n}")
    ready.reject("credits", 2, 77, reason="REFUND", account="o,\"ther", at="timestamptz '2026-11-03 17:00Z'")
    return ready


def listed(world, *arguments):
    return json.loads(world.run("rejects", "list", "--format", "json", *arguments).stdout)


REQUESTS = "settled.requests JOIN settled.request_records ON request = id"


def requeued(world):
    return [m for m in world.records("calls") if dict(m.headers() or []).get("settled_requeued_offset")]


def test_rejects_are_listed_and_filtered(rejected):
    assert [r["reason"] for r in listed(rejected)] == ["UNKNOWN_SCHEMA", "MISROUTED", "REFUND"]
    assert [r["reason"] for r in listed(rejected, "--topic", "credits")] == ["REFUND"]
    assert [r["reason"] for r in listed(rejected, "--topic", rejected.topics["calls"])] == ["UNKNOWN_SCHEMA", "MISROUTED"]
    assert [r["reason"] for r in listed(rejected, "--reason", "MISROUTED")] == ["MISROUTED"]
    assert [r["reason"] for r in listed(rejected, "--account", "account-0")] == ["UNKNOWN_SCHEMA"]
    assert [r["offset"] for r in listed(rejected, "--partition", "2")] == [77]
    # 17:00Z is 01:00 of the 4th in the business zone
    assert [r["reason"] for r in listed(rejected, "--from-day", "2026-11-04", "--to-day", "2026-11-04")] == ["REFUND"]
    assert listed(rejected, "--to-day", "2026-11-03") == []
    assert len(listed(rejected, "--limit", "1")) == 1
    csv = rejected.run("rejects", "list", "--format", "csv", "--topic", "credits").stdout.splitlines()
    assert csv[0] == "topic,partition,offset,received_at,reason,account_id,record_id,state,detail"
    assert csv[1].startswith(f"{rejected.topics['credits']},2,77,2026-11-03T17:00:00.000Z,REFUND,\"o,\"\"ther\",r-1,open,")
    assert "UNKNOWN_SCHEMA" in rejected.run("rejects", "list").stdout


def test_rejects_are_counted_by_what_they_have_in_common(rejected):
    rejected.sql("INSERT INTO settled.rejects (topic, partition, kafka_offset, reason, detail, account_id, record_id,"
                 " received_at, sequence, schema_id, business_day) SELECT %s, 1, n, 'UNKNOWN_SCHEMA', 'no schema of id 9',"
                 " 'account-' || n %% 4, 'many-' || n, timestamptz '2026-11-04Z' - n * interval '1 second', 1, 9, date '2026-11-01'"
                 " FROM generate_series(100, 1299) n", rejected.topics["calls"])
    topic, credits = rejected.topics["calls"], rejected.topics["credits"]
    groups = listed(rejected, "--group-by", "reason")
    assert [(g["group"], g["count"], g["accounts"]) for g in groups] == [
        ("UNKNOWN_SCHEMA", 1201, 4), ("MISROUTED", 1, 1), ("REFUND", 1, 1)]
    by_schema = listed(rejected, "--group-by", "schema")
    assert [(g["group"], g["count"], g["reasons"]) for g in by_schema] == [
        ("9", 1200, "UNKNOWN_SCHEMA"), ("-", 3, "MISROUTED REFUND UNKNOWN_SCHEMA")]
    # by the time of arrival, not by place
    assert by_schema[0]["first"] == {
        "topic": topic, "partition": 1, "offset": 1299, "received_at": "2026-11-03T23:38:21.000Z", "reason": "UNKNOWN_SCHEMA",
        "account_id": "account-3", "record_id": "many-1299", "detail": "no schema of id 9"}
    assert (by_schema[0]["last"]["offset"], by_schema[0]["last"]["received_at"]) == (100, "2026-11-03T23:58:20.000Z")
    assert [(g["group"], g["count"]) for g in listed(rejected, "--group-by", "topic")] == [(topic, 1202), (credits, 1)]
    assert [(g["group"], g["count"]) for g in listed(rejected, "--group-by", "account", "--limit", "2", "--reason",
                                                     "UNKNOWN_SCHEMA")] == [("account-0", 301), ("account-1", 300)]
    table = rejected.run("rejects", "list", "--group-by", "schema").stdout.splitlines()
    assert len(table) == 2 and table[0].startswith(
        f"       1,200  9  UNKNOWN_SCHEMA  accounts 4  first {topic}/1/1299 (2026-11-03T23:38:21.000Z) last {topic}/1/100 ")
    assert table[0].endswith("  account-3 many-1299  no schema of id 9")
    csv = rejected.run("rejects", "list", "--group-by", "reason", "--format", "csv").stdout.splitlines()
    assert csv[0].startswith("group,count,accounts,reasons,first_topic,") and len(csv) == 4
    assert csv[0].count(",") == csv[2].count(",")
    assert rejected.run("rejects", "list", "--group-by", "account", "--account", "nobody").stdout == "no open rejects\n"
    assert "only list counts rejects" in rejected.run("rejects", "accept", "--group-by", "reason", "--all", status=64).stderr


def test_a_reject_is_requeued_once_with_its_bytes_and_coordinates(rejected):
    where = rejected.where("calls", 0, rejected.offsets[0])
    assert "REQUEUE, request 1: sent to " in rejected.run("rejects", "requeue", where).stdout
    sent, = requeued(rejected)
    assert (sent.key(), sent.value()) == (b"account-0", b"value-0")
    assert dict(sent.headers()) == {
        "trace": b"t0", "settled_requeued_topic": rejected.topics["calls"].encode(), "settled_requeued_partition": b"0",
        "settled_requeued_offset": b"%d" % rejected.offsets[0], "settled_requeued_request": b"1"}
    # murmur2 as Java's over 3 partitions, worked out by librdkafka's own murmur2 partitioner
    twin = []
    producer = Producer({"bootstrap.servers": rejected.brokers, "partitioner": "murmur2"})
    producer.produce(rejected.topics["purchases"], b"", b"account-0", on_delivery=lambda e, m: twin.append(m.partition()))
    producer.flush(20)
    assert sent.partition() == twin[0]
    assert "waits for the owner of the shard" in rejected.run("rejects", "requeue", where).stdout
    assert len(requeued(rejected)) == 1
    assert rejected.sql(f"SELECT kind, state, new_partition, new_offset FROM {REQUESTS}") == [
        ("REQUEUE", "WAITING", sent.partition(), sent.offset())]


def test_a_requeue_killed_after_its_transaction_is_not_sent_again(rejected):
    rejected.sql("CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'")
    rejected.sql("CREATE TRIGGER hang BEFORE UPDATE ON settled.requests FOR EACH ROW EXECUTE FUNCTION hang()")
    where = rejected.where("calls", 0, rejected.offsets[0])
    process = subprocess.Popen([rejected.settled, "rejects", "requeue", where, "-c", rejected.config])
    try:
        for _ in range(200):
            if requeued(rejected):
                break
            time.sleep(0.1)
        assert len(requeued(rejected)) == 1
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    rejected.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND pid <> pg_backend_pid()")
    rejected.sql("DROP FUNCTION hang() CASCADE")
    assert rejected.sql("SELECT state FROM settled.requests") == [("SENDING",)]
    # Another record is requested: the request that was left half-way is completed first.
    rejected.run("rejects", "requeue", rejected.where("calls", 0, rejected.offsets[1]))
    sent = requeued(rejected)
    assert sorted(m.key() for m in sent) == [b"account-0", b"account-1"]
    first = next(m for m in sent if m.key() == b"account-0")
    assert rejected.sql(f"SELECT state, new_partition, new_offset FROM {REQUESTS} ORDER BY id")[0] == (
        "WAITING", first.partition(), first.offset())


def test_a_requeue_killed_before_its_transaction_is_sent_by_the_next(rejected):
    rejected.sql("SELECT settled.ask('REQUEUE', %s, 0, %s, now(), 0)", rejected.topics["calls"], [rejected.offsets[0]])
    rejected.run("rejects", "requeue", rejected.where("calls", 0, rejected.offsets[0]))
    assert [m.key() for m in requeued(rejected)] == [b"account-0"]
    assert rejected.sql("SELECT state FROM settled.requests") == [("WAITING",)]


def test_many_requeues_at_once_send_each_record_once(rejected):
    rejected.sql("DELETE FROM settled.rejects WHERE reason = 'REFUND'")
    processes = [subprocess.Popen([rejected.settled, "rejects", "requeue", "--all", "-c", rejected.config],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert {process.returncode for process in processes} <= {0, 69, 75, 78}, said
    rejected.run("rejects", "requeue", "--all")
    assert sorted(m.key() for m in requeued(rejected)) == [b"account-0", b"account-1"]
    assert rejected.sql("SELECT DISTINCT state FROM settled.requests") == [("WAITING",)]


def test_what_cannot_be_requeued_is_told_and_the_rest_goes_on(rejected):
    offset = rejected.produce("calls", 1, None, b"keyless")
    rejected.reject("calls", 1, offset, reason="MISROUTED")
    expired = rejected.produce("purchases", 0, b"account-0", b"expired")
    rejected.reject("purchases", 0, expired, reason="MISROUTED")
    gone = TopicPartition(rejected.topics["purchases"], 0, expired + 1)
    for each in rejected.admin.delete_records([gone]).values():
        each.result(30)
    # A program that was killed had asked for it already: it holds up nobody, and can be decided about in another way.
    rejected.sql("SELECT settled.ask('REQUEUE', %s, 0, %s, now(), 0)", rejected.topics["purchases"], [expired])
    failed = rejected.run("rejects", "requeue", "--all", status=78)
    assert (f"{rejected.where('purchases', 0, expired)} is not kept any more: the log begins at offset {expired + 1} now"
            in failed.stderr)
    assert f"; its reject is not in {rejected.topics['rejects']}/0: let its producer send it again" in failed.stderr
    assert f"{rejected.where('calls', 1, offset)} has no key" in failed.stderr
    assert f"{rejected.where('credits', 2, 77)} is not in the log: no committed record has this offset" in failed.stderr
    assert len(requeued(rejected)) == 2
    assert rejected.sql("SELECT kafka_offset FROM settled.request_records WHERE stands ORDER BY 1") == [
        (each,) for each in sorted(rejected.offsets)]
    assert "ACCEPT, request" in rejected.run("rejects", "accept", rejected.where("purchases", 0, expired)).stdout


def test_accept_and_pass_are_asked_once(rejected):
    where = rejected.where("calls", 0, rejected.offsets[0])
    first = rejected.run("rejects", "accept", where).stdout
    assert first == f"{where}: ACCEPT, request 1: waits for the owner of the shard\n"
    assert rejected.run("rejects", "accept", where).stdout == first
    assert "ACCEPT was asked for already" in rejected.run("rejects", "requeue", where, status=78).stderr
    assert rejected.run("rejects", "accept", rejected.where("calls", 0, 999), status=78).stderr.endswith(
        "is not among the rejects: see settled rejects list\n")
    rejected.run("rejects", "pass", rejected.where("credits", 1, 5))
    assert rejected.sql(f"SELECT kind, kafka_offset, settled.requests.shard, state FROM {REQUESTS} ORDER BY id") == [
        ("ACCEPT", rejected.offsets[0], 0, "WAITING"), ("PASS", 5, 1, "WAITING")]
    assert [r["state"] for r in listed(rejected)][0] == "ACCEPT asked (WAITING)"


def test_a_decision_is_waited_for_within_a_bound(rejected):
    where = rejected.where("calls", 0, rejected.offsets[0])
    late = rejected.run("rejects", "accept", where, "--wait", "1", status=75)
    assert "1 without an answer after 1 s" in late.stderr
    rejected.sql("UPDATE settled.requests SET state = 'REFUSED', answer = 'no'")
    rejected.sql("UPDATE settled.request_records SET stands = false")
    # After a refused request, another one about the same reject is possible, and is answered.
    rejected.sql("CREATE FUNCTION done() RETURNS trigger LANGUAGE plpgsql AS"
                 " 'BEGIN NEW.state = ''DONE''; NEW.decision = 9; RETURN NEW; END'")
    rejected.sql("CREATE TRIGGER done BEFORE INSERT ON settled.requests FOR EACH ROW EXECUTE FUNCTION done()")
    assert f"{where}: decision 9\n" in rejected.run("rejects", "accept", where, "--wait", "10").stdout


@pytest.mark.parametrize("arguments, message", [
    (["requeue"], "name the records (TOPIC/PARTITION/OFFSET), filter them, or say --all"),
    (["pass"], "pass needs the record that waits, as TOPIC/PARTITION/OFFSET"),
    (["accept", "x"], "'x' is not TOPIC/PARTITION/OFFSET"),
    (["accept", "x/0/0"], "'x/0/0': there is no such input topic"),
    (["accept", "x/3/0"], "'x/3/0' is not TOPIC/PARTITION/OFFSET"),
    (["accept", "x/0/-1"], "'x/0/-1' is not TOPIC/PARTITION/OFFSET"),
    (["list", "x/0/0"], "list takes options to filter by, not 'x/0/0'"),
    (["list", "--topic", "x"], "option --topic: 'x' is none of"),
])
def test_rejects_refuses_what_it_does_not_understand(rejected, arguments, message):
    assert message in rejected.run("rejects", *arguments, status=64).stderr


def test_rejects_needs_a_recorded_deployment_of_its_group(ready):
    assert "nothing is recorded" in ready.run("rejects", "list", status=78).stderr
    ready.record(group="another")
    assert "but the database serves another" in ready.run("rejects", "list", status=78).stderr


# ---- what is looked at before a start ----

def test_run_refuses_to_start_on_an_error(ready):
    ready.alter("credits", retention_ms="1000")
    failed = ready.run("run", "--drain", status=78)
    assert f"topic {ready.topics['credits']} expires (retention.ms 1000" in failed.stderr
    assert ready.sql("SELECT count(*) FROM settled.deployment") == [(0,)]
