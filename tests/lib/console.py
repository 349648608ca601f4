"""The console in a browser: a deployment with a month behind it, and a browser that writes down what a page does wrong."""

import contextlib
import datetime
import os
import random
import threading
import urllib.parse
import uuid

import axe_playwright_python.sync_playwright
import playwright.sync_api
import psycopg

from deployment import Deployment, at

CHROMIUM = os.environ.get("SETTLED_CHROMIUM", "/usr/bin/chromium")
FIRST, LAST = "2026-10-25", "2026-11-25"  # all settled but one shard's last, which is held
OPEN = "2026-11-26"
CLOSED_AT, NOW = f"{OPEN}T00:10:00+08:00", f"{OPEN}T15:00:00+08:00"
DEALER, SMALL = "dealer-shanghai-017", "dealer-chengdu-004"
DEALERS = [f"dealer-{city}-{number:03}" for number, city in enumerate(
    ["beijing", "guangzhou", "shenzhen", "hangzhou", "nanjing", "wuhan", "xian", "suzhou", "tianjin", "qingdao"], 1)]
MARKUP = "<img src=x onerror=\"document.title='run'\">"
HOSTILE = [MARKUP, "\u202egnorw\u202c 倒写", "شركة السيارات", "a/b?c=d#e&f", "x" * 128, "'; drop table accounts; --", "=1+1", "--all", ".."]
PLAIN = "AUDIENCE_INSIGHT"
USED_UP, EXPIRING, EXPIRED = "pkg-2025-leads-10k", "pkg-2025-leads-100k", "pkg-2025-insight-50"
BALANCE_BELOW = 500000  # fen, of which account holders are told
HELD_REJECTS = 130  # enough for a held day


def days(first=FIRST, last=LAST):
    begin, end = datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)
    return [str(begin + datetime.timedelta(n)) for n in range((end - begin).days + 1)]


def quoted(text):
    return urllib.parse.quote(text, safe="")


# ---- what has happened ----

class InOrder(Deployment):
    """Sends in the order of the timestamps, as a log has it, whatever is told first."""

    def __init__(self, *arguments, **options):
        self.waiting = []
        super().__init__(*arguments, **options)

    def send_bytes(self, key, value, timestamp, account, partition=None, headers=None):
        self.waiting.append((timestamp, (key, value, timestamp, account, partition, headers)))

    def flush(self):
        waiting, self.waiting = sorted(self.waiting, key=lambda each: each[0]), []
        for _, record in waiting:
            super().send_bytes(*record)
        super().flush()


def packages(d):
    """Of one account: one that is used up, one that expires soon, one that has expired, one that is new, one that was bought late."""
    open_day = datetime.date.fromisoformat(OPEN)
    for number, (name, units, amount, left) in enumerate(((USED_UP, 10000, 7000000, 5), (EXPIRING, 100000, 30000000, 9))):
        bought = open_day - datetime.timedelta(365 - left)
        d.purchase(DEALER, name, "PURCHASE_INTENT", units, amount, at(str(bought), "10:00:00"), at(FIRST, "09:00:00") + number)
    # Has expired when it comes: all of it remains.
    d.purchase(DEALER, EXPIRED, PLAIN, 50, 10000000, at("2025-10-26", "10:00:00"), at(days()[1], "12:00:00"))
    d.purchase(DEALER, "pkg-2026-leads-50k", "PURCHASE_INTENT", 50000, 25000000, at(FIRST, "09:05:00"))
    d.purchase(DEALER, "pkg-2026-insight-50", PLAIN, 50, 10000000, at(days()[-5], "09:05:00"))
    d.purchase(SMALL, "pkg-2026-leads-10k", "PURCHASE_INTENT", 10000, 7000000, at(FIRST, "09:07:00"))


def month(d):
    chance = random.Random(17)
    for number, day in enumerate(days()):
        for n in range(chance.randint(1, 4)):
            d.call(DEALER, f"call-{day}-{n}", at(day, f"{10 + n}:12:00"), chance.choice([200, 450, 900, 1500]))
        for n in range(chance.randint(0, 3)):
            d.call(DEALER, f"insight-{day}-{n}", at(day, f"16:{20 + n}:00"))
        if number % 8 == 3:
            d.top_up(DEALER, f"top-up-{day}", (4500000, 800000, 4500000, 3000000)[number // 8], at(day, "18:00:00"))
        for dealer in DEALERS:
            if chance.random() < 0.7:
                d.call(dealer, f"call-{day}", at(day, "11:00:00"), chance.choice([120, 600, 2400, 12000]))
            if chance.random() < 0.2:
                d.top_up(dealer, f"top-up-{day}", chance.choice([1000000, 2500000, 8000000]), at(day, "19:00:00"))
    # Of the day before yesterday, and came yesterday.
    d.call(DEALER, "late-one", at(days()[-3], "20:00:00"), 800, timestamp=at(days()[-2], "09:00:00"))


def strangers(d):
    for account in HOSTILE:
        d.top_up(account, "first", 300000, at(FIRST, "12:00:00"))
        d.call(account, "call/<b>1</b>", at(days()[-2], "13:00:00"))
        d.purchase(account, account, "PURCHASE_INTENT", 10000, 7000000, at("2025-12-01", "10:00:00"), at(FIRST, "12:00:00"))


def refused(d):
    d.top_up(DEALER, "again", 1000000, at(FIRST, "20:00:00"))
    d.top_up(DEALER, "again", 1000001, at(FIRST, "20:00:00"), timestamp=at(FIRST, "21:00:00"))
    d.purchase(SMALL, "wrong-price", "PURCHASE_INTENT", 17, 100, at(FIRST, "20:00:00"))
    d.purchase(MARKUP, MARKUP, "PURCHASE_INTENT", 18, 100, at(FIRST, "20:00:00"))
    d.call(DEALER, "no-leads", at(days()[-2], "20:00:00"), -1)
    d.send_bytes("credits", b"what is this?", at(days()[-2], "20:30:00"), "nobody")


def shard_of(d, account):
    return d.sql("select shard from settled.accounts where account_id = %s", account)[0][0]


def broken_producer(d, partition):
    for number in range(HELD_REJECTS):
        d.send_bytes("calls", b"{\"json\": \"no avro\"}", at(LAST, "15:00:00") + number, f"a{number}", partition)


def fill(d):
    packages(d)
    strangers(d)
    refused(d)
    month(d)
    d.flush()
    d.drain(f"{LAST}T00:10:00+08:00")
    mine, markup = shard_of(d, DEALER), shard_of(d, MARKUP)
    held = next(p for p in range(d.partitions) if p not in (mine, markup))
    broken_producer(d, held)
    for account in [DEALER, *DEALERS]:
        d.call(account, "of today", at(OPEN, "09:30:00"), 1500)
    d.call(DEALER, "insight today", at(OPEN, "10:00:00"))
    d.flush()
    d.drain(CLOSED_AT, status=75)  # one shard's day is held
    return held


class Ingest:
    """Calls that go on while somebody looks."""

    def __init__(self, d):
        self.d, self.sent, self.ending = d, 0, threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True)
        self.thread.start()

    def _send(self):
        while not self.ending.wait(0.5):
            for dealer in DEALERS:
                self.d.call(dealer, f"live-{self.sent}", at(OPEN, "12:00:00") + self.sent, 10)
                self.sent += 1
            self.d.flush()

    def end(self):
        self.ending.set()
        self.thread.join(30)


@contextlib.contextmanager
def running(settled, brokers, superuser, folder):
    """(deployment, its daemon, the held shard), with calls coming in."""
    name = f"console_{uuid.uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            with contextlib.closing(InOrder(settled, brokers, superuser.rpartition("/")[0] + "/" + name, folder,
                                               partitions=3, first_day=FIRST, notices={"balance_below": [BALANCE_BELOW]})) as d:
                held = fill(d)
                daemon = d.start("--clock", NOW)
                daemon.await_ready(120)
                ingest = Ingest(d)
                try:
                    yield d, daemon, held
                finally:
                    ingest.end()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# ---- who looks ----

class Page:
    """A tab, and what went wrong in it: `wrong` holds what a browser complains of and what a page must not do."""

    def __init__(self, context, base):
        self.base, self.tab, self.wrong = base, context.new_page(), []
        self.tab.add_init_script("addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective))")
        self.tab.on("console", self._said)
        self.tab.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.tab.on("request", self._asked)
        self.tab.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _said(self, message):
        # A daemon that is not ready says so with a 503, of which the browser complains and the page tells.
        if message.type in ("error", "warning") and "/healthz/ready" not in (message.location or {}).get("url", ""):
            self.wrong.append(f"{message.type}: {message.text} {message.location}")

    def _asked(self, request):
        if not request.url.startswith((self.base + "/", f"blob:{self.base}/")) or request.method not in ("GET", "HEAD"):
            self.wrong.append(f"asked for {request.method} {request.url}")

    def open(self, address=""):
        """Goes to a page of the console, `address` being what stands behind #/, and waits until it is shown."""
        self.tab.goto(f"{self.base}/#/{address}")
        self.shown()
        return self

    def shown(self):
        self.tab.wait_for_selector("main:not([aria-busy]) h1")

    def text(self, selector="main"):
        return self.tab.inner_text(selector)

    def wide(self):
        """By how many pixels the page is wider than the window."""
        return self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def picture(self, folder, name):
        path = folder / f"{name}.png"
        self.tab.screenshot(path=path, full_page=True)
        return path

    def barriers(self, *rules):
        """What axe-core finds, by all its rules or by these: one line for each that is broken."""
        options = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        found = axe_playwright_python.sync_playwright.Axe().run(self.tab, options=options).response["violations"]
        return [f"{rule['id']} ({rule['impact']}): {rule['help']}: {[node['target'] for node in rule['nodes']][:4]}" for rule in found]


@contextlib.contextmanager
def browser():
    """Debian's chromium. Root may run it without its sandbox only; it is shown nothing but what a test made."""
    with playwright.sync_api.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        with contextlib.closing(launched):
            yield launched


def open_page(launched, base, language="zh-CN", width=1280, height=900, scheme="light"):
    context = launched.new_context(locale=language, viewport={"width": width, "height": height}, color_scheme=scheme,
                                   timezone_id="America/New_York", reduced_motion="reduce")
    return Page(context, base)


VIEWS = {
    "overview": "",
    "account": f"accounts/{DEALER}",
    "settlement": f"accounts/{DEALER}/settlements/{days()[-2]}",
    "statement": f"accounts/{DEALER}/statement?month=2026-11",
    "month": f"accounts/{DEALER}/statement?month=2026-10",
    "quote": f"quote?service=PURCHASE_INTENT&leads=8000,8000,8000&account={SMALL}",
    "rejects": "rejects",
    "days": "days",
    "deployment": "deployment",
    "accounts": "accounts",
    "package": f"accounts/{DEALER}/packages/{EXPIRING}",
}


KINDS = {"zh": {}, "en": {"language": "en-GB"}, "dark": {"scheme": "dark"}, "narrow": {"width": 360, "height": 740}}


def shoot(launched, base, folder, views=VIEWS):
    """Pictures of these views in both languages, in the dark and on a telephone."""
    made = []
    for kind, options in KINDS.items():
        page = open_page(launched, base, **options)
        made += [page.open(address).picture(folder, f"{name}-{kind}") for name, address in views.items()]
        page.tab.context.close()
    return made
