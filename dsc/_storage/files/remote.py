"""Remote filesystems of fsspec, made alike: bounded waits, and ranges that end with the file.

Every wait for a server is bounded where dsc knows how (HTTP and S3); other filesystems keep limits
of their own. Requests that fail are repeated here, for archives and sources alike, and nowhere
below.
"""

import copy
import os
from collections.abc import Callable
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from dsc._storage.files.counts import ReadCounts
from dsc._storage.files.http import check_size, file_size, read_range
from dsc._storage.files.place import Place, redact
from dsc._storage.files.retry import repeat
from dsc.errors import UsageError

T = TypeVar("T")
TIMEOUT_S = 30
EXTRAS = {"s3": "s3", "s3a": "s3", "hf": "hf"}  # by scheme

# by id: fsspec calls two filesystems with the same options equal
_CONNECTED: WeakValueDictionary[int, Any] = WeakValueDictionary()
_INHERITED: list[Any] = []  # of a forked process


def _keep_inherited() -> None:
    """Keep a parent's connections open in a forked process, which never uses them.

    Closing one would take it off the epoll instance that both processes share: the parent's next
    request would wait for its answer until the time is up.
    """
    _INHERITED.extend(_CONNECTED.values())


os.register_at_fork(after_in_child=_keep_inherited)


class Remote:
    """A remote place, with a connection of its own in every process.

    Parameters
    ----------
    place
        What lies there, a directory or a file.
    timeout_s, retries
        See `dsc._storage.files.root.Root`.
    counts
        Where requests are counted.
    """

    def __init__(
        self,
        place: Place,
        timeout_s: float | None = None,
        retries: int | None = None,
        counts: ReadCounts | None = None,
    ) -> None:
        self.place, self.timeout_s, self.retries = place, timeout_s, retries
        self.counts = ReadCounts() if counts is None else counts
        self._filesystem: Any = None
        self._pid = os.getpid()

    def fresh(self, counts: ReadCounts) -> Self:
        """Return the same place with a connection and counts of its own."""
        other = copy.copy(self)
        other.counts, other._filesystem, other._pid = counts, None, os.getpid()
        return other

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_filesystem": None}

    def filesystem(self) -> Any:
        """Return the fsspec filesystem, connected."""
        # a forked worker (of a data loader, say) must not use its parent's connections
        if self._filesystem is None or self._pid != os.getpid():
            limit = TIMEOUT_S if self.timeout_s is None else self.timeout_s
            self._filesystem = connect(self.place, limit)
            self._pid = os.getpid()
        return self._filesystem

    def where(self, path: str) -> str:
        """Name a file for a message; an empty path is the place itself."""
        return redact(f"{self.place.url}/{path}".rstrip("/"))

    def call(self, path: str, do: Callable[[Any, str], T]) -> T:
        """Call ``do(filesystem, address of path)``, again where it fails; see `repeat`."""
        filesystem, address = self.filesystem(), self.place.address(path)
        if "::" in self.place.url:  # its own names begin elsewhere in the chain
            address = filesystem._strip_protocol(address)
        return repeat(
            lambda: do(filesystem, address),
            self.where(path),
            self.retries,
            lambda: self.counts.add("retries"),
        )

    def read(
        self, path: str, start: int = 0, end: int | None = None, file_bytes: int | None = None
    ) -> bytes:
        """Read bytes [start, end) of a file; see `dsc._storage.files.root.Root.read`."""
        return self.call(path, lambda fs, full: self._read(fs, full, start, end, file_bytes))

    def size(self, path: str) -> int:
        """Return a file's size in bytes; FileNotFoundError when it is not there."""
        if self.place.is_http:
            return self.call(path, file_size)
        return self.call(path, lambda fs, full: int(fs.info(full)["size"]))

    def exists(self, path: str) -> bool:
        """Tell whether a file is there."""
        if not self.place.is_http:
            return self.call(path, lambda fs, full: bool(fs.exists(full)))
        try:  # fsspec's own answer is "no" for a network that fails, too
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def find(self, below: str = "") -> list[str]:
        """List all files below a path of the place, relative to the place, sorted."""

        def names(fs: Any, full: str) -> list[str]:
            base = fs._strip_protocol(full).rstrip("/")
            found = map(str, fs.find(f"{base}/{below}" if below else base))
            return sorted(name.removeprefix(base).lstrip("/") for name in found)

        return self.call("", names)

    def _read(
        self, fs: Any, full: str, start: int, end: int | None, file_bytes: int | None
    ) -> bytes:
        self.counts.add("requests")
        read = read_range if self.place.is_http else cat_range
        return read(fs, full, start, end, file_bytes)


def connect(place: Place, timeout_s: float) -> Any:
    """Return the fsspec filesystem of a remote place.

    Parameters
    ----------
    timeout_s
        The longest wait for a connection, and for the next bytes of an answer, in seconds.

    Raises
    ------
    UsageError
        When no filesystem of this scheme is installed.
    """
    import fsspec

    scheme = place.url.partition("://")[0]
    try:
        if place.is_http:
            filesystem = _http(place, timeout_s)
        else:
            s3 = scheme in ("s3", "s3a")
            configured = fsspec.config.conf.get("s3", {})
            options = _s3_options(configured, timeout_s) if s3 else {}
            if scheme == "hf":  # it keeps listings for ever, which others make old
                options = {"skip_instance_cache": True}
            filesystem, _ = fsspec.core.url_to_fs(place.url, **options)
    except ImportError as error:
        how = f"pip install 'dsc[{EXTRAS[scheme]}]'" if scheme in EXTRAS else "with pip"
        raise UsageError(f"{redact(place.url)}: {error}: {how}") from None
    except ValueError as error:
        raise UsageError(f"{redact(place.url)}: {error}; check the URL's scheme") from None
    if scheme in ("s3", "s3a"):
        filesystem.retries = 1
    _CONNECTED[id(filesystem)] = filesystem
    return filesystem


def cat_range(
    fs: Any, full: str, start: int, end: int | None, file_bytes: int | None = None
) -> bytes:
    """Read bytes [start, end) of a file that is not behind HTTP; see `http.read_range`.

    Raises
    ------
    CorruptArchiveError
        When less comes than the file must hold, and it is another file.
    OSError
        When less comes, and it is the right file.
    """
    data = _cat(fs, full, start, end)
    if file_bytes is not None:
        wanted = (file_bytes if end is None else min(end, file_bytes)) - start
        if len(data) != max(wanted, 0):
            check_size(full, int(fs.info(full)["size"]), file_bytes)
            raise OSError(f"{len(data)} bytes from {start}, expected {wanted}")
    return data


def _cat(fs: Any, full: str, start: int, end: int | None) -> bytes:
    if start == 0 and end is None:
        return bytes(fs.cat_file(full))
    if end is not None and end <= start:
        return b""
    try:
        return bytes(fs.cat_file(full, start=start, end=end))
    except FileNotFoundError:
        raise
    except Exception:  # S3 calls a range past the end an error
        if start == 0 or start < int(fs.info(full)["size"]):
            raise
        return b""


def _http(place: Place, timeout_s: float) -> Any:
    """Return an HTTP filesystem whose every request brings the place's query and account."""
    import aiohttp
    import yarl
    from fsspec.implementations.http import HTTPFileSystem

    class SignedHTTPFileSystem(HTTPFileSystem):  # type: ignore[misc]
        cachable = False

        def encode_url(self, url: str) -> yarl.URL:
            plain = yarl.URL(url)
            # as it was given: a server may sign the very letters
            return yarl.URL(f"{plain}?{place.query}", encoded=True) if place.query else plain

    limits = aiohttp.ClientTimeout(total=None, connect=timeout_s, sock_read=timeout_s)
    options: dict[str, Any] = {"timeout": limits}
    if place.user or place.password:
        options["auth"] = aiohttp.BasicAuth(place.user, place.password)
    return SignedHTTPFileSystem(client_kwargs=options)


def _s3_options(configured: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Bound S3's waits: by themselves s3fs and botocore repeat each other's repeated requests."""
    limits = {
        "connect_timeout": timeout_s,
        "read_timeout": timeout_s,
        "retries": {"total_max_attempts": 1},
    }
    return {
        "config_kwargs": limits | configured.get("config_kwargs", {}),
        "skip_instance_cache": True,
    }
