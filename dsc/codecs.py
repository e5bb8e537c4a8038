"""Codecs by name, and what a codec of your own must do and may be able to do."""

from dsc._codecs.base import (
    AdaptableCodec,
    Array,
    Codec,
    JointCodec,
    LatentCodec,
    Sample,
    SplitCodec,
    check_array,
)
from dsc._codecs.registry import CODECS, codec_class, codec_from_config, make_codec

__all__ = [
    "CODECS",
    "AdaptableCodec",
    "Array",
    "Codec",
    "JointCodec",
    "LatentCodec",
    "Sample",
    "SplitCodec",
    "check_array",
    "codec_class",
    "codec_from_config",
    "make_codec",
]
