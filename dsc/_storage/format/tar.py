"""USTAR, written to the bit and scanned strictly: regular members only, nothing hidden.

Python's `tarfile` would do for writing, but its reader is forgiving: a damaged header ends the
archive silently. Here every header's checksum and fields are checked and everything after the end
marker must be absent.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dsc._storage.files.root import check_relative
from dsc.errors import (
    LIST_DAMAGE,
    CorruptArchiveError,
    CorruptPackError,
    DscError,
    UnsafeArchiveError,
)

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_MEMBER = 0o77777777777
MAX_NAME = 100


@dataclass(frozen=True)
class Member:
    """One member of a tar.

    Attributes
    ----------
    name
        Path inside the tar.
    offset
        Where its data starts, bytes from the start of the tar.
    size
        Bytes of data.
    """

    name: str
    offset: int
    size: int


def member_bytes(name: str, data: bytes) -> bytes:
    """Return one whole member: header, data, padding to 512 bytes.

    Raises
    ------
    UnsafeArchiveError
        When the name is not a plain relative path of at most 100 characters.
    """
    return header_bytes(name, len(data)) + data + bytes(-len(data) % BLOCK)


def header_bytes(name: str, size: int) -> bytes:
    """Return the header of a regular file: mode 0444, owner 0, time 0."""
    check_relative(name)
    if len(name) > MAX_NAME or size > MAX_MEMBER:
        raise UnsafeArchiveError(f"{name}: too long a name or too big a member for USTAR ({size})")
    fields = b"".join(
        [
            name.encode().ljust(100, b"\0"),
            b"0000444\0" + b"0000000\0" + b"0000000\0",  # mode, uid, gid
            b"%011o\0" % size,
            b"00000000000\0",  # mtime
            b" " * 8,  # the checksum counts as spaces
            b"0",
            bytes(100),
            b"ustar\x0000",
            bytes(32 + 32),
            bytes(8 + 8),
            bytes(155 + 12),
        ]
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


def check_head(head: bytes, member_bytes: int, where: str) -> tuple[str, int]:
    """Return name and length of a tar member of which the header and the size are known.

    Raises
    ------
    CorruptPackError
        When one does not fit the other.
    """
    try:
        length = int(head[124:135], 8)
        name = head[:100].rstrip(b"\0").decode("ascii")
        expected = header_bytes(name, length)
    except (ValueError, DscError):
        name, length, expected = "", 0, b""
    if head != expected or length + (-length % BLOCK) + BLOCK != member_bytes:
        raise CorruptPackError(f"{where}: damaged tar header; {LIST_DAMAGE}")
    return name, length


def scan(read: Callable[[int, int], bytes], size: int, where: str) -> Iterator[Member]:
    """List the members of a tar and check its whole structure.

    Parameters
    ----------
    read
        ``read(start, end)`` gives bytes of the tar.
    size
        The tar's size in bytes.
    where
        The tar's name, for messages.

    Raises
    ------
    CorruptArchiveError
        When a header is damaged, a member is cut, or the end marker is missing.
    UnsafeArchiveError
        When a member is no regular file or has an unsafe name.
    """
    at = 0
    while True:
        header = read(at, at + BLOCK)
        if len(header) < BLOCK:
            raise CorruptArchiveError(f"{where}: cut at byte {at}: no end marker")
        if not any(header):
            break
        member = _parse(header, at, where)
        stop = member.offset + member.size
        if stop + (-stop % BLOCK) + len(END) > size:
            raise CorruptArchiveError(
                f"{where}: member {member.name} declares {member.size} bytes, "
                f"the file ends at {size}"
            )
        padding = -member.size % BLOCK
        if padding and any(read(stop, stop + padding)):
            raise CorruptArchiveError(f"{where}: padding after {member.name} is not zero")
        yield member
        at = stop + padding
    if size != at + len(END) or read(at, size) != END:
        raise CorruptArchiveError(
            f"{where}: {size - at} bytes after the last member, expected 1024"
        )


def _parse(header: bytes, at: int, where: str) -> Member:
    name = header[:100].rstrip(b"\0").decode("latin-1")
    try:
        size = int(header[124:136].rstrip(b"\0 "), 8)
        rebuilt = header_bytes(name, size) if header[156:157] == b"0" else b""
    except (ValueError, UnsafeArchiveError) as error:
        if _checksum_holds(header):
            raise UnsafeArchiveError(f"{where}: byte {at}: member {name!r}: {error}") from None
        raise CorruptArchiveError(f"{where}: byte {at}: damaged member header") from None
    if rebuilt == header:
        return Member(name, at + BLOCK, size)
    if _checksum_holds(header):
        kind = header[156:157].decode("latin-1")
        raise UnsafeArchiveError(
            f"{where}: byte {at}: member {name!r} of type {kind!r} is not a plain file as dsc "
            "writes them; links, devices and extended headers are refused"
        )
    raise CorruptArchiveError(f"{where}: byte {at}: damaged header of member {name!r}")


def _checksum_holds(header: bytes) -> bool:
    try:
        return int(header[148:156].rstrip(b"\0 "), 8) == sum(header[:148] + b" " * 8 + header[156:])
    except ValueError:
        return False
