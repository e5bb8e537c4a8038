"""Schemas: JSON there and back, strict about what they take, and the stream graph."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._schemas import (
    FileRecord,
    Manifest,
    Quality,
    Stream,
    Task,
    TaskKind,
    required_streams,
    resolve_task,
    resolve_tasks,
)
from dsc.errors import CorruptArchiveError, UnknownTaskError, UnsupportedVersionError, UsageError

DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,))
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
GRAPH = (
    Stream(name="shared"),
    Stream(name="rgb", carries=("rgb",), requires=("shared",)),
    Stream(name="depth", carries=("depth",), requires=("shared",)),
    Stream(name="depth.residual", carries=("depth",), requires=("depth",)),
    Stream(name="label", carries=("label",)),
)


def test_a_task_survives_json() -> None:
    assert Task.from_json(DEPTH.to_json()) == DEPTH


@pytest.mark.parametrize("name", ["", "a/b", "../x", "A", "rgb.tar", "x" * 60])
def test_task_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Task(name=name, kind=TaskKind.IMAGE, dtype="uint8")


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", ".hidden", "a/../b", "a b", "a\\b"])
def test_record_paths_that_leave_the_archive_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        FileRecord(path=path, bytes=1, sha256="0" * 64)


def test_unknown_fields_are_an_error_that_names_them() -> None:
    text = json.dumps(json.loads(DEPTH.to_json()) | {"colour": 1})
    with pytest.raises(CorruptArchiveError, match="colour"):
        Task.from_json(text, "dsc.json")


def test_depth_becomes_metres_with_nan_where_nothing_was_measured() -> None:
    metres = DEPTH.to_physical(np.array([[512, 65535]], np.uint16))
    assert metres.dtype == np.float32
    assert metres[0, 0] == 1.0
    assert np.isnan(metres[0, 1])


def test_normals_become_unit_vectors() -> None:
    normal = NORMAL.to_physical(np.array([[[255, 127, 128], [127, 127, 127]]], np.uint8))
    assert np.allclose(np.linalg.norm(normal[0, 0]), 1)
    assert np.isnan(normal[0, 1]).all()


def test_a_colour_is_invalid_only_when_all_its_channels_are() -> None:
    array = np.array([[[127, 127, 127], [127, 127, 0]]], np.uint8)
    assert NORMAL.invalid_mask(array).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("tasks", "streams"),
    [
        (["rgb"], ("shared", "rgb")),
        (["depth"], ("shared", "depth", "depth.residual")),
        (["label"], ("label",)),
        (["label", "rgb"], ("shared", "rgb", "label")),
    ],
)
def test_streams_are_closed_over_what_they_require(
    tasks: list[str], streams: tuple[str, ...]
) -> None:
    assert required_streams(GRAPH, tasks) == streams


def test_a_task_that_no_stream_carries_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(UnknownTaskError, match="depth, label, rgb"):
        required_streams(GRAPH, ["normal"])


def test_aliases_find_the_source_name() -> None:
    names = ("rgb", "depth_zbuffer", "normal")
    assert resolve_task("depth", names) == "depth_zbuffer"
    assert resolve_tasks(["normals", "rgb", "normal"], names) == ("normal", "rgb")
    assert resolve_tasks(" normals,rgb, ", names) == ("normal", "rgb")
    assert resolve_tasks(None, names) == names
    assert resolve_task("depth", ("depth", "depth_zbuffer")) == "depth"
    with pytest.raises(UnknownTaskError, match="found: rgb, depth_zbuffer, normal"):
        resolve_task("labels", names)


@given(st.integers(1, 100), st.dictionaries(st.sampled_from(["rgb", "depth"]), st.integers(1, 100)))
def test_quality_survives_its_spelling(default: int, tasks: dict[str, int]) -> None:
    text = ",".join([str(default), *(f"{name}={value}" for name, value in tasks.items())])
    quality = Quality.parse(text, ("rgb", "depth"))
    assert (quality.default, dict(quality.tasks)) == (default, tasks)
    assert Quality.from_json(quality.to_json()) == quality


@pytest.mark.parametrize("text", ["0", "101", "high", "rgb=", "rgb=200", "fog=50"])
def test_bad_qualities_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Quality.parse(text, ("rgb",))


def manifest() -> Manifest:
    return Manifest(
        created_by="dsc test", plan_sha256="0" * 64, source="test", tasks=(DEPTH,),
        streams=(Stream(name="depth", carries=("depth",)),), codecs=(), quality=Quality(),
        pack_size=1, shard_size=1, max_pixels=1, splits={"train": 0}, totals={}, source_bytes={},
        files=(),
    ).sealed()  # fmt: skip


def test_a_manifest_survives_its_file() -> None:
    data = manifest().to_file_bytes()
    assert Manifest.from_file_bytes(data, "dsc.json") == manifest()


@pytest.mark.parametrize("change", [(b'"test"', b'"best"'), (b"\n ", b"\n\t"), (b"}", b"} ")])
def test_an_edited_manifest_is_refused(change: tuple[bytes, bytes]) -> None:
    data = manifest().to_file_bytes().replace(*change)
    with pytest.raises(CorruptArchiveError, match=r"dsc\.json"):
        Manifest.from_file_bytes(data, "dsc.json")


def test_an_unknown_version_is_refused_with_the_one_needed() -> None:
    data = manifest().to_file_bytes().replace(b'"format_version": 1', b'"format_version": 7')
    with pytest.raises(UnsupportedVersionError, match="version 7 or newer"):
        Manifest.from_file_bytes(data, "dsc.json")
