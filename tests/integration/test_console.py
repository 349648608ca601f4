"""The console in a real browser, over a daemon that goes on reading: every view in both languages, what a page must never do,
keyboard, narrow and dark screens, paper, tokens, and ids that are meant to do harm."""

import hashlib
import http.client
import json
import os
import re
import urllib.parse

import playwright.sync_api
import pytest

import console
from conftest import ROOT
from console import DEALER, EXPIRING, HOSTILE, MARKUP, SMALL, VIEWS

ARTEFACTS = ROOT / "build" / "console"
LANGUAGES = ("zh-CN", "en-GB")


@pytest.fixture(scope="module")
def site(settled, brokers, tmp_path_factory):
    """(deployment, address, held shard)"""
    superuser = os.environ.get("SETTLED_TEST_DSN")
    assert superuser, "SETTLED_TEST_DSN is not set: see conftest.py"
    with console.running(settled, brokers, superuser, tmp_path_factory.mktemp("console")) as (d, daemon, held):
        yield d, f"http://127.0.0.1:{daemon.port}", held


@pytest.fixture(scope="module")
def launched():
    with console.browser() as chromium:
        yield chromium


@pytest.fixture
def look(site, launched):
    """Opens tabs; at the end none may have done or met anything wrong."""
    pages = []

    def make(language="zh-CN", base=None, **options):
        pages.append(console.open_page(launched, base or site[1], language, **options))
        return pages[-1]

    yield make
    for page in pages:
        assert page.wrong == []
        page.tab.context.close()


@pytest.fixture(scope="module")
def tabs(site, launched):
    """Tabs that go from view to view, as people's do; one of each kind."""
    opened = {}

    def tab(language="zh-CN", **options):
        key = (language, *sorted(options.items()))
        if key not in opened:
            opened[key] = console.open_page(launched, site[1], language, **options)
        return opened[key]

    yield tab
    for page in opened.values():
        page.tab.context.close()


def ask(base, path):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def yuan(fen):
    return f"{'-' if fen < 0 else ''}¥{abs(fen) / 100:,.2f}"


# ---- each view ----

SAYS = {  # what must be there: in Chinese, in English
    "overview": (["被扣住", "待处理拒收", "每日结算金额"], ["Held", "Undecided rejects", "Amount settled by day"]),
    "account": (["暂估", "套餐包", "余额变化", "人群特征洞察服务", "套餐包余量不足", "余量降至 20%", "套餐包即将到期", "到期前 30 天", "套餐包已到期", "余额不足",
                 "低于 ¥5,000.00"],
                ["provisional", "Packages", "Balance over time", "Audience insight", "Package is low", "down to 20%", "Package expires soon",
                 "30 days before", "Package has expired", "Balance is low", "below ¥5,000.00"]),
    "settlement": (["期初余额", "明细", "settled explain"], ["Opening balance", "Lines", "settled explain"]),
    "statement": (["对账单", "收支明细", "按量后付费", "尚未出月结单", "历次月结单"],
                  ["Statement", "Entries", "Postpaid", "No month statement yet", "Month statements"]),
    "month": (["月结单", "2026年10月", "购买套餐包", "下载汇总 CSV"], ["Month statement", "October 2026", "Packages bought", "Download summary CSV"]),
    "quote": (["各方案比较", "★ 最低", "现有套餐包余量"], ["Compared", "★ least", "Held in packages"]),
    "rejects": (["修好原因后重新送入", "settled rejects accept"], ["Send them again", "settled rejects requeue"]),
    "days": (["全部接续", "摘要"], ["closes link", "Digest"]),
    "deployment": (["宽限期", "记录人", "定制"], ["Grace", "Time zone", "Custom"]),
    "accounts": (["账户", "已暂停"], ["Accounts", "Suspended"]),
    "package": (["抵扣明细", "抵扣前"], ["Deductions", "Before"]),
}


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_in_both_languages(tabs, view):
    for number, language in enumerate(LANGUAGES):
        page = tabs(language).open(VIEWS[view])
        assert page.tab.get_attribute("html", "lang") == ("zh-CN", "en")[number]
        text = page.text()
        for wanted in SAYS[view][number]:
            assert wanted in text, (view, language, wanted, text[:3000])
        assert not re.search(r"\bundefined\b|\bNaN\b|\[object|\{\w+\}", text), text
        assert page.wide() <= 0
        assert page.wrong == []
        page.picture(ARTEFACTS, f"{view}-{language[:2]}")
    assert tabs().barriers() == []


@pytest.mark.parametrize("view", VIEWS)
def test_it_fits_a_telephone_and_the_dark(tabs, view):
    narrow = tabs(width=360, height=740).open(VIEWS[view])
    assert narrow.wide() <= 0
    dark = tabs("en-GB", scheme="dark").open(VIEWS[view])
    assert dark.barriers("color-contrast") == []
    assert narrow.wrong == dark.wrong == []
    narrow.picture(ARTEFACTS, f"{view}-narrow")
    dark.picture(ARTEFACTS, f"{view}-dark")
    red, green, blue = map(int, re.findall(r"\d+", dark.tab.evaluate("getComputedStyle(document.body).backgroundColor"))[:3])
    assert max(red, green, blue) < 64


def test_all_that_is_said_is_said_in_both_languages():
    """A text of one language only, or one that nobody says, is a mistake in the table."""
    files = sorted((ROOT / "consumer" / "console" / "web").glob("*.js"))
    table = (ROOT / "consumer" / "console" / "web" / "texts.js").read_text()
    rows = re.findall(r'^  "([^"]+)": \["((?:[^"\\]|\\.)+)", "((?:[^"\\]|\\.)+)"\],$', table, re.MULTILINE)
    assert len(rows) == len(re.findall(r'^  "[^"]+": \[', table, re.MULTILINE)) > 200
    source = "".join(path.read_text() for path in files if path.name != "texts.js")
    built = {prefix for prefix in re.findall(r"t\(`([\w.]+\.)\$\{", source)}
    for key, chinese, english in rows:
        assert set(re.findall(r"\{\w+\}", chinese)) == set(re.findall(r"\{\w+\}", english)), key
        base = key.removesuffix(".one")
        assert f'"{base}"' in source or any(base.startswith(prefix) for prefix in built), f"nobody says {key}"
    known = {key for key, _, _ in rows}
    for key in re.findall(r'\bt\("([^"]+)"', source):
        assert key in known, f"{key} is not in the table"


def test_rows_that_became_cards_have_no_barriers(tabs):
    assert tabs(width=360, height=740).open(VIEWS["account"]).barriers() == []


# ---- what is shown is what is so ----

def test_an_account_as_the_api_tells_it(site, look):
    _, base, _ = site
    page = look().open(f"accounts/{DEALER}")
    told = json.loads(ask(base, f"/v1/accounts/{DEALER}")[1])
    text = page.text()
    today, = told["days"]
    assert today["amount"] >= 0
    assert yuan(told["balance"]) in text
    assert yuan(today["balance_after"]) in text
    for package in told["packages"]:
        assert f"{package['remaining_now']:,}" in text
    assert page.tab.locator("tr.provisional").count() == len(today["services"])
    # The time of the price book's zone, wherever the browser is.
    assert "2026/12/05 10:00:00" in text
    # The figures of a chart stand in a table beside it.
    entries = json.loads(ask(base, f"/v1/accounts/{DEALER}/statement?from=2026-10-26&limit=1000")[1])["items"]
    assert page.tab.locator("figure").nth(1).locator("tbody tr").count() == len(entries)
    assert page.tab.locator("figure canvas").count() == 2


def test_it_follows_what_is_read(look):
    """Calls come in; the page shows them without being touched, and stops when it is told to."""
    page = look().open("accounts/dealer-beijing-001")
    calls = page.tab.locator(".tile dd").nth(2)
    before = calls.inner_text()
    playwright.sync_api.expect(calls).not_to_have_text(before, timeout=30000)
    page.tab.uncheck(".live input")
    page.tab.evaluate("document.activeElement.blur()")
    # Nothing more is asked for: of the requests that follow the last answer, there is none.
    page.tab.wait_for_load_state("networkidle")
    asked = []
    page.tab.on("request", lambda request: asked.append(request.url))
    page.tab.wait_for_timeout(6000)
    assert asked == []


def test_notices_are_those_of_the_api(site, look):
    _, base, _ = site
    told = json.loads(ask(base, f"/v1/accounts/{DEALER}/notices?from=2026-10-26&limit=1000")[1])["items"]
    assert {each["kind"] for each in told} == {"PACKAGE_LOW", "PACKAGE_EXPIRING", "PACKAGE_EXPIRED", "BALANCE_LOW"}
    rows = look("en-GB").open(VIEWS["account"]).tab.locator("section:has(h2:text('Notices')) tbody tr")
    assert rows.count() == len(told)
    for text, each in zip(rows.all_inner_texts(), reversed(told)):
        assert each["business_day"] in text
        if each["kind"] == "BALANCE_LOW":
            assert yuan(each["balance"]) in text and f"below {yuan(each['threshold'])}" in text
            continue
        assert each["package_id"] in text and f"{each['remaining']:,} " in text and f"of {each['units']:,} " in text
        year, month, day = each["valid_until"][:10].split("-")
        assert f"{day}/{month}/{year}, {each['valid_until'][11:19]}" in text
        assert {"PACKAGE_LOW": f"down to {each['threshold']}%", "PACKAGE_EXPIRING": f"{each['threshold']} days before"}.get(each["kind"], "–") in text


def test_a_settlement_adds_up(site, look):
    _, base, _ = site
    day = console.days()[-2]
    page = look("en-GB").open(VIEWS["settlement"])
    told = json.loads(ask(base, f"/v1/accounts/{DEALER}/settlements/{day}")[1])
    figures = page.tab.locator(".equation .money").all_inner_texts()
    assert figures == [yuan(told[name]) for name in ("opening_balance", "credits", "adjustments", "amount", "closing_balance")]
    assert page.tab.locator("section:has(h2:text('Lines')) tbody tr").count() == len(told["lines"])
    assert page.tab.locator(".badge:text('late')").count() == sum(line["usage_day"] < day for line in told["lines"]) == 1


def test_the_calls_behind_a_settlement(site, look):
    _, base, _ = site
    page = look("en-GB").open(VIEWS["settlement"])
    page.tab.click("text=Read the calls again from the log")
    rows = page.tab.locator("section:has(h2:text('The calls')) tbody tr")
    playwright.sync_api.expect(rows.first).to_be_visible(timeout=120000)
    told = json.loads(ask(base, f"/v1/accounts/{DEALER}/settlements/{console.days()[-2]}/calls")[1])["items"]
    assert rows.count() == len(told)
    # A browser complains of each 503, which says that they are still being read.
    page.wrong[:] = [line for line in page.wrong if "status of 503" not in line or "/calls" not in line]
    assert len(told) > 1
    text = page.text()
    for call in told:
        assert call["call_id"] in text


def test_the_chain_is_followed(look):
    page = look("en-GB").open("days?from=2026-10-25")
    assert "All 95 closes link" in page.text()  # 32 days of 3 shards, but the one that is held
    digests = page.tab.locator("td[data-head=Digest] code").evaluate_all("all => all.map(each => each.title)")
    previous = page.tab.locator("td[data-head=Previous] code").evaluate_all("all => all.map(each => each.title)")
    assert set(previous) - set(digests) == {"0" * 64}


def test_a_broken_chain_is_told(look):
    """What a database answers that somebody has changed by hand."""
    page = look("en-GB")

    def change(route):
        answer = route.fetch()
        body = answer.json()
        body["items"][-1]["previous_digest"] = "f" * 64
        route.fulfill(response=answer, json=body)

    page.tab.route("**/v1/days?*", change)
    page.open("days?from=2026-10-25")
    assert "1 links are broken" in page.text()
    assert page.tab.locator("tr.bad").count() == 1


def test_rejects_come_with_the_command_that_decides(site, look):
    d, base, _ = site
    page = look("en-GB").open("rejects")
    groups = json.loads(ask(base, "/v1/rejects/groups?by=reason")[1])["items"]
    assert page.tab.locator(".group").count() == len(groups) >= 4
    commands = page.tab.locator(".group pre code").all_inner_texts()
    assert "settled rejects accept -c settled.yaml --reason=CONFLICT" in commands
    # They are commands of this program: tried, each chooses as many records as the group has.
    for group in groups:
        accept, = [line for line in commands if "accept" in line and line.endswith("=" + group["group"])]
        said = d.run("rejects", "accept", "--dry-run", *accept.split()[5:])
        assert sum(map(int, re.findall(r"ACCEPT \S+ (\d+) ", said))) == group["count"], (accept, said)
    page.open("rejects?by=account")
    texts = page.tab.locator(".group pre code").all_inner_texts()
    assert f"settled rejects accept -c settled.yaml --account='{MARKUP.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'" in texts


def test_a_quote_is_that_of_the_api(site, look):
    _, base, _ = site
    page = look("en-GB").open("quote")
    page.tab.fill("[name=leads]", "8000,8000,8000")
    page.tab.fill(".filter [name=account]", SMALL)
    page.tab.click("text=Calculate")
    page.tab.wait_for_selector("tr.best")
    told = json.loads(ask(base, f"/v1/quote?service=PURCHASE_INTENT&leads=8000,8000,8000&account={SMALL}")[1])
    assert told["held_units"] == 10000
    assert yuan(told["least"]["total"]) in page.text("tr.best")
    assert "10,000 leads" in page.text(".tiles")
    page.tab.select_option("[name=service]", "AUDIENCE_INSIGHT")
    assert page.tab.is_visible("[name=calls]") and not page.tab.is_visible("[name=leads]")


def test_a_statement_is_printed_and_downloaded(site, look):
    _, base, _ = site
    page = look("en-GB").open(VIEWS["statement"])
    with page.tab.expect_download() as found:
        page.tab.click("text=Download CSV")
    text = found.value.path().read_text()
    entries = json.loads(ask(base, f"/v1/accounts/{DEALER}/statement?from=2026-11-01&to=2026-11-30&limit=1000")[1])["items"]
    assert len(text.splitlines()) == len(entries) + 1
    page.tab.emulate_media(media="print")
    assert not page.tab.is_visible("nav") and not page.tab.is_visible("text=Download CSV")
    assert page.tab.is_visible("text=Entries") and page.tab.is_visible(f"h1:has-text('{DEALER}')")
    page.tab.pdf(path=ARTEFACTS / "statement.pdf", format="A4")


def test_a_month_is_what_was_recorded_of_it(site, look):
    _, base, _ = site
    told = json.loads(ask(base, f"/v1/accounts/{DEALER}/statements/2026-10")[1])
    page = look("en-GB").open(f"accounts/{DEALER}/statement")
    assert "November 2026" in page.text("h1") and page.tab.locator("h2 .badge.provisional").count() == 1
    page.tab.click("td a:text('October 2026')")
    page.tab.wait_for_selector("h1:has-text('October 2026')")
    figures = page.tab.locator(".equation .money").all_inner_texts()
    assert figures == [yuan(told[name]) for name in ("opening_balance", "credits", "adjustments", "amount", "closing_balance")]
    assert f"Calls {told['calls']:,} · Settlements {told['settlements']} · Packages bought 4 · {yuan(told['packages_amount'])}" in page.text()
    rows = page.tab.locator("section:has(h2:text('By service')) tbody tr").all_inner_texts()
    assert len(rows) == len(told["lines"]) > 1
    for text, line in zip(rows, told["lines"]):
        assert yuan(line["amount"]) in text and f"{line['units']:,} " in text and (line["package_id"] or "Postpaid") in text
    with page.tab.expect_download() as found:
        page.tab.click("text=Download summary CSV")
    assert len(found.value.path().read_text().splitlines()) == len(told["lines"]) + 1
    page.tab.emulate_media(media="print")
    assert not page.tab.is_visible("h2:text('Month statements')") and not page.tab.is_visible("text=Download summary CSV")
    assert page.tab.is_visible("text=Packages bought") and page.tab.is_visible(".equation")
    page.tab.pdf(path=ARTEFACTS / "month.pdf", format="A4")
    page.tab.emulate_media(media="screen")
    page.tab.click("td a[href*='/settlements/']")
    page.tab.wait_for_selector("h1:has-text('Settlement')")
    page.open(f"accounts/{DEALER}/statement?month=2026-09")
    assert "Nothing was paid in, bought or billed in this month" in page.text() and page.tab.locator("h2 .badge").count() == 0


# ---- who means harm ----

@pytest.mark.parametrize("account", HOSTILE[:-1], ids=[str(number) for number in range(len(HOSTILE) - 1)])
def test_hostile_ids_are_text(tabs, account):
    page = tabs("en-GB").open(f"accounts/{console.quoted(account)}")
    shown = page.tab.evaluate("document.querySelector('h1 bdi').textContent")
    assert re.sub(r"U\+([0-9A-F]{4})", lambda code: chr(int(code[1], 16)), shown) == account
    assert page.tab.locator("main img, main script").count() == 0
    assert page.tab.title().startswith(account[:20])
    assert page.tab.locator("section:has(h2:text('Notices')) td bdi").first.evaluate("each => each.textContent") == shown  # its package's id
    page.tab.click("text=Statement")
    page.shown()
    assert page.tab.locator("main img").count() == 0
    page.tab.click("td a:text('October 2026')")
    page.tab.wait_for_selector("h1:has-text('October 2026')")
    assert page.tab.locator("main img").count() == 0 and page.tab.locator("h2:text-is('Month statement')").count() == 1
    page.tab.go_back()
    page.tab.wait_for_selector("h1:has-text('November 2026')")
    page.tab.click("td a[href*='/settlements/']")  # its first settlement
    page.tab.wait_for_selector("h1:has-text('Settlement')")
    assert page.tab.locator("dl.equation").count() == 1
    assert page.wrong == []


def test_two_ids_that_look_alike_are_told_apart(look):
    page = look("en-GB").open("accounts")
    assert "U+202Egnorw" in page.text()
    assert page.tab.locator("main img").count() == 0


def test_what_a_browser_cannot_ask_for_is_said(look):
    page = look("en-GB").open("accounts/..")
    assert "A browser cannot ask for this id" in page.text()
    assert "--path-as-is" in page.text()


def test_markup_that_got_in_would_not_run(look):
    """The second fence: even markup in the page runs nothing, loads nothing and sends nothing."""
    page = look("en-GB").open("")
    ran = page.tab.evaluate("""async () => {
      const tried = [];
      const attempt = (name, act) => { try { act(); tried.push(name); } catch { /* refused */ } };
      attempt("innerHTML", () => { document.body.innerHTML += "<b>x</b>"; });
      const script = document.createElement("script");
      attempt("script", () => { script.textContent = "window.ran = 1"; document.body.append(script); });
      await fetch("http://127.0.0.1:9/").then(() => tried.push("fetch"), () => {});
      return [...tried, window.ran ?? "nothing ran"];
    }""")
    assert ran == ["nothing ran"]
    assert page.wrong and not any(line.startswith("asked for") for line in page.wrong)
    page.wrong.clear()


def test_the_files_are_sent_with_care(site):
    _, base, _ = site
    page, body = ask(base, "/")
    assert page.status == 200 and page.getheader("Content-Type") == "text/html; charset=utf-8"
    assert page.getheader("Cache-Control") == "private, no-cache" and page.getheader("ETag")
    assert page.getheader("X-Content-Type-Options") == "nosniff"
    for name in re.findall(rb'(?:src|href)="(/[^"]+)"', body):
        answer, text = ask(base, name.decode())
        assert answer.status == 200 and "default-src 'none'" in answer.getheader("Content-Security-Policy")
        assert answer.getheader("ETag") == f'"{hashlib.sha256(text).hexdigest()}"'
    assert not re.search(rb"<style|<script>|\sstyle=|\son\w+=", body)
    assert ask(base, "/console/none.js")[0].status == ask(base, "/nothing")[0].status == 404


def test_what_is_not_ours_is_as_it_was():
    vendor = ROOT / "consumer" / "console" / "vendor"
    listed = dict(reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text().splitlines())
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.glob("uPlot.*")}


# ---- hands and eyes ----

def test_a_keyboard_is_enough(look):
    page = look("en-GB").open("")
    keys = page.tab.keyboard
    keys.press("Tab")
    assert page.tab.evaluate("document.activeElement.className") == "skip"
    keys.press("Enter")
    assert page.tab.evaluate("document.activeElement.id") == "main"
    page.tab.focus("[role=search] input")
    keys.type(DEALER)
    keys.press("Enter")
    page.tab.wait_for_selector(f"h1:has-text('{DEALER}')")
    assert page.tab.evaluate("document.activeElement.id") == "main"  # a reader is told that another page is there
    for _ in range(40):
        keys.press("Tab")
        if page.tab.evaluate("document.activeElement.textContent") == "Statement":
            break
    outline = page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "solid3px"
    keys.press("Enter")
    page.tab.wait_for_selector("h1:has-text('Statement')")
    page.tab.go_back()
    page.tab.wait_for_selector("h1:has-text('Account')")


def test_the_language_is_remembered(look):
    page = look("zh-CN").open("quote")
    page.tab.click("#language")
    page.tab.wait_for_selector("h1:text('Price calculator')")
    page.tab.reload()
    page.tab.wait_for_selector("h1:text('Price calculator')")
    assert look("fr-FR").open("quote").text("h1") == "Price calculator"  # neither of the two: English


# ---- who may look ----

@pytest.fixture
def guarded(site, tmp_path):
    """A second process of the deployment, where tokens are asked for."""
    d, _, _ = site
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{hashlib.sha256(token.encode()).hexdigest()} {scope}\n"
                              for token, scope in (("all", "reader"), ("mine", f"account {DEALER}"))))
    process = d.start("--clock", console.NOW, config=d.write_config("guarded.yaml", http={"tokens": str(tokens)}))
    process.await_line("http listens")
    yield f"http://127.0.0.1:{process.port}"
    process.stop()


def enter(page, token):
    page.tab.fill("main [name=token]", token)
    page.tab.click("main .token button")


def without_refusals(page):
    """A browser complains of each 401 and 403, as it should."""
    page.wrong[:] = [line for line in page.wrong if "status of 401" not in line and "status of 403" not in line]


def test_a_token_opens_what_it_may(guarded, look):
    page = look("en-GB", base=guarded).open("accounts")
    assert "A token is needed" in page.text() and "send the header" in page.text()
    enter(page, "wrong")
    playwright.sync_api.expect(page.tab.locator("main [name=token]")).to_have_value("")  # another form, not the same
    enter(page, "all")
    page.tab.wait_for_selector("h1:text('Accounts')")
    assert page.tab.evaluate("[sessionStorage['settled.token'], JSON.stringify(localStorage), document.cookie]") == ["all", "{}", ""]
    page.tab.reload()
    page.tab.wait_for_selector("h1:text('Accounts')")
    page.tab.click("text=Token ✓")
    page.tab.click("text=Forget it")
    page.tab.wait_for_selector("main [name=token]")
    assert page.tab.evaluate("sessionStorage.length") == 0
    without_refusals(page)


def test_a_holder_sees_one_account(guarded, look):
    page = look("en-GB", base=guarded).open("")
    enter(page, "mine")
    page.tab.wait_for_selector(f"h1:has-text('{DEALER}')")
    assert page.tab.locator("nav a").all_inner_texts() == ["Account", "Price calculator"]
    page.tab.click(f"text={EXPIRING}")
    page.tab.wait_for_selector("h1:has-text('Package')")
    page.open(f"accounts/{SMALL}")
    assert "This may not be seen" in page.text() and f"may see the account {DEALER} alone" in page.text()
    without_refusals(page)


def test_a_server_that_is_gone_is_said(site, look):
    page = look("en-GB").open("accounts")
    page.tab.route("**/v1/**", lambda route: route.abort())
    page.tab.click("text=Refresh")
    page.tab.wait_for_selector(".problem")
    assert "The server cannot be reached" in page.text() and DEALER in page.text()
    page.wrong.clear()


def test_the_command_takes_pictures(site, launched, tmp_path):
    made = console.shoot(launched, site[1], tmp_path, {"accounts": VIEWS["accounts"]})
    assert sorted(path.name for path in made) == ["accounts-dark.png", "accounts-en.png", "accounts-narrow.png", "accounts-zh.png"]
    assert all(path.stat().st_size > 10000 for path in made)
