"""Codes the integers of one stream: ẑ, then the symbols of ŷ step by step, under a codec file."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc.codecs.entropy import SymbolDecoder, SymbolEncoder
from dsc.codecs.learned.entropy_model import (
    MEAN_STEPS,
    Prediction,
    StreamEntropy,
    context_of,
    deviation,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc.codecs.learned.latents import StreamLatent
from dsc.codecs.learned.rate import KAPPA, KAPPAS, SymbolChooser
from dsc.codecs.learned.steps import step_elements, step_inverse
from dsc.codecs.learned.weights import LoadedCodec
from dsc.errors import BitstreamError


class StreamCoder:
    """Codes and decodes streams of one sample at a time.

    Parameters
    ----------
    loaded
        The codec file.
    kappa
        What the encoder weighs rate with (`dsc.codecs.learned.rate`), for all streams; infinite
        for plain rounding, None for each stream's own.
    """

    def __init__(self, loaded: LoadedCodec, kappa: float | None = None) -> None:
        self._loaded = loaded
        self.model = loaded.model
        self._choose = SymbolChooser(loaded.scale_tables)
        self._kappa = kappa

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
        walk = _Walk(entropy, start, (y.shape[-2], y.shape[-1]))
        for at, index, mean in walk:
            residual = walk.take(scaled, at) - mean / MEAN_STEPS
            symbols = self._choose(residual, index, kappa)
            coder.put(_int32(symbols), index.to(torch.uint8).numpy(), self._loaded.scale_tables)
            walk.learn(at, symbols, mean)
        return coder.finish(), walk.latent(quality)

    def decode(
        self,
        name: str,
        words: bytes,
        quality: int,
        size: tuple[int, int],
        required: Mapping[str, StreamLatent],
    ) -> StreamLatent:
        """Decode what `encode` gave for an image of `size` (H, W).

        Raises
        ------
        BitstreamError
            When the words are damaged.
        """
        entropy, spec = self.model.entropy[name], self.model.spec
        height, width = -(-size[0] // 16), -(-size[1] // 16)
        blank = torch.empty(1, spec.hyper_latents, -(-height // 4), -(-width // 4))
        coder = SymbolDecoder(words)
        hyper = coder.get(
            self._hyper_indexes(name, blank, quality), self._loaded.hyper_tables[name]
        )
        if np.abs(hyper).max() > 127:
            raise BitstreamError(f"stream {name}: a hyper-latent is out of range")
        z = torch.from_numpy(hyper.astype(np.float32))
        start = self._start(name, z, quality, (height, width), required)
        walk = _Walk(entropy, start, (height, width))
        for at, index, mean in walk:
            symbols = coder.get(index.to(torch.uint8).numpy(), self._loaded.scale_tables)
            walk.learn(at, torch.from_numpy(symbols).float(), mean)
        coder.check_end()
        return walk.latent(quality)

    def dequantise(self, name: str, latents: list[StreamLatent], device: str) -> Tensor:
        """Give ŷ over its gain, (B, C, h, w) float32, of samples of one size."""
        symbols = torch.from_numpy(np.stack([x.symbols for x in latents])).to(device).float()
        mean = torch.from_numpy(np.stack([x.mean for x in latents])).to(device).float()
        quality = torch.tensor([float(x.quality) for x in latents], device=device)
        gain: Tensor = self.model.gain[name](quality)
        return (symbols + mean / MEAN_STEPS) / gain

    def _start(
        self,
        name: str,
        z: Tensor,
        quality: int,
        size: tuple[int, int],
        required: Mapping[str, StreamLatent],
    ) -> Prediction:
        """Run the hyper-synthesis; a required stream that is absent counts as zeros."""
        spec = self.model.spec
        names, context, qualities = spec.requires(name), None, None
        if names:
            parts = [
                _context(required[n]) if n in required else torch.zeros(1, spec.latents(n), *size)
                for n in names
            ]
            context = torch.cat(parts, dim=1)
            qualities = torch.tensor([[required[n].quality if n in required else 0 for n in names]])
        with torch.autocast(z.device.type, enabled=False):
            found: Prediction = self.model.entropy[name].synthesis(
                z, torch.tensor([quality]), size, context, qualities
            )
        return found

    def _hyper_indexes(self, name: str, z: Tensor, quality: int) -> NDArray[np.uint8]:
        """Give the table of each element of ẑ: one a channel, in the quality's bucket."""
        channels = z.shape[1]
        bucket = int(quality_bucket(torch.tensor([quality]))[0])
        numbers = (bucket * channels + np.arange(channels)).astype(np.uint8)
        return np.broadcast_to(numbers[None, :, None, None], tuple(z.shape))


class _Walk:
    """Goes through a latent step by step: gives what a step codes under, learns what it coded.

    A latent of one step is coded channel by channel, as the first version did; one of several,
    position by position, which is how convolutions leave their results in memory.
    """

    def __init__(self, entropy: StreamEntropy, start: Prediction, size: tuple[int, int]) -> None:
        self._entropy, self._start = entropy, start
        shape = (start.scale.shape[1], *size)
        self._latent_shape = shape
        self._places = step_elements(entropy.count, *shape)
        self._shape = shape if entropy.count == 1 else (*size, shape[0])
        self._symbols: list[Tensor] = []
        self._means: list[Tensor] = []
        self._known = torch.zeros(1, *shape).to(memory_format=torch.channels_last)
        self._flat_known = self._known.permute(0, 2, 3, 1).view(-1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Give of each step its places in the latent, and their scale indexes and means."""
        for step, places in enumerate(self._places):
            index, mean = self._entropy.predict(step, self._start, self._known)
            yield places, self.take(index, places), self.take(mean, places)

    def take(self, x: Tensor, at: Tensor) -> Tensor:
        """Give the elements of (1, C, h, w) at some places."""
        flat = x if self._entropy.count == 1 else x.permute(0, 2, 3, 1)
        return flat.reshape(-1)[at]

    def learn(self, at: Tensor, symbols: Tensor, mean: Tensor) -> None:
        """Note what a step coded, for the steps after it."""
        self._symbols.append(symbols)
        self._means.append(mean)
        if len(self._symbols) < self._entropy.count:
            self._flat_known[at] = deviation(symbols, mean, self.take(self._start.mean, at))

    def latent(self, quality: int) -> StreamLatent:
        """Give all that was coded."""
        symbols, mean = (
            self._shaped(parts, dtype)
            for parts, dtype in ((self._symbols, torch.int32), (self._means, torch.int16))
        )
        return StreamLatent(symbols, mean, quality)

    def _shaped(self, parts: list[Tensor], dtype: torch.dtype) -> NDArray[Any]:
        """Put what the steps coded in its places, (C, h, w)."""
        if self._entropy.count == 1:
            return parts[0].to(dtype).view(self._shape).numpy()
        back = step_inverse(self._entropy.count, *self._latent_shape)
        flat = torch.cat(parts).to(dtype)[back]
        return flat.view(self._shape).numpy().transpose(2, 0, 1)


def _context(latent: StreamLatent) -> Tensor:
    symbols = torch.from_numpy(latent.symbols)[None].float()
    return context_of(symbols, torch.from_numpy(latent.mean)[None].float())


def _int32(x: Tensor) -> NDArray[np.int32]:
    return x.to(torch.int32).numpy()
