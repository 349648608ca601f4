#!/usr/bin/env python3
"""Throw-away services for tests and the demo: PostgreSQL, an Apache Kafka cluster, a schema registry.

As a command it starts what is asked for, runs a command beside it, and leaves nothing behind:

    services.py run [--postgres] [--kafka [N]] [--registry] [--logs DIR] -- COMMAND...

As a library:

    with Services() as services:
        kafka = services.kafka(nodes=3)
        kafka.nodes[0].kill()

Only the standard library is used, so that it runs before anything was installed for Python. Every service listens
on 127.0.0.1 at a free port, keeps its data in one temporary folder, and dies with the thread that started it
(PR_SET_PDEATHSIG): start services from a thread that outlives them.
"""

import argparse
import collections
import contextlib
import ctypes
import fcntl
import hashlib
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
REGISTRY_VERSION = "3.0.9"
START_SECONDS = 90
STOP_SECONDS = 30

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class ServiceError(Exception):
    """A service could not be had; the text names it, the reason and where to look."""


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


_reserved = collections.deque(maxlen=64)  # of ports that were given last, until their services have bound them


def _reserve(port):
    """So that no other process is given the port before a service that starts slowly has it: a name of which the kernel
    lets only one process have a socket, as long as that process lives. False: another one has it."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0settled-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved.append(name)
    return True


def free_port():
    """A free port below the range from which the kernel picks ports for outgoing connections: one of those could
    take a port between two starts of a service that must keep its address."""
    for _ in range(200):
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _reserve(port):
            return port
    raise ServiceError("no free TCP port between 15000 and 32000 on 127.0.0.1: stop what holds them")


def accepts_connections(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail(path, lines):
    try:
        return "".join(path.read_text(errors="replace").splitlines(keepends=True)[-lines:])
    except OSError:
        return ""


# --- what is downloaded ------------------------------------------------------------------------------------------


def _cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (pathlib.Path(base) / "settled", HERE.parents[1] / "build" / "cache"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise ServiceError(f"neither {base} nor build/ can be written: set XDG_CACHE_HOME to a folder that can")


def _passwd_home():
    """The home that Java, and so Maven, goes by, whatever $HOME says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/nonexistent"


def _maven(*arguments):
    if not shutil.which("mvn"):
        raise ServiceError("mvn is missing: run deploy/setup.sh test")
    command = ["mvn", "-q", "-B", *arguments]
    if not os.access(_passwd_home(), os.W_OK):
        command.append(f"-Dmaven.repo.local={_cache() / 'maven'}")
    done = None
    for attempt in range(3):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, preexec_fn=_die_with_parent)
        if done.returncode == 0:
            return
        time.sleep(3 * attempt)
    raise ServiceError(f"downloading failed three times: {' '.join(command)}\n{done.stdout[-3000:]}")


@contextlib.contextmanager
def _filling(name):
    """Yields (folder, to_fill): to_fill is None when the cache already holds `name`; otherwise it takes its place
    when the block ends well. One process at a time fills it."""
    cache = _cache()
    target = cache / name
    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            yield target, None
            return
        partial = pathlib.Path(tempfile.mkdtemp(dir=cache, prefix=f"{name}.partial-"))
        try:
            yield target, partial
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def kafka_jars():
    """The folder of the broker's jars, from Maven Central on first use."""
    pom = HERE / "pom.xml"
    with _filling("kafka-" + hashlib.sha256(pom.read_bytes()).hexdigest()[:12]) as (folder, to_fill):
        if to_fill:
            _maven("-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={to_fill}")
    return folder


def registry_folder():
    """The folder of the unpacked Apicurio registry, from Maven Central on first use."""
    with _filling(f"apicurio-{REGISTRY_VERSION}") as (folder, to_fill):
        if to_fill:
            archive = to_fill / "registry.tar.gz"
            # Plugin 2.8: later ones fail on a parent POM that was never published.
            _maven("org.apache.maven.plugins:maven-dependency-plugin:2.8:get", "-Dtransitive=false",
                   f"-Dartifact=io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all", f"-Ddest={archive}")
            with tarfile.open(archive) as opened:
                opened.extractall(to_fill)
            archive.unlink()
    return folder


# --- services ----------------------------------------------------------------------------------------------------


class Service:
    """One process with its log. A subclass says how it is started and when it is ready."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.log = folder.parent / f"{name}.log"
        self.logs = [self.log]
        self.process = None
        self._paused = False

    def command(self):
        raise NotImplementedError

    def ready(self):
        raise NotImplementedError

    def popen_options(self):
        return {}

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def spawn(self):
        """Starts the process without waiting until it is ready."""
        if self.running:
            raise ServiceError(f"{self.name} is running already (pid {self.process.pid})")
        self._paused = False
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True,
                                            preexec_fn=_die_with_parent, **self.popen_options())

    def wait_ready(self, seconds=START_SECONDS):
        deadline = time.monotonic() + seconds
        while not self.ready():
            if not self.running:
                raise ServiceError(f"{self.name} ended with status {self.process.returncode} while starting:\n"
                                   + tail(self.log, 40))
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} was not ready after {seconds} s:\n{tail(self.log, 40)}")
            time.sleep(0.05)

    def start(self):
        self.spawn()
        self.wait_ready()

    def stop(self, seconds=STOP_SECONDS):
        """Asks it to end and waits; one that does not is killed."""
        if not self.running:
            return
        self.cont()
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        """SIGKILL: what a crash of the machine's process looks like."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._paused = False

    def restart(self, kill=False):
        self.kill() if kill else self.stop()
        self.start()

    def pause(self):
        """SIGSTOP to the whole process group: it stays connected and answers nothing."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        self._paused = True

    def cont(self):
        if self._paused:
            os.killpg(self.process.pid, signal.SIGCONT)
            self._paused = False


def postgres_bin():
    """The folder of the newest PostgreSQL's programs."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path:
        return pathlib.Path(on_path).resolve().parent
    raise ServiceError("PostgreSQL is missing: run deploy/setup.sh test")


def _other_user():
    """PostgreSQL and PgBouncer refuse to run as root: a system user owns them then. Options of Popen."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    raise ServiceError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


class Postgres(Service):
    """A cluster of its own with the superuser `postgres`, no password, TCP only.

    Durable against a killed process, not against a power cut: fsync is off."""

    def __init__(self, folder, settings=None, name="postgres"):
        super().__init__(name, folder)
        self.port = free_port()
        self.bin = postgres_bin()
        self.data = folder / "data"
        self._settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "",
            "fsync": "off", "full_page_writes": "off", "dynamic_shared_memory_type": "mmap",
            "max_connections": 200, "timezone": "UTC", "log_line_prefix": "%m [%p] %a ", **(settings or {})}
        self._make()

    @property
    def dsn(self):
        return self.dsn_of("postgres")

    def dsn_of(self, database):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def popen_options(self):
        return _other_user()

    def _make(self):
        self.folder.mkdir(parents=True)
        options = self.popen_options()
        if options:
            os.chown(self.folder, options["user"], options["group"])
        done = subprocess.run([self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                               "--locale=C.UTF-8", "--no-sync", "--no-instructions"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        if done.returncode != 0:
            raise ServiceError(f"initdb failed:\n{done.stdout}")

    def command(self):
        return [self.bin / "postgres", "-D", self.data, *(f"-c{k}={v}" for k, v in self._settings.items())]

    def ready(self):
        return subprocess.run([self.bin / "pg_isready", "-q", "-d", self.dsn],
                              stdin=subprocess.DEVNULL, check=False).returncode == 0

    def stop(self, seconds=STOP_SECONDS):
        """The fast shutdown: sessions are ended, a checkpoint is written."""
        if self.running:
            self.cont()
            self.process.send_signal(signal.SIGINT)
        super().stop(seconds)

    def kill(self):
        """Kills the postmaster and what it forked: each of those leads a process group of its own.

        Until the last of them has ended, no other postmaster starts on the same data: their shared memory is in use. The
        postmaster stands still meanwhile, so that it forks none that is not listed."""
        forked = []
        if self.running:
            os.kill(self.process.pid, signal.SIGSTOP)
            forked = children(self.process.pid)
        super().kill()
        for pid in forked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while any(lives(pid) for pid in forked):
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} was killed, and what it forked has not ended within {STOP_SECONDS} s")
            time.sleep(0.01)

    # The postmaster stands still while what it forked is listed: else it reaps meanwhile, and the kernel's list leaves
    # out one that then stands still for ever.
    def pause(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        self._signal_forked(signal.SIGSTOP)
        self._paused = True

    def cont(self):
        if self._paused:
            self._signal_forked(signal.SIGCONT)
            os.kill(self.process.pid, signal.SIGCONT)
            self._paused = False

    def _signal_forked(self, number):
        for pid in children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def sql(self, statement, database="postgres"):
        """Runs a statement with psql and returns its rows as text, one a line."""
        done = subprocess.run([self.bin / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.dsn_of(database), "-c",
                               statement], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()


class PgBouncer(Service):
    """A pooler before a Postgres, for its superuser. pool_mode is session, transaction or statement."""

    def __init__(self, folder, postgres, pool_mode="session", name="pgbouncer", **settings):
        super().__init__(name, folder)
        self.port = free_port()
        self.postgres = postgres
        self.folder.mkdir(parents=True)
        (self.folder / "users.txt").write_text('"postgres" ""\n')
        self.set(pool_mode=pool_mode, **settings)

    def set(self, **settings):
        """Writes the settings; a pooler that runs takes them over at `reload`."""
        settings = {"listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "", "auth_type": "trust",
                    "auth_file": self.folder / "users.txt", "admin_users": "postgres", "default_pool_size": 40,
                    **settings}
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.postgres.port}\n\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in settings.items()))

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def dsn_of(self, database):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def popen_options(self):
        return _other_user()

    def command(self):
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if not program:
            raise ServiceError("PgBouncer is missing: run deploy/setup.sh test")
        return [program, self.folder / "pgbouncer.ini"]

    def ready(self):
        return accepts_connections(self.port)


class KafkaNode(Service):
    """A broker and KRaft controller in one process."""

    def __init__(self, cluster, number, folder):
        super().__init__(f"kafka-{number}", folder)
        self.cluster = cluster
        self.number = number
        self.port = free_port()
        self.controller_port = free_port()
        self.secured_port = free_port()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def secured_address(self):
        return f"127.0.0.1:{self.secured_port}"

    def _java(self, main, *arguments):
        return ["java", *self.cluster.jvm, f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "-cp",
                f"{self.cluster.jars}/*", main, *arguments]

    def make(self):
        """Writes its configuration and returns the process that formats its log folder."""
        self.folder.mkdir(parents=True)
        properties = self.configure()
        with open(self.log, "wb") as log:
            return subprocess.Popen(self._java("kafka.tools.StorageTool", "format", "-t", self.cluster.cluster_id,
                                               "-c", str(properties)), stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)

    def configure(self):
        """Writes what the node reads at its next start."""
        replicas = min(3, len(self.cluster.nodes))
        in_sync = 2 if replicas == 3 else 1
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters": ",".join(f"{n.number}@127.0.0.1:{n.controller_port}"
                                                 for n in self.cluster.nodes),
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "log",
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": 0,
            # Simulated days lie far from today: such timestamps are accepted, and nothing expires by them.
            "log.message.timestamp.after.max.ms": 2**63 - 1,
            "log.retention.ms": -1,
            **(self._secured() if self.cluster.users else {}),
            **self.cluster.settings,
        }
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return properties

    def _secured(self):
        """A second listener that asks for a user's password; to the authorizer all of the first one are superusers."""
        users = "".join(f' user_{name}="{password}"' for name, password in self.cluster.users.items())
        tls = {"ssl.keystore.type": "PEM", "ssl.keystore.location": self.cluster.certificate_with_key}
        return {
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self.controller_port},"
                         f"SECURED://{self.secured_address}",
            "advertised.listeners": f"PLAINTEXT://{self.address},SECURED://{self.secured_address}",
            "listener.security.protocol.map":
                f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:{self.cluster.security_protocol}",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secured.plain.sasl.jaas.config":
                f"org.apache.kafka.common.security.plain.PlainLoginModule required{users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            **(tls if self.cluster.certificate else {}),
        }

    def command(self):
        return self._java("kafka.Kafka", str(self.folder / "server.properties"))

    def spawn(self):
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        super().spawn()

    def ready(self):
        """The port opens before the broker is unfenced; its own word that it runs comes after."""
        if not accepts_connections(self.port):
            return False
        with open(self.log, "rb") as log:
            log.seek(self._log_from)
            return re.search(rb"KafkaRaftServer.* Kafka Server started", log.read()) is not None


def _self_signed(folder):
    """A certificate of 127.0.0.1 for TLS, and the file that has its key as well."""
    key, certificate, both = (folder / name for name in ("key.pem", "certificate.pem", "both.pem"))
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                           "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                           "-keyout", key, "-out", certificate],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceError(f"openssl made no certificate:\n{done.stderr}")
    both.write_text(key.read_text() + certificate.read_text())
    return certificate, both


class Kafka:
    """A cluster of one node or more; `brokers` is its bootstrap list.

    With `users` (name to password) there is a second one, `secured_brokers`: its clients log in by SASL/PLAIN, with
    `tls` over TLS by the certificate `certificate`, and may do what `allow` has granted them. Those of the first may do
    all."""

    FAST_START = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

    def __init__(self, folder, nodes=1, settings=None, jvm=FAST_START, users=None, tls=False):
        if not shutil.which("java"):
            raise ServiceError("java is missing: run deploy/setup.sh test")
        self.jars = kafka_jars()
        self.settings = settings or {}
        self.users = dict(users or {})
        self.certificate, self.certificate_with_key = _self_signed(folder) if tls else (None, None)
        self.jvm = list(jvm)
        self.cluster_id = "c2V0dGxlZC10ZXN0cy0wMQ"
        self.nodes = []
        self.nodes = [KafkaNode(self, number, folder / f"kafka-{number}") for number in range(1, nodes + 1)]
        self.logs = [node.log for node in self.nodes]
        formatting = [(node, node.make()) for node in self.nodes]
        for node, process in formatting:
            if process.wait() != 0:
                raise ServiceError(f"formatting the storage of {node.name} failed:\n{tail(node.log, 40)}")

    @property
    def brokers(self):
        return ",".join(node.address for node in self.nodes)

    @property
    def secured_brokers(self):
        return ",".join(node.secured_address for node in self.nodes)

    @property
    def security_protocol(self):
        return "SASL_SSL" if self.certificate else "SASL_PLAINTEXT"

    def login(self, user, password=None):
        """librdkafka's properties by which the user logs in at `secured_brokers`."""
        trust = {"ssl.ca.location": str(self.certificate)} if self.certificate else {}
        return {"security.protocol": self.security_protocol, "sasl.mechanism": "PLAIN", "sasl.username": user,
                "sasl.password": password or self.users[user], **trust}

    def change_password(self, user, password):
        """Restarts the cluster with another password of the user."""
        self.users[user] = password
        for node in self.nodes:
            node.configure()
        self.restart()

    def _acls(self, of, user, grants):
        """Each grant reads "OPERATION kind name": READ topic calls, WRITE transactional_id g-relay-* (a prefix),
        DESCRIBE_CONFIGS cluster."""
        import confluent_kafka.admin as kafka  # not of the standard library: only who grants something needs it
        made = []
        for grant in grants:
            operation, kind, name = (*grant.split(), "kafka-cluster")[:3]
            pattern = kafka.ResourcePatternType.PREFIXED if name.endswith("*") else kafka.ResourcePatternType.LITERAL
            resource = kafka.ResourceType["BROKER" if kind == "cluster" else kind.upper()]
            made.append(of(kafka)(resource, name.removesuffix("*"), pattern, f"User:{user}", "*",
                                  kafka.AclOperation[operation], kafka.AclPermissionType.ALLOW))
        return kafka.AdminClient({"bootstrap.servers": self.brokers}), made

    def allow(self, user, *grants):
        admin, acls = self._acls(lambda kafka: kafka.AclBinding, user, grants)
        for done in admin.create_acls(acls).values():
            done.result(20)
        self._follow_acls(user, grants, True)

    def forbid(self, user, *grants):
        """Takes back what was granted in the same words."""
        admin, acls = self._acls(lambda kafka: kafka.AclBindingFilter, user, grants)
        for grant, done in zip(grants, admin.delete_acls(acls).values()):
            if not done.result(20):
                raise ServiceError(f"{user} was not allowed to {grant}")
        self._follow_acls(user, grants, False)

    def _follow_acls(self, user, grants, there):
        """Until the broker goes by them: it follows the log of metadata, on a busy machine by a second."""
        admin, acls = self._acls(lambda kafka: kafka.AclBindingFilter, user, grants)
        deadline = time.monotonic() + 20
        while any(bool(admin.describe_acls(acl).result(20)) != there for acl in acls):
            if time.monotonic() > deadline:
                raise ServiceError(f"the broker does not follow what {user} may do")
            time.sleep(0.02)

    @property
    def running(self):
        return all(node.running for node in self.nodes)

    def create_topic(self, name, partitions, **config):
        """With Kafka's own tool, so that no client library is needed; `config` with _ for the dots."""
        settings = [each for key, value in config.items() for each in ("--config", f"{key.replace('_', '.')}={value}")]
        done = subprocess.run(["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{self.jars}/*",
                               f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
                               "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.brokers, "--create",
                               "--topic", name, "--partitions", str(partitions), *settings],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode != 0:
            raise ServiceError(f"creating the topic {name} failed:\n{done.stdout[-2000:]}")

    def spawn(self):
        for node in self.nodes:
            node.spawn()

    def wait_ready(self, seconds=START_SECONDS):
        for node in self.nodes:
            node.wait_ready(seconds)

    def start(self):
        self.spawn()
        self.wait_ready()

    def stop(self, seconds=STOP_SECONDS):
        """Asks all nodes first: the last of a quorum could not hand over what it leads, and would wait to."""
        self.cont()
        for node in self.nodes:
            if node.running:
                node.process.terminate()
        for node in self.nodes:
            node.stop(seconds)

    def kill(self):
        for node in self.nodes:
            node.kill()

    def restart(self, kill=False):
        self.kill() if kill else self.stop()
        self.start()

    def pause(self):
        for node in self.nodes:
            node.pause()

    def cont(self):
        for node in self.nodes:
            node.cont()


class Registry(Service):
    """An Apicurio registry at its Confluent interface: in memory, or at `storage` in a file that survives a kill.

    `properties` are added to its command line (authentication, TLS)."""

    def __init__(self, folder, storage=None, properties=None, name="registry"):
        super().__init__(name, folder)
        if not shutil.which("java"):
            raise ServiceError("java is missing: run deploy/setup.sh test")
        folder.mkdir(parents=True)
        self.port = free_port()
        self.unpacked = registry_folder()
        self._properties = {"quarkus.http.host": "127.0.0.1", "quarkus.http.port": self.port, **(properties or {})}
        if storage:
            self._properties["apicurio.datasource.url"] = f"jdbc:h2:file:{storage}"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def popen_options(self):
        return {"cwd": self.unpacked}

    def command(self):
        return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                *(f"-D{key}={value}" for key, value in self._properties.items()), "-jar",
                f"apicurio-registry-app-{REGISTRY_VERSION}-runner.jar"]

    def ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code == 401  # up, and asks who we are
        except OSError:
            return False


class Services:
    """Owns the temporary folder and everything started in it; leaving the block ends all of it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="settled-services-"))
        self.folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self.all = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _add(self, service):
        self.all.append(service)
        return service

    def _place(self, name):
        """A name no other service of this block has, and its folder."""
        number = sum(1 for service in self.all if type(service).__name__.lower() == name)
        return self.folder / (f"{name}-{number + 1}" if number else name)

    def postgres(self, start=True, **options):
        place = self._place("postgres")
        service = self._add(Postgres(place, name=place.name, **options))
        if start:
            service.start()
        return service

    def pgbouncer(self, postgres, **options):
        place = self._place("pgbouncer")
        service = self._add(PgBouncer(place, postgres, name=place.name, **options))
        service.start()
        return service

    def kafka(self, nodes=1, start=True, **options):
        place = self._place("kafka")
        place.mkdir()
        service = self._add(Kafka(place, nodes=nodes, **options))
        if start:
            service.start()
        return service

    def registry(self, start=True, **options):
        place = self._place("registry")
        service = self._add(Registry(place, name=place.name, **options))
        if start:
            service.start()
        return service

    def start(self):
        """Starts what was made with start=False, all of it side by side."""
        for service in self.all:
            service.spawn()
        for service in self.all:
            service.wait_ready()

    def logs(self):
        return [log for service in self.all for log in service.logs if log.exists()]

    def show_logs(self, lines, out=sys.stderr):
        for log in self.logs():
            print(f"--- the last lines of {log.name}", file=out)
            print(tail(log, lines), file=out, end="")

    def keep_logs(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.logs():
            shutil.copyfile(log, folder / "-".join(log.relative_to(self.folder).parts))

    def close(self):
        for service in reversed(self.all):
            service.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


# --- the command -------------------------------------------------------------------------------------------------


def children(pid):
    """The processes whose parent is `pid`."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def stat_of(pid):
    """What the kernel tells of a process in /proc/PID/stat, from its state on; nothing once it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def lives(pid):
    """Whether the process has not ended; one that nobody has reaped yet has."""
    fields = stat_of(pid)
    return bool(fields) and fields[0] not in "ZX"


def adopt_orphans():
    """What a command leaves running becomes a child of this process, where reap_all finds it."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_all():
    """Kills and reaps every child of this process."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        left = children(os.getpid())
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


class Stopped(Exception):
    """A signal asked this process to end; its argument is the signal's number."""


def stop_on_signals():
    """From now on SIGINT, SIGTERM and SIGHUP raise Stopped, once, in the main thread."""
    def stop(number, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the clean-up is not interrupted
        raise Stopped(number)

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)


def run_to_end(command, timeout=None, **options):
    """Runs a command in a session of its own and returns its status as a shell would give it. When this process is
    asked to end meanwhile, or the time is over (subprocess.TimeoutExpired), the session is ended first."""
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent, **options)
    try:
        status = process.wait(timeout)
        return 128 - status if status < 0 else status
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_asked(services, kafka=0, registry=False, postgres=False):
    """Starts them and returns the variables that tell a command about them."""
    variables = {}
    if kafka:
        variables["SETTLED_TEST_BROKERS"] = services.kafka(nodes=kafka, start=False).brokers
    if registry:
        variables["SETTLED_TEST_REGISTRY"] = services.registry(start=False).url
    if postgres:
        variables["SETTLED_TEST_DSN"] = services.postgres(start=False).dsn
    services.start()
    return variables


def _run(options):
    adopt_orphans()
    stop_on_signals()
    status = 1
    with Services() as services:
        try:
            variables = start_asked(services, options.kafka, options.registry, options.postgres)
            status = run_to_end(options.command, env={**os.environ, **variables})
        except Stopped as stopped:
            status = 128 + stopped.args[0]
        except (ServiceError, OSError) as error:
            print(f"services.py: {error}", file=sys.stderr)
            status = 69
        if status and not options.quiet:
            services.show_logs(15)
        if options.logs:
            services.keep_logs(options.logs)
    reap_all()
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="start services, run a command beside them, end everything; "
                                       "its status is the command's, 69 when a service could not be had")
    run.add_argument("--postgres", action="store_true", help="sets SETTLED_TEST_DSN (of a superuser)")
    run.add_argument("--kafka", nargs="?", type=int, const=1, default=0, metavar="NODES",
                     help="sets SETTLED_TEST_BROKERS")
    run.add_argument("--registry", action="store_true", help="sets SETTLED_TEST_REGISTRY")
    run.add_argument("--logs", type=pathlib.Path, metavar="DIR", help="copy the services' logs there at the end")
    run.add_argument("--quiet", action="store_true", help="do not show the ends of the logs when the command fails")
    run.add_argument("command", nargs="+")
    verbs.add_parser("fetch", help="download what the services need, and start nothing")
    options = parser.parse_args()
    if options.verb == "fetch":
        try:
            kafka_jars()
            registry_folder()
        except ServiceError as error:
            print(f"services.py: {error}", file=sys.stderr)
            return 69
        return 0
    return _run(options)


if __name__ == "__main__":
    sys.exit(main())
