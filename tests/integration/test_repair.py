"""repair: a database lost commits that were published. The topics are the truth, and the database is restored from
them."""

import contextlib
import os
import subprocess
import uuid

import psycopg
import pytest
from deployment import Deployment, at
from topic_copies import copied, messages_of

TABLES = {  # and what of them is the process's, not the fold's
    "accounts": (), "credits": (), "packages": (), "settlements": (), "settlement_lines": (), "status_changes": (),
    "notices": (), "month_statements": (), "month_statement_lines": (),
    "day_closes": ("closed_at",), "day_cutoffs": (), "rejects": (), "outbox": (), "shard_logs": (),
    "shards": ("epoch", "step", "claimed_at", "committed_at", "held_since"),
}
DAY_ENDS = [f"2026-{day}T00:05:00+08:00" for day in ("11-29", "11-30", "12-01", "12-02", "12-03")]  # over a month's end


class Failed:
    """A deployment whose database is set back to an earlier state, like that of a replica that lagged."""

    def __init__(self, deployment, superuser):
        self.deployment, self.superuser, self.made = deployment, superuser, []

    def copy(self, dsn=None):
        """A database as it stands now; the DSN of the copy."""
        name = f"copy_{uuid.uuid4().hex}"
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {(dsn or self.deployment.dsn).rpartition('/')[2]}")
        self.made.append(name)
        return self.superuser.rpartition("/")[0] + "/" + name

    @contextlib.contextmanager
    def on(self, dsn):
        """The same deployment on another database."""
        before = self.deployment.dsn, self.deployment.config
        self.deployment.dsn = dsn
        self.deployment.config = self.deployment.write_config(f"{dsn.rpartition('/')[2]}.yaml", postgres={"dsn": dsn})
        try:
            yield self.deployment
        finally:
            self.deployment.dsn, self.deployment.config = before

    def close(self):
        self.deployment.close()
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            for name in self.made:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def generated(settled, brokers, superuser, folder):
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    deployment = Deployment(settled, brokers, superuser.rpartition("/")[0] + "/" + name, folder, partitions=2, workers=1,
                            late_days=2, first_day="2026-11-28")
    deployment.run("generate", "--seed", "11", "--accounts", "25", "--calls-per-day", "200", "--days", "4",
                   "--duplicates", "4", "--late", "4", "--broken", "4", "--purchases", "6", "--credits", "15")
    failed = Failed(deployment, superuser)
    failed.made.append(name)
    yield failed
    failed.close()


@pytest.fixture
def failed(settled, brokers, tmp_path):
    with generated(settled, brokers, os.environ["SETTLED_TEST_DSN"], tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def lived(settled, brokers, tmp_path_factory):
    """All days settled, and copies of the database after each; tests work on copies of these."""
    with generated(settled, brokers, os.environ["SETTLED_TEST_DSN"], tmp_path_factory.mktemp("repair")) as found:
        found.after = []
        for clock in DAY_ENDS:
            found.after.append(found.copy())
            found.deployment.drain(clock)
        found.truth = contents(found.deployment)
        yield found


def contents(d):
    found = {}
    for table, free in TABLES.items():
        columns = [row[0] for row in d.sql("select column_name from information_schema.columns where table_schema = 'settled'"
                                           " and table_name = %s order by ordinal_position", table)]
        wanted = ", ".join(column for column in columns if column not in free)
        found[table] = sorted(d.sql(f"select {wanted} from settled.{table}"), key=repr)
    return found


def live(d, days):
    for clock in days:
        d.drain(clock)


def assert_same(d, truth):
    for table, rows in contents(d).items():
        assert rows == truth[table], table
    d.check_published()
    d.run("audit")


@pytest.mark.parametrize("known", [1, 3])
def test_what_was_published_comes_back(lived, known):
    d = lived.deployment
    with lived.on(lived.copy(lived.after[known])):
        halted = d.drain(DAY_ENDS[-1], status=78)
        assert "Kafka holds rows up to sequence" in halted.log
        assert set(contents(d)["outbox"]) < set(lived.truth["outbox"])  # nothing was written on top
        behind = d.sql("select sum(sequence) from settled.shards")
        said = d.run("repair")
        assert "shard 0: rows " in said and "shard 1: rows " in said, said
        assert d.sql("select sum(sequence) from settled.shards") > behind
        assert d.run("repair").count("nothing is missing") == 2
        live(d, DAY_ENDS[-1:])
        assert_same(d, lived.truth)


def test_a_shard_whose_first_commit_was_lost_comes_back_whole(lived):
    d = lived.deployment
    dsn = lived.copy(lived.after[1])
    with psycopg.connect(dsn) as connection:
        connection.execute("delete from settled.settlement_lines where account_id in"
                           " (select account_id from settled.accounts where shard = 0)")
        connection.execute("delete from settled.rejects where partition = 0")
        for table in ("accounts", "credits", "packages", "settlements", "status_changes", "notices", "month_statements",
                      "day_closes", "day_cutoffs", "outbox", "relay_marks", "shard_logs", "shards"):
            connection.execute(f"delete from settled.{table} where shard = 0")
    with lived.on(dsn):
        assert "shard 0: rows 1 to " in d.run("repair")
        live(d, DAY_ENDS[-1:])
        assert_same(d, lived.truth)


def test_it_refuses_a_database_that_knows_nothing(lived):
    with lived.on(lived.copy(lived.after[0])):
        assert "it is not a replica of the old one" in lived.deployment.run("repair", status=78)


def test_it_writes_nothing_when_the_rows_would_be_others(lived):
    d = lived.deployment
    dsn = lived.copy(lived.after[2])
    with lived.on(dsn):
        account = d.sql("select account_id from settled.settlements where shard = 1 order by 1 limit 1")[0][0]
        with psycopg.connect(dsn) as connection:
            connection.execute("update settled.accounts set opening = opening + 1, balance = balance + 1"
                               " where account_id = %s", (account,))
        before = contents(d)
        said = d.run("repair", status=78)
        assert "shard 1 cannot be repaired: row " in said and f"({account}/" in said, said
        assert "is published with " in said and "but the inputs give " in said, said
        assert contents(d) == before


def test_it_refuses_rows_that_were_written_since(lived):
    d = lived.deployment
    dsn = lived.copy()
    with lived.on(dsn):
        with psycopg.connect(dsn) as connection:
            connection.execute("update settled.outbox o set hash = decode(repeat('11', 32), 'hex') from settled.shards s"
                               " where s.shard = o.shard and s.sequence = o.sequence and s.shard = 0")
        said = d.run("repair", status=78)
        assert "of the database is not the one that was published" in said, said


def test_it_refuses_what_a_lost_decision_changed(failed):
    d = failed.deployment
    live(d, DAY_ENDS[:1])
    lost = failed.copy()
    d.run("rejects", "accept", "--topic", d.topics["calls"], "--all")
    live(d, DAY_ENDS[1:2])
    with failed.on(lost):
        said = d.run("repair", status=78)
        assert "names an operator's decision that the database lost" in said and "ACCEPT" in said, said


def test_it_goes_on_where_the_topics_end(failed):
    d = failed.deployment
    live(d, DAY_ENDS[:1])
    lost = failed.copy()
    live(d, DAY_ENDS[1:3])
    with failed.on(lost):
        d.run("repair")
        d.call("late-comer", "since", at("2026-12-01", "08:00:00"), leads=3)
        d.flush()
        live(d, DAY_ENDS[3:])
        d.check_published()
        assert d.sql("select count(*) from settled.settlements where account_id = 'late-comer'") == [(1,)]
        d.run("audit")


def sequences(d, key):
    """Of each shard, as they stand in the topic."""
    found = {}
    for partition, _, _, body in d.read(key):
        found.setdefault(partition, []).append(body["sequence"])
    return found


@pytest.mark.parametrize("key", ["status", "settlements", "rejects"])
def test_what_a_topic_lost_is_published_again(lived, key):
    """In the middle, and at the end, where the relay would do it by itself; each row once, however often repair is
    run."""
    d = lived.deployment
    before = sequences(d, key)
    shard = next(each for each, rows in before.items() if len(rows) > 3)
    whole = {partition: sorted(rows) for partition, rows in before.items()}
    lost = [before[shard][1], before[shard][-1]]
    topic = d.topics[key]
    with lived.on(lived.copy()):
        with copied(d, key, lambda p, m: [m[0], *m[2:-1]] if p == shard else m) as (name, config):
            d.topics[key] = name
            try:
                missing = subprocess.run([d.settled, "audit", "-c", config], capture_output=True, text=True, check=False)
                assert missing.returncode == 1 and "LOST: 2, " in missing.stdout, missing.stdout
                said = subprocess.run([d.settled, "repair", "-c", config], capture_output=True, text=True, check=True).stdout
                assert f"shard {shard}: 2 rows that the output topics had lost, of {lost[0]} to {lost[1]}" in said, said
                assert sequences(d, key)[shard] == [n for n in before[shard] if n not in lost] + lost
                again = subprocess.run([d.settled, "repair", "-c", config], capture_output=True, text=True, check=True).stdout
                assert again.count("nothing is missing") == 2, again
                assert {p: sorted(rows) for p, rows in sequences(d, key).items()} == whole
                process = d.start("--drain", "--clock", DAY_ENDS[-1], config=config)
                assert process.wait() == 0 and "publishing is halted" not in process.log
                found = subprocess.run([d.settled, "audit", "-c", config], capture_output=True, text=True, check=False)
                assert "0 lost, 0 repeated, 1 out of order" in found.stdout, found.stdout
            finally:
                d.topics[key] = topic


def test_nothing_is_published_again_that_stands_there(lived):
    """This includes rows that somebody else copied to the end."""
    d = lived.deployment
    messages = len(messages_of(d, "status", 0))
    with lived.on(lived.copy()):
        with copied(d, "status", lambda p, m: m + m[:1]) as (_, config):
            said = subprocess.run([d.settled, "repair", "-c", config], capture_output=True, text=True, check=True).stdout
            assert said.count("nothing is missing") == 2, said
    assert len(messages_of(d, "status", 0)) == messages
