"""An HTTP server on loopback that counts what it sends, and misbehaves on request.

It answers byte ranges (206), whole files (200), 404 and 416, as any object store does. The first
part of a path may be a bucket: S3 clients with path-style addresses read through it too, so that
bytes are counted at the same place for every library. Counted are bytes of bodies; a byte is
counted before it is sent, so that a client which has it finds it counted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit


class Files(Protocol):
    """What is served: files by path, read by byte range."""

    def size(self, path: str) -> int | None:
        """Return the size in bytes; None when there is no such file."""

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of a file that is there."""


@dataclass(frozen=True)
class Directory:
    """Files of a local directory."""

    root: Path

    def size(self, path: str) -> int | None:
        """Return the size in bytes; None when there is no such file."""
        file = self.root / path
        inside = file.resolve().is_relative_to(self.root.resolve())
        return file.stat().st_size if inside and file.is_file() else None

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of a file that is there."""
        with (self.root / path).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


@dataclass
class Traffic:
    """What was asked for and sent, and which faults to make.

    Attributes
    ----------
    requests, sent
        Requests for bodies (GET), and bytes of bodies.
    drop_every
        Every n-th of them gets half its body, then the connection is dropped; 0 for none.
    fail_every
        Every n-th of them is answered with 500; 0 for none.
    dropped, failed
        How often that was done.
    """

    requests: int = 0
    sent: int = 0
    drop_every: int = 0
    fail_every: int = 0
    dropped: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self) -> str:
        """Count a request and say what befalls it: ``drop``, ``fail`` or nothing."""
        with self.lock:
            self.requests += 1
            if self.fail_every and self.requests % self.fail_every == 0:
                self.failed += 1
                return "fail"
            if self.drop_every and self.requests % self.drop_every == 0:
                self.dropped += 1
                return "drop"
        return ""

    def count(self, n_bytes: int) -> None:
        """Count bytes that are about to be sent."""
        with self.lock:
            self.sent += n_bytes


@contextmanager
def serve(files: Files, traffic: Traffic | None = None) -> Iterator[tuple[str, Traffic]]:
    """Serve files on a free port of 127.0.0.1 while the block runs.

    Yields
    ------
    tuple
        URL without a slash at its end, and the counts.
    """
    traffic = Traffic() if traffic is None else traffic
    server = _Server(("127.0.0.1", 0), partial(_Handler, files, traffic))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", traffic
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away in mid-answer is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement

    def __init__(self, files: Files, traffic: Traffic, *args: object) -> None:
        self.files, self.traffic = files, traffic
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        path = self._path()
        size = self.files.size(path)
        self._headers(404 if size is None else 200, size or 0)

    def do_GET(self) -> None:
        fault = self.traffic.next_fault()
        path = self._path()
        size = self.files.size(path)
        if fault == "fail" or size is None:
            self._headers(500 if fault == "fail" else 404, 0)
            return
        start, stop = _range(self.headers.get("Range"), size)
        if start >= stop and size:
            self._headers(416, 0, f"bytes */{size}")
            return
        partial_body = (start, stop) != (0, size)
        self._headers(
            206 if partial_body else 200,
            stop - start,
            f"bytes {start}-{stop - 1}/{size}" if partial_body else None,
        )
        if fault == "drop":
            stop = start + (stop - start) // 2
        self._body(path, start, stop)
        if fault == "drop":
            self.close_connection = True

    def _path(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _headers(self, code: int, length: int, content_range: str | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"0"')  # S3 clients want these two
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def _body(self, path: str, start: int, stop: int, step: int = 1 << 20) -> None:
        for at in range(start, stop, step):
            data = self.files.read(path, at, min(at + step, stop))
            self.traffic.count(len(data))
            self.wfile.write(data)


def _range(asked: str | None, size: int) -> tuple[int, int]:
    """Return [start, stop) of a ``Range`` header; the whole file when there is none."""
    if not asked:
        return 0, size
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size
