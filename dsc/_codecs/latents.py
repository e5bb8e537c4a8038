"""What entropy decoding gives and synthesis takes: integers, the same on every machine.

A batch of them as tensors is what loader workers send and a GPU synthesises: the integers of
`Latents`, stacked, in the smallest types that hold them; nothing here is rounded. A batch pickles,
so it goes through a loader's shared memory and pinned memory like any tensor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc.errors import CodecError


@dataclass(frozen=True)
class StreamLatent:
    """One stream's integers.

    Attributes
    ----------
    symbols
        int32 (C, h, w): coded residuals, in quantiser steps.
    mean
        int16 (C, h, w): predicted means, in sixteenths of a step; ŷ = symbols + mean / 16.
    quality
        1 to 100.
    """

    symbols: NDArray[np.int32]
    mean: NDArray[np.int16]
    quality: int


@dataclass(frozen=True)
class Latents:
    """All integers of one sample, as decoded: the same on every machine.

    Attributes
    ----------
    size
        (H, W) of the sample in pixels.
    streams
        Latents by stream name.
    offsets
        Median log depth by depth task, ln(metres).
    masks
        Invalid mask (H, W) by task, where the task has one.
    """

    size: tuple[int, int]
    streams: Mapping[str, StreamLatent]
    offsets: Mapping[str, float]
    masks: Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class StreamLatentBatch:
    """One stream's integers of a batch.

    Attributes
    ----------
    symbols
        int16 (B, C, h, w), int32 where a symbol needs it: coded residuals, in quantiser steps.
    mean
        int16 (B, C, h, w): predicted means in sixteenths of a step; ŷ = symbols + mean / 16.
    quality
        uint8 (B,): 1 to 100.
    """

    symbols: Tensor
    mean: Tensor
    quality: Tensor

    @classmethod
    def stack(cls, latents: Sequence[StreamLatent]) -> Self:
        """Stack the integers of samples of one size."""
        return cls(
            _stack_planes([latent.symbols for latent in latents]),
            _stack_planes([latent.mean for latent in latents]),
            torch.tensor([latent.quality for latent in latents], dtype=torch.uint8),
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the same on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Apply something to every tensor."""
        return type(self)(change(self.symbols), change(self.mean), change(self.quality))


@dataclass(frozen=True)
class LatentBatch:
    """Integers of several samples of one size that have the same streams.

    Attributes
    ----------
    size
        (H, W) of every sample in pixels; h and w of a latent are a part of it, rounded up, that the
        codec says: a sixteenth, or that of a scale.
    streams
        By stream name.
    offsets
        float32 (B,) by task: median log depth, ln(metres); 0 for tasks other than depth.
    masks
        bool (B, H, W) by task, True where invalid; only tasks of which some sample has a mask.
    """

    size: tuple[int, int]
    streams: Mapping[str, StreamLatentBatch]
    offsets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]

    @classmethod
    def stack(cls, given: Sequence[Latents | None]) -> Self:
        """Stack what `dsc.codecs.LatentCodec.unpack_batch` gave.

        Raises
        ------
        CodecError
            When there is no sample, or one lacks all tasks, or samples differ in size or streams;
            it names what differs.
        """
        latents = _all_there(given)
        first = latents[0]
        streams = {
            name: StreamLatentBatch.stack([latent.streams[name] for latent in latents])
            for name in first.streams
        }
        offsets = {
            task: torch.tensor([x.offsets[task] for x in latents], dtype=torch.float32)
            for task in first.offsets
        }
        return cls(first.size, streams, offsets, _stack_masks(latents))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.streams.values())).quality)

    def __getitem__(self, part: slice) -> Self:
        """Return some of the samples, without a copy."""
        return self._each(lambda tensor: tensor[part])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.streams.values())).symbols.device

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, e.g. to count their bytes."""
        for stream in self.streams.values():
            yield from (stream.symbols, stream.mean, stream.quality)
        yield from self.offsets.values()
        yield from self.masks.values()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the batch on a device; see `torch.Tensor.to`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory, from where a GPU copies while it computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        streams = {name: x.each(change) for name, x in self.streams.items()}
        offsets = {task: change(x) for task, x in self.offsets.items()}
        masks = {task: change(x) for task, x in self.masks.items()}
        return type(self)(self.size, streams, offsets, masks)


def _all_there(given: Sequence[Latents | None]) -> list[Latents]:
    """Check that samples can be stacked."""
    if not given:
        raise CodecError("a batch of latents needs at least one sample")
    latents: list[Latents] = []
    for at, latent in enumerate(given):
        if latent is None:
            raise CodecError(
                f"sample {at} of the batch has none of the tasks; batch samples with the same tasks"
            )
        latents.append(latent)
        _check_alike(latents[0], at, latent)
    return latents


def _check_alike(first: Latents, at: int, latent: Latents) -> None:
    if latent.size != first.size:
        (height, width), (h, w) = latent.size, first.size
        raise CodecError(
            f"sample {at} of the batch has {height}×{width} pixels, sample 0 has {h}×{w}; "
            "a batch of latents has one size"
        )
    if set(latent.streams) != set(first.streams):
        raise CodecError(
            f"sample {at} of the batch has streams {', '.join(sorted(latent.streams))}, sample 0 "
            f"has {', '.join(sorted(first.streams))}; batch samples with the same tasks"
        )


def _stack_planes(arrays: Sequence[NDArray[np.signedinteger]]) -> Tensor:
    """Stack (C, h, w) integers to (B, C, h, w), channels last, in int16 where they fit."""
    low = min(int(array.min()) for array in arrays)
    high = max(int(array.max()) for array in arrays)
    fits = low >= -(1 << 15) and high < 1 << 15
    channels, height, width = arrays[0].shape
    out = np.empty((len(arrays), height, width, channels), np.int16 if fits else np.int32)
    for row, array in zip(out, arrays, strict=True):
        row[:] = array.transpose(1, 2, 0)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _stack_masks(latents: Sequence[Latents]) -> dict[str, Tensor]:
    """Stack the masks of each task that some sample masks; a sample without one is all valid."""
    none = np.zeros(latents[0].size, np.bool_)
    tasks = dict.fromkeys(task for latent in latents for task in latent.masks)
    return {
        task: torch.from_numpy(np.stack([latent.masks.get(task, none) for latent in latents]))
        for task in tasks
    }
