"""Byte ranges over HTTP that are right whatever the server does with a ``Range`` header.

A server may answer a range with the range (206), with the whole file (200), or not at all (416,
past the end). fsspec's `cat_file` gives back the body of all three alike, which hands wrong bytes
to a caller whose server knows no ranges; here each answer is told apart, and no more than the
asked-for bytes are ever kept in memory. fsspec still makes the session and holds the connections.
"""

from typing import Any

from dsc.errors import CorruptArchiveError

GONE = (404, 410)
NOT_SATISFIABLE = 416
IDENTITY = {"Accept-Encoding": "identity"}  # a compressed body has other offsets


def read_range(
    fs: Any, url: str, start: int, end: int | None, file_bytes: int | None = None
) -> bytes:
    """Read bytes [start, end) of a URL; fewer only when the file ends before.

    Parameters
    ----------
    fs
        An fsspec HTTP filesystem.
    end
        None for all the rest.
    file_bytes
        The size that the whole file must have, where it is known.

    Raises
    ------
    CorruptArchiveError
        When the server tells another size.
    FileNotFoundError
        When the server says that it is not there.
    PermissionError
        When the server refuses.
    OSError
        When the answer is of another range than was asked for.
    aiohttp.ClientError, asyncio.TimeoutError
        When the network or the server fails.
    """
    from fsspec.asyn import sync

    if end is not None and end <= start:
        return b""
    return bytes(sync(fs.loop, _read, fs, url, start, end, file_bytes))


def file_size(fs: Any, url: str) -> int:
    """Return the size of a URL in bytes; raises like `read_range`."""
    from fsspec.asyn import sync

    return int(sync(fs.loop, _size, fs, url))


def read_page(fs: Any, url: str) -> tuple[str, str] | None:
    """Read a page of HTML; None when something else lies there, which is not read.

    Returns
    -------
    address, text
        Where the page came from in the end, without a query, and what it says.
    """
    from fsspec.asyn import sync

    found: tuple[str, str] | None = sync(fs.loop, _page, fs, url)
    return found


def check_size(url: str, found: int, expected: int | None) -> None:
    """Refuse a file of another size than the archive's records say.

    Raises
    ------
    CorruptArchiveError
        When it has another size; None expects nothing.
    """
    if expected is not None and found != expected:
        raise CorruptArchiveError(
            f"{url}: the file has {found} bytes, the archive's records say {expected}: it is cut, "
            "or of another version of the archive (an old copy in a proxy or mirror?); open the "
            "archive again, and clear or repair the copy when that does not help"
        )


async def _read(fs: Any, url: str, start: int, end: int | None, file_bytes: int | None) -> bytes:
    session = await fs.set_session()
    headers = dict(IDENTITY)
    if start or end is not None:
        headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    async with session.get(fs.encode_url(url), headers=headers, **fs.kwargs) as answer:
        past_the_end = answer.status == NOT_SATISFIABLE and "Range" in headers
        if not past_the_end:
            _check_status(answer, url)
        total = _total(answer)
        if total is not None:
            check_size(url, total, file_bytes)
        if past_the_end:
            return b""
        length = None if end is None else end - start
        if answer.status != 206:
            return await _take(answer.content, start, length)
        expected = _expected_length(answer.headers.get("Content-Range", ""), url, start, end)
        data = await _take(answer.content, 0, length)
        if expected is not None and len(data) != expected:
            raise OSError(f"{url}: {len(data)} bytes from {start}, the server announced {expected}")
        return data


async def _size(fs: Any, url: str) -> int:
    session = await fs.set_session()
    place = fs.encode_url(url)
    async with session.head(place, headers=IDENTITY, allow_redirects=True, **fs.kwargs) as answer:
        if answer.status in GONE:
            _check_status(answer, url)
        if answer.status == 200 and "Content-Length" in answer.headers:
            return int(answer.headers["Content-Length"])
    # signed URLs are often good for GET alone
    headers = IDENTITY | {"Range": "bytes=0-0"}
    async with session.get(place, headers=headers, **fs.kwargs) as answer:
        if answer.status != NOT_SATISFIABLE:
            _check_status(answer, url)
        total = _total(answer)
    if total is None:
        raise OSError(f"{url}: the server does not tell the file's size")
    return total


async def _page(fs: Any, url: str) -> tuple[str, str] | None:
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), headers=IDENTITY, **fs.kwargs) as answer:
        _check_status(answer, url)
        if answer.content_type not in ("text/html", "application/xhtml+xml"):
            return None
        return str(answer.url.with_query(None)), await answer.text(errors="replace")


def _total(answer: Any) -> int | None:
    """Return the size of the whole file; None when the answer does not tell it."""
    if answer.status in (206, NOT_SATISFIABLE):
        told = answer.headers.get("Content-Range", "").rpartition("/")[2]
    elif "Content-Encoding" in answer.headers:  # then the length is that of what is sent
        told = ""
    else:
        told = answer.headers.get("Content-Length", "")
    return int(told) if told.isdigit() else None


def _check_status(answer: Any, url: str) -> None:
    if answer.status in GONE:
        raise FileNotFoundError(url)
    if answer.status in (401, 403):
        raise PermissionError(f"the server answers {answer.status} ({answer.reason})")
    answer.raise_for_status()


def _expected_length(content_range: str, url: str, start: int, end: int | None) -> int | None:
    """Return how many bytes a 206 must bring.

    None when the server does not tell the file's size.
    """
    place, _, total = content_range.removeprefix("bytes ").partition("/")
    first = place.partition("-")[0]
    if not first.isdigit() or int(first) != start:
        raise OSError(f"{url}: asked for bytes from {start}, the server sent {content_range!r}")
    if not total.isdigit():
        return None
    return max(int(total) - start if end is None else min(end, int(total)) - start, 0)


async def _take(content: Any, skip: int, length: int | None) -> bytes:
    """Read a body, leave out its first `skip` bytes, and stop after `length`."""
    parts: list[bytes] = []
    taken = 0
    while length is None or taken < length:
        chunk = await content.readany()
        if not chunk:
            break
        if skip:
            skip, chunk = max(skip - len(chunk), 0), chunk[skip:]
        chunk = chunk if length is None else chunk[: length - taken]
        taken += len(chunk)
        parts.append(chunk)
    return b"".join(parts)
