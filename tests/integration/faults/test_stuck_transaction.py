"""A coordinator has committed a transaction and cannot finish it, because the leader of one of its partitions is
stopped: nobody sees the rows of the transaction. settled says so, is not ready, publishes nothing a second time, and
goes on when the leader is back."""

import datetime
import os
import pathlib
import signal
import time

import confluent_kafka.admin
import pytest
import worlds_path  # noqa: F401
import services
from deployment import ROOT, ZONE, Deployment

FAULTS = pathlib.Path(os.environ.get("SETTLED_FAULTS_BINARY", ROOT / "build" / "faults" / "settled"))


def java_hash(text):
    value = 0
    for letter in text:
        value = (value * 31 + ord(letter)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF


def leader_of(admin, topic, partition):
    return admin.list_topics(topic, timeout=20).topics[topic].partitions[partition].leader


def insist(call, seconds=60):
    """Repeats a request: a cluster that has just started answers that coordinators are not there yet, or have moved."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except confluent_kafka.KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def coordinators(admin, group, transactional_id):
    """The brokers on which the shard's transactions and position are kept; asking for them makes their topics."""
    producer = confluent_kafka.Producer({"bootstrap.servers": admin.brokers, "transactional.id": transactional_id})
    insist(lambda: producer.init_transactions(30))
    consumer = confluent_kafka.Consumer({"bootstrap.servers": admin.brokers, "group.id": group})
    insist(lambda: consumer.committed([confluent_kafka.TopicPartition("none", 0)], 30))
    consumer.close()
    counts = {name: len(admin.list_topics(name, timeout=20).topics[name].partitions)
              for name in ("__transaction_state", "__consumer_offsets")}
    return {leader_of(admin, "__transaction_state", java_hash(transactional_id) % counts["__transaction_state"]),
            leader_of(admin, "__consumer_offsets", java_hash(group) % counts["__consumer_offsets"])}


def place_topics(admin, brokers):
    """Makes each topic again, with its one partition on the broker that is given for it and on no other."""
    for each in admin.delete_topics(list(brokers)).values():
        each.result(30)
    new = {topic: confluent_kafka.admin.NewTopic(topic, 1, replica_assignment=[[broker]],
                                                 config={"message.timestamp.type": "CreateTime"})
           for topic, broker in brokers.items()}
    for topic in new:
        insist(lambda topic=topic: admin.create_topics([new[topic]])[topic].result(30))


@pytest.fixture
def world(tmp_path):
    with services.Services() as started:
        postgres = started.postgres(start=False)
        kafka = started.kafka(nodes=3, start=False)
        started.start()
        today = datetime.datetime.now(ZONE).date()
        deployment = Deployment(FAULTS, kafka.brokers, postgres.dsn, tmp_path, partitions=1, workers=1, first_day=str(today))
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": kafka.brokers})
        admin.brokers = kafka.brokers
        yield deployment, kafka, admin
        deployment.close()


def test_a_commit_that_is_not_finished_is_told_and_not_repeated(world):
    d, kafka, admin = world
    used = coordinators(admin, f"{d.name}-relay", f"{d.name}-relay-0")
    away = next(number for number in (1, 2, 3) if number not in used)
    # All but the rejects stay readable, and the process keeps its shard while it is stopped.
    place_topics(admin, {topic: away if key == "rejects" else min(used) for key, topic in d.topics.items()})
    config = d.write_config("patient.yaml", kafka={"properties": {"session.timeout.ms": "30000"}})
    now = int(time.time() * 1000)
    process = d.start(config=config, environment={"SETTLED_FAULT": "transaction_end_before:1:stop"})
    process.await_ready()
    d.send_bytes("calls", b"\1broken", now, "somebody")
    d.flush()
    process.await_line("fault point transaction_end_before")  # its rows are acknowledged
    kafka.nodes[away - 1].pause()
    try:
        process.process.send_signal(signal.SIGCONT)
        process.await_line("publishing is in trouble", seconds=60)
        # The next producer has to wait for the transaction's end, and says so.
        unfinished = "since the coordinator has not finished the transaction before"
        d.until(lambda: unfinished in process.get("/healthz/ready")[1], process, seconds=60)
        assert process.get("/healthz/ready")[0] == 503
        assert process.metric("settled_relay_trouble") == 1
        assert d.sql("select sequence, relayed from settled.shards") == [(1, 0)]
    finally:
        kafka.nodes[away - 1].cont()
    process.await_ready(seconds=90)
    assert process.metric("settled_relay_lost_rows_total") == 0
    assert [body["sequence"] for _, _, _, body in d.read("rejects")] == [1]
    assert d.sql("select sequence, relayed from settled.shards") == [(1, 1)]
    assert process.stop() == 0
