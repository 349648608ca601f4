#!/usr/bin/env python3
"""Which assignor of the consumer group keeps a shard together, and how long partitions have no owner while members are
restarted one after the other.

    build/venv/bin/python tests/bench/assignors.py --long [OPTIONS of bench.py]

Three bare members subscribe to three topics of six partitions; a shard is the same partition of each. One member after the
other leaves and joins again. settled uses `range`; the others are what librdkafka offers besides: `cooperative-sticky`, and
the broker's own range of the protocol of KIP-848 (group.protocol=consumer). The members are Python's, with the librdkafka
that is bundled with it: that one is newer than the oldest that settled supports, and the only one here that has them all.
"""

import collections
import sys
import threading
import time

import confluent_kafka
import confluent_kafka.admin
import frame

MEMBERS, PARTITIONS, TOPICS = 3, 6, ("calls", "purchases", "credits")
ALL = PARTITIONS * len(TOPICS)
CALM = 1.0  # s for which all partitions have an owner before the next member goes
PAUSE = 0.01
CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 250}
ASSIGNORS = {
    "range": {"partition.assignment.strategy": "range", **CLASSIC},
    "cooperative-sticky": {"partition.assignment.strategy": "cooperative-sticky", **CLASSIC},
    "KIP-848, range": {"group.protocol": "consumer", "group.remote.assignor": "range"},
}
STOPS = {name: frame.Row(f"assignor {name}: longest time without all partitions", "s") for name in ASSIGNORS}
SPLITS = {name: frame.Row(f"assignor {name}: shards with several owners", "shards", "", frame.value_at_most(0))
          for name in ASSIGNORS}
ROWS = [row for name in ASSIGNORS for row in (STOPS[name], SPLITS[name])]


class Member:
    def __init__(self, brokers, group, topics, properties):
        self.owned, self.stopping = set(), threading.Event()
        self.consumer = confluent_kafka.Consumer({"bootstrap.servers": brokers, "group.id": group,
                                                  "enable.auto.commit": False, **properties})
        self.consumer.subscribe(topics)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            self.consumer.poll(PAUSE)
            self.owned = {(each.topic, each.partition) for each in self.consumer.assignment()}
        self.consumer.close()
        self.owned = set()

    def stop(self):
        self.stopping.set()
        self.thread.join()


class Group:
    def __init__(self, bench, properties):
        self.brokers, self.properties = bench.kafka.brokers, properties
        bench.databases += 1
        self.name = f"assignors-{bench.databases}-{time.monotonic_ns()}"
        self.topics = [f"{self.name}-{topic}" for topic in TOPICS]
        self.admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.brokers})
        new = [confluent_kafka.admin.NewTopic(topic, PARTITIONS, 1) for topic in self.topics]
        for made in self.admin.create_topics(new).values():
            made.result(20)
        self.members = [self.join() for _ in range(MEMBERS)]
        self.longest, self.splits, self.missing_since = 0, 0, None

    def join(self):
        return Member(self.brokers, self.name, self.topics, self.properties)

    def look(self):
        """Whether all partitions have an owner; and notes for how long they have not."""
        now, owners = time.monotonic(), collections.defaultdict(set)
        owned = [(partition, number) for number, member in enumerate(self.members) for _, partition in member.owned]
        for partition, number in owned:
            owners[partition].add(number)
        whole = len(owned) == ALL
        self.missing_since = None if whole else self.missing_since or now
        if not whole:
            self.longest = max(self.longest, now - self.missing_since)
        return whole, sum(len(each) > 1 for each in owners.values())

    def settle(self):
        since, deadline = None, time.monotonic() + frame.SEEN_SECONDS
        while since is None or time.monotonic() < since + CALM:
            if time.monotonic() > deadline:
                raise frame.Failed(f"the group with {self.properties} never had all partitions")
            whole, splits = self.look()
            since = (since or time.monotonic()) if whole else None
            time.sleep(PAUSE)
        self.splits = max(self.splits, splits)

    def restart_all(self):
        """One after the other: (the longest time without all partitions, the most shards with several owners)."""
        self.settle()
        self.longest = 0
        for number, member in enumerate(self.members):
            leaving = threading.Thread(target=member.stop)
            leaving.start()
            while leaving.is_alive():
                self.look()
                time.sleep(PAUSE)
            self.members[number] = self.join()
            self.settle()
        return self.longest, self.splits

    def close(self):
        for member in self.members:
            member.stop()
        for each in self.admin.delete_topics(self.topics).values():
            each.result(20)


def measure(bench):
    if not bench.options.long:
        yield from (row.missing("only with --long") for row in ROWS if bench.wants(row))
        return
    figures = frame.Figures(bench)
    bench.start_services()
    for _ in bench.rounds():
        for name, properties in ASSIGNORS.items():
            group = Group(bench, properties)
            try:
                longest, splits = group.restart_all()
            finally:
                group.close()
            figures.add("settled", {STOPS[name]: longest, SPLITS[name]: splits})
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
