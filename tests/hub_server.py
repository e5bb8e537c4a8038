"""A Hugging Face Hub on loopback, as far as a dataset repository's files go, for the real client.

It knows repositories with commits, large files by their sha256 (the LFS protocol), and what it was
asked; it can fail on request. Nothing here is the Hub's own code: it answers as the Hub's public
API is documented, and the client that asks it is the real one.
"""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

LARGE = (".tar", ".idx", ".safetensors")
FIRST = ".gitattributes"


@dataclass
class Repository:
    """Files by path, of the newest commit; large ones are their sha256."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The name of the newest commit."""
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


@dataclass
class HubState:
    """What the server holds, what it was asked, and how it is to fail.

    Attributes
    ----------
    requests
        Number of requests by method and kind.
    uploaded
        Large files that were sent, in order, by sha256.
    failures
        By kind of request, status codes that the next ones get; 0 is no failure.
    tokens
        Authorization headers that came.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    uploaded: list[str] = field(default_factory=list)
    failures: dict[str, list[int]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    token: str | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


ROUTES = (
    ("create", "POST", r"/api/repos/create"),
    ("yaml", "POST", r"/api/validate-yaml"),
    ("preupload", "POST", r"/api/datasets/(?P<name>[\w.-]+/[\w.-]+)/preupload/.+"),
    ("commit", "POST", r"/api/datasets/(?P<name>[\w.-]+/[\w.-]+)/commit/.+"),
    ("paths", "POST", r"/api/datasets/(?P<name>[\w.-]+/[\w.-]+)/paths-info/.+"),
    ("tree", "GET", r"/api/datasets/(?P<name>[\w.-]+/[\w.-]+)/tree/[^/]+(/(?P<path>.+))?"),
    ("info", "GET", r"/api/datasets/(?P<name>[\w.-]+/[\w.-]+)(/revision/.+)?"),
    ("batch", "POST", r"/datasets/(?P<name>[\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch"),
    ("upload", "PUT", r"/large/(?P<path>[0-9a-f]{64})"),
    ("file", "GET", r"/datasets/(?P<name>[\w.-]+/[\w.-]+)/resolve/[^/]+/(?P<path>.+)"),
    ("file", "HEAD", r"/datasets/(?P<name>[\w.-]+/[\w.-]+)/resolve/[^/]+/(?P<path>.+)"),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: HubState

    def log_message(self, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.address = urlsplit(self.path)
        if "Authorization" in self.headers:
            self.state.tokens.add(self.headers["Authorization"])
        for kind, method, pattern in ROUTES:
            match = re.fullmatch(pattern, unquote(self.address.path))
            if match and method == self.command:
                with self.state.lock:
                    self._route(kind, match.groupdict())
                return
        self._answer(404, {"error": f"no route for {self.command} {self.path}"})

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815 - the names of http.server

    def _route(self, kind: str, found: dict[str, str | None]) -> None:
        self.state.requests[kind] += 1
        failures = self.state.failures.get(kind)
        status = failures.pop(0) if failures else 0
        writes = kind in ("create", "preupload", "commit", "batch")
        token = self.state.token
        if status:
            self._answer(status, {"error": "asked to fail"}, {"Retry-After": "0"})
        elif writes and token and self.headers.get("Authorization") != f"Bearer {token}":
            self._answer(403, {"error": "you may not write here"})
        elif kind in ("create", "yaml", "upload"):
            getattr(self, f"_{kind}")(found)
        elif str(found["name"]) not in self.state.repositories:
            error = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "not found"}
            self._answer(404, {"error": "Repository not found"}, error)
        else:
            getattr(self, f"_{kind}")(self.state.repositories[str(found["name"])], found)

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
        for name, text in ({"Content-Type": kind} | (headers or {})).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _create(self, _: dict[str, Any]) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("private", asked.get("visibility") == "private")
        if name in self.state.repositories:
            self._answer(409, {"error": "exists"})
            return
        self.state.repositories[name] = Repository(private, {FIRST: b"*.tar lfs\n"}, [[FIRST]])
        self._answer(200, {"url": f"http://{self.headers['Host']}/datasets/{name}"})

    def _yaml(self, _: dict[str, Any]) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def _info(self, repository: Repository, found: dict[str, Any]) -> None:
        self._answer(200, {"id": found["name"], "sha": repository.head, "siblings": []})

    def _entry(self, repository: Repository, path: str) -> dict[str, Any]:
        data = repository.files[path]
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": oid}
        if path.endswith(LARGE):
            sha256 = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
        return entry

    def _tree(self, repository: Repository, found: dict[str, Any]) -> None:
        below = f"{found['path']}/" if found["path"] else ""
        paths = [path for path in sorted(repository.files) if path.startswith(below)]
        folders = {path[: match.start()] for path in paths for match in re.finditer("/", path)}
        if parse_qs(self.address.query).get("recursive", ["false"])[0].lower() != "true":
            paths = [path for path in paths if "/" not in path[len(below) :]]
            folders = {name for name in folders if "/" not in name[len(below) :]}
        found_folders = [name for name in sorted(folders) if name.startswith(below) and name]
        listed = [{"type": "directory", "path": name, "oid": "0" * 40} for name in found_folders]
        self._answer(200, [*listed, *(self._entry(repository, path) for path in paths)])

    def _paths(self, repository: Repository, _: dict[str, Any]) -> None:
        text = self.body.decode()
        as_json = text.startswith("{")
        asked = json.loads(text)["paths"] if as_json else parse_qs(text).get("paths", [])
        found: list[dict[str, Any]] = []
        for path in asked:
            if path in repository.files:
                found.append(self._entry(repository, path))
            elif any(name.startswith(f"{path}/") for name in repository.files):
                found.append({"type": "directory", "path": path, "oid": "0" * 40})
        self._answer(200, found)

    def _preupload(self, repository: Repository, _: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._answer(200, {"files": files})

    def _batch(self, repository: Repository, _: dict[str, Any]) -> None:
        objects = []
        for one in json.loads(self.body)["objects"]:
            href = f"http://{self.headers['Host']}/large/{one['oid']}"
            actions = {"upload": {"href": href, "header": {}}}
            known = one["oid"] in self.state.large
            objects.append(one if known else one | {"actions": actions})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _upload(self, found: dict[str, Any]) -> None:
        if hashlib.sha256(self.body).hexdigest() != found["path"]:
            self._answer(400, {"error": "not what was announced"})
            return
        self.state.large[found["path"]] = self.body
        self.state.uploaded.append(found["path"])
        self._answer(200, {})

    def _commit(self, repository: Repository, found: dict[str, Any]) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent is not None and parent != repository.head:
            self._answer(412, {"error": "A commit has happened since. Please refresh."})
            return
        changed = []
        for line in lines[1:]:
            path = line["value"]["path"]
            changed.append(path)
            if line["key"] == "deletedFile":
                del repository.files[path]
            elif line["key"] == "lfsFile":
                repository.files[path] = self.state.large[line["value"]["oid"]]
            else:
                repository.files[path] = base64.b64decode(line["value"]["content"])
        repository.commits.append(changed)
        place = f"http://{self.headers['Host']}/datasets/{found['name']}/commit/{repository.head}"
        self._answer(200, {"commitUrl": place, "commitOid": repository.head})

    def _file(self, repository: Repository, found: dict[str, Any]) -> None:
        data = repository.files.get(found["path"])
        if data is None:
            error = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no entry"}
            self._answer(404, {"error": "Entry not found"}, error)
            return
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": repository.head}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None:
            self._answer(200, data, headers)
            return
        start, stop = int(match[1]), int(match[2] or len(data) - 1) + 1
        headers["Content-Range"] = f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}"
        self._answer(206, data[start:stop], headers)


@contextmanager
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubState]:
    """Run a Hub, and send the real client there; skips where there is no client."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="no huggingface_hub")
    state = HubState()
    handler = type("_Bound", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_test")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
