"""What account holders are told of calls that are not settled yet: by the process that has the shard, and by any other."""

import hashlib
import http.client
import json
import time
import urllib.parse

import psycopg
import pytest

import services
from deployment import at

DAY = "2026-11-01"
NOON = f"{DAY}T12:00:00+08:00"
INSIGHT = 220000  # fen a call
PACKAGE = 7000000  # fen, of 10,000 leads
ACCOUNTS = [*(f"account-{number}" for number in range(12)), "a/b", ".."]  # on all partitions, as good as certain


def tell(port, account, token=None, below=""):
    """Status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/v1/accounts/{urllib.parse.quote(account, safe='')}{below}",
                           headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def told(process, account, calls, seconds=30):
    """The answer once it holds so many calls."""
    deadline = time.monotonic() + seconds
    while True:
        status, answer = tell(process.port, account)
        if status == 200 and answer["provisional"] and answer["days"][0]["calls"] == calls:
            return answer
        assert time.monotonic() < deadline, (account, status, answer, process.log[-4000:])
        time.sleep(0.05)


def usage(process, query="", provisional=True):
    """Its rows, page by page, each asked for once the shard can be looked at."""
    found, after = [], ""
    while after is not None:
        deadline = time.monotonic() + 30
        while True:
            status, page = tell(process.port, "holder", below=f"/usage?{query}{after and f'&after={after}'}")
            if status == 200 and page["provisional"] == provisional:
                break
            assert time.monotonic() < deadline, page
            time.sleep(0.05)
        found += [(i["business_day"], i["service"], i["calls"], i["units"], i["amount"], i["provisional"]) for i in page["items"]]
        after = page["next"]
    return found


def test_a_day_is_told_as_it_would_be_settled(deploy):
    d = deploy()
    process = d.start("--clock", NOON)
    process.await_ready()
    assert tell(process.port, "holder")[0] == 404
    # An account that has made calls alone has no row yet.
    d.call("holder", "c1", at(DAY, "09:00:00"))
    d.flush()
    assert told(process, "holder", 1)["balance"] == 0
    d.purchase("holder", "pack", "PURCHASE_INTENT", 10000, PACKAGE, at(DAY, "08:00:00"))
    d.top_up("holder", "credit", 500000, at(DAY, "08:00:00"))
    d.call("holder", "c2", at(DAY, "10:00:00"), 8000)
    d.call("holder", "c3", at(DAY, "11:00:00"), 8000)
    d.call("holder", "c3", at(DAY, "11:00:00"), 8000)  # twice
    d.flush()
    found = told(process, "holder", 3)
    d.until(lambda: tell(process.port, "holder")[1]["balance"] == 500000
            and tell(process.port, "holder")[1]["packages"], process)
    found = told(process, "holder", 3)
    assert found["days"] == [{
        "business_day": DAY, "phase": "OPEN", "provisional": True, "calls": 3,
        "services": [{"service": "AUDIENCE_INSIGHT", "calls": 1, "units": 1, "amount": INSIGHT},
                     {"service": "PURCHASE_INTENT", "calls": 2, "units": 16000, "amount": 6000 * 1000}],
        "amount": INSIGHT + 6000 * 1000, "balance_after": 500000 - INSIGHT - 6000 * 1000, "status_after": "SUSPENDED"}]
    assert (found["balance"], found["status"], found["account_sequence"]) == (500000, "ACTIVE", 0)
    package, = found["packages"]
    assert (package["remaining"], package["remaining_now"]) == (10000, 0)
    # One of the two calls is covered in part: it stands on two lines, and is one call.
    used = [(DAY, "AUDIENCE_INSIGHT", 1, 1, INSIGHT), (DAY, "PURCHASE_INTENT", 2, 16000, 6000 * 1000)]
    assert usage(process) == usage(process, "limit=1") == [(*row, True) for row in used]
    assert usage(process, "from=2026-11-02") == usage(process, "to=2026-10-31") == []
    # Asked about or not, it is settled so.
    assert process.stop() == 0
    d.drain("2026-11-02T00:10:00+08:00")
    assert d.sql("select calls, amount, closing_balance, status from settled.settlements") == [
        (3, INSIGHT + 6000 * 1000, 500000 - INSIGHT - 6000 * 1000, "SUSPENDED")]
    process = d.start("--clock", "2026-11-02T00:10:00+08:00")
    process.await_ready()
    found = told(process, "holder", 0)
    assert (found["balance"], found["status"], found["account_sequence"]) == (500000 - INSIGHT - 6000 * 1000, "SUSPENDED", 1)
    assert found["status_since"] == "2026-11-02T00:00:00.000+08:00"
    assert d.sql("select sum(calls)::int, sum(calls_begun)::int from settled.settlement_lines") == [(4, 3)]
    d.call("holder", "late", at(DAY, "13:00:00"), 10, timestamp=at("2026-11-02", "00:01:00"))
    d.flush()
    told(process, "holder", 1)
    settled = [(*row, False) for row in used]
    late = [("2026-11-02", "PURCHASE_INTENT", 1, 10, 10 * 1000, True)]
    for query in ("", "limit=1", "limit=2"):
        assert usage(process, query) == settled + late
    assert usage(process, f"to={DAY}&limit=1") == settled
    assert usage(process, "from=2026-11-02") == late
    assert found["days"][0]["business_day"] == "2026-11-02"
    assert [(p["remaining"], p["remaining_now"]) for p in found["packages"]] == [(0, 0)]


def shape(answer):
    """Names and types, in their order."""
    if isinstance(answer, dict):
        return [(name, shape(value)) for name, value in answer.items()]
    if isinstance(answer, list):
        return [shape(value) for value in answer]
    return type(answer)


def test_what_the_shard_has_of_an_account_needs_no_table(deploy):
    """It is answered while nobody can read the tables, in the form in which it is answered from them."""
    d = deploy()
    for account in ("holder", "spent"):
        d.top_up(account, f"credit-{account}", 500000, at(DAY, "08:00:00"))
        for name in ("b", "a"):
            d.purchase(account, f"{name}-{account}", "PURCHASE_INTENT", 10000, PACKAGE, at(DAY, "08:30:00"))
        d.call(account, f"c-{account}", at(DAY, "10:00:00"), 8000)
    d.purchase("spent", "old", "PURCHASE_INTENT", 10000, PACKAGE, at(DAY, "08:00:00"), used=10000)
    d.flush()
    process = d.start("--clock", NOON)
    process.await_ready()
    d.until(lambda: d.sql("select count(*) from settled.packages")[0][0] == 5, process)
    from_tables = told(process, "spent", 1)
    old = from_tables["packages"].pop(0)
    assert (old["package_id"], old["remaining"], old["remaining_now"]) == ("old", 0, 0)
    with psycopg.connect(d.dsn) as connection:
        connection.execute("lock table settled.accounts, settled.packages, settled.status_changes, settled.shard_logs")
        found = told(process, "holder", 1, seconds=3)
    assert shape(found) == shape(from_tables)
    assert [p["package_id"] for p in found["packages"]] == ["b-holder", "a-holder"]  # as they were bought
    assert [p["remaining_now"] for p in found["packages"]] == [10000, 2000]  # the one named first is drawn first
    for name in ("currency", "balance", "status", "status_since", "account_sequence", "days", "packages_complete", "final_through"):
        assert found[name] == from_tables[name], name
    for name in ("open_day", "price_book"):
        assert found["as_of"][name] == from_tables["as_of"][name], name


def test_the_next_day_follows_in_the_grace(deploy):
    """Late calls, and calls of the next day, are told where they would be settled."""
    d = deploy()
    d.call("holder", "of the first", at(DAY, "23:00:00"))
    d.call("holder", "of the next", at("2026-11-02", "00:01:00"))
    d.flush()
    process = d.start("--clock", "2026-11-02T00:02:00+08:00")
    found = told(process, "holder", 1)
    d.until(lambda: len(tell(process.port, "holder")[1]["days"]) == 2, process)
    found = told(process, "holder", 1)
    assert [(day["business_day"], day["phase"], day["calls"], day["balance_after"]) for day in found["days"]] == [
        (DAY, "GRACE", 1, -INSIGHT), ("2026-11-02", "OPEN", 1, -2 * INSIGHT)]


@pytest.fixture
def pair(deploy, tmp_path):
    """A deployment with two processes, each with half of its shards; each knows where the other one is."""
    d = deploy(partitions=4, workers=1)
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{hashlib.sha256(token.encode()).hexdigest()} {scope}\n"
                              for token, scope in (("all", "reader"), ("one", f"account {ACCOUNTS[0]}"))))
    for number, account in enumerate(ACCOUNTS):
        for call in range(number + 1):
            d.call(account, f"call-{call}", at(DAY, "10:00:00"))
    d.flush()
    processes = []
    for name in ("first", "second"):
        listen = f"127.0.0.1:{services.free_port()}"
        config = d.write_config(f"{name}.yaml", http={"listen": listen, "tokens": str(tokens)})
        processes.append(d.start("--clock", NOON, config=config))
    d.until(lambda: {count for count, in d.sql("select count(*) from settled.shards where address <> '' group by address")}
            == {2}, *processes)
    for process in processes:
        process.await_ready()
    return d, processes


def test_any_process_answers_for_any_account(pair):
    d, processes = pair
    for number, account in enumerate(ACCOUNTS):
        for process in processes:
            d.until(lambda process=process, account=account: tell(process.port, account, "all")[0] == 200, process)
            status, found = tell(process.port, account, "all")
            assert (status, found["provisional"]) == (200, True), found
            assert found["account_id"] == account
            assert found["days"][0]["amount"] == (number + 1) * INSIGHT
    # Who may not ask this process about an account may not ask the other one, either.
    for process in processes:
        assert [tell(process.port, ACCOUNTS[0], token)[0] for token in ("one", "other", None)] == [200, 401, 401]
        assert tell(process.port, ACCOUNTS[1], "one")[0] == 403
        assert tell(process.port, "nobody", "all")[0] == 404


def test_while_a_shard_moves_no_number_is_wrong(pair):
    """The other process is killed: until its shards are taken over, what is recorded is told, which says so."""
    d, (first, second) = pair
    for account in ACCOUNTS:
        d.until(lambda account=account: tell(first.port, account, "all")[0] == 200, first)
    second.kill()
    seen, deadline = {True: 0, False: 0}, time.monotonic() + 60
    while True:
        provisional = 0
        for number, account in enumerate(ACCOUNTS):
            status, found = tell(first.port, account, "all")
            if status == 404:
                seen[False] += 1  # it has made calls alone, of which nothing is recorded
                continue
            assert status == 200, found
            assert found["provisional"] and found["days"][0]["calls"] == number + 1, found
            seen[True] += 1
            provisional += 1
        if provisional == len(ACCOUNTS):
            break
        assert time.monotonic() < deadline, first.log[-4000:]
        time.sleep(0.1)
    assert seen[False] > 0


def ask_quote(port, query, token=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/v1/quote?{query}", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_quote_counts_what_is_held(deploy):
    """Over HTTP as it is now, on the command line as it was settled."""
    d = deploy()
    d.purchase("holder", "pack", "PURCHASE_INTENT", 10000, PACKAGE, at(DAY, "08:00:00"))
    d.purchase("holder", "other", "AUDIENCE_INSIGHT", 50, 10000000, at(DAY, "08:00:00"))
    d.call("holder", "c1", at(DAY, "10:00:00"), 4000)
    d.flush()
    process = d.start("--clock", NOON)
    process.await_ready()
    told(process, "holder", 1)
    d.until(lambda: d.sql("select count(*) from settled.packages") == [(2,)], process)
    query = "service=PURCHASE_INTENT&leads=8000"
    status, found = ask_quote(process.port, f"{query}&account=holder")
    assert (status, found["need_units"], found["held_units"]) == (200, 8000, 6000)
    postpaid = found["options"][0]
    assert (postpaid["covered_units"], postpaid["postpaid_amount"]) == (6000, 2000 * 1000)
    assert ask_quote(process.port, query)[1]["held_units"] == 0
    assert ask_quote(process.port, f"{query}&account=nobody")[0] == 404
    printed = json.loads(d.run("quote", "--service", "PURCHASE_INTENT", "--leads", "8000", "--account", "holder", "--day", DAY,
                               "--format", "json"))
    assert (printed["held_units"], printed["least"]["total"], printed["least"]["left_units"]) == (10000, 0, 2000)
    # Bought later than the day that is asked about, and of no account.
    table = d.run("quote", "--service", "PURCHASE_INTENT", "--leads", "8000", "--account", "holder", "--day", "2026-10-31")
    assert "Held        0 leads by holder" in table
    assert "there is no account nobody" in d.run("quote", "--service", "PURCHASE_INTENT", "--leads", "8000",
                                                 "--account", "nobody", status=78)


def test_a_quote_for_an_account_is_for_its_holder(pair):
    _, processes = pair
    query = f"service=AUDIENCE_INSIGHT&calls=1&account={ACCOUNTS[0]}"
    for process in processes:
        assert [ask_quote(process.port, query, token)[0] for token in ("all", "one", None)] == [200, 200, 401]
        assert ask_quote(process.port, query.replace(ACCOUNTS[0], ACCOUNTS[1]), "one")[0] == 403
        assert ask_quote(process.port, "service=AUDIENCE_INSIGHT&calls=1", "one")[0] == 200
