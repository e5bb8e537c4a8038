"""An HTTP server with byte ranges that counts what it sends, and can misbehave on request.

A directory is answered with a page of links, as web servers make it.
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
from urllib.parse import quote, unquote_to_bytes, urlsplit


@dataclass
class Traffic:
    """What was asked for and sent, by path; and faults to inject."""

    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    starts: dict[str, list[int]] = field(default_factory=dict)  # first byte of each range asked for
    ranges: bool = True
    signature: str = ""  # a query without which every answer is 403
    fail_next: int = 0  # answer `fail_with` this many times
    fail_with: int = 500
    any_page: bytes = b""  # what any path is answered with
    drop_next: int = 0  # drop the connection without an answer, this many times
    cut_next: int = 0  # send half a body and drop the connection, this many times
    stall_next: int = 0  # send half a body and then nothing, this many times
    damage_next: int = 0  # flip a bit in the middle of a body, this many times
    only: str = ""  # these five befall only paths that end with this
    stale: dict[str, bytes] = field(default_factory=dict)  # what is served instead, by path
    meet: threading.Barrier | None = None  # requests for .tar wait here for each other
    dead: bool = False  # drop every connection
    dead_after_bytes: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def fault(self, name: str, body: bool) -> str:
        """Return what befalls this request: the first fault that is due."""
        for kind in ("fail", "drop", "cut", "stall", "damage"):
            due = getattr(self, f"{kind}_next")
            if due > 0 and name.endswith(self.only) and (body or kind in ("fail", "drop")):
                setattr(self, f"{kind}_next", due - 1)
                return kind
        return ""

    def total(self, prefix: str = "") -> int:
        return sum(count for path, count in self.sent.items() if path.startswith(prefix))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement

    def __init__(self, root: Path, traffic: Traffic, *args: object) -> None:
        self.root, self.traffic = root, traffic
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        traffic = self.traffic
        name = self.name = os.fsdecode(unquote_to_bytes(urlsplit(self.path).path)).lstrip("/")
        over = traffic.dead_after_bytes is not None and traffic.total() >= traffic.dead_after_bytes
        if traffic.dead or over:
            self.close_connection = True
            return
        with traffic.lock:
            traffic.requests[name] += 1
            fault = traffic.fault(name, body)
        path = self.root / name
        if traffic.meet is not None and name.endswith(".tar"):
            traffic.meet.wait(20)  # in vain, it ends this connection with an error
        if fault == "drop":
            self.close_connection = True
            return
        if self._answered_without_a_file(path, fault, body):
            return
        data = traffic.stale[name] if name in traffic.stale else path.read_bytes()
        asked = self.headers.get("Range")
        if asked and traffic.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if first == "":
                start, stop = max(len(data) - int(last), 0), len(data)
            else:
                start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
            if start >= len(data):
                self._send(416, b"", f"bytes */{len(data)}", body)
                return
            with traffic.lock:
                traffic.starts.setdefault(name, []).append(start)
            part = data[start:stop]
            self._send(206, part, f"bytes {start}-{stop - 1}/{len(data)}", body, fault)
        else:
            self._send(200, data, None, body, fault)

    def _answered_without_a_file(self, path: Path, fault: str, body: bool) -> bool:
        traffic = self.traffic
        if traffic.signature and urlsplit(self.path).query != traffic.signature:
            self._send(403, b"", None, body)
        elif fault == "fail" or not (path.exists() or traffic.any_page):
            self._send(traffic.fail_with if fault == "fail" else 404, b"", None, body)
        elif path.is_dir() or traffic.any_page:
            page = traffic.any_page or page_of(path, self.name)
            self._send(200, page, None, body, fault, "text/html; charset=utf-8")
        else:
            return False
        return True

    def _send(
        self,
        code: int,
        data: bytes,
        content_range: str | None,
        body: bool,
        fault: str = "",
        content_type: str = "application/octet-stream",
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if self.traffic.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if body:
            half = len(data) // 2
            part = data[:half] if fault in ("cut", "stall") else data
            if fault == "damage" and data:
                part = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
            # counted first: a client that has the bytes must find them counted
            with self.traffic.lock:
                self.traffic.sent[self.name] += len(part)
            self.wfile.write(part)
            if fault == "stall":
                self.traffic.closing.wait(60)
            if fault in ("cut", "stall"):
                self.close_connection = True


def page_of(folder: Path, name: str) -> bytes:
    """Return a directory's page: links to sort it, to its parent, and to what is in it."""
    links = ['<a href="?C=N;O=D">Name</a>', '<a href="../">Parent Directory</a>']
    for entry in sorted(folder.iterdir()):
        shown = entry.name.encode("utf-8", "replace").decode() + "/" * entry.is_dir()
        address = quote(os.fsencode(entry.name)) + "/" * entry.is_dir()
        links.append(f'<a href="{address}">{html.escape(shown)}</a>')
    return f"<html><h1>Index of /{html.escape(name)}</h1>{'<br>'.join(links)}</html>".encode(
        "utf-8", "replace"
    )


@contextmanager
def serve(directory: str | Path) -> Iterator[tuple[str, Traffic]]:
    """Serve a directory on loopback; gives (url, traffic)."""
    traffic = Traffic()
    handler = partial(_Handler, Path(directory), traffic)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", traffic
    finally:
        traffic.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
