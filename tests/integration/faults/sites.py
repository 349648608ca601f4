"""What sites do to it: a database that takes no writes for a while, transactions that are left open over a cutoff, records at
the bounds of what one may cost, a registry that answers anything."""

import itertools
import re
import time
import uuid

import confluent_kafka
from deployment import ROOT
from fake_registry import Answer
from subject import wait_for


class Said:
    """What the processes have said since it was made."""

    def __init__(self, subject):
        self.subject = subject
        self.before = {slot: (slot.process, len(slot.process.lines)) for slot in subject.slots}

    def has(self, pattern):
        for slot, (process, count) in self.before.items():
            lines = slot.process.lines[count if slot.process is process else 0:]
            if any(re.search(pattern, line) for line in lines):
                return True
        return False

    def wait_for(self, pattern):
        wait_for(lambda: self.has(pattern), 60,
                 lambda: "\n".join([f"nobody says {pattern!r}", *(slot.process.log[-2000:] for slot in self.subject.slots)]))


# --- a database that takes no writes ---

SETTING, STANDBY, RESTARTED = "set read-only", "failed over to a read-only standby", "back as a read-only one"


def follow(subject):
    """A standby that follows. Only the process behind the proxy ever sees it."""
    subject.standby = subject.cluster.standby(subject.postgres)
    subject.closing.callback(lambda: subject.cluster.do(subject.standby.kill))


def turn_read_only(subject, rng, way):
    """Each way ends with a process that says so; then all is as before."""
    postgres, said = subject.postgres, Said(subject)
    time.sleep(rng.uniform(0, 1))
    if way == STANDBY:
        lead(subject, subject.standby)
    else:
        set_read_only(postgres, "on")
        if way == RESTARTED:
            postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                         f" where datname = '{subject.database}' and pid <> pg_backend_pid()")
    said.wait_for("the database does not answer, trying on.*(read-only|read-write)")
    seconds = rng.uniform(0.5, 5)
    time.sleep(seconds)
    if way == STANDBY:
        lead(subject, postgres)
    else:
        set_read_only(postgres, "off")
    return f"{way}, for {seconds:.1f} s"


def lead(subject, postgres):
    """The proxy leads to this server from now on, as an address does that moves."""
    subject.proxy.target = postgres.port
    subject.proxy.heal(reset=True)


def set_read_only(postgres, value):
    postgres.sql(f"alter system set default_transaction_read_only = {value}")
    postgres.sql("select pg_reload_conf()")


# --- a transaction left open over a cutoff ---

OPEN_WAIT = 12  # seconds, run.open_transaction_wait
OPEN_ENDS = [("credits", "aborted"), ("purchases", "committed"), ("credits", "left alone"),
             ("purchases", "aborted"), ("credits", "committed"), ("purchases", "left alone")]


def leave_open(subject, rng, variant):
    """A day ends while a record stands in a transaction that nobody ends yet. Nothing behind it may be left out, unless it
    stays open for longer than anybody waits."""
    key, ends = variant
    stream, deployment, said = subject.stream, subject.deployment, Said(subject)
    partition, begun = rng.randrange(deployment.partitions), stream.now
    producer, offset = open_transaction(subject, key, rng.choice(stream.accounts[partition]), begun)
    try:
        if rng.random() < 0.5:
            rng.choice(subject.slots).kill()
        if ends == "left alone":
            said.wait_for("a transaction stays open, and the day is cut before it")
        else:
            stream.pass_days(begun, 1)
            time.sleep(rng.uniform(0, 1))
        beyond = deployment.sql("select business_day, to_offset from settled.day_cutoffs where topic = %s and shard = %s"
                                " and from_offset <= %s and to_offset > %s",
                                deployment.topics[key], partition, offset, offset)
        subject.problems += [f"the cutoff {each} went past an open transaction at {key}/{partition}/{offset}" for each in beyond]
    finally:
        producer.commit_transaction(30) if ends == "committed" else producer.abort_transaction(30)
    waited = "cut before it" if said.has("the day is cut before it") else "waited for"
    return f"{key}/{partition}/{offset}, {ends}, {waited}"


def open_transaction(subject, key, account, now):
    """Returns its producer, and where its only record stands: a good one, which counts if it is committed."""
    common = {"account_id": account, "currency": "CNY"}
    record = {
        "credits": {**common, "credit_id": f"open-{now}", "kind": "TOP_UP", "amount": 12_345, "credited_at": now,
                    "reason": None, "reference": None},
        "purchases": {**common, "purchase_id": f"open-{now}", "service": "AUDIENCE_INSIGHT", "units": 50, "used": 0,
                      "amount": 10_000_000, "purchased_at": now}}[key]
    producer = confluent_kafka.Producer({
        "bootstrap.servers": subject.cluster.brokers, "partitioner": "murmur2_random",
        "transactional.id": f"open-{uuid.uuid4().hex}", "transaction.timeout.ms": 300_000})
    producer.init_transactions(60)
    producer.begin_transaction()
    stands = []
    producer.produce(subject.deployment.topics[key], subject.deployment.encoded(key, record), account, timestamp=now,
                     on_delivery=lambda error, sent: stands.append(error or sent.offset()))
    producer.flush(60)
    if not stands or not isinstance(stands[0], int):
        raise AssertionError(f"the record of an open transaction was not delivered: {stands}")
    return producer, stands[0]


# --- the bounds of what a record may cost ---

AMOUNT_MAX, LEADS_MAX, PRICE_MAX = 10**13, 10**9, 10**9  # fen, leads, fen a unit
LEAD_PRICE = 10_001  # fen: the largest number of leads costs more than a call may
LEADS = AMOUNT_MAX // LEAD_PRICE


def dearest_book():
    """The price book with the highest price there is, and one at which the largest call is just too dear."""
    text = (ROOT / "pricing" / "pricebooks" / "apcas.yaml").read_text()
    for before, after in (("unit_price: 2200", f"unit_price: {PRICE_MAX // 100}"),
                          ("unit_price: 2.5", f"unit_price: {LEAD_PRICE / 100}")):
        if text.count(before) != 1:
            raise AssertionError(f"the price book has no line of its own with {before!r}")
        text = text.replace(before, after)
    return text


def go_to_the_bounds(subject, rng, _):
    """In every shard: as much as a record may be, and one more than that. Both processes may be killed on it."""
    stream, deployment = subject.stream, subject.deployment
    for accounts in stream.accounts.values():
        account = rng.choice(accounts)
        for leads in (LEADS, LEADS, LEADS - 1):
            stream.extra.append(lambda t, a=account, n=leads: stream.call(a, t, t, n))
        for _ in range(10):
            stream.extra.append(lambda t, a=account: stream.call(a, t, t, None))
        for leads in (LEADS + 1, LEADS_MAX, LEADS_MAX + 1, 2**63 - 1):
            stream.extra.append(lambda t, a=account, n=leads: deployment.call(a, f"beyond-{n}-{t}", t, n, t))
        for amount in (AMOUNT_MAX, AMOUNT_MAX + 1, 2**63 - 1):
            stream.extra.append(lambda t, a=account, n=amount: deployment.top_up(a, f"top-{n}-{t}", n, t, t))
        for amount in (AMOUNT_MAX, -AMOUNT_MAX, -AMOUNT_MAX - 1, -2**63):
            stream.extra.append(lambda t, a=account, n=amount: deployment.send("credits", {
                "credit_id": f"adjust-{n}-{t}", "account_id": a, "kind": "ADJUSTMENT", "amount": n, "currency": "CNY",
                "credited_at": t, "reason": "an opening balance", "reference": None}, t))
    wait_for(lambda: not stream.extra or stream.error, 60, lambda: "the stream does not take the records")
    time.sleep(rng.uniform(0, 2))
    victims = subject.slots if rng.random() < 0.3 else [rng.choice(subject.slots)]
    for slot in victims:
        slot.kill()
    return f"calls of {LEADS * LEAD_PRICE} fen in every shard, {len(victims)} killed"


# --- a registry that answers anything ---

SENT = ("whole", "chunked", "compressed", "cut off", "at last")
CELL = re.compile(r'^    \{(\d+), (NULL|SCHEMA|CODED|"(?:[^"\\]|\\.)*"), (WAIT|CONFIG|REGISTRY_\w+)', re.MULTILINE)


def wrong_answers():
    """(status, body) of the table by which the unit test goes, but for those that hold a schema: another schema than the
    right one would be believed."""
    source = (ROOT / "tests" / "unit" / "test_registry_answer.c").read_text()
    coded = re.search(r'^#define CODED (".*")$', source, re.MULTILINE).group(1)
    found = []
    for status, body, meaning in CELL.findall(source):
        if meaning != "REGISTRY_FOUND" and body != "SCHEMA":
            text = coded if body == "CODED" else body
            found.append((int(status), b"" if text == "NULL" else text[1:-1].replace('\\"', '"').encode()))
    if len(found) < 30:
        raise AssertionError(f"only {len(found)} answers were found in the unit test's table")
    return found


def answer_anything(subject, rng, _):
    """The registry answers anything for a while, shorter than the ten seconds after which an id counts as unknown. Meanwhile
    every shard has a call whose schema nobody has seen. A process that only starts would take some of the answers for a
    configuration that is wrong."""
    stream, registry = subject.stream, subject.registry
    wait_for(lambda: all("message=started" in slot.process.log for slot in subject.slots), 60, lambda: "a process does not start")
    some = [Answer(status, body, rng.choice(SENT), rng.choice([None, None, "1"])) for status, body in wrong_answers()]
    rng.shuffle(some)
    registry.script = itertools.cycle(some)
    before = len(registry.asked)
    for accounts in stream.accounts.values():
        number = 100 + len(subject.schemas)
        subject.add_schema(number)
        registry.schemas[number] = subject.schemas[number]
        stream.extra.append(lambda t, a=accounts[0], n=number: stream.call(a, t, t, None, n))
    begun = time.monotonic()
    wait_for(lambda: len(registry.asked) > before, 60, lambda: "nobody asks the registry for a schema")
    time.sleep(rng.uniform(1, 6))
    given = len(registry.asked) - before
    registry.script = None
    return f"{given} wrong answers within {time.monotonic() - begun:.1f} s"
