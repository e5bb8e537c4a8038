"""An archive of any number of samples that nobody wrote: bytes are made when asked for.

Every pack of a stream holds the same bitstreams, so every member has one size, and the bytes of
any file at any offset follow from its name. The manifest and the shard records are those of a real
archive of that length; only their sha256 of tars are made up, which a reader of single packs does
not compare.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from dsc._bench.stream.archives import PACK, SHARD, SPLIT, make_manifest
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import FileRecord, ShardRecord, StreamRecord, Task
from dsc._schemas.manifest import SHARDS
from dsc._storage.format.names import MANIFEST, keys_path, member_name, stream_path
from dsc._storage.format.pack import encode_pack
from dsc._storage.format.shard import idx_bytes
from dsc._storage.format.tar import END, member_bytes
from dsc.errors import UsageError

MADE_UP = hashlib.sha256(b"made when asked for").hexdigest()
_TAR = re.compile(rf"([a-z0-9_.]+)/{SPLIT}-\1-(\d{{6,}})\.tar(\.idx)?")


class SyntheticArchive:
    """The files of an archive, as a server's `Files`.

    Parameters
    ----------
    tasks, codecs
        What the archive says about itself.
    payloads
        The bitstreams of one pack, by stream: exactly `PACK` samples.
    samples
        How many samples there are; a multiple of `PACK`.
    max_pixels
        Pixels of a sample.

    Raises
    ------
    UsageError
        When `samples` or `payloads` is no whole number of packs.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        codecs: CodecSet,
        payloads: Sequence[Mapping[str, bytes]],
        samples: int,
        max_pixels: int,
    ) -> None:
        if samples % PACK or len(payloads) != PACK:
            raise UsageError(f"{samples} samples, {len(payloads)} bitstreams: packs hold {PACK}")
        self._samples, self._slots = samples, codecs.slots
        self._payloads = {name: [sample[name] for sample in payloads] for name in codecs.slots}
        self._member = {name: len(self._make_member(name, 0)) for name in codecs.slots}
        self._small = self._small_files(tasks, codecs, max_pixels)
        self._cached = lru_cache(maxsize=256)(self._make_member)

    def size(self, path: str) -> int | None:
        """Return the size in bytes; None when there is no such file."""
        if path in self._small:
            return len(self._small[path])
        found = self._find(path)
        if found is None:
            return None
        stream, shard, is_index = found
        packs = self._packs(shard)
        return 8 * (packs + 1) if is_index else packs * self._member[stream] + len(END)

    def page(self, path: str) -> None:
        """Return nothing: its directories have no pages."""

    def read(self, path: str, start: int, stop: int) -> bytes:
        """Return bytes [start, stop) of a file that is there."""
        if path in self._small:
            return self._small[path][start:stop]
        found = self._find(path)
        if found is None:
            raise FileNotFoundError(path)
        stream, shard, is_index = found
        packs, size = self._packs(shard), self._member[stream]
        if is_index:
            return idx_bytes([size * pack for pack in range(packs + 1)])[start:stop]
        first, last = start // size, min(-(-stop // size), packs)
        members = [self._cached(stream, shard * (SHARD // PACK) + k) for k in range(first, last)]
        return b"".join([*members, END])[start - first * size : stop - first * size]

    def _find(self, path: str) -> tuple[str, int, bool] | None:
        match = _TAR.fullmatch(path)
        if match is None or match[1] not in self._slots or int(match[2]) * SHARD >= self._samples:
            return None
        return match[1], int(match[2]), match[3] is not None

    def _packs(self, shard: int) -> int:
        return min(SHARD, self._samples - shard * SHARD) // PACK

    def _make_member(self, stream: str, pack: int) -> bytes:
        first = pack * PACK
        data = encode_pack(self._payloads[stream], first, self._slots[stream])
        return member_bytes(member_name(f"view_{first:08d}", stream), data)

    def _small_files(
        self, tasks: Sequence[Task], codecs: CodecSet, max_pixels: int
    ) -> dict[str, bytes]:
        files = {
            f"codecs/{hashlib.sha256(data).hexdigest()}.safetensors": data
            for data in codecs.weight_files()
        }
        records = [self._record(number) for number in range(-(-self._samples // SHARD))]
        files[SHARDS] = "".join(record.to_json() + "\n" for record in records).encode()
        named = [
            FileRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for path, data in files.items()
        ]
        manifest = make_manifest(tasks, codecs, records, named, max_pixels)
        return files | {MANIFEST: manifest.to_file_bytes()}

    def _record(self, number: int) -> ShardRecord:
        packs = self._packs(number)
        return ShardRecord(
            n=number,
            split=SPLIT,
            first_index=number * SHARD,
            samples=packs * PACK,
            keys=FileRecord(path=keys_path(SPLIT, number), bytes=1, sha256=MADE_UP),
            streams={
                name: StreamRecord(
                    path=stream_path(name, SPLIT, number),
                    bytes=packs * self._member[name] + len(END),
                    sha256=MADE_UP,
                    payload_bytes=packs * sum(map(len, self._payloads[name])),
                    n_missing=0,
                )
                for name in self._slots
            },
        )
