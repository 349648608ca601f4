"""How tests/bench/ask.c counts and times answers, of a server made up here. Times are only bounded from below."""

import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import frame  # noqa: E402 (the path is set above)

STALL = 0.5  # s


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/stalls" and not self.server.stalled:
            self.server.stalled = True
            time.sleep(STALL)
        body = b"nothing" if self.path == "/other" else b"as expected"
        self.send_response(503 if self.path == "/refused" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def ask(tmp_path):
    """Asks a server of its own: what the program prints."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stalled = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def asked(per_second, seconds, connections, *targets):
        (tmp_path / "targets").write_text("".join(f"{target}\n" for target in targets))
        done = subprocess.run([frame.PROGRAMS / "ask", f"127.0.0.1:{server.server_port}", str(per_second), str(seconds),
                               str(connections), "as expected", tmp_path / "targets"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_target_has_its_turn_and_what_is_not_as_expected_has_failed(ask):
    found = ask(100, 0.3, 2, "/good", "/refused", "/other")
    assert (found["answers"], found["failed"]) == (30, 20)


def test_those_that_a_stall_kept_waiting_are_timed_from_when_they_were_due(ask):
    """Ten are due, one every 50 ms; all wait for the first answer, which comes after half a second."""
    found = ask(20, STALL, 1, "/stalls")
    assert found["answers"] == 10
    assert found["longest_ms"] >= STALL * 1000
    assert found["p50_ms"] >= STALL * 1000 / 2


def test_without_a_rate_each_connection_asks_again_at_once(ask):
    found = ask(0, 0.2, 2, "/good")
    assert found["answers"] >= 2
    assert found["failed"] == 0
