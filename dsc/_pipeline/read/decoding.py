"""Turns the bitstreams of samples into arrays, or into integer latents where those are wanted.

A sample that cannot be decoded is an error that names file, pack, key and task; it can be raised,
or given in the sample's place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from dsc._codecs.base import Array, LatentCodec
from dsc._codecs.registry import codec_class
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Task, carrying_streams, required_streams
from dsc._storage.read.archive import Archive
from dsc.errors import BitstreamError, MissingTaskError, UsageError

if TYPE_CHECKING:  # it imports torch
    from dsc._codecs.latents import Latents

SamplePayloads = Mapping[str, memoryview | None]


@dataclass
class Decoded:
    """One sample: arrays by task (None where it lacks the task), and latents by codec slot."""

    index: int
    arrays: dict[str, Array | None] = field(default_factory=dict)
    latents: "dict[int, Latents | None]" = field(default_factory=dict)


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
    """

    def __init__(
        self,
        archive: Archive,
        tasks: Sequence[Task],
        *,
        native: bool = False,
        as_latents: bool = False,
        missing_is_error: bool = False,
    ) -> None:
        self.archive, self.tasks = archive, tuple(tasks)
        self._native, self.missing_is_error = native, missing_is_error
        self._codecs = CodecSet.from_archive(archive)
        streams = archive.manifest.streams
        self._carriers = {task.name: carrying_streams(streams, task.name) for task in tasks}
        self.latent_tasks = latent_tasks(self._codecs, self.tasks) if as_latents else {}
        latent = {name for names in self.latent_tasks.values() for name in names}
        self._array_tasks = [task for task in self.tasks if task.name not in latent]

    def latent_codec(self, slot: int) -> LatentCodec:
        """Return the codec of a slot of `latent_tasks`."""
        return cast(LatentCodec, self._codecs.codec(slot))

    def decode(
        self, indices: Sequence[int], payloads: Sequence[SamplePayloads]
    ) -> list[Decoded | BitstreamError]:
        """Decode samples together; in the place of a damaged one stands its error.

        Parameters
        ----------
        indices
            Of the samples, in the archive.
        payloads
            For each its bitstreams by stream.

        Raises
        ------
        MissingTaskError
            When a sample lacks a task and that is an error.
        """
        for index, sample in zip(indices, payloads, strict=True):
            self.check_complete(index, sample)
        try:
            return list(self._decode(indices, payloads))
        except BitstreamError:
            return [
                self._decode_alone(index, sample)
                for index, sample in zip(indices, payloads, strict=True)
            ]

    def _decode(self, indices: Sequence[int], payloads: Sequence[SamplePayloads]) -> list[Decoded]:
        given = [
            {name: bytes(data) for name, data in sample.items() if data is not None}
            for sample in payloads
        ]
        limit = self.archive.manifest.max_pixels
        out = [Decoded(index) for index in indices]
        for slot, tasks in self.latent_tasks.items():
            present = [[name for name in tasks if self._has(name, one)] for one in given]
            latents = self.latent_codec(slot).unpack_batch(given, present, limit)
            for sample, latent in zip(out, latents, strict=True):
                sample.latents[slot] = latent
        if self._array_tasks:
            names = [task.name for task in self._array_tasks]
            for sample, arrays in zip(
                out, self._codecs.decode_batch(given, names, limit), strict=True
            ):
                sample.arrays = {t.name: self._physical(t, arrays) for t in self._array_tasks}
        return out

    def _physical(self, task: Task, arrays: Mapping[str, Array]) -> Array | None:
        array = arrays.get(task.name)
        return array if array is None or self._native else task.to_physical(array)

    def _has(self, task: str, streams: Mapping[str, Any]) -> bool:
        return any(streams.get(name) is not None for name in self._carriers[task])

    def check_complete(self, index: int, sample: SamplePayloads) -> None:
        """Raise `MissingTaskError` where a sample lacks a task and that is an error."""
        if not self.missing_is_error:
            return
        for task in self.tasks:
            if not self._has(task.name, sample):
                raise MissingTaskError(
                    f"{self.archive.root.url}: sample {self.archive.key(index)} ({index}) has no "
                    f"{task.name}; stream with missing='skip' or missing='none'"
                )

    def _decode_alone(self, index: int, sample: SamplePayloads) -> Decoded | BitstreamError:
        try:
            return self._decode([index], [sample])[0]
        except BitstreamError as error:
            return self._named(index, sample, error)

    def _named(self, index: int, sample: SamplePayloads, error: BitstreamError) -> BitstreamError:
        """Decode task by task, to name the task, its files, the pack and the key."""
        shard, pack, _ = self.archive.locate(index)
        record = self.archive.shards[shard].streams
        streams = {name: bytes(data) for name, data in sample.items() if data is not None}
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
