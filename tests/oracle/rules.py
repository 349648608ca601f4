"""The billing rules a second time, record by record and day by day, as plainly as possible.

Input is what the topics delivered, when it was read (drains, each with its clock and the ends of the logs), what
operators decided, and the parameters and price books that were recorded. Output is every row and every message that
must be there. Nothing is fast, nothing is shared with the program. Numbers such as R7 are those of pricing/README.md.
"""

import copy
import datetime
import decimal
import hashlib
import io
import json
import urllib.parse
import zlib

import fastavro
import yaml

from . import avro

DAY = 86_400_000
ZONE = 8 * 3_600_000  # R22: Asia/Shanghai has no daylight saving
CALLS, PURCHASES, CREDITS = "calls", "purchases", "credits"
LOGS = (CALLS, PURCHASES, CREDITS)
RECORDS = {CALLS: "CallRecord", PURCHASES: "PackagePurchase", CREDITS: "AccountCredit"}
ID = {CALLS: "call_id", PURCHASES: "purchase_id", CREDITS: "credit_id"}
TIME = {CALLS: "occurred_at", PURCHASES: "purchased_at", CREDITS: "credited_at"}
SERVICES = {"AUDIENCE_INSIGHT": "call", "PURCHASE_INTENT": "lead"}  # what a call is counted in, in the order of the enum
BROKEN = {"UNDECODABLE", "UNKNOWN_SCHEMA", "INCOMPATIBLE_SCHEMA", "MISROUTED", "INVALID"}
REFUSED = {"FROM_FUTURE", "TOO_LATE", "NOT_FOR_SALE", "CONFLICT"}
GROUPS = {"broken": (BROKEN, "share"), "refused": (REFUSED, "refused_share")}  # R50
NOTICES = ("PACKAGE_LOW", "PACKAGE_EXPIRING", "PACKAGE_EXPIRED", "BALANCE_LOW")
LIMITS = ("package_left", "expiring_days", "balance_below")
HOLD_MINIMUM = {CALLS: 100, PURCHASES: 10, CREDITS: 10}
DEAREST = 10**13  # fen
# A value whose schema is told there has no framing.
ID_HEADERS = {"__value_schema_id"} | {f"apicurio.value.{name}" for name in (
    "globalId", "contentId", "contentHash", "artifactId")}
LAST_INSTANT = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


def day_of(instant):  # R21
    return (instant + ZONE) // DAY


def start_of(day):
    return day * DAY - ZONE


def date_of(day):
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=day)


def a_year_later(instant):  # R12
    local = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=instant + ZONE)
    try:
        later = local.replace(year=local.year + 1)
    except ValueError:  # 29 February
        later = local.replace(year=local.year + 1, day=28)
    return (later - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1) - ZONE


def murmur2(data):
    """Java's partitioner."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    for at in range(0, len(data) - len(data) % 4, 4):
        k = int.from_bytes(data[at:at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    tail = data[len(data) - len(data) % 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def partition_of(partitioner, key, partitions):  # R41
    """As Java's clients choose it, or librdkafka's `consistent`."""
    return (murmur2(key) if partitioner == "murmur2" else zlib.crc32(key)) % partitions


class Book:
    """A version of the price book, from its file."""

    def __init__(self, data):
        self.sha256 = hashlib.sha256(data).hexdigest()
        text = yaml.load(data.decode(), yaml.BaseLoader)  # every scalar as it is written
        start = text.get("effective_from")
        self.effective_from = (datetime.date.fromisoformat(start) - datetime.date(1970, 1, 1)).days if start else None
        self.services = {name: self.service(each) for name, each in text["services"].items()}

    @staticmethod
    def fen(yuan):
        amount = decimal.Decimal(yuan) * 100
        assert amount == int(amount)  # R1
        return int(amount)

    def service(self, text):
        tiers = [(int(tier["from"]), self.fen(tier["unit_price"])) for tier in text.get("tiers", [])]
        custom = text["custom"]
        return {
            "tiered": bool(tiers),
            "tiers": tiers or [(0, self.fen(text["unit_price"]))],
            "packages": {int(each["units"]): self.fen(each["price"]) for each in text["packages"]},
            "custom": (int(custom["minimum"]), int(custom["step"]), self.fen(custom["price_per_step"])),
        }

    def tier(self, service, units):
        """(lower bound or None, price) of a call of so many units."""
        prices = self.services[service]
        bound, price = [tier for tier in prices["tiers"] if tier[0] <= units][-1]  # R6, R7
        return (bound if prices["tiered"] else None), price

    def package_price(self, service, units):
        """None: not for sale."""
        prices = self.services[service]
        if units in prices["packages"]:  # R9
            return prices["packages"][units]
        minimum, step, price = prices["custom"]
        return units // step * price if units >= minimum and units % step == 0 else None  # R10


class Account:
    def __init__(self):
        self.opening = self.credits = self.adjustments = 0
        self.status, self.changes, self.position = "ACTIVE", 0, 0
        self.stored = False
        self.spans = []  # [from, to) of suspension

    @property
    def balance(self):
        return self.opening + self.credits + self.adjustments  # R33


def decision_text(decision, topics, shard):
    """As the next close names it."""
    coordinates = "".join(f"{shard}/{offset}\n" for offset in sorted(decision["offsets"]))
    return (f"{decision['number']} {decision['kind']} {urllib.parse.quote(decision['operator'], safe='')}"
            f" {topics[decision['log']]} {len(decision['offsets'])} {hashlib.sha256(coordinates.encode()).hexdigest()}")


def is_id(text):  # R42
    if text is None or not 1 <= len(text) <= 128:
        return False
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in decoded)


class Rejected(Exception):
    """The reason; `record` is what was decoded."""


class Shard:
    """One shard's three logs, folded."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.day = world.first_day
        self.position = {log: world.begins[log][number] for log in LOGS}  # R70
        self.since = dict(self.position)
        self.counts = {log: self.zero() for log in LOGS}
        self.unresolved = {}  # (log, offset) of rejects since the last cutoff: reason
        self.cut = {log: None for log in LOGS}
        self.held = False
        self.holds = {}  # (log, group): records of the moment at which the day was held for these
        self.hold_rows = []
        self.accounts, self.calls = {}, {}
        self.packages, self.credits = [], []  # all that were ever accepted
        self.passed = {}
        self.refused = set()  # by operators: their schemas could not be had
        self.pending_decisions = [d for d in world.decisions if d["shard"] == number]
        self.named = []
        self.outputs, self.rejects = [], []  # in order; rejects apart, whose place among the others is free
        self.closes, self.cutoffs, self.settlements, self.statement = [], [], [], []
        self.begun = []  # of each settlement, by line: how many of the calls are on no line before
        self.status_changes = []
        self.month, self.statements = {}, []  # of accounts with something in the open month; all that were written
        self.previous_digest = "0" * 64

    @staticmethod
    def zero():
        return {"accepted": 0, "duplicates": 0, "rejected": 0, "void": 0}

    # --- a drain ---

    def drain(self, clock, ends, decided):
        """Reads to the ends, or to the first record beyond the clock; settles what is due. `decided`: the number of the
        last decision that was taken by the end of this drain."""
        self.clock, self.decided = clock, decided
        while True:
            if self.decide(ends):
                continue
            self.read_logs(ends)
            if self.decide(ends):
                continue
            if not all(self.cut.values()):  # R48
                return
            if "RELEASE" not in self.cut.values() and self.find_holds():  # R50
                self.held = True
                self.cut = {log: None for log in LOGS}
                continue
            self.close()

    def read_logs(self, ends):
        for log in LOGS:
            if self.cut[log] is None:
                self.read(log, ends[log])

    def read(self, log, end):
        """Up to the cutoff, the end, or the place of the next decision."""
        decision = self.next_decision()
        stop = decision["at"][log] if decision else end
        for record in self.world.records[log][self.number]:
            if record.offset < self.position[log] or record.offset >= end:
                continue
            if record.offset >= stop:
                self.skip(log, max(stop, self.position[log]))
                if record.offset == stop:
                    self.stops_before(log, record)  # the day may have been held, and the decision taken, after that
                return
            if self.stops_before(log, record):
                return
            self.judge(log, record)
            self.position[log] = record.offset + 1
        if stop < end:
            self.skip(log, max(stop, self.position[log]))
            return
        self.skip(log, max(end, self.position[log]))
        if not self.held and self.clock >= self.due():
            self.cut[log] = "CLOCK"  # R47

    def instant(self, log, record):
        """The time by which the record is judged: its timestamp, unless an operator let it pass with another time."""
        return self.passed.get((log, record.offset), record.timestamp)  # R44

    def stops_before(self, log, record):
        """Whether the log stops before the record: at a cutoff, at a time that has not come, at too many rejects."""
        self.skip(log, record.offset)
        instant = self.instant(log, record)
        if (log, record.offset) not in self.passed and (
                not record.stamped or instant > self.clock + self.parameters()["tolerance"]):
            if not self.held and self.clock >= self.due():
                self.cut[log] = "CLOCK"
            return True
        if not self.held and instant >= self.due():
            if self.clock >= self.due():
                self.cut[log] = "RECORD"  # R46
            return True
        return log == CALLS and self.too_many_rejects()  # R45

    def skip(self, log, offset):
        self.counts[log]["void"] += offset - self.position[log]
        self.position[log] = offset

    def parameters(self):
        return self.world.parameters(self.day)

    def due(self):
        return start_of(self.day + 1) + self.parameters()["grace"]  # R46

    def floor(self):
        return self.world.floor(self.day)

    def credit_floor(self):
        return self.world.credit_floor(self.day)

    # --- holds and decisions ---

    def records(self, log):
        counts = self.counts[log]
        return counts["accepted"] + counts["duplicates"] + counts["rejected"]

    def undecided(self, log, group):
        return sum(each == log and reason in GROUPS[group][0] for (each, _), reason in self.unresolved.items())

    def beyond(self, log, group, records):  # R50
        rejects = self.undecided(log, group)
        return rejects >= HOLD_MINIMUM[log] and self.more_than_share(group, rejects, records)

    def more_than_share(self, group, rejects, records):
        return rejects * 1_000_000 > records * self.parameters()[GROUPS[group][1]]

    def find_holds(self):
        """Each log and group that is beyond its share is one more reason to hold the day, with its numbers as they are now."""
        for log in LOGS:
            for group in GROUPS:
                if (log, group) not in self.holds and self.beyond(log, group, self.records(log)):
                    self.holds[log, group] = self.records(log)
                    self.hold_rows.append((self.number, self.day, self.world.topics[log], group,
                                           self.undecided(log, group), self.records(log), self.position[log]))
        return bool(self.holds)

    def still_held(self):  # R51
        self.find_holds()
        return any(self.beyond(log, group, records) for (log, group), records in self.holds.items())

    def too_many_rejects(self):
        return any(self.undecided(CALLS, group) > 10_000
                   and self.more_than_share(group, self.undecided(CALLS, group), self.records(CALLS)) for group in GROUPS)

    def next_decision(self):
        if self.pending_decisions and self.pending_decisions[0]["number"] <= self.decided \
                and self.pending_decisions[0]["day"] == self.day:
            return self.pending_decisions[0]
        return None

    def decide(self, ends):
        """Applies the next decision when every log stands where it was applied."""
        decision = self.next_decision()
        if decision is None or any(self.position[log] != decision["at"][log] for log in LOGS):
            return False
        if decision["held"] and not self.held and "RELEASE" not in self.cut.values():
            return False  # it was taken where the logs stood when the day was held, but after that
        self.pending_decisions.pop(0)
        self.named.append(decision_text(decision, self.world.topics, self.number))
        records = [(decision["log"], offset) for offset in decision["offsets"]]
        if decision["kind"] == "REFUSE":
            self.refused.update(records)
            return True
        if decision["kind"] == "PASS":
            self.passed.update(dict.fromkeys(records, decision["as_of"]))
            # The log that waited before the record goes on.
            if self.cut[decision["log"]] == "CLOCK" and self.position[decision["log"]] < ends[decision["log"]]:
                self.cut[decision["log"]] = None
            return True
        for record in records:
            self.unresolved.pop(record, None)
        if self.held and not self.still_held():
            self.held = False
            self.cut = {log: "RELEASE" for log in LOGS}  # R51
        return True

    # --- one record ---

    def judge(self, log, record):
        decoded, instant = None, self.instant(log, record)
        try:
            decoded = self.decode(log, record)
            self.check(log, record, decoded, instant)
            accept = {CALLS: self.call, PURCHASES: self.purchase, CREDITS: self.credit}[log]
            known = accept(record, decoded, instant)
            self.counts[log]["duplicates" if known else "accepted"] += 1
        except Rejected as rejected:
            reason = str(rejected)
            self.counts[log]["rejected"] += 1
            if (log, record.offset) not in self.refused:
                self.unresolved[log, record.offset] = reason
            self.reject(log, record, decoded, reason)  # R31

    def decode(self, log, record):
        if (log, record.offset) in self.refused:
            raise Rejected("UNKNOWN_SCHEMA")
        value = record.value
        head = self.world.head
        if value is None or record.id_header or len(value) < head or value[0] != 0:
            raise Rejected("UNDECODABLE")
        text = self.world.schemas.get(int.from_bytes(value[1:head], "big", signed=True))
        if text is None:
            raise Rejected("UNKNOWN_SCHEMA")
        reader = self.world.readers[log]
        try:
            writer = avro.Writer(text)
            reader.check(writer)
        except avro.Incompatible as error:
            raise Rejected("INCOMPATIBLE_SCHEMA") from error
        try:
            return reader.read(writer, value[head:])
        except avro.Undecodable as error:
            raise Rejected("UNDECODABLE") from error

    def check(self, log, record, r, instant):  # R40
        account = r["account_id"]
        if record.key is None or account is None or record.key != account:
            raise Rejected("MISROUTED")
        if partition_of(self.world.partitioner, account, self.world.partitions) != self.number:
            raise Rejected("MISROUTED")
        if not self.is_valid(log, r) or log == CALLS and self.costs_too_much(r, instant):
            raise Rejected("INVALID")
        if r[TIME[log]] > instant + self.parameters()["tolerance"]:  # R28
            raise Rejected("FROM_FUTURE")
        if day_of(r[TIME[log]]) < (self.floor() if log == CALLS else self.credit_floor()):  # R26, R59
            raise Rejected("TOO_LATE")

    def costs_too_much(self, r, instant):  # R61
        """Of its own day, or of the last that it could be of."""
        if SERVICES[r["service"]] != "lead":
            return False
        day = day_of(min(r["occurred_at"], instant + self.parameters()["tolerance"]))
        return r["lead_count"] * self.world.book(day).tier(r["service"], r["lead_count"])[1] > DEAREST

    @staticmethod
    def is_valid(log, r):
        optional = {CALLS: {"lead_count", "request_id"}, PURCHASES: set(), CREDITS: {"reason", "reference"}}[log]
        if any(value is None for name, value in r.items() if name not in optional):
            return False
        if avro.UNKNOWN in r.values() or not is_id(r["account_id"]) or not is_id(r[ID[log]]):
            return False
        if not 0 <= r[TIME[log]] <= LAST_INSTANT:
            return False
        if log == CALLS:
            leads = r["lead_count"]
            return SERVICES[r["service"]] == "call" or (leads is not None and 0 <= leads <= 10**9)  # R3
        if abs(r["amount"]) > 10**13 or r["currency"] != b"CNY":  # R43
            return False
        if log == PURCHASES:
            return r["units"] <= 10**9 and (r["units"] <= 0 or 0 <= r["used"] <= r["units"])  # R20, R43
        return True

    def account(self, r):
        return self.accounts.setdefault(r["account_id"], Account())

    def call(self, record, r, instant):
        usage_day = day_of(r["occurred_at"])
        units = 1 if SERVICES[r["service"]] == "call" else r["lead_count"]  # R2, R3
        content = (r["service"], units, r["occurred_at"])
        identity = (r["account_id"], r["call_id"])  # R32
        known = self.calls.get(identity)
        if known and known["usage_day"] >= self.floor():  # R29
            if known["content"] != content:
                raise Rejected("CONFLICT")
            return True
        self.account(r)
        self.calls[identity] = {"content": content, "usage_day": usage_day, "offset": record.offset, "billed": False,
                                "account": r["account_id"]}
        return False

    def purchase(self, record, r, instant):
        if r["amount"] <= 0 or r["units"] <= 0:  # R17
            raise Rejected("REFUND")
        if self.world.book(day_of(r["purchased_at"])).package_price(r["service"], r["units"]) != r["amount"]:  # R9
            raise Rejected("NOT_FOR_SALE")
        content = {name: r[name] for name in ("service", "units", "used", "amount", "currency", "purchased_at")}
        identity = (r["account_id"], r["purchase_id"])
        known = self.known(self.packages, identity, "purchased_at")
        if known:  # R30
            if known["content"] != content:
                raise Rejected("CONFLICT")
            return True
        self.account(r)
        bought = self.of_month(r["account_id"])
        bought["packages_bought"] += 1
        bought["packages_amount"] += r["amount"]
        self.packages.append({
            "identity": identity, "content": content, "service": r["service"], "units": r["units"], "used": r["used"], "amount": r["amount"],
            "remaining": r["units"] - r["used"], "told": r["units"] - r["used"], "from": r["purchased_at"], "until": a_year_later(r["purchased_at"]),
            "offset": record.offset})
        return False

    def known(self, accepted, identity, time):  # R60
        """What has that id and is not forgotten."""
        found = [each for each in accepted if each["identity"] == identity
                 and day_of(each["content"][time]) >= self.credit_floor()]
        return found[0] if found else None

    def credit(self, record, r, instant):
        if r["amount"] <= 0 if r["kind"] == "TOP_UP" else r["amount"] == 0:  # R17
            raise Rejected("REFUND")
        content = {name: r[name] for name in ("kind", "amount", "currency", "credited_at")}
        identity = (r["account_id"], r["credit_id"])
        known = self.known(self.credits, identity, "credited_at")
        if known:  # R30
            if known["content"] != content:
                raise Rejected("CONFLICT")
            return True
        account = self.account(r)
        month = self.of_month(r["account_id"])
        if r["kind"] == "TOP_UP":
            account.credits += r["amount"]
            month["credits"] += r["amount"]
        else:
            account.adjustments += r["amount"]
            month["adjustments"] += r["amount"]
        account.stored = True
        account.position += 1
        self.credits.append({
            "identity": identity, "content": content, "kind": r["kind"], "amount": r["amount"], "credited_at": r["credited_at"],
            "received_at": instant, "reason": self.readable(r["reason"]), "reference": self.readable(r["reference"]),
            "offset": record.offset})
        self.statement.append((r["account_id"], account.position, instant, r["kind"], r["credit_id"].decode(),
                               r["amount"], account.balance))
        if account.status == "SUSPENDED" and account.balance > 0:  # R35
            effective = max(instant, account.spans[-1][0])  # R39
            account.spans[-1][1] = effective
            self.change(r["account_id"], "ACTIVE", "CREDIT" if r["kind"] == "TOP_UP" else "ADJUSTMENT",
                        None, r["credit_id"].decode(), effective)
        return False

    @staticmethod
    def readable(text):
        return None if text is None else text.decode("utf-8", "replace").replace("\0", "\ufffd")

    def change(self, account_id, status, cause, settlement_id, credit_id, effective_at):
        account = self.accounts[account_id]
        account.status = status
        account.changes += 1
        change = {"event_id": f"{account_id.decode()}/{account.changes}", "account_id": account_id.decode(),
                  "account_sequence": account.changes, "status": status, "cause": cause,
                  "settlement_id": settlement_id, "credit_id": credit_id, "balance": account.balance,
                  "effective_at": effective_at, "shard": self.number}
        self.status_changes.append(change)
        self.outputs.append(("status", change))

    def reject(self, log, record, decoded, reason):
        account_id = decoded and decoded["account_id"]
        record_id = decoded and decoded[ID[log]]
        time = decoded and decoded[TIME[log]]
        key, value = record.key, record.value
        if value is not None and (len(value) > 900_000 or len(value) + 2 * len(key or b"") > 950_000):
            value = None
        self.rejects.append({
            "topic": self.world.topics[log], "partition": self.number, "offset": record.offset,
            "timestamp": record.timestamp, "reason": reason,
            "account_id": account_id.decode() if is_id(account_id) else None,
            "record_id": record_id.decode() if is_id(record_id) else None,
            "occurred_at": time if time is not None and 0 <= time <= LAST_INSTANT else None,
            "key": key, "value": value, "shard": self.number})

    # --- the close of a day ---

    def close(self):
        billed, late, zero = {}, 0, 0
        for call in self.calls.values():
            if call["billed"] or call["usage_day"] > self.day:  # R25
                continue
            call["billed"] = True
            late += call["usage_day"] < self.day
            zero += call["content"][1] == 0
            billed.setdefault(call["account"], []).append(call)  # R23
        bodies, total = [], 0
        owned = {}
        for package in self.packages:
            owned.setdefault(package["identity"][0], []).append(package)
        for account_id in sorted({*billed, *owned}):
            settlement = None
            if account_id in billed:
                settlement = self.settle(account_id, billed[account_id])
                bodies.append(self.world.encode("Settlement", {**settlement, "sequence": 0}))
                total += settlement["amount"]
            self.notify(account_id.decode(), owned.get(account_id, []), settlement)
        self.finish(bodies, total, late, zero)

    def notify(self, account, packages, settlement):
        """What the account's holder is told of, behind its settlement."""
        limits, told = self.parameters(), {}
        for package in sorted(packages, key=lambda p: p["from"]):  # R67: of one id the newer
            for kind, threshold in self.of_package(limits, package):
                told[NOTICES.index(kind), package["identity"][1]] = {
                    "kind": kind, "package_id": package["identity"][1].decode(), "service": package["service"],
                    "units": package["units"], "remaining": package["remaining"], "valid_until": package["until"],
                    "balance": None, "threshold": threshold}
            package["told"] = package["remaining"]
        if settlement:  # R66
            closing = settlement["closing_balance"]
            below = [t for t in limits["balance_below"] if closing < t <= closing + settlement["amount"]]
            if below:
                told[NOTICES.index("BALANCE_LOW"), b""] = {
                    **dict.fromkeys(("package_id", "service", "units", "remaining", "valid_until")),
                    "kind": "BALANCE_LOW", "balance": closing, "threshold": min(below)}
        for _, notice in sorted(told.items()):
            ids = [account, str(date_of(self.day)), notice["kind"], *filter(None, [notice["package_id"]])]
            self.outputs.append(("notices", {"notice_id": "/".join(ids), "account_id": account,
                                             "business_day": self.day, **notice, "shard": self.number}))

    def of_package(self, limits, package):
        units, before, now = package["units"], package["told"], package["remaining"]
        low = [t for t in limits["package_left"] if now * 100 <= units * t < before * 100]
        if low:
            yield "PACKAGE_LOW", min(low)  # R63
        if now > 0 and day_of(package["until"]) - self.day in limits["expiring_days"]:
            yield "PACKAGE_EXPIRING", day_of(package["until"]) - self.day  # R64
        if now > 0 and start_of(self.day) < package["until"] <= start_of(self.day + 1):
            yield "PACKAGE_EXPIRED", None  # R65

    def settle(self, account_id, calls):
        account = self.accounts[account_id]
        lines, suspended = {}, 0
        for call in sorted(calls, key=lambda c: (c["content"][2], c["offset"])):  # R14
            service, units, occurred_at = call["content"]
            suspended += any(start <= occurred_at < end for start, end in account.spans)  # R38
            self.bill(account_id, call["usage_day"], service, units, occurred_at, lines)
        amount = sum(line["units"] * line["unit_price"] for line in lines.values())
        in_order = sorted(lines.items(), key=lambda item: self.line_order(item[0]))
        self.begun.append([line.pop("begun") for _, line in in_order])
        ordered = [{**self.line_key(key), **line, "amount": line["units"] * line["unit_price"]} for key, line in in_order]
        name = account_id.decode()
        settlement = {
            "settlement_id": f"{name}/{date_of(self.day)}", "account_id": name, "business_day": self.day,
            "currency": "CNY", "calls": len(calls), "calls_while_suspended": suspended, "amount": amount,
            "opening_balance": account.opening, "credits": account.credits, "adjustments": account.adjustments,
            "closing_balance": account.balance - amount, "status": account.status,
            "price_book": self.world.book(self.day).sha256, "shard": self.number, "lines": ordered}
        self.add_to_month(account_id, settlement)
        account.opening, account.credits, account.adjustments = settlement["closing_balance"], 0, 0
        account.stored = True
        account.position += 1
        self.statement.append((account_id, account.position, start_of(self.day + 1), "SETTLEMENT",
                               settlement["settlement_id"], -amount, account.balance))
        arrears = account.balance < 0 and account.status == "ACTIVE"  # R34, R36
        if arrears:
            settlement["status"] = "SUSPENDED"
        self.settlements.append(settlement)
        self.outputs.append(("settlements", settlement))
        if arrears:
            account.spans.append([start_of(self.day + 1), float("inf")])
            self.change(account_id, "SUSPENDED", "ARREARS", settlement["settlement_id"], None, start_of(self.day + 1))
        return settlement

    # --- months ---

    def of_month(self, account_id):
        """What the account has in the open month, as its statement will say it."""  # R75
        return self.month.setdefault(account_id, {
            "opening_balance": self.accounts[account_id].balance, "credits": 0, "adjustments": 0, "amount": 0,
            "settlements": 0, "calls": 0, "packages_bought": 0, "packages_amount": 0, "lines": {}})

    def add_to_month(self, account_id, settlement):
        month = self.of_month(account_id)
        month["settlements"] += 1
        month["calls"] += settlement["calls"]
        month["amount"] += settlement["amount"]
        for line in settlement["lines"]:
            names = ("service", "charge", "package_id", "tier_from", "unit_price")
            total = month["lines"].setdefault(tuple(line[name] for name in names), {
                **{name: line[name] for name in names}, "calls": 0, "units": 0, "amount": 0})
            for name in ("calls", "units", "amount"):
                total[name] += line[name]

    def close_month(self):
        """One for each account that had something in it."""  # R75
        month = f"{date_of(self.day):%Y-%m}"
        for account_id in sorted(self.month):
            name, account, sums = account_id.decode(), self.accounts[account_id], self.month[account_id]
            lines = sorted(sums["lines"].values(), key=lambda line: (
                list(SERVICES).index(line["service"]), line["charge"], (line["package_id"] or "").encode(),
                -1 if line["tier_from"] is None else line["tier_from"], line["unit_price"]))
            self.statements.append({
                **sums, "statement_id": f"{name}/{month}", "account_id": name, "month": month, "currency": "CNY",
                "closing_balance": account.balance, "status": account.status, "lines": lines, "shard": self.number})
        self.month = {}

    def unsettled(self, account_id):
        """What would be settled of the account if its days ended now, from the open day on: (day, calls, settlement), which
        is None for a day without calls. And the units that its packages would then have left, by offset."""
        twin = copy.copy(self)
        twin.accounts = {account_id: copy.deepcopy(self.accounts[account_id])}
        twin.packages = copy.deepcopy([p for p in self.packages if p["identity"][0] == account_id])
        twin.outputs, twin.settlements, twin.statement, twin.status_changes, twin.begun = [], [], [], [], []
        twin.month = {}
        left = [call for call in self.calls.values() if call["account"] == account_id and not call["billed"]]
        days = []
        while left or not days:
            due = [call for call in left if call["usage_day"] <= twin.day]
            left = [call for call in left if call["usage_day"] > twin.day]
            days.append((twin.day, due, twin.settle(account_id, due) if due else None))
            twin.day += 1
        return days, {p["offset"]: p["remaining"] for p in twin.packages}

    def bill(self, account_id, usage_day, service, units, occurred_at, lines):
        rest = units
        usable = sorted((p for p in self.packages if p["identity"][0] == account_id and p["service"] == service  # R8
                         and p["from"] <= occurred_at < p["until"]),  # R13
                        key=lambda p: (p["until"], p["from"], p["identity"][1]))  # R15
        for package in usable:
            taken = min(rest, package["remaining"])
            if taken > 0:
                package["remaining"] -= taken
                rest -= taken
                self.add(lines, (usage_day, service, "PACKAGE", package["identity"][1], package["from"]), taken, 0,
                         rest + taken == units, package)
        if rest > 0 or units == 0:  # R4, R19
            bound, price = self.world.book(usage_day).tier(service, units)  # R16, R25
            self.add(lines, (usage_day, service, "POSTPAID", None, bound), rest, price, rest == units)

    @staticmethod
    def add(lines, key, units, price, begins, package=None):
        line = lines.setdefault(key, {"calls": 0, "begun": 0, "units": 0, "unit_price": price,
                                      "package_units": package and package["units"],
                                      "package_amount": package and package["amount"]})
        line["calls"] += 1
        line["begun"] += begins
        line["units"] += units

    @staticmethod
    def line_key(key):
        """Its last part is the tier, or tells two packages apart that share an id (R60)."""
        usage_day, service, charge, package_id, last = key
        return {"usage_day": usage_day, "service": service, "charge": charge,
                "package_id": package_id.decode() if package_id else None,
                "tier_from": last if charge == "POSTPAID" else None}

    @staticmethod
    def line_order(key):
        usage_day, service, charge, package_id, last = key
        return usage_day, list(SERVICES).index(service), charge, package_id or b"", -1 if last is None else last

    def finish(self, bodies, total, late, zero):
        cutoffs = []
        for log in LOGS:
            cutoffs.append({"topic": self.world.topics[log], "from_offset": self.since[log],
                            "to_offset": self.position[log], "cut_by": self.cut[log], **self.counts[log]})
        close = {
            "shard": self.number, "shards": self.world.partitions, "business_day": self.day, "cutoffs": cutoffs,
            "late": late, "zero_unit_calls": zero, "settlements": len(bodies), "amount": total,
            "price_book": self.world.book(self.day).sha256, "parameters": self.world.parameters_sha256(self.day),
            "decisions": self.named, "settlement_schema": self.world.settlement_schema,
            "content_digest": hashlib.sha256(b"".join(bodies)).hexdigest(), "previous_digest": self.previous_digest}
        body = self.world.encode("DayClosed", {**close, "digest": "", "sequence": 0})
        close["digest"] = self.previous_digest = hashlib.sha256(body).hexdigest()
        self.closes.append(close)
        self.cutoffs += [(self.number, self.day, cutoff) for cutoff in cutoffs]
        self.outputs.append(("day_closes", close))
        self.named = []
        if date_of(self.day + 1).day == 1:
            self.close_month()
        self.day += 1
        self.since = dict(self.position)
        self.counts = {log: self.zero() for log in LOGS}
        self.unresolved, self.holds = {}, {}
        self.cut = {log: None for log in LOGS}


class Record:
    def __init__(self, offset, timestamp, key, value, stamped=True, headers=()):
        self.offset, self.timestamp, self.key, self.value, self.stamped = offset, timestamp, key, value, stamped
        self.id_header = any(name in ID_HEADERS for name, _ in headers)


class World:
    """What all shards share. `parameter_rows`: dicts with from_day (None: always), grace, late_days, credit_days,
    tolerance (ms), share and refused_share (ppm), book (SHA-256). `records`: log -> partition -> delivered records in order of offset.
    `begins`: log -> where each partition begins on the first day."""

    def __init__(self, *, first_day, partitions, topics, records, schemas, books, parameter_rows, decisions=(),
                 timestamps="create", partitioner="murmur2", begins=None, framing="confluent"):
        self.partitioner = partitioner
        self.head = {"confluent": 5, "apicurio": 9}[framing]  # a zero byte and the schema's id
        self.first_day, self.partitions, self.topics, self.records = first_day, partitions, topics, records
        self.schemas, self.rows, self.decisions = schemas, parameter_rows, list(decisions)
        self.books = sorted((Book(data) for data in books), key=lambda book: book.effective_from or 0)
        self.timestamps = timestamps
        self.begins = begins or {log: [0] * partitions for log in LOGS}
        self.readers = {log: avro.Reader(name) for log, name in RECORDS.items()}
        self.encoders = {name: fastavro.parse_schema(json.loads((avro.SCHEMAS / f"{name}.avsc").read_text()))
                         for name in ("Settlement", "DayClosed")}
        self.settlement_schema = hashlib.sha256((avro.SCHEMAS / "Settlement.avsc").read_bytes()).hexdigest()
        self.shards = [Shard(self, number) for number in range(partitions)]

    def drain(self, clock, ends, decided=None):
        """`ends`: log -> partition -> end offset; `decided`: shard -> number of its last decision by then. Returns the
        shards that have not settled a day that is due."""
        for shard in self.shards:
            shard.drain(clock, {log: ends[log][shard.number] for log in LOGS}, (decided or {}).get(shard.number, 0))
        return [shard.number for shard in self.shards if clock >= shard.due()]

    def parameters(self, day):
        return [row for row in self.rows if row["from_day"] is None or row["from_day"] <= day][-1]  # R53

    def parameters_sha256(self, day):
        """Of the canonical text that pricing/README.md describes."""
        row, book = self.parameters(day), self.book(day)
        fixed = {"first_day": str(date_of(self.first_day)), "timestamps": self.timestamps, "partitioner": self.partitioner,
                 "partitions": self.partitions, "time_zone": "Asia/Shanghai"}
        in_force = {"from_day": None if row["from_day"] is None else str(date_of(row["from_day"])),
                    "grace_ms": row["grace"], "late_days": row["late_days"],
                    "future_tolerance_ms": row["tolerance"], "max_reject_share_ppm": row["share"],
                    "max_refused_share_ppm": row["refused_share"], "credit_days": row["credit_days"],
                    "book": book.sha256, **{name: sorted(row[name], reverse=True) for name in LIMITS}}
        text = json.dumps({**fixed, **in_force}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def book(self, day):
        return [book for book in self.books if book.effective_from is None or book.effective_from <= day][-1]  # R54

    def first_instant(self, log):
        """From which on what a log holds can bill anything on the first day."""  # R70
        row = self.parameters(self.first_day)
        back = 0 if log == CALLS else row["credit_days"]
        return start_of(self.first_day - back) - row["tolerance"]

    def floor(self, day):
        """The oldest usage day that may still be billed; it never falls."""
        return max([self.first_day] + [each - self.parameters(each)["late_days"]  # R26, R27
                                       for each in range(self.first_day, day + 1)])

    def credit_floor(self, day):
        """The oldest day of a purchase or credit that is taken; it never falls."""
        return max(each - self.parameters(each)["credit_days"] for each in range(self.first_day, day + 1))  # R59, R60

    def encode(self, name, record):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.encoders[name], self.dated(record))
        return out.getvalue()

    @staticmethod
    def dated(record):
        """Day numbers as dates, which is what fastavro takes."""
        record = dict(record)
        record["business_day"] = date_of(record["business_day"])
        if "lines" in record:
            record["lines"] = [{**line, "usage_day": date_of(line["usage_day"])} for line in record["lines"]]
        return record
