"""How sites run PostgreSQL: behind a pooler, as a list of servers of which one takes writes, with passwords, with
restarts. Each works, or is refused at the start with its remedy."""

import contextlib
import signal

import pytest
from deployment import at
from services import Services

DAY = "2026-11-01"
OPEN, AFTER = "2026-11-01T13:00:00+08:00", "2026-11-02T00:10:00+08:00"
INSIGHT = 220000  # fen a call
POOLED = "a pooler hands each transaction to another session"
READ_ONLY = "alter database {} set default_transaction_read_only = {}"


@pytest.fixture(scope="module")
def own():
    with Services() as services:
        services.postgres_one = services.postgres()
        yield services


@pytest.fixture
def database(own, request):
    name = request.node.name.split("[")[0][:60]
    own.postgres_one.sql(f'drop database if exists "{name}"')
    own.postgres_one.sql(f'create database "{name}"')
    return name


@pytest.fixture
def pooler(own):
    made = own.pgbouncer(own.postgres_one)
    yield made
    made.stop()


def refused(d, reason, verb="run", status=78):
    """`check` and `run` end alike, and say the same."""
    assert reason in d.run("check", status=status)
    log = d.drain(AFTER, status=status).log
    assert reason in log
    return log


def one_call(d, account="a"):
    d.call(account, f"{account}-1", at(DAY, "10:00:00"))
    d.flush()


# ---- poolers ----

def test_a_pool_of_sessions_works(deploy, own, database, pooler):
    d = deploy(dsn=pooler.dsn_of(database))
    one_call(d)
    d.drain(AFTER)
    assert d.sql("select amount from settled.settlements") == [(INSIGHT,)]
    d.check_published()
    d.audit()


def test_a_pool_of_sessions_that_resets_nothing_works(deploy, own, database, pooler):
    """What was prepared for one client is still there for the next one."""
    pooler.set(pool_mode="session", server_reset_query="", min_pool_size=1, default_pool_size=40)
    pooler.restart()
    d = deploy(dsn=pooler.dsn_of(database))
    for clock in (OPEN, OPEN, AFTER):
        one_call(d, f"a-{clock}")
        d.drain(clock)
    assert d.sql("select count(*) from settled.settlements") == [(2,)]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pool_of_transactions_is_refused(deploy, own, database, pooler, mode):
    d = deploy(dsn=own.postgres_one.dsn_of(database))
    pooler.set(pool_mode=mode)
    pooler.restart()
    d.dsn = pooler.dsn_of(database)
    d.config = d.write_config()
    one_call(d)
    refused(d, POOLED)


def test_a_pool_whose_mode_changes_while_it_runs(deploy, own, database, pooler):
    d = deploy(dsn=pooler.dsn_of(database), workers=1)
    process = d.start("--clock", OPEN)
    process.await_ready()
    pooler.set(pool_mode="transaction")
    pooler.reload()
    for n in range(40):
        one_call(d, f"account-{n}")
        with contextlib.suppress(AssertionError):
            d.until(lambda: process.process.poll() is not None, seconds=1)
            break
    # Its sessions stay its own until they are given back; from then on nothing is written by another's settings.
    if process.process.poll() is None:
        own.postgres_one.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'")
        one_call(d, "last")
    assert process.wait() == 78, process.log[-3000:]
    assert POOLED in process.log
    d.dsn = own.postgres_one.dsn_of(database)
    d.config = d.write_config()
    d.drain(AFTER)
    d.check_published()
    d.audit()


# ---- servers that take no writes ----

def test_a_database_that_takes_no_writes_for_a_while(deploy, own, database):
    d = deploy(dsn=own.postgres_one.dsn_of(database))
    process = d.start("--clock", OPEN)
    process.await_ready()
    own.postgres_one.sql(READ_ONLY.format(f'"{database}"', "on"))
    own.postgres_one.stop()
    d.top_up("a", "c", 100, at(DAY, "09:00:00"))
    d.flush()
    d.until(lambda: "waits for the database" in process.get("/healthz/ready")[1], process)
    assert process.metric("settled_postgres_up") == 0
    process.await_line("the database does not answer, trying on")
    assert "read-only" not in process.log
    own.postgres_one.start()
    process.await_line("the database does not answer, trying on.*read-only")  # it is another reason now
    assert process.metric("settled_postgres_up") == 0
    # Who only reads goes on.
    d.run("rejects", "list")
    d.run("audit")
    own.postgres_one.sql(READ_ONLY.format(f'"{database}"', "off"))
    process.await_ready()
    d.until(lambda: d.sql("select count(*)::int from settled.credits") == [(1,)], process)
    assert process.stop() == 0


def test_a_session_that_is_turned_read_only(deploy, own, database):
    """The server itself is switched, without ending a session: each write answers 25006 then."""
    d = deploy(dsn=own.postgres_one.dsn_of(database))
    process = d.start("--clock", OPEN)
    process.await_ready()
    try:
        own.postgres_one.sql("alter system set default_transaction_read_only = on")
        own.postgres_one.sql("select pg_reload_conf()")
        d.top_up("a", "c", 100, at(DAY, "09:00:00"))
        d.flush()
        d.until(lambda: "waits for the database" in process.get("/healthz/ready")[1], process)
        assert process.metric("settled_postgres_up") == 0
    finally:
        own.postgres_one.sql("alter system reset default_transaction_read_only")
        own.postgres_one.sql("select pg_reload_conf()")
    process.await_ready()
    d.until(lambda: d.sql("select count(*)::int from settled.credits") == [(1,)], process)
    assert process.stop() == 0


def test_of_a_list_of_servers_the_one_that_takes_writes(deploy, own, database):
    d = deploy(dsn=own.postgres_one.dsn_of(database))
    other = own.postgres()
    try:
        other.sql(f'create database "{database}"')
        other.sql("alter system set default_transaction_read_only = on")
        other.sql("select pg_reload_conf()")
        d.dsn = f"postgresql://postgres@127.0.0.1:{other.port},127.0.0.1:{own.postgres_one.port}/{database}"
        config = d.write_config()
        d.dsn, d.config = own.postgres_one.dsn_of(database), config
        one_call(d)
        d.drain(AFTER)
        assert d.sql("select amount from settled.settlements") == [(INSIGHT,)]
        # Nothing but the one that takes no writes: it may do so later, so this is waited for (69).
        d.dsn = f"postgresql://postgres@127.0.0.1:{other.port}/postgres"
        d.config = d.write_config()
        refused(d, "read-only", status=69)
    finally:
        other.stop()


# ---- who logs in ----

@pytest.fixture
def secured():
    """A server that asks for passwords."""
    with Services() as services:
        server = services.postgres()
        server.sql("create role biller login superuser password 'sesame'")
        (server.data / "pg_hba.conf").write_text("host all postgres all trust\nhost all all all scram-sha-256\n")
        server.sql("select pg_reload_conf()")
        yield server


def test_a_refused_login_is_the_configurations(deploy, secured):
    d = deploy(dsn=secured.dsn_of("postgres"))
    where = f"127.0.0.1:{secured.port}"
    for dsn, reason in ((f"postgresql://biller:wrong@{where}/postgres", "password authentication failed"),
                        (f"postgresql://nobody@{where}/postgres", "fe_sendauth: no password supplied"),
                        (f"postgresql://biller:sesame@{where}/nowhere", 'database "nowhere" does not exist')):
        d.dsn = dsn
        d.config = d.write_config()
        log = refused(d, reason)
        assert "mend user, password or database in postgres.dsn" in log
        assert "wrong" not in log
    d.dsn = f"postgresql://biller:sesame@{where}/postgres"
    d.config = d.write_config()
    one_call(d)
    d.drain(AFTER)


def test_a_configuration_with_a_password_that_others_may_read(deploy, secured):
    d = deploy(dsn=f"postgresql://biller:sesame@127.0.0.1:{secured.port}/postgres")
    d.config.chmod(0o644)
    told = d.run("check")
    assert f"{d.config} holds a secret, and every user of this machine may read it" in told and "sesame" not in told
    d.config.chmod(0o640)
    assert "holds a secret" not in d.run("check")


def test_a_password_that_changes_while_it_runs_is_waited_for(deploy, secured):
    d = deploy(dsn=f"postgresql://biller:sesame@127.0.0.1:{secured.port}/postgres")
    process = d.start("--clock", OPEN)
    process.await_ready()
    secured.sql("alter role biller password 'another'")
    secured.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'biller'")
    d.top_up("a", "c", 100, at(DAY, "09:00:00"))
    d.flush()
    d.until(lambda: "password authentication failed" in process.get("/healthz/ready")[1], process)
    secured.sql("alter role biller password 'sesame'")
    process.await_ready()
    assert process.stop() == 0


def test_a_reload_after_a_restart_of_the_server(deploy, own, database):
    d = deploy(dsn=own.postgres_one.dsn_of(database))
    process = d.start("--clock", OPEN)
    process.await_ready()
    for kill in (False, True):
        own.postgres_one.restart(kill=kill)
        before = process.metric("settled_config_reloads_total")
        process.process.send_signal(signal.SIGHUP)
        d.until(lambda before=before: process.metric("settled_config_reloads_total") == before + 1, process)
    assert process.metric("settled_config_reload_errors_total") == 0
    assert process.stop() == 0
