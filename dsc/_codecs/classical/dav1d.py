"""dav1d by itself: the planes of AV1 pictures as they were coded, one context of a kind a thread.

libavif makes a decoder for every picture, wants a container around it, spreads a gray picture of 12
bits over three channels, and copies. dav1d alone takes 0.45 of its time for depth of 640×480 pixels
and 0.85 for RGB. What a decoder gives is fixed by the standard, so that the integers are the same.

No library is installed for this: imagecodecs brings a libavif that has dav1d inside; else the
system's is taken. It is called through its C interface (`dav1d/dav1d.h`), of whose structures this
file knows the beginnings. A library is used only if it says that its interface is of `MAJOR`, its
default settings lie where they should, and it decodes a picture that is known; else everything goes
through libavif, as it does with DSC_DAV1D=off in the environment.

Source: dav1d 1.5, include/dav1d/{dav1d,data,picture,headers}.h.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, ClassVar, NamedTuple

from dsc._codecs.classical.av1_still import SequenceHeader

MAJOR = 7  # of the interface: dav1d 1.3 to 1.5
SYSTEM = ("libdav1d.so.7", "libdav1d.7.dylib")
GRAY, FULL = 0, 3  # layouts: one plane; three of one size (4:4:4)
KNOWN_HEADER = SequenceHeader(1, 0, 8, 8, 8, monochrome=False)
SPARE = 1024  # bytes after what is known of a structure; dav1d's own are smaller than this
FIRST = (
    "n_threads", "max_frame_delay", "apply_grain", "operating_point", "all_layers",
    "frame_size_limit",
)  # fmt: skip
DEFAULTS = (0, 0, 1, 0, 1, 0)
# 8×8 pixels without loss, and how much the values of each plane grow across and down
KNOWN_SLOPES = ((0, 30), (15, 15), (30, 0))
KNOWN = bytes.fromhex(
    "12000a053808bf6090325a1000008bd6f8a06693299521463bca76904559af493752e4e7cff82a6b5fff"
    "fafe8b5d37b37e549f9d023a83355544c575e929b510225d8692dc3a6cc6e74e0248569f85d510849162"
    "9bdb4178777b36f20e536d5bc297894e97"
)


class Picture(NamedTuple):
    """A decoded picture; its planes are there as long as `decoded` is not left.

    Attributes
    ----------
    planes
        Rows one `strides` apart: of luma, and of both others. One plane where it is gray.
    strides
        Bytes from row to row, of the first plane and of the others.
    width, height
        Pixels.
    bits
        8, 10 or 12; more than 8 are two bytes a value.
    """

    planes: tuple[Any, ...]
    strides: tuple[int, int]
    width: int
    height: int
    bits: int


class _Settings(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, ctypes.c_int) for name in FIRST),
        ("rest", ctypes.c_uint8 * SPARE),
    ]


class _Data(ctypes.Structure):
    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("rest", ctypes.c_uint8 * SPARE),
    ]


class _Picture(ctypes.Structure):
    _fields_: ClassVar = [
        ("sequence_header", ctypes.c_void_p),
        ("frame_header", ctypes.c_void_p),
        ("data", ctypes.c_void_p * 3),
        ("stride", ctypes.c_ssize_t * 2),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("bits", ctypes.c_int),
        ("rest", ctypes.c_uint8 * SPARE),
    ]


class _Context:
    """One decoder, for pictures of one kind: it keeps their memory from picture to picture."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library, self._pointer = library, ctypes.c_void_p()
        settings = _Settings()
        library.dav1d_default_settings(ctypes.byref(settings))
        settings.n_threads = settings.max_frame_delay = 1
        if library.dav1d_open(ctypes.byref(self._pointer), ctypes.byref(settings)):
            raise MemoryError("dav1d could not be opened")

    def forget(self) -> None:
        """Keep nothing of the pictures before, from which the next one could be predicted."""
        self._library.dav1d_flush(self._pointer)

    @contextmanager
    def decoded(self, obus: bytes) -> Iterator[_Picture]:
        library, data, found = self._library, _Data(), _Picture()
        memory = library.dav1d_data_create(ctypes.byref(data), len(obus))
        if not memory:
            raise MemoryError(f"dav1d has no room for {len(obus)} bytes")
        ctypes.memmove(memory, obus, len(obus))
        try:
            error = library.dav1d_send_data(self._pointer, ctypes.byref(data))
            error = error or library.dav1d_get_picture(self._pointer, ctypes.byref(found))
            if error:
                raise ValueError(f"dav1d: {os.strerror(-error)}")
            yield found
        except BaseException:
            self.forget()
            raise
        finally:
            library.dav1d_data_unref(ctypes.byref(data))
            library.dav1d_picture_unref(ctypes.byref(found))

    def __del__(self) -> None:
        if self._pointer:
            self._library.dav1d_close(ctypes.byref(self._pointer))


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.by_kind: dict[tuple[int, bool, bool], _Context] = {}

    def get(self, library: ctypes.CDLL, header: SequenceHeader, follow: bool) -> _Context:
        """Return the context of pictures of a kind, which follow one another or do not."""
        kind = (header.bits, header.monochrome, follow)
        if kind not in self.by_kind:
            self.by_kind[kind] = _Context(library)
        return self.by_kind[kind]


_contexts = _Contexts()


def version() -> str | None:
    """Return the version of dav1d, and where it is from; None where libavif does it all."""
    found = _library()
    return None if found is None else found[1]


@contextmanager
def decoded(obus: bytes, header: SequenceHeader) -> Iterator[Picture | None]:
    """Decode a still picture; None where its planes are not of one size.

    Parameters
    ----------
    obus
        A temporal unit.
    header
        What its sequence header says.

    Raises
    ------
    ValueError
        When it does not decode, or to another picture than its header says.
    """
    with _contexts.get(_needed(), header, follow=False).decoded(obus) as picture:
        yield _checked(picture, header)


class Following:
    """Decodes pictures that follow one another: each may be predicted from those before it.

    One at a time in a thread.

    Parameters
    ----------
    header
        What their sequence header says.
    """

    def __init__(self, header: SequenceHeader) -> None:
        self._context, self._header = _contexts.get(_needed(), header, follow=True), header
        self._context.forget()

    @contextmanager
    def decoded(self, obus: bytes) -> Iterator[Picture]:
        """Decode the next picture; its planes are there as long as this is not left.

        Raises
        ------
        ValueError
            When it does not decode, or to another picture than the header says.
        """
        with self._context.decoded(obus) as found:
            picture = _checked(found, self._header)
            if picture is None:
                raise ValueError("the picture's planes are not of one size")
            yield picture


def _needed() -> ctypes.CDLL:
    found = _library()
    if found is None:
        raise RuntimeError("there is no dav1d: ask `version` first")
    return found[0]


def _checked(found: _Picture, header: SequenceHeader) -> Picture | None:
    said = (header.width, header.height, header.bits, header.monochrome)
    if (found.width, found.height, found.bits, found.layout == GRAY) != said:
        raise ValueError(
            f"the picture is {found.height}×{found.width} of {found.bits} bits, its header says "
            f"{header.height}×{header.width} of {header.bits}"
        )
    if found.layout not in (GRAY, FULL):
        return None
    row = found.width * (1 if found.bits == 8 else 2)
    strides = (found.stride[0], found.stride[0] if found.layout == GRAY else found.stride[1])
    planes = []
    for number in range(1 if found.layout == GRAY else 3):
        stride = strides[min(number, 1)]
        if not found.data[number] or stride < row:
            raise ValueError(f"plane {number} has rows of {stride} bytes, expected {row}")
        size = stride * (found.height - 1) + row
        planes.append((ctypes.c_uint8 * size).from_address(found.data[number]))
    return Picture(tuple(planes), strides, found.width, found.height, found.bits)


@cache
def _library() -> tuple[ctypes.CDLL, str] | None:
    """Find a dav1d that can be used."""
    if os.environ.get("DSC_DAV1D", "").lower() in ("0", "off", "no"):
        return None
    for name, where in _places():
        with suppress(OSError, AttributeError, ValueError, MemoryError):
            library = ctypes.CDLL(name)
            release = _open(library)
            return library, f"{release} ({where})"
    return None


def _places() -> Iterator[tuple[str, str]]:
    with suppress(ImportError, AttributeError):
        from imagecodecs import _avif

        yield _avif.__file__, "imagecodecs"
    yield from ((name, "system") for name in SYSTEM)


def _open(library: ctypes.CDLL) -> str:
    """Say what the functions take, and try them; return the release."""
    pointer = ctypes.c_void_p
    for name, kinds, result in (
        ("dav1d_version", (), ctypes.c_char_p),
        ("dav1d_version_api", (), ctypes.c_uint),
        ("dav1d_default_settings", (pointer,), None),
        ("dav1d_open", (pointer, pointer), ctypes.c_int),
        ("dav1d_close", (pointer,), None),
        ("dav1d_flush", (pointer,), None),
        ("dav1d_data_create", (pointer, ctypes.c_size_t), pointer),
        ("dav1d_data_unref", (pointer,), None),
        ("dav1d_send_data", (pointer, pointer), ctypes.c_int),
        ("dav1d_get_picture", (pointer, pointer), ctypes.c_int),
        ("dav1d_picture_unref", (pointer,), None),
    ):
        function = getattr(library, name)
        function.argtypes, function.restype = kinds, result
    if library.dav1d_version_api() >> 16 != MAJOR:
        raise ValueError("an interface that is not known")
    settings = _Settings()
    library.dav1d_default_settings(ctypes.byref(settings))
    if tuple(getattr(settings, name) for name in FIRST) != DEFAULTS:
        raise ValueError("settings that are not known")
    with _Context(library).decoded(KNOWN) as decoded_picture:
        picture = _checked(decoded_picture, KNOWN_HEADER)
        if picture is None or not _is_known(picture):
            raise ValueError("another picture than expected")
    return str(library.dav1d_version().decode())


def _is_known(picture: Picture) -> bool:
    strides = (picture.strides[0], picture.strides[1], picture.strides[1])
    return all(
        plane[y * stride + x] == across * x + down * y
        for plane, stride, (across, down) in zip(picture.planes, strides, KNOWN_SLOPES, strict=True)
        for y in range(8)
        for x in range(8)
    )
