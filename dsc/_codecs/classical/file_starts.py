"""What files begin with, kept once: JPEG files of one camera or library have the same tables.

The first bytes of a file, up to the data of its first scan or to the last box of a JPEG XL file,
are deflated (RFC 1951) with the starts of other such files as the dictionary before them; the rest
follows as it is. A start that is like a known one then takes about a dozen bytes.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dsc._codecs.classical.jpeg_file import MAGIC, SCAN, segments
from dsc._codecs.classical.jxl_head import boxes

MOST_START = 1 << 16  # bytes of a start, so that few bytes cannot become many
WINDOW = 1 << 15  # that deflating sees
MOST_KNOWN, MOST_LEARNT = 1 << 13, 1 << 12  # bytes of all known starts, and of one of them
NEW = 8  # a start that takes more than one in so many of its bytes is not known yet
RAW = -zlib.MAX_WBITS  # without a head and a checksum of its own


@dataclass(frozen=True)
class Starts:
    """Starts of files, one behind the other, at most `WINDOW` bytes.

    Raises
    ------
    ValueError
        When there are more.
    """

    text: bytes = b""

    def __post_init__(self) -> None:
        if len(self.text) > WINDOW:
            raise ValueError(f"{len(self.text)} bytes of starts, at most {WINDOW} are expected")

    def deflate(self, start: bytes) -> bytes:
        """Return a start in few bytes, as a stream that says itself where it ends."""
        made = zlib.compressobj(9, zlib.DEFLATED, RAW, 9, zlib.Z_DEFAULT_STRATEGY, self.text)
        return made.compress(start) + made.flush()

    def cut(self, file: bytes) -> bytes | None:
        """Return a file with its start deflated; None where none is known, or it has no start."""
        stop = start_length(file) if self.text else None
        return None if stop is None else self.deflate(file[:stop]) + file[stop:]

    def whole(self, data: bytes) -> bytes:
        """Return the file that `cut` gave.

        Raises
        ------
        ValueError
            When no start is known, or this one is longer than `MOST_START`, or cut.
        zlib.error
            When it is no deflated start.
        """
        if not self.text:
            raise ValueError("its start refers to others, and its codec knows none")
        inflated = zlib.decompressobj(RAW, self.text)
        start = inflated.decompress(data, MOST_START + 1)
        if not inflated.eof or len(start) > MOST_START:
            raise ValueError(f"its start is cut, or longer than {MOST_START} bytes")
        return start + inflated.unused_data

    def with_start_of(self, file: bytes) -> "Starts":
        """Return these and the start of a file, unless that is known, or there is no room."""
        stop = start_length(file)
        if stop is None or not 0 < stop <= min(MOST_LEARNT, MOST_KNOWN - len(self.text)):
            return self
        start = file[:stop]
        is_new = NEW * len(self.deflate(start)) > stop
        return Starts(self.text + start) if is_new else self

    def to_text(self) -> str:
        """Return them as base64."""
        return base64.b64encode(self.text).decode()

    @classmethod
    def from_text(cls, text: object) -> "Starts":
        """Read what `to_text` gave.

        Raises
        ------
        ValueError
            When it is nothing of the kind.
        """
        if not isinstance(text, str) or len(text) > 2 * WINDOW:
            raise ValueError(f"starts of files are at most {WINDOW} bytes as base64")
        try:
            return cls(base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise ValueError(f"starts of files are no base64: {error}") from None


def starts_of(files: Iterable[Sequence[bytes]]) -> Starts:
    """Return the starts of files, of each in all forms that it has."""
    found = Starts()
    for forms in files:
        for form in forms:
            found = found.with_start_of(form)
    return found


def start_length(file: bytes) -> int | None:
    """Tell how many bytes a file's start has; None of a start that is too long, or of no file."""
    stop = _scan(file) if file.startswith(MAGIC) else _last_box(file)
    return stop if stop is not None and stop <= min(len(file), MOST_START) else None


def _scan(file: bytes) -> int | None:
    """Tell where the data of a JPEG file's first scan begins."""
    try:
        return next((one.stop for one in segments(file) if one.marker == SCAN), None)
    except ValueError:
        return None


def _last_box(file: bytes) -> int | None:
    """Tell where the content of a JPEG XL file's last box begins."""
    try:
        return max((start for _, start, _ in boxes(file)), default=None)
    except ValueError:
        return None
