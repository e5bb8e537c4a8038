"""Codecs by id. An id is imported only when it is asked for: torch is loaded for learned ones.

Other packages add codecs by entry points of the group ``dsc.codecs``, each of which names a class
that does what `dsc.codecs.Codec` says, under its `id`; ``examples/third_party_codec`` is a whole
one. An archive names its codecs by id, so an id of dsc's own always means dsc's own, and an id that
two packages declare is refused.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, cast

from dsc import _plugins
from dsc._codecs.base import Codec
from dsc._extras import is_installed, needing
from dsc._schemas import Task
from dsc.errors import UnknownCodecError, UsageError

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
    "av1-layered": "dsc._codecs.classical.av1_layered:Av1LayeredCodec",
    "av1-seq": "dsc._codecs.sequence.codec:Av1SeqCodec",
    "keep": "dsc._codecs.sequence.kept:KeepCodec",
    "av1-small-restored": "dsc._codecs.restored.codec:RestoredCodec",
    "jxl": "dsc._codecs.classical.jxl:JxlCodec",
    "jxl-lossless": "dsc._codecs.classical.jxl:JxlLosslessCodec",
    "exact": "dsc._codecs.classical.exact:ExactCodec",
    "jpeg-exact": "dsc._codecs.classical.jpeg_exact:JpegExactCodec",
    "vector": "dsc._codecs.classical.vector:VectorCodec",
    "plain": "dsc._codecs.classical.plain:PlainCodec",
    "embedding": "dsc._codecs.embedding.codec:EmbeddingCodec",
    "feature-klt": "dsc._codecs.klt.codec:FeatureKltCodec",
    "residual": "dsc._codecs.residual.codec:ResidualCodec",
    "derived": "dsc._codecs.derived.codec:DerivedCodec",
    "label-scan": "dsc._codecs.label.scan:LabelScanCodec",
    "label-context": "dsc._codecs.label.codec:LabelContextCodec",
    "label-layered": "dsc._codecs.label.layered:LabelLayeredCodec",
    "normal-palette": "dsc._codecs.label.normals:NormalPaletteCodec",
    "surfaces": "dsc._codecs.surfaces.codec:SurfacesCodec",
    "surfaces-scan": "dsc._codecs.surfaces.codec:SurfacesScanCodec",
    "independent": "dsc._codecs.learned.codec:IndependentCodec",
    "shared-latent": "dsc._codecs.learned.codec:SharedLatentCodec",
    "chained": "dsc._codecs.learned.codec:ChainedCodec",
    "layered": "dsc._codecs.learned.layered.codec:LayeredNetworkCodec",
    "layered-seq": "dsc._codecs.learned.layered.sequence:LayeredSequenceCodec",
    "feature-learned": "dsc._codecs.learned.feature.codec:FeatureLearnedCodec",
}
"""Of each codec of dsc's own: its id, and the class that is imported when the id is asked for."""

# Codecs that are networks, and need torch to write and to read.
NETWORKS = (
    "av1-small-restored", "independent", "shared-latent", "chained", "layered", "layered-seq",
    "feature-learned",
)  # fmt: skip

# Codecs that write what another one writes: archives name them, and nothing new needs them.
SAME_AS: dict[str, str] = {"av1-psnr": "av1"}

# Codecs that write what another one writes at an effort.
AT_AN_EFFORT: dict[str, str] = {"av1-fast": "av1"}

# Codecs that write what another one writes, and a coarse version before it.
LAYERED: dict[str, str] = {"av1-layered": "av1", "label-layered": "label-context"}

# Codecs of groups of samples, which are nothing new for a sample alone.
OF_GROUPS = ("av1-seq", "keep", "layered-seq")

# Codecs around another one, which no list of tasks makes.
AROUND = ("residual", "derived")

# Codecs that keep the files of pictures, and of what is none write what another one writes.
OF_FILES: dict[str, str] = {"jpeg-exact": "exact"}

# Codecs that give every map back bit for bit, whatever quality is asked for.
LOSSLESS = (
    "raw", "png", "jxl-lossless", "label-scan", "label-context", "label-layered", "vector",
    "plain", "exact", "jpeg-exact", "keep",
)  # fmt: skip

MEMBERS = (
    "for_tasks", "from_config", "streams", "encode_batch", "decode_batch", "config", "weights",
)  # fmt: skip


def codec_names() -> tuple[str, ...]:
    """List the ids there are: dsc's own, then those of installed packages."""
    return (*CODECS, *_plugins.plugin_names(_plugins.CODECS, CODECS))


def nameable_codecs() -> tuple[str, ...]:
    """List the ids that may be asked for: all but those around another codec."""
    return tuple(name for name in codec_names() if name not in AROUND)


def is_codec(codec_id: str) -> bool:
    """Tell whether there is a codec of that id, dsc's own or an installed package's."""
    return codec_id in CODECS or codec_id in codec_names()


def distinct_codecs() -> tuple[str, ...]:
    """List dsc's own codecs of single samples that work here and write what no other one writes."""
    left_out = {*SAME_AS, *AT_AN_EFFORT, *LAYERED, *OF_GROUPS, *AROUND, *OF_FILES}
    left_out |= set() if is_installed("torch") else set(NETWORKS)
    return tuple(name for name in CODECS if name not in left_out)


def codec_class(codec_id: str) -> type[Codec]:
    """Return the class that is registered under `codec_id`.

    Raises
    ------
    UnknownCodecError
        When there is none; the message lists those there are.
    UsageError
        When it is another package's and cannot be imported, is declared by two, or is no codec of
        that id; the message names the package.
    MissingPackageError
        When it is a network, and torch is not installed.
    """
    if codec_id in CODECS:
        module, _, name = CODECS[codec_id].partition(":")
        with needing("torch", f"codec {codec_id!r}"):
            own: type[Codec] = getattr(import_module(module), name)
        return own
    found = _plugins.load_plugin(_plugins.CODECS, codec_id)
    if found is None:
        raise UnknownCodecError(f"unknown codec {codec_id!r}; known: {', '.join(codec_names())}")
    lacking = [name for name in MEMBERS if not callable(getattr(found, name, None))]
    own_id = getattr(found, "id", None)
    if lacking or own_id != codec_id:
        package = _plugins.plugin_package(_plugins.CODECS, codec_id)
        wrong = f"lacks {', '.join(lacking)}" if lacking else f"calls itself {own_id!r}"
        raise UsageError(f"codec {codec_id!r} of {package} {wrong}; see dsc.codecs.Codec")
    return cast(type[Codec], found)


def make_codec(codec_id: str, tasks: Sequence[Task]) -> Codec:
    """Make a codec for `tasks` with the weights that come with it."""
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
        When it is none of dsc's own, and no package that is installed here brings it.
    """
    check_there(codec_id, "this archive needs")
    return codec_class(codec_id).from_config(config, weights)


def check_there(codec_id: str, what: str) -> None:
    """Check that a codec that something was written with is there.

    Parameters
    ----------
    what
        What needs the codec; begins the message.

    Raises
    ------
    UnknownCodecError
        When it is not; the message says how to get it.
    """
    if not is_codec(codec_id):
        raise UnknownCodecError(
            f"{what} the codec {codec_id!r}, which this dsc has not and no installed package "
            f"brings (known: {', '.join(codec_names())}); install the package that brings it, "
            "which `dsc info` of an archive names among its encoders, or a newer dsc"
        )
