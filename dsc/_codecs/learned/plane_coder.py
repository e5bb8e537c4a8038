"""Between planes and streams: all streams of one sample in order, and planes of a batch back."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dsc._codecs.learned.conditional import ConditionalModel, Given
from dsc._codecs.learned.latent_batch import StreamBatch
from dsc._codecs.learned.latents import StreamLatent
from dsc._codecs.learned.spec import SHARED
from dsc._codecs.learned.stream_coder import StreamCoder, dequantise
from dsc._codecs.learned.weights import LoadedCodec


def encode_planes(
    coder: StreamCoder, inputs: Mapping[str, Tensor], qualities: Mapping[str, int]
) -> dict[str, bytes]:
    """Code the planes of one sample; give the coder words by stream.

    Parameters
    ----------
    inputs
        (1, c, H, W) by modality, H and W multiples of 16.
    qualities
        1 to 100 by stream.
    """
    model = coder.model
    spec, features = model.spec, model.features(inputs)
    words: dict[str, bytes] = {}
    latents: dict[str, StreamLatent] = {}
    given: dict[str, Given] = {}
    order = [name for name in spec.streams() if name == SHARED or name in inputs]
    for at, name in enumerate(order):
        required = {n: latents[n] for n in spec.requires(name) if n in latents}
        guide = model.guide(name, given)
        y = model.analyse(name, inputs, features, given, guide)
        words[name], latents[name] = coder.encode(name, y, qualities[name], required)
        if not spec.is_joint and any(name in spec.requires(later) for later in order[at + 1 :]):
            y = dequantise(model.gain[name], StreamBatch.stack([latents[name]]))
            planes = model.synthesise(name, y, given, guide) if spec.guided else None
            given[name] = Given(y, planes)
    return words


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
        name: StreamBatch.stack(latents).each(lambda tensor: tensor.to(where))
        for name, latents in streams.items()
    }
    return planes_of_batch(coder.model_on(where), batches, wanted)


def planes_of_batch(
    model: ConditionalModel, streams: Mapping[str, StreamBatch], wanted: Sequence[str]
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


@torch.inference_mode()
def real_bits(
    loaded: LoadedCodec, inputs: Mapping[str, Tensor], quality: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Code a batch with plain rounding and give the bits of each stream's coder words.

    `dsc._codecs.learned.coding.estimated_bits` of the network that the file was made from says what
    to expect: it is exceeded by the rounding of weights and tables and by whole words, 1 % at most
    where streams have some thousand bytes in all.

    Parameters
    ----------
    inputs
        Planes (B, c, H, W) by modality, H and W multiples of 16.
    quality
        Integers 1 to 100, (B,), by task.

    Returns
    -------
    dict
        Bits of each sample, (B,), by stream.
    """
    coder = StreamCoder(loaded, math.inf)
    rows = []
    for at in range(len(next(iter(inputs.values())))):
        qualities = {name: int(quality[name][at]) for name in inputs}
        if loaded.model.spec.is_joint:
            qualities[SHARED] = max(qualities.values())
        words = encode_planes(coder, {n: x[at : at + 1] for n, x in inputs.items()}, qualities)
        rows.append({name: 8 * len(data) for name, data in words.items()})
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
