"""A proxy before a Kafka broker that understands the framing: it can keep a request of a transactional producer, cut that
connection, so that the client sends the request again on another, and deliver the kept one late, on the connection it was
written to: as a load balancer, a stalled buffer or a slow route would.

To do this, derive from Tap: the threads that carry the requests and answers of one client show each of them to the Tap.
While the Tap works, they wait."""

import contextlib
import socket
import struct
import threading

import confluent_kafka
from proxy import DOWN, UP, Connection, Proxy

PRODUCE, INIT, ADD_PARTITIONS, ADD_OFFSETS, END, OFFSET_COMMIT = 0, 22, 24, 25, 26, 28
NAMES = {PRODUCE: "Produce", INIT: "InitProducerId", ADD_PARTITIONS: "AddPartitionsToTxn", ADD_OFFSETS: "AddOffsetsToTxn",
         END: "EndTxn", OFFSET_COMMIT: "TxnOffsetCommit"}
# The first versions whose strings, arrays and headers are in the compact encoding.
FLEXIBLE = {PRODUCE: 9, INIT: 2, ADD_PARTITIONS: 3, ADD_OFFSETS: 3, END: 3, OFFSET_COMMIT: 3}
ANSWER_SECONDS = 15


class Fields:
    """Reads one field after the other from a frame."""

    def __init__(self, frame, at, flexible):
        self.frame, self.at, self.flexible = frame, at, flexible

    def take(self, layout):
        value, = struct.unpack_from(">" + layout, self.frame, self.at)
        self.at += struct.calcsize(">" + layout)
        return value

    def length(self, layout):
        """Of a string (h) or an array (i)."""
        if not self.flexible:
            return max(self.take(layout), 0)
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return max(value - 1, 0)

    def string(self):
        size = self.length("h")
        self.at += size
        return self.frame[self.at - size:self.at].decode("utf-8", "replace")

    def tags(self):
        """Nobody sends any, so only their number (0) is there."""
        if self.flexible:
            self.take("B")


class Request:
    def __init__(self, frame, connection):
        self.frame, self.connection = frame, connection
        fields = Fields(frame, 4, False)
        self.api, self.version, self.correlation = fields.take("h"), fields.take("h"), fields.take("i")
        self.client = fields.string()
        self.flexible = self.version >= FLEXIBLE.get(self.api, 1 << 15)
        self.body = fields.at + self.flexible  # a header of the compact encoding ends with tags
        self.answer = None
        self.answered = threading.Event()

    @property
    def committing(self):
        """Of an EndTxn: whether it commits (otherwise it aborts)."""
        fields = Fields(self.frame, self.body, self.flexible)
        fields.string()
        fields.take("q")
        fields.take("h")
        return fields.take("B") == 1

    def error_place(self):
        """Where in the answer its first error code is."""
        fields = Fields(self.answer, 8, self.flexible)
        fields.tags()
        if self.api != PRODUCE:
            fields.take("i")  # how long the broker held it back
        if self.api in (PRODUCE, ADD_PARTITIONS, OFFSET_COMMIT):
            fields.length("i")
            fields.string()
            fields.length("i")
            fields.take("i")
        return fields.at

    @property
    def error(self):
        """What the broker answered, in Kafka's words."""
        if self.answer is None:
            return "no answer"
        code, = struct.unpack_from(">h", self.answer, self.error_place())
        return "NONE" if code == 0 else confluent_kafka.KafkaError(code).name()

    def refuse(self, code):
        """The client gets another error than the broker's."""
        at = self.error_place()
        self.answer = self.answer[:at] + struct.pack(">h", code) + self.answer[at + 2:]

    def deliver(self):
        """Delivers it late, on the connection to which it was written. Returns what the broker answers."""
        try:
            self.connection.send(self)
        except OSError as error:
            return f"not delivered: {error}"
        self.answered.wait(ANSWER_SECONDS)
        return self.error

    def __str__(self):
        name = NAMES.get(self.api, f"request {self.api}")
        if self.api == END:
            name += "(commit)" if self.committing else "(abort)"
        return f"{name} v{self.version}"


class Tap:
    """Sees the requests of one client that is a transactional producer, and their answers."""

    def __init__(self, client):
        self.client = client

    def on_request(self, request):
        """True: it is kept, and its connection cut."""
        return False

    def on_answer(self, request):
        """Called before the client gets the answer; request.refuse changes it."""


class KafkaConnection(Connection):
    def __init__(self, proxy, client):
        super().__init__(proxy, client)
        self.rest = {UP: bytearray(), DOWN: bytearray()}
        self.waiting = {}  # by correlation id
        self.cut = False  # the client's side is; what it had sent may still arrive
        self.held = None  # what waits to go up, while all of it has to
        self.client_name = None
        self.lock = threading.Lock()

    def pass_on(self, way, data, target):
        rest = self.rest[way]
        rest += data
        while len(rest) >= 4 and len(rest) >= (size := 4 + int.from_bytes(rest[:4], "big")):
            frame = bytes(rest[:size])
            del rest[:size]
            if way == DOWN:
                self.take_answer(frame)
            elif not self.take_request(Request(frame, self)):
                return False
        return True

    def take_request(self, request):
        self.client_name = request.client
        if self.held is not None:
            self.held.append(request)
            return True
        for tap in self.proxy.taps_of(request):
            if tap.on_request(request):
                self.cut_client()
                return False
        self.send(request)
        return True

    def send(self, request):
        with self.lock:
            self.waiting[request.correlation] = request
            self.server.sendall(request.frame)

    def take_answer(self, frame):
        request = self.waiting.pop(int.from_bytes(frame[4:8], "big"), None)
        if request:
            request.answer = frame
            request.answered.set()
            for tap in self.proxy.taps_of(request):
                tap.on_answer(request)
            frame = request.answer
        try:
            if not self.cut:
                self.client.sendall(frame)
        except OSError:
            if not self.cut:
                raise

    # --- lateness ---

    def cut_client(self):
        self.cut = True
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)

    def hold(self):
        self.held = []

    def release(self):
        """Lets what was held arrive."""
        held, self.held = self.held, None
        for request in held:
            self.send(request)
        return held

    def ended(self, way):
        if not (self.cut and way == UP):
            self.close()


class KafkaProxy(Proxy):
    """`taps` is a list that the proxies of a cluster share."""
    connection_type = KafkaConnection

    def __init__(self, target, taps):
        self.taps = taps
        super().__init__(target)

    def taps_of(self, request):
        return [tap for tap in self.taps if tap.client == request.client and request.api in NAMES]
