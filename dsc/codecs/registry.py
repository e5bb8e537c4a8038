"""Codecs by id. An id is imported only when it is asked for: torch is loaded for learned ones."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from dsc.codecs.base import Codec
from dsc.errors import UnknownCodecError
from dsc.schemas import Task

CODECS: dict[str, str] = {
    "raw": "dsc.codecs.classical.raw:RawCodec",
    "png": "dsc.codecs.classical.png:PngCodec",
    "jpeg": "dsc.codecs.classical.jpeg:JpegCodec",
    "webp": "dsc.codecs.classical.webp:WebpCodec",
    "avif": "dsc.codecs.classical.avif:AvifCodec",
    "av1": "dsc.codecs.classical.av1:Av1Codec",
    "av1-psnr": "dsc.codecs.classical.av1:PsnrAv1Codec",
    "av1-fast": "dsc.codecs.classical.av1:FastAv1Codec",
    "jpeg-bare": "dsc.codecs.classical.jpeg_bare:JpegBareCodec",
    "webp-bare": "dsc.codecs.classical.webp_bare:WebpBareCodec",
    "av1-small": "dsc.codecs.classical.av1_small:Av1SmallCodec",
    "av1-small-restored": "dsc.codecs.restored.codec:RestoredCodec",
    "jxl": "dsc.codecs.classical.jxl:JxlCodec",
    "jxl-lossless": "dsc.codecs.classical.jxl:JxlLosslessCodec",
    "exact": "dsc.codecs.classical.exact:ExactCodec",
    "vector": "dsc.codecs.classical.vector:VectorCodec",
    "residual": "dsc.codecs.residual:ResidualCodec",
    "label-context": "dsc.codecs.label.codec:LabelContextCodec",
    "normal-palette": "dsc.codecs.label.normals:NormalPaletteCodec",
    "independent": "dsc.codecs.learned.independent:IndependentCodec",
    "shared-latent": "dsc.codecs.learned.shared_latent:SharedLatentCodec",
    "chained": "dsc.codecs.learned.chained:ChainedCodec",
}

# Codecs that write what another one writes: archives name them, and nothing new needs them.
SAME_AS: dict[str, str] = {"av1-psnr": "av1"}


def codec_class(codec_id: str) -> type[Codec]:
    """Give the class that is registered under `codec_id`.

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
    """Make the codec that an archive describes."""
    return codec_class(codec_id).from_config(config, weights)
