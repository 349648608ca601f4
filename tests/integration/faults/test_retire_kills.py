"""`settled retire` is killed before and after each of its statements, and at every file of an archive: run again, it goes on,
and what is in the tables and in the archive together is every row, once."""

import os
import pathlib
import signal
import subprocess
import sys

import worlds_path  # noqa: F401
import table
from deployment import ROOT, own_deployment

sys.path.insert(0, str(ROOT / "tests" / "soak"))

import years  # noqa: E402

RELEASE = ROOT / "build" / "release" / "settled"
FAULTS = pathlib.Path(os.environ.get("SETTLED_FAULTS_BINARY", ROOT / "build" / "faults" / "settled"))
FIRST_DAY, DAYS = "2023-01-01", 100
FILES = len(years.GROWING) + 1  # and the manifest
# In the order in which one run passes them. Each file passes each point of files; those before it have their names already,
# and a name is given once.
POINTS = ["detach_before:1", "detach_after:1",
          *(fault for file in range(1, FILES + 1)
            for fault in (f"part_opened:{file}", f"part_written:{file}", f"part_read:{file}", "part_named:1")),
          "drop_before:1", "drop_after:1"]


def retire(d, before, folder, fault):
    return subprocess.run([FAULTS, "retire", "-c", d.config, "--before", before, "--archive", folder],
                          env={"SETTLED_FAULT": fault, "PATH": "/usr/bin"}, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120, check=False)


def rows_of(d, folder):
    """All rows of the tables that grow, wherever they are: in an archive only once its month says so."""
    found = {}
    archives = dict(d.sql("select month::text, archive from settled.retired_months"))
    files = years.archived(folder) if any(archives.values()) else {}
    for name in years.GROWING:
        detached = [row[0] for row in d.sql("select relname from pg_class c where relkind = 'r' and relnamespace ="
                                            " 'settled'::regnamespace and relname ~ %s and not relispartition",
                                            rf"^{name}_20\d\d_\d\d$")]
        found[name] = len(files.get(name, ())) + sum(d.sql(f"select count(*)::int from settled.{each}")[0][0]
                                                     for each in [name, *detached])
    return found


def test_a_retirement_that_is_killed_goes_on(tmp_path):
    assert {point.partition(":")[0] for point in POINTS} == table.RETIRE
    with own_deployment(RELEASE, **years.options_of_deployment(FIRST_DAY)) as (d, *_):
        y = years.Years(d, FIRST_DAY, DAYS)
        for number in range(DAYS):
            y.send_day(number)
        d.flush()
        y.run_to(DAYS - 1)
        before = d.run("retire", "--before", f"{y.day(DAYS):%Y-%m}", status=78).partition("at most --before ")[2][:7]
        everything = rows_of(d, tmp_path)
        for fault in POINTS:
            done = retire(d, before, tmp_path, fault)
            assert done.returncode == -signal.SIGKILL, (fault, done.stdout, done.stderr)
            assert f"fault point {fault.partition(':')[0]}: kill" in done.stderr
            assert rows_of(d, tmp_path) == everything, fault
        assert d.run("retire", "--before", before, "--archive", str(tmp_path)) == ""
        assert not list(tmp_path.rglob("*.part"))
        years.check_rows(y, tmp_path)
        y.send_day(DAYS)
        d.flush()
        d.drain(y.clock(DAYS))
        assert f"days before {before}-02 are not compared" in d.audit()
