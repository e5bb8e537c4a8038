"""Writes one shard: one tar a stream, its index, and the keys.

Nothing has its final name before it has been written, flushed to disk, read back and checked, so
a reader never sees half a shard and a killed writer leaves only ``.part`` files.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

from dsc._schemas import FileRecord, Origin, SequencePlace, StreamRecord
from dsc._storage.files.atomic import flush, forget_cached, part_name
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_file
from dsc._storage.format.keys import KEY
from dsc._storage.format.names import keys_path, member_name, stream_path
from dsc._storage.format.origins import write_lines
from dsc._storage.format.pack import Packing, encode_compressed, encode_pack
from dsc._storage.format.tar import BLOCK, END, MAX_NAME, member_bytes
from dsc.errors import CorruptArchiveError, UsageError


@dataclass(frozen=True)
class Written:
    """How a shard writes one stream.

    Attributes
    ----------
    slot
        Of its codec.
    pack_size
        Samples a pack; None for the shard's.
    packing
        How its packs compress payloads; None where they do not.
    """

    slot: int
    pack_size: int | None = None
    packing: Packing | None = None


@dataclass
class _StreamFile:
    part: Path
    file: BinaryIO
    digest: "hashlib._Hash"
    how: Written
    pack_size: int
    offsets: list[int] = field(default_factory=list)
    pending: list[bytes | None] = field(default_factory=list)
    written: int = 0
    payload_bytes: int = 0
    n_missing: int = 0

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.written += len(data)


class ShardWriter:
    """Writes the samples of one shard, in order.

    Parameters
    ----------
    root
        The archive.
    split, n
        Which shard.
    first_index
        Index, in the split, of the first sample.
    streams
        By name how each is written; of those that are not compressed the codec's slot will do.
    pack_size
        Samples a pack, where a stream has no size of its own.
    keys_there
        The keys file, where the shard stands and only gets more streams; else it is written.
    """

    def __init__(
        self,
        root: Root,
        split: str,
        n: int,
        first_index: int,
        streams: Mapping[str, int | Written],
        pack_size: int,
        keys_there: FileRecord | None = None,
    ) -> None:
        self._root, self._split, self._n = root, split, n
        self._first, self._keys_there = first_index, keys_there
        self._keys: list[str] = []
        self._origins: list[Origin | None] = []
        self._places: list[SequencePlace | None] = []
        self._scratch = None if root.local else tempfile.TemporaryDirectory(prefix="dsc-")
        self._files: dict[str, _StreamFile] = {}
        try:
            for stream, given in streams.items():
                part = self._part(stream_path(stream, split, n))
                how = given if isinstance(given, Written) else Written(given)
                self._files[stream] = _StreamFile(
                    part, part.open("wb"), hashlib.sha256(), how, how.pack_size or pack_size
                )
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self.abort()

    def add(
        self,
        key: str,
        payloads: Mapping[str, bytes],
        origin: Origin | None = None,
        place: SequencePlace | None = None,
    ) -> None:
        """Add one sample; a stream that `payloads` lacks is marked missing.

        `origin` says where it came from, `place` where it stands in a recording, where that is
        known.

        Raises
        ------
        UsageError
            When the key is not 1 to 80 letters, digits, ``_`` and ``-``, is too long for a tar
            member's name, or `payloads` has a stream that the shard does not write.
        """
        self._check(key, payloads)
        self._keys.append(key)
        self._origins.append(origin)
        self._places.append(place)
        for stream, file in self._files.items():
            payload = payloads.get(stream)
            file.pending.append(payload)
            file.n_missing += payload is None
            if len(file.pending) == file.pack_size:
                self._flush(stream, file)

    def finish(self) -> tuple[FileRecord, dict[str, StreamRecord]]:
        """Write the rest, check every file by reading it back, and give the files their names.

        Raises
        ------
        CorruptArchiveError
            When the disk gives back other bytes than were written.
        """
        records = {}
        for stream, file in self._files.items():
            if file.pending:
                self._flush(stream, file)
            file.write(END)
            file.file.close()
            path = stream_path(stream, self._split, self._n)
            sha256 = file.digest.hexdigest()
            flush(file.part)
            _check_written(file.part, sha256, self._root.where(path))
            self._root.put(file.part, path, flushed=True)
            self._root.write(f"{path}.idx", idx_bytes([*file.offsets, file.written - len(END)]))
            records[stream] = StreamRecord(
                path=path,
                bytes=file.written,
                sha256=sha256,
                payload_bytes=file.payload_bytes,
                n_missing=file.n_missing,
            )
        keys = self._keys_there or self._write_keys()
        self._files = {}
        self.abort()
        return keys, records

    def abort(self) -> None:
        """Remove whatever is not finished; safe to call twice."""
        for file in self._files.values():
            with suppress(OSError):  # a full disk refuses what is still buffered
                file.file.close()
            file.part.unlink(missing_ok=True)
        self._files = {}
        if self._scratch is not None:
            self._scratch.cleanup()

    def _write_keys(self) -> FileRecord:
        lines = write_lines(self._keys, self._origins, self._places)
        return write_file(self._root, keys_path(self._split, self._n), lines)

    def _check(self, key: str, payloads: Mapping[str, bytes]) -> None:
        if not KEY.fullmatch(key):
            raise UsageError(
                f"sample key {key!r}: 1 to 80 of A-Z a-z 0-9 _ - only; rename the source's file"
            )
        longest = max(self._files, key=len, default="")
        if len(member_name(key, longest)) > MAX_NAME:
            raise UsageError(
                f"sample key {key!r} with stream {longest!r}: a tar member's name holds "
                f"{MAX_NAME} characters, {member_name(key, longest)!r} has "
                f"{len(member_name(key, longest))}; shorten the source's file name"
            )
        if not payloads.keys() <= self._files.keys():
            raise UsageError(
                f"sample {key}: streams {sorted(payloads.keys() - self._files.keys())} are not "
                f"written by this shard, which has {sorted(self._files)}"
            )

    def _part(self, path: str) -> Path:
        if self._root.local is None or self._scratch is not None:
            return Path(str(self._scratch and self._scratch.name)) / path.replace("/", "_")
        target = self._root.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return part_name(target)

    def _flush(self, stream: str, file: _StreamFile) -> None:
        first = len(self._keys) - len(file.pending)
        index, how = self._first + first, file.how
        if how.packing is None:
            pack = encode_pack(file.pending, index, how.slot)
            file.payload_bytes += sum(len(payload) for payload in file.pending if payload)
        else:
            pack, stored = encode_compressed(file.pending, index, how.slot, how.packing)
            file.payload_bytes += stored
        file.offsets.append(file.written)
        file.write(member_bytes(member_name(self._keys[first], stream), pack))
        file.pending = []


def idx_bytes(offsets: list[int]) -> bytes:
    """Return an ``.idx``: where each pack's member starts, then where the last one ends (u64)."""
    if any(offset % BLOCK for offset in offsets):
        raise ValueError("a tar member starts at a multiple of 512")
    import numpy as np

    return np.asarray(offsets, "<u8").tobytes()


def _check_written(part: Path, sha256: str, where: str) -> None:
    """Read a flushed file back and compare it with the hash of what was given to be written.

    It is read from the disk, or from whatever the system takes for it: a controller's or server's
    own memory is not passed by. Where the system keeps hold of its pages (other than on Linux, or
    in a file system in memory), this tests what was written, and not the disk.
    """
    forget_cached(part)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CorruptArchiveError(
            f"{where}: the disk gives back other bytes than were written; check the disk"
        )
