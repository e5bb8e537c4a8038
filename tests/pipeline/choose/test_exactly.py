"""``--exact``: every task comes back value for value; wishes for loss are refused."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._pipeline.choose.codec_spec import can_code, classical_codec
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.decide import decide_coding
from dsc._pipeline.choose.exactly import check_values
from dsc._pipeline.options import CodingOptions
from dsc._schemas import Quality, SourceReport, Task, TaskReport
from dsc._sources.base import report_of
from dsc._sources.registry import open_source
from dsc.errors import UsageError
from tests.cli.conftest import run_dsc
from tests.jobs.sources import DEPTH, LABEL, RGB, PixelSource

SOURCE = PixelSource(n=6)
VIEWS = "rgb,depth_zbuffer,normal,segment_semantic,depth_euclidean,edge_texture,mask_valid"


def decide(**asked: Any) -> Coding:
    tasks = (RGB, DEPTH, LABEL)
    return decide_coding(CodingOptions(exact=True, **asked), SOURCE, tasks, report_of(SOURCE))


@pytest.mark.parametrize("kind", ["embedding", "feature"])
def test_numbers_that_may_lose_something_lose_nothing_where_their_task_is_exact(kind: str) -> None:
    axes: Any = {"shape": (4, -1, -1)} if kind == "feature" else {}
    for exact in (False, True):
        task = Task(name="x", kind=kind, dtype="float32", channels=4, exact=exact, **axes)
        assert (classical_codec(task) == "plain") == exact
        lossy = ("embedding", "feature-klt", "feature-learned")
        assert any(can_code(word, [task]) for word in lossy) != exact


def codecs_of(coding: Coding) -> dict[str, str]:
    return {task.name: coding.codec_set.codec_name(task.name) for task in coding.tasks}


def assert_comes_back(source: Any, out: Path) -> None:
    names = [task.name for task in source.tasks]
    archive = dsc.open(out, native=True)
    assert len(archive) == len(source)
    for index in range(len(source)):
        wanted = source.read(index, names).arrays
        for name, array in archive[index].items():
            if name in names:
                assert (array is None) == (name not in wanted)
                assert array is None or array.tobytes() == wanted[name].tobytes(), name


def test_every_task_of_rendered_views_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "a"
    asked = ("--views", 2, "--size", 48, "--tasks", VIEWS, "--exact", "--out", out)
    ran = run_dsc("compress", "taskonomy", *asked)
    assert ran.code == 0, ran.err
    assert "lossy" not in ran.err
    manifest = dsc.open(out).manifest
    assert manifest.quality == Quality(default=100)
    assert_comes_back(open_source("sample", n=2, size=48, tasks=VIEWS), out)
    stored = tmp_path / "b"
    assert run_dsc("compress", "taskonomy", *asked[:-1], stored, "--derive", "never").code == 0
    assert_comes_back(open_source("sample", n=2, size=48, tasks=VIEWS), stored)


def test_files_of_every_kind_come_back_and_jpeg_as_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    root = tmp_path / "in"
    for name in ("rgb", "depth", "label", "flow"):
        (root / name).mkdir(parents=True)
    rows, columns = np.mgrid[:120, :160]
    for n in range(3):
        smooth = np.stack([rows + n, columns, rows + columns], 2) % 256
        noisy = (smooth + rng.integers(0, 9, smooth.shape)).clip(0, 255).astype(np.uint8)
        (root / f"rgb/{n}.jpg").write_bytes(imagecodecs.jpeg8_encode(noisy, level=85))
        depth = (900 + 5 * rows + columns + rng.integers(0, 4, rows.shape)).astype(np.uint16)
        (root / f"depth/{n}.png").write_bytes(imagecodecs.png_encode(depth))
        label = (rows // 40 + 3 * (columns // 50)).astype(np.uint8)
        (root / f"label/{n}.png").write_bytes(imagecodecs.png_encode(label))
        np.save(root / f"flow/{n}.npy", rng.normal(size=(120, 160, 2)).astype(np.float32))
    out = tmp_path / "a"
    dsc.compress("folder", out, root=root, exact=True)
    assert_comes_back(open_source("folder", root), out)
    by_task = {name: one.id for one in dsc.open(out).manifest.codecs for name in one.streams}
    assert by_task["rgb"] == "jpeg-exact"
    assert by_task["depth"] == by_task["flow"] == "exact"
    assert run_dsc("export", out, "--out", tmp_path / "back").code == 0
    for path in root.glob("rgb/*.jpg"):
        assert (tmp_path / "back/rgb" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("jpegs", [0, 1])
def test_a_codec_of_jpeg_files_says_where_there_are_none(jpegs: int, tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "rgb").mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for n in range(3):
        (root / f"rgb/{n}.png").write_bytes(imagecodecs.png_encode(picture))
    for n in range(jpegs):
        (root / f"rgb/{n}.png").unlink()
        (root / f"rgb/{n}.jpg").write_bytes(imagecodecs.jpeg8_encode(picture, level=85))
    words = ("--root", root, "--codec", "rgb=jpeg-exact", "--kinds", "rgb=image")
    ran = run_dsc("compress", "folder", *words, "--out", tmp_path / "a")
    assert ran.code == 0, ran.err
    line = (
        "warning: rgb: no JPEG files (3 samples looked at); jpeg-exact keeps JPEG files, and codes "
        "other pictures as exact does"
    )
    assert (line in ran.err) == (line in run_dsc("info", tmp_path / "a").out) == (not jpegs)


def test_videos_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="videos are read by PyAV")
    pytest.importorskip("pyarrow")
    from tests.lerobot import Made, make

    data = make(tmp_path / "data", Made())
    dsc.compress("lerobot", tmp_path / "a", root=data, tasks="top", exact=True)
    assert [one.id for one in dsc.open(tmp_path / "a").manifest.codecs] == ["keep"]
    assert_comes_back(open_source("lerobot", data, tasks="top"), tmp_path / "a")


def test_the_choice_is_the_same_again() -> None:
    one, two = decide(), decide(codec="auto")
    assert (
        codecs_of(one)
        == codecs_of(two)
        == {"rgb": "exact", "depth": "exact", "label": "label-scan"}
    )
    assert one.codec_set.records() == two.codec_set.records()
    assert one.quality == Quality(default=100)
    assert one.choice is None
    assert not one.encoder().is_searching


def test_what_is_asked_for_by_name_is_taken_if_it_loses_nothing() -> None:
    assert codecs_of(decide(codec="png,depth=jxl-lossless"))["depth"] == "jxl-lossless"
    assert codecs_of(decide(codec="png"))["rgb"] == "png"
    assert codecs_of(decide(codec="label=jxl"))["label"] == "jxl"
    for codec in ("rgb=av1", "jpeg", "depth=jxl", "independent"):
        with pytest.raises(UsageError, match=r"--exact: --codec \w+=\S+ is lossy; .* exact"):
            decide(codec=codec)
    with pytest.raises(UsageError, match="plain codes none of rgb, depth, label"):
        decide(codec="plain")


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"quality": "80"}, "--quality"),
        ({"quality": "rgb=60"}, "--quality"),
        ({"target": "rgb=30dB"}, "--target"),
        ({"max_error": "depth=1%"}, "--max-error"),
    ],
)
def test_what_says_how_much_may_be_lost_is_refused(
    asked: dict[str, str], named: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"--exact: .* so {named} has nothing to say"):
        dsc.compress("taskonomy", tmp_path / "a", sample=1, exact=True, **asked)
    assert not (tmp_path / "a").exists()


def test_numbers_that_are_rounded_when_they_are_read_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "in" / "depth"
    root.mkdir(parents=True)
    depth = np.random.default_rng(0).uniform(1, 4, (20, 30)).astype(np.float32)
    np.save(root / "1.npy", depth)
    with pytest.raises(UsageError, match=r"--exact: .* depth are rounded .* --kinds depth=array"):
        dsc.compress("folder", tmp_path / "a", root=root.parent, exact=True)
    out = tmp_path / "b"
    dsc.compress("folder", out, root=root.parent, exact=True, kinds={"depth": "array"})
    assert np.array_equal(dsc.open(out)[0]["depth"], depth)


@pytest.mark.parametrize(
    ("stored", "dtype", "fits"),
    [
        ("uint8 4×4", "uint8", True),
        ("bool 4×4", "uint8", True),
        ("uint8 4×4", "uint16", True),
        ("int64 4×4", "int32", True),
        ("float32 4×4", "uint16", False),
        ("float64 4×4×3", "uint8", False),
        ("", "uint8", True),
        ("png", "uint8", True),
    ],
)
def test_what_is_rounded_is_told_by_what_the_source_stores(
    stored: str, dtype: str, fits: bool
) -> None:
    task = Task(name="map", kind="image", dtype=dtype)
    report = SourceReport(
        samples=1, complete=1, tasks={"map": TaskReport(samples=1, stored=stored)}
    )
    if fits:
        check_values([task], report)
    else:
        with pytest.raises(UsageError, match="map"):
            check_values([task], report)


def test_an_append_of_a_task_may_be_exact_and_one_of_samples_is_as_the_archive(
    tmp_path: Path,
) -> None:
    out, views = tmp_path / "a", {"sample": 2, "size": 32}
    dsc.compress("taskonomy", out, tasks="rgb", quality=40, **views)
    dsc.append(out, "taskonomy", tasks="normal", exact=True, **views)
    source = open_source("sample", n=2, size=32)
    archive = dsc.open(out, "normal", native=True)
    for index in range(2):
        wanted = source.read(index, ["normal"]).arrays["normal"]
        assert np.array_equal(archive[index]["normal"], wanted)
    with pytest.raises(UsageError, match="--exact: the archive has rgb, normal already"):
        dsc.append(out, "taskonomy", exact=True, sample=4, size=32)
