"""From samples' integers to pixels: native arrays, or tensors on the device of the integers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsc._codecs.base import Array
from dsc._codecs.latents import LatentBatch, Latents, StreamLatent, StreamLatentBatch
from dsc._codecs.learned.bitstream import Naming
from dsc._codecs.learned.network.model import ConditionalModel, Given
from dsc._codecs.learned.network.spec import SHARED
from dsc._codecs.learned.planes import from_planes, native_tensor, physical_tensor
from dsc._codecs.learned.stream_coder import StreamCoder, dequantise

BATCH_PIXELS = 1 << 20  # most pixels of one call on a CPU: more leave its cache
ACCELERATOR_PIXELS = 1 << 24  # on an accelerator: a few GB of activations


def to_arrays(
    coder: StreamCoder,
    naming: Naming,
    latents: Sequence[Latents | None],
    tasks: Sequence[str],
    device: str,
) -> list[dict[str, Array]]:
    """Turn integers into native arrays, by batches of equal size and streams.

    None gives an empty result, and so does a task that a sample lacks.
    """
    out: list[dict[str, Array]] = [{} for _ in latents]
    groups: dict[tuple[tuple[int, int], frozenset[str]], list[int]] = defaultdict(list)
    for at, latent in enumerate(latents):
        if latent is not None:
            groups[latent.size, frozenset(latent.streams)].append(at)
    for (size, there), members in groups.items():
        count = max(1, BATCH_PIXELS // (size[0] * size[1]))
        own = [task for task in tasks if task in there]
        for start in range(0, len(members), count):
            part = members[start : start + count]
            chosen = [given for at in part if (given := latents[at]) is not None]
            arrays = _arrays(coder, naming, chosen, own, device)
            for at, found in zip(part, arrays, strict=True):
                out[at] = found
    return out


def _arrays(
    coder: StreamCoder,
    naming: Naming,
    latents: Sequence[Latents],
    tasks: Sequence[str],
    device: str,
) -> list[dict[str, Array]]:
    """Turn samples of one size with the same streams into native arrays."""
    streams = {
        stream: [latent.streams[name] for latent in latents]
        for stream, name in naming.names.items()
        if name in latents[0].streams
    }
    carrying = {task: naming.stream_of(task) for task in tasks}
    planes = synthesise_planes(coder, streams, list(carrying.values()), device)
    height, width = latents[0].size
    out: list[dict[str, Array]] = [{} for _ in latents]
    for task, stream in carrying.items():
        decoded = planes[stream].float().cpu().numpy()
        for at, latent in enumerate(latents):
            out[at][task] = from_planes(
                naming.tasks[task],
                decoded[at, :, :height, :width],
                latent.masks.get(task),
                latent.offsets[task],
            )
    return out


def to_tensors(
    coder: StreamCoder, naming: Naming, batch: LatentBatch, tasks: Sequence[str], native: bool
) -> dict[str, Tensor]:
    """Turn a batch that has these tasks into tensors where it is, in as few calls as memory lets.

    On a CPU the calls are those of `to_arrays`, so that both give the same planes.
    """
    height, width = batch.size
    most = BATCH_PIXELS if batch.device.type == "cpu" else ACCELERATOR_PIXELS
    count = max(1, most // (height * width))
    parts = [
        _tensors(coder, naming, batch[start : start + count], tasks, native)
        for start in range(0, len(batch), count)
    ]
    if len(parts) == 1:
        return parts[0]
    return {task: torch.cat([part[task] for part in parts]) for task in tasks}


def _tensors(
    coder: StreamCoder, naming: Naming, batch: LatentBatch, tasks: Sequence[str], native: bool
) -> dict[str, Tensor]:
    """Call the network once."""
    names = naming.names.items()
    streams = {stream: batch.streams[name] for stream, name in names if name in batch.streams}
    carrying = {task: naming.stream_of(task) for task in tasks}
    planes = planes_of_batch(coder.model_on(batch.device), streams, list(carrying.values()))
    height, width = batch.size
    convert = native_tensor if native else physical_tensor
    return {
        task: convert(
            naming.tasks[task],
            planes[stream].float()[..., :height, :width],
            batch.masks.get(task),
            batch.offsets[task],
        )
        for task, stream in carrying.items()
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
        name: StreamLatentBatch.stack(latents).each(lambda tensor: tensor.to(where))
        for name, latents in streams.items()
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
