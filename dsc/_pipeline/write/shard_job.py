"""One shard, one job: read its samples, encode them, write its files, and its record last.

A job is idempotent and deterministic: run twice, killed and run again, or run on another worker,
it leaves the same bytes. A shard is done when its record lies in ``.dsc/records`` and checks out
against the files; nothing else is evidence. Memory is bounded by one batch of samples and one pack
a stream.

A sample that cannot be read or encoded keeps its key and its index, with every stream marked
missing, and is listed in the record with the reason, so that indices are those of the source.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dsc._codecs.base import Array
from dsc._codecs.encoder import check_same_encoder, encoder_of
from dsc._pipeline.choose.coding import Coding, EncodedSamples, Encoder
from dsc._pipeline.choose.rate_control import Coded
from dsc._pipeline.write.plan import Plan
from dsc._schemas import FailedSample, FileRecord, Origin, ShardRecord, StreamRecord
from dsc._schemas.base import Schema
from dsc._schemas.reached import Reached
from dsc._sources.base import Source, origin_of
from dsc._storage.files.root import Root
from dsc._storage.format.names import PLAN, WORK
from dsc._storage.format.shard import ShardWriter
from dsc._storage.read.verify import hash_file
from dsc.errors import CodecError, CorruptArchiveError, PlanMismatchError, SampleError

BATCH_SAMPLES = 8
BATCH_BYTES = 64 << 20
NONE_ENCODED = EncodedSamples(limit_bytes=0)


class JobRecord(Schema):
    """What a finished job leaves: the shard's record, and what the manifest needs beside it.

    Attributes
    ----------
    n
        Number of the job; within a split, shards have numbers of their own.
    """

    plan_sha256: str
    n: int
    max_pixels: int
    shard: ShardRecord
    reached: tuple[Reached, ...] = ()


@dataclass
class _Item:
    """A sample on its way through a job: its arrays, or why it has none."""

    key: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    source_bytes: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None
    coded: Coded = field(default_factory=Coded)
    origin: Origin | None = None


def encode_shard(
    plan: Plan,
    root: Root,
    n: int,
    source: Source,
    coding: Coding,
    on_error: str = "fail",
    standing: ShardRecord | None = None,
    advance: Callable[[int], None] | None = None,
    encoded: EncodedSamples = NONE_ENCODED,
) -> JobRecord:
    """Encode and write a shard, unless it is there already.

    Parameters
    ----------
    root
        The archive.
    n
        Which shard of the plan.
    coding
        How the plan's tasks are coded.
    on_error
        ``fail``, or ``skip`` to mark samples that cannot be encoded as missing.
    standing
        The shard that is there already and gets more streams.
    advance
        Called with the number of samples encoded since the last call.
    encoded
        Samples that were encoded for the plan already.

    Raises
    ------
    SampleError
        When a sample cannot be read or encoded and `on_error` is ``fail``.
    PlanMismatchError
        When the output was given to another plan meanwhile, or the encoders of this process are
        of other versions than the plan's.
    OSError
        When the source cannot be reached or the output cannot be written; trying again may help.
    """
    done = check_record(plan, root, n)
    if done is not None:
        return done
    if plan.encoder:  # a worker on another machine may have another environment
        again = "--restart" if plan.growth else "--overwrite"
        check_same_encoder(encoder_of(plan.codecs), plan.encoder, root.url, again)
    encoder = coding.encoder()
    tally = _Tally(plan, encoder.promised())
    place = plan.place(n)
    slots = {stream: plan.first_slot + slot for stream, slot in coding.codec_set.slots.items()}
    there = standing.keys if standing else None
    with ShardWriter(
        root, place.split, place.n, place.first_index, slots, plan.pack_size, there
    ) as writer:
        for batch in _batches(plan, n, source, on_error, encoded):
            _encode(batch, encoder, on_error)
            for item in batch:
                writer.add(item.key, item.coded.payloads, item.origin)
                tally.add(item)
            if advance is not None:
                advance(len(batch))
        check_owner(plan, root)
        keys, streams = writer.finish()
    record = tally.record(plan, n, keys, streams)
    root.write(record_path(plan, n), record.to_json().encode())
    return record


class _Tally:
    """Sums over the samples of a shard."""

    def __init__(self, plan: Plan, asked: Sequence[Reached]) -> None:
        self.reached = list(asked)
        self._maps = [task.name for task in plan.tasks if task.is_map]
        self.source_bytes = {task.name: 0 for task in plan.tasks}
        self.failed: list[FailedSample] = []
        self.max_pixels = 0

    def add(self, item: _Item) -> None:
        if item.error is not None:
            self.failed.append(FailedSample(key=item.key, error=item.error))
            return
        for name in self.source_bytes:
            self.source_bytes[name] += item.source_bytes.get(name, 0)
        for name in self._maps:
            if name in item.arrays:
                height, width = item.arrays[name].shape[:2]
                self.max_pixels = max(self.max_pixels, height * width)
        for task, metric, value, quality in item.coded.reached:
            for at, one in enumerate(self.reached):
                if (one.task, one.metric) == (task, metric):
                    self.reached[at] = one.with_sample(item.key, value, quality)

    def record(
        self, plan: Plan, n: int, keys: FileRecord, streams: Mapping[str, StreamRecord]
    ) -> JobRecord:
        """Return the record of the shard whose files these are."""
        place = plan.place(n)
        shard = ShardRecord(
            n=place.n,
            split=place.split,
            first_index=place.first_index,
            samples=len(place.indices),
            keys=keys,
            streams=streams,
            source_bytes=self.source_bytes,
            failed=tuple(self.failed),
        )
        return JobRecord(
            plan_sha256=plan.sha256,
            n=n,
            max_pixels=self.max_pixels,
            shard=shard,
            reached=tuple(self.reached),
        )


def _batches(
    plan: Plan, n: int, source: Source, on_error: str, encoded: EncodedSamples
) -> Iterator[list[_Item]]:
    """Read a shard's samples in batches of bounded number and size, each gone with the next."""
    batch: list[_Item] = []
    size = 0
    names = [task.name for task in plan.tasks]
    for index in plan.range(n):
        item = _read(source, index, names, on_error, encoded)
        item.origin = _origin(source, index, names)
        batch.append(item)
        size += sum(array.nbytes for array in item.arrays.values())
        if len(batch) == BATCH_SAMPLES or size >= BATCH_BYTES:
            yield batch
            batch.clear()  # not a new list: the caller still holds this one while we read on
            size = 0
    if batch:
        yield batch


def _read(
    source: Source, index: int, names: list[str], on_error: str, encoded: EncodedSamples
) -> _Item:
    known = encoded.get(index)
    if known is not None:
        sample, coded = known
        return _Item(sample.key, sample.arrays, sample.source_bytes, coded=coded)
    try:
        sample = source.read(index, names)
    except SampleError as error:
        key = source.key(index)
        if on_error == "skip":
            return _Item(key, error=str(error))
        raise SampleError(_advice(key, index, error)) from error
    return _Item(sample.key, sample.arrays, sample.source_bytes)


def _origin(source: Source, index: int, names: Sequence[str]) -> Origin | None:
    """Say where a sample came from, as far as the tasks of this plan go."""
    found = origin_of(source, index)
    if found is None:
        return None
    files = {task: path for task, path in found.files.items() if task in names}
    return found.model_copy(update={"files": files})


def _encode(batch: list[_Item], encoder: Encoder, on_error: str) -> None:
    """Fill in the payloads of a batch; a sample that cannot be encoded is found one by one."""
    whole = [item for item in batch if item.error is None and not item.coded.payloads]
    if not encoder.is_searching:
        try:
            coded = encoder.encode([item.arrays for item in whole])
        except CodecError:
            pass
        else:
            for item, one in zip(whole, coded, strict=True):
                item.coded = one
            return
    for item in whole:
        _encode_alone(item, encoder, on_error)


def _encode_alone(item: _Item, encoder: Encoder, on_error: str) -> None:
    try:
        [item.coded] = encoder.encode([item.arrays])
    except CodecError as error:
        if on_error != "skip":
            raise SampleError(_advice(item.key, None, error)) from error
        item.error = f"sample {item.key}: {error}"


def _advice(key: str, index: int | None, error: Exception) -> str:
    text = str(error)
    if key not in text:
        text = f"sample {key}{'' if index is None else f' ({index})'}: {text}"
    return f"{text}; repair it, or leave it out with --on-error skip"


def check_owner(plan: Plan, root: Root) -> None:
    """Check that the output still belongs to this plan.

    A worker can outlive its driver by seconds; it must not write into what a later run has begun.
    """
    try:
        found = root.read(PLAN)
    except FileNotFoundError:
        found = b""
    if found != plan.file_bytes:
        raise PlanMismatchError(
            f"{root.where(PLAN)} is not the plan of this run ({plan.sha256[:16]}) any more: "
            "another run has taken this output over; let only one at a time write to it"
        )


def record_path(plan: Plan, n: int) -> str:
    """Name the record of a shard."""
    place = plan.place(n)
    return f"{WORK}/records/{place.split}-{place.n:06d}.json"


def check_record(plan: Plan, root: Root, n: int, hashes: bool = True) -> JobRecord | None:
    """Return the record of a shard if the shard is done; None if it must be made (again).

    Parameters
    ----------
    hashes
        Whether to read the files and compare their hashes, or to compare sizes only.
    """
    path = record_path(plan, n)
    try:
        record = JobRecord.from_json(root.read(path), root.where(path))
    except (FileNotFoundError, CorruptArchiveError):
        return None
    shard, place = record.shard, plan.place(n)
    wanted = (plan.sha256, n, place.split, place.n)
    ours = wanted == (record.plan_sha256, record.n, shard.split, shard.n)
    if not ours or not _index_files_fit(plan, root, shard):
        return None
    files = [shard.keys, *shard.streams.values()]
    return record if all(_file_fits(root, file, hashes) for file in files) else None


def _index_files_fit(plan: Plan, root: Root, shard: ShardRecord) -> bool:
    packs = -(-shard.samples // plan.pack_size)
    paths = [f"{stream.path}.idx" for stream in shard.streams.values()]
    try:
        return all(root.size(path) == 8 * (packs + 1) for path in paths)
    except FileNotFoundError:
        return False


def _file_fits(root: Root, file: FileRecord, hashes: bool) -> bool:
    try:
        if root.size(file.path) != file.bytes:
            return False
        return not hashes or hash_file(root, file) == file.sha256
    except FileNotFoundError:
        return False
