"""Codes the integers of one latent: ẑ, then the symbols of ŷ step by step."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc._codecs.latents import StreamLatent
from dsc._codecs.learned.network.entropy import (
    MEAN_STEPS,
    Prediction,
    SteppedEntropy,
    StreamEntropy,
    context_of,
    deviation,
    pad_hyper,
    quality_bucket,
    quantise_hyper,
)
from dsc._codecs.learned.network.rate import SymbolChooser
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, Tables
from dsc._coding.steps import put_step, take_step
from dsc.errors import BitstreamError

Predict = Callable[[Tensor], Prediction]
"""The hyper-synthesis: from ẑ (B, Cz, ceil(h/4), ceil(w/4)) to what it predicts of (B, C, h, w)."""


class LatentCoder:
    """Codes latents of one entropy model, one at a time, and decodes several in step.

    Parameters
    ----------
    name
        The stream's, for errors.
    entropy
        The model; its integer layers frozen.
    hyper_tables
        One table for each (quality bucket, channel of ẑ).
    scale_tables
        One table a scale index.
    choose
        The encoder's choice of symbols.
    """

    def __init__(
        self,
        name: str,
        entropy: StreamEntropy,
        hyper_tables: Tables,
        scale_tables: Tables,
        choose: SymbolChooser,
    ) -> None:
        self._name, self._entropy, self._choose = name, entropy, choose
        self._hyper_tables, self._scale_tables = hyper_tables, scale_tables

    def encode(
        self, scaled: Tensor, quality: int, kappa: float, predict: Predict
    ) -> tuple[bytes, StreamLatent]:
        """Code a latent in quantiser steps (1, C, h, w); give the words and what they decode to.

        Parameters
        ----------
        quality
            1 to 100.
        kappa
            What the encoder weighs rate with (`SymbolChooser`).
        """
        z = quantise_hyper(self._entropy.analysis(pad_hyper(scaled)))
        coder = SymbolEncoder()
        coder.put(_int32(z), _hyper_indexes(z, quality), self._hyper_tables)
        walk = StepWalk(self._entropy, predict(z))
        put_latent(coder, walk, scaled, kappa, self._choose, self._scale_tables)
        return coder.finish(), walk.latents([quality])[0]

    def decode(
        self,
        words: Sequence[bytes],
        qualities: Sequence[int],
        hyper_latents: int,
        size: tuple[int, int],
        predict: Predict,
    ) -> list[StreamLatent]:
        """Decode what `encode` gave for latents of `size` (h, w), all of them in step.

        The networks are called once for all latents, each of which gets the same integers as alone.

        Raises
        ------
        BitstreamError
            When words are damaged.
        """
        height, width = size
        decoders = [SymbolDecoder(own) for own in words]
        z = torch.empty(len(words), hyper_latents, -(-height // 4), -(-width // 4))
        for own, quality, decoder in zip(z, qualities, decoders, strict=True):
            hyper = decoder.get(_hyper_indexes(own[None], quality), self._hyper_tables)
            if np.abs(hyper).max() > 127:
                raise BitstreamError(f"stream {self._name}: a hyper-latent is out of range")
            own.copy_(torch.from_numpy(hyper[0]))
        walk = StepWalk(self._entropy, predict(z))
        get_latents(decoders, walk, self._scale_tables)
        for decoder in decoders:
            decoder.check_end()
        return walk.latents(qualities)


def _hyper_indexes(z: Tensor, quality: int) -> NDArray[np.uint8]:
    """Return the table of each element of ẑ: one a channel, in the quality's bucket."""
    channels = z.shape[1]
    bucket = int(quality_bucket(torch.tensor([quality]))[0])
    numbers = (bucket * channels + np.arange(channels)).astype(np.uint8)
    return np.broadcast_to(numbers[None, :, None, None], tuple(z.shape))


def put_latent(
    coder: SymbolEncoder,
    walk: "StepWalk",
    scaled: Tensor,
    kappa: float,
    choose: SymbolChooser,
    tables: Tables,
) -> None:
    """Append the symbols of a latent in quantiser steps, (1, C, h, w), step by step.

    Parameters
    ----------
    walk
        Through this latent; it learns what is coded.
    kappa
        What the encoder weighs rate with.
    tables
        One a scale index.
    """
    for step, index, mean in walk:
        symbols = choose(walk.take(scaled, step) - mean / MEAN_STEPS, index, kappa)
        coder.put(_int32(symbols), index.to(torch.uint8).numpy(), tables)
        walk.learn(step, symbols, mean)


def get_latents(decoders: Sequence[SymbolDecoder], walk: "StepWalk", tables: Tables) -> None:
    """Read what `put_latent` appended, of as many latents as there are decoders, in step.

    Damage may show here, or when the decoders' ends are checked.
    """
    for step, index, mean in walk:
        symbols = [
            decoder.get(own, tables)
            for own, decoder in zip(index.to(torch.uint8).numpy(), decoders, strict=True)
        ]
        walk.learn(step, torch.from_numpy(np.stack(symbols)).float(), mean)


class StepWalk:
    """Goes through a latent step by step: gives what a step codes under, learns what it coded.

    A latent of one step is coded channel by channel, as the first version did; one of several,
    position by position, which is how convolutions leave their results in memory.

    Parameters
    ----------
    entropy
        What predicts the later steps.
    start
        What is predicted of the latents (B, C, h, w) before the first step.
    """

    def __init__(self, entropy: SteppedEntropy, start: Prediction) -> None:
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

    def skip(self) -> None:
        """Take the latents as they are predicted before the first step: nothing was coded."""
        self._symbols.zero_()
        self._mean.copy_(self._start.mean.permute(0, 2, 3, 1))

    def context(self) -> Tensor:
        """Return what the latents tell whatever is predicted from them; see `context_of`."""
        symbols, mean = (x.permute(0, 3, 1, 2).float() for x in (self._symbols, self._mean))
        return context_of(symbols, mean)

    def latents(self, qualities: Sequence[int]) -> list[StreamLatent]:
        """Return all that was coded, by sample."""
        symbols, mean = (x.permute(0, 3, 1, 2).numpy() for x in (self._symbols, self._mean))
        return [StreamLatent(*own) for own in zip(symbols, mean, qualities, strict=True)]


def _int32(x: Tensor) -> NDArray[np.int32]:
    return x.to(torch.int32).numpy()
