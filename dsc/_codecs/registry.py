"""Codecs by id. An id is imported only when it is asked for: torch is loaded for learned ones."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from dsc._codecs.base import Codec
from dsc._schemas import Task
from dsc.errors import UnknownCodecError

CODECS: dict[str, str] = {
    "raw": "dsc._codecs.classical.raw:RawCodec",
    "png": "dsc._codecs.classical.png:PngCodec",
    "jpeg": "dsc._codecs.classical.jpeg:JpegCodec",
    "webp": "dsc._codecs.classical.webp:WebpCodec",
    "avif": "dsc._codecs.classical.avif:AvifCodec",
    "av1": "dsc._codecs.classical.av1:Av1Codec",
    "av1-psnr": "dsc._codecs.classical.av1:PsnrAv1Codec",
    "av1-fast": "dsc._codecs.classical.av1:FastAv1Codec",
    "jpeg-bare": "dsc._codecs.classical.jpeg_bare:JpegBareCodec",
    "webp-bare": "dsc._codecs.classical.webp_bare:WebpBareCodec",
    "av1-small": "dsc._codecs.classical.av1_small:Av1SmallCodec",
    "av1-small-restored": "dsc._codecs.restored.codec:RestoredCodec",
    "jxl": "dsc._codecs.classical.jxl:JxlCodec",
    "jxl-lossless": "dsc._codecs.classical.jxl:JxlLosslessCodec",
    "exact": "dsc._codecs.classical.exact:ExactCodec",
    "vector": "dsc._codecs.classical.vector:VectorCodec",
    "residual": "dsc._codecs.residual.codec:ResidualCodec",
    "label-context": "dsc._codecs.label.codec:LabelContextCodec",
    "normal-palette": "dsc._codecs.label.normals:NormalPaletteCodec",
    "independent": "dsc._codecs.learned.codec:IndependentCodec",
    "shared-latent": "dsc._codecs.learned.codec:SharedLatentCodec",
    "chained": "dsc._codecs.learned.codec:ChainedCodec",
}

# Codecs that write what another one writes: archives name them, and nothing new needs them.
SAME_AS: dict[str, str] = {"av1-psnr": "av1"}


def codec_class(codec_id: str) -> type[Codec]:
    """Return the class that is registered under `codec_id`.

    Raises
    ------
    UnknownCodecError
        When there is none; the message lists those there are.
    """
    if codec_id not in CODECS:
        raise UnknownCodecError(f"unknown codec {codec_id!r}; known: {', '.join(CODECS)}")
    module, _, name = CODECS[codec_id].partition(":")
    found: type[Codec] = getattr(import_module(module), name)
    return found


def make_codec(codec_id: str, tasks: Sequence[Task]) -> Codec:
    """Make a codec for `tasks` with the weights that come with dsc."""
    return codec_class(codec_id).for_tasks(tasks)


def codec_from_config(codec_id: str, config: Mapping[str, Any], weights: bytes | None) -> Codec:
    """Make the codec that an archive describes.

    Parameters
    ----------
    codec_id
        Registry name.
    config
        What the codec's `config` gave.
    weights
        What its `weights` gave: a safetensors file, or None.

    Raises
    ------
    UnknownCodecError
        When no codec has this name.
    """
    return codec_class(codec_id).from_config(config, weights)
