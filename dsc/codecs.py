"""Codecs by name, and what a codec of your own must do, and may do beside that.

A package of your own adds a codec by an entry point of the group ``dsc.codecs``;
``examples/third_party_codec`` is a whole one. An entry point of the group ``dsc.rules`` adds a
`Rule`, by which a task follows from others.
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
from dsc._codecs.derived.rule import Own, Rule
from dsc._codecs.registry import CODECS, codec_class, codec_from_config, codec_names, make_codec

__all__ = [
    "CODECS",
    "AdaptableCodec",
    "Array",
    "Codec",
    "EffortCodec",
    "JointCodec",
    "LatentCodec",
    "Own",
    "Rule",
    "Sample",
    "SplitCodec",
    "check_array",
    "codec_class",
    "codec_from_config",
    "codec_names",
    "make_codec",
]
