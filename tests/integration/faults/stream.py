"""An endless stream of input in simulated days, and the clock that follows it.

The clock is moved only when all records with earlier timestamps are in the topics, and every log has a record after the
end of a day before the clock gets there. So each day is cut by a record, at one offset, whatever happens to the
readers, and everybody who reads the topics later must get the same rows.
"""

import collections
import random
import threading
import time

import cluster
from deployment import at
from oracle import rules

HOUR, MINUTE = 3_600_000, 60_000
FIRST_DAY = "2026-11-01"
GRACE = 5 * MINUTE
LATE_DAYS = 2
PURCHASES = [("AUDIENCE_INSIGHT", 50, 10_000_000), ("AUDIENCE_INSIGHT", 100, 15_000_000),
             ("PURCHASE_INTENT", 10_000, 7_000_000), ("PURCHASE_INTENT", 50_000, 25_000_000)]


class Stream:
    """Produces one hour in each tick. `tally` has the units of the calls that must be billed, by (account, service,
    day)."""

    def __init__(self, deployment, clocks, seed, pause=0.08):
        self.deployment, self.clocks, self.pause = deployment, clocks, pause
        self.skew = {path: 0 for path in clocks}  # ms by which a clock is wrong
        self.random = random.Random(seed)
        self.accounts = self.spread_accounts()
        self.now = at(FIRST_DAY)
        self.number = 0
        self.recent = collections.deque(maxlen=200)  # calls that may be sent again: (account, id, time, leads)
        self.tally = collections.Counter()
        self.extra = []  # functions (stream, timestamp) that send something once
        self.error = None
        self._run, self._idle, self._stop = threading.Event(), threading.Event(), False
        self._time = threading.Lock()  # of now, skew and the clocks: a clock that is set goes by the latest of them
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.tell_time()

    def spread_accounts(self, each=3):
        """The same number of accounts in every partition."""
        found = {partition: [] for partition in range(self.deployment.partitions)}
        number = 0
        while any(len(accounts) < each for accounts in found.values()):
            name = f"account-{number}"
            number += 1
            accounts = found[rules.murmur2(name.encode()) % self.deployment.partitions]
            if len(accounts) < each:
                accounts.append(name)
        return found

    # --- going on and standing still ---

    def start(self):
        self._run.set()
        self._thread.start()

    def hold(self, seconds=120):
        """Stops once the tick under way is in the topics and the clock has followed."""
        self._run.clear()
        deadline = time.monotonic() + seconds
        while not self._idle.wait(0.2):
            if self.error:
                raise self.error
            if time.monotonic() > deadline:
                raise AssertionError(f"the stream does not come to rest within {seconds} s: no broker takes records")
        if self.error:
            raise self.error

    def go_on(self):
        self._idle.clear()
        self._run.set()

    def pass_days(self, since, days, seconds=120):
        """Waits until this many days have passed since an instant, so that some end while a fault lasts or is recovered
        from."""
        deadline = time.monotonic() + seconds
        while self.now < since + days * rules.DAY and not self.error:
            if time.monotonic() > deadline:
                raise AssertionError(f"the stream does not go on within {seconds} s: no broker takes records")
            time.sleep(0.05)

    def stop(self):
        self._stop = True
        self._run.set()
        if self._thread.is_alive():
            self._thread.join(60)

    def _live(self):
        try:
            while not self._stop:
                if not self._run.is_set():
                    self._idle.set()
                    self._run.wait(0.2)
                    continue
                self.tick()
                time.sleep(self.pause)
        except Exception as error:
            self.error = error
            self._idle.set()

    # --- time ---

    @property
    def day(self):
        return rules.day_of(self.now)

    def tell_time(self):
        for path, skew in self.skew.items():
            cluster.clock_file(path, self.now + skew)

    def step_clock(self, path, milliseconds):
        with self._time:
            self.skew[path] = milliseconds
            self.tell_time()

    @property
    def open_day(self):
        """The oldest day that is not due."""
        return rules.day_of(self.now - GRACE)

    # --- what is sent ---

    def tick(self):
        begin, end = self.now, self.now + HOUR
        records = []  # (timestamp, function that sends it)
        for _ in range(self.random.randrange(6, 24)):
            self.add(records, self.random.randrange(begin, end), self.some_call)
        if self.random.random() < 0.3:
            self.add(records, self.random.randrange(begin, end), self.some_credit)
        if self.random.random() < 0.08:
            self.add(records, self.random.randrange(begin, end), self.some_purchase)
        if begin == rules.start_of(rules.day_of(begin)):
            self.mark_day(records, begin + GRACE)
        while self.extra:
            self.add(records, self.random.randrange(begin, end), self.extra.pop(0))
        for timestamp, send in sorted(records, key=lambda each: each[0]):
            send(timestamp)
        self.flush()
        with self._time:
            self.now = end
            self.tell_time()

    @staticmethod
    def add(records, timestamp, send):
        records.append((timestamp, send))

    def flush(self, seconds=300):
        left = self.deployment.producer.flush(seconds)
        if left:
            raise AssertionError(f"{left} records are not delivered within {seconds} s")

    def mark_day(self, records, due):
        """Writes a record into every log at the instant at which the previous day is due."""
        for accounts in self.accounts.values():
            account = accounts[0]
            self.add(records, due, lambda t, a=account: self.call(a, t, t - 1, None))
            self.add(records, due, lambda t, a=account: self.deployment.top_up(a, f"day-{t}", 1000, t, t))
            # Bought once, on the first day: afterwards a duplicate.
            first = at(FIRST_DAY, "00:05:00")
            self.add(records, due, lambda t, a=account: self.deployment.purchase(
                a, "first", "AUDIENCE_INSIGHT", 50, 10_000_000, first, t))

    def account(self):
        return self.random.choice(self.accounts[self.random.randrange(self.deployment.partitions)])

    def call(self, account, timestamp, occurred_at, leads, schema=None):
        self.number += 1
        call = (account, f"call-{self.number}", occurred_at, leads)
        self.deployment.call(*call, timestamp, schema)
        self.recent.append(call)
        service = "AUDIENCE_INSIGHT" if leads is None else "PURCHASE_INTENT"
        self.tally[account, service, rules.day_of(occurred_at)] += 1 if leads is None else leads

    def some_call(self, timestamp):
        account, kind = self.account(), self.random.random()
        leads = self.random.choice([None, 0, self.random.randrange(1, 3000), 9_999, 10_000, 50_000])
        if kind < 0.10 and self.recent:
            self.deployment.call(*self.random.choice(self.recent), timestamp)  # a duplicate
        elif kind < 0.12 and self.recent:
            account, call_id, occurred_at, _ = self.random.choice(self.recent)
            self.deployment.call(account, call_id, occurred_at, 77_777, timestamp)  # a conflict
        elif kind < 0.13:
            # The value has no framing. (An unknown schema id would take ten seconds; tests/worlds has those.)
            self.deployment.send_bytes("calls", b"\1" + self.random.randbytes(self.random.randrange(11)), timestamp, account)
        elif kind < 0.14:
            self.deployment.call(account, "", timestamp, leads, timestamp)  # invalid: no id
        elif kind < 0.15:
            self.deployment.call(account, f"old-{self.number}-{timestamp}", timestamp - 6 * rules.DAY, 1, timestamp)
        elif kind < 0.19 and rules.day_of(timestamp) > rules.day_of(at(FIRST_DAY)) + LATE_DAYS:
            self.call(account, timestamp, timestamp - self.random.choice([1, 2]) * rules.DAY, leads)
        else:
            self.call(account, timestamp, max(timestamp - self.random.randrange(3 * MINUTE), at(FIRST_DAY)), leads)

    def some_credit(self, timestamp):
        account, kind = self.account(), self.random.random()
        if kind < 0.1:
            self.deployment.top_up(account, f"refund-{timestamp}", -1, timestamp, timestamp)  # rejected
        elif kind < 0.25:
            self.deployment.send("credits", {
                "credit_id": f"adjust-{timestamp}", "account_id": account, "kind": "ADJUSTMENT",
                "amount": self.random.choice([-1, 1]) * self.random.randrange(1, 10**7), "currency": "CNY",
                "credited_at": timestamp, "reason": "a correction", "reference": None}, timestamp)
        else:
            self.deployment.top_up(account, f"top-up-{timestamp}", self.random.randrange(1, 6 * 10**8), timestamp,
                                   timestamp)

    def some_purchase(self, timestamp):
        service, units, amount = self.random.choice(PURCHASES)
        if self.random.random() < 0.2:
            amount += 1  # not for sale
        self.deployment.purchase(self.account(), f"bought-{timestamp}", service, units, amount, timestamp, timestamp)
