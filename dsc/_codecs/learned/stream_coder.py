"""Codes the streams of a network one by one, each given those that it requires."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsc._codecs.latents import StreamLatent, StreamLatentBatch
from dsc._codecs.learned.codec_file import DeviceCopies, LoadedCodec
from dsc._codecs.learned.latent_coder import LatentCoder
from dsc._codecs.learned.network.entropy import MEAN_STEPS, Prediction, context_of
from dsc._codecs.learned.network.model import ConditionalModel, Gain
from dsc._codecs.learned.network.rate import SymbolChooser, kappa_of


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

    def __init__(self, loaded: LoadedCodec[ConditionalModel], kappa: float | None = None) -> None:
        self.model = loaded.model
        choose, hyper = SymbolChooser(loaded.scale_tables), loaded.hyper_tables
        self._coders = {
            name: LatentCoder(name, entropy, hyper[name], loaded.scale_tables, choose)
            for name, entropy in self.model.entropy.items()
        }
        self._kappa = kappa
        self.model_on = DeviceCopies(loaded).on

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
        scaled = y * self.model.gain[name](torch.tensor([float(quality)]))
        own = [CodedStream(b"", quality, required)]
        size = (y.shape[-2], y.shape[-1])
        kappa = kappa_of(name, self._kappa)
        return self._coders[name].encode(
            scaled, quality, kappa, lambda z: self._predict(name, z, own, size)
        )

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
        latent_size = (-(-size[0] // 16), -(-size[1] // 16))
        return self._coders[name].decode(
            [one.words for one in coded],
            [one.quality for one in coded],
            self.model.spec.hyper_latents,
            latent_size,
            lambda z: self._predict(name, z, coded, latent_size),
        )

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


def dequantise(gain: Gain, batch: StreamLatentBatch) -> Tensor:
    """Return ŷ over its gain, (B, C, h, w) float32, where both are."""
    scale: Tensor = gain(batch.quality.float())
    return (batch.symbols.float() + batch.mean.float() / MEAN_STEPS) / scale
