"""Remote filesystems of fsspec, made alike: bounded waits, and ranges that end with the file.

Every wait for a server is bounded where dsc knows how (HTTP and S3), and repeating a request is
left to `Root`, which counts it; other filesystems keep limits of their own.
"""

import os
from typing import Any
from weakref import WeakValueDictionary

from dsc.errors import UsageError
from dsc.storage.http import check_size

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


def connect(url: str, timeout_s: float) -> Any:
    """Give the fsspec filesystem of a URL.

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

    scheme = url.partition("://")[0]
    options: dict[str, Any] = {}
    try:
        if scheme in ("http", "https"):
            options = _http_options(timeout_s)
        elif scheme in ("s3", "s3a"):
            options = _s3_options(fsspec.config.conf.get("s3", {}), timeout_s)
        filesystem, _ = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        how = "pip install 'dsc[s3]'" if scheme in ("s3", "s3a") else "with pip"
        raise UsageError(f"{url}: {error}: {how}") from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}; check the URL's scheme") from None
    if scheme in ("s3", "s3a"):
        filesystem.retries = 1
    _CONNECTED[id(filesystem)] = filesystem
    return filesystem


def cat_range(
    fs: Any, full: str, start: int, end: int | None, file_bytes: int | None = None
) -> bytes:
    """Read bytes [start, end) of a file that is not behind HTTP; see `dsc.storage.http.read_range`.

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


def is_final(error: Exception) -> bool:
    """Tell whether asking again is useless: refused, or a request that the server calls wrong."""
    status = getattr(error, "status", None)
    wrong = isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)
    return wrong or isinstance(error, PermissionError)


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


def _http_options(timeout_s: float) -> dict[str, Any]:
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, connect=timeout_s, sock_read=timeout_s)
    return {"client_kwargs": {"timeout": limits}, "skip_instance_cache": True}


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
