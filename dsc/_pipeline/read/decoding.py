"""Turns the bitstreams of samples into arrays, or into integer latents where those are wanted.

A sample that cannot be decoded is an error that names file, pack, key and task; it can be raised,
or given in the sample's place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

from dsc._codecs.base import Array, LatentCodec
from dsc._codecs.canvas import Canvas, Forms
from dsc._codecs.registry import codec_class
from dsc._pipeline.choose.codec_set import CodecSet, Job
from dsc._pipeline.read.decoded_cache import CachedCanvas, DecodedCache
from dsc._pipeline.read.on_damage import COARSER, COARSER_KEY, NEAREST, NEAREST_KEY
from dsc._schemas import Task, required_streams
from dsc._schemas.group import Linked
from dsc._schemas.levels import finer_levels, levels_of
from dsc._storage.read.archive import Archive
from dsc.errors import BitstreamError, MissingTaskError, UsageError

if TYPE_CHECKING:  # it imports torch
    from dsc._codecs.latents import Latents

SamplePayloads = Mapping[str, memoryview | bytes | None]
Submit = Callable[[Sequence[Job]], Callable[[], None]]


@dataclass
class Decoded:
    """One sample: arrays by task (None where it lacks the task), and latents by codec slot.

    `nearest` says of which tasks the frame is another one, and how many frames that is away;
    `coarser` of which finer levels are damaged, and how many levels were decoded.
    """

    index: int
    arrays: dict[str, Array | None] = field(default_factory=dict)
    latents: "dict[int, Latents | None]" = field(default_factory=dict)
    nearest: dict[str, int] = field(default_factory=dict)
    coarser: dict[str, int] = field(default_factory=dict)

    def told(self, on_damage: str) -> dict[str, dict[str, int]]:
        """Return what a sample says, beside its tasks, of damage that was made good."""
        if on_damage == NEAREST:
            return {NEAREST_KEY: self.nearest}
        return {COARSER_KEY: self.coarser} if on_damage == COARSER else {}


class SampleDecoder:
    """Decodes tasks of one archive's samples.

    Parameters
    ----------
    native
        Whether arrays stay in the source's encoding.
    as_latents
        Whether tasks of learned codecs stop at their latents.
    missing_is_error
        Whether a sample that lacks a task is an error.
    together
        Whether the arrays of samples that are decoded together are rows of one array.
    cache
        Where decoded arrays are kept, if anywhere.
    number
        Of the archive in that cache.
    coarser
        Whether a task whose finer levels are damaged, or not there, is decoded from the others.
    """

    def __init__(
        self,
        archive: Archive,
        tasks: Sequence[Task],
        *,
        native: bool = False,
        as_latents: bool = False,
        missing_is_error: bool = False,
        together: bool = False,
        cache: DecodedCache | None = None,
        number: int = 0,
        coarser: bool = False,
    ) -> None:
        self.archive, self.tasks = archive, tuple(tasks)
        self._native, self._together, self._coarser = native, together, coarser
        self._cache, self._number = cache, number
        self._forms: Forms = {}
        self._nearest: dict[int, dict[str, int]] = {}  # by index in the archive
        self.missing_is_error = missing_is_error
        self._codecs = CodecSet.from_archive(archive)
        self._coarser_codecs: dict[tuple[str, ...], CodecSet] = {}  # by the streams they lack
        self._carriers = {task.name: archive.carriers(task.name) for task in tasks}
        self.latent_tasks = latent_tasks(self._codecs, self.tasks) if as_latents else {}
        latent = {name for names in self.latent_tasks.values() for name in names}
        self._array_tasks = [task for task in self.tasks if task.name not in latent]

    def latent_codec(self, slot: int) -> LatentCodec:
        """Return the codec of a slot of `latent_tasks`."""
        return cast(LatentCodec, self._codecs.decoder(slot))

    def decode(
        self, indices: Sequence[int], payloads: Sequence[SamplePayloads | None]
    ) -> list[Decoded | BitstreamError]:
        """Decode samples together; in the place of a damaged one stands its error.

        Parameters
        ----------
        indices
            Of the samples, in the archive.
        payloads
            For each its bitstreams by stream; None where `holds` said that none are needed.

        Raises
        ------
        MissingTaskError
            When a sample lacks a task and that is an error.
        """
        return self.begin(indices, payloads)()

    def begin(
        self,
        indices: Sequence[int],
        payloads: Sequence[SamplePayloads | None],
        submit: Submit | None = None,
    ) -> Callable[[], list[Decoded | BitstreamError]]:
        """Begin to decode samples, and return what waits for them and gives what `decode` does.

        Parameters
        ----------
        submit
            Runs calls on threads, and gives what waits for them; None to run them when the samples
            are asked for.
        """
        given = [_streams(sample) for sample in payloads]
        if self.archive.lanes:
            self._note_nearest(indices, given)
        canvas = self._canvas(indices)
        jobs = self._jobs(canvas, given)
        wait = partial(_run, jobs) if submit is None or not self.decodes_alone else submit(jobs)

        def finish() -> list[Decoded | BitstreamError]:
            for index, sample in zip(indices, payloads, strict=True):
                self.check_complete(index, sample)
            try:
                wait()
                return list(self._finished(indices, given, canvas))
            except BitstreamError:
                return self._decode_apart(indices, payloads)

        return finish

    def _note_nearest(self, indices: Sequence[int], given: Sequence[Mapping[str, bytes]]) -> None:
        """Note which frames stand for others; a cache has them without their bitstreams."""
        for index, sample in zip(indices, given, strict=True):
            for name, payload in sample.items():
                if isinstance(payload, Linked) and payload.away:
                    tasks = [task for task, own in self._carriers.items() if name in own]
                    self._nearest.setdefault(index, {}).update(dict.fromkeys(tasks, payload.away))

    @cached_property
    def decodes_alone(self) -> bool:
        """Whether tasks are decoded sample by sample, or group by group: threads can share them."""
        return not self.latent_tasks and self._codecs.decodes_alone(
            [task.name for task in self._array_tasks]
        )

    def holds(self, index: int) -> bool:
        """Tell whether a sample needs no bitstream, because the cache has all of it."""
        if self._cache is None or self.latent_tasks:
            return False
        return self._cache.holds(self._number, index, [task.name for task in self._array_tasks])

    def _canvas(self, indices: Sequence[int]) -> Canvas:
        tasks = {task.name: task for task in self._array_tasks}
        common = tasks, self._native, self._together, self._forms
        if self._cache is None:
            return Canvas(len(indices), *common)
        return CachedCanvas(self._cache, self._number, list(indices), *common)

    def _jobs(self, canvas: Canvas, given: Sequence[Mapping[str, bytes]]) -> list[Job]:
        names = list(canvas.tasks)
        if not names:
            return []
        jobs: list[Job] = []
        if isinstance(canvas, CachedCanvas):
            jobs = [partial(canvas.fetch, *one) for one in canvas.held()]
        return jobs + self._codecs.jobs_onto(canvas, given, names, self.archive.manifest.max_pixels)

    def _finished(
        self,
        indices: Sequence[int],
        given: Sequence[Mapping[str, bytes]],
        canvas: Canvas,
        codecs: CodecSet | None = None,
    ) -> Iterator[Decoded]:
        """Yield samples that are decoded, after what their latents are by some codecs."""
        out = [Decoded(index, nearest=dict(self._nearest.get(index, {}))) for index in indices]
        for slot, tasks in self.latent_tasks.items():
            latents = self._unpacked(codecs or self._codecs, slot, given, tasks)
            for sample, latent in zip(out, latents, strict=True):
                sample.latents[slot] = latent
        for number, (sample, arrays) in enumerate(zip(out, canvas.arrays, strict=True)):
            sample.arrays = {name: arrays.get(name) for name in canvas.tasks}
            if isinstance(canvas, CachedCanvas):
                for name in canvas.tasks.keys() - arrays.keys():
                    canvas.lacks(number, name)
            yield sample

    def _unpacked(
        self,
        codecs: CodecSet,
        slot: int,
        given: Sequence[Mapping[str, bytes]],
        tasks: Sequence[str],
    ) -> "list[Latents | None]":
        """Decode the latents of those tasks that each sample has."""
        present = [[name for name in tasks if self._has(name, one)] for one in given]
        codec = cast(LatentCodec, codecs.decoder(slot))
        return codec.unpack_batch(given, present, self.archive.manifest.max_pixels)

    def _has(self, task: str, streams: Mapping[str, Any]) -> bool:
        return any(streams.get(name) is not None for name in self._carriers[task])

    def check_complete(self, index: int, sample: SamplePayloads | None) -> None:
        """Raise `MissingTaskError` where a sample lacks a task and that is an error."""
        if not self.missing_is_error or sample is None:
            return
        for task in self.tasks:
            if not self._has(task.name, sample):
                raise MissingTaskError(
                    f"{self.archive.root.url}: sample {self.archive.key(index)} ({index}) has no "
                    f"{task.name}; stream with missing='skip' or missing='none'"
                )

    def _decode_apart(
        self, indices: Sequence[int], payloads: Sequence[SamplePayloads | None]
    ) -> list[Decoded | BitstreamError]:
        """Decode samples of which some are damaged; together those that have as many levels left.

        So of a group of frames of which one is damaged each payload is still decoded once.
        """
        parts: dict[tuple[int, ...], list[int]] = {}
        for number, sample in enumerate(payloads):
            left = self._left(sample) if self._coarser else (number,)
            parts.setdefault(left, []).append(number)
        found: dict[int, Decoded | BitstreamError] = {}
        for left, numbers in parts.items():
            own = [indices[n] for n in numbers], [payloads[n] for n in numbers]
            made = self._decode_left(left, *own) if len(numbers) > 1 else None
            if made is None:
                made = [self._decode_alone(*one) for one in zip(*own, strict=True)]
            found |= zip(numbers, made, strict=True)
        return [found[number] for number in range(len(indices))]

    def _decode_left(
        self,
        left: Sequence[int],
        indices: Sequence[int],
        payloads: Sequence[SamplePayloads | None],
    ) -> Sequence[Decoded | BitstreamError] | None:
        """Decode samples from so many levels of each task; None where one is damaged further."""
        given, limit = [_streams(one) for one in payloads], self.archive.manifest.max_pixels
        tasks = {task.name: task for task in self._array_tasks}
        counts = dict(zip(tasks, left, strict=True))
        coarser = {t: n for t, n in counts.items() if n < len(self._levels[t])}
        try:
            if coarser:  # a cache keeps whole arrays only
                canvas = Canvas(len(indices), tasks, self._native, together=False)
                for task, count in counts.items():
                    _run(self._codecs_at(task, count).jobs_onto(canvas, given, [task], limit))
            else:
                canvas = self._canvas(indices)
                _run(self._jobs(canvas, given))
            out = list(self._finished(indices, given, canvas))
        except BitstreamError:
            return None
        for one in out:
            one.coarser = dict(coarser)
        return out

    def _decode_alone(self, index: int, sample: SamplePayloads | None) -> Decoded | BitstreamError:
        given, canvas = [_streams(sample)], self._canvas([index])
        try:
            _run(self._jobs(canvas, given))
            return next(self._finished([index], given, canvas))
        except BitstreamError as error:
            found = self._decode_coarser(index, sample) if self._coarser else None
            return found or self._named(index, sample or {}, error)

    def _decode_coarser(self, index: int, sample: SamplePayloads | None) -> Decoded | None:
        """Decode each task from as many levels as are intact; None where one has none."""
        given, limit = [_streams(sample)], self.archive.manifest.max_pixels
        tasks = {task.name: task for task in self._array_tasks}
        canvas = Canvas(1, tasks, self._native, together=False)

        def to_array(task: str, codecs: CodecSet) -> None:
            _run(codecs.jobs_onto(canvas, given, [task], limit))

        def to_latents(task: str, codecs: CodecSet) -> None:
            self._unpacked(codecs, codecs.slot_of(task), given, [task])

        latent = [name for names in self.latent_tasks.values() for name in names]
        ways = dict.fromkeys(canvas.tasks, to_array) | dict.fromkeys(latent, to_latents)
        coarser: dict[str, int] = {}
        for task, way in ways.items():
            count = self._levels_decoded(task, self._levels_left(task, given[0]), way)
            if count is None:
                return None
            if count < len(self._levels[task]):
                coarser[task] = count
        gone = [
            name
            for task in latent
            if task in coarser
            for name in self._levels[task][coarser[task] :]
        ]
        one = next(self._finished([index], given, canvas, self._codecs_without(tuple(gone))))
        one.coarser = coarser
        return one

    def _levels_decoded(
        self, task: str, left: int, decode: Callable[[str, CodecSet], None]
    ) -> int | None:
        """Decode a task from as many levels as can be, `left` at most; None for none."""
        for count in range(left, self._fewest[task] - 1, -1):
            try:
                decode(task, self._codecs_at(task, count))
            except BitstreamError:
                continue
            return count
        return None

    def _left(self, sample: SamplePayloads | None) -> tuple[int, ...]:
        """Count, of each task, the levels that are whole, as far as is known without decoding.

        Those without which it cannot be decoded are counted, whatever is known of them.
        """
        payloads = _streams(sample)
        return tuple(self._levels_left(task.name, payloads) for task in self._array_tasks)

    def _levels_left(self, task: str, payloads: Mapping[str, bytes]) -> int:
        levels, fewest = self._levels[task], self._fewest[task]
        for number, name in enumerate(levels[fewest:], fewest):
            payload = payloads.get(name)
            has_none = payload is None and name not in self._beside and self._has(task, payloads)
            if has_none or (isinstance(payload, Linked) and payload.lack):
                return number
        return len(levels)

    @cached_property
    def _beside(self) -> frozenset[str]:
        """Streams of which a sample has one of several: it may lack any."""
        return frozenset(name for lane in self.archive.beside for name in lane)

    @cached_property
    def _fewest(self) -> dict[str, int]:
        """The fewest levels of each task that it is decoded from; 0 of one without levels."""
        found = {}
        for task, levels in self._levels.items():
            finer = finer_levels(self.archive.manifest, [task])
            found[task] = max(len(levels) - len(finer), 1) if levels else 0
        return found

    @cached_property
    def _levels(self) -> dict[str, tuple[str, ...]]:
        streams, codecs = self.archive.manifest.streams, self.archive.manifest.codecs
        return {task.name: levels_of(streams, codecs, task.name) for task in self.tasks}

    def _codecs_at(self, task: str, count: int) -> CodecSet:
        """Return codecs that take the first levels of a task."""
        return self._codecs_without(self._levels[task][count:])

    def _codecs_without(self, gone: tuple[str, ...]) -> CodecSet:
        """Return codecs that decode without some streams, levels of tasks."""
        if not gone:
            return self._codecs
        if gone not in self._coarser_codecs:  # they may load a network
            self._coarser_codecs[gone] = CodecSet.from_archive(self.archive.without(gone))
        return self._coarser_codecs[gone]

    def _named(self, index: int, sample: SamplePayloads, error: BitstreamError) -> BitstreamError:
        """Decode task by task, to name the task, its files, the pack and the key."""
        shard, pack, _ = self.archive.locate(index)
        record = self.archive.shards[shard].streams
        streams = _streams(sample)
        for task in self.tasks:
            try:
                limit = self.archive.manifest.max_pixels
                self._codecs.decode_batch([streams], [task.name], limit)
            except BitstreamError as found:
                needed = required_streams(self.archive.manifest.streams, [task.name])
                paths = ", ".join(self.archive.root.where(record[name].path) for name in needed)
                return BitstreamError(
                    f"{paths}: pack {pack}, sample {self.archive.key(index)}: "
                    f"task {task.name} cannot be decoded: {found}"
                )
        return error


def _streams(sample: SamplePayloads | None) -> dict[str, bytes]:
    """Return the bitstreams that are there; those of groups with what they need."""
    return {
        name: data if isinstance(data, Linked) else bytes(data)
        for name, data in (sample or {}).items()
        if data is not None
    }


def _run(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job()


def latent_tasks(codecs: CodecSet, tasks: Sequence[Task]) -> dict[int, list[str]]:
    """List the tasks that have latents, by slot of their learned codec; none is loaded for it."""
    found: dict[int, list[str]] = {}
    for task in tasks:
        slot = codecs.slot_of(task.name)
        if isinstance(codec_class(codecs.records()[slot].id), LatentCodec):
            found.setdefault(slot, []).append(task.name)
    return found


def check_one_latent_codec(archive: Archive, tasks: Sequence[Task]) -> None:
    """Check that one learned codec codes the tasks of a stream of latents.

    Raises
    ------
    UsageError
        When there is none, or more than one.
    """
    codecs = CodecSet.from_archive(archive)
    by_slot = latent_tasks(codecs, tasks)
    if not by_slot:
        labels = sorted({codecs.codec_name(task.name) for task in tasks})
        raise UsageError(
            f"{archive.root.url}: decode='latents' needs a learned codec, these tasks are "
            f"coded by {', '.join(labels)}; compress with --codec independent, or decode pixels"
        )
    if len(by_slot) > 1:
        records = codecs.records()
        found = "; ".join(f"{records[s].id}: {', '.join(own)}" for s, own in by_slot.items())
        raise UsageError(
            f"{archive.root.url}: latents of several codecs ({found}); ask for tasks of one of them"
        )
