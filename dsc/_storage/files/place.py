"""Where files lie: what a person writes, taken apart once for archives and sources alike.

A local path is taken as it stands: ``%20``, ``#`` and ``?`` in it are letters of a name. A
``file://`` URL is a local path, percent-decoded. In an HTTP URL, what follows the first ``?`` is a
query (a signature, as a rule) that goes with every request below the URL; it is a secret, as a
password is, and stands in no message.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

from dsc.errors import UsageError

SIGNED = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*?(?=[;:,.)\]}]*(?:[\s'\"<>]|$))")
USER = re.compile(r"\b((?:https?|s?ftp|ssh|smb|s3a?)://)[^\s/@'\"]*@", re.IGNORECASE)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]*)://(.*)", re.DOTALL)
_SAFE = "/-._~!$&'()*+,;=:@"  # what a path may hold unquoted (RFC 3986, 3.3)
_SAFE_QUERY = _SAFE + "?%[]"


@dataclass(frozen=True)
class Place:
    """A directory or file, and how to ask for what lies below it.

    Attributes
    ----------
    url
        How it is spelt in messages: a local path as it was given, or a URL without query, password
        and closing slash.
    local
        Its absolute path; None where it is remote.
    query
        What goes with every HTTP request, percent-encoded, without ``?``.
    user, password
        Of an HTTP URL; sent as basic authentication.
    """

    url: str
    local: Path | None = None
    query: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def is_http(self) -> bool:
        """Tell whether it is behind HTTP."""
        return self.local is None and self.url.startswith(("http://", "https://"))

    def address(self, path: str) -> str:
        """Return what a filesystem is asked for: the URL of `path`, less the query.

        An empty path is the place itself, ``/`` the same as a directory.
        """
        if not path:
            return self.url
        spelt = quote(os.fsencode(path), safe=_SAFE) if self.is_http else path
        return f"{self.url}/{spelt.removeprefix('/')}"


def parse_place(text: str) -> Place:
    """Take a path or URL apart.

    Raises
    ------
    UsageError
        For a ``file://`` URL of another host.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return _local(os.path.expanduser(text))
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return _local(file_url_path(text))
    if scheme not in ("http", "https"):
        return Place(text.rstrip("/"))
    address, _, query = rest.partition("?")
    host, slash, path = address.partition("/")
    account, _, host = host.rpartition("@")
    user, _, password = account.partition(":")
    path = (slash + path.replace("#", "%23")).rstrip("/")
    return Place(
        f"{scheme}://{host}{path}",
        query=quote(query, safe=_SAFE_QUERY),
        user=unquote(user),
        password=unquote(password),
    )


def file_url_path(url: str) -> str:
    """Return the local path of a ``file://`` URL; names that are not UTF-8 keep their bytes.

    Raises
    ------
    UsageError
        When the URL names another host, or no path.
    """
    host, slash, path = url[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise UsageError(
            f"{url}: a file:// URL names a local path, such as file:///data/views; "
            f"{host or 'this one'} is another host or no path: give the path itself"
        )
    decoded = os.fsdecode(unquote_to_bytes(slash + path))
    if "\0" in decoded:
        raise UsageError(f"{url}: no file has a name with a zero byte")
    return decoded


def redact(text: str) -> str:
    """Take queries and passwords of URLs out of a text."""
    return USER.sub(r"\1", SIGNED.sub(r"\1", text))


def _local(path: str) -> Place:
    # absolute, because a worker may run in another directory
    return Place(path.rstrip("/") or path, Path(path).absolute())


def absolute(url: str) -> str:
    """Spell a local path so that it means the same in every process of this machine."""
    return url if "://" in url else str(Path(os.path.expanduser(url)).absolute())
