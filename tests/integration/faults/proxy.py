"""TCP proxies on 127.0.0.1 that a test cuts: in one direction or both, for a while or for good. The one for PostgreSQL
can also cut at a certain moment of the protocol. The one for Kafka is in kafka_proxy.py."""

import contextlib
import re
import socket
import threading

UP, DOWN = "up", "down"  # to the server; to the client


class Connection:
    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.create_connection(("127.0.0.1", proxy.target), timeout=10)
        self.server.settimeout(None)
        for socket_ in (client, self.server):
            socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        for way, source, target in ((UP, self.client, self.server), (DOWN, self.server, self.client)):
            threading.Thread(target=self.carry, args=(way, source, target), daemon=True).start()

    def carry(self, way, source, target):
        try:
            while data := source.recv(1 << 16):
                self.proxy.gates[way].wait()
                if not self.pass_on(way, data, target):
                    break
        except OSError:
            pass
        finally:
            self.ended(way)

    def pass_on(self, way, data, target):
        """False: nothing more will be carried in this direction."""
        target.sendall(data)
        return True

    def ended(self, way):
        self.close()

    def close(self):
        self.proxy.connections.discard(self)
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Proxy:
    connection_type = Connection

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.gates = {UP: threading.Event(), DOWN: threading.Event()}
        self.accepting = threading.Event()
        self.connections = set()
        self.heal()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            self.accepting.wait()
            try:
                connection = self.connection_type(self, client)
            except OSError:
                client.close()
                continue
            self.connections.add(connection)
            connection.start()

    def cut(self, ways=(UP, DOWN)):
        """Nothing passes in these directions any more, and neither side is told. New connections hang."""
        self.accepting.clear()
        for way in ways:
            self.gates[way].clear()

    def heal(self, reset=False):
        """What was held back passes; or the connections are gone, as after an outage that TCP did not survive."""
        if reset:
            for connection in list(self.connections):
                connection.close()
        for each in (*self.gates.values(), self.accepting):
            each.set()

    def close(self):
        self.listener.close()
        self.heal(reset=True)


class PostgresConnection(Connection):
    swallowing = False  # what the server answers is lost
    commit = None  # the name under which the COMMIT was prepared

    def pass_on(self, way, data, target):
        if way == UP and self.holds_commit(data) and self.proxy.take_commit():
            self.swallowing = True
        if way == DOWN and self.swallowing:
            committed = data.endswith(b"Z\0\0\0\5I")  # ready again, no transaction
            self.proxy.swallowed += committed
            return not committed
        return super().pass_on(way, data, target)

    def holds_commit(self, data):
        prepared = re.search(rb"(s\d+)\0commit\0", data)
        if prepared:
            self.commit = b"\0" + prepared.group(1) + b"\0"
            return True
        return self.commit is not None and self.commit in data


class PostgresProxy(Proxy):
    connection_type = PostgresConnection

    def __init__(self, target):
        self.lock = threading.Lock()
        self.commits_to_swallow = self.swallowed = 0
        super().__init__(target)

    def swallow_commit(self):
        """The answer to the next COMMIT is lost, and its connection with it."""
        with self.lock:
            self.commits_to_swallow += 1

    def take_commit(self):
        with self.lock:
            armed = self.commits_to_swallow > 0
            self.commits_to_swallow -= armed
            return armed
