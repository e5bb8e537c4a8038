"""Weights by codec id: the part that decodes, and weights that encode for such a part."""

from dsc._codecs.base import SplitCodec
from dsc._codecs.registry import codec_class


def decoder_part(codec_id: str, weights: bytes) -> bytes:
    """Return the decoder's part of a codec's weights file; all of it where it cannot be told."""
    kind: object = codec_class(codec_id)
    return kind.decoder_part(weights) if isinstance(kind, SplitCodec) else weights


def encoding_weights(codec_id: str, weights: bytes) -> bytes | None:
    """Return weights that encode for the decoder of these.

    These themselves where the encoder is among them; else what comes with dsc, where that has this
    very decoder; else None.
    """
    kind: object = codec_class(codec_id)
    if not isinstance(kind, SplitCodec) or kind.decoder_part(weights) != weights:
        return weights
    shipped = kind.shipped_weights()
    return shipped if shipped is not None and kind.decoder_part(shipped) == weights else None
