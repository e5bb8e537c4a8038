"""Finds the images and annotations of a COCO file, without keeping what they say.

An annotation file may have a million annotations in half a gigabyte; as Python objects they would
take ten times that. So each is parsed once and let go: what stays is where it stands in the file,
and of which image it is. Reading a sample cuts its annotations out again, spelled as they were.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._files.formats.content import refused
from dsc.errors import SampleError

IMAGES, ANNOTATIONS = "images", "annotations"
_SPACE = re.compile(r"[ \t\r\n]*")
_SPACES = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')
_DECODER = json.JSONDecoder()
_ID = (int, float, str)


@dataclass(frozen=True)
class ImageEntry:
    """What one entry of ``images`` says, as far as a source needs it.

    Attributes
    ----------
    digest
        Of all that it says: entries that say the same have the same.
    """

    id: Any
    file_name: str
    size: tuple[int, int] | None
    digest: bytes


@dataclass
class ScannedFile:
    """Where everything stands in one annotation file.

    Attributes
    ----------
    header
        The file's JSON with nothing in ``images`` and ``annotations``.
    images
        In the file's order.
    image_spans, spans
        (N, 2) int64: first byte of each image and annotation, and the one behind it.
    image_ids
        Image of each annotation.
    map_names
        By place, the ``file_name`` of annotations that have one: a panoptic PNG.
    sha256
        Of the file.
    has_annotations
        Whether there is a list of annotations, be it empty.
    twins
        How many annotations have an id that one before has, too.
    """

    header: str = ""
    images: list[ImageEntry] = field(default_factory=list)
    image_spans: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    spans: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    image_ids: list[Any] = field(default_factory=list)
    map_names: dict[int, str] = field(default_factory=dict)
    sha256: str = ""
    has_annotations: bool = False
    twins: int = 0


def looks_like_coco(data: bytes) -> bool:
    """Tell from the bytes of a JSON file whether it may list images."""
    return data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"images"' in data


def scan(data: bytes, where: str) -> ScannedFile | None:
    """Find the images and annotations of a file; None where it is no COCO file.

    Raises
    ------
    SampleError
        When it is damaged, or an image or annotation lacks what makes it one.
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        raise refused(where, "JSON that is no UTF-8", "save it as UTF-8") from None
    return _Scanner(data, where).run()


def compact(text: bytes) -> bytes:
    """Take the white space out of JSON that stands outside of its texts."""
    if b"\\" in text:  # a text may hold quotes
        return _SPACES.sub(rb"\1", text)
    parts = text.split(b'"')  # every other one is a text
    parts[::2] = [part.translate(None, b" \t\r\n") for part in parts[::2]]
    return b'"'.join(parts)


def split_list(text: bytes) -> list[bytes]:
    """Part the JSON of a list into that of its items, spelled as they are.

    Raises
    ------
    ValueError
        When it is no JSON list.
    """
    if text[:1] != b"[":
        raise ValueError(f"no list: {text[:40]!r}")
    scanner = _Scanner(text, "")
    return [text[begin:end] for begin, end, _ in scanner.items(0) if begin != end]


class _Scanner:
    """Walks over the top level of one file.

    Every byte is a letter here (latin-1), so that places in the text are places in the file; JSON's
    own letters are the same in UTF-8.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where = data, where
        self._text = data.decode("latin-1")
        self._found = ScannedFile(sha256=hashlib.sha256(data).hexdigest())
        self._header: list[str] = []

    def run(self) -> ScannedFile | None:
        at = self._past(3 if self._data.startswith(b"\xef\xbb\xbf") else 0)
        if not self._text.startswith("{", at):
            return None
        try:
            end = self._members(at)
        except SampleError:
            raise
        except (ValueError, RecursionError, IndexError) as error:
            raise SampleError(f"{self._where}: damaged JSON: {error}") from None
        if end != len(self._text):
            raise SampleError(f"{self._where}: damaged JSON: something follows at byte {end}")
        self._found.header = "{" + ",".join(self._header) + "}"
        return self._found if self._found.images or self._is_listed(IMAGES) else None

    def _is_listed(self, name: str) -> bool:
        return f'"{name}":[]' in self._header

    def _past(self, at: int) -> int:
        return _SPACE.match(self._text, at).end()  # type: ignore[union-attr]

    def _members(self, at: int) -> int:
        at = self._past(at + 1)
        if self._text[at] == "}":
            return self._past(at + 1)
        while True:
            name, after = _DECODER.raw_decode(self._text, at)
            colon = self._past(after)
            if not isinstance(name, str) or self._text[colon] != ":":
                raise ValueError(f"no name at byte {at}")
            at = self._past(self._value(name, self._data[at:after], self._past(colon + 1)))
            if self._text[at] == "}":
                return self._past(at + 1)
            if self._text[at] != ",":
                raise ValueError(f"no comma at byte {at}")
            at = self._past(at + 1)

    def _value(self, name: str, spelled: bytes, at: int) -> int:
        if name in (IMAGES, ANNOTATIONS) and self._text[at] == "[":
            if self._is_listed(name):
                raise ValueError(f"two lists of {name}")
            self._header.append(f'"{name}":[]')
            return self._images(at) if name == IMAGES else self._annotations(at)
        end = _DECODER.raw_decode(self._text, at)[1]
        self._header.append(f"{spelled.decode()}:{compact(self._data[at:end]).decode()}")
        return int(end)

    def items(self, at: int) -> Iterator[tuple[int, int, Any]]:
        """Yield (begin, end, value) of a list's items; the last is (end, end, None)."""
        at = self._past(at + 1)
        while self._text[at] != "]":
            value, end = _DECODER.raw_decode(self._text, at)
            letters = self._data[at:end]
            yield at, end, value if letters.isascii() else json.loads(letters)
            at = self._past(end)
            if self._text[at] == ",":
                at = self._past(at + 1)
            elif self._text[at] != "]":
                raise ValueError(f"no comma at byte {at}")
        yield at + 1, at + 1, None

    def _images(self, at: int) -> int:
        spans, seen = array("q"), set[Any]()
        for begin, end, value in self.items(at):
            if begin == end:
                break
            entry = self._entry(value, begin, end)
            if entry.id in seen:
                raise SampleError(
                    f"{self._where}: image id {entry.id!r} comes twice, so annotations are of no "
                    "one image; give each image an id of its own"
                )
            seen.add(entry.id)
            self._found.images.append(entry)
            spans.extend((begin, end))
        self._found.image_spans = np.array(spans, np.int64).reshape(-1, 2)
        return end

    def _entry(self, value: Any, begin: int, end: int) -> ImageEntry:
        number = len(self._found.images)
        if not isinstance(value, dict) or not isinstance(value.get("file_name"), str):
            raise SampleError(f"{self._where}: image {number} (byte {begin}) has no file_name")
        if not isinstance(value.get("id"), _ID):
            raise SampleError(f"{self._where}: image {number}, {value['file_name']}, has no id")
        try:
            value["file_name"].encode()
        except UnicodeEncodeError:
            name = value["file_name"]
            raise SampleError(f"{self._where}: {name!r} of image {number} is no name") from None
        size = value.get("height"), value.get("width")
        whole = isinstance(size[0], int) and isinstance(size[1], int)
        said = json.dumps(value, sort_keys=True).encode()
        return ImageEntry(
            value["id"],
            value["file_name"],
            (int(size[0]), int(size[1])) if whole else None,  # type: ignore[arg-type]
            hashlib.blake2b(said, digest_size=16).digest(),
        )

    def _annotations(self, at: int) -> int:
        spans, ids = array("q"), list[int]()
        self._found.has_annotations = True
        for begin, end, value in self.items(at):
            if begin == end:
                break
            number = len(self._found.image_ids)
            if not isinstance(value, dict) or not isinstance(value.get("image_id"), _ID):
                raise SampleError(
                    f"{self._where}: annotation {number} (byte {begin}) has no image_id"
                )
            if isinstance(value.get("id"), int):
                ids.append(value["id"])
            if isinstance(value.get("file_name"), str) and "segments_info" in value:
                self._found.map_names[number] = value["file_name"]
            self._found.image_ids.append(value["image_id"])
            spans.extend((begin, end))
        self._found.spans = np.array(spans, np.int64).reshape(-1, 2)
        self._found.twins = len(ids) - len(set(ids))
        return end
