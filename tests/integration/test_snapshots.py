"""Snapshots of the calls: a restart that has one reads only what came after, and says and writes what one without says
and writes. A file that is not as it was written is noticed."""

import re
import resource
import shutil

import psycopg
import pytest
from deployment import at

CLOCKS = ["2026-11-02T00:10:00+08:00", "2026-11-03T00:10:00+08:00", "2026-11-04T00:10:00+08:00"]
CALLS, ACCOUNTS = 300, 7


@pytest.fixture
def snapshots(tmp_path):
    folder = tmp_path / "snapshots"
    folder.mkdir()
    return folder


@pytest.fixture
def dsn_of_twin(dsn):
    """A second database, for a deployment that has the same inputs."""
    superuser, _, name = dsn.rpartition("/")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}_twin")
        yield f"{superuser}/{name}_twin"
        connection.execute(f"drop database {name}_twin with (force)")


def kept(folder):
    """The newest first."""
    return sorted(folder.iterdir(), reverse=True)


def send_day(d, day):
    """Calls of that day, some twice, some conflicting, some late; and a credit each."""
    for i in range(CALLS):
        account = f"account-{i % ACCOUNTS}"
        d.call(account, f"{day}-{i - i % 10 // 9}", at(day, "10:00:00") + i, leads=i, timestamp=at(day, "11:00:00") + i)
    for i in range(ACCOUNTS):
        d.top_up(f"account-{i}", f"credit-{day}-{i}", 1000 * i, at(day, "12:00:00"))
    d.flush()


def make(deploy, folder=None, **options):
    d = deploy(partitions=1, workers=1, **options)
    if folder:
        d.config = d.write_config(run={"snapshots": str(folder)})
    return d


def two_days_at_speed(deploy, snapshots):
    d = make(deploy, snapshots)
    send_day(d, "2026-11-01")
    send_day(d, "2026-11-02")
    process = d.start("--clock", "2026-11-01T18:00:00+08:00", "--speed", "3600")
    process.await_ready()
    return d, process


def replayed_from(process):
    """Where the replay began by what the process says; None: it had no snapshot."""
    found = re.findall(r'message="the calls are taken from a snapshot".* replayed_from=(\d+)', process.log)
    return int(found[-1]) if found else None


def refusals(process):
    return re.findall(r'level=warn message="a snapshot is not used.*" shard=0 file=(\S+) reason="(.*)"', process.log)


def claimed_from(process):
    return int(re.findall(r'message="shard claimed".* calls_from=(\d+)', process.log)[-1])


def test_a_restart_from_a_snapshot_reads_the_tail_and_changes_nothing(deploy, snapshots, dsn_of_twin):
    d = make(deploy, snapshots)
    twin = make(deploy, inputs_of=d, dsn=dsn_of_twin)
    for number, (day, clock) in enumerate(zip(("2026-11-01", "2026-11-02", "2026-11-03"), CLOCKS)):
        send_day(d, day)
        process = d.drain(clock)
        # The second start has what the first one wrote, and so on; the last record before is read again, to compare.
        assert replayed_from(process) == (number * CALLS or None), process.log
        if number:
            assert claimed_from(process) == number * CALLS - 1
        assert refusals(process) == []
        assert 'message="snapshot written"' in process.log
        assert replayed_from(twin.drain(clock)) is None
    assert len(kept(snapshots)) == 2
    assert all(re.fullmatch(r"shard-0\.step-\d{16}\.snapshot", each.name) for each in kept(snapshots))
    assert d.outcome() == twin.outcome()
    assert len(d.outcome()["closes"]) == 3
    d.check_published()


def test_damaged_snapshots_are_noticed(deploy, snapshots, tmp_path, dsn_of_twin):
    d = make(deploy, snapshots)
    twin = make(deploy, inputs_of=d, dsn=dsn_of_twin)
    for day, clock in zip(("2026-11-01", "2026-11-02"), CLOCKS):
        send_day(d, day)
        d.drain(clock)
        twin.drain(clock)
    good = tmp_path / "good"
    shutil.copytree(snapshots, good)
    newest, older = (each.name for each in kept(good))
    size = (good / newest).stat().st_size

    def restart(name, change):
        shutil.rmtree(snapshots)
        shutil.copytree(good, snapshots)
        for each in name:
            bytes_ = bytearray((snapshots / each).read_bytes())
            (snapshots / each).write_bytes(change(bytes_))
        return d.drain(CLOCKS[1])

    def flipped(place):
        def change(bytes_):
            bytes_[place % len(bytes_)] ^= 0x10
            return bytes_
        return change

    for change in (flipped(9), flipped(40), flipped(size // 2), flipped(-3), lambda b: b[:size // 3], lambda b: b[:-1],
                   lambda b: b + b"\0"):
        process = restart([newest], change)
        assert [name for name, _ in refusals(process)] == [newest], process.log
        assert replayed_from(process) == CALLS  # of the older one
    process = restart([newest, older], flipped(size // 4))
    assert [name for name, _ in refusals(process)] == [newest, older]
    assert replayed_from(process) is None
    # The older one's bytes under the newest one's name are as good as under its own.
    process = restart([newest], lambda _: (good / older).read_bytes())
    assert (refusals(process), replayed_from(process)) == ([], CALLS)
    send_day(d, "2026-11-03")
    d.drain(CLOCKS[2])
    twin.drain(CLOCKS[2])
    assert d.outcome() == twin.outcome()
    d.check_published()


def test_a_database_that_was_set_back_is_noticed(deploy, snapshots, dsn_of_twin):
    d = make(deploy, snapshots)
    twin = make(deploy, inputs_of=d, dsn=dsn_of_twin)
    send_day(d, "2026-11-01")
    d.drain(CLOCKS[0])
    twin.drain(CLOCKS[0])
    with psycopg.connect(d.dsn) as connection:
        connection.execute("update settled.shards set step = 0")
    send_day(d, "2026-11-02")
    process = d.drain(CLOCKS[1])
    twin.drain(CLOCKS[1])
    (_, why), = refusals(process)
    assert why.endswith("and the database is at step 0: the database was set back")
    assert d.outcome() == twin.outcome()
    # What was written since is the only one that is kept: the other one is of a history that is gone.
    assert len(kept(snapshots)) == 1
    assert replayed_from(d.drain(CLOCKS[1])) == 2 * CALLS


def test_another_deployments_snapshot_is_noticed(deploy, snapshots, tmp_path, dsn_of_twin):
    d = make(deploy, snapshots)
    send_day(d, "2026-11-01")
    d.drain(CLOCKS[0])
    (tmp_path / "other").mkdir()
    other = make(deploy, tmp_path / "other", inputs_of=d, dsn=dsn_of_twin)
    other.drain(CLOCKS[0])
    own, = kept(tmp_path / "other")
    own.write_bytes(kept(snapshots)[0].read_bytes())
    process = other.drain(CLOCKS[0])
    assert [why for _, why in refusals(process)] == ["it is another deployment's"]
    assert replayed_from(process) is None
    assert d.outcome() == other.outcome()


def test_a_folder_that_cannot_be_written_is_refused_with_a_remedy(deploy, tmp_path):
    d = make(deploy, tmp_path / "missing")
    for verb in (["check"], ["run", "--drain", "--clock", CLOCKS[0]]):
        said = d.run(*verb, status=78)
        assert f"run.snapshots: no file can be made in {tmp_path / 'missing'}: No such file or directory. Make" in said


def test_a_folder_that_goes_away_disturbs_nothing(deploy, snapshots):
    d, process = two_days_at_speed(deploy, snapshots)
    snapshots.rmdir()
    process.await_line('message="day settled"')
    process.await_line(f"a snapshot could not be written.*{snapshots}: No such file or directory")
    assert process.metric("settled_snapshots_failed_total") == 1
    assert process.metric("settled_snapshots_written_total") == 0
    process.await_ready()
    # The next one is written, when there is a place for it.
    snapshots.mkdir()
    process.await_line('message="snapshot written"')
    assert process.metric("settled_snapshots_written_total") == 1
    assert process.metric("settled_snapshot_bytes") == kept(snapshots)[0].stat().st_size
    assert process.metric("settled_snapshot_timestamp_seconds") > 0
    assert process.stop() == 0


def test_a_file_that_cannot_grow_disturbs_nothing(deploy, snapshots):
    """As on a full disk, or under a site's limit for files, which by default ends a process."""
    d, process = two_days_at_speed(deploy, snapshots)
    _, hard = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    process.await_line(r"a snapshot could not be written.*: write: File too large")
    assert process.metric("settled_snapshots_failed_total") == 1
    assert kept(snapshots) == []  # nothing half-written stays
    process.await_ready()
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    process.await_line('message="snapshot written"')
    assert process.metric("settled_snapshots_written_total") == 1
    assert process.stop() == 0
    assert replayed_from(d.drain(CLOCKS[2])) is not None
