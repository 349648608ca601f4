"""Requests of a relay's producer that arrive late, in a later transaction of the same producer or of the next one.

One request is kept on its way, and its connection is cut. librdkafka sends it again on another connection, succeeds,
and reports nothing. Then the kept request arrives on its old connection, at a chosen moment of the next transaction.
Kafka distinguishes producers by their epochs, but not transactions of one epoch. Afterwards every row must be in its
topic once, in order, and what is written must be published soon."""

import collections
import dataclasses
import io
import itertools
import os
import random
import threading
import time
import uuid

import confluent_kafka
import fastavro
import kafka_proxy
from deployment import OUTPUTS, SCHEMAS, alter_topic
from kafka_proxy import ADD_OFFSETS, ADD_PARTITIONS, END, INIT, OFFSET_COMMIT, PRODUCE
from oracle import rules

PATIENCE_SECONDS = 180  # on a busy machine, for a request to come by, and for what is written to be published
MARKERS_SECONDS = 0.05  # behind the answer to an EndTxn its markers are still written
FEED_SECONDS = 0.05
SPLIT_SECONDS = 6  # within which a batch must be too large, once its topic's limit is smaller
DEBTORS = 250  # for each shard: each account can be resumed once
REFUND = 100  # bytes of its own
PADDING, SMALL, USUAL = 500, 1500, 1048588  # bytes: of a reject, and what its topic takes: one of them, not three
GROUP_AUTHORIZATION_FAILED, INVALID_PRODUCER_EPOCH = 30, 47

# What is kept.
KINDS = {"commit": END, "abort": END, "produce": PRODUCE, "add-partitions": ADD_PARTITIONS, "add-offsets": ADD_OFFSETS,
         "offset-commit": OFFSET_COMMIT, "init": INIT}
# When it arrives: before the n-th such request of a transaction; "slowly" is when all else is answered before. Or
#   answered  as soon as the copy's transaction has its answer, before the client hears it: no new epoch can be there yet
#   next      before whatever the client sends next: a new epoch is on its way, or nothing is to come between
#   random    within 15 ms of that, and nothing else is held
#   idle      a while after all is published, with nothing to publish
MOMENTS = {"answered": None, "next": None, "random": None, "idle": None,
           "add-partitions 1": (ADD_PARTITIONS, 1), "add-partitions 2": (ADD_PARTITIONS, 2),
           "produce 1": (PRODUCE, 1), "produce 2": (PRODUCE, 2), "add-offsets 1": (ADD_OFFSETS, 1),
           "add-offsets 1 slowly": (ADD_OFFSETS, 1), "offset-commit 1": (OFFSET_COMMIT, 1), "end 1": (END, 1)}
# Of the processes: "before" as soon as the request is kept, "after" when the transaction it arrived in is committed and
# the relay does not know it yet.
KILLS = ("never", "before", "after")


@dataclasses.dataclass(frozen=True)
class Case:
    kind: str
    moment: str
    kill: str = "never"
    others: bool = True  # the other shards publish as well
    alone: bool = False  # rows go one by one, since a batch was too large for a topic

    def __str__(self):
        return (f"{self.kind} {'before ' if MOMENTS[self.moment] else ''}{self.moment}" + (f", killed {self.kill}" if self.kill != "never" else "") +
                ("" if self.others else ", other shards idle") + (", row by row" if self.alone else ""))


# The blind form knows nothing of the protocol: everything that is sent stalls, the connections to the clients are cut,
# and later all of it arrives.
BLIND = "blind"

# Every kind, and the cases that are known to lose or repeat rows if one epoch serves two transactions.
FIRST = [
    Case("commit", "produce 1"),
    Case("commit", "produce 2", others=False),
    Case("offset-commit", "end 1", "after"),
    Case("abort", "add-offsets 1 slowly"),
    Case("produce", "end 1"),
    Case("commit", "random", alone=True),
    Case("add-partitions", "idle", others=False),
    BLIND,
    Case("init", "produce 1"),
    Case("commit", "answered", others=False),
    Case("commit", "next", "before"),
    Case("abort", "end 1", others=False),
    Case("abort", "add-offsets 1 slowly", others=False, alone=True),
    Case("add-offsets", "produce 1", "before"),
    Case("offset-commit", "random", alone=True),
    Case("produce", "answered", alone=True),
    Case("commit", "random", others=False),
    Case("init", "random", "after"),
    Case("add-offsets", "next"),
    Case("commit", "produce 2", "after"),
]


def all_cases():
    """All cases in an order that is always the same: first those listed below, then the others at random, with some
    blind ones."""
    others = [Case(*each) for each in itertools.product(KINDS, MOMENTS, KILLS, (True, False), (False, True))]
    others = [case for case in others if case not in FIRST]
    random.Random("late").shuffle(others)
    for at in range(0, len(others), 25):
        others.insert(at, BLIND)
    return FIRST + others


class Attempt(kafka_proxy.Tap):
    """Keeps one request of a relay and delivers it late. Its stages, in this order:"""
    AWAITING, KEPT, OVER, DELIVERING, DELIVERED, KILLED = range(6)

    def __init__(self, client, case, rng, kill):
        super().__init__(client)
        self.case, self.rng, self.kill = case, rng, kill
        self.stage, self.lock = None, threading.Condition()
        self.kept = self.outcome = None
        self.splits = case.alone  # a batch will be too large, or was: then a transaction is aborted
        self.split = False
        self.denied = False
        self.sent, self.answered = collections.Counter(), collections.Counter()  # by kind, in the transaction under way
        self.under_way = set()
        self.log = collections.deque(maxlen=40)

    def arm(self):
        self.go_on(None, self.AWAITING)

    def go_on(self, before, after):
        """False: another thread was quicker, or it is not time for that."""
        with self.lock:
            if self.stage != before:
                return False
            self.stage = after
            self.lock.notify_all()
            return True

    def wait(self, stage, what):
        with self.lock:
            if not self.lock.wait_for(lambda: (self.stage or 0) >= stage, PATIENCE_SECONDS):
                raise AssertionError(f"{self.case}: {what} within {PATIENCE_SECONDS} s; stage {self.stage}, last seen: "
                                     f"{'; '.join(self.log)}")

    # --- what the proxy shows ---

    def on_request(self, request):
        if self.is_to_be_kept(request) and self.go_on(self.AWAITING, self.KEPT):
            self.kept = request
            if self.case.kill == "before":
                threading.Thread(target=self.killed_before, daemon=True).start()
            return True
        with self.lock:
            self.sent[request.api] += 1
            self.under_way.add(request)
            self.log.append(f"-> {request}")
        if self.stage == self.OVER:
            self.look_for_moment(request)
        return False

    def is_to_be_kept(self, request):
        if self.stage != self.AWAITING or request.api != KINDS[self.case.kind]:
            return False
        return request.api != END or request.committing == (self.case.kind == "commit")

    def killed_before(self):
        """The producer is gone, so nobody sends the request again: its epoch ends with that of the next producer."""
        self.kill()
        if self.go_on(self.KEPT, self.OVER) and self.case.moment == "answered":
            self.deliver_between()

    def look_for_moment(self, request):
        moment = self.case.moment
        if moment == "random":
            threading.Timer(self.rng.uniform(0, 0.015), self.deliver).start()
        elif moment == "next":
            self.deliver_between()
        elif MOMENTS[moment] == (request.api, self.sent[request.api]):
            slowly = moment.endswith("slowly")
            if not slowly or self.answered[ADD_PARTITIONS]:  # later requests of its connection wait, too
                self.wait_for_answers(request, slowly)
                self.deliver()

    def wait_for_answers(self, request, rows, seconds=1):
        """Waits until only this request is under way (a coordinator that is still writing refuses others) and, if
        wanted, until rows are acknowledged."""
        deadline, quiet = time.monotonic() + seconds, 0
        while quiet < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
            quiet = quiet + 1 if self.under_way <= {request} and (self.answered[PRODUCE] or not rows) else 0

    def deliver_between(self):
        """Between two transactions: while the coordinator still writes the end of the first, or when it has."""
        if self.rng.random() < 0.7:
            time.sleep(MARKERS_SECONDS)
        self.deliver()

    def deliver(self):
        if self.go_on(self.OVER, self.DELIVERING):
            self.outcome = self.kept.deliver()
            time.sleep(MARKERS_SECONDS)
            self.go_on(self.DELIVERING, self.DELIVERED)

    def on_answer(self, request):
        with self.lock:
            self.under_way.discard(request)
            self.answered[request.api] += 1
            self.log.append(f"<- {request} {request.error}")
        if request is self.kept:
            return
        self.provoke(request)
        if request.api == END and request.error == "NONE":
            self.split |= not request.committing
            self.sent.clear()
            self.answered.clear()
            if self.case.kill == "after" and request.committing and self.go_on(self.DELIVERED, self.KILLED):
                self.kill()
        over = INIT if self.case.kind == "init" else END
        if request.api == over and request.error == "NONE" and self.go_on(self.KEPT, self.OVER):
            if self.case.moment == "answered":
                self.deliver_between()

    def provoke(self, request):
        """Makes happen what would not happen by itself: an abort, by removing an ACL for a moment; a new producer."""
        if self.stage != self.AWAITING or self.denied or request.error != "NONE":
            return
        if self.case.kind == "abort" and not self.splits and request.api == OFFSET_COMMIT:
            self.denied = True
            request.refuse(GROUP_AUTHORIZATION_FAILED)
        if self.case.kind == "init" and request.api == ADD_PARTITIONS:
            self.denied = True
            request.refuse(INVALID_PRODUCER_EPOCH)


class Feeder:
    """Sends records that become rows of one shard: rejects, and resumptions of accounts in arrears, so that a
    transaction has rows of two topics. The rejected records are refunds, because no number of them holds a day."""

    def __init__(self, subject, shard, rejects=1):
        self.subject, self.shard, self.rejects = subject, shard, rejects
        self.account = subject.stream.accounts[shard][0]
        self.ended = threading.Event()
        self.thread = None

    def feed(self):
        deployment, now = self.subject.deployment, self.subject.stream.now - 1
        padding = PADDING - REFUND if self.rejects > 1 else 8
        for _ in range(self.rejects):
            deployment.send("credits", {
                "credit_id": "refund", "account_id": self.account, "kind": "TOP_UP", "amount": -1, "currency": "CNY",
                "credited_at": now, "reason": os.urandom(padding // 2).hex(), "reference": None}, now)
        if debtors := self.subject.debtors[self.shard]:
            debtor = debtors.pop()
            deployment.top_up(debtor, f"back-{debtor}", 10**9, now, now)
        self.subject.stream.flush()

    def run(self):
        while not self.ended.wait(FEED_SECONDS * (2 if self.rejects > 1 else 1)):
            self.feed()

    def start(self):
        self.ended.clear()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        self.ended.set()
        if self.thread:
            self.thread.join()


def lend(subject):
    """Makes accounts in every shard that use something once and are suspended for it."""
    stream, partitions = subject.stream, subject.deployment.partitions
    subject.debtors = {shard: [] for shard in range(partitions)}
    number = 0
    while any(len(each) < DEBTORS for each in subject.debtors.values()):
        name = f"debtor-{number}"
        number += 1
        shard = rules.murmur2(name.encode()) % partitions
        if len(subject.debtors[shard]) < DEBTORS:
            subject.debtors[shard].append(name)
            stream.extra.append(lambda t, account=name: stream.call(account, t, t, None))
    begun = stream.now
    stream.go_on()
    stream.pass_days(begun, 2)
    subject.converge()
    subject.published = Published(subject)
    subject.closing.callback(subject.published.close)
    subject.problems += subject.published.check()


class Published:
    """The rows of the output topics as a subscriber sees them; each case reads further."""

    def __init__(self, subject):
        self.deployment = subject.deployment
        self.seen = collections.defaultdict(dict)  # by shard: sequence -> topic
        self.last = collections.Counter()  # by topic and shard
        self.complete = collections.Counter()  # by shard: no row up to here is missing, or it was reported
        self.topics = {self.deployment.topics[key]: key for key in OUTPUTS}
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.deployment.brokers, "group.id": f"reader-{uuid.uuid4().hex}",
            "enable.auto.commit": False, "isolation.level": "read_committed", "fetch.wait.max.ms": 50})
        self.consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0)
                              for topic in self.topics for partition in range(self.deployment.partitions)])

    def check(self, seconds=10):
        """Returns new faults in the rows up to the marks. A transaction's marker may come a little later than the
        mark."""
        marks = dict(self.deployment.sql("select shard, relayed from settled.shards"))
        found, deadline = [], time.monotonic() + seconds
        while True:
            found += self.read_on()
            lost = {shard: [n for n in range(self.complete[shard] + 1, mark + 1) if n not in self.seen[shard]]
                    for shard, mark in marks.items()}
            if not any(lost.values()) or time.monotonic() > deadline:
                break
        for shard, mark in marks.items():
            self.complete[shard] = max(self.complete[shard], mark)
            if lost[shard]:
                found.append(f"shard {shard}: {len(lost[shard])} rows up to {mark} are lost: {lost[shard][:5]}")
        return found

    def read_on(self):
        """Reads until nothing comes for a moment."""
        found = []
        while messages := self.consumer.consume(1000, timeout=0.3):
            for message in messages:
                assert not message.error(), message.error()
                found += self.take(message)
        return found

    def take(self, message):
        key, shard = self.topics[message.topic()], message.partition()
        record = OUTPUTS[key]
        value = message.value()
        assert value[0] == 0 and int.from_bytes(value[1:5], "big") == SCHEMAS[record]
        body = fastavro.schemaless_reader(io.BytesIO(value[5:]), self.deployment.schemas[record], None)
        sequence, where = body["sequence"], f"shard {shard}: row {body['sequence']} at {key}/{message.offset()}"
        found = []
        if sequence in self.seen[shard]:
            found.append(f"{where} was in {self.seen[shard][sequence]} before")
        elif sequence <= self.last[key, shard]:
            found.append(f"{where} comes behind {self.last[key, shard]}")
        self.seen[shard][sequence] = key
        self.last[key, shard] = max(self.last[key, shard], sequence)
        return found

    def close(self):
        self.consumer.close()


# --- one case ---

def arrive_late(subject, rng, case):
    begun = time.monotonic()
    if case == BLIND:
        said = arrive_blindly(subject, rng)
    else:
        said = Trial(subject, rng, case).run()
    subject.stream.go_on()
    wait_published(subject)
    problems = subject.published.check()
    subject.problems += [f"late, {said}: {each}" for each in problems]
    said += f", {time.monotonic() - begun:.1f} s"
    return said + (f": {len(problems)} differences" if problems else "")


def wait_published(subject, shards=None):
    """I10: what is written by now is published within a bound."""
    wanted = dict(subject.deployment.sql("select shard, sequence from settled.shards"))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        relayed = dict(subject.deployment.sql("select shard, relayed from settled.shards"))
        lacking = {shard: (relayed[shard], wanted[shard]) for shard in shards or wanted if relayed[shard] < wanted[shard]}
        if not lacking:
            return
        if time.monotonic() > deadline:
            logs = "".join(f"\n--- process {slot.number}\n{slot.process.log[-3000:]}" for slot in subject.slots)
            raise AssertionError(f"I10: not published {PATIENCE_SECONDS} s later, by shard (so far, of): {lacking}{logs}")
        time.sleep(0.05)


def relay_client(subject, shard):
    return f"{subject.deployment.name}-relay-{shard}"


class Trial:
    def __init__(self, subject, rng, case):
        self.subject, self.rng, self.case = subject, rng, case
        self.shard = rng.randrange(subject.deployment.partitions)
        self.feeder = Feeder(subject, self.shard, rejects=3 if case.alone else 1)
        self.attempt = Attempt(relay_client(subject, self.shard), case, rng, self.kill)
        self.small = False

    def run(self):
        stream, attempt = self.subject.stream, self.attempt
        stream.go_on() if self.case.others else stream.hold()
        with self.subject.cluster.tapped(attempt):
            self.feeder.start()
            try:
                self.provoke()
                attempt.wait(attempt.KEPT, f"no {self.case.kind} came")
                self.arrive()
                if self.case.kill == "after":
                    attempt.wait(attempt.KILLED, "nothing was committed behind it")
            finally:
                self.feeder.stop()
                self.restore_limit()
        return f"{self.case} (shard {self.shard}): {attempt.outcome}"

    def provoke(self):
        """Rows are sent one by one after a batch was too large. That batch ends with an abort: the one to be kept, or
        an earlier one."""
        of_this = self.case.kind == "abort" or not self.case.alone
        if of_this:
            self.attempt.arm()
        if self.case.alone:
            self.limit(SMALL)
            self.attempt.splits = self.split_seen()
        if not of_this:
            self.attempt.arm()

    def split_seen(self):
        """False: batches should have been too large, but none was, because rows are sent one by one already."""
        deadline = time.monotonic() + SPLIT_SECONDS
        while time.monotonic() < deadline:
            if self.attempt.split or self.attempt.kept:
                return True
            time.sleep(0.02)
        return False

    def arrive(self):
        attempt = self.attempt
        if self.case.moment == "idle":
            attempt.wait(attempt.OVER, "its transaction did not end")
            self.feeder.stop()
            wait_published(self.subject, [self.shard])
            time.sleep(self.rng.uniform(0, 0.5))
            attempt.deliver()
            time.sleep(self.rng.uniform(0, 0.5))
            self.feeder.start()
        attempt.wait(attempt.DELIVERED, "it did not arrive")

    def limit(self, size):
        deployment = self.subject.deployment
        alter_topic(deployment.brokers, deployment.topics["rejects"], max_message_bytes=str(size))
        self.small = size == SMALL

    def restore_limit(self):
        if self.small:
            self.limit(USUAL)

    def kill(self):
        """Kills the process that has the shard; sometimes all. A process does not start while a topic's limit is too
        small."""
        self.restore_limit()
        owners = [slot for slot in self.subject.slots if self.owns(slot)]
        victims = self.subject.slots if self.rng.random() < 0.3 or not owners else owners
        for slot in victims:
            slot.kill()

    def owns(self, slot):
        try:
            return slot.process.metric("settled_shard_state", shard=str(self.shard), state="running") == 1
        except (OSError, AssertionError):  # it has just begun, or just ended
            return False


def arrive_blindly(subject, rng):
    """Stalls all relays' connections some times; what was sent before a cut arrives after it."""
    feeders = [Feeder(subject, shard) for shard in range(subject.deployment.partitions)]
    subject.stream.go_on()
    for feeder in feeders:
        feeder.start()
    late, events = collections.Counter(), rng.randrange(3, 6)
    try:
        for _ in range(events):
            time.sleep(rng.uniform(0.5, 1))
            late += stall(subject, rng)
    finally:
        for feeder in feeders:
            feeder.stop()
    return f"{BLIND}, {events} stalls: " + ", ".join(f"{count} {what}" for what, count in sorted(late.items()))


def stall(subject, rng):
    """Counts what arrived after the cut, with its answer."""
    clients = [relay_client(subject, shard) for shard in range(subject.deployment.partitions)]
    connections = [each for client in clients for each in subject.cluster.proxied_connections(client)]
    for connection in connections:
        connection.hold()
    time.sleep(rng.uniform(0.03, 0.08))
    for connection in connections:
        connection.cut_client()
    time.sleep(rng.uniform(0.02, 0.15))
    late = []
    for connection in connections:
        try:
            late += connection.release()
        except OSError:
            continue  # the broker has closed it
    deadline = time.monotonic() + 3
    late = [request for request in late if request.api in kafka_proxy.NAMES]
    for request in late:
        request.answered.wait(max(0.0, deadline - time.monotonic()))
    for connection in connections:
        connection.close()
    return collections.Counter(f"{kafka_proxy.NAMES[request.api]} {request.error}" for request in late)
