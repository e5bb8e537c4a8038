"""Codecs by name, and what a codec of your own must do, and may do beside that.

A package of your own adds a codec by an entry point of the group ``dsc.codecs``;
``examples/third_party_codec`` is a whole one.
"""

from dsc._codecs.base import (
    AdaptableCodec,
    Array,
    Codec,
    EffortCodec,
    JointCodec,
    LatentCodec,
    Sample,
    SplitCodec,
    check_array,
)
from dsc._codecs.registry import CODECS, codec_class, codec_from_config, codec_names, make_codec

__all__ = [
    "CODECS",
    "AdaptableCodec",
    "Array",
    "Codec",
    "EffortCodec",
    "JointCodec",
    "LatentCodec",
    "Sample",
    "SplitCodec",
    "check_array",
    "codec_class",
    "codec_from_config",
    "codec_names",
    "make_codec",
]
