"""Output topics with which somebody tampered: copies in which a test leaves out, repeats or changes records."""

import contextlib
import uuid

import confluent_kafka
import confluent_kafka.admin


def records_of(d, key, partition):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": d.brokers, "group.id": uuid.uuid4().hex,
                                         "isolation.level": "read_committed", "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(d.topics[key], partition, 0)])
    found = []
    while True:
        message = consumer.poll(30)
        assert message
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            break
        found.append(message)
    consumer.close()
    return found


def messages_of(d, key, partition):
    return [(message.key(), message.value(), message.headers()) for message in records_of(d, key, partition)]


@contextlib.contextmanager
def copied(d, key, change):
    """A configuration whose topic of this output is a copy; change(partition, messages) gives what stands in it."""
    name = f"{d.topics[key]}-{uuid.uuid4().hex[:6]}"
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": d.brokers})
    for each in admin.create_topics([confluent_kafka.admin.NewTopic(name, d.partitions, 1)]).values():
        each.result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": d.brokers})
    for partition in range(d.partitions):
        for record_key, value, headers in change(partition, messages_of(d, key, partition)):
            producer.produce(name, value, record_key, headers=headers, partition=partition)
    assert producer.flush(30) == 0
    yield name, d.write_config("copied.yaml", topics={key: name})
    admin.delete_topics([name])
