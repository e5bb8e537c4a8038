"""Codes the latents of one modality scale by scale: planes to coder words, and words to integers.

What a scale is coded under comes from a chain of priors, which is handed in: that of the network
(`PriorChain`), or one that knows more, as long as it starts, predicts and advances alike.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dsc._codecs.latents import StreamLatent, StreamLatentBatch
from dsc._codecs.learned.latent_coder import StepWalk, get_latents, put_latent
from dsc._codecs.learned.layered.model import Layers
from dsc._codecs.learned.layered.prior import PriorChain
from dsc._codecs.learned.layered.spec import SCALES, UNIT
from dsc._codecs.learned.network.rate import SymbolChooser
from dsc._codecs.learned.stream_coder import dequantise
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, Tables


class ScaleCoder:
    """Codes the latents of all scales of a sample, and decodes those of several in step.

    Parameters
    ----------
    tables
        One a scale index.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._choose = SymbolChooser(tables)

    def encode(
        self, layers: Layers, prior: PriorChain, x: Tensor, quality: int, kappa: float
    ) -> tuple[list[bytes], list[StreamLatent]]:
        """Code planes (1, c, H, W), H and W multiples of 32.

        Parameters
        ----------
        quality
            1 to 100.
        kappa
            What the encoder weighs rate with (`SymbolChooser`).

        Returns
        -------
        Words by scale, and what they decode to.
        """
        features = layers.analysis(x)
        qualities = torch.tensor([quality])
        size = (features[0].shape[2], features[0].shape[3])
        hidden, state = layers.chain.start(1, size), prior.start(qualities, size)
        words, latents = [], []
        for scale, own in enumerate(features):
            entropy = prior.scale(scale)
            walk, coder = StepWalk(entropy, entropy(state, qualities)), SymbolEncoder()
            scaled = layers.latent(scale, hidden, own, layers.gain_of(scale, qualities))
            put_latent(coder, walk, scaled, kappa, self._choose, self._tables)
            words.append(coder.finish())
            latents += walk.latents([quality])
            if scale + 1 < SCALES:
                state = prior.advance(scale, state, walk.context(), qualities)
                coded = StreamLatentBatch.stack(latents[-1:])
                latent = dequantise(layers.gain[scale], coded)
                hidden = layers.chain.rise(scale, layers.chain.take(scale, hidden, latent))
        return words, latents

    def decode(
        self,
        prior: PriorChain,
        words: Sequence[Sequence[bytes]],
        qualities: Sequence[int],
        size: tuple[int, int],
    ) -> list[list[StreamLatent]]:
        """Decode the first scales of samples of one size, all of them in step.

        Latents of scales that are not there are those that the ones before predict.

        Parameters
        ----------
        words
            What `encode` gave: of each sample those of its first scales, of all as many.
        size
            (H, W) of the samples.

        Returns
        -------
        Latents of all scales, by sample.

        Raises
        ------
        BitstreamError
            When words are damaged.
        """
        quality = torch.tensor(qualities)
        state = prior.start(quality, (-(-size[0] // UNIT), -(-size[1] // UNIT)))
        found: list[list[StreamLatent]] = []
        for scale in range(SCALES):
            entropy = prior.scale(scale)
            walk = StepWalk(entropy, entropy(state, quality))
            if scale < len(words[0]):
                decoders = [SymbolDecoder(own[scale]) for own in words]
                get_latents(decoders, walk, self._tables)
                for decoder in decoders:
                    decoder.check_end()
            else:
                walk.skip()
            found.append(walk.latents(qualities))
            if scale + 1 < SCALES:
                state = prior.advance(scale, state, walk.context(), quality)
        return [list(own) for own in zip(*found, strict=True)]


def planes_of_scales(layers: Layers, scales: Sequence[StreamLatentBatch]) -> Tensor:
    """Synthesise planes (B, c, H, W) float32, H and W multiples of 32, from all scales."""
    latents = [dequantise(layers.gain[scale], own) for scale, own in enumerate(scales)]
    planes: Tensor = layers.chain(latents)
    return planes
