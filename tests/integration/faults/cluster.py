"""Three real Kafka brokers and as many PostgreSQL servers as worlds want, whose processes tests kill and start again."""

import concurrent.futures
import contextlib
import os
import pathlib
import subprocess
import threading
import time

import confluent_kafka
import confluent_kafka.admin
import services
from kafka_proxy import KafkaProxy

BROKER_SETTINGS = {
    "group.min.session.timeout.ms": 1000,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    "unclean.leader.election.enable": "false",
    "num.network.threads": 2, "num.io.threads": 4, "log.cleaner.enable": "false",
}


class Cluster:
    """Services die with the thread that started them, and worlds come and go: one thread starts them all."""

    def __init__(self, brokers=3):
        self.services = services.Services()
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.lock = threading.Lock()
        self.mounts, self.proxies, self.taps = [], [], []
        self.kafka = self.do(self.services.kafka, nodes=brokers, start=False, settings=BROKER_SETTINGS)
        for node in self.kafka.nodes:
            self.open_second_listener(node)
        self.do(self.kafka.start)

    def do(self, what, *arguments, **options):
        return self.thread.submit(lambda: what(*arguments, **options)).result()

    def open_second_listener(self, node):
        """Who connects to it is told of the brokers' proxies, not of the brokers."""
        node.proxied_port = services.free_port()
        node.proxy = KafkaProxy(node.proxied_port, self.taps)
        self.proxies.append(node.proxy)
        with open(node.folder / "server.properties", "a") as properties:
            properties.write(
                f"listeners=PLAINTEXT://{node.address},PROXIED://127.0.0.1:{node.proxied_port},"
                f"CONTROLLER://127.0.0.1:{node.controller_port}\n"
                f"advertised.listeners=PLAINTEXT://{node.address},PROXIED://127.0.0.1:{node.proxy.port}\n"
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
                "inter.broker.listener.name=PLAINTEXT\n")

    @property
    def brokers(self):
        return self.kafka.brokers

    @property
    def proxied_brokers(self):
        return ",".join(f"127.0.0.1:{node.proxy.port}" for node in self.kafka.nodes)

    @contextlib.contextmanager
    def tapped(self, tap):
        """Shows it what its client sends and is answered through the proxies."""
        self.taps.append(tap)
        try:
            yield tap
        finally:
            self.taps.remove(tap)

    def proxied_connections(self, client):
        return [each for proxy in self.proxies for each in list(proxy.connections) if each.client_name == client]

    # --- PostgreSQL ---

    def postgres(self, **options):
        with self.lock:
            return self.do(self.services.postgres, **options)

    def small_postgres(self, megabytes):
        """One whose data has a file system of its own. None when this user may not mount one."""
        with self.lock:
            folder = self.services.folder / f"small-{len(self.mounts)}"
            folder.mkdir()
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "settled", folder],
                                     capture_output=True, check=False)
            if mounted.returncode != 0:
                return None
            self.mounts.append(folder)
            settings = {"min_wal_size": "32MB", "max_wal_size": "64MB"}
            service = services.Postgres(folder / "postgres", settings, name="postgres-small")
            service.log = self.services.folder / f"{folder.name}.log"  # the log is not to fill the disk
            service.logs = [service.log]
            self.services.all.append(service)
            self.do(service.start)
            return service

    def standby(self, primary):
        """An asynchronous standby of the primary, streaming."""
        with self.lock:
            service = self.do(Standby, self.services.folder / f"standby-of-{primary.name}", primary)
            self.services.all.append(service)
            self.do(service.start)
            return service

    # --- Kafka's insides ---

    def metadata(self, brokers=None):
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": brokers or self.brokers}).list_topics(timeout=30)

    def await_topics(self, names, seconds=60):
        """Until every broker knows them: the controller's answer is some way ahead of the brokers'."""
        deadline = time.monotonic() + seconds
        for node in self.kafka.nodes:
            while not set(names) <= self.metadata(node.address).topics.keys():
                if time.monotonic() > deadline:
                    raise AssertionError(f"{node.name} does not know the topics after {seconds} s")
                time.sleep(0.1)

    def leader(self, topic, partition):
        return self.node(self.metadata().topics[topic].partitions[partition].leader)

    def coordinator(self, topic, name):
        """Of a group (__consumer_offsets) or a transactional id (__transaction_state): by Java's hash of its name."""
        value = 0
        for character in name:
            value = (31 * value + ord(character)) & 0xFFFFFFFF
        if value >= 1 << 31:
            value -= 1 << 32
        return self.leader(topic, (value & 0x7FFFFFFF) % len(self.metadata().topics[topic].partitions))

    def node(self, number):
        return next(node for node in self.kafka.nodes if node.number == number)

    def wait_in_sync(self, seconds=60):
        """Until every partition has all of its replicas again: else the next broker to go takes the last one along."""
        deadline = time.monotonic() + seconds
        while True:
            lacking = [f"{name}/{p.id}" for name, topic in self.metadata().topics.items()
                       for p in topic.partitions.values() if len(p.isrs) < len(p.replicas)]
            if not lacking:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"replicas are missing after {seconds} s: {lacking[:10]}")
            time.sleep(0.3)

    def close(self):
        for proxy in self.proxies:
            proxy.close()
        self.services.close()
        for mount in self.mounts:
            subprocess.run(["umount", "-l", mount], check=False)
        self.thread.shutdown()


class Standby(services.Postgres):
    def __init__(self, folder, primary):
        self.primary = primary
        super().__init__(folder, name=folder.name)

    def _make(self):
        self.folder.mkdir(parents=True)
        options = self.popen_options()
        if options:
            os.chown(self.folder, options["user"], options["group"])
        done = subprocess.run([self.bin / "pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast",
                               "-d", self.primary.dsn], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, **options)
        if done.returncode != 0:
            raise services.ServiceError(f"pg_basebackup: {done.stderr}")

    def lag(self):
        """Stops following the primary."""
        self.sql("alter system set primary_conninfo = ''")
        self.sql("select pg_reload_conf()")
        deadline = time.monotonic() + 20
        while self.sql("select count(*) from pg_stat_wal_receiver") != "0":
            if time.monotonic() > deadline:
                raise AssertionError("the standby goes on receiving")
            time.sleep(0.1)

    def promote(self):
        self.sql("select pg_promote()")


def clock_file(path, milliseconds):
    """The eight bytes that SETTLED_FAULT_CLOCK names."""
    path = pathlib.Path(path)
    if not path.exists():
        path.write_bytes(milliseconds.to_bytes(8, "little"))
    with open(path, "r+b") as file:
        file.write(milliseconds.to_bytes(8, "little"))
