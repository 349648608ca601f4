#!/usr/bin/env python3
"""For how long shards stand still while three processes under load are restarted one after the other.

    build/venv/bin/python tests/bench/rolling.py [OPTIONS of bench.py]

Each partition gets a credit that cannot be decoded every 20 ms, and a read_committed consumer notes when its reject is
seen. One process after the other is sent SIGTERM, started again, and is ready before it is the next one's turn. The rows
are the longest time without a reject of one shard, of all shards; of each shard its longest, of all shards the mean; and
the longest time in which no shard at all had a reject.
"""

import collections
import contextlib
import statistics
import sys
import threading
import time

import confluent_kafka
import frame

PROCESSES, PARTITIONS, WORKERS = 3, 6, 1
PAUSE = 0.02  # s between the records of a partition
CALM = 2.0  # s before the first restart and after the last
WORST = frame.Row("rolling restart: longest stop of a shard", "s")
MEAN = frame.Row("rolling restart: longest stop of each shard, their mean", "s")
ALL = frame.Row("rolling restart: longest stop of all shards at once", "s")
ROWS = [WORST, MEAN, ALL]


class Load:
    """Sends broken credits to every partition, and notes when the reject of each is seen."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.seen = collections.defaultdict(list)  # by partition
        self.ended = threading.Event()
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": deployment.brokers, "group.id": f"{deployment.name}-listener",
            "enable.auto.commit": False, "isolation.level": "read_committed", "auto.offset.reset": "earliest"})
        self.consumer.assign([confluent_kafka.TopicPartition(deployment.topics["rejects"], partition, 0)
                              for partition in range(deployment.partitions)])
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self.send, self.listen)]

    def send(self):
        while not self.ended.wait(PAUSE):
            for partition in range(self.deployment.partitions):
                self.deployment.send_bytes("credits", b"\1broken", int(time.time() * 1000), "account", partition)
            self.deployment.producer.poll(0)

    def listen(self):
        while not self.ended.is_set():
            message = self.consumer.poll(0.1)
            if message and not message.error():
                self.seen[message.partition()].append(time.monotonic())
        self.consumer.close()

    @contextlib.contextmanager
    def running(self):
        for thread in self.threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in self.threads:
                thread.join()
            self.deployment.flush()

    def stops(self, since):
        def longest(times):
            times = sorted(each for each in times if each >= since)
            return max(after - before for before, after in zip(times, times[1:]))
        shards = [longest(times) for times in self.seen.values()]
        return {WORST: max(shards), MEAN: statistics.mean(shards),
                ALL: longest(each for times in self.seen.values() for each in times)}


def restart_all(bench, program):
    with bench.deployment(program, partitions=PARTITIONS, workers=WORKERS) as deployment:
        processes = [deployment.start() for _ in range(PROCESSES)]
        for process in processes:
            process.await_ready()
        load = Load(deployment)
        with load.running():
            deployment.until(lambda: len(load.seen) == PARTITIONS, *processes)
            since = time.monotonic()
            time.sleep(CALM)
            for number in range(PROCESSES):
                if processes[number].stop() != 0:
                    raise frame.Failed(f"settled did not end well:\n{processes[number].log[-3000:]}")
                processes[number] = deployment.start()
                processes[number].await_ready()
            time.sleep(CALM)
        for process in processes:
            process.stop()
        return load.stops(since)


def measure(bench):
    figures = frame.Figures(bench)
    for _ in bench.rounds():
        for who, program in bench.programs.items():
            figures.add(who, restart_all(bench, program))
    yield from figures.results()


if __name__ == "__main__":
    sys.exit(frame.script(__doc__, ROWS, measure))
