"""libaom by itself: an encoder told frame by frame what to predict from, and with which quantiser.

Containers and FFmpeg pass neither on. imagecodecs brings libaom for its still pictures; its
functions are found through the module that is linked to it, whatever the library's file is called.
libaom is called through its C interface, of whose structures this file knows the beginnings. It is
used only if its interface is of `ENCODER` and `DECODER`, its default settings lie where they
should, and a picture that it writes comes back; `is_there` tells.

Encoding is a fixed function of planes and settings: one thread, no look-ahead, constant quantisers.

Source: libaom 3.13, ``aom/{aom_codec,aom_encoder,aom_decoder,aom_image,aomcx}.h``.
"""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from dsc._codecs.base import Array

ENCODER, DECODER = 25, 22  # AOM_ENCODER_ABI_VERSION and AOM_DECODER_ABI_VERSION of libaom 3.13
GOOD, CONSTANT_QUALITY = 0, 3  # AOM_USAGE_GOOD_QUALITY, AOM_Q
WIDE_PIXELS = 0x40000  # AOM_CODEC_USE_HIGHBITDEPTH
I420, I444, WIDE = 0x102, 0x106, 0x800  # AOM_IMG_FMT_*
SET_REFERENCES = 133  # AV1E_SET_SVC_REF_FRAME_CONFIG
FULL_RANGE = 1  # AOM_CR_FULL_RANGE
FRAME_PACKET = 0  # AOM_CODEC_CX_FRAME_PKT
NEVER = 9999  # no key frame but the first
STEPS = 63  # quantisers, 0 to 63
NAMES, SLOTS = 7, 8  # references by name, and places where decoded pictures are kept
NO_LAYERS = 0
SPARE = 4096  # bytes after what is known of a structure; libaom's own are smaller than this
# In the order in which references take names: LAST, GOLDEN, ALTREF, then the others.
NAME_ORDER = (0, 3, 6, 1, 2, 4, 5)

_FIRST = (
    "usage", "threads", "profile", "width", "height", "limit", "forced_width", "forced_height",
    "bits", "input_bits",
)  # fmt: skip
_BETWEEN = (
    "error_resilient", "passes", "lag", "drop_threshold", "resize_mode", "resize", "resize_keys",
    "superres_mode", "superres", "superres_keys", "superres_quantiser", "superres_key_quantiser",
    "rate_control",
)  # fmt: skip
_LAST = (
    "bit_rate", "least_quantiser", "most_quantiser", "undershoot", "overshoot", "buffer",
    "buffer_first", "buffer_best", "bias", "least_section", "most_section", "forward_keys",
    "key_mode", "least_key_distance", "most_key_distance", "switch_distance", "switch_mode",
    "large_tiles", "monochrome",
)  # fmt: skip
_DEFAULTS = {
    "usage": 0, "width": 320, "height": 240, "bits": 8, "input_bits": 8, "time_from": 1,
    "time_to": 30, "lag": 35, "resize": 8, "superres": 8, "bit_rate": 256, "most_quantiser": 63,
    "undershoot": 25, "buffer": 6000, "bias": 50, "key_mode": 1, "most_key_distance": NEVER,
    "switch_mode": 1, "monochrome": 0,
}  # fmt: skip


class _Buffer(ctypes.Structure):
    _fields_: ClassVar = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class _Settings(ctypes.Structure):
    """The beginning of ``aom_codec_enc_cfg``."""

    _fields_: ClassVar = [
        *((name, ctypes.c_uint) for name in _FIRST),
        ("time_from", ctypes.c_int),
        ("time_to", ctypes.c_int),
        *((name, ctypes.c_uint) for name in _BETWEEN),
        ("statistics", _Buffer),
        ("first_pass", _Buffer),
        *((name, ctypes.c_uint) for name in _LAST),
        ("rest", ctypes.c_uint8 * SPARE),
    ]


class _Image(ctypes.Structure):
    """The beginning of ``aom_image``."""

    _fields_: ClassVar = [
        ("format", ctypes.c_uint),
        *((name, ctypes.c_uint) for name in ("primaries", "transfer", "matrix", "monochrome")),
        *((name, ctypes.c_uint) for name in ("chroma_place", "range", "width", "height", "bits")),
        *((name, ctypes.c_uint) for name in ("shown_width", "shown_height")),
        *((name, ctypes.c_uint) for name in ("display_width", "display_height")),
        *((name, ctypes.c_uint) for name in ("chroma_shift_x", "chroma_shift_y")),
        ("planes", ctypes.c_void_p * 3),
        ("strides", ctypes.c_int * 3),
        ("size", ctypes.c_size_t),
        ("rest", ctypes.c_uint8 * SPARE),
    ]


class _Packet(ctypes.Structure):
    """The beginning of ``aom_codec_cx_pkt`` that holds a frame."""

    _fields_: ClassVar = [
        ("kind", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
    ]


class _References(ctypes.Structure):
    """``aom_svc_ref_frame_config``: which names are used, their slots, the slots to refresh."""

    _fields_: ClassVar = [
        ("used", ctypes.c_int * NAMES),
        ("slots", ctypes.c_int * NAMES),
        ("refreshed", ctypes.c_int * SLOTS),
    ]


class _DecoderSettings(ctypes.Structure):
    """``aom_codec_dec_cfg``."""

    _fields_: ClassVar = [
        *((name, ctypes.c_uint) for name in ("threads", "width", "height", "eight_bits"))
    ]


@dataclass(frozen=True)
class Kind:
    """What the pictures of an encoder have in common.

    Attributes
    ----------
    width, height
        Pixels, 1 to 65,536.
    bits
        8, 10 or 12.
    monochrome
        Whether there is one plane; else there are three of one size (4:4:4).
    """

    width: int
    height: int
    bits: int
    monochrome: bool


@dataclass(frozen=True)
class Search:
    """How libaom looks for fewer bytes.

    Attributes
    ----------
    speed
        libaom's ``cpu-used``, 0 to 9.
    options
        Its options, by name.
    """

    speed: int
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """What a frame is predicted from.

    Attributes
    ----------
    slots
        Slots of the decoded pictures, the most important first; none is a key frame.
    refreshed
        The slot that keeps the frame when it is decoded; None where nothing is predicted from it.
    """

    slots: tuple[int, ...] = ()
    refreshed: int | None = None


class FrameEncoder:
    """An encoder of the frames of one group; a context manager.

    Parameters
    ----------
    kind
        Of all frames.
    search
        How it looks for fewer bytes.

    Raises
    ------
    ValueError
        When libaom refuses something; the message is its own.
    """

    def __init__(self, kind: Kind, search: Search) -> None:
        self._library, self._kind = _library(), kind
        self._context = ctypes.create_string_buffer(SPARE)
        self._settings = settings = _default_settings(self._library)
        settings.threads = 1
        settings.width, settings.height = kind.width, kind.height
        settings.bits = settings.input_bits = kind.bits
        settings.profile = 2 if kind.bits == 12 else 0 if kind.monochrome else 1
        settings.monochrome = int(kind.monochrome)
        settings.lag, settings.rate_control = 0, CONSTANT_QUALITY
        settings.least_key_distance, settings.most_key_distance = 0, NEVER
        error = self._library.aom_codec_enc_init_ver(
            self._context, self._library.aom_codec_av1_cx(), ctypes.byref(settings),
            WIDE_PIXELS if kind.bits > 8 else 0, ENCODER,
        )  # fmt: skip
        self._is_open, self._frames = True, 0
        try:
            self._check(error, f"an encoder of {kind}")
            self._set("row-mt", "0")
            self._set("cpu-used", str(search.speed))
            for name, value in search.options.items():
                self._set(name, value)
        except BaseException:
            self.close()
            raise

    def encode(self, planes: Sequence[Array], quantiser: int, references: References) -> bytes:
        """Encode a frame.

        Parameters
        ----------
        planes
            One, or three, (H, W), uint8, or uint16 of more than 8 bits.
        quantiser
            0 to 63.
        references
            What it is predicted from; the first frame is a key frame, whatever they say.

        Returns
        -------
        bytes
            A temporal unit.
        """
        self._settings.least_quantiser = self._settings.most_quantiser = quantiser
        error = self._library.aom_codec_enc_config_set(self._context, ctypes.byref(self._settings))
        self._check(error, f"quantiser {quantiser}")
        if references.slots:
            told = _references(references)
            error = self._library.aom_codec_control(
                ctypes.byref(self._context), SET_REFERENCES, ctypes.byref(told)
            )
            self._check(error, f"references {references}")
        image, kept = _image(planes, self._kind)
        error = self._library.aom_codec_encode(
            self._context, ctypes.byref(image), self._frames, 1, NO_LAYERS
        )
        del kept
        self._check(error, f"frame {self._frames}")
        self._frames += 1
        packets = list(self._packets())
        if len(packets) != 1:
            raise ValueError(f"libaom gave {len(packets)} packets for a frame, expected 1")
        return packets[0]

    def _packets(self) -> Iterator[bytes]:
        at = ctypes.c_void_p()
        while found := self._library.aom_codec_get_cx_data(self._context, ctypes.byref(at)):
            if found[0].kind == FRAME_PACKET:
                yield ctypes.string_at(found[0].data, found[0].size)

    def _set(self, name: str, value: str) -> None:
        error = self._library.aom_codec_set_option(self._context, name.encode(), value.encode())
        self._check(error, f"option {name}={value}")

    def _check(self, error: int, what: str) -> None:
        if error:
            raise ValueError(f"libaom refuses {what}: {_message(self._library, self._context)}")

    def close(self) -> None:
        """Give the memory back."""
        if self._is_open:
            self._is_open = False
            self._library.aom_codec_destroy(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class FrameDecoder:
    """libaom's decoder, for where there is no dav1d; a context manager."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = ctypes.create_string_buffer(SPARE)
        settings = _DecoderSettings(threads=1, eight_bits=1)
        error = self._library.aom_codec_dec_init_ver(
            self._context, self._library.aom_codec_av1_dx(), ctypes.byref(settings), 0, DECODER
        )
        if error:
            raise ValueError(f"libaom: {_message(self._library, self._context)}")

    def decode(self, unit: bytes, kind: Kind) -> tuple[Array, ...]:
        """Decode a temporal unit that shows one picture of a kind; its planes, copied."""
        error = self._library.aom_codec_decode(self._context, unit, len(unit), None)
        if error:
            raise ValueError(f"libaom: {_message(self._library, self._context)}")
        at = ctypes.c_void_p()
        found = self._library.aom_codec_get_frame(self._context, ctypes.byref(at))
        if not found:
            raise ValueError("libaom shows no picture")
        planes = _planes(found[0], kind)
        if self._library.aom_codec_get_frame(self._context, ctypes.byref(at)):
            raise ValueError("libaom shows more than one picture")
        return planes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._library.aom_codec_destroy(self._context)


@cache
def is_there() -> bool:
    """Tell whether libaom can be called, and a picture that it writes comes back."""
    with suppress(AttributeError, OSError, ImportError, ValueError):
        _library()
        return _is_faithful()
    return False


def version() -> str:
    """Return libaom's version."""
    return str(_library().aom_codec_version_str().decode())


def _is_faithful() -> bool:
    """Encode a key frame and one that is predicted from it, and look at both as decoded."""
    kind = Kind(16, 16, 8, monochrome=False)
    slope = np.add.outer(np.arange(16) * 5, np.arange(16) * 7).astype(np.uint8)
    frames = [[slope, slope[::-1], slope.T], [slope + 20, slope[::-1], slope.T]]
    with FrameEncoder(kind, Search(8)) as encoder, FrameDecoder() as decoder:
        for planes, references in zip(frames, (References(), References((0,), 1)), strict=True):
            found = decoder.decode(encoder.encode(planes, 8, references), kind)
            for plane, wanted in zip(found, planes, strict=True):
                if np.abs(plane.astype(int) - wanted).max() > 16:
                    return False
    return True


@cache
def _library() -> Any:
    """Return libaom's functions, found through the module that is linked to it.

    Raises
    ------
    AttributeError, OSError, ImportError
        When it is not there.
    ValueError
        When its settings are not known.
    """
    from imagecodecs import _avif

    library = ctypes.CDLL(_avif.__file__)
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    signatures: dict[str, tuple[Any, tuple[Any, ...] | None]] = {
        "aom_codec_av1_cx": (pointer, ()),
        "aom_codec_av1_dx": (pointer, ()),
        "aom_codec_version_str": (text, ()),
        "aom_codec_error": (text, (pointer,)),
        "aom_codec_error_detail": (text, (pointer,)),
        "aom_codec_enc_config_default": (integer, (pointer, pointer, ctypes.c_uint)),
        "aom_codec_enc_config_set": (integer, (pointer, pointer)),
        "aom_codec_enc_init_ver": (
            integer, (pointer, pointer, pointer, ctypes.c_long, integer),
        ),
        "aom_codec_set_option": (integer, (pointer, text, text)),
        "aom_codec_control": (integer, None),  # takes any number of arguments
        "aom_codec_encode": (
            integer, (pointer, pointer, ctypes.c_int64, ctypes.c_ulong, ctypes.c_long),
        ),
        "aom_codec_get_cx_data": (ctypes.POINTER(_Packet), (pointer, pointer)),
        "aom_codec_dec_init_ver": (
            integer, (pointer, pointer, pointer, ctypes.c_long, integer),
        ),
        "aom_codec_decode": (integer, (pointer, text, ctypes.c_size_t, pointer)),
        "aom_codec_get_frame": (ctypes.POINTER(_Image), (pointer, pointer)),
        "aom_codec_destroy": (integer, (pointer,)),
    }  # fmt: skip
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        if arguments is not None:
            function.argtypes = arguments
    settings = _default_settings(library)
    if any(getattr(settings, name) != value for name, value in _DEFAULTS.items()):
        raise ValueError("settings of libaom that are not known")
    return library


def _default_settings(library: Any) -> _Settings:
    settings = _Settings()
    error = library.aom_codec_enc_config_default(
        library.aom_codec_av1_cx(), ctypes.byref(settings), GOOD
    )
    if error:
        raise ValueError("libaom gives no settings")
    return settings


def _message(library: Any, context: Any) -> str:
    said = library.aom_codec_error_detail(context) or library.aom_codec_error(context) or b""
    return str(said.decode(errors="replace"))


def _references(references: References) -> _References:
    """Give names to slots; those left over are the first slot's, but for one.

    A slot is refreshed only where some name stands for it, so the last name, which is not used,
    stands for the slot to be refreshed.
    """
    told, slots = _References(), references.slots
    for place, name in enumerate(NAME_ORDER):
        told.used[name] = int(place < len(slots))
        told.slots[name] = slots[place] if place < len(slots) else slots[0]
    if references.refreshed is not None:
        if len(slots) == NAMES:
            raise ValueError(f"{NAMES} references leave no name for the slot that is refreshed")
        told.slots[NAME_ORDER[-1]] = references.refreshed
        told.refreshed[references.refreshed] = 1
    return told


def _image(planes: Sequence[Array], kind: Kind) -> tuple[_Image, list[Array]]:
    """Describe planes; give the arrays too that must live as long as the description."""
    dtype = np.dtype(np.uint8 if kind.bits == 8 else np.uint16)
    rows = [np.ascontiguousarray(plane) for plane in planes]
    if len(rows) != (1 if kind.monochrome else 3):
        raise ValueError(f"{len(rows)} planes, but {kind}")
    if any(row.shape != (kind.height, kind.width) or row.dtype != dtype for row in rows):
        raise ValueError(f"planes of {rows[0].dtype} {rows[0].shape}, but {kind}")
    if kind.monochrome:
        half = ((kind.height + 1) // 2, (kind.width + 1) // 2)
        rows += [np.full(half, 1 << (kind.bits - 1), dtype)] * 2
    image = _Image(
        format=(I420 if kind.monochrome else I444) | (WIDE if kind.bits > 8 else 0),
        primaries=2, transfer=2, matrix=2, monochrome=int(kind.monochrome), range=FULL_RANGE,
        width=kind.width, height=kind.height, bits=kind.bits,
        shown_width=kind.width, shown_height=kind.height,
        chroma_shift_x=int(kind.monochrome), chroma_shift_y=int(kind.monochrome),
    )  # fmt: skip
    for number, row in enumerate(rows):
        image.planes[number], image.strides[number] = row.ctypes.data, row.strides[0]
    return image, rows


def _planes(image: _Image, kind: Kind) -> tuple[Array, ...]:
    """Copy the planes of a decoded picture."""
    said = (image.shown_width, image.shown_height, image.bits, bool(image.monochrome))
    if said != (kind.width, kind.height, kind.bits, kind.monochrome):
        raise ValueError(f"the picture is {said}, expected {kind}")
    wide = bool(image.format & WIDE)
    if image.format & ~WIDE not in (I420, I444) or wide is not (kind.bits > 8):
        raise ValueError(f"a picture of format {image.format:#x}")
    dtype = np.dtype(np.uint16 if wide else np.uint8)
    found = []
    for number in range(1 if kind.monochrome else 3):
        stride = image.strides[number]
        size = stride * (kind.height - 1) + kind.width * dtype.itemsize
        memory = (ctypes.c_uint8 * size).from_address(image.planes[number])
        shape, strides = (kind.height, kind.width), (stride, dtype.itemsize)
        found.append(np.ndarray(shape, dtype, memory, 0, strides).copy())
    return tuple(found)
