"""One shard, one job: read its samples, encode them, write its files, and its record last.

A job is idempotent and deterministic: run twice, killed and run again, or run on another worker,
it leaves the same bytes. A shard is done when its record lies in ``.dsc/records`` and checks out
against the files; nothing else is evidence. Memory is bounded by one batch of samples and one pack
a stream.

A sample that cannot be read or encoded keeps its key and its index, with every stream marked
missing, and is listed in the record with the reason, so that indices are those of the source.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from dsc._codecs.encoder import check_same_encoder
from dsc._pipeline.choose.coding import Coding, encoder_versions
from dsc._pipeline.write.groups import groups_of
from dsc._pipeline.write.plan import Plan
from dsc._pipeline.write.samples import CodedSample, Probed, code_samples
from dsc._schemas import FailedSample, FileRecord, ShardRecord, StreamRecord
from dsc._schemas.base import Schema
from dsc._schemas.reached import Reached
from dsc._sources.base import Source
from dsc._storage.files.root import Root
from dsc._storage.format.names import PLAN, WORK
from dsc._storage.format.shard import ShardWriter, Written
from dsc._storage.read.verify import hash_file
from dsc.errors import CorruptArchiveError, PlanMismatchError

NONE_PROBED = Probed()


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


def encode_shard(
    plan: Plan,
    root: Root,
    n: int,
    source: Source,
    coding: Coding,
    on_error: str = "fail",
    standing: ShardRecord | None = None,
    advance: Callable[[int], None] | None = None,
    probed: Probed = NONE_PROBED,
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
    probed
        Samples that were read, or encoded, before there was a plan.

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
    groups = groups_of(source, coding, plan.range(n), plan.pack_size)
    known = probed.within(groups)
    encoder = coding.encoder(known.found)
    with ShardBuilder(plan, root, n, coding, groups, standing, known) as shard:
        for batch in code_samples(source, coding, encoder, on_error, shard.wanted, known.read):
            shard.add(batch)
            if advance is not None:
                advance(len(batch))
        return shard.finish()


class ShardBuilder:
    """Writes one shard of encoded samples, whoever encoded them.

    Parameters
    ----------
    plan, root, n, coding, standing
        As `encode_shard` takes them.
    groups
        Of the shard's samples, in order.
    known
        Samples of the shard that are encoded already, in whole groups.

    Attributes
    ----------
    wanted
        Groups of the samples that are to be added, in order; the known ones are not among them.
    """

    def __init__(
        self,
        plan: Plan,
        root: Root,
        n: int,
        coding: Coding,
        groups: Sequence[range],
        standing: ShardRecord | None = None,
        known: Probed = NONE_PROBED,
    ) -> None:
        if plan.encoder:  # a worker on another machine may have another environment
            again = "--restart" if plan.growth else "--overwrite"
            here = encoder_versions(plan.codecs, plan.quality)
            check_same_encoder(here, plan.encoder, root.url, again)
        self._plan, self._root, self._n = plan, root, n
        self._tally = _Tally(plan, coding.encoder().promised())
        place = plan.place(n)
        slots, codecs = coding.codec_set.slots, coding.codec_set
        streams = {
            stream.name: Written(
                plan.first_slot + slots[stream.name], stream.pack_size, codecs.packing(stream)
            )
            for stream in plan.streams
            if stream.name in slots
        }
        there = standing.keys if standing else None
        self._writer = ShardWriter(
            root, place.split, place.n, place.first_index, streams, plan.pack_size, there
        )
        self._next, self._stop = place.indices.start, place.indices.stop
        self._waiting = dict(known.coded)
        self.wanted = [group for group in groups if group.start not in self._waiting]
        self._drain()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.abort()

    def add(self, samples: Sequence[CodedSample]) -> None:
        """Add samples; one that comes before its turn waits for those before it."""
        self._waiting |= {one.index: one for one in samples}
        self._drain()

    def _drain(self) -> None:
        while self._next in self._waiting:
            one = self._waiting.pop(self._next)
            self._writer.add(one.key, one.coded.payloads, one.origin, one.place)
            self._tally.add(one)
            self._next += 1

    @property
    def is_full(self) -> bool:
        """Whether every sample was added."""
        return self._next == self._stop

    def finish(self) -> JobRecord:
        """Give the files their names, and write the record last.

        Raises
        ------
        PlanMismatchError
            When the output was given to another plan meanwhile.
        """
        check_owner(self._plan, self._root)
        keys, streams = self._writer.finish()
        record = self._tally.record(self._plan, self._n, keys, streams)
        self._root.write(record_path(self._plan, self._n), record.to_json().encode())
        return record

    def abort(self) -> None:
        """Remove what is not finished; safe to call twice."""
        self._writer.abort()


class _Tally:
    """Sums over the samples of a shard."""

    def __init__(self, plan: Plan, asked: Sequence[Reached]) -> None:
        self.reached = list(asked)
        self.source_bytes = {task.name: 0 for task in plan.tasks}
        self.failed: list[FailedSample] = []
        self.max_pixels = 0

    def add(self, one: CodedSample) -> None:
        if one.error is not None:
            self.failed.append(FailedSample(key=one.key, error=one.error))
            return
        for name in self.source_bytes:
            self.source_bytes[name] += one.source_bytes.get(name, 0)
        self.max_pixels = max(self.max_pixels, one.pixels)
        for task, metric, value, quality in one.coded.reached:
            for at, asked in enumerate(self.reached):
                if (asked.task, asked.metric) == (task, metric):
                    self.reached[at] = asked.with_sample(one.key, value, quality)

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
    sizes = {stream.name: stream.pack_size or plan.pack_size for stream in plan.streams}
    packs = {name: -(-shard.samples // size) for name, size in sizes.items()}
    try:
        return all(
            root.size(f"{stream.path}.idx") == 8 * (packs[name] + 1)
            for name, stream in shard.streams.items()
        )
    except FileNotFoundError:
        return False


def _file_fits(root: Root, file: FileRecord, hashes: bool) -> bool:
    try:
        if root.size(file.path) != file.bytes:
            return False
        return not hashes or hash_file(root, file) == file.sha256
    except FileNotFoundError:
        return False
