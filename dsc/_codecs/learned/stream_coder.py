"""Codes the integers of a stream: ẑ, then the symbols of ŷ step by step, under a codec file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._codecs.coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._codecs.coding.steps import put_step, take_step
from dsc._codecs.latents import StreamLatent, StreamLatentBatch
from dsc._codecs.learned.codec_file import LoadedCodec
from dsc._codecs.learned.network.entropy import (
    MEAN_STEPS,
    Prediction,
    StreamEntropy,
    context_of,
    deviation,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc._codecs.learned.network.model import ConditionalModel, Gain
from dsc._codecs.learned.network.rate import KAPPA, KAPPAS, SymbolChooser
from dsc.errors import BitstreamError


@dataclass(frozen=True)
class CodedStream:
    """One sample's coder words of a stream, and what they are decoded with.

    Attributes
    ----------
    words
        What `StreamCoder.encode` gave.
    quality
        1 to 100.
    required
        Those of the streams it requires that are there, decoded.
    """

    words: bytes
    quality: int
    required: Mapping[str, StreamLatent]


class StreamCoder:
    """Codes streams of one sample at a time, and decodes those of several.

    Parameters
    ----------
    loaded
        The codec file.
    kappa
        What the encoder weighs rate with (`SymbolChooser`), for all streams; infinite for plain
        rounding, None for each stream's own.
    """

    def __init__(self, loaded: LoadedCodec, kappa: float | None = None) -> None:
        self._loaded = loaded
        self.model = loaded.model
        self._choose = SymbolChooser(loaded.scale_tables)
        self._kappa = kappa
        self._copies: dict[torch.device, ConditionalModel] = {}

    def model_on(self, device: torch.device) -> ConditionalModel:
        """Return the model on a device: a copy, but on a CPU.

        Entropy decoding goes on where the model is, also while another device synthesises.
        """
        if device.type == "cpu":
            return self.model
        if device not in self._copies:
            self._copies[device] = self._loaded.on_device(device)
        return self._copies[device]

    def encode(
        self, name: str, y: Tensor, quality: int, required: Mapping[str, StreamLatent]
    ) -> tuple[bytes, StreamLatent]:
        """Code a latent (1, C, h, w), not yet scaled; give the words and what they decode to.

        Parameters
        ----------
        name
            The stream: a modality, or ``shared``.
        quality
            1 to 100.
        required
            Those of the streams it requires that are there.
        """
        entropy = self.model.entropy[name]
        scaled = y * self.model.gain[name](torch.tensor([float(quality)]))
        z = quantise_hyper(entropy.analysis(pad_hyper(scaled)))
        start = self._start(name, z, quality, (y.shape[-2], y.shape[-1]), required)
        kappa = KAPPAS.get(name, KAPPA) if self._kappa is None else self._kappa
        coder = SymbolEncoder()
        coder.put(_int32(z), self._hyper_indexes(name, z, quality), self._loaded.hyper_tables[name])
        walk = _Walk(entropy, start)
        for step, index, mean in walk:
            residual = walk.take(scaled, step) - mean / MEAN_STEPS
            symbols = self._choose(residual, index, kappa)
            coder.put(_int32(symbols), index.to(torch.uint8).numpy(), self._loaded.scale_tables)
            walk.learn(step, symbols, mean)
        return coder.finish(), walk.latents([quality])[0]

    def decode_batch(
        self, name: str, coded: Sequence[CodedStream], size: tuple[int, int]
    ) -> list[StreamLatent]:
        """Decode what `encode` gave for images of `size` (H, W), all of them in step.

        The networks are called once for all samples, each of which gets the same integers as alone.

        Raises
        ------
        BitstreamError
            When words are damaged.
        """
        height, width = -(-size[0] // 16), -(-size[1] // 16)
        decoders = [SymbolDecoder(one.words) for one in coded]
        z = torch.empty(len(coded), self.model.spec.hyper_latents, -(-height // 4), -(-width // 4))
        for own, one, decoder in zip(z, coded, decoders, strict=True):
            indexes = self._hyper_indexes(name, own[None], one.quality)
            hyper = decoder.get(indexes, self._loaded.hyper_tables[name])
            if np.abs(hyper).max() > 127:
                raise BitstreamError(f"stream {name}: a hyper-latent is out of range")
            own.copy_(torch.from_numpy(hyper[0]))
        walk = _Walk(self.model.entropy[name], self._predict(name, z, coded, (height, width)))
        for step, index, mean in walk:
            symbols = [
                decoder.get(own, self._loaded.scale_tables)
                for own, decoder in zip(index.to(torch.uint8).numpy(), decoders, strict=True)
            ]
            walk.learn(step, torch.from_numpy(np.stack(symbols)).float(), mean)
        for decoder in decoders:
            decoder.check_end()
        return walk.latents([one.quality for one in coded])

    def _start(
        self,
        name: str,
        z: Tensor,
        quality: int,
        size: tuple[int, int],
        required: Mapping[str, StreamLatent],
    ) -> Prediction:
        """Run the hyper-synthesis of one sample."""
        return self._predict(name, z, [CodedStream(b"", quality, required)], size)

    def _predict(
        self, name: str, z: Tensor, coded: Sequence[CodedStream], size: tuple[int, int]
    ) -> Prediction:
        """Run the hyper-synthesis; a required stream that is absent counts as zeros."""
        names, context, qualities = self.model.spec.requires(name), None, None
        if names:
            context = torch.cat([self._context(one, names, size) for one in coded])
            qualities = torch.tensor(
                [[x.required[n].quality if n in x.required else 0 for n in names] for x in coded]
            )
        with torch.autocast(z.device.type, enabled=False):
            found: Prediction = self.model.entropy[name].synthesis(
                z, torch.tensor([one.quality for one in coded]), size, context, qualities
            )
        return found

    def _context(self, one: CodedStream, names: Sequence[str], size: tuple[int, int]) -> Tensor:
        """Return what the streams that are required tell, (1, C', h, w)."""
        parts = []
        for name in names:
            latent = one.required.get(name)
            if latent is None:
                parts.append(torch.zeros(1, self.model.spec.latents(name), *size))
            else:
                symbols, mean = torch.from_numpy(latent.symbols), torch.from_numpy(latent.mean)
                parts.append(context_of(symbols[None].float(), mean[None].float()))
        return torch.cat(parts, dim=1)

    def _hyper_indexes(self, name: str, z: Tensor, quality: int) -> NDArray[np.uint8]:
        """Return the table of each element of ẑ: one a channel, in the quality's bucket."""
        channels = z.shape[1]
        bucket = int(quality_bucket(torch.tensor([quality]))[0])
        numbers = (bucket * channels + np.arange(channels)).astype(np.uint8)
        return np.broadcast_to(numbers[None, :, None, None], tuple(z.shape))


class _Walk:
    """Goes through a latent step by step: gives what a step codes under, learns what it coded.

    A latent of one step is coded channel by channel, as the first version did; one of several,
    position by position, which is how convolutions leave their results in memory.
    """

    def __init__(self, entropy: StreamEntropy, start: Prediction) -> None:
        self._entropy, self._start, self._count = entropy, start, entropy.count
        batch, channels, height, width = start.scale.shape
        shape = (batch, height, width, channels)
        self._known = torch.zeros(shape).permute(0, 3, 1, 2)
        self._symbols = torch.empty(shape, dtype=torch.int32)
        self._mean = torch.empty(shape, dtype=torch.int16)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield each step, and the scale indexes and means that it codes under, (B, ...)."""
        if self._count == 1:
            yield 0, self._start.scale, self._start.mean
            return
        for step in range(self._count):
            yield step, *self._entropy.predict_own(step, self._start, self._known)

    def take(self, x: Tensor, step: int) -> Tensor:
        """Return what a step codes of (B, C, h, w), in order."""
        return x if self._count == 1 else take_step(x.permute(0, 2, 3, 1), self._count, step)

    def learn(self, step: int, symbols: Tensor, mean: Tensor) -> None:
        """Note what a step coded, for the steps after it."""
        if self._count == 1:
            self._symbols.copy_(symbols.permute(0, 2, 3, 1))
            self._mean.copy_(mean.permute(0, 2, 3, 1))
            return
        put_step(self._symbols, self._count, step, symbols)
        put_step(self._mean, self._count, step, mean)
        if step + 1 < self._count:
            seen = deviation(symbols, mean, self.take(self._start.mean, step))
            put_step(self._known.permute(0, 2, 3, 1), self._count, step, seen)

    def latents(self, qualities: Sequence[int]) -> list[StreamLatent]:
        """Return all that was coded, by sample."""
        symbols, mean = (x.permute(0, 3, 1, 2).numpy() for x in (self._symbols, self._mean))
        return [StreamLatent(*own) for own in zip(symbols, mean, qualities, strict=True)]


def dequantise(gain: Gain, batch: StreamLatentBatch) -> Tensor:
    """Return ŷ over its gain, (B, C, h, w) float32, where both are."""
    scale: Tensor = gain(batch.quality.float())
    return (batch.symbols.float() + batch.mean.float() / MEAN_STEPS) / scale


def _int32(x: Tensor) -> NDArray[np.int32]:
    return x.to(torch.int32).numpy()
