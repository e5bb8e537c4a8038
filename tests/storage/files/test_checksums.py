"""A store's own checksum shows that a file is there, whichever of their kinds it is."""

import base64
import hashlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._storage.files import checksums
from dsc._storage.files.checksums import shows_same, told_sha256

DATA = b"bytes of a tar" * 40
MD5 = hashlib.md5(DATA, usedforsecurity=False)
BLOB = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA, usedforsecurity=False).hexdigest()
TOLD = {
    "s3": {"ETag": f'"{MD5.hexdigest()}"'},
    "s3 in capitals": {"ETag": MD5.hexdigest().upper()},
    "google": {"md5Hash": base64.b64encode(MD5.digest()).decode(), "etag": "CJ7z"},
    "azure": {"content_settings": {"content_md5": bytearray(MD5.digest())}, "etag": "0x8D"},
    "the Hub, small": {"blob_id": BLOB},
}


def etag_of_parts(data: bytes, part: int) -> str:
    parts = [data[at : at + part] for at in range(0, len(data), part)]
    digests = b"".join(hashlib.md5(one, usedforsecurity=False).digest() for one in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


def opened(data: bytes) -> Any:
    return lambda: io.BytesIO(data)


@pytest.mark.parametrize("store", TOLD)
def test_a_checksum_shows_the_file_and_no_other(store: str) -> None:
    assert shows_same(TOLD[store], opened(DATA))
    assert not shows_same(TOLD[store], opened(DATA[:-1] + b"x"))


@given(size=st.integers(1, 4000), part=st.sampled_from(checksums.PART_SIZES))
def test_an_etag_of_parts_shows_the_file_whatever_size_the_parts_had(size: int, part: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "MIB", 16)
        patch.setattr(checksums, "BLOCK", 24)
        data = bytes(at * 7 % 251 for at in range(size))
        info = {"ETag": etag_of_parts(data, part * 16)}
        assert shows_same(info, opened(data))
        assert not shows_same(info, opened(data[:-1] + b"\xff"))


@pytest.mark.parametrize(
    "info",
    [{}, {"ETag": None}, {"ETag": '"encrypted"'}, {"ETag": f'"{"0" * 32}-3"'}, {"md5Hash": None}],
)
def test_what_is_no_known_checksum_shows_nothing(info: dict[str, Any]) -> None:
    assert not shows_same(info, opened(DATA))


def test_the_hub_tells_the_sha256_of_large_files() -> None:
    for large in ({"sha256": "ab"}, SimpleNamespace(sha256="ab")):
        info = {"lfs": large, "blob_id": BLOB}
        assert told_sha256(info) == "ab"
        assert not shows_same(info, opened(DATA))  # its blob is a pointer, not the file
    assert told_sha256({"lfs": None}) == ""
