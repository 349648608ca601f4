"""`settled check` and `settled run` go through the same gates: whatever is broken, both end with the same status and say
the same, before a record is read. What is only a warning to one is a warning to the other."""

import contextlib
import json
import re
import subprocess
import time

import confluent_kafka
import confluent_kafka.admin
import psycopg
import pytest

from conftest import ROOT
import permissions
from deployment import OUTPUTS, SCHEMAS, alter_topic, at
from services import Services

BOOK = ROOT / "pricing" / "pricebooks" / "apcas.yaml"
DAY = "2026-11-01"
CLOSED = "2026-11-02T00:10:00+08:00"


def outcome(d, *arguments, config=None):
    return subprocess.run([d.settled, arguments[0], "-c", config or d.config, *arguments[1:]], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=90, check=False)


def findings(d, config=None):
    done = outcome(d, "check", "--format", "json", config=config)
    return done.returncode, json.loads(done.stdout)


def verdict(found):
    """What ends a process: the first error that waiting cannot cure, else the first."""
    errors = [f for f in found if f["level"] == "error"]
    worst = next((f for f in errors if f["status"] != 69), errors[0])
    return worst["text"], len(errors)


def lasting(text):
    """Without how long librdkafka took for it."""
    return re.sub(r"after \d+ms", "after some ms", text)


def refused(d, status, words, config=None):
    """Both refuse, with one status and in one text; returns it."""
    code, found = findings(d, config)
    ran = outcome(d, "run", "--drain", config=config)
    assert "message=started" not in ran.stderr, ran.stderr[-3000:]
    assert [f for f in found if f["level"] == "error"], (ran.returncode, ran.stderr[-3000:], found)
    assert (code, ran.returncode) == (status, status), (found, ran.stderr[-3000:])
    text, count = verdict(found)
    assert words in text, text
    told = re.search(r"^settled run: (.*?)(?=\n(?:time=|\Z)|\Z)", ran.stderr, re.DOTALL | re.MULTILINE).group(1).strip()
    if found[0]["gate"] == "configuration":
        text = "\n".join(f["text"] for f in found)
    elif count > 1:
        text += f" (and {count - 1} more: settled check names them)"
    assert lasting(told) == lasting(text)
    return text


def warned(d, words, config=None):
    """Neither refuses, both say it."""
    code, found = findings(d, config)
    told = [f["text"] for f in found if words in f["text"]]
    assert code == 0 and told, found
    process = d.start("--clock", CLOSED, config=config)
    process.await_line("message=started")
    assert process.stop() == 0
    assert told[0].split('"')[0] in process.log.replace('\\"', '"')


@pytest.fixture
def fresh(deploy):
    return deploy(partitions=1, workers=1)


@pytest.fixture
def settled_day(fresh):
    """A day is settled and published, and records of the next were read."""
    d = fresh
    d.top_up("acme", "t1", 1000, at(DAY, "09:00:00"))
    for n in range(3):
        d.call("acme", f"c{n}", at(DAY, "10:00:00"))
        d.call("acme", f"d{n}", at("2026-11-02", "00:06:00"))
    d.flush()
    d.drain(CLOSED)
    code, found = findings(d)
    assert code == 0 and not [f for f in found if f["level"] == "error" or "not looked at" in f["text"]], found
    return d


# ---- before anything is recorded ----

def section(**sections):
    return lambda d: d.write_config("broken.yaml", **sections)


def book_file(edit):
    def write(d):
        path = d.folder / "book.yaml"
        path.write_text(edit(BOOK.read_text()))
        return d.write_config("broken.yaml", pricing={"book": str(path)})
    return write


def no_registry(d):
    config = d.write_config("broken.yaml")
    config.write_text(json.dumps({**json.loads(config.read_text()), "schemas": {"registry": "http://127.0.0.1:1"}}))
    return config


def schema_gone(d):
    config = d.write_config("broken.yaml")
    (config.parent / "schemas" / f"{SCHEMAS['Settlement']}.avsc").unlink()
    return config


def sql(*statements):
    def spoil(d):
        with psycopg.connect(d.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
    return spoil


def read_only(d):
    with psycopg.connect(d.dsn, autocommit=True) as connection:
        connection.execute(f"alter database {d.dsn.rpartition('/')[2]} set default_transaction_read_only = on")


def topic(key, **settings):
    return lambda d: alter_topic(d.brokers, d.topics[key], **settings)


def no_topic(key):
    return lambda d: gone(d, key)


def gone(d, key):
    d.delete_topics([key])


def one_more(key):
    return lambda d: d.add_partitions(key, 2)


UNRECORDED = {
    "an unknown key": (section(billing={"gracee": "5m"}), 78, "unknown key; did you mean grace?"),
    "a broken file": (lambda d: broken_file(d), 78, "settled.yaml"),
    "a property that would bill twice": (section(kafka={"properties": {"enable.auto.commit": "true"}}), 78,
                                         "enable.auto.commit"),
    "a property that librdkafka refuses": (section(kafka={"properties": {"fetch.min.bytes": "many"}}), 78, "fetch.min.bytes"),
    "properties that do not fit a producer": (section(kafka={"properties": {"transaction.timeout.ms": "100"}}), 78,
                                              "transaction.timeout.ms"),
    "no price book": (section(pricing={"book": "/nowhere/book.yaml"}), 78, "/nowhere/book.yaml"),
    "a price book with a mistake": (book_file(lambda text: text.replace("tiers:", "teirs:", 1)), 78, "did you mean tiers?"),
    "a first book with a day": (book_file(lambda text: f"effective_from: {DAY}\n" + text), 78, "effective_from"),
    "no database server": (section(postgres={"dsn": "postgresql://postgres@127.0.0.1:1/x"}), 69, "127.0.0.1:1/x"),
    "no tables": (sql("drop schema settled cascade"), 78, "run \"settled migrate\""),
    "tables of a newer program": (sql("insert into settled.schema_migrations values (999, '999_x.sql', 'x')"), 78,
                                  "newer than this program"),
    "tables of another build": (sql("update settled.schema_migrations set sha256 = 'x' where number = 2"), 78,
                                "another build"),
    "a database that takes no writes": (read_only, 69, ""),
    "no broker": (section(kafka={"brokers": "127.0.0.1:1"}), 69, "no Kafka broker answers"),
    "no registry": (no_registry, 69, "http://127.0.0.1:1"),
    "a schema that is not registered": (schema_gone, 78, "settlements-value does not hold the schema of Settlement"),
    "no input topic": (no_topic("credits"), 78, "does not exist; run settled topics apply"),
    "no output topic": (no_topic("status"), 78, "does not exist; run settled topics apply"),
    "a compacted input": (topic("purchases", cleanup_policy="compact"), 78, "compaction would take records away"),
    "a compacted output": (topic("settlements", cleanup_policy="compact,delete"), 78, "compaction would take records away"),
    "calls that expire too soon": (topic("calls", retention_ms="86400000"), 78, "a restart needs late_days + 2 days"),
    "credits that expire": (topic("credits", retention_ms="86400000000"), 78, "it must not, replays and audits begin"),
    "outputs that expire too soon": (topic("rejects", retention_ms="86400000"), 78,
                                     "keeps records for 24 h only (retention.ms): what was published is compared"),
    "timestamps of another kind": (topic("calls", message_timestamp_type="LogAppendTime"), 78, "needs CreateTime"),
    "an output for small records": (topic("rejects", max_message_bytes="900000"), 78, "takes records of 900000 bytes only"),
    "topics of different partitions": (one_more("credits"), 78, "the topics differ in partitions"),
}


def broken_file(d):
    config = d.write_config("broken.yaml")
    config.write_text("kafka: {brokers: [")
    return config


@pytest.mark.parametrize("state", UNRECORDED)
def test_a_start_that_is_refused(fresh, state):
    spoil, status, words = UNRECORDED[state]
    if words == "settled.yaml":
        words = "broken.yaml"
    refused(fresh, status, words, config=spoil(fresh))
    if "no tables" not in state:
        assert fresh.sql("select count(*) from settled.deployment") == [(0,)]


# ---- once it has billed ----

def cut(key, offset):
    def spoil(d):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
        where = confluent_kafka.TopicPartition(d.topics[key], 0, offset)
        for done in admin.delete_records([where]).values():
            done.result(20)
    return spoil


def made_again(key, records):
    """The topic is another one of the same name, with so many records."""
    def spoil(d):
        d.delete_topics([key])
        d._make_topics([key])
        for n in range(records):
            if key == "calls":
                d.call("other", f"o{n}", at(DAY, "11:00:00"))
        d.flush()
    return spoil


def another_topic(d):
    config = d.write_config("broken.yaml", topics={"calls": f"{d.name}-more"})
    d.topics["more"] = f"{d.name}-more"
    d._make_topics(["more"])
    return config


def outputs_emptied(d):
    for key in OUTPUTS:
        made_again(key, 0)(d)


def relay_position(d, n, metadata):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": f"{d.name}-relay"})
    where = confluent_kafka.TopicPartition(d.topics["settlements"], 0, n, metadata)
    consumer.commit(offsets=[where], asynchronous=False)
    consumer.close()


def another_hash(d):
    n, = d.sql("select sequence from settled.shards")[0]
    relay_position(d, n, f"1 {n} {'ab' * 32}")


def aborted_ends(d):
    """What was published last stands before more aborted records than are read at first, and no position says how far."""
    producer = confluent_kafka.Producer({"bootstrap.servers": d.brokers, "transactional.id": f"{d.name}-aborts"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for key in OUTPUTS:
        for _ in range(400):
            producer.produce(d.topics[key], b"x", b"k", partition=0)
    producer.flush(20)
    producer.abort_transaction(20)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    for done in admin.delete_consumer_groups([f"{d.name}-relay"]).values():
        done.result(20)
    sql("update settled.shards set relayed = 1, sequence = 1", "delete from settled.outbox where sequence > 1")(d)


def foreign_position(d):
    relay_position(d, 3, "somebody else's")


BILLED = {
    "another first day": (section(billing={"first_day": "2026-11-02"}), "billing.first_day is 2026-11-02, but 2026-11-01"),
    "another partitioner": (section(topics={"partitioner": "crc32"}), "topics.partitioner is crc32"),
    "another group": (section(kafka={"group": "another"}), "kafka.group is another"),
    "a book of another zone": (book_file(lambda text: text.replace("Asia/Shanghai", "UTC")), "time zone is UTC"),
    "another cluster": (sql("update settled.deployment set cluster_id = 'another'"), "the id of the Kafka cluster"),
    "another input topic": (another_topic, "topics.calls is"),
    "another count of partitions": (sql("update settled.deployment set partitions = 2"), "but this deployment has 2"),
    "a price book that was changed by hand": (sql("update settled.price_books set file = file || ' '"),
                                              "has a text whose SHA-256 is"),
    "parameters that were changed by hand": (sql("update settled.parameters set from_day = '2026-11-01'"),
                                             "it was changed by hand"),
    "a row of a log that is gone": (sql("delete from settled.shard_logs where topic like '%-credits'"),
                                    "does not have three rows a shard"),
    "calls cut past calls_from": (cut("calls", 2), "are needed and are not kept any more"),
    "a topic made again, shorter": (made_again("credits", 0), "but the log ends at 0: the topic was deleted and made again, or the cluster lost data; see the runbook"),
    "a topic made again, as long": (made_again("calls", 8), "is not the one that was read there: the topic was deleted and made again, or rewritten; see the runbook"),
    "emptied outputs": (outputs_emptied, "the output topics hold nothing above sequence 0"),
    "commits lost in a fail-over": (sql("update settled.shards set relayed = 1, sequence = 1",
                                        "delete from settled.outbox where sequence > 1"), "PostgreSQL only up to 1"),
    "commits lost, and the outputs end in aborted records": (aborted_ends, "PostgreSQL only up to 1"),
    "a row of another history": (another_hash, "is not the one that was published under this sequence"),
    "a row of the outbox that is gone": (sql("delete from settled.outbox"), "of settled.outbox is missing"),
    "a position of another program": (foreign_position, "two programs use one group name"),
}


@pytest.mark.parametrize("state", BILLED)
def test_a_restart_that_is_refused(settled_day, state):
    spoil, words = BILLED[state]
    refused(settled_day, 78, words, config=spoil(settled_day))


def test_credits_cut_past_the_position_are_refused(settled_day):
    d = settled_day
    for n in range(3):
        d.top_up("acme", f"more-{n}", 5, at("2026-11-02", "09:00:00"))
    d.flush()
    cut("credits", 3)(d)
    refused(d, 78, "are needed and are not kept any more")


# ---- what both only warn of ----

def held(d):
    for n in range(120):
        d.send_bytes("calls", b"not a record", at(DAY, "11:00:00"), f"broken-{n}")
    d.flush()
    d.drain(CLOSED, status=75)


def test_a_held_day_is_told(fresh):
    fresh.call("acme", "c", at(DAY, "10:00:00"))
    held(fresh)
    warned(fresh, "day 2026-11-01 is held, and no later one settles before it: see settled rejects list, then requeue or accept")


def test_another_file_is_told(settled_day):
    config = settled_day.write_config("stale.yaml", billing={"late_days": 3})
    warned(settled_day, "billing.late_days is 3, but 7 is recorded", config=config)


def test_a_close_that_fills_the_write_ahead_log_is_told(settled_day):
    """The server's default is 1 GB: enough for a close of 200,000 accounts, and not for a million."""
    for settlements, told in ((200_000, False), (1_000_000, True)):
        with psycopg.connect(settled_day.dsn) as connection:
            connection.execute("update settled.day_closes set settlements = %s where shard = 0", (settlements,))
        assert any("max_wal_size" in f["text"] for f in findings(settled_day)[1]) == told
    warned(settled_day, "PostgreSQL's max_wal_size is 1024 MB, but the largest close")


def test_outputs_that_expire_are_told(settled_day):
    alter_topic(settled_day.brokers, settled_day.topics["status"], retention_ms=str(30 * 86400000))
    warned(settled_day, "expires (retention.ms 2592000000")


def test_what_is_not_looked_at_is_said(settled_day):
    config = settled_day.write_config("broken.yaml", postgres={"dsn": "postgresql://postgres@127.0.0.1:1/x"},
                                      kafka={"brokers": "127.0.0.1:1"})
    code, found = findings(settled_day, config)
    assert code == 69 and {f["gate"] for f in found if f["level"] == "error"} == {"database", "cluster"}
    unseen = {f["gate"] for f in found if f["text"].startswith("not looked at: ")}
    assert {"recorded deployment", "shards", "topics", "permissions", "positions", "published rows", "clock"} <= unseen
    assert all(f["status"] == (69 if f["level"] == "error" else 0) for f in found)


def test_a_check_is_quick_and_leaves_nothing_behind(settled_day):
    d = settled_day
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})

    def ends():
        consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": "ends"})
        try:
            return {name: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(name, 0), timeout=20)
                    for name in d.topics.values()}
        finally:
            consumer.close()

    before = ends()
    begun = time.monotonic()
    findings(d)
    assert time.monotonic() - begun < 2  # it took two seconds for the ends of topics alone
    assert ends() == before
    future, = admin.list_consumer_group_offsets(
        [confluent_kafka.ConsumerGroupTopicPartitions(f"{d.name}-relay")]).values()
    assert [each.offset for each in future.result(20).topic_partitions if each.offset >= 0] == [
        d.sql("select sequence from settled.shards")[0][0]]


# ---- a broker that asks who one is ----

SCRAM = {"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
         "listener.name.secured.scram-sha-256.sasl.jaas.config":
             "org.apache.kafka.common.security.scram.ScramLoginModule required;"}


@pytest.fixture(scope="module")
def guarded():
    with Services() as services:
        kafka = services.kafka(users={"biller": "secret", "clerk": "quill"}, settings=SCRAM)
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": kafka.brokers})
        scram = confluent_kafka.admin.ScramCredentialInfo(confluent_kafka.admin.ScramMechanism.SCRAM_SHA_256, 4096)
        for done in admin.alter_user_scram_credentials([confluent_kafka.admin.UserScramCredentialUpsertion(
                "biller", scram, b"secret")]).values():
            done.result(20)
        yield kafka


def secured(d, guarded, user="biller", **properties):
    login = {**guarded.login(user), **properties}
    return d.write_config(f"{user}.yaml", kafka={"brokers": guarded.secured_brokers,
                                                 "properties": {"session.timeout.ms": "6000", **login}})


@pytest.fixture
def allowed(deploy, guarded):
    d = deploy(brokers=guarded.brokers, partitions=1, workers=1)
    guarded.allow("biller", *permissions.of_daemon(d))
    d.config = secured(d, guarded)
    return d


def test_the_daemon_runs_with_exactly_the_permissions_of_the_list(allowed):
    d = allowed
    d.call("acme", "c", at(DAY, "10:00:00"))
    d.flush()
    d.drain(CLOSED)
    d.check_published()
    code, found = findings(d)
    assert code == 0
    assert [f["text"] for f in found if "may not" in f["text"] or "not looked" in f["text"]] == [
        f["text"] for f in found if f["gate"] == "brokers"]  # the settings of brokers are for DescribeConfigs of the cluster


def told(guarded, user, grant):
    """What is said without this grant: who may not do what, and the command that gives it back."""
    operation, kind, name = grant.split()
    option = "--" + kind.replace("_", "-")
    name, prefixed = name.removesuffix("*"), " --resource-pattern-type prefixed" * name.endswith("*")
    named = {"READ": "Read", "WRITE": "Write", "DESCRIBE_CONFIGS": "DescribeConfigs"}[operation]
    return (f"{name}: User:{user} may not ", f"grant it: kafka-acls --bootstrap-server {guarded.secured_brokers} --add "
            f"--allow-principal User:{user} ", f"--operation {named} ", f"{option} {name}{prefixed}")


@contextlib.contextmanager
def without(guarded, user, grant):
    guarded.forbid(user, grant)
    yield
    guarded.allow(user, grant)


def test_each_missing_permission_is_refused_by_name(allowed, guarded):
    inputs, outputs = (3 * 2, 4 * 3)
    grants = permissions.of_daemon(allowed)
    # one topic of a kind is as good as another; each group and id
    for grant in grants[:2] + grants[inputs:inputs + 3] + grants[inputs + outputs:]:
        with without(guarded, "biller", grant):
            text = refused(allowed, 78, "may not")
            assert [part for part in told(guarded, "biller", grant) if part not in text] == [], (grant, text)
    assert findings(allowed)[0] == 0


def is_told(process, words):
    status, text = process.get("/healthz/ready")
    return status == 503 and words in text and process.metric("settled_kafka_up") == 0


def works(process):
    return process.get("/healthz/ready")[0] == 200 and process.metric("settled_kafka_up") == 1


def test_an_idle_daemon_says_what_is_taken_from_it_and_goes_on_once_it_is_back(allowed, guarded):
    d = allowed
    # soon enough, the group gives nothing of a topic that does not show any more
    config = secured(d, guarded, **{"topic.metadata.refresh.interval.ms": "1000"})
    process = d.start("--clock", CLOSED, config=config)
    process.await_ready()
    grants = permissions.of_daemon(d)
    topics = {key: f"topic {d.topics[key]}" for key in d.topics}
    rounds = [[f"READ {topics['credits']}", f"WRITE {topics['rejects']}", grants[-1]],
              [f"READ {topics['status']}", *grants[-3:-1]]]
    for taken in rounds:
        d.until(lambda: works(process), process)
        guarded.forbid("biller", *taken)
        d.until(lambda: is_told(process, "may not"), process)
        for grant in taken:  # it never publishes meanwhile: it finds out by trying
            d.until(lambda grant=grant: all(part in process.log for part in told(guarded, "biller", grant)), process)
        guarded.allow("biller", *taken)
        d.until(lambda: works(process), process)
    assert 'level=error message="a permission in Kafka is missing"' in process.log
    assert process.stop() == 0


def test_decisions_need_exactly_the_permissions_of_their_list(allowed, guarded):
    d = allowed
    guarded.allow("clerk", *permissions.of_decisions(d))
    d.top_up("acme", "t1", 1000, at(DAY, "09:00:00"))
    d.send_bytes("calls", b"not a record", at(DAY, "11:00:00"), "acme")
    d.send_bytes("calls", b"not one either", at(DAY, "11:00:00"), "acme")
    d.flush()
    d.drain("2026-11-01T13:00:00+08:00")
    clerk = secured(d, guarded, "clerk")

    def requeue(offset):
        return outcome(d, "rejects", "requeue", f"{d.topics['calls']}/0/{offset}", config=clerk)

    def adjust(reference):
        return outcome(d, "adjust", "acme", "--amount", "-1", "--reason", "x", "--reference", reference, "--date", DAY,
                       config=clerk)

    credits = d.topics["credits"]
    for grant in permissions.of_decisions(d):
        if d.topics["purchases"] in grant or grant == f"READ topic {credits}":
            continue  # as for calls; of credits the adjustment needs only Write
        if grant == f"READ topic {d.topics['rejects']}":
            continue  # below: only once a record has expired
        with without(guarded, "clerk", grant):
            done = adjust("nothing") if credits in grant else requeue(0)
            assert done.returncode == 78, (grant, done.stderr)
            assert [part for part in told(guarded, "clerk", grant) if part not in done.stderr] == [], (grant, done.stderr)
    assert requeue(0).returncode == 0
    cut("calls", 2)(d)
    grant = f"READ topic {d.topics['rejects']}"
    with without(guarded, "clerk", grant):
        done = requeue(1)
        assert done.returncode == 78 and not [part for part in told(guarded, "clerk", grant) if part not in done.stderr]
    for done in (requeue(1), adjust("one")):
        assert done.returncode == 0, done.stderr


def test_a_wrong_password_is_refused(allowed, guarded):
    """With 78: no start would help before it is mended."""
    config = secured(allowed, guarded, **{"sasl.password": "guess"})
    refused(allowed, 78, "Kafka refuses the login of User:biller (", config=config)


def test_scram_of_an_old_librdkafka_is_told_from_a_wrong_password(allowed, guarded):
    config = secured(allowed, guarded, **{"sasl.mechanism": "SCRAM-SHA-256"})
    told = subprocess.run([allowed.settled, "version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"librdkafka (\d+)\.(\d+)\.(\d+)", told)
    if tuple(map(int, version.groups())) >= (2, 6, 1):
        assert findings(allowed, config)[0] == 0
        return
    refused(allowed, 78, "cannot log in by SCRAM at brokers", config=config)
