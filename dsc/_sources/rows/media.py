"""What kind of file some bytes are: told by their beginning, or by a name's ending."""

from collections.abc import Iterable

from dsc._sources.meaning.endings import UNKNOWN_TYPE, media_type

_MAGIC = (
    (b"ID3", 0, "audio/mpeg"), (b"\xff\xfb", 0, "audio/mpeg"), (b"\xff\xf3", 0, "audio/mpeg"),
    (b"fLaC", 0, "audio/flac"), (b"OggS", 0, "audio/ogg"), (b"WAVE", 8, "audio/wav"),
    (b"AVI ", 8, "video/x-msvideo"), (b"WEBP", 8, "image/webp"), (b"ftypM4A", 4, "audio/mp4"),
    (b"ftyp", 4, "video/mp4"), (b"\x1aE\xdf\xa3", 0, "video/webm"), (b"%PDF", 0, "application/pdf"),
    (b"\x89PNG", 0, "image/png"), (b"\xff\xd8\xff", 0, "image/jpeg"), (b"GIF8", 0, "image/gif"),
    (b"II*\0", 0, "image/tiff"), (b"MM\0*", 0, "image/tiff"), (b"PK\3\4", 0, "application/zip"),
    (b"\x1f\x8b", 0, "application/gzip"), (b"\x93NUMPY", 0, "application/x-npy"),
)  # fmt: skip


def media_type_of(data: bytes, name: str = "") -> str | None:
    """Return the media type of a file; None where neither bytes nor name tell."""
    for magic, at, kind in _MAGIC:
        if data[at : at + len(magic)] == magic:
            return kind
    kind = media_type(name)
    return None if kind == UNKNOWN_TYPE else kind


def one_media_type(found: Iterable[str | None]) -> str | None:
    """Return the media type that all files have; None where they differ."""
    kinds = set(found)
    return kinds.pop() if len(kinds) == 1 else None
