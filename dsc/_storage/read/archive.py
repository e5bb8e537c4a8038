"""Reads an archive: manifest, shards, keys, packs and single bitstreams. It decodes nothing."""

import bisect
import copy
import hashlib
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self, TypeVar

from dsc._schemas import (
    CodecRecord,
    FileRecord,
    Manifest,
    Origin,
    SequencePlace,
    ShardRecord,
    StreamRecord,
    carrying_streams,
)
from dsc._schemas.group import BESIDE, lanes_of
from dsc._schemas.levels import frame_layers, without
from dsc._schemas.machine_path import MachinePath, carrying
from dsc._schemas.stream import Compressed
from dsc._storage.files.root import CONNECTIONS, Root
from dsc._storage.format.dictionary import read_dictionary
from dsc._storage.format.keys import KEY, KeyIndex, hash_keys, new_factor, parse_keys
from dsc._storage.format.names import MANIFEST, WORK, codec_path
from dsc._storage.format.origins import read_lines, read_names, read_places
from dsc._storage.format.pack import Pack, decode_joined, decode_pack
from dsc._storage.format.tar import BLOCK, END, check_head
from dsc._storage.read.tar_index import READ_BLOCK, read_idx
from dsc.errors import (
    LIST_DAMAGE,
    ArchiveNotFoundError,
    CorruptArchiveError,
    CorruptPackError,
    TaskMismatchError,
    UnknownSampleError,
    UnknownTaskError,
    UnsafeArchiveError,
)

if TYPE_CHECKING:
    from dsc._storage.format.block import Joined
    from dsc._storage.format.keys import Hashes
    from dsc._storage.read.tar_index import Offsets

MAX_TOTAL_SAMPLES = 1 << 48
KEPT_KEYS = 1 << 18
T = TypeVar("T")


class Archive:
    """An open archive; cheap to open, picklable, thread-safe for reading.

    Attributes
    ----------
    root
        Where it is.
    manifest, shards
        What it is; shards in order of split and number.
    lanes
        The streams whose payloads lie in groups.
    paths
        Machine paths that are read of its streams, beside the tasks that are there.
    """

    def __init__(
        self,
        root: Root,
        manifest: Manifest,
        shards: tuple[ShardRecord, ...],
        paths: tuple[MachinePath, ...] = (),
    ) -> None:
        self.root, self.manifest, self.shards, self.paths = root, manifest, shards, paths
        self._starts = list(accumulate((shard.samples for shard in shards), initial=0))
        self._slots = {
            stream: slot for slot, codec in enumerate(manifest.codecs) for stream in codec.streams
        }
        self._pack_sizes = {
            stream.name: stream.pack_size for stream in manifest.streams if stream.pack_size
        }
        self._compressed = {stream.name: stream.compressed for stream in manifest.streams}
        self.lanes = lanes_of(manifest.codecs, root.where(MANIFEST))
        self.beside = lanes_of(manifest.codecs, root.where(MANIFEST), BESIDE)
        self._layers = {n for one in manifest.codecs for lane in frame_layers(one) for n in lane}
        self._reset()

    def _reset(self) -> None:
        self._idx: dict[str, Offsets] = {}
        self._keys: dict[int, tuple[str, ...]] = {}
        self._key_index: KeyIndex | None = None
        self._origins: tuple[int, list[Origin]] | None = None
        self._places: dict[int, list[SequencePlace | None]] = {}
        self._lines: tuple[int, bytes] | None = None
        self._dictionaries: dict[int, bytes | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        read: dict[str, Any] = {"_idx": {}, "_keys": {}, "_dictionaries": {}}
        return (
            self.__dict__
            | read
            | {"_key_index": None, "_origins": None, "_places": {}, "_lines": None}
        )

    @classmethod
    def open(cls, url: object) -> Self:
        """Open an archive by path or URL.

        Raises
        ------
        ArchiveNotFoundError
            When there is no ``dsc.json``.
        UnsupportedVersionError, CorruptArchiveError
            When it cannot be read, or its shard records are not what the manifest says.
        """
        root = url if isinstance(url, Root) else Root(str(url))
        if not root.url:
            raise ArchiveNotFoundError("the name of an archive is empty; give a path or URL")
        try:
            data = root.read(MANIFEST)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ArchiveNotFoundError(_not_found(root)) from None
        manifest = Manifest.from_file_bytes(data, root.where(MANIFEST))
        files = {record.path: record for record in manifest.files}
        listed = manifest.shards_path
        if listed not in files:
            raise CorruptArchiveError(f"{root.where(MANIFEST)}: it does not name {listed}")
        lines = read_checked(root, files[listed]).splitlines()
        shards = tuple(
            ShardRecord.from_json(line, f"{root.where(listed)} line {number}")
            for number, line in enumerate(lines, 1)
        )
        check_shards(manifest, shards, root.where(listed))
        return cls(root, manifest, shards)

    def fresh(self) -> Self:
        """Return the same archive with connections and counts of its own, as after a fork."""
        other = copy.copy(self)
        other.root = self.root.fresh()
        other._idx, other._key_index = dict(self._idx), self._key_index
        return other

    def with_paths(self, paths: Sequence[MachinePath]) -> Self:
        """Return the same archive with tasks of machine paths, which is told to nobody but here.

        Parameters
        ----------
        paths
            Of tasks that are there, no two of one name.
        """
        tasks = {task.name: task for task in self.manifest.tasks}
        own = [tasks[path.task].model_copy(update={"name": path.name}) for path in paths]
        streams = [carrying(stream, paths) for stream in self.manifest.streams]
        more = {"tasks": (*self.manifest.tasks, *own), "streams": tuple(streams)}
        manifest = self.manifest.model_copy(update=more)
        return type(self)(self.root, manifest, self.shards, tuple(paths))

    def without(self, streams: Collection[str]) -> Self:
        """Return the same archive for readers that leave out some streams, and what requires them.

        See `dsc._schemas.levels.without`.
        """
        return type(self)(self.root, without(self.manifest, streams), self.shards, self.paths)

    def __len__(self) -> int:
        return self._starts[-1]

    def start(self, shard: int) -> int:
        """Return the index of a shard's first sample, over all splits."""
        return self._starts[shard]

    def locate(self, index: int) -> tuple[int, int, int]:
        """Return (shard, pack in the shard, sample in the pack) of a sample over all splits."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)} in {self.root.url}")
        shard = bisect.bisect_right(self._starts, index) - 1
        pack, k = divmod(index - self._starts[shard], self.manifest.pack_size)
        return shard, pack, k

    def n_packs(self, shard: int) -> int:
        """Return the number of packs of a shard, the same in every stream."""
        return -(-self.shards[shard].samples // self.manifest.pack_size)

    def pack_size(self, stream: str) -> int:
        """Return the samples that a member of a stream's tars holds: of one pack, or of several."""
        return self._pack_sizes.get(stream, self.manifest.pack_size)

    def member_of(self, stream: str, pack: int) -> int:
        """Return the number of the member that holds a pack; of most streams the pack's own."""
        return pack * self.manifest.pack_size // self.pack_size(stream)

    def n_members(self, shard: int, stream: str) -> int:
        """Return the number of members of a stream's tar."""
        return -(-self.shards[shard].samples // self.pack_size(stream))

    def compressed(self, stream: str) -> Compressed | None:
        """Return how packs compress the payloads of a stream; None where they do not."""
        return self._compressed.get(stream)

    def carriers(self, task: str) -> tuple[str, ...]:
        """List the streams of which a sample that has a task has at least one."""
        found = carrying_streams(self.manifest.streams, task)
        layers = tuple(name for name in found if name in self._layers)
        return layers or found

    def may_lack(self, task: str, shard: int | None = None) -> bool:
        """Tell whether a sample of the archive, or of a shard, may lack a task."""
        return self.lacking(task, shard) > 0

    def lacking(self, task: str, shard: int | None = None) -> int:
        """Count the samples that lack a task, at most: of a task of several streams they are few.

        Of tasks of one stream, and of those coded in layers of frames, it is their number.
        """
        found = self.carriers(task)
        count = 0
        for record in self.shards if shard is None else (self.shards[shard],):
            missing = [record.streams[name].n_missing for name in found]
            if found[0] in self._layers:  # a sample has one of them
                count += sum(missing) - record.samples * (len(missing) - 1)
            else:
                count += min(missing)
        return count

    def is_column(self, stream: str) -> bool:
        """Tell whether each shard of a stream is one member: all of it comes with one request."""
        return all(self.n_members(shard, stream) == 1 for shard in range(len(self.shards)))

    def keys(self, shard: int) -> tuple[str, ...]:
        """Return the keys of a shard's samples."""
        found = self._keys.get(shard)
        if found is None:
            found = self._read_keys(shard)
            self._keep(self._keys, shard, found)
        return found

    def _keep(self, known: dict[int, T], shard: int, found: T) -> None:
        """Keep what was read of a shard, and drop what was read first where it becomes much."""
        held = list(known)  # the first came first
        if sum(self.shards[number].samples for number in held) > KEPT_KEYS:
            known.pop(held[0], None)
        known[shard] = found

    def _read_keys(self, shard: int) -> tuple[str, ...]:
        record = self.shards[shard]
        where = self.root.where(record.keys.path)
        found = parse_keys(self._keys_file(shard), where)
        if len(found) != record.samples:
            raise CorruptArchiveError(
                f"{where}: {len(found)} keys, the shard has {record.samples} samples"
            )
        return found

    def _keys_file(self, shard: int) -> bytes:
        """Read a keys file; the last one is kept, for it says several things of its samples."""
        known = self._lines  # another thread may put another shard's in its place
        if known is None or known[0] != shard:
            known = self._lines = shard, read_checked(self.root, self.shards[shard].keys)
        return known[1]

    def origin(self, index: int) -> Origin:
        """Say where a sample came from: its key, where nothing else is known."""
        shard, _, _ = self.locate(index)
        known = self._origins  # another thread may put another shard's in its place
        if known is None or known[0] != shard:
            where = self.root.where(self.shards[shard].keys.path)
            known = self._origins = shard, read_lines(self._keys_file(shard), where)
        return known[1][index - self._starts[shard]]

    def places(self, shard: int) -> list[SequencePlace | None]:
        """Read where the samples of a shard stand in recordings; None for those of none."""
        found = self._places.get(shard)
        if found is None:
            where = self.root.where(self.shards[shard].keys.path)
            found = read_places(self._keys_file(shard), where)
            self._keep(self._places, shard, found)
        return found

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording; None where it is of none."""
        shard, pack, k = self.locate(index)
        return self.places(shard)[pack * self.manifest.pack_size + k]

    @property
    def has_recordings(self) -> bool:
        """Whether samples are frames of recordings: some of the first shard, or of the last."""
        shards = {0, len(self.shards) - 1} if self.shards else ()
        return any(place is not None for shard in shards for place in self.places(shard))

    def source_names(self, shard: int) -> list[str]:
        """Return what a shard's samples were called in the source: keys, where that is not known.

        Raises
        ------
        CorruptArchiveError
            When a line says something else.
        """
        record = self.shards[shard]
        return read_names(self._keys_file(shard), self.root.where(record.keys.path))

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        shard, _, _ = self.locate(index)
        return self.keys(shard)[index - self._starts[shard]]

    def index_of(self, key: str) -> int:
        """Return the index of a key; `UnknownSampleError` when it is not there."""
        if self._key_index is None:
            self._key_index = self._index_keys()
        found = self._key_index.candidates(key) if KEY.fullmatch(key) else []
        for index in found:
            if self.key(index) == key:
                return index
        raise UnknownSampleError(f"{self.root.url}: no sample {key!r}; `dsc ls` lists the keys")

    def _index_keys(self) -> KeyIndex:
        factor = new_factor()
        shards = range(len(self.shards))

        def hashes(shard: int) -> "Hashes":
            return hash_keys(self._read_keys(shard), factor)

        if self.root.local is not None:
            return KeyIndex(map(hashes, shards), factor)
        self.root.connect()
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return KeyIndex(pool.map(hashes, shards), factor)

    def codec_file(self, record: CodecRecord) -> bytes | None:
        """Read a codec's weights, hash checked; None when it has none."""
        if record.weights_sha256 is None:
            return None
        path = codec_path(record.weights_sha256)
        files = {file.path: file for file in self.manifest.files}
        if path not in files or files[path].sha256 != record.weights_sha256:
            raise CorruptArchiveError(
                f"{self.root.where(MANIFEST)}: codec {record.id} wants weights "
                f"{record.weights_sha256[:16]}, which the archive does not name; "
                "foreign weights are not used"
            )
        return read_checked(self.root, files[path])

    def dictionary(self, slot: int) -> bytes | None:
        """Return the dictionary that the packs of a codec's streams refer to; None without one."""
        if not 0 <= slot < len(self.manifest.codecs):
            return None
        record = self.manifest.codecs[slot]
        if slot not in self._dictionaries:
            data = self.codec_file(record)
            where = self.root.where(codec_path(str(record.weights_sha256)))
            self._dictionaries[slot] = None if data is None else read_dictionary(data, where)
        return self._dictionaries[slot]

    def offsets(self, shard: int, stream: str) -> "Offsets":
        """Return where each member of a stream's tar starts, and where the last one ends.

        From the ``.idx``; rebuilt from the tar when there is none. One member needs neither.
        """
        record = self.record(shard, stream)
        if record.path not in self._idx:
            self._idx[record.path] = read_idx(self.root, record, self.n_members(shard, stream))
        return self._idx[record.path]

    def extent(self, shard: int, stream: str, pack: int) -> tuple[int, int]:
        """Return where the member that holds a pack starts and ends."""
        return self.member_extent(shard, stream, self.member_of(stream, pack))

    def member_extent(self, shard: int, stream: str, member: int) -> tuple[int, int]:
        """Return where a member of a stream's tar starts and ends."""
        if self.n_members(shard, stream) == 1:
            return 0, max(self.record(shard, stream).bytes - len(END), 0)
        start, end = self.offsets(shard, stream)[member : member + 2].tolist()
        return start, end

    def forget_offsets(self, shard: int, stream: str) -> None:
        """Read the ``.idx`` again when it is wanted next: it may be what was damaged."""
        self._idx.pop(self.record(shard, stream).path, None)

    def span(self, shard: int, pack: int) -> tuple[int, int]:
        """Return the index, in the split, of a pack's first sample, and how many it holds."""
        return self._span(shard, pack, self.manifest.pack_size)

    def member_span(self, shard: int, stream: str, member: int) -> tuple[int, int]:
        """Return the same of a member of a stream's tar."""
        return self._span(shard, member, self.pack_size(stream))

    def _span(self, shard: int, number: int, size: int) -> tuple[int, int]:
        record = self.shards[shard]
        first = record.first_index + number * size
        return first, min(size, record.first_index + record.samples - first)

    def slot(self, stream: str) -> int | None:
        """Return which of the manifest's codecs writes a stream."""
        return self._slots.get(stream)

    def read_pack(self, shard: int, stream: str, pack: int) -> Pack:
        """Read and check one pack: one range of bytes once the index is known."""
        data = self.root.read(self.record(shard, stream).path, *self.extent(shard, stream, pack))
        member = self.unwrap(memoryview(data), shard, stream, self.member_of(stream, pack))
        return self.cut(member, shard, pack)

    def cut(self, member: Pack, shard: int, pack: int) -> Pack:
        """Cut a pack out of the member that holds it."""
        first, count = self.span(shard, pack)
        start = first - member.first_index
        return member.part(start, start + count)

    def iter_packs(self, shard: int, stream: str) -> Iterator[Pack]:
        """Read all members of one stream of a shard, by few large reads."""
        record, offsets = self.record(shard, stream), self.offsets(shard, stream).tolist()
        member = 0
        while member < len(offsets) - 1:
            stop = bisect.bisect_right(offsets, offsets[member] + READ_BLOCK) - 1
            stop = min(max(stop, member + 1), len(offsets) - 1)
            start = offsets[member]
            block = memoryview(self.root.read(record.path, start, offsets[stop]))
            for number in range(member, stop):
                part = block[offsets[number] - start : offsets[number + 1] - start]
                yield self.unwrap(part, shard, stream, number)
            member = stop

    def payloads(self, index: int, streams: Sequence[str]) -> dict[str, memoryview | None]:
        """Read the bitstreams of one sample; None where it does not have a stream."""
        shard, pack, k = self.locate(index)
        return {name: self.read_pack(shard, name, pack).payloads[k] for name in streams}

    def record(self, shard: int, stream: str) -> StreamRecord:
        """Return the record of one stream's tar."""
        try:
            return self.shards[shard].streams[stream]
        except KeyError:
            raise UnknownTaskError(
                f"{self.root.url}: this archive has no stream {stream}"
            ) from None

    def unwrap(self, data: memoryview, shard: int, stream: str, member: int) -> Pack:
        """Check a member's header, padding and pack against what must stand there."""
        where, pack = self._unwrapped(data, shard, stream, member)
        found = decode_pack(pack, where, self.dictionary)
        self._check(found.first_index, len(found.payloads), found.codec_slot, where,
                    shard, stream, member)  # fmt: skip
        return found

    def unwrap_joined(self, data: memoryview, shard: int, stream: str, member: int) -> "Joined":
        """Check a member in the same way; its payloads are not cut out."""
        where, pack = self._unwrapped(data, shard, stream, member)
        first, slot, found = decode_joined(pack, where, self.dictionary)
        self._check(first, len(found.lengths), slot, where, shard, stream, member)
        return found

    def _unwrapped(
        self, data: memoryview, shard: int, stream: str, member: int
    ) -> tuple[str, memoryview]:
        where = f"{self.root.where(self.record(shard, stream).path)}: pack {member}"
        name, length = check_head(bytes(data[:BLOCK]), len(data), where)
        if any(data[BLOCK + length :]):
            raise CorruptPackError(f"{where}: padding is not zero; {LIST_DAMAGE}")
        if not name.endswith(f".{stream}.pack"):
            raise TaskMismatchError(f"{where}: member {name!r} is of another stream")
        return where, data[BLOCK : BLOCK + length]

    def _check(
        self, start: int, n: int, slot: int, where: str, shard: int, stream: str, member: int
    ) -> None:
        """Check which samples a pack says to hold, and whose it is."""
        first, count = self.member_span(shard, stream, member)
        if start != first or n != count:
            raise TaskMismatchError(
                f"{where}: holds samples {start} to {start + n - 1}, expected {first} to "
                f"{first + count - 1}; the streams of this shard are out of step"
            )
        if slot != self.slot(stream):
            raise TaskMismatchError(
                f"{where}: written by codec {slot}, the manifest says {self.slot(stream)}"
            )


def read_checked(root: Root, record: FileRecord) -> bytes:
    """Read a small file whole and check its size and hash.

    Raises
    ------
    CorruptArchiveError
        When it is missing, or not what the record says.
    """
    where = root.where(record.path)
    try:
        data = root.read(record.path, 0, record.bytes + 1)  # no more than there is
    except FileNotFoundError:
        raise CorruptArchiveError(f"{where}: the file is missing") from None
    found = hashlib.sha256(data).hexdigest()
    if len(data) != record.bytes or found != record.sha256:
        raise CorruptArchiveError(
            f"{where}: sha256 {found[:16]} ({len(data)} bytes read), expected "
            f"{record.sha256[:16]} ({record.bytes} bytes); the file is damaged"
        )
    return data


def check_shards(manifest: Manifest, shards: Sequence[ShardRecord], where: str) -> None:
    """Check that the shard records fit the manifest and each other.

    Raises
    ------
    CorruptArchiveError
        When samples are counted twice or not at all, or a stream or its codec is missing.
    """
    streams = {stream.name for stream in manifest.streams}
    odd = [s.name for s in manifest.streams if (s.pack_size or 0) % manifest.pack_size]
    if odd:
        raise CorruptArchiveError(
            f"{where}: packs of stream {odd[0]} are no multiple of {manifest.pack_size} samples"
        )
    coded = {name for codec in manifest.codecs for name in codec.streams}
    for stream in manifest.streams:
        absent = sorted(set(stream.requires) - streams)
        if absent or stream.name not in coded:
            lacks = f"requires {absent[0]}, which is not there" if absent else "has no codec"
            raise CorruptArchiveError(f"{where}: stream {stream.name} {lacks}")
    counted: dict[str, int] = dict.fromkeys(manifest.splits, 0)
    numbers: dict[str, int] = dict.fromkeys(manifest.splits, 0)
    for record in shards:
        split = record.split
        in_order = split in counted and record.n == numbers[split]
        if not in_order or record.first_index != counted[split] or not record.samples:
            raise CorruptArchiveError(f"{where}: shard {split} {record.n} is out of order")
        if set(record.streams) != streams:
            raise CorruptArchiveError(
                f"{where}: shard {split} {record.n} has streams {sorted(record.streams)}, "
                f"the manifest has {sorted(streams)}"
            )
        counted[split] += record.samples
        numbers[split] += 1
        if sum(counted.values()) > MAX_TOTAL_SAMPLES:
            raise UnsafeArchiveError(
                f"{where}: shard {split} {record.n} declares {record.samples} samples; "
                "no archive is that large"
            )
    if counted != dict(manifest.splits):
        raise CorruptArchiveError(f"{where}: {counted} samples, expected {dict(manifest.splits)}")


def _not_found(root: Root) -> str:
    """Say why there is no archive, as far as that can be seen without a network."""
    place = root.local
    again = "run the same command (`dsc compress`, fetch, push or pull) again to finish it"
    if place is None:
        return f"{root.url}: no {MANIFEST} there: no archive, or one that is not finished ({again})"
    if place.name == MANIFEST and place.is_file():
        return f"{root.url}: an archive is a directory; give {place.parent}"
    if place.is_file():
        return f"{root.url} is a file, and an archive is a directory with a {MANIFEST}"
    if not place.exists():
        return f"{root.url}: there is no such directory"
    if (place / WORK).is_dir():
        return f"{root.url}: the archive there is not finished; {again}, unless it is running now"
    return f"{root.url}: no {MANIFEST} there: this is no archive (`dsc compress` makes one)"
