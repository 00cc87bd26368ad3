"""A local HTTP server with every bad habit that a download can meet."""

from __future__ import annotations

import io
import re
import threading
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


def _zip_file() -> bytes:
    """What a file of weights looks like from outside: a zip archive of 300 kB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data", np.random.default_rng(0).bytes(300_000))
    return buffer.getvalue()


CONTENT = _zip_file()
OTHER = CONTENT[:-1000][::-1] + CONTENT[-1000:]  # as long and also a zip archive, by its end


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HostileServer

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        habit = self.path.strip("/").split("/")[0].replace("-", "_")
        self.server.requests[habit] += 1
        self.server.ranges.append(self.headers.get("Range", ""))
        self.close_connection = True
        getattr(self, f"_{habit}")(self.server.requests[habit])

    def _send(
        self,
        body: bytes = CONTENT,
        *,
        upto: int | None = None,
        length: int | None = None,
        tag: str | None = '"v1"',
        ranges: bool = True,
    ) -> None:
        """``body`` or the rest of it that was asked for; cut after ``upto`` bytes; with a false ``length``."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match and ranges and self.headers.get("If-Range") == tag else 0
        if start > len(body):
            self._status(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if tag is not None:
            self.send_header("ETag", tag)
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest) if length is None else length))
        self.end_headers()
        self.wfile.write(rest[:upto])

    def _status(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _ok(self, _) -> None:
        self._send()

    def _drops(self, _) -> None:
        self._send(upto=100_000)

    def _drops_without_etag(self, request: int) -> None:
        self._send(upto=100_000 if request < 3 else None, tag=None)

    def _ignores_range(self, request: int) -> None:
        self._send(upto=100_000 if request < 3 else None, ranges=False)

    def _changes(self, request: int) -> None:
        """Another file, with another tag, from the second request on."""
        if request == 1:
            self._send(OTHER, upto=100_000, tag='"v0"')
        else:
            self._send()

    def _changes_silently(self, request: int) -> None:
        self._send(OTHER if request == 1 else CONTENT, upto=100_000 if request == 1 else None)

    def _answers_another_range(self, request: int) -> None:
        if request == 2:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(CONTENT) - 5))
            self.end_headers()
            self.wfile.write(CONTENT[5:])
        else:
            self._send(upto=100_000 if request == 1 else None)

    def _unsatisfiable(self, request: int) -> None:
        if request == 2:
            self._status(416)
        else:
            self._send(upto=100_000 if request == 1 else None)

    def _wrong(self, _) -> None:
        self._send(OTHER)

    def _promises_more(self, _) -> None:
        self._send(length=len(CONTENT) + 1000, tag=None)

    def _promises_less(self, _) -> None:
        self._send(length=200_000)

    def _promises_nothing(self, request: int) -> None:
        """No length at all: the end of the connection is the end of the file, or is it?"""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CONTENT[: 100_000 if request == 1 else None])

    def _redirects(self, _) -> None:
        self._status(302, Location="/ok/model.pyth")

    def _circles(self, _) -> None:
        self._status(302, Location=self.path)

    def _redirects_to_a_file(self, _) -> None:
        self._status(302, Location="file:///etc/passwd")

    def _redirects_to_no_url(self, _) -> None:
        self._status(302, Location="http://[no/model.pyth")

    def _redirects_to_no_port(self, _) -> None:
        self._status(302, Location="http://127.0.0.1:port/model.pyth")

    def _redirects_in_unicode(self, _) -> None:
        self._status(302, Location="/ok/mod\u00e8le.pyth")

    def _odd_length(self, _) -> None:
        """A digit for ``str.isdigit``, but not for ``int``."""
        self.send_response(200)
        self.send_header("Content-Length", "\u00b2")
        self.end_headers()
        self.wfile.write(CONTENT)

    def _never_ends(self, _) -> None:
        """Says no length and sends on and on."""
        self.send_response(200)
        self.end_headers()
        while not self.server.stopped.is_set():
            self.wfile.write(CONTENT)
            self.server.sent += len(CONTENT)

    def _drips(self, _) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self._drip(CONTENT)

    def _drips_headers(self, _) -> None:
        self._drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000)

    def _drips_without_length(self, _) -> None:
        self.send_response(200)
        self.end_headers()
        self._drip(CONTENT)

    def _drip(self, content: bytes) -> None:
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.stopped.wait(0.05):
                return

    def _trickles(self, _) -> None:
        """A byte at first, then the rest after less than the time that silence takes to count."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        for begin in range(0, len(CONTENT), 60_000):
            self.wfile.write(CONTENT[begin : begin + 60_000])
            self.wfile.flush()
            time.sleep(0.1)

    def _falls_silent(self, request: int) -> None:
        if request == 1:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.send_header("ETag", '"v1"')
            self.end_headers()
            self.wfile.write(CONTENT[:50_000])
            self.wfile.flush()
            self.server.stopped.wait(3)
        else:
            self._send()

    def _never_answers(self, _) -> None:
        self.server.stopped.wait(3)

    def _refuses(self, _) -> None:
        self._status(403)

    def _lacks(self, _) -> None:
        self._status(404)

    def _fails(self, _) -> None:
        self._status(503)

    def _is_busy(self, request: int) -> None:
        if request < 3:
            self._status(503, Retry_After="0")
        else:
            self._send()

    def _page(self, _) -> None:
        self._send(b"<!DOCTYPE html><title>Sign in</title>")

    def _zipped(self, _) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b\x08")


class HostileServer(ThreadingHTTPServer):
    """Serves ``url("habit")``; counts requests per habit."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.sent = 0  # bytes of what never ends
        self.stopped = threading.Event()

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are part of the plan."""

    def url(self, habit: str, name: str = "model.pyth") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{habit}/{name}"

    def __enter__(self) -> HostileServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()
