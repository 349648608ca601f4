"""The relay's exactly-once depends on this, shown on a real broker with requests made by hand: once a producer's epoch
is raised, or its id has expired, no earlier request is applied, of whatever kind and whenever it arrives."""

import time
import uuid

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from raw_kafka import FENCED, INVALID_EPOCH, INVALID_MAPPING, OK, Connection, Producer
from services import Services

REFUSED = {INVALID_EPOCH, FENCED, INVALID_MAPPING}
NEARLY_USED_UP = 32760  # of 32,767 epochs


@pytest.fixture(scope="module")
def own():
    """A broker that forgets an unused transactional id after seconds, and one that verifies nothing."""
    with Services() as services:
        services.forgetful = services.kafka(start=False, settings={
            "transactional.id.expiration.ms": 6000, "transaction.remove.expired.transaction.cleanup.interval.ms": 500,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500})
        services.lenient = services.kafka(start=False, settings={"transaction.partition.verification.enable": "false"})
        services.start()
        yield services


class Place:
    """A topic, a group and a transactional id of a test's own."""

    def __init__(self, kafka):
        name = f"epochs-{uuid.uuid4().hex[:10]}"
        self.kafka, self.topic, self.group, self.id = kafka, f"{name}-topic", f"{name}-group", f"{name}-id"
        kafka.create_topic(self.topic, 1)
        self.connections = []

    def producer(self, **options):
        """On a connection of its own, as a fresh client is."""
        self.connections.append(Connection(self.kafka.brokers))
        return Producer(self.connections[-1], self.id, self.topic, self.group, **options)

    def close(self):
        for connection in self.connections:
            connection.close()

    def _consumer(self):
        return Consumer({"bootstrap.servers": self.kafka.brokers, "group.id": self.group, "enable.auto.commit": False,
                         "isolation.level": "read_committed", "enable.partition.eof": True,
                         "auto.offset.reset": "earliest"})

    def seen(self):
        """Every committed record."""
        consumer = self._consumer()
        consumer.assign([TopicPartition(self.topic, 0, 0)])
        found = []
        while True:
            message = consumer.poll(20)
            assert message is not None
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF
                consumer.close()
                return found
            found.append(message.value().decode())

    def position(self):
        consumer = self._consumer()
        found, = consumer.committed([TopicPartition(self.topic, 0)], timeout=20)
        consumer.close()
        return found.offset


@pytest.fixture
def place(request, own):
    made = Place(getattr(own, request.param))
    yield made
    made.close()


def transact(producer, value, offset, between=lambda moment: None):
    """A whole transaction; `between` is called before each of its requests."""
    steps = [("add partitions", producer.add_partitions), ("produce", lambda: producer.produce(value.encode())),
             ("add offsets", producer.add_offsets), ("offset commit", lambda: producer.commit_offset(offset)),
             ("end", lambda: producer.end(True))]
    for moment, step in steps:
        between(moment)
        assert step() == OK, moment


def late_requests(old):
    """Each kind of request that the network may still hold from the producer's last transaction. The batch was never
    appended."""
    return {"AddPartitionsToTxn": old.add_partitions, "Produce": lambda: old.produce(b"late", old.sequence),
            "AddOffsetsToTxn": old.add_offsets, "TxnOffsetCommit": lambda: old.commit_offset(1),
            "EndTxn abort": lambda: old.end(False), "EndTxn commit": lambda: old.end(True)}


def old_producer(place):
    """Its first transaction is committed; of its second one only the beginning and the end have arrived."""
    old = place.producer()
    transact(old, "first", 100)
    assert (old.add_partitions(), old.add_offsets(), old.end(False)) == (OK, OK, OK)
    return old


def all_are_refused(old, moment):
    found = {name: send() for name, send in late_requests(old).items()}
    assert set(found.values()) <= REFUSED, (moment, found)


@pytest.mark.parametrize("place", ["forgetful"], indirect=True)
def test_a_raised_epoch_refuses_each_old_request_at_each_moment(place):
    old = old_producer(place)
    new = place.producer()
    assert (new.producer_id, new.epoch) == (old.producer_id, old.epoch + 1)
    all_are_refused(old, "before the new epoch has reached the partition")
    transact(new, "second", 200, between=lambda moment: all_are_refused(old, moment))
    all_are_refused(old, "after the end")
    transact(new, "third", 300)
    assert place.seen() == ["first", "second", "third"]
    assert place.position() == 300


@pytest.mark.parametrize("place", ["lenient"], indirect=True)
def test_without_the_verification_an_old_batch_and_position_are_applied(place):
    """Why settled refuses such a broker: this is what it would do."""
    old = old_producer(place)
    new = place.producer()
    assert late_requests(old)["Produce"]() == OK
    transact(new, "second", 200)
    assert place.seen() == ["first", "late", "second"]
    assert new.add_partitions() == OK
    assert {late_requests(old)[name]() for name in ("AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn commit")} <= REFUSED


@pytest.mark.parametrize("place", ["forgetful"], indirect=True)
def test_a_zombie_whose_id_has_expired_can_do_nothing(place):
    old = old_producer(place)
    deadline = time.monotonic() + 60
    while old.end(False) == OK:  # repeats how the last one ended, and does not keep the id alive
        assert time.monotonic() < deadline
        time.sleep(0.2)
    all_are_refused(old, "while nobody else has the id")
    new = place.producer()
    assert new.producer_id != old.producer_id and new.epoch == 0  # not above the old epoch: the producer id shows it
    all_are_refused(old, "before the new producer id has reached the partition")
    transact(new, "second", 200, between=lambda moment: all_are_refused(old, moment))
    assert place.seen() == ["first", "second"]
    assert place.position() == 200


@pytest.mark.parametrize("place", ["forgetful"], indirect=True)
def test_a_transaction_over_time_is_told_as_fenced_and_nothing_of_it_shows(place):
    """So the relay must not take "fenced" for "another owner": it asks PostgreSQL, and reads again what is
    published."""
    slow = place.producer(timeout_ms=1000)
    assert (slow.add_partitions(), slow.produce(b"too late"), slow.add_offsets(), slow.commit_offset(100)) == (OK,) * 4
    time.sleep(3)  # the coordinator aborts it, and raises the epoch so that nothing more of it is taken
    assert slow.end(True) in {INVALID_EPOCH, FENCED}
    all_are_refused(slow, "once it was aborted")
    transact(place.producer(), "second", 200, between=lambda moment: all_are_refused(slow, moment))
    assert place.seen() == ["second"]
    assert place.position() == 200


def test_epochs_that_are_used_up_go_on_under_another_producer_id():
    """The coordinator fails just before that."""
    with Services() as services:
        place = Place(services.kafka())
        old = old_producer(place)
        last = place.producer()
        while last.epoch < NEARLY_USED_UP:
            last.raise_epoch()
        place.close()
        place.kafka.restart(kill=True)
        new = place.producer()
        assert (new.producer_id, new.epoch) == (old.producer_id, last.epoch + 1)
        while new.epoch > last.epoch:
            new.raise_epoch()
        assert new.producer_id != old.producer_id and new.epoch == 0
        old.connection = last.connection = new.connection
        for zombie in (old, last):
            all_are_refused(zombie, "afterwards")
        transact(new, "second", 200)
        assert place.seen() == ["first", "second"]
        place.close()
