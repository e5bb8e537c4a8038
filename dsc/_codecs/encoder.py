"""What decides the bytes beside dsc itself: the encoders' libraries, and their versions.

Two versions of libaom, libjxl or PyTorch write different (equally valid) bytes for one picture. An
archive says which ones wrote it, and one that is half made is finished by the same.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from dsc import _plugins
from dsc._schemas import CodecRecord, Effort
from dsc.errors import PlanMismatchError

Encoder = Mapping[str, str]

MASKS = ("brotli", "libjxl")  # invalid pixels beside a lossy picture
LEARNED = ("torch", *MASKS)
LIBRARIES: dict[str, tuple[str, ...]] = {
    "raw": (),
    "png": ("libpng",),
    "jpeg": ("libjpeg_turbo", *MASKS),
    "jpeg-bare": ("libjpeg_turbo", *MASKS),
    "webp": ("libwebp", *MASKS),
    "webp-bare": ("libwebp", *MASKS),
    "avif": ("libavif", *MASKS),
    "av1": ("libavif", *MASKS),
    "av1-psnr": ("libavif", *MASKS),
    "av1-fast": ("libavif", *MASKS),
    "av1-small": ("libavif", *MASKS),
    "av1-layered": ("libavif", *MASKS),
    "av1-seq": ("libaom", "libavif", *MASKS),
    "keep": ("av",),
    "av1-small-restored": ("libavif", *MASKS),
    "jxl": MASKS,
    "jxl-lossless": ("libjxl",),
    "exact": ("libjxl", "libwebp", "zstd"),
    "jpeg-exact": ("libjpeg_turbo", "libjxl", "libwebp", "zstd"),
    "vector": ("brotli",),
    "plain": ("zstandard",),
    "embedding": (),
    "feature-klt": (),
    "derived": ("libavif", "libwebp", "zstd", *MASKS),
    "label-scan": ("libjxl", "zstd"),
    "label-context": ("libjxl", "zstd"),
    "label-layered": ("libjxl", "zstd"),
    "normal-palette": ("libavif", "zstd", *MASKS),
    "surfaces": ("libavif", "libjxl", "zstd", *MASKS),
    "surfaces-scan": ("libavif", "libjxl", "zstd", *MASKS),
    "independent": LEARNED,
    "shared-latent": LEARNED,
    "chained": LEARNED,
    "layered": LEARNED,
    "layered-seq": LEARNED,
    "feature-learned": ("torch",),
}
# what codecs were written at whose configuration says no effort, where that is not DEFAULT
UNSAID = {
    "png": Effort.BEST,
    "av1": Effort.BEST,
    "av1-psnr": Effort.BEST,
    "av1-fast": Effort.FAST,
    "normal-palette": Effort.BEST,
}
WITHOUT_EFFORT = (
    "raw", "vector", "plain", "embedding", "feature-klt", "residual", "derived", "keep",
    "independent", "shared-latent", "chained", "layered", "layered-seq", "feature-learned",
)  # fmt: skip
PACKAGES = ("torch", "av")
SEARCH = "quality-search"  # dsc's own way to find qualities, beside the packages
# by library, the function of imagecodecs that names its version
ASKED = {
    "brotli": "brotli_version",
    "libavif": "avif_version",
    "libjpeg_turbo": "jpeg8_version",
    "libjxl": "jpegxl_version",
    "libpng": "png_version",
    "libwebp": "webp_version",
    "zstd": "zstd_version",
}
INSIDE = (*ASKED, "libaom")  # of imagecodecs
BY_CONFIG = {"starts": "zlib"}  # the library of what a codec's configuration may hold
OF_PYTHON = ("zlib",)


def encoder_of(codecs: Iterable[CodecRecord]) -> dict[str, str]:
    """Name the libraries that these codecs encode with, and their versions here.

    A codec of another package is named by that package.
    """
    names = {"imagecodecs"}
    for record in codecs:
        names |= _libraries(record.id)
        names |= {library for key, library in BY_CONFIG.items() if key in record.config}
        base = record.config.get("base")
        if isinstance(base, dict):
            names |= set(LIBRARIES.get(str(base.get("id")), ()))
    return {name: library_version(name) for name in sorted(names)}


def _libraries(codec_id: str) -> set[str]:
    from dsc._codecs.registry import CODECS

    package = _plugins.plugin_package(_plugins.CODECS, codec_id)
    if codec_id in CODECS or package is None:
        return set(LIBRARIES.get(codec_id, MASKS))
    return {package}


def effort_of(codec_id: str, config: Mapping[str, Any]) -> str | None:
    """Return the effort that a codec has by its configuration; None where it knows of none.

    A codec under a bound has that of the codec that it bounds.
    """
    base = config.get("base")
    if isinstance(base, dict):
        return effort_of(str(base.get("id")), base.get("config") or {})
    if "effort" in config:
        return str(config["effort"])
    if codec_id in WITHOUT_EFFORT or codec_id not in (*LIBRARIES, "residual", "derived"):
        return None
    return str(UNSAID.get(codec_id, Effort.DEFAULT))


def effort_text(codecs: Iterable[CodecRecord]) -> str:
    """Say in a line for people at which effort codecs encode; empty where none knows of any."""
    found = {record.id: effort_of(record.id, record.config) for record in codecs}
    known = {name: effort for name, effort in found.items() if effort is not None}
    if len(set(known.values())) < 2:
        return "".join(f"effort {effort}" for effort in set(known.values()))
    return "effort " + ", ".join(f"{effort} of {name}" for name, effort in known.items())


@lru_cache(maxsize=64)
def library_version(name: str) -> str:
    """Return the version of a package, or of a library inside another; ``none`` without it."""
    if name == "libaom":
        from dsc._codecs.sequence import libaom

        return libaom.version() if libaom.is_there() else "none"
    if name in OF_PYTHON:
        import zlib

        return zlib.ZLIB_RUNTIME_VERSION
    if name not in ASKED:
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(name)
        except PackageNotFoundError:
            return "none"
    import imagecodecs

    from dsc._codecs.classical import libavif

    said: str = getattr(imagecodecs, ASKED[name])()  # "libavif 1.4.0"
    found = said.partition(" ")[2] or said
    return found if name != "libavif" or libavif.is_there() else f"{found} without options"


def encoder_text(encoder: Encoder) -> str:
    """Name libraries and versions in a line for people."""
    inside = ", ".join(f"{name} {value}" for name, value in encoder.items() if name in INSIDE)
    first = f"imagecodecs {encoder.get('imagecodecs', 'none')}" + (f" ({inside})" if inside else "")
    others = [name for name in encoder if name not in (*INSIDE, *PACKAGES, "imagecodecs")]
    return ", ".join([first, *(f"{n} {encoder[n]}" for n in (*PACKAGES, *others) if n in encoder)])


def check_same_encoder(here: Encoder, begun: Encoder, where: str, restart: str) -> None:
    """Check that what was begun is finished by the encoder that began it.

    Parameters
    ----------
    here, begun
        Libraries and versions that would go on, and those that began.
    restart
        The option that throws away what has been made.

    Raises
    ------
    PlanMismatchError
        When they differ; the message names both versions, and says what to do.
    """
    if dict(here) == dict(begun):
        return
    if not begun:
        raise PlanMismatchError(
            f"{where} was begun by a dsc that does not say which encoder it used; here it is "
            f"{encoder_text(here)}. Throw away what has been made with {restart}"
        )
    differ = sorted(name for name in {*here, *begun} if here.get(name) != begun.get(name))
    lines = [f"  {name}: {begun.get(name, 'none')} -> {here.get(name, 'none')}" for name in differ]
    packages = [
        f"'{name}=={begun[name]}'"
        for name in differ
        if name not in (*INSIDE, *OF_PYTHON, SEARCH) and begun.get(name, "none") != "none"
    ]
    install = f"install what began it (pip install {' '.join(packages)}), or " if packages else ""
    raise PlanMismatchError(
        f"{where} was begun with another encoder, which writes other bytes for the same quality:\n"
        + "\n".join(lines)
        + f"\nTo have one encoder in it, {install}throw away what has been made with {restart}"
    )
