"""Codecs whose encoder can be told apart from their decoder, and what they offer for it.

Decoding is a fixed function of the decoder's part of the weights. So exemplars name the decoder by
the hash of that part, and an encoder may go on learning: whatever it becomes, what older ones wrote
decodes as it did. Both protocols are optional; a codec without them is its own decoder.
"""

from collections.abc import Mapping
from typing import Any, Protocol, Self, cast, runtime_checkable

from dsc._codecs.registry import codec_class
from dsc._schemas import Task


@runtime_checkable
class SplitCodec(Protocol):
    """A codec class that knows the decoder's part of its weights; both are called on the class."""

    @staticmethod
    def decoder_part(weights: bytes) -> bytes:
        """Return the part of a weights file that decoding takes.

        It is a weights file that `from_config` takes, makes a codec that decodes everything and
        refuses to encode with a `CodecError`, and is the same bytes for all encoders of one
        decoder, on every machine. Of itself it gives itself.
        """
        ...

    @classmethod
    def shipped_weights(cls) -> bytes | None:
        """Return the weights file that comes with dsc; None when there is none."""
        ...


@runtime_checkable
class AdaptableCodec(Protocol):
    """A codec whose encoder can be trained while its decoder is frozen."""

    tasks: tuple[Task, ...]

    def encoder_network(self) -> Any:
        """Return a `torch.nn.Module` that is a `dsc._codecs.learned.network.trainable.Network`.

        Only the encoder's parameters require a gradient.

        Raises
        ------
        CodecError
            When there is no encoder at hand.
        """
        ...

    def with_encoder(self, network: Any, card: Mapping[str, str]) -> Self:
        """Return this codec with what that network's encoder has learned.

        Everything else is this codec's own, bit by bit: `decoder_part` of the weights is the same.
        """
        ...


def decoder_part(codec_id: str, weights: bytes) -> bytes:
    """Return the decoder's part of a codec's weights file.

    All of it where the two cannot be told.
    """
    kind = _split(codec_id)
    return weights if kind is None else kind.decoder_part(weights)


def encoding_weights(codec_id: str, weights: bytes) -> bytes | None:
    """Return weights that encode for the decoder of these.

    These themselves where the encoder is among them; else what comes with dsc, where that has this
    very decoder; else None.
    """
    kind = _split(codec_id)
    if kind is None or kind.decoder_part(weights) != weights:
        return weights
    shipped = kind.shipped_weights()
    return shipped if shipped is not None and kind.decoder_part(shipped) == weights else None


def _split(codec_id: str) -> type[SplitCodec] | None:
    kind = codec_class(codec_id)
    return cast(type[SplitCodec], kind) if hasattr(kind, "decoder_part") else None
