"""``meta/info.json`` of a LeRobot dataset: what a frame has, how often, and what files are called.

Versions 2.0, 2.1 and 3.0 are read. They differ in how episodes lie in files: one a file, or many.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from dsc._files.tree import FileTree, nothing_found
from dsc.errors import UsageError

INFO = "meta/info.json"
LAYOUT = (INFO, "data/chunk-000/file-000.parquet", "videos/CAMERA/chunk-000/file-000.mp4")
KNOWN = ("v2.0", "v2.1", "v3.0")
DATA_PATH = {
    2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
VIDEO_PATH = {
    2: "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    3: "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
EPISODES_A_CHUNK = 1000
HIGHEST_FPS = 100_000
_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
_RANGE = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")


@dataclass(frozen=True)
class Feature:
    """What frames have under one name.

    Attributes
    ----------
    name
        As the data set has it: ``observation.images.top``.
    dtype
        ``video``, ``image``, ``string``, or a dtype of NumPy.
    shape
        Of a frame's value; None where it is not said.
    details
        What is said of a video or depth map beside that: codec, unit, how depth became codes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_video(self) -> bool:
        """Whether it lies in video files, and not in rows."""
        return self.dtype == "video"

    @property
    def is_depth(self) -> bool:
        """Whether it is a depth map."""
        known = (self.details.get("is_depth_map"), self.details.get("video.is_depth_map"))
        return any(value is True for value in known)


@dataclass(frozen=True)
class Info:
    """What ``meta/info.json`` says.

    Attributes
    ----------
    version
        2 or 3: how episodes lie in files.
    spelt
        The version as it is written.
    fps
        Frames a second, exactly as it is written.
    splits
        By name, the first episode and the one behind the last.
    notes
        What of it was not understood, for people.
    text
        All that the file says, as JSON: an export gives it back.
    """

    version: int
    spelt: str
    fps: Fraction
    features: Mapping[str, Feature]
    splits: Mapping[str, tuple[int, int]]
    data_path: str
    video_path: str
    chunk_size: int
    episodes: int | None
    notes: tuple[str, ...] = ()
    text: str = ""

    def is_video(self, name: str) -> bool:
        """Tell whether a feature of this name lies in video files."""
        return name in self.features and self.features[name].is_video


def read_info(tree: FileTree) -> Info:
    """Read ``meta/info.json`` below a root.

    Raises
    ------
    SourceNotFoundError
        When there is none.
    UsageError
        When it is no JSON, of another version, or says something that cannot be.
    """
    where = tree.where(INFO)
    try:
        text = tree.read(INFO)
    except (FileNotFoundError, NotADirectoryError):
        what = f"{tree.url} has no {INFO}"
        raise nothing_found("lerobot", what, LAYOUT, tree) from None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: no JSON ({error}); copy it again") from None
    if not isinstance(found, dict) or not isinstance(found.get("features"), dict):
        raise UsageError(f"{where}: says no features, as that of a LeRobot dataset does")
    spelt = str(found.get("codebase_version"))
    if spelt not in KNOWN:
        raise UsageError(
            f"{where}: version {spelt}; dsc reads {', '.join(KNOWN)}. lerobot converts older ones "
            "(its script convert_dataset_v21_to_v30)"
        )
    version = int(spelt[1])
    splits, notes = _splits(found.get("splits"), where)
    return Info(
        version,
        spelt,
        _fps(found.get("fps"), where),
        {name: _feature(name, said, where) for name, said in found["features"].items()},
        splits,
        str(found.get("data_path") or DATA_PATH[version]),
        str(found.get("video_path") or VIDEO_PATH[version]),
        _count(found.get("chunks_size"), "chunks_size", where) or EPISODES_A_CHUNK,
        _count(found.get("total_episodes"), "total_episodes", where),
        notes,
        json.dumps(found, separators=(",", ":")),
    )


def fill(template: str, where: str, **values: int | str) -> str:
    """Put values into a path that ``meta/info.json`` gives, such as ``chunk-{chunk_index:03d}``.

    Raises
    ------
    UsageError
        When it has a place for something else, or leaves the root.
    """

    def value(match: re.Match[str]) -> str:
        name, width = match[1], match[2]
        if name not in values:
            raise UsageError(
                f"{where}: path {template} has a place {match[0]}; known are {', '.join(values)}"
            )
        found = values[name]
        return f"{int(found):0{int(width)}d}" if width else str(found)

    path = _FIELD.sub(value, template)
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or {"", ".", ".."} & set(parts):
        raise UsageError(f"{where}: path {template} does not stay below the data set: {path}")
    return path


def _feature(name: str, said: Any, where: str) -> Feature:
    if not isinstance(said, dict) or not isinstance(said.get("dtype"), str):
        raise UsageError(f"{where}: feature {name} says no dtype")
    details = {**_mapping(said.get("video_info")), **_mapping(said.get("info"))}
    shape = said.get("shape")
    known = isinstance(shape, list) and all(isinstance(length, int) for length in shape)
    return Feature(name, said["dtype"], tuple(shape) if known and shape else None, details)


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _fps(found: Any, where: str) -> Fraction:
    try:
        fps = Fraction(str(found))
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if isinstance(found, bool) or not 0 < fps <= HIGHEST_FPS:
        raise UsageError(f"{where}: fps {found}; frames a second are above 0, for example 30")
    return fps


def _count(found: Any, name: str, where: str) -> int | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise UsageError(f"{where}: {name} {found}; a whole number expected")
    return found


def _splits(found: Any, where: str) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Return the splits that are ranges of episodes, and say which are none."""
    splits: dict[str, tuple[int, int]] = {}
    notes = []
    for name, said in _mapping(found).items():
        match = _RANGE.fullmatch(str(said))
        if match is None:
            notes.append(f"split {name} is no range of episodes ({said}), and is passed over")
        elif int(match[1]) < int(match[2]):
            splits[name] = int(match[1]), int(match[2])
    in_order = sorted((start, stop, name) for name, (start, stop) in splits.items())
    for (_, stop, first), (start, _, second) in pairwise(in_order):
        if start < stop:
            raise UsageError(
                f"{where}: episode {start} is in two splits, {first} and {second}; make the ranges "
                "of `splits` apart, or give --split-file or --split-by"
            )
    return splits, tuple(notes)
