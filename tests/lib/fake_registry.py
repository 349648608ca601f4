"""A schema registry that misbehaves on demand: the part of Confluent's interface that settled uses, on a free port.

`script`, while it is set, gives the answers one after the other, whatever is asked for.

`mode` is how it answers from now on: "well"; "compressed" (well, but gzip, asked for or not); "error" (500); "garbage" (200
with a page); "lost" (404 with a page, as a proxy gives it); "gateway" (404 in a registry's form to everything, as one before
several services gives it); stop() refuses connections until start().
"""

import gzip
import http.server
import json
import re
import threading
import time
import typing

from services import free_port

PAGE = b"<html><body>It works!</body></html>"


class Answer(typing.NamedTuple):
    """`sent`: whole, chunked, compressed, cut off (half of the body), or at last (a second later)."""
    status: int
    body: bytes
    sent: str = "whole"
    retry_after: str | None = None


class FakeRegistry:
    def __init__(self, schemas):
        """`schemas`: text by id."""
        self.schemas = dict(schemas)
        self.references = {}  # of an id: a list of {"name", "subject", "version"}
        self.versions = {}  # text by (subject, version): what is referred to
        self.mode = "well"
        self.script = None
        self.asked = []  # paths, in order
        self.port = free_port()
        self._server = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def answer(self, body):
                registry.asked.append(self.path)
                script = registry.script
                if script:
                    self.give(next(script))
                    return
                status, content = registry.answer(self.path, body)
                self.give(Answer(status, content, "compressed" if registry.mode == "compressed" else "whole"))

            def give(self, answer):
                content = gzip.compress(answer.body) if answer.sent == "compressed" else answer.body
                if answer.sent == "at last":
                    time.sleep(1)
                self.send_response(answer.status)
                self.send_header("Connection", "close")
                if answer.retry_after:
                    self.send_header("Retry-After", answer.retry_after)
                if answer.sent == "compressed":
                    self.send_header("Content-Encoding", "gzip")
                if answer.sent == "chunked" and content:
                    self.send_header("Transfer-Encoding", "chunked")
                    content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
                else:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:len(content) // 2] if answer.sent == "cut off" else content)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, path, body):
        if self.mode == "error":
            return 500, json.dumps({"error_code": 50001, "message": "no leader"}).encode()
        if self.mode in ("garbage", "lost"):
            return 200 if self.mode == "garbage" else 404, PAGE
        if self.mode == "gateway":
            return 404, json.dumps({"error_code": 404, "message": "no such route"}).encode()
        return self._well(path, body)

    def _well(self, path, body):
        by_id = re.fullmatch(r"/schemas/ids/(\d+)", path)
        if by_id and int(by_id.group(1)) in self.schemas:
            number = int(by_id.group(1))
            return 200, json.dumps({"schema": self.schemas[number],
                                    **({"references": self.references[number]} if number in self.references else {})}).encode()
        version = re.fullmatch(r"/subjects/([^/]+)/versions/(\d+)", path)
        if version and (version.group(1), int(version.group(2))) in self.versions:
            return 200, json.dumps({"schema": self.versions[version.group(1), int(version.group(2))]}).encode()
        if path == "/subjects":
            return 200, b"[]"
        if path.startswith("/config"):
            return 200, json.dumps({"compatibilityLevel": "FULL_TRANSITIVE"}).encode()
        if path.startswith("/subjects/") and body:
            for number, text in self.schemas.items():
                if text == body["schema"]:
                    return 200, json.dumps({"id": number, "subject": path.split("/")[2], "version": 1}).encode()
        return 404, json.dumps({"error_code": 40403, "message": "Schema not found"}).encode()
