"""A small HTTP server for one archive: read only, for a browser on this machine.

It serves the page, what `dsc._browse.content` answers, and nothing else: no path of a request is
ever a path of a file. Names of hosts that are not this machine's are refused, so that no site can
reach the server through a name of its own (DNS rebinding); answers carry a content security policy
that allows no script but the page's own, and are no other site's to read.
"""

import ipaddress
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dsc._browse.content import Content
from dsc._browse.pictures import KINDS
from dsc._storage.files.place import redact
from dsc.errors import DscError, MissingTaskError, SampleError, UsageError

PAGE = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "main.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
    "detail.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
}
JSON = "application/json"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FRESH, KEPT = "no-cache", "private, max-age=604800, immutable"
LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
MOST_CONNECTIONS = 64
IDLE_S = 60.0
WAIT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    media_type: str
    data: bytes
    status: int = 200
    caching: str = FRESH
    headers: Mapping[str, str] | None = None


class BrowseServer(ThreadingHTTPServer):
    """Serves the page of one archive until `shutdown`.

    Parameters
    ----------
    content
        What is answered.
    host, port
        Where to listen; port 0 for any that is free.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, content: Content, host: str, port: int) -> None:
        self.content = content
        self.names = own_names(host)
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        shown = "localhost" if ipaddress.ip_address(name).is_unspecified else name
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"

    def server_bind(self) -> None:
        """Bind, without asking a name server who this is."""
        super(ThreadingHTTPServer, self).server_bind()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own, if there are not too many."""
        if not self._connections.acquire(timeout=WAIT_S):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the requests of one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that went away."""


def own_names(host: str) -> set[str]:
    """Name what a browser may call this machine, beside addresses."""
    names = {*LOCAL_NAMES, host.lower()}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return names


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    if host.lower() in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_own(host: str, names: set[str]) -> bool:
    """Tell whether a Host header means this machine: by address, or by a name of its own."""
    match = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([^:\[\]]*)(?::\d+)?", host.strip())
    if match is None:
        return False
    name = (match[1] or match[2] or "").lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return name in names


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "dsc", ""
    timeout = IDLE_S
    server: BrowseServer

    def do_GET(self) -> None:
        """Answer a request."""
        self._send(self._answer(), with_body=True)

    def do_HEAD(self) -> None:
        """Answer what GET would, without its body."""
        self._send(self._answer(), with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""

    def _answer(self) -> Answer:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not is_own(hosts[0], self.server.names):
            return problem(421, "this server answers only to names of its own machine")
        parts = urlsplit(self.path)
        try:
            query = parse_qs(parts.query, max_num_fields=32)
            return respond(self.server.content, unquote(parts.path), query)
        except Exception as error:
            return problem(status_of(error), explained(error))

    def _send(self, answer: Answer, with_body: bool) -> None:
        try:
            self.send_response(answer.status)
            known = {
                "Content-Type": answer.media_type,
                "Content-Length": str(len(answer.data)),
                "Cache-Control": answer.caching,
            }
            for name, value in {**known, **ALWAYS, **(answer.headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(answer.data)
        except OSError:  # the browser no longer wants it
            self.close_connection = True


def status_of(error: Exception) -> int:
    """Choose the status of an answer: not there, asked wrongly, or damaged."""
    if isinstance(error, MissingTaskError | IndexError):
        return 404
    is_damage = isinstance(error, DscError) and not isinstance(error, UsageError | SampleError)
    return 400 if isinstance(error, ValueError) and not is_damage else 500


def explained(error: Exception) -> str:
    """Say what went wrong; of a fault of ours, which it is."""
    if isinstance(error, DscError | OSError | IndexError | ValueError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"


Query = Mapping[str, list[str]]
NUMBER = r"(\d{1,15})"
NAME = r"([a-z0-9_.]{1,64})"
PICTURE = re.compile(rf"/picture/([0-9a-f]{{16}})/{NUMBER}/{NAME}/([a-z]+)/(thumb|whole)(/drawn)?")
FILE = re.compile(rf"/file/([0-9a-f]{{16}})/{NUMBER}/{NAME}")


def respond(content: Content, path: str, query: Query) -> Answer:
    """Answer a request for a path.

    Raises
    ------
    UsageError, ValueError, MissingTaskError, IndexError
        When it asks for what is not there.
    DscError, OSError
        When it cannot be read.
    """
    name = "index.html" if path == "/" else path.removeprefix("/")
    if name in PAGE:
        return Answer(PAGE[name], page_file(name))
    if match := PICTURE.fullmatch(path):
        return _picture(content, *match.groups())
    if match := FILE.fullmatch(path):
        return _file(content, *match.groups())
    for pattern, answer in ROUTES:
        if match := pattern.fullmatch(path):
            return as_json(answer(content, query, *match.groups()))
    return problem(404, "there is no such page")


@cache
def page_file(name: str) -> bytes:
    """Return a file of the page."""
    return files("dsc._browse").joinpath("page", name).read_bytes()


def as_json(value: Mapping[str, Any], status: int = 200) -> Answer:
    """Return JSON; what JSON has no number for is null."""
    return Answer(JSON, json.dumps(_finite(value), separators=(",", ":")).encode(), status)


def problem(status: int, message: str) -> Answer:
    """Return an error for the page to show."""
    return as_json({"error": redact(message)}, status)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def _picture(
    content: Content, version: str, index: str, task: str, what: str, size: str, drawn: str | None
) -> Answer:
    if version != content.version or what not in KINDS:
        return problem(404, "there is no such picture")
    content.map_task(task)
    content.archive.locate(int(index))
    whole = size == "whole"
    image = content.pictures.picture(int(index), task, what, whole, drawn is not None)
    return Answer(image.media_type, image.data, caching=KEPT if what == "decoded" else FRESH)


def _file(content: Content, version: str, index: str, task: str) -> Answer:
    if version != content.version:
        return problem(404, "there is no such file")
    content.archive.locate(int(index))
    found, played = content.file(int(index), task)
    name = f"{content.archive.key(int(index))}.{task}"
    shown = {} if played else {"Content-Disposition": f'attachment; filename="{name}"'}
    return Answer(found.media_type, found.data, caching=KEPT, headers=shown)


def _one(query: Query, name: str) -> str | None:
    return query[name][0] if name in query else None


def _number(query: Query, name: str, default: int | None = None) -> int:
    text = _one(query, name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"\d{1,15}", text):
        raise UsageError(f"{name}: a whole number is wanted, not {text!r}")
    return int(text)


def _selection(query: Query) -> tuple[str | None, str | None, int | None, str | None]:
    by = _one(query, "by")
    group = _number(query, "group") if by is not None and "group" in query else None
    return _one(query, "split"), by, group, _one(query, "where")


def _samples(content: Content, query: Query) -> Mapping[str, Any]:
    values = [name for name in (_one(query, "values") or "").split(",") if name]
    start, count = _number(query, "start", 0), _number(query, "count", 0)
    return content.samples(*_selection(query), start, count, values)


def _pixel(content: Content, query: Query, index: str, task: str) -> Mapping[str, Any]:
    content.map_task(task)
    content.archive.locate(int(index))
    what = _one(query, "what") or "decoded"
    if what not in KINDS:
        raise UsageError(f"what: one of {', '.join(KINDS)}")
    place = _number(query, "x"), _number(query, "y")
    return {"text": content.pictures.at(int(index), task, *place, what)}


def _checked(content: Content, index: str) -> int:
    content.archive.locate(int(index))
    return int(index)


ROUTES: list[tuple[re.Pattern[str], Callable[..., Mapping[str, Any]]]] = [
    (re.compile(pattern), answer)
    for pattern, answer in (
        ("/api/archive", lambda content, _: content.describe()),
        ("/api/originals", lambda content, _: content.originals()),
        ("/api/samples", _samples),
        (
            "/api/find",
            lambda content, query: content.find(_one(query, "q") or "", *_selection(query)),
        ),
        (
            "/api/groups",
            lambda content, query: content.selections.groups.find(
                _one(query, "by") or ""
            ).to_json(),
        ),
        (f"/api/sample/{NUMBER}", lambda content, _, n: content.sample(_checked(content, n))),
        (f"/api/compare/{NUMBER}", lambda content, _, n: content.compare(_checked(content, n))),
        (f"/api/pixel/{NUMBER}/{NAME}", _pixel),
        (f"/api/sizes/{NAME}", lambda content, _, stream: content.sizes(stream)),
    )
]


def open_server(content: Content, host: str, port: int, is_asked: bool) -> BrowseServer:
    """Listen on a port, or on a free one where it was not asked for and is taken.

    Raises
    ------
    UsageError
        When nothing can listen there.
    """
    start = partial(BrowseServer, content, host)
    try:
        return start(port)
    except (OSError, OverflowError) as error:
        if is_asked or not isinstance(error, OSError):
            raise UsageError(
                f"--host {host} --port {port}: nothing can listen there ({error}); "
                "give another, or --port 0 for any that is free"
            ) from error
    try:
        return start(0)
    except OSError as error:
        raise UsageError(f"--host {host}: nothing can listen there ({error})") from error
