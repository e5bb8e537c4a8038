"""Codecs by name, and what a codec of your own must do."""

from dsc._codecs.base import Array, Codec, Sample, check_array
from dsc._codecs.learned.split import AdaptableCodec, SplitCodec
from dsc._codecs.registry import CODECS, codec_class, codec_from_config, make_codec

__all__ = [
    "CODECS",
    "AdaptableCodec",
    "Array",
    "Codec",
    "Sample",
    "SplitCodec",
    "check_array",
    "codec_class",
    "codec_from_config",
    "make_codec",
]
