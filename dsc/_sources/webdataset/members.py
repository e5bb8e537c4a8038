"""The members of one tar, told from its headers: name, place and size of every file in it.

Payloads are passed over. A tar that is cut, damaged, or goes on behind its end is refused, for
readers of streams take its rest for nothing.
"""

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
            links = 0
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it would keep every one
                if info.isdir():
                    continue
                member = _member(info, known)
                links += info.islnk()
                if not member.why_not:
                    known[member.name] = (member.offset, member.size)
                yield member
            _check_end(file, tar.offset)
    except _BROKEN as error:
        raise SampleError(
            f"{where}: not a whole tar ({error}); copy or make it again, or leave it out with "
            "--ignore"
        ) from None


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
