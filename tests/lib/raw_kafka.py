"""Transactional requests made by hand, with Kafka's framing and nothing else. So a request can be sent when no client
would send it, with the producer id and epoch of a producer that is gone. There is one broker, which coordinates
everything."""

import socket
import struct
import time

PRODUCE, FIND_COORDINATOR, INIT_PRODUCER_ID = 0, 10, 22
ADD_PARTITIONS, ADD_OFFSETS, END, OFFSET_COMMIT = 24, 25, 26, 28

OK, COORDINATOR_LOADING, COORDINATOR_AWAY, NOT_COORDINATOR = 0, 14, 15, 16
INVALID_EPOCH, INVALID_MAPPING, CONCURRENT, FENCED = 47, 49, 51, 90
UNKNOWN_TOPIC, NOT_LEADER, NOT_ENOUGH_REPLICAS = 3, 6, 19  # the last also when a leader could not verify
LATER = {COORDINATOR_LOADING, COORDINATOR_AWAY, NOT_COORDINATOR, CONCURRENT, UNKNOWN_TOPIC, NOT_LEADER,
         NOT_ENOUGH_REPLICAS}

_CRC = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _CRC.append(_byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def text(value):
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def varint(number):
    number = number << 1 ^ number >> 63
    out = b""
    while True:
        byte, number = number & 0x7F, number >> 7
        out += bytes([byte | (0x80 if number else 0)])
        if not number:
            return out


def transactional_batch(value, producer_id, epoch, sequence):
    """A batch of one record."""
    record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", 0x10, 0, now, now, producer_id, epoch, sequence, 1) + varint(len(record)) + record
    return struct.pack(">qiibI", 0, 4 + 1 + 4 + len(body), -1, 2, crc32c(body)) + body


class Connection:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 30)
        self.number = 0

    def close(self):
        self.socket.close()

    def _take(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the broker closed the connection")
            data += more
        return data

    def ask(self, api, version, body):
        self.number += 1
        frame = struct.pack(">hhi", api, version, self.number) + text("raw") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        answer = self._take(struct.unpack(">i", self._take(4))[0])
        assert struct.unpack(">i", answer[:4])[0] == self.number
        return answer[4:]


def _error_of_one_partition(answer):
    """[topic [partition, error ...]], of one topic and one partition."""
    name = struct.unpack(">h", answer[4:6])[0]
    return struct.unpack(">h", answer[6 + name + 4 + 4:][:2])[0]


class Producer:
    """What one InitProducerId gave. Its requests return Kafka's error code."""

    def __init__(self, connection, transactional_id, topic, group, timeout_ms=60000):
        self.connection, self.id, self.topic, self.group = connection, transactional_id, topic, group
        for key, kind in ((transactional_id, 1), (group, 0)):
            self._later(lambda key=key, kind=kind: struct.unpack(
                ">h", connection.ask(FIND_COORDINATOR, 1, text(key) + bytes([kind]))[4:6])[0])
        self.sequence = 0
        self.producer_id = self.epoch = -1
        self.raise_epoch(timeout_ms)

    @staticmethod
    def _later(request):
        deadline = time.monotonic() + 30
        while (error := request()) in LATER and time.monotonic() < deadline:
            time.sleep(0.01)
        return error

    def raise_epoch(self, timeout_ms=60000):
        """Does what a fresh producer does; afterwards this one uses the new id and epoch."""
        assert self._later(lambda: self._init(timeout_ms)) == OK

    def _init(self, timeout_ms):
        answer = self.connection.ask(INIT_PRODUCER_ID, 0, text(self.id) + struct.pack(">i", timeout_ms))
        error, self.producer_id, self.epoch = struct.unpack(">hqh", answer[4:16])
        return error

    def _ours(self):
        return struct.pack(">qh", self.producer_id, self.epoch)

    def _partition(self):
        return struct.pack(">i", 1) + text(self.topic) + struct.pack(">ii", 1, 0)

    def add_partitions(self):
        """Asks again, as a client does, while the markers of the previous transaction are written."""
        return self._later(lambda: _error_of_one_partition(self.connection.ask(
            ADD_PARTITIONS, 0, text(self.id) + self._ours() + self._partition())[4:]))

    def produce(self, value, sequence=None):
        if sequence is None:
            sequence, self.sequence = self.sequence, self.sequence + 1
        batch = transactional_batch(value, self.producer_id, self.epoch, sequence)
        return self._later(lambda: _error_of_one_partition(self.connection.ask(
            PRODUCE, 3, text(self.id) + struct.pack(">hi", -1, 30000) + self._partition()
            + struct.pack(">i", len(batch)) + batch)))

    def add_offsets(self):
        return self._later(lambda: struct.unpack(">h", self.connection.ask(
            ADD_OFFSETS, 0, text(self.id) + self._ours() + text(self.group))[4:6])[0])

    def commit_offset(self, offset):
        return self._later(lambda: _error_of_one_partition(self.connection.ask(
            OFFSET_COMMIT, 0, text(self.id) + text(self.group) + self._ours() + self._partition()
            + struct.pack(">q", offset) + text(None))[4:]))

    def end(self, commit):
        return self._later(lambda: struct.unpack(">h", self.connection.ask(
            END, 0, text(self.id) + self._ours() + bytes([commit]))[4:6])[0])
