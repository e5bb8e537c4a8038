"""From samples' integers to pixels: native arrays, or tensors on the device of the integers."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dsc._codecs.base import Array
from dsc._codecs.latents import LatentBatch, Latents, StreamLatent, StreamLatentBatch
from dsc._codecs.learned.network.model import ConditionalModel, Given
from dsc._codecs.learned.network.spec import SHARED
from dsc._codecs.learned.planes import from_planes, native_tensor, physical_tensor
from dsc._codecs.learned.stream_coder import StreamCoder, dequantise
from dsc._schemas import Task

BATCH_PIXELS = 1 << 20  # most pixels of one call on a CPU: more leave its cache
ACCELERATOR_PIXELS = 1 << 24  # on an accelerator: a few GB of activations

PlanesOf = Callable[[Mapping[str, StreamLatentBatch], Sequence[str]], dict[str, Tensor]]
"""A network: from integers by stream to planes (B, c, H, W) of some tasks, where they are."""


def to_arrays(
    planes_of: PlanesOf,
    tasks: Mapping[str, Task],
    latents: Sequence[Latents | None],
    wanted: Sequence[str],
    device: str,
) -> list[dict[str, Array]]:
    """Turn integers into native arrays, by batches of equal size and streams.

    None gives an empty result, and so does a task that a sample lacks.

    Parameters
    ----------
    tasks
        By name.
    wanted
        Names of those to synthesise.
    device
        Where the network runs.
    """
    out: list[dict[str, Array]] = [{} for _ in latents]
    groups: dict[tuple[tuple[int, int], frozenset[str]], list[int]] = defaultdict(list)
    for at, latent in enumerate(latents):
        if latent is not None:
            groups[latent.size, frozenset(latent.streams)].append(at)
    for (size, _), members in groups.items():
        count = max(1, BATCH_PIXELS // (size[0] * size[1]))
        for start in range(0, len(members), count):
            part = members[start : start + count]
            chosen = [given for at in part if (given := latents[at]) is not None]
            own = [tasks[name] for name in wanted if name in chosen[0].offsets]
            for at, found in zip(part, _arrays(planes_of, chosen, own, device), strict=True):
                out[at] = found
    return out


def _arrays(
    planes_of: PlanesOf, latents: Sequence[Latents], tasks: Sequence[Task], device: str
) -> list[dict[str, Array]]:
    """Turn samples of one size with the same streams into native arrays."""
    streams = {
        name: StreamLatentBatch.stack([latent.streams[name] for latent in latents]).to(device)
        for name in latents[0].streams
    }
    planes = planes_of(streams, [task.name for task in tasks])
    height, width = latents[0].size
    out: list[dict[str, Array]] = [{} for _ in latents]
    for task in tasks:
        decoded = planes[task.name].float().cpu().numpy()
        for at, latent in enumerate(latents):
            own, mask = decoded[at, :, :height, :width], latent.masks.get(task.name)
            out[at][task.name] = from_planes(task, own, mask, latent.offsets[task.name])
    return out


def to_tensors(
    planes_of: PlanesOf,
    tasks: Mapping[str, Task],
    batch: LatentBatch,
    wanted: Sequence[str],
    native: bool,
) -> dict[str, Tensor]:
    """Turn a batch that has these tasks into tensors where it is, in as few calls as memory lets.

    On a CPU the calls are those of `to_arrays`, so that both give the same planes.
    """
    height, width = batch.size
    most = BATCH_PIXELS if batch.device.type == "cpu" else ACCELERATOR_PIXELS
    count = max(1, most // (height * width))
    own = [tasks[name] for name in wanted]
    parts = [
        _tensors(planes_of, batch[start : start + count], own, native)
        for start in range(0, len(batch), count)
    ]
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in wanted}


def _tensors(
    planes_of: PlanesOf, batch: LatentBatch, tasks: Sequence[Task], native: bool
) -> dict[str, Tensor]:
    """Call the network once."""
    planes = planes_of(batch.streams, [task.name for task in tasks])
    height, width = batch.size
    convert = native_tensor if native else physical_tensor
    return {
        task.name: convert(
            task,
            planes[task.name].float()[..., :height, :width],
            batch.masks.get(task.name),
            batch.offsets[task.name],
        )
        for task in tasks
    }


def synthesise_planes(
    coder: StreamCoder,
    streams: Mapping[str, Sequence[StreamLatent]],
    wanted: Sequence[str],
    device: str,
) -> dict[str, Tensor]:
    """Synthesise planes (B, c, H, W) of the wanted modalities, H and W multiples of 16.

    Parameters
    ----------
    streams
        Latents of each sample of a batch, all of one size, by stream; with all that is required.
    device
        Where the network runs.
    """
    where = torch.device(device)
    batches = {
        name: StreamLatentBatch.stack(latents).to(where) for name, latents in streams.items()
    }
    return planes_of_batch(coder.model_on(where), batches, wanted)


def planes_of_batch(
    model: ConditionalModel, streams: Mapping[str, StreamLatentBatch], wanted: Sequence[str]
) -> dict[str, Tensor]:
    """Synthesise as `synthesise_planes` does, where model and batch are, in one call."""
    spec = model.spec
    given: dict[str, Given] = {}
    planes: dict[str, Tensor] = {}
    needed = spec.required(wanted)
    for name in needed:
        if name not in streams:
            continue
        y = dequantise(model.gain[name], streams[name])
        required = spec.guided and any(name in spec.requires(other) for other in needed)
        if name != SHARED and (name in wanted or required):
            planes[name] = model.synthesise(name, y, given, model.guide(name, given))
        given[name] = Given(y, planes.get(name))
    return {name: planes[name] for name in wanted}
