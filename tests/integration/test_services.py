"""The promise of the services: they leave nothing behind, however their command ends."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import services

SCRIPT = pathlib.Path(services.__file__)


def run(tmp_path, *arguments):
    return subprocess.Popen([sys.executable, SCRIPT, "run", "--quiet", *arguments], text=True,
                            stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)})


def processes_under(folder):
    """Those whose command line names the folder, as every service's does."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            pass
    return found


def alive(pid):
    """A zombie that its parent has not reaped yet counts as ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.05)


def test_the_status_is_the_commands_and_an_orphan_is_ended(place):
    process = run(place, "--postgres", "--", "sh", "-c",
                  'setsid sleep 300 & echo $!; psql -XAtc "select 40 + 2" "$SETTLED_TEST_DSN"; exit 3')
    orphan, answer = process.communicate(timeout=60)[0].split()
    assert process.returncode == 3
    assert answer == "42"
    assert not alive(int(orphan))
    assert processes_under(place) == []
    assert list(place.iterdir()) == []


def test_a_signal_ends_command_and_services(place):
    process = run(place, "--postgres", "--", "sh", "-c", "echo $$; exec sleep 300")
    command = int(process.stdout.readline())
    assert processes_under(place) != []
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not alive(command)
    assert processes_under(place) == []
    assert list(place.iterdir()) == []


def test_services_do_not_outlive_a_killed_parent(place):
    process = run(place, "--postgres", "--", "sh", "-c", "echo $$; exec sleep 300")
    command = int(process.stdout.readline())
    process.kill()
    process.wait()
    wait_until(lambda: not alive(command) and processes_under(place) == [])


def test_a_failed_start_says_why(place):
    with services.Services() as owner:
        with pytest.raises(services.ServiceError, match="unrecognized configuration parameter"):
            owner.postgres(settings={"no_such_setting": "1"})


def test_killed_paused_and_restarted_services_keep_their_data_and_address(place):
    with services.Services() as owner:
        postgres = owner.postgres()
        postgres.sql("CREATE TABLE kept AS SELECT 7 AS n")
        postgres.restart(kill=True)
        assert postgres.sql("SELECT n FROM kept") == "7"
        postgres.pause()
        asked = subprocess.Popen([postgres.bin / "psql", "-XAtc", "SELECT n FROM kept", postgres.dsn],
                                 stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        assert asked.poll() is None
        postgres.cont()
        assert asked.communicate(timeout=30)[0].strip() == "7"


def test_no_two_processes_are_given_one_port():
    """Until the service has bound it, which a slow start delays."""
    port = services.free_port()
    program = f"import services; print(services._reserve({port}))"
    here = {**os.environ, "PYTHONPATH": str(SCRIPT.parent)}

    def other():
        return subprocess.run([sys.executable, "-c", program], env=here, capture_output=True, text=True, check=True).stdout

    assert other() == "False\n"
    services._reserved.clear()
    assert other() == "True\n"
