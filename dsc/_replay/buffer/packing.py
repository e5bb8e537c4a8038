"""Between a replay buffer's index and the arrays that lie in its file; no input or output.

::

    meta         uint8    JSON, `dsc._replay.buffer.meta.BufferMeta`
    labels       uint16   (N,); 65535 stands for the next of `wide_labels`, int64
    slots        uint8    (N,)
    random       uint32   (N,)
    lengths      uint16   of the streams of all exemplars; 65534: the stream is absent; 65535 stands
                          for the next of `long_lengths`, uint32
    keys, key_lengths     UTF-8, uint16; where the buffer has keys
    state/*               the policy's
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._replay.buffer.meta import VERSION, BufferMeta
from dsc._replay.buffer.rows import ABSENT, ABSENT_CODE, LONG_CODE, WIDE_CODE, Rows
from dsc.errors import UnsupportedVersionError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Contents:
    """A buffer without payloads and weights."""

    meta: BufferMeta
    rows: Rows
    state: Mapping[str, NDArray[Any]]


def packed(contents: Contents) -> Arrays:
    """Return the arrays of an index."""
    rows, counts = contents.rows, [len(slot.streams) for slot in contents.meta.slots]
    lengths = rows.lengths[_own_streams(rows.slots, counts, rows.lengths.shape[1])]
    long = lengths >= ABSENT_CODE
    codes = np.where(long, LONG_CODE, np.where(lengths == ABSENT, ABSENT_CODE, lengths))
    wide = (rows.labels < 0) | (rows.labels >= WIDE_CODE)
    arrays: Arrays = {
        "meta": np.frombuffer(contents.meta.to_json().encode(), np.uint8),
        "labels": np.where(wide, WIDE_CODE, rows.labels).astype("<u2"),
        "slots": rows.slots,
        "random": rows.random.astype("<u4"),
        "lengths": codes.astype("<u2"),
    }
    if wide.any():
        arrays["wide_labels"] = rows.labels[wide].astype("<i8")
    if long.any():
        arrays["long_lengths"] = lengths[long].astype("<u4")
    if contents.meta.keyed:
        arrays["keys"] = np.frombuffer(b"".join(rows.keys), np.uint8)
        arrays["key_lengths"] = np.array([len(key) for key in rows.keys], "<u2")
    return arrays | {f"state/{name}": array for name, array in contents.state.items()}


def _own_streams(slots: NDArray[np.uint8], counts: list[int], wide: int) -> NDArray[np.bool_]:
    """Mark the columns of `Rows.lengths` that each row's slot has."""
    own = np.asarray(counts, np.int64)[slots] if len(slots) else np.zeros(0, np.int64)
    return np.arange(wide)[None, :] < own[:, None]


def unpacked(arrays: Arrays, where: str) -> Contents:
    """Return the index of arrays; its rows lie one after another from address 0.

    Raises
    ------
    KeyError, ValueError, IndexError
        When an array is missing or does not fit.
    UnsupportedVersionError
        When a later dsc wrote them.
    """
    text = arrays["meta"].tobytes()
    found = json.loads(text).get("version")
    if found != VERSION:
        raise UnsupportedVersionError(
            f"{where}: a replay buffer of version {found}; this dsc reads version {VERSION}"
        )
    meta = BufferMeta.from_json(text, where)
    slots, labels = arrays["slots"], arrays["labels"].astype(np.int64)
    if "wide_labels" in arrays:
        labels[labels == WIDE_CODE] = arrays["wide_labels"]
    flat = arrays["lengths"].astype(np.int64)
    long, absent = flat == LONG_CODE, flat == ABSENT_CODE
    flat[long] = arrays.get("long_lengths", np.zeros(0, np.int64))
    flat[absent] = ABSENT
    counts = [len(slot.streams) for slot in meta.slots]
    wide = max(counts, default=1)
    lengths = np.full((len(labels), wide), ABSENT, np.int64)
    lengths[_own_streams(slots, counts, wide)] = flat
    sizes = np.maximum(lengths, 0).sum(axis=1)
    addresses = np.cumsum(sizes) - sizes
    rows = Rows(labels, arrays["random"], slots, lengths, addresses, _keys(arrays, len(labels)))
    state = {n.removeprefix("state/"): a for n, a in arrays.items() if n.startswith("state/")}
    return Contents(meta, rows, state)


def checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Return the CRC-32 of names and values."""
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(
            np.ascontiguousarray(arrays[name]).tobytes(), zlib.crc32(name.encode(), crc)
        )
    return crc


def _keys(arrays: Arrays, count: int) -> NDArray[np.object_]:
    keys = np.full(count, b"", object)
    if "keys" in arrays:
        data, ends = arrays["keys"].tobytes(), np.cumsum(arrays["key_lengths"].astype(np.int64))
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
        for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            keys[at] = data[start:end]
    return keys
