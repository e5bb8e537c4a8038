"""What learned codecs add to a stream: latents in its batches, and their synthesis on a device.

Workers decode integers and stack them; the training process names them, or synthesises a whole
batch at once.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from dsc._codecs.latents import LatentBatch, Latents
from dsc._pipeline.read.decoding import Decoded, SampleDecoder
from dsc._stream.collate import INDEX, LATENTS, StreamBatch
from dsc._stream.options import StreamOptions
from dsc._stream.tensors import widened
from dsc.errors import UsageError

SLOT = "__latents_{}__"


class Synthesis:
    """Stacks the latents of a batch, and finishes it.

    Parameters
    ----------
    decoder
        Of the stream's archive; one that has latents is alone.
    lists
        Names whose values stay a list.
    counts
        Names whose values keep the dtype of the source's files.
    tasks
        Names of all tasks, in order.
    """

    def __init__(
        self,
        decoder: SampleDecoder,
        options: StreamOptions,
        lists: frozenset[str],
        counts: frozenset[str],
        tasks: Collection[str],
    ) -> None:
        self._decoder, self._options = decoder, options
        self._lists, self._counts, self._tasks = lists, counts, tuple(tasks)

    def add_latents(self, batch: StreamBatch, samples: Sequence[Decoded]) -> None:
        """Put the latents of samples into their batch."""
        for slot in samples[0].latents:
            batch[SLOT.format(slot)] = self._stacked(samples, slot)

    def _stacked(self, samples: Sequence[Decoded], slot: int) -> Any:
        """Stack latents; where samples may differ in size or streams, those that are alike."""
        if self._options.mixed_sizes == "error":
            _check_sizes(samples, slot)
        latents = [sample.latents[slot] for sample in samples]
        tasks = self._decoder.latent_tasks[slot]
        if not self._lists.intersection(tasks):
            return LatentBatch.stack(latents)
        if self._options.decode == "latents":
            return [None if one is None else LatentBatch.stack([one]) for one in latents]
        alike: dict[Any, list[tuple[int, Latents]]] = {}
        for row, one in enumerate(latents):
            if one is not None:
                alike.setdefault((one.size, frozenset(one.streams)), []).append((row, one))
        return [
            ([row for row, _ in group], LatentBatch.stack([one for _, one in group]))
            for group in alike.values()
        ]

    def finish(self, batch: StreamBatch) -> StreamBatch:
        """Name the latents, or synthesise them; move everything to the device."""
        slots = self._decoder.latent_tasks
        device = self._options.device
        if self._options.decode == "latents":
            (slot,) = slots
            batch[LATENTS] = batch.pop(SLOT.format(slot))
        made: dict[str, Any] = {}
        for slot in slots if self._options.gives_arrays else ():
            latents = batch.pop(SLOT.format(slot))
            if isinstance(latents, list):
                made |= self._synthesised_apart(latents, slot, len(batch[INDEX]))
            else:
                made |= self._synthesised(latents, slot)
        if device is None:
            return batch
        moved = {name: _move(value, device) for name, value in batch.items()}
        order = [*self._tasks, *moved]
        return StreamBatch(
            (name, value) for name in dict.fromkeys(order)
            if (value := made.get(name, moved.get(name))) is not None
        )  # fmt: skip

    def _synthesised(self, latents: LatentBatch, slot: int) -> Mapping[str, torch.Tensor]:
        latents = latents.to(self._options.device or "cpu", non_blocking=True)
        made = self._decoder.latent_codec(slot).synthesize_tensors(
            latents, self._decoder.latent_tasks[slot], self._options.native
        )
        return {
            name: tensor if name in self._counts else widened(tensor)
            for name, tensor in made.items()
        }

    def _synthesised_apart(
        self, groups: Sequence[tuple[Sequence[int], LatentBatch]], slot: int, samples: int
    ) -> dict[str, Any]:
        """Synthesise samples that differ, group by group, and put them in order again."""
        columns: dict[str, list[Any]] = {
            name: [None] * samples for name in self._decoder.latent_tasks[slot]
        }
        for rows, latents in groups:
            for name, tensor in self._synthesised(latents, slot).items():
                for row, one in zip(rows, tensor, strict=True):
                    columns[name][row] = one
        return {
            name: column if name in self._lists else torch.stack(column)
            for name, column in columns.items()
        }


def _check_sizes(samples: Sequence[Decoded], slot: int) -> None:
    """Check that latents are of one size, that of the first sample that has some."""
    sizes = [
        (one.index, latents.size) for one in samples if (latents := one.latents[slot]) is not None
    ]
    for index, (height, width) in sizes:
        first, (h, w) = sizes[0]
        if (height, width) != (h, w):
            raise UsageError(
                f"sample {index} is {height}×{width} pixels, sample {first} is {h}×{w}; "
                "stream with mixed_sizes='list'"
            )


def _move(value: Any, device: str) -> Any:
    if isinstance(value, list):
        return [_move(one, device) for one in value]
    return value.to(device, non_blocking=True) if hasattr(value, "to") else value
