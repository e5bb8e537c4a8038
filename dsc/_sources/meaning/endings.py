"""What the ending of a file says that stands beside pictures: text, JSON, numbers, any file."""

from enum import StrEnum

from dsc._files.formats import can_read

CLASS_ENDINGS = ("cls", "cls2", "class")
NUMBER_ENDINGS = (*CLASS_ENDINGS, "index", "inx", "id", "count")
JSON_ENDINGS = ("json", "jsn", "geojson")
TEXT_ENDINGS = (
    "txt", "text", "transcript", "caption", "captions", "prompt", "url", "md", "csv", "tsv", "xml",
    "html", "htm", "yaml", "yml", "toml", "srt", "vtt", "jsonl",
)  # fmt: skip
PICKLES = ("pyd", "pkl", "pickle", "pth", "pt")
MEDIA_TYPES = {
    "aac": "audio/aac", "flac": "audio/flac", "m4a": "audio/mp4", "mp3": "audio/mpeg",
    "ogg": "audio/ogg", "opus": "audio/ogg", "wav": "audio/wav", "avi": "video/x-msvideo",
    "mkv": "video/x-matroska", "mov": "video/quicktime", "mp4": "video/mp4", "webm": "video/webm",
    "heic": "image/heic", "heif": "image/heif", "jp2": "image/jp2", "svg": "image/svg+xml",
    "glb": "model/gltf-binary", "gltf": "model/gltf+json", "stl": "model/stl",
    "cbor": "application/cbor", "gz": "application/gzip", "npy": "application/x-npy",
    "npz": "application/zip", "pdf": "application/pdf", "zip": "application/zip",
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp",
    "gif": "image/gif", "bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff",
    "avif": "image/avif", "jxl": "image/jxl", "exr": "image/x-exr",
}  # fmt: skip  # the same on every machine, which Python's own table is not
UNKNOWN_TYPE = "application/octet-stream"


class Family(StrEnum):
    """What a field's files are by their endings."""

    PICTURE = "picture"
    NUMBERS = "numbers"
    WHOLE = "one whole number"
    TEXT = "text"
    JSON = "json"
    BYTES = "bytes"


def family_of(ending: str) -> Family:
    """Return the family of files of an ending, which may have several parts."""
    last = ending.rpartition(".")[2].lower()
    if last in NUMBER_ENDINGS:
        return Family.WHOLE
    if last in TEXT_ENDINGS:
        return Family.TEXT
    if last in JSON_ENDINGS:
        return Family.JSON
    if last == "npy":
        return Family.NUMBERS
    picture = can_read(f".{last}") and last != "npz"
    return Family.PICTURE if picture else Family.BYTES


def media_type(ending: str) -> str:
    """Return the media type of files of an ending."""
    return MEDIA_TYPES.get(ending.rpartition(".")[2].lower(), UNKNOWN_TYPE)
