"""Codes the latents of one modality scale by scale: planes to coder words, and words to integers.

What a scale is coded under, and what its features begin with, is said by what is handed in: `Alone`
for a picture by itself, `After` for a frame after another one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dsc._codecs.latents import StreamLatent, StreamLatentBatch
from dsc._codecs.learned.latent_coder import StepWalk, get_latents, put_latent
from dsc._codecs.learned.layered.model import Layers
from dsc._codecs.learned.layered.spec import SCALES, UNIT
from dsc._codecs.learned.layered.temporal import Past, ScaleState, TemporalLayers
from dsc._codecs.learned.network.entropy import Prediction, context_of
from dsc._codecs.learned.network.rate import SymbolChooser
from dsc._codecs.learned.stream_coder import dequantise
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, Tables


class Alone:
    """What is known of a picture by itself.

    Parameters
    ----------
    layers
        The network of its modality.
    """

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    def predict(self, scale: int, state: Tensor, quality: Tensor) -> Prediction:
        """Return what a scale is coded under, before its steps, for a state of the prior."""
        found: Prediction = self.layers.prior.scale(scale)(state, quality)
        return found

    def begin(self, scale: int, hidden: Tensor) -> Tensor:
        """Return the features of a scale before its latent, of those above it."""
        return hidden


class After(Alone):
    """What is known of a frame after another one.

    Parameters
    ----------
    branch
        The branches of its modality.
    past
        The frame before, with all scales: those that are not there as they are predicted.
    """

    def __init__(self, layers: Layers, branch: TemporalLayers, past: Past) -> None:
        super().__init__(layers)
        self._branch, self._past = branch, past

    def predict(self, scale: int, state: Tensor, quality: Tensor) -> Prediction:
        """Return what a scale is coded under, before its steps, for a state of the prior."""
        context = self._branch.context(scale, self._past)
        return self._branch.predict(self.layers, scale, state, quality, context)

    def begin(self, scale: int, hidden: Tensor) -> Tensor:
        """Return the features of a scale before its latent, of those above it."""
        return self._branch.hidden(self.layers, scale, hidden, self._past)


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
        self, given: Alone, x: Tensor, quality: int, kappa: float
    ) -> tuple[list[bytes], list[StreamLatent]]:
        """Code planes (1, c, H, W), H and W multiples of 32.

        Parameters
        ----------
        given
            What is known beside them.
        quality
            1 to 100.
        kappa
            What the encoder weighs rate with (`SymbolChooser`).

        Returns
        -------
        Words by scale, and what they decode to.
        """
        layers, prior = given.layers, given.layers.prior
        features = layers.analysis(x)
        qualities = torch.tensor([quality])
        size = (features[0].shape[2], features[0].shape[3])
        hidden, state = layers.chain.start(1, size), prior.start(qualities, size)
        words, latents = [], []
        for scale, own in enumerate(features):
            hidden = given.begin(scale, hidden)
            start = given.predict(scale, state, qualities)
            walk, coder = StepWalk(prior.scale(scale), start), SymbolEncoder()
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
        given: Alone,
        words: Sequence[Sequence[bytes]],
        qualities: Sequence[int],
        size: tuple[int, int],
    ) -> list[list[StreamLatent]]:
        """Decode the first scales of samples of one size, all of them in step.

        Latents of scales that are not there are those that the ones before predict.

        Parameters
        ----------
        given
            What is known beside the words, as in `encode`.
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
        prior, quality = given.layers.prior, torch.tensor(qualities)
        state = prior.start(quality, (-(-size[0] // UNIT), -(-size[1] // UNIT)))
        found: list[list[StreamLatent]] = []
        for scale in range(SCALES):
            walk = StepWalk(prior.scale(scale), given.predict(scale, state, quality))
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


def scales_left(given: Alone, latents: Sequence[StreamLatent]) -> tuple[ScaleState, ...]:
    """Return what a frame leaves for the next one, by scale.

    Parameters
    ----------
    given
        What it was coded with.
    latents
        Its own, of all scales.
    """
    layers, found = given.layers, []
    coarsest = latents[0].symbols
    hidden = layers.chain.start(1, (coarsest.shape[1], coarsest.shape[2]))
    for scale, latent in enumerate(latents):
        own = StreamLatentBatch.stack([latent])
        begun = given.begin(scale, hidden)
        features = layers.chain.take(scale, begun, dequantise(layers.gain[scale], own))
        found.append(ScaleState(context_of(own.symbols.float(), own.mean.float()), features))
        if scale + 1 < SCALES:
            hidden = layers.chain.rise(scale, features)
    return tuple(found)
