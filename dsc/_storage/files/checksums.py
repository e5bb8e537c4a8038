"""Which checksum a store tells of a file in its listing, and whether a local file has it.

What a store tells can show that a file is the right one. That it is another one it shows only where
it says which checksum it is: an S3 ETag is an MD5 for most objects, and something else for those
that are encrypted or were copied in parts of an unknown size.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

MIB = 1 << 20
PART_SIZES = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512)  # MiB that uploaders use
BLOCK = 1 << 20


def told_sha256(info: Mapping[str, Any]) -> str:
    """Return the sha256 that a listing tells: the Hub's, of large files; empty where there is none.

    Parameters
    ----------
    info
        What fsspec's `info` or `find` tells of a file.
    """
    large = info.get("lfs")
    found = large.get("sha256") if isinstance(large, Mapping) else getattr(large, "sha256", None)
    return str(found or "")


def shows_same(info: Mapping[str, Any], opened: Callable[[], BinaryIO]) -> bool:
    """Tell whether a listing shows that a file of a store has the bytes of a local one.

    False says nothing: the store may tell no checksum, or one that is not known here.

    Parameters
    ----------
    info
        What fsspec's `info` or `find` tells of a file.
    opened
        Opens the local file.
    """
    with opened() as file:
        told = _told_md5(info)
        if re.fullmatch(r"[0-9a-f]{32}", told):
            return bool(_hash(file, _new_md5()).hexdigest() == told)
        parts = re.fullmatch(r"([0-9a-f]{32})-(\d{1,5})", told)
        if parts:
            size = file.seek(0, os.SEEK_END)
            fit = (n * MIB for n in PART_SIZES if -(-size // (n * MIB)) == int(parts[2]))
            return any(_md5_of_parts(file, each) == parts[1] for each in fit)
        blob = str(info.get("blob_id") or "")
        return bool(blob) and not told_sha256(info) and _git_blob(file) == blob


def _told_md5(info: Mapping[str, Any]) -> str:
    """Return an MD5 in hexadecimal digits, or S3's of parts, ``<digits>-<parts>``; else empty."""
    etag = str(info.get("ETag") or "").strip('"').lower()
    if etag:
        return etag
    settings = info.get("content_settings")
    azure = settings.get("content_md5") if isinstance(settings, Mapping) else None
    raw = info.get("md5Hash") or azure  # Google's in base64, Azure's as bytes
    if isinstance(raw, str):
        raw = base64.b64decode(raw)
    return bytes(raw).hex() if raw else ""


def _hash(file: BinaryIO, digest: Any, length: int | None = None) -> Any:
    """Feed a digest with the next bytes of a file."""
    for block in _blocks(file, length):
        digest.update(block)
    return digest


def _blocks(file: BinaryIO, length: int | None) -> Iterator[bytes]:
    while block := file.read(BLOCK if length is None else min(BLOCK, length)):
        length = None if length is None else length - len(block)
        yield block


def _md5_of_parts(file: BinaryIO, part: int) -> str:
    size, whole = file.seek(0, os.SEEK_END), _new_md5()
    file.seek(0)
    while file.tell() < size:
        whole.update(_hash(file, _new_md5(), part).digest())
    return str(whole.hexdigest())


def _git_blob(file: BinaryIO) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    begun = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return str(_hash(file, begun).hexdigest())


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
