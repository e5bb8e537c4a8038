"""Several codecs that together code a dataset's tasks, behaving like one.

Each codec has a slot, its place in the manifest's list; every task belongs to exactly one slot and
every stream name is written by exactly one. A codec is made when it is first needed, so opening an
archive to read its labels loads no network. A set pickles as JSON and weights, without the
codecs that were made from them.
"""

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

from dsc._codecs.base import (
    INPUTS,
    Array,
    Codec,
    Decoder,
    DependentCodec,
    GroupCodec,
    KeepingCodec,
    PackedCodec,
    Sample,
    at_access,
    at_effort,
    decoder_from,
    group_size_of,
)
from dsc._codecs.canvas import Canvas, PlacedCodec, PlacedGroupCodec
from dsc._codecs.classical.avif import AvifCodec
from dsc._codecs.derived.codec import EXACTLY, DerivedCodec
from dsc._codecs.derived.ways import FoundRule
from dsc._codecs.registry import LOSSLESS, codec_from_config
from dsc._extras import needing
from dsc._pipeline.choose.codec_spec import Spec, choose_codecs, is_joint, make
from dsc._schemas import Access, CodecRecord, Effort, Quality, Stream, Task, required_streams
from dsc._schemas.group import Linked, lanes_of, link_all, whole
from dsc._schemas.machine_path import MachinePath
from dsc._schemas.stream import Compressed
from dsc._storage.format.dictionary import read_dictionary
from dsc._storage.format.pack import Packing
from dsc._storage.read.archive import Archive
from dsc._threads import single_thread
from dsc.errors import CodecError, UnknownTaskError, UsageError

Weights = Callable[[CodecRecord], bytes | None]
Job = Callable[[], None]


@dataclass(frozen=True)
class Component:
    """Tasks of one codec whose streams are connected: the quality of one may concern another."""

    slot: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Standing:
    """What is there already, and joins no set: tasks of an archive that gets others.

    Attributes
    ----------
    tasks
        Those that samples have as the archive decodes them.
    streams
        The archive's stream graph.
    """

    tasks: tuple[Task, ...] = ()
    streams: tuple[Stream, ...] = ()


NOTHING = Standing()


class CodecSet:
    """An ordered list of codecs; see the module.

    Parameters
    ----------
    records
        The codecs, in slot order.
    streams
        The stream graph of all of them.
    weights
        Gives the weights file of a record; called when the codec is first needed.
    given
        Names of tasks of an archive that these join, which samples have as it decodes them.

    Raises
    ------
    CodecError
        When two codecs write one stream or carry one task.
    """

    def __init__(
        self,
        records: Sequence[CodecRecord],
        streams: Sequence[Stream],
        weights: Weights,
        given: Collection[str] = (),
    ) -> None:
        self._records, self._streams, self._weights = tuple(records), tuple(streams), weights
        self._given = frozenset(given)
        self._made: dict[int, Codec] = {}
        self._paths: tuple[MachinePath, ...] = ()
        self._decoders: dict[int, Decoder] = {}
        self._bounded: frozenset[str] = frozenset()
        names = [name for record in self._records for name in record.streams]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CodecError(f"two codecs write stream {', '.join(twice)}; rename the task")
        self.slots = {
            name: slot for slot, record in enumerate(self._records) for name in record.streams
        }
        self.lanes = lanes_of(self._records)
        grouped = {name for lane in self.lanes for name in lane}
        self._grouped = {slot for name, slot in self.slots.items() if name in grouped}
        self._inputs = {
            slot: self._slots_of(record.config[INPUTS])
            for slot, record in enumerate(self._records)
            if INPUTS in record.config and record.streams
        }
        self._task_slot: dict[str, int] = {}
        self._carriers: dict[str, set[str]] = {}  # the streams that carry a task, by its name
        for stream in self._streams:
            for task in stream.carries:
                self._carriers.setdefault(task, set()).add(stream.name)
                slot = self.slots[stream.name]
                if self._task_slot.setdefault(task, slot) != slot:
                    raise CodecError(f"two codecs carry task {task}; choose one of them")

    def _slots_of(self, inputs: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Return the slot that decodes each input: a copy may have its streams and not the task."""
        inputs = {name: own for name, own in inputs.items() if name not in self._given}
        lacking = sorted({name for own in inputs.values() for name in own} - self.slots.keys())
        if lacking:
            raise CodecError(
                f"no codec writes stream {', '.join(lacking)}, which another one takes"
            )
        return {name: self.slots[own[-1]] for name, own in inputs.items()}

    @classmethod
    def of(cls, codecs: Sequence[Codec], given: Collection[str] = ()) -> Self:
        """Make the set of these codecs, in this order."""
        files = [codec.weights() for codec in codecs]
        records = [_record(codec, data) for codec, data in zip(codecs, files, strict=True)]
        graph = [stream for codec in codecs for stream in codec.streams()]
        made = cls(records, graph, WeightFiles([data for data in files if data is not None]), given)
        made._made = dict(enumerate(codecs))
        return made

    @classmethod
    def from_spec(
        cls,
        spec: str | Spec | None,
        tasks: Sequence[Task],
        bounded: Sequence[str] = (),
        effort: Effort = Effort.DEFAULT,
        is_packed: bool = True,
    ) -> Self:
        """Make the codecs that a ``--codec`` option asks for.

        Parameters
        ----------
        spec
            See `dsc._pipeline.choose.codec_spec`.
        tasks
            The tasks to code, in order.
        bounded
            Names of the tasks whose error is to be bounded, pixel by pixel.
        effort
            How long those codecs that know of it may look for fewer bytes.
        is_packed
            Whether bitstreams go into packs, which compress them; each stands alone otherwise.

        Raises
        ------
        UsageError
            When the option cannot be read, or a codec cannot code a task given to it by name.
        UnknownCodecError, UnknownTaskError
            When it names a codec or task that is not there.
        """
        text = spec.text if isinstance(spec, Spec) else spec
        try:
            return cls.assigned(choose_codecs(spec, tasks, is_packed), tasks, bounded, effort)
        except CodecError as error:
            raise UsageError(f"--codec {text or 'unset'}: {error}") from None

    @classmethod
    def assigned(
        cls,
        words: Mapping[str, str],
        tasks: Sequence[Task],
        bounded: Sequence[str] = (),
        effort: Effort = Effort.DEFAULT,
        make_codec: Callable[[str, Sequence[Task]], Codec] = make,
        access: Access = Access.BALANCED,
        rules: Mapping[str, FoundRule] | None = None,
        given: Standing | None = None,
    ) -> Self:
        """Make the codecs named for each task, each by `make_codec`; see `from_spec`.

        Parameters
        ----------
        rules
            By name, the tasks that follow from others, and how. What is named for one of them is
            the codec of maps that the rule does not give.
        given
            Tasks of an archive that these join, which samples have as it decodes them.

        Raises
        ------
        CodecError
            When a codec cannot code its tasks.
        """
        rules, given = rules or {}, given or NOTHING
        codecs: list[Codec] = []
        stored = [task for task in tasks if task.name not in rules]
        for word in dict.fromkeys(words[task.name] for task in stored):
            own = [task for task in stored if words[task.name] == word]
            together = [own] if is_joint(word) else _apart(own, bounded)
            made = [at_effort(make_codec(word, group), effort) for group in together]
            codecs += [_bounded(at_access(codec, access), bounded) for codec in made]
        graph = [stream for codec in codecs for stream in codec.streams()]
        for task in tasks:
            if task.name in rules:
                base = at_effort(make_codec(words[task.name], [task]), effort)
                parents, streams = [*given.tasks, *stored], [*given.streams, *graph]
                codecs.append(derived_codec(rules[task.name], base, parents, streams))
        return cls.of(codecs, [task.name for task in given.tasks])._within(bounded)

    @classmethod
    def from_archive(cls, archive: Archive) -> Self:
        """Make the codecs that an archive was written with."""
        manifest = archive.manifest
        made = cls(manifest.codecs, manifest.streams, archive.codec_file)
        made._paths = archive.paths
        return made._within(manifest.quality.max_error)

    def _within(self, bounded: Iterable[str]) -> Self:
        """Note which tasks have a bound."""
        self._bounded = frozenset(bounded)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}, "_decoders": {}}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the set codes."""
        return tuple(self._task_slot)

    def components(self) -> tuple[Component, ...]:
        """Return the connected parts of the stream graph, in its own order.

        What follows from other codecs' tasks is in none of them (`encode_dependents`).
        """
        part_of: dict[str, set[str]] = {}
        streams = [one for one in self._streams if self.slots[one.name] not in self._inputs]
        for stream in streams:
            joined = {stream.name}.union(*(part_of[name] for name in stream.requires))
            for name in joined:
                part_of[name] = joined
        parts = {min(part): part for part in part_of.values()}
        order = [stream for stream in streams if stream.carries]
        found: dict[str, list[str]] = {}
        for stream in order:
            found.setdefault(min(part_of[stream.name]), []).extend(stream.carries)
        slots = {first: self.slots[next(iter(parts[first]))] for first in found}
        return tuple(
            Component(slots[first], tuple(dict.fromkeys(tasks))) for first, tasks in found.items()
        )

    def tasks_in_order(self) -> tuple[str, ...]:
        """Name the tasks, each after those that its streams require."""
        return tuple(dict.fromkeys(task for s in self._streams for task in s.carries))

    def slot_of(self, task: str) -> int:
        """Return the slot of the codec that carries a task."""
        return self._task_slot[task]

    def is_exact(self, task: Task) -> bool:
        """Tell whether a task comes back bit for bit."""
        record = self._records[self._task_slot[task.name]]
        if task.is_step_coded and task.name in self._bounded:
            return False
        lossless = record.id in LOSSLESS or record.config.get(EXACTLY) is True
        return not task.may_lose or lossless

    def codec_name(self, task: str) -> str:
        """Name the codec of a task, for people."""
        return self._records[self._task_slot[task]].label

    def follows(self, task: str) -> str:
        """Say what a task follows from, and what fetching it fetches too; ``""`` else."""
        slot = self._task_slot[task]
        if slot not in self._inputs:
            return ""
        record = self._records[slot]
        inputs = ", ".join(sorted(record.config[INPUTS]))
        return f"follows from {record.follows}; fetching it fetches {inputs} too"

    def streams(self) -> tuple[Stream, ...]:
        """Return the stream graph of all codecs."""
        return self._streams

    def records(self) -> tuple[CodecRecord, ...]:
        """Return what an archive remembers of each codec, in slot order."""
        return self._records

    def weight_files(self) -> tuple[bytes, ...]:
        """Return the weights files of all codecs that have one, in slot order, each once."""
        found = {r.weights_sha256: self._weights(r) for r in self._records if r.weights_sha256}
        return tuple(data for data in found.values() if data is not None)

    def codec(self, slot: int) -> Codec:
        """Return the codec of a slot."""
        if slot not in self._made:
            record = self._records[slot]
            made = codec_from_config(record.id, record.config, self._weights(record))
            self._made[slot] = made
        return self._made[slot]

    def decoder(self, slot: int) -> Decoder:
        """Return what decodes the streams of a slot that are here, with their machine paths."""
        if slot not in self._decoders:
            self._decoders[slot] = self._make_decoder(slot)
        return self._decoders[slot]

    def _make_decoder(self, slot: int) -> Decoder:
        codec = self.codec(slot)
        paths = [path for path in self._paths if self._task_slot[path.task] == slot]
        if not paths:
            return decoder_from(codec, self._records[slot].streams)
        with needing("torch", f"machine path {paths[0]}"):
            from dsc._codecs.machine.decoder import PathDecoder
        return PathDecoder(cast(AvifCodec, codec), paths)

    def packing(self, stream: Stream) -> Packing | None:
        """Return how packs compress the payloads of a stream; None where they do not."""
        if stream.compressed is None:
            return None
        slot = self.slots[stream.name]
        codec, record = self.codec(slot), self._records[slot]
        if not isinstance(codec, PackedCodec):
            return Packing(stream.compressed is Compressed.TOGETHER)
        dtype = codec.packed_dtype(stream.name)
        weights = self._weights(record) if record.weights_sha256 else None
        known = None if weights is None else read_dictionary(weights, f"codec {record.id}")
        return Packing(stream.compressed is Compressed.TOGETHER, dtype, known)

    def packed(self) -> dict[str, PackedCodec]:
        """Return the codecs that leave compression to packs, by the streams that they write."""
        found = {name: self.codec(slot) for name, slot in self.slots.items()}
        return {name: codec for name, codec in found.items() if isinstance(codec, PackedCodec)}

    @property
    def dependent_streams(self) -> tuple[str, ...]:
        """Names of the streams of tasks that follow from other codecs' tasks."""
        return tuple(name for name, slot in self.slots.items() if slot in self._inputs)

    def changed(self, change: Callable[[Codec, Sequence[str]], Codec]) -> Self:
        """Return the same with other codecs, each made of a codec and its streams' names."""
        before = [self.codec(slot) for slot in range(len(self._records))]
        pairs = zip(before, self._records, strict=True)
        after = [change(codec, record.streams) for codec, record in pairs]
        if all(one is other for one, other in zip(before, after, strict=True)):
            return self
        return type(self).of(after, self._given)._within(self._bounded)

    def with_dictionaries(self, dictionaries: Mapping[str, bytes]) -> Self:
        """Return the same, with a codec of its own for each stream that has a dictionary's file."""
        if not dictionaries:
            return self
        codecs: list[Codec] = []
        for slot in range(len(self._records)):
            codec = self.codec(slot)
            own = [name for name in self._records[slot].streams if name in dictionaries]
            if not own or not isinstance(codec, PackedCodec):
                codecs.append(codec)
                continue
            rest = [task.name for task in codec.tasks if task.name not in own]
            parts = ([codec.of_tasks(rest, None)] if rest else []) + [
                codec.of_tasks([name], dictionaries[name]) for name in own
            ]
            codecs += [part for part in parts if isinstance(part, Codec)]
        return type(self).of(codecs, self._given)._within(self._bounded)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of tasks of another archive that tasks of this set follow from."""
        names = [name for slot in self._inputs for name in self._records[slot].config[INPUTS]]
        return tuple(dict.fromkeys(name for name in names if name in self._given))

    @property
    def group_size(self) -> int:
        """How many samples of a recording are coded together at most; 1 where none are."""
        sizes = [self._group_size(slot) for slot in range(len(self._records))]
        return min((size for size in sizes if size > 1), default=1)

    @property
    def kept(self) -> tuple[str, ...]:
        """The tasks whose frames are kept as their source has coded them."""
        codecs = {slot: self.codec(slot) for slot in self._grouped}
        keeping = {slot for slot, codec in codecs.items() if isinstance(codec, KeepingCodec)}
        return tuple(task for task, slot in self._task_slot.items() if slot in keeping)

    def is_grouped(self, slot: int) -> bool:
        """Tell whether the codec of a slot codes samples of a recording together."""
        return self._group_size(slot) > 1

    def _group_size(self, slot: int) -> int:
        return group_size_of(self.codec(slot)) if slot in self._grouped else 1

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode the tasks that each sample has; the same bytes whatever else the machine does.

        Raises
        ------
        CodecError
            When an array does not fit its task.
        """
        return self.encode_groups([[sample] for sample in samples], quality)

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode a group: samples that follow one another in a recording, or one of none.

        A sample that has no arrays keeps its place.

        Raises
        ------
        CodecError
            When an array does not fit its task, or samples do not fit together.
        """
        return self.encode_groups([samples], quality)

    def encode_groups(
        self, groups: Sequence[Sequence[Sample]], quality: Quality
    ) -> list[dict[str, bytes]]:
        """Encode several groups; return the payloads of all their samples, in order."""
        coded: list[dict[str, bytes]] = [{} for group in groups for _ in group]
        for slot in range(len(self._records)):
            if slot in self._inputs:
                continue
            own = [[self._own_tasks(slot, sample) for sample in group] for group in groups]
            if not any(map(any, own)):
                continue
            with single_thread():
                found = self._encode_by(slot, own, quality)
            parts = [part for group in own for part in group]
            for payloads, part, streams in zip(coded, parts, found, strict=True):
                self._check_coded(slot, part, streams)
                payloads.update(streams)
        self.encode_dependents([sample for group in groups for sample in group], coded, quality)
        return coded

    def encode_dependents(
        self, samples: Sequence[Sample], coded: Sequence[dict[str, bytes]], quality: Quality
    ) -> None:
        """Add the payloads of tasks that follow from others, whose payloads are there.

        Parameters
        ----------
        coded
            Of each sample its payloads so far.

        Raises
        ------
        CodecError
            When an array does not fit its task.
        """
        for slot, inputs in self._inputs.items():
            own = [self._own_tasks(slot, sample) for sample in samples]
            places = [at for at, part in enumerate(own) if part]
            if not places:
                continue
            names = self._records[slot].config[INPUTS]
            known = [
                own[at] | {name: samples[at][name] for name in names if name in samples[at]}
                for at in places
            ]
            with single_thread():
                pixels = most_pixels(known)
                given = self._decode_inputs(slot, [coded[at] for at in places], inputs, pixels)
            for one, sample in zip(given, known, strict=True):
                one.update({name: sample[name] for name in self._given if name in sample})
            with single_thread():
                found = self._dependent(slot).encode_given(known, given, quality)
            for at, streams in zip(places, found, strict=True):
                self._check_coded(slot, own[at], streams)
                coded[at].update(streams)

    def _dependent(self, slot: int) -> DependentCodec:
        codec = self.codec(slot)
        if not isinstance(codec, DependentCodec):
            raise CodecError(f"codec {codec.id} has inputs, and takes none")
        return codec

    def _encode_by(
        self, slot: int, groups: Sequence[Sequence[Sample]], quality: Quality
    ) -> list[dict[str, bytes]]:
        """Encode by one codec; a sample that has none of its tasks has no streams."""
        codec = self.codec(slot)
        if self.is_grouped(slot) and isinstance(codec, GroupCodec):
            coded: list[dict[str, bytes]] = []
            for group in groups:
                coded += codec.encode_group(group, quality) if any(group) else [{}] * len(group)
            return coded
        parts = [part for group in groups for part in group]
        found = iter(codec.encode_batch([part for part in parts if part], quality))
        return [next(found) if part else {} for part in parts]

    def _own_tasks(self, slot: int, sample: Sample) -> dict[str, Array]:
        return {
            name: sample[name]
            for name, owner in self._task_slot.items()
            if owner == slot and name in sample
        }

    def _check_coded(self, slot: int, sample: Sample, streams: Mapping[str, bytes]) -> None:
        """Refuse what would be lost without a word: a stray stream, a task without a stream."""
        record = self._records[slot]
        stray = sorted(set(streams) - set(record.streams))
        lost = [name for name in sample if not self._carriers[name] & set(streams)]
        if stray or lost:
            raise CodecError(
                f"codec {record.id} gave undeclared streams {stray} and no stream for tasks {lost}"
            )

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode `tasks` of several samples, by as few codecs as can be.

        A task whose stream is not there is left out of that sample's result.

        Raises
        ------
        UnknownTaskError
            When no codec carries a task.
        BitstreamError
            When a bitstream is damaged.
        """
        decoded: list[dict[str, Array]] = [{} for _ in streams]
        for slot, own, given in self._shares(streams, tasks):
            if slot in self._inputs:
                found = self._decode_dependents(slot, streams, given, own, decoded, max_pixels)
            else:
                found = self.decoder(slot).decode_batch(given, own, max_pixels)
            for sample, arrays in zip(decoded, found, strict=True):
                sample.update(arrays)
        return decoded

    def _decode_dependents(
        self,
        slot: int,
        streams: Sequence[Mapping[str, bytes]],
        own: Sequence[Mapping[str, bytes]],
        tasks: Sequence[str],
        decoded: Sequence[Mapping[str, Array]],
        max_pixels: int,
    ) -> list[dict[str, Array]]:
        """Decode tasks that follow from others, which are decoded first where they are not yet."""
        inputs = self._inputs[slot]
        given = [{name: one[name] for name in inputs if name in one} for one in decoded]
        places = [at for at, one in enumerate(own) if one]
        lacking = [name for name in inputs if any(name not in given[at] for at in places)]
        if lacking:
            some = [streams[at] for at in places]
            found = self._decode_inputs(slot, some, lacking, max_pixels)
            for at, arrays in zip(places, found, strict=True):
                given[at] = arrays | given[at]
        return self._dependent(slot).decode_given(own, given, tasks, max_pixels)

    def _decode_inputs(
        self,
        slot: int,
        streams: Sequence[Mapping[str, bytes]],
        names: Iterable[str],
        max_pixels: int,
    ) -> list[dict[str, Array]]:
        """Decode some inputs of the codec of a slot."""
        decoded: list[dict[str, Array]] = [{} for _ in streams]
        by_slot: dict[int, list[str]] = {}
        for name in names:
            by_slot.setdefault(self._inputs[slot][name], []).append(name)
        for owner, own in by_slot.items():
            given = [self._streams_of(owner, one) for one in streams]
            found = self.codec(owner).decode_batch(given, own, max_pixels)
            for sample, arrays in zip(decoded, found, strict=True):
                sample.update(arrays)
        return decoded

    def jobs_onto(
        self,
        canvas: Canvas,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[str],
        max_pixels: int,
    ) -> list[Job]:
        """Return calls that together decode the same onto a canvas, in any order, on any thread.

        What the canvas has already is not decoded.

        Raises
        ------
        UnknownTaskError
            When no codec carries a task. The calls raise `BitstreamError` on damage.
        """
        jobs, claimed = self._dependent_jobs(canvas, streams, tasks, max_pixels)
        for slot, own, given in self._shares(streams, tasks):
            if slot in self._inputs:
                continue
            codec = self.decoder(slot)
            if slot in self._grouped:
                jobs += [
                    partial(_decode_group, codec, canvas, numbers, given, task, max_pixels)
                    for task, numbers in self._groups(slot, given, own, canvas)
                ]
                continue
            if isinstance(codec, PlacedCodec) and codec.decodes_alone:
                jobs += [
                    partial(_decode_one, codec, canvas, number, task, one, max_pixels)
                    for number, one in enumerate(given)
                    for task in own
                    if codec.has(task, one)
                    and not canvas.has(number, task)
                    and (number, task) not in claimed
                ]
                continue
            some = [
                k
                for k in range(len(given))
                if not all(canvas.has(k, task) or (k, task) in claimed for task in own)
            ]
            if some:
                jobs.append(partial(_decode_some, codec, canvas, some, given, own, max_pixels))
        return jobs

    def _dependent_jobs(
        self,
        canvas: Canvas,
        streams: Sequence[Mapping[str, bytes]],
        tasks: Sequence[str],
        max_pixels: int,
    ) -> tuple[list[Job], set[tuple[int, str]]]:
        """Return a call a sample for what follows from other tasks.

        Each decodes what it takes once; which of that is wanted itself, the set says: number of the
        sample and task.
        """
        jobs: list[Job] = []
        claimed: set[tuple[int, str]] = set()
        for number, one in enumerate(streams if self._inputs else ()):
            own = [
                task
                for task in tasks
                if self._task_slot[task] in self._inputs
                and self._carriers[task] & set(one)
                and not canvas.has(number, task)
            ]
            if not own:
                continue
            inputs = {n: at for t in own for n, at in self._inputs[self._task_slot[t]].items()}
            whole = {at for at in inputs.values() if not self._is_alone(at)} - self._grouped
            also = [t for t in tasks if t in inputs or self._task_slot[t] in whole]
            also = [t for t in also if t not in own and not canvas.has(number, t)]
            claimed |= {(number, task) for task in also}
            wanted = [*also, *own]
            jobs.append(partial(_decode_some, self, canvas, [number], streams, wanted, max_pixels))
        return jobs, claimed

    def _groups(
        self,
        slot: int,
        given: Sequence[Mapping[str, bytes]],
        tasks: Sequence[str],
        canvas: Canvas,
    ) -> list[tuple[str, dict[int, bytes]]]:
        """List each task of each group with the samples of it, which are decoded together."""
        groups: dict[tuple[str, Hashable], dict[int, bytes]] = {}
        for task in tasks:
            names = [name for name in self._records[slot].streams if name in self._carriers[task]]
            for number, one in enumerate(given):
                found = [one[name] for name in names if name in one]
                if not found or canvas.has(number, task):
                    continue
                linked = [payload for payload in found if isinstance(payload, Linked)]
                group = linked[0].group if linked else None
                groups.setdefault((task, group), {})[number] = (linked or found)[0]
        return [(task, numbers) for (task, _), numbers in groups.items()]

    def decodes_alone(self, tasks: Sequence[str]) -> bool:
        """Tell whether the codecs of these tasks decode each task of a sample, or group, alone."""
        slots = {self._task_slot[task] for task in tasks}
        slots |= {owner for slot in slots for owner in self._inputs.get(slot, {}).values()}
        return all(
            self._is_alone(slot)
            for slot in slots
            if slot not in self._grouped and slot not in self._inputs
        )

    def _is_alone(self, slot: int) -> bool:
        codec = self.decoder(slot)
        return isinstance(codec, PlacedCodec) and codec.decodes_alone

    def _shares(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str]
    ) -> Iterator[tuple[int, list[str], list[dict[str, bytes]]]]:
        """Yield each codec's slot that carries some of the tasks, these, and its streams."""
        unknown = [task for task in tasks if task not in self._task_slot]
        if unknown:
            raise UnknownTaskError(
                f"no codec here codes {', '.join(unknown)}; found: {', '.join(self._task_slot)}"
            )
        slots = dict.fromkeys(self._task_slot[task] for task in tasks)
        for slot in sorted(slots, key=self._inputs.__contains__):  # those come last
            own = [task for task in tasks if self._task_slot[task] == slot]
            yield slot, own, [self._streams_of(slot, sample) for sample in streams]

    def _streams_of(self, slot: int, sample: Mapping[str, bytes]) -> dict[str, bytes]:
        return {name: sample[name] for name in self._records[slot].streams if name in sample}

    def decode_group(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode tasks of a group's samples as they were encoded, on one thread."""
        if not tasks:
            return [{} for _ in streams]
        with single_thread():
            return self.decode_batch(link_all(streams, self.lanes), tasks, max_pixels)

    def decode_alone(
        self, streams: Mapping[str, bytes], tasks: Sequence[str], max_pixels: int
    ) -> dict[str, Array]:
        """Decode tasks of one sample as it was encoded, on one thread."""
        if not tasks:
            return {}
        with single_thread():
            return self.decode_batch([streams], tasks, max_pixels)[0]


def _decode_one(
    codec: PlacedCodec,
    canvas: Canvas,
    number: int,
    task: str,
    streams: Mapping[str, bytes],
    max_pixels: int,
) -> None:
    place = canvas.place(number, task)
    canvas.take(number, task, codec.decode_sample(task, streams, max_pixels, place))


def _decode_group(
    codec: Decoder,
    canvas: Canvas,
    numbers: Mapping[int, bytes],
    streams: Sequence[Mapping[str, bytes]],
    task: str,
    max_pixels: int,
) -> None:
    """Decode a task of some samples of a group, of which the payloads stand at their numbers."""
    if not isinstance(codec, PlacedGroupCodec):
        _decode_some(codec, canvas, list(numbers), streams, [task], max_pixels)
        return
    payloads = [whole(payload) for payload in numbers.values()]
    places = [canvas.place(number, task) for number in numbers]
    arrays = codec.decode_together(task, payloads, max_pixels, places)
    for number, array in zip(numbers, arrays, strict=True):
        canvas.take(number, task, array)


def _decode_some(
    codec: Decoder,
    canvas: Canvas,
    numbers: Sequence[int],
    streams: Sequence[Mapping[str, bytes]],
    tasks: Sequence[str],
    max_pixels: int,
) -> None:
    found = codec.decode_batch([streams[number] for number in numbers], tasks, max_pixels)
    for number, arrays in zip(numbers, found, strict=True):
        for task, array in arrays.items():
            canvas.put(number, task, array)


def pixels_of(sample: Sample) -> int:
    """Return the most pixels that a map of a sample has, or positions a feature map."""
    sides = [side for a in sample.values() if a.ndim > 1 for side in (a.shape[:2], a.shape[-2:])]
    return max((height * width for height, width in sides), default=1)


def most_pixels(group: Sequence[Sample]) -> int:
    """Return the most pixels that a map of a group's samples has."""
    return max((pixels_of(sample) for sample in group if sample), default=1)


class WeightFiles:
    """Weights files at hand, by hash."""

    def __init__(self, files: Sequence[bytes]) -> None:
        self._files = {hashlib.sha256(data).hexdigest(): data for data in files}

    def __call__(self, record: CodecRecord) -> bytes | None:
        """Return the file that a record names."""
        return self._files[record.weights_sha256] if record.weights_sha256 else None


def derived_codec(
    rule: FoundRule, base: Codec, tasks: Sequence[Task], streams: Sequence[Stream]
) -> DerivedCodec:
    """Make the codec of a task that follows from others.

    Parameters
    ----------
    base
        Codes maps that the rule does not give.
    tasks, streams
        Those there are, the rule's inputs among them.
    """
    known = {task.name: task for task in tasks}
    inputs = {name: required_streams(streams, [name]) for name in rule.inputs}
    inputs_of = [known[name] for name in rule.inputs]
    return DerivedCodec(rule, inputs, inputs_of, base, exact=base.id in LOSSLESS)


def _apart(tasks: Sequence[Task], bounded: Sequence[str]) -> list[list[Task]]:
    """Part the tasks with a bound from the others, which then keep a plain codec."""
    groups = [[t for t in tasks if (t.name in bounded) is wanted] for wanted in (False, True)]
    return [group for group in groups if group]


def _bounded(codec: Codec, bounded: Sequence[str]) -> Codec:
    own = [task.name for task in codec.tasks if task.name in bounded and task.is_map]
    other = [task.name for task in codec.tasks if task.name in bounded and not task.is_map]
    if other and not isinstance(codec, PackedCodec):
        raise CodecError(f"{codec.id} keeps no bound of {', '.join(other)}; use plain")
    if not own:
        return codec
    from dsc._codecs.residual.codec import ResidualCodec  # brings torch, which labels do without

    return ResidualCodec(codec, own)


def _record(codec: Codec, weights: bytes | None) -> CodecRecord:
    return CodecRecord(
        id=codec.id,
        config=codec.config(),
        weights_sha256=hashlib.sha256(weights).hexdigest() if weights is not None else None,
        streams=tuple(stream.name for stream in codec.streams()),
    )
