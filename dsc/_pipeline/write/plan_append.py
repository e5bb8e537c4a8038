"""Plans what an append adds to an archive: new samples, or new tasks for those that are there.

Tasks that the archive has mean new samples, tasks that it lacks mean new tasks; both at once is
refused, as one append makes one generation. New samples take everything from the archive: tasks,
codecs, quality, sizes. A new task takes the archive's samples, shards and packs, and has codecs of
its own, in slots behind those of the archive.

The samples that are meant, `Selected` ones of a source or an archive's `Matched` in one, are
sources themselves, so that planning and encoding work on them as on any other. What was selected is
part of what they say of themselves, and so of the plan.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding, encoder_versions
from dsc._pipeline.choose.derive import Known, decodes_alike
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.write.packing import (
    Sizes,
    look_at_payloads,
    pack_short,
    pack_streams,
    resolve_columns,
)
from dsc._pipeline.write.plan import (
    Adds,
    Growth,
    Plan,
    Planned,
    check_split,
    created_by,
    next_run,
    runs_of,
)
from dsc._pipeline.write.samples import CodedSample, Probed
from dsc._pipeline.write.sizes import code_here, probe_indices
from dsc._schemas import (
    Manifest,
    SequencePlace,
    SourceReport,
    Stream,
    Task,
    TaskKind,
    required_streams,
    resolve_task,
)
from dsc._schemas.coded_frame import CodedFrame
from dsc._schemas.manifest import format_version_of
from dsc._sources.base import (
    Source,
    SourceSample,
    coded_of,
    place_of,
    read_sample,
    report_of,
)
from dsc._sources.reindexed import ReindexedSource
from dsc._sources.rows.arrow import count_unit
from dsc._storage.read.archive import Archive
from dsc.errors import SampleError, UnknownTaskError, UsageError

ENCODING = ("kind", "dtype", "channels", "unit_m", "invalid", "classes")  # what must not differ
ABSENT = -1
Originals = Callable[[], Source | None]


@dataclass(frozen=True)
class Wanted:
    """What is to be added.

    Attributes
    ----------
    tasks
        Of new samples, the archive's tasks that the source is asked for; or the new tasks.
    """

    adds: Adds
    tasks: tuple[Task, ...]


def what_to_add(archive: Archive, source: Source, tasks: Sequence[str] | str | None) -> Wanted:
    """Tell from the tasks that were asked for what an append is to do.

    Parameters
    ----------
    tasks
        Names or aliases; None stands for the archive's own.

    Raises
    ------
    UnknownTaskError
        When neither the archive nor the source has a task.
    UsageError
        When some tasks are in the archive and some are not, or the source means something else by
        a task of the archive.
    """
    own = {task.name: task for task in archive.manifest.tasks}
    offered = {task.name: task for task in source.tasks}
    names = _resolve(archive, tasks, list(own), list(offered))
    new = [name for name in names if name not in own]
    if new and len(new) < len(names):
        old = [name for name in names if name in own]
        raise UsageError(
            f"--tasks {','.join(names)}: the archive has {', '.join(old)} and lacks "
            f"{', '.join(new)}. One append adds either samples or tasks: run it with --tasks "
            f"{','.join(new)} for the samples that are there, and again without for new samples"
        )
    if new:
        return Wanted(Adds.TASKS, tuple(offered[name] for name in new))
    read = [name for name in names if name in offered]
    if not read:
        raise UsageError(
            f"the source has none of the archive's tasks ({', '.join(own)}); it has "
            f"{', '.join(offered)}. To add one of these to the samples that are there, name it: "
            f"--tasks {next(iter(offered), 'TASK')}"
        )
    for name in read:
        _check_same(own[name], offered[name])
    _check_counts(archive, source, read)
    return Wanted(Adds.SAMPLES, tuple(own[name] for name in read))


def check_complete(archive: Archive, wanted: Wanted) -> None:
    """Check that new samples have every task of the archive.

    Raises
    ------
    UsageError
        When they lack one.
    """
    own = [task.name for task in archive.manifest.tasks]
    lacking = [name for name in own if name not in {task.name for task in wanted.tasks}]
    if lacking:
        raise UsageError(
            f"the archive has {', '.join(own)} already, and the source has new samples, which "
            f"would lack {', '.join(lacking)}; give all of these tasks, or add samples without "
            "them with --missing none"
        )


def _resolve(
    archive: Archive, tasks: Sequence[str] | str | None, own: Sequence[str], offered: Sequence[str]
) -> list[str]:
    """Find what each word means: by its own name, then by an alias; the archive comes first."""
    if tasks is None:
        return list(own)
    words = tasks.split(",") if isinstance(tasks, str) else tasks
    names = [word.strip() for word in words if word.strip()]
    if not names:
        raise UsageError(f"--tasks: name one of {', '.join(dict.fromkeys([*own, *offered]))}")
    found = []
    for name in names:
        exact = name in own or name in offered
        for available in (own, offered):
            try:
                found.append(resolve_task(name, [name] if exact else available))
                break
            except UnknownTaskError:
                continue
        else:
            raise UnknownTaskError(
                f"no task {name!r}: {archive.root.url} has {', '.join(own)}, the source has "
                f"{', '.join(offered) or 'none'}"
            )
    return list(dict.fromkeys(found))


def _check_same(own: Task, offered: Task) -> None:
    if own.extractor != offered.extractor:
        raise UsageError(
            f"task {own.name} of the archive was {_made(own)}, that of the source "
            f"{_made(offered)}, and their numbers mean different things; leave the source's out "
            f"with --ignore {own.name}, or give it a name of its own"
        )
    differ = differing(own, offered)
    if differ:
        values = ", ".join(
            f"{name} {_short(getattr(own, name))} there and {_short(getattr(offered, name))} here"
            for name in differ
        )
        advice = "; --depth-unit says what a count is" if "unit_m" in differ else ""
        raise UsageError(
            f"task {own.name} of the archive and of the source are not the same: {values}. "
            f"Samples of one task must mean the same{advice}"
        )


def _check_counts(archive: Archive, source: Source, names: Sequence[str]) -> None:
    """Refuse columns of rows that count in another unit, such as durations in s and in ms."""
    manifest, offered = archive.manifest, report_of(source).tasks
    reports = [manifest.source_report, *(one.source_report for one in manifest.appended)]
    kinds = {task.name: task.kind for task in manifest.tasks}
    for name in names:
        here = offered[name].column if name in offered else ""
        if not here or kinds[name] is TaskKind.TIME:  # always nanoseconds
            continue
        for there in {one.tasks[name].column for one in reports if one and name in one.tasks}:
            units = count_unit(there), count_unit(here)
            if there and there != here and units[0] != units[1]:
                raise UsageError(
                    f"task {name}: the archive counts {units[0] or 'something else'} and the "
                    f"source {units[1] or 'something else'}: convert the source's column"
                )


def _made(task: Task) -> str:
    return "made elsewhere" if task.extractor is None else f"computed by {task.extractor}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Selected(ReindexedSource):
    """Some samples of a source, in the source's order, with those tasks that it has.

    Parameters
    ----------
    indices
        Which samples, int64.
    tasks
        The tasks that are asked for; those that the source lacks are missing in every sample.
    """

    name: ClassVar[str] = "selected"

    def __init__(
        self,
        source: Source,
        indices: NDArray[np.int64],
        tasks: Sequence[str],
        places: "Placed | None" = None,
    ) -> None:
        super().__init__(source, indices)
        self._places = places
        there = {task.name for task in source.tasks}
        self._readable = tuple(name for name in tasks if name in there)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that can be read."""
        return tuple(task for task in self._source.tasks if task.name in self._readable)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read a sample; see `Source.read`."""
        return super().read(index, [name for name in tasks if name in self._readable])

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a sample lacks, as far as the source can tell."""
        return super().lacks(index, [name for name in tasks if name in self._readable])

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording."""
        if self._places is not None:
            return self._places.place(index)
        return super().place(index)

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out."""
        return report_of(self._source)

    def describe(self) -> dict[str, Any]:
        """Describe the source, and what of it is selected."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(self.key(index).encode() + b"\n")
        selected = {"tasks": list(self._readable), "keys_sha256": digest.hexdigest()}
        return {**self._source.describe(), "selected": selected}


class Placed:
    """Where some samples of an archive stand in recordings, as the archive has it."""

    def __init__(self, archive: Archive, indices: NDArray[np.int64]) -> None:
        self._archive, self._indices = archive, indices

    def place(self, index: int) -> SequencePlace | None:
        """Say where one of them stands."""
        return self._archive.place(int(self._indices[index]))


class Matched:
    """The samples of an archive, in its order, read from another source by their keys.

    A sample that the source lacks has no task at all. Maps must be as high and wide as those that
    the archive holds of the sample.

    Parameters
    ----------
    archive
        Gives the samples and their order.
    source
        Gives the arrays.
    indices
        For each sample of the archive its index in the source, or `ABSENT`; int64.
    parents
        Names of tasks that samples also have, whatever is asked for, as the archive decodes them.
    """

    name: ClassVar[str] = "matched"

    def __init__(
        self,
        archive: Archive,
        source: Source,
        indices: NDArray[np.int64],
        parents: Sequence[str] = (),
    ) -> None:
        self._archive, self._source, self.indices = archive, source, indices
        self._parents = Dataset(archive, list(parents), native=True) if parents else None
        self._maps = {task.name for task in source.tasks if task.is_map}
        self._judge = _judge(archive)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the source."""
        return self._source.tasks

    def __len__(self) -> int:
        """Return the number of samples of the archive."""
        return len(self.indices)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        return self._archive.key(index)

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording, as the archive has it."""
        return self._archive.place(index)

    def coded(self, index: int, task: str) -> CodedFrame | None:
        """Return a frame as its video has it; see `dsc._sources.base.CodedSource`."""
        found = int(self.indices[index])
        return None if found == ABSENT else coded_of(self._source, found, task)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read a sample; see `Source.read`.

        Raises
        ------
        SampleError
            When a map differs in size from what the archive holds.
        """
        found = int(self.indices[index])
        if found == ABSENT:
            return SourceSample(self.key(index), {}, {})
        sample = read_sample(self._source, found, tasks)
        self._check_size(index, sample)
        if self._parents is None:
            return sample
        decoded = maps_of(self._parents, index)
        return replace(sample, arrays={**sample.arrays, **decoded})

    def with_parents(self, names: Sequence[str]) -> "Matched":
        """Return the same samples, with tasks of the archive as it decodes them."""
        return Matched(self._archive, self._source, self.indices, names)

    def _check_size(self, index: int, sample: SourceSample) -> None:
        name = next((name for name in sample.arrays if name in self._maps), None)
        if name is None or self._judge is None:
            return
        there = self._judge[index][self._judge.tasks[0].name]
        size = sample.arrays[name].shape[:2]
        if there is not None and there.shape[:2] != size:
            high, wide = there.shape[:2]
            raise SampleError(
                f"sample {sample.key}: task {name} is {size[0]} × {size[1]} pixels, the archive's "
                f"{self._judge.tasks[0].name} {high} × {wide}; tasks of a sample have one size: "
                "resample the source"
            )

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out."""
        return report_of(self._source)

    def describe(self) -> dict[str, Any]:
        """Describe the source, and which of its samples are those of the archive."""
        matched = {"indices_sha256": hashlib.sha256(self.indices.tobytes()).hexdigest()}
        return {**self._source.describe(), "matched": matched}


class WithParents(ReindexedSource):
    """The samples of an archive that a source has, with tasks that the archive has too.

    Those are as the source has them where it does, and else as the archive decodes them.

    Parameters
    ----------
    found
        The samples.
    parents
        The archive's tasks.
    originals
        Opens the source with all its tasks; called when a sample is read. None where it cannot.
    """

    name: ClassVar[str] = "with_parents"

    def __init__(
        self,
        archive: Archive,
        found: "FoundSamples",
        parents: Sequence[Task],
        originals: Originals,
    ) -> None:
        super().__init__(found.present, np.arange(len(found.present)))
        self._places = np.flatnonzero(found.source.indices != ABSENT)
        self._parents = {task.name: task for task in parents}
        self._decoded = Dataset(archive, list(self._parents), native=True)
        self._open = originals

    @cached_property
    def _originals(self) -> tuple[Source, dict[str, int], frozenset[str]] | None:
        """The source with all its tasks, its samples by key, and which parents it has."""
        source = self._open()
        if source is None:
            return None
        theirs = {task.name: task for task in source.tasks}
        own = {n for n, t in self._parents.items() if n in theirs and not differing(t, theirs[n])}
        return source, _by_key(source), frozenset(own)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read a sample; see `Source.read`."""
        there = {task.name for task in self._source.tasks} - self._parents.keys()
        sample = read_sample(self._source, index, [name for name in tasks if name in there])
        arrays = dict(sample.arrays)
        if self._originals is not None:
            source, indices, own = self._originals
            wanted = [name for name in tasks if name in own]
            if wanted and sample.key in indices:
                arrays |= read_sample(source, indices[sample.key], wanted).arrays
        if any(name in self._parents and name not in arrays for name in tasks):
            arrays = maps_of(self._decoded, int(self._places[index])) | arrays
        return replace(sample, arrays=arrays)

    def describe(self) -> dict[str, Any]:
        """Describe the source, and which tasks of the archive come beside."""
        return {**self._source.describe(), "with_parents": list(self._parents)}


def maps_of(dataset: Dataset, index: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of a sample of an archive; a task that it lacks is left out."""
    sample = dataset[index]
    names = [task.name for task in dataset.tasks]
    return {name: sample[name] for name in names if isinstance(sample[name], np.ndarray)}


def differing(one: Task, other: Task) -> list[str]:
    """List what differs between two tasks in what their values mean."""
    return [name for name in ENCODING if getattr(one, name) != getattr(other, name)]


def known_tasks(
    archive: Archive, found: "FoundSamples", originals: Originals = lambda: None
) -> Known | None:
    """Return the tasks of an archive that new ones may follow from; None where there are none.

    Parameters
    ----------
    originals
        Opens the source with all its tasks, where it can.
    """
    manifest = archive.manifest
    codecs = CodecSet.from_archive(archive)
    usable = [
        task
        for task in manifest.tasks
        if task.is_map and decodes_alike(task, codecs.records()[codecs.slot_of(task.name)].id)
    ]
    if not usable:
        return None
    return Known(tuple(usable), manifest.streams, WithParents(archive, found, usable, originals))


@dataclass(frozen=True)
class NewSamples:
    """The samples of a source that an archive lacks; `there` counts the others."""

    source: Selected
    there: int


@dataclass(frozen=True)
class FoundSamples:
    """An archive's samples in a source: all in the archive's order, and those that were found.

    Attributes
    ----------
    first
        Place in the archive's order of the first that was found.
    missing
        How many the source lacks.
    """

    source: Matched
    present: Selected
    first: int
    missing: int


def given_parents(found: FoundSamples, coding: Coding) -> FoundSamples:
    """Return the samples with the archive's tasks that the new ones follow from."""
    names = coding.codec_set.given
    return replace(found, source=found.source.with_parents(names)) if names else found


def find_new_samples(archive: Archive, source: Source, tasks: Sequence[Task]) -> NewSamples:
    """Find the samples of a source that the archive lacks."""
    indices = select_new(archive, source)
    selected = Selected(source, indices, [task.name for task in tasks])
    return NewSamples(selected, len(source) - len(indices))


def find_samples(archive: Archive, source: Source) -> FoundSamples:
    """Find an archive's samples in a source.

    Raises
    ------
    UsageError
        When the source has none of them.
    """
    indices = match(archive, source)
    there = indices[indices != ABSENT]
    if not len(there):
        ours, theirs = archive.key(0), source.key(0) if len(source) else "none"
        raise UsageError(
            f"no sample of the source is in the archive: keys there are like {ours!r}, keys here "
            f"like {theirs!r}. A new task needs files of the same names as the samples have"
        )
    names = [task.name for task in source.tasks]
    present = Selected(source, there, names, Placed(archive, np.flatnonzero(indices != ABSENT)))
    first = int(np.argmax(indices != ABSENT))
    missing = len(indices) - len(there)
    return FoundSamples(Matched(archive, source, indices), present, first, missing)


def choose_split(manifest: Manifest, split: str | None) -> str:
    """Choose the split of new samples: the one asked for, else the only one.

    Raises
    ------
    UsageError
        When there are several and none is asked for, or the name is none.
    """
    if split is None and len(manifest.splits) > 1:
        raise UsageError(
            f"the archive has the splits {', '.join(manifest.splits)}; say with --split which one "
            "the new samples are of"
        )
    if split is None:
        return next(iter(manifest.splits))
    check_split(split)
    return split


def check_recordings(archive: Archive, source: Source, split: str) -> None:
    """Check that new frames of recordings which the archive has go on with them.

    Raises
    ------
    UsageError
        When a new frame comes before the last one that is there, or would be in another split.
    """
    new: dict[str, tuple[int, int]] = {}  # the first new frame, and its sample, by recording
    for index in range(len(source)):
        place = place_of(source, index)
        if place is not None:
            new.setdefault(place.sequence, (place.frame, index))
    last: dict[str, tuple[int, str]] = {}
    for shard in range(len(archive.shards)) if new else ():
        for place in archive.places(shard):
            if place is not None and place.sequence in new:
                last[place.sequence] = place.frame, archive.shards[shard].split
    for name, (frame, own) in last.items():
        first, index = new[name]
        if own != split:
            raise UsageError(
                f"recording {name}: its frames are in split {own} of the archive, and new ones "
                f"such as {source.key(index)} would be in {split}; a recording is in one split: "
                f"say --split {own}, or leave them out with --ignore"
            )
        if first <= frame:
            raise UsageError(
                f"recording {name}: {source.key(index)} is frame {first}, and the archive ends "
                f"with frame {frame}; an append goes on with a recording and puts no frame between "
                "those that are there. Leave it out with --ignore, or compress all anew"
            )


def plan_samples(archive: Archive, samples: NewSamples, codec_set: CodecSet, split: str) -> Plan:
    """Plan the shards of new samples, as the archive has them.

    Raises
    ------
    UsageError
        When the archive is a copy that lacks tasks which one of its codecs codes together.
    """
    manifest = archive.manifest
    _check_whole(archive, codec_set)
    size = len(samples.source)
    run = next_run(archive.shards, split, size, manifest.shard_size)
    return Plan(
        format_version=manifest.format_version,
        created_by=created_by(),
        source=samples.source.describe(),
        split=split,
        samples=size,
        tasks=manifest.tasks,
        streams=manifest.streams,
        codecs=manifest.codecs,
        quality=manifest.quality,
        shard_size=manifest.shard_size,
        pack_size=manifest.pack_size,
        growth=Growth(
            adds=Adds.SAMPLES,
            base_sha256=manifest.sha256,
            generation=manifest.generation + 1,
            runs=(run,),
        ),
        encoder=encoder_versions(manifest.codecs, manifest.quality),
    )


def plan_tasks(
    archive: Archive,
    found: FoundSamples,
    coding: Coding,
    on_error: str = "fail",
    columns: Sequence[str] | str | None = None,
) -> Planned:
    """Plan new streams for the shards that stand.

    Parameters
    ----------
    coding
        Of the new tasks, each quality by name (`Coding.named`).
    on_error
        Whether a sample that is looked at and cannot be encoded is an error (``fail``).
    columns
        New tasks whose shards are to be one pack each.

    Raises
    ------
    UsageError
        When a codec would write a stream that the archive has, or a column can be none.
    """
    manifest = archive.manifest
    resolved = resolve_columns(columns, coding)
    coded = _probe(found, coding, on_error)
    packed = list(coding.codec_set.packed())
    payloads = look_at_payloads(found.present, coding, on_error, packed) if packed else {}
    sizes = Sizes(manifest.shard_size, manifest.pack_size, len(archive))
    coding, streams = pack_streams(coding, payloads, sizes, resolved)
    streams = pack_short(streams, coding.codec_set.dependent_streams, coded, sizes)
    codec_set, choice = coding.codec_set, coding.choice
    twice = {s.name for s in codec_set.streams()} & {s.name for s in manifest.streams}
    if twice:
        raise UsageError(
            f"the archive has a stream {', '.join(sorted(twice))} already, and a codec of the new "
            "tasks writes one of that name; choose another codec with --codec"
        )
    plan = Plan(
        format_version=format_version_of(coding.tasks, streams),
        created_by=created_by(),
        source=found.source.describe(),
        split=archive.shards[0].split,
        samples=len(archive),
        tasks=coding.tasks,
        streams=streams,
        codecs=codec_set.records(),
        quality=coding.quality,
        shard_size=manifest.shard_size,
        pack_size=manifest.pack_size,
        choice=None if choice is None else choice.stored(),
        growth=Growth(
            adds=Adds.TASKS,
            base_sha256=manifest.sha256,
            generation=manifest.generation + 1,
            first_slot=len(manifest.codecs),
            runs=runs_of(archive.shards),
        ),
        encoder=encoder_versions(codec_set.records(), coding.quality),
    )
    return Planned(plan, coding)


def _probe(found: FoundSamples, coding: Coding, on_error: str) -> list[CodedSample]:
    """Encode some samples of tasks that follow from others, to see how they are packed."""
    if not coding.codec_set.dependent_streams or coding.codec_set.group_size > 1:
        return []
    there = np.flatnonzero(found.source.indices != ABSENT)
    groups = [range(at, at + 1) for at in map(int, there[probe_indices(len(there))])]
    probed = Probed()
    code_here(found.source, coding, on_error, groups, probed, lambda _: None)
    return list(probed.coded.values())


def _check_whole(archive: Archive, codec_set: CodecSet) -> None:
    """Refuse a copy of some of the tasks that a codec codes together: it cannot code the others."""
    kept = {stream.name for stream in archive.manifest.streams}
    for slot, record in enumerate(archive.manifest.codecs):
        if not record.streams:
            continue
        for part in _parts(codec_set.codec(slot).streams()):
            if part & kept and not part <= kept:
                raise UsageError(
                    f"{archive.root.url} is a copy without the streams "
                    f"{', '.join(sorted(part - kept))}, which codec {record.id} codes together "
                    f"with {', '.join(sorted(part & kept))}; append to the archive that it was "
                    "copied from, and fetch again"
                )


def _parts(streams: Sequence[Stream]) -> list[set[str]]:
    """Return the connected parts of a stream graph."""
    parts: list[set[str]] = []
    for stream in streams:
        joined = {stream.name, *stream.requires}
        apart = [part for part in parts if not part & joined]
        parts = [*apart, joined.union(*(part for part in parts if part & joined))]
    return parts


def select_new(archive: Archive, source: Source) -> NDArray[np.int64]:
    """Find the samples of a source whose keys an archive lacks; their indices in the source.

    Raises
    ------
    UsageError
        When two samples of the source have one key.
    """
    there = set(_keys(archive))
    indices = _by_key(source)
    return np.fromiter((at for key, at in indices.items() if key not in there), np.int64)


def match(archive: Archive, source: Source) -> NDArray[np.int64]:
    """Find the samples of an archive in a source, by key: indices in the source, or `ABSENT`.

    Raises
    ------
    UsageError
        When two samples of the source have one key.
    """
    indices = _by_key(source)
    found = (indices.get(key, ABSENT) for key in _keys(archive))
    return np.fromiter(found, np.int64, count=len(archive))


def _by_key(source: Source) -> dict[str, int]:
    indices: dict[str, int] = {}
    for index in range(len(source)):
        key = source.key(index)
        if indices.setdefault(key, index) != index:
            raise UsageError(
                f"source {source.name}: samples {indices[key]} and {index} both have the key "
                f"{key!r}; samples are told apart by their keys, so rename one"
            )
    return indices


def _keys(archive: Archive) -> Iterator[str]:
    for shard in range(len(archive.shards)):
        yield from archive.keys(shard)


def _judge(archive: Archive) -> Dataset | None:
    """Open the map of an archive that is quickest to decode, to compare sizes with."""
    maps = [task for task in archive.manifest.tasks if task.is_map]
    if not maps:
        return None
    # label maps have few bytes and take the longest
    cheapest = min(maps, key=lambda t: (t.kind is TaskKind.LABEL, _bytes(archive.manifest, t)))
    return Dataset(archive, [cheapest.name], native=True)


def _bytes(manifest: Manifest, task: Task) -> int:
    needed = required_streams(manifest.streams, [task.name])
    return sum(manifest.totals[name].payload_bytes for name in needed)
