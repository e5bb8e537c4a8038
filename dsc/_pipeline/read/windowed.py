"""Puts samples with windows together, of frames that were each read and decoded once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dsc._columns.column import Ints
from dsc._pipeline.read.decoded_cache import DecodedCache
from dsc._pipeline.read.decoding import Decoded, SampleDecoder
from dsc._pipeline.read.frame_index import NONE
from dsc._pipeline.read.window import SEQUENCE, FramesOf, Windows
from dsc._schemas import Task, required_streams
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.samples import SamplePlace, SampleReader
from dsc._transforms.blank import blank
from dsc.errors import BitstreamError, UsageError

Values = Callable[[int, str], Any]


class FrameReader:
    """Reads samples with windows: each frame once, and of it no task that nobody asked for.

    Parameters
    ----------
    packs
        Reads the archive's packs.
    streams
        Those that are read at all.
    native
        Whether arrays stay in the source's encoding.
    cache
        Where decoded arrays are kept, if anywhere.
    """

    def __init__(
        self,
        packs: PackReader,
        windows: Windows,
        streams: Sequence[str],
        native: bool,
        cache: DecodedCache | None,
    ) -> None:
        self._archive, self._windows = packs.archive, windows
        self._parts = [
            (
                SampleReader(packs, [name for name in self._required(part) if name in streams]),
                SampleDecoder(packs.archive, part, native=native, cache=cache),
            )
            for part in windows.parts
        ]

    def _required(self, tasks: Sequence[Task]) -> tuple[str, ...]:
        return required_streams(self._archive.manifest.streams, [task.name for task in tasks])

    def read(self, indices: Sequence[int], in_order: bool = False) -> list[Decoded]:
        """Read samples by their indices in the archive.

        Parameters
        ----------
        in_order
            Whether the samples that follow will be read, too.

        Raises
        ------
        CorruptArchiveError, BitstreamError
            When one of the frames is damaged.
        UsageError
            When the maps of a window differ in size.
        """
        samples = WindowedSamples.of(self._windows, indices)
        arrays: dict[tuple[int, str], Any] = {}
        for (reader, decoder), frames in zip(self._parts, samples.needed(), strict=True):
            wanted = [index for index in frames if not decoder.holds(index)]
            places = [SamplePlace(*self._archive.locate(index)) for index in wanted]
            payloads = dict(zip(wanted, reader.read(places, in_order), strict=True))
            for one in decoder.decode(frames, [payloads.get(index) for index in frames]):
                if isinstance(one, BitstreamError):
                    raise one
                arrays |= {(one.index, name): value for name, value in one.arrays.items()}
        return [
            Decoded(index, samples.made(number, lambda at, name: arrays[at, name]))
            for number, index in enumerate(indices)
        ]


@dataclass(frozen=True)
class WindowedSamples:
    """Some samples of an archive, with the frames of their windows.

    Attributes
    ----------
    indices
        Of the samples.
    found
        The frames of the tasks that have windows.
    """

    windows: Windows
    indices: Ints
    found: Mapping[str, FramesOf]

    @classmethod
    def of(cls, windows: Windows, indices: Sequence[int]) -> Self:
        """Find the frames of samples."""
        at = np.asarray(indices, np.int64)
        return cls(windows, at, windows.of(at))

    def needed(self) -> list[list[int]]:
        """List the samples that are read for each part of `Windows.parts`, rising."""
        found = []
        for part in self.windows.parts:
            frames = self.found.get(part[0].name)
            at = self.indices if frames is None else frames.samples[frames.samples != NONE]
            found.append(np.unique(at).tolist())
        return found

    def frames(self, number: int) -> list[int]:
        """List the samples that one of the samples is made of, rising."""
        own = {int(self.indices[number])} if len(self.found) < len(self.windows.tasks) else set()
        for frames in self.found.values():
            own.update(frames.samples[number].tolist())
        return sorted(own - {NONE})

    def made(self, number: int, values: Values) -> dict[str, Any]:
        """Put one of the samples together.

        Parameters
        ----------
        values
            Gives a task of a sample by its index; None where it lacks it.

        Returns
        -------
        dict
            By task the sample's own value, or those of its window; the name of its recording, None
            where it is of none; for each window which frames are there (n,) and have what is wanted
            of them, and the numbers of those that stand there (n,), -1 where none does.
        """
        index = int(self.indices[number])
        out: dict[str, Any] = {}
        about: dict[str, Any] = {}
        for task in self.windows.tasks:
            frames = self.found.get(task.name)
            if frames is None:
                out[task.name] = values(index, task.name)
                continue
            at = frames.samples[number]
            own = [None if one == NONE else values(one, task.name) for one in at.tolist()]
            out[task.name] = stacked(task, own, f"sample {index}")
            name = self.windows.mask_name(task.name)
            there = frames.there[number] & np.array([value is not None for value in own])
            about[name] = about[name] & there if name in about else there
            about[self.windows.frames_name(task.name)] = self._numbers(at)
        return {**out, SEQUENCE: self.windows.frames.name(index), **about}

    def _numbers(self, at: Ints) -> Ints:
        return np.where(at == NONE, NONE, self.windows.frames.frame[at])


def stacked(task: Task, frames: Sequence[Any], where: str) -> Any:
    """Stack the frames of a window.

    Parameters
    ----------
    task
        What they mean.
    frames
        Their values in order; None where there is nothing.
    where
        The sample, for messages.

    Returns
    -------
    array, list or None
        (n, ...), nothing standing for what is not there: NaN in floats of what is measured, 0 in
        images, the invalid value in integers that have one. A list of values whose shapes vary,
        such as text. None where nothing is there at all.

    Raises
    ------
    UsageError
        When maps differ in size.
    """
    if all(value is None for value in frames):
        return None
    if task.varies:
        return list(frames)
    there = [np.asarray(value) for value in frames if value is not None]
    shape, dtype = there[0].shape, there[0].dtype
    if any(value.shape != shape for value in there):
        sizes = ", ".join(sorted({"×".join(map(str, value.shape)) for value in there}))
        raise UsageError(
            f"{where}: {task.name} of the frames of its window is of {sizes}: give this task no "
            "window, window={task: offsets} of others, or choose samples of one size"
        )
    whole = np.empty((len(frames), *shape), dtype)
    for k, value in enumerate(frames):
        whole[k] = _nothing(task, dtype) if value is None else value
    return whole


def _nothing(task: Task, dtype: np.dtype[Any]) -> Any:
    if not task.is_map and dtype.kind == "f":
        return np.nan
    return blank(task.kind, dtype, task.invalid)
