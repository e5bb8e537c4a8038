"""An HTTP server on loopback that counts what it sends, and misbehaves on request.

It answers byte ranges (206), whole files (200), 404 and 416, as any object store does, and a
directory with a page of links, as web servers do. The first part of a path may be a bucket: S3
clients with path-style addresses read through it too, so that bytes are counted at the same place
for every library. Counted are bytes of bodies; a byte is counted before it is sent, so that a
client which has it finds it counted.
"""

import html
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes, urlsplit

BLOCK_BYTES = 1 << 20  # read and sent at a time
FAULTS = ("fail", "drop", "cut", "stall", "damage")


class Files(Protocol):
    """What is served: files by path, read by byte range."""

    def size(self, path: str) -> int | None:
        """Return the size in bytes; None when there is no such file."""

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of a file that is there."""

    def page(self, path: str) -> bytes | None:
        """Return the page of a directory in HTML; None when it is none, or has none."""


@dataclass(frozen=True)
class Directory:
    """Files of a local directory."""

    root: Path

    def size(self, path: str) -> int | None:
        """Return the size in bytes; None when there is no such file."""
        file = Path(os.path.normpath(self.root / path))
        return file.stat().st_size if file.is_relative_to(self.root) and file.is_file() else None

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of a file that is there."""
        with (self.root / path).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def page(self, path: str) -> bytes | None:
        """Return a directory's page: links to sort it, to its parent, and to what is in it."""
        folder = Path(os.path.normpath(self.root / path))
        if not (folder.is_relative_to(self.root) and folder.is_dir()):
            return None
        links = ['<a href="?C=N;O=D">Name</a>', '<a href="../">Parent Directory</a>']
        for entry in sorted(folder.iterdir()):
            shown = entry.name.encode("utf-8", "replace").decode() + "/" * entry.is_dir()
            address = quote(os.fsencode(entry.name)) + "/" * entry.is_dir()
            links.append(f'<a href="{address}">{html.escape(shown)}</a>')
        page = f"<html><h1>Index of /{html.escape(path)}</h1>{'<br>'.join(links)}</html>"
        return page.encode("utf-8", "replace")


@dataclass
class Traffic:
    """What was asked for and sent, and what is to go wrong.

    Attributes
    ----------
    requests, sent
        Requests, and bytes of bodies, by path.
    bodies
        How many of all requests asked for a body (GET).
    starts
        The first byte of each range that was asked for, by path.
    fail_next, drop_next, cut_next, stall_next, damage_next
        So many of the next requests get: the status `fail_with`; no answer at all; half a body and
        a dropped connection; half a body and then nothing; a body with a bit flipped in its middle.
    only
        These befall only paths that end with this.
    fail_every, cut_every
        Every n-th request for a body fails, or is cut; 0 for none.
    made
        How often each kind of fault was made: ``fail``, ``drop``, ``cut``, ``stall``, ``damage``.
    ranges
        Whether byte ranges are known.
    signature
        A query without which every answer is 403.
    any_page
        What any path is answered with.
    stale
        What is served instead, by path.
    meet
        Requests for tars wait here for each other.
    dead, dead_after_bytes
        Drop every connection: now, or after so many bytes.
    """

    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    bodies: int = 0
    starts: dict[str, list[int]] = field(default_factory=dict)
    fail_next: int = 0
    fail_with: int = 500
    drop_next: int = 0
    cut_next: int = 0
    stall_next: int = 0
    damage_next: int = 0
    only: str = ""
    fail_every: int = 0
    cut_every: int = 0
    made: Counter[str] = field(default_factory=Counter)
    ranges: bool = True
    signature: str = ""
    any_page: bytes = b""
    stale: dict[str, bytes] = field(default_factory=dict)
    meet: threading.Barrier | None = None
    dead: bool = False
    dead_after_bytes: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def total(self, prefix: str = "") -> int:
        """Add up the bytes sent of paths that begin so."""
        return sum(count for path, count in self.sent.items() if path.startswith(prefix))

    def is_dead(self) -> bool:
        """Say whether every connection is to be dropped."""
        most = self.dead_after_bytes
        return self.dead or (most is not None and self.total() >= most)

    def next_fault(self, name: str, body: bool) -> str:
        """Count a request and say what befalls it: the first fault that is due, or nothing."""
        with self.lock:
            self.requests[name] += 1
            self.bodies += body
            fault = self._due(name, body)
            if fault:
                self.made[fault] += 1
            return fault

    def _due(self, name: str, body: bool) -> str:
        for kind in FAULTS:
            due = getattr(self, f"{kind}_next")
            if due > 0 and name.endswith(self.only) and (body or kind in ("fail", "drop")):
                setattr(self, f"{kind}_next", due - 1)
                return kind
        for kind, every in (("fail", self.fail_every), ("cut", self.cut_every)):
            if body and every and self.bodies % every == 0:
                return kind
        return ""

    def count(self, name: str, n_bytes: int) -> None:
        """Count bytes that are about to be sent."""
        with self.lock:
            self.sent[name] += n_bytes


@contextmanager
def serve(
    files: Files | str | Path, traffic: Traffic | None = None
) -> Iterator[tuple[str, Traffic]]:
    """Serve files, or a directory, on a free port of 127.0.0.1 while the block runs.

    Yields
    ------
    tuple
        URL without a slash at its end, and the counts.
    """
    traffic = Traffic() if traffic is None else traffic
    found = Directory(Path(files).absolute()) if isinstance(files, str | Path) else files
    server = _Server(("127.0.0.1", 0), partial(_Handler, found, traffic))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", traffic
    finally:
        traffic.closing.set()
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
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        traffic, address = self.traffic, urlsplit(self.path)
        self.name = os.fsdecode(unquote_to_bytes(address.path)).lstrip("/")
        if traffic.is_dead():
            self.close_connection = True
            return
        fault = traffic.next_fault(self.name, body)
        if traffic.meet is not None and self.name.endswith(".tar"):
            traffic.meet.wait(20)  # in vain, it ends this connection with an error
        if fault == "drop":
            self.close_connection = True
        elif traffic.signature and address.query != traffic.signature:
            self._headers(403, 0)
        elif fault == "fail":
            self._headers(traffic.fail_with, 0)
        else:
            self._file(fault, body)

    def _file(self, fault: str, body: bool) -> None:
        page = self.traffic.any_page or self.files.page(self.name)
        if page is not None:
            self._headers(200, len(page), content_type="text/html; charset=utf-8")
            self._body(page, 0, len(page), fault, body)
            return
        whole = self.traffic.stale.get(self.name)
        size = self.files.size(self.name) if whole is None else len(whole)
        asked = self.headers.get("Range") if self.traffic.ranges else None
        if size is None:
            self._headers(404, 0)
            return
        start, stop = _range(asked, size)
        if asked and start >= stop:
            self._headers(416, 0, f"bytes */{size}")
            return
        if asked:
            with self.traffic.lock:
                self.traffic.starts.setdefault(self.name, []).append(start)
        given = f"bytes {start}-{stop - 1}/{size}" if asked else None
        self._headers(206 if asked else 200, stop - start, given)
        self._body(whole, start, stop, fault, body)

    def _headers(
        self,
        code: int,
        length: int,
        content_range: str | None = None,
        content_type: str = "application/octet-stream",
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        if self.traffic.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"0"')  # S3 clients want these two
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def _body(self, whole: bytes | None, start: int, stop: int, fault: str, body: bool) -> None:
        if not body:
            return
        middle = start + (stop - start) // 2
        end = middle if fault in ("cut", "stall") else stop
        for at in range(start, end, BLOCK_BYTES):
            last = min(at + BLOCK_BYTES, end)
            data = self.files.read(self.name, at, last) if whole is None else whole[at:last]
            if fault == "damage" and at <= middle < last:
                there = middle - at
                data = data[:there] + bytes([data[there] ^ 1]) + data[there + 1 :]
            self.traffic.count(self.name, len(data))
            self.wfile.write(data)
        if fault == "stall":
            self.traffic.closing.wait(60)
        if fault in ("cut", "stall"):
            self.close_connection = True


def _range(asked: str | None, size: int) -> tuple[int, int]:
    """Return [start, stop) of a ``Range`` header; the whole file when there is none."""
    if not asked:
        return 0, size
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size
