"""The members of one tar, told from its headers: name, place and size of every file in it.

Payloads are passed over. A tar that is cut, damaged, or goes on behind its end is refused, for
readers of streams take its rest for nothing.
"""

import io
import posixpath
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from dsc._storage.format.tar import BLOCK
from dsc.errors import SampleError

_BROKEN = (tarfile.TarError, EOFError, ValueError)
_TAIL = 1 << 20


class Member(NamedTuple):
    """A member of a tar.

    Attributes
    ----------
    name
        As the tar has it; bytes that are no UTF-8 are surrogates.
    offset, size
        Where its file lies in the tar, in bytes.
    why_not
        Why it is none that can be read; empty for files.
    """

    name: str
    offset: int
    size: int
    why_not: str = ""


def scan_members(file: BinaryIO, where: str) -> Iterator[Member]:
    """Yield the members of a tar in their order, directories left out; hard links as files.

    Raises
    ------
    SampleError
        When it is no tar, or not a whole one.
    """
    known: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar:
            for member in _members(file, tar, known):
                if not member.why_not:
                    known[member.name] = (member.offset, member.size)
                yield member
            _check_end(file, tar.offset)
    except _BROKEN as error:
        raise SampleError(
            f"{where}: not a whole tar ({error}); copy or make it again, or leave it out with "
            "--ignore"
        ) from None


def _members(file: BinaryIO, tar: Any, known: dict[str, tuple[int, int]]) -> Iterator[Member]:
    """Yield what follows: plain files by their headers alone, all else as tarfile reads it.

    tarfile takes five times as long for a header, and most are plain.
    """
    tar.firstmember = None  # which it would give first
    total, at, is_plain = file.seek(0, io.SEEK_END), 0, True
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        member = _plain_file(header, at) if is_plain else None
        if member is not None:
            at = member.offset + member.size + -member.size % BLOCK
            if member.offset + member.size > total:
                raise tarfile.ReadError(f"{member.name} goes on behind its end")
            tar.offset = at
            yield member
            continue
        is_plain = is_plain and header[156:157] != b"g"  # which says something of all that follow
        file.seek(at)  # at the very beginning tarfile takes any other place for the end
        tar.offset, tar.members = at, []
        file.seek(at)  # elsewhere, tarfile takes an offset of 0 for the end
        info = tar.next()
        if info is None:
            return
        at = tar.offset
        if not info.isdir():
            yield _member(info, known)


def _plain_file(header: bytes, at: int) -> Member | None:
    """Read the header of a plain file; None where it is anything else, or damaged."""
    if len(header) < BLOCK or header[156] not in b"0\0" or header[257:262] != b"ustar":
        return None
    try:
        size = int(header[124:136].rstrip(b"\0 "), 8)
        checksum = int(header[148:156].rstrip(b"\0 "), 8)
    except ValueError:
        return None
    if checksum != sum(header) - sum(header[148:156]) + 8 * 32 or size < 0:
        return None
    name = header[:100].partition(b"\0")[0]
    if header[262:263] == b"\0" and header[345]:  # of POSIX; GNU has other fields there
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    if not name or name.endswith(b"/"):
        return None
    return Member(name.decode("utf-8", "surrogateescape"), at + BLOCK, size)


def _member(info: Any, known: dict[str, tuple[int, int]]) -> Member:
    if info.islnk() and (target := known.get(info.linkname)):
        return Member(info.name, *target)
    if info.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(info.name), info.linkname))
        if target in known:
            return Member(info.name, *known[target])
    if info.issym() or info.islnk():
        return Member(info.name, 0, 0, f"a link to {info.linkname}, which is not before it")
    if not info.isreg() or info.issparse():
        return Member(info.name, 0, 0, "no plain file")
    return Member(info.name, info.offset_data, info.size)


def _check_end(file: BinaryIO, at: int) -> None:
    """Refuse a tar without an end, which tarfile takes a damaged header for, or with more behind.

    Raises
    ------
    tarfile.ReadError
        When it is so.
    """
    file.seek(at)
    if file.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"a damaged header, or no end, at byte {at:,}")
    while data := file.read(_TAIL):
        if data.count(0) != len(data):
            raise tarfile.ReadError(
                f"it goes on behind its end at byte {at:,}, as tars do that were concatenated"
            )
