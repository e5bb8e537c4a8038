"""All streams of samples: planes to coder words, one sample at a time, and words to integers.

Of a sample that is decoded, headers are read first: they say which streams it needs, and how large
it is. Then stream by stream, those required first, samples of one size are decoded together: the
same integers as alone, for fewer calls.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._codecs.latents import Latents, StreamLatent, StreamLatentBatch
from dsc._codecs.learned.bitstream import (
    SHARED_HEADER_BYTES,
    SIZE_HEADER_BYTES,
    Naming,
    read_shared_header,
    read_size_header,
    read_task_header,
)
from dsc._codecs.learned.codec_file import LoadedCodec
from dsc._codecs.learned.layered.coder import Alone, ScaleCoder
from dsc._codecs.learned.layered.model import LayeredModel
from dsc._codecs.learned.layered.spec import scale_stream
from dsc._codecs.learned.network.model import ConditionalModel, Given
from dsc._codecs.learned.network.spec import SHARED, ModelSpec
from dsc._codecs.learned.stream_coder import CodedStream, StreamCoder, dequantise
from dsc.errors import BitstreamError

POSITIONS = 1024  # of latents decoded in step: four images of 256×256; more leave the cache


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
            y = dequantise(model.gain[name], StreamLatentBatch.stack([latents[name]]))
            planes = model.synthesise(name, y, given, guide) if spec.guided else None
            given[name] = Given(y, planes)
    return words


def unpack(
    coder: StreamCoder,
    naming: Naming,
    samples: Sequence[Mapping[str, bytes]],
    wanted: Sequence[Sequence[str]],
    max_pixels: int,
) -> list[Latents]:
    """Decode the integers of several samples.

    Parameters
    ----------
    samples
        Bitstreams of each sample, by name in the archive.
    wanted
        For each sample the streams of the network to decode, besides those they require.

    Raises
    ------
    BitstreamError
        When a stream is missing or damaged, or declares more than `max_pixels`.
    """
    spec = coder.model.spec
    headers = [
        _read_headers(spec, naming, streams, own, max_pixels)
        for streams, own in zip(samples, wanted, strict=True)
    ]
    latents: list[dict[str, StreamLatent]] = [{} for _ in samples]
    for stream in spec.streams():
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for at, found in enumerate(headers):
            if stream in found:
                by_size[found[stream].size].append(at)
        for size, members in by_size.items():
            count = max(1, POSITIONS // (-(-size[0] // 16) * -(-size[1] // 16)))
            for start in range(0, len(members), count):
                part = members[start : start + count]
                coded = [_coded(headers[at][stream], latents[at]) for at in part]
                decoded = coder.decode_batch(stream, coded, size)
                for at, latent in zip(part, decoded, strict=True):
                    latents[at][stream] = latent
    return [_finish(naming, found, own) for found, own in zip(headers, latents, strict=True)]


@torch.inference_mode()
def real_bits(
    loaded: LoadedCodec[Any], inputs: Mapping[str, Tensor], quality: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Code a batch with plain rounding and give the bits of each stream's coder words.

    `estimated_bits` of the network that the file was made from says what to expect: it is exceeded
    by the rounding of weights and tables and by whole words, 1 % at most where streams have some
    thousand bytes in all.

    Parameters
    ----------
    inputs
        Planes (B, c, H, W) by modality, H and W multiples of 32.
    quality
        Integers 1 to 100, (B,), by task.

    Returns
    -------
    dict
        Bits of each sample, (B,), by stream.
    """
    words_of = _words_of_scales if isinstance(loaded.model, LayeredModel) else _words_of_streams
    rows = []
    for at in range(len(next(iter(inputs.values())))):
        qualities = {name: int(quality[name][at]) for name in inputs}
        words = words_of(loaded, {n: x[at : at + 1] for n, x in inputs.items()}, qualities)
        rows.append({name: 8 * len(data) for name, data in words.items()})
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def _words_of_streams(
    loaded: LoadedCodec[ConditionalModel], inputs: Mapping[str, Tensor], quality: dict[str, int]
) -> dict[str, bytes]:
    """Code one sample with plain rounding; a shared stream has the best quality of all."""
    if loaded.model.spec.is_joint:
        quality = {**quality, SHARED: max(quality.values())}
    return encode_planes(StreamCoder(loaded, math.inf), inputs, quality)


def _words_of_scales(
    loaded: LoadedCodec[LayeredModel], inputs: Mapping[str, Tensor], quality: dict[str, int]
) -> dict[str, bytes]:
    """Code one sample with plain rounding, each modality by itself."""
    coder = ScaleCoder(loaded.scale_tables)
    found = {}
    for name, x in inputs.items():
        given = Alone(loaded.model.modalities[name])
        words, _ = coder.encode(given, x, quality[name], math.inf)
        found.update({scale_stream(name, scale): own for scale, own in enumerate(words)})
    return found


@dataclass(frozen=True)
class _Header:
    """What stands before a stream's words, and which streams it requires and used."""

    size: tuple[int, int]
    required: tuple[str, ...]
    quality: int
    offset: float
    mask: NDArray[np.bool_] | None
    words: bytes


def _read_headers(
    spec: ModelSpec,
    naming: Naming,
    streams: Mapping[str, bytes],
    wanted: Sequence[str],
    max_pixels: int,
) -> dict[str, _Header]:
    """Read the headers of all streams that one sample needs."""
    size: tuple[int, int] | None = None
    if spec.is_joint:
        _, size = read_shared_header(_data(naming, streams, SHARED), max_pixels)
    found: dict[str, _Header] = {}
    needed = set(wanted)
    for stream in reversed(spec.streams()):
        if stream not in needed:
            continue
        header = _read_header(spec, naming, streams, stream, size, max_pixels)
        if size is not None and header.size != size:
            name = naming.name_of(stream)
            raise BitstreamError(f"stream {name}: {header.size} pixels, the others have {size}")
        size = header.size
        found[stream] = header
        needed.update(header.required)
    return found


def _read_header(
    spec: ModelSpec,
    naming: Naming,
    streams: Mapping[str, bytes],
    stream: str,
    size: tuple[int, int] | None,
    max_pixels: int,
) -> _Header:
    name, data = naming.name_of(stream), _data(naming, streams, stream)
    required, start = spec.requires(stream), 0
    if stream == SHARED:
        quality, size = read_shared_header(data, max_pixels)
        return _Header(size, (), quality, 0.0, None, data[SHARED_HEADER_BYTES:])
    if size is None or not spec.is_joint:
        used, size = read_size_header(name, data, len(required), max_pixels)
        required = tuple(r for r, there in zip(required, used, strict=True) if there)
        start = SIZE_HEADER_BYTES
    quality, offset, mask, length = read_task_header(naming.tasks[name], data[start:], size)
    return _Header(size, required, quality, offset, mask, data[start + length :])


def _data(naming: Naming, streams: Mapping[str, bytes], stream: str) -> bytes:
    name = naming.name_of(stream)
    data = streams.get(name)
    if data is None:
        raise BitstreamError(f"stream {name} is required and not here")
    return data


def _coded(header: _Header, latents: Mapping[str, StreamLatent]) -> CodedStream:
    required = {name: latents[name] for name in header.required}
    return CodedStream(header.words, header.quality, required)


def _finish(
    naming: Naming, headers: Mapping[str, _Header], latents: Mapping[str, StreamLatent]
) -> Latents:
    """Return the integers under the archive's names."""
    tasks = {naming.name_of(s): h for s, h in headers.items() if s != SHARED}
    return Latents(
        next(iter(headers.values())).size,
        {naming.name_of(stream): latent for stream, latent in latents.items()},
        {name: header.offset for name, header in tasks.items()},
        {name: header.mask for name, header in tasks.items() if header.mask is not None},
    )
