"""The page shows what is in the archive, asks no server for anything, and renders in a browser."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import imagecodecs
import numpy as np
import pytest

from dsc._copies.fetch import fetch
from dsc._jobs.archive.compress import compress
from dsc._pipeline.metrics import measure, metric_text
from dsc._pipeline.read.originals import spread
from dsc._pipeline.view.pictures import (
    colour,
    error_map,
    heat,
    label_colours,
    task_pictures,
    turbo,
    value_text,
)
from dsc._pipeline.view.view import write_view
from dsc._schemas import Task, TaskKind
from dsc._sources.rendered.sample import SampleSource, write_sample
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError
from tests.jobs.sources import RGB, PixelSource

DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered views; rgb and normals with loss, so that there are errors to see."""
    out = tmp_path_factory.mktemp("view") / "lossy"
    codec = "rgb=jpeg,depth=png,normal=webp,segment_semantic=png"
    compress("taskonomy", out, sample=6, size=48, codec=codec, quality="20")
    return out


class Page(HTMLParser):
    """Collects what a test asks of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.addresses: list[str] = []
        self.open_tags: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.addresses += [found[name] for name in ("src", "href", "data") if name in found]
        if tag == "img":
            self.images.append(found)
        if tag not in ("img", "meta", "link"):
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_self_contained_and_well_formed(archive: Path, tmp_path: Path) -> None:
    report = write_view(archive, tmp_path / "v.html", samples=3)
    page = Page(tmp_path / "v.html")
    assert page.open_tags == ["html"] or not page.open_tags
    assert page.images
    assert all(address.startswith("data:image/") for address in page.addresses)
    raw = (tmp_path / "v.html").read_text()
    assert not re.search(r"https?://|url\(|@import|<script", raw)
    assert "prefers-color-scheme:dark" in raw
    assert report.page_bytes == len(raw.encode())


def test_each_sample_shows_original_decoded_and_error_of_each_map(
    archive: Path, tmp_path: Path
) -> None:
    report = write_view(archive, tmp_path / "v.html", samples=2, measured=6)
    page = Page(tmp_path / "v.html")
    titles = [image["alt"] for image in page.images]
    for task in ("rgb", "depth_zbuffer", "normal", "segment_semantic"):
        for what in ("original", "decoded", "error"):
            assert titles.count(f"{task}, {what}") >= 2
    assert (report.shown, report.measured) == (2, 6)
    for word in ("point_0_view_0", "point_5_view_0", "PSNR", "mean angle", "identical", "corridor"):
        assert word in page.text
    archive_manifest = Archive.open(archive).manifest
    assert all(task.name in page.text for task in archive_manifest.tasks)


def test_worst_samples_are_the_worst(archive: Path, tmp_path: Path) -> None:
    report = write_view(archive, tmp_path / "v.html", samples=1, measured=6)
    source = SampleSource.open(6, 48)
    from dsc._pipeline.metrics import psnr_db
    from dsc._pipeline.read.dataset import Dataset

    dataset = Dataset.open(archive, ["rgb"], native=True)
    quality = {}
    for index in range(6):
        decoded = dataset[index]["rgb"]
        assert decoded is not None
        quality[source.key(index)] = psnr_db(source.read(index, ["rgb"]).arrays["rgb"], decoded)
    assert list(report.worst["rgb"]) == sorted(quality, key=lambda key: quality[key])[:2]
    assert report.means["rgb"]["psnr_db"] == pytest.approx(np.mean(list(quality.values())))
    assert "segment_semantic" not in report.worst  # lossless: there is no worst


def test_without_originals_the_page_shows_what_was_decoded(tmp_path: Path) -> None:
    compress(PixelSource(n=5), tmp_path / "a", codec="png")
    report = write_view(tmp_path / "a", tmp_path / "v.html")
    page = Page(tmp_path / "v.html")
    assert report.measured == 0
    assert {image["alt"].partition(", ")[2] for image in page.images} == {"decoded"}
    assert "--source-root" in page.text


def test_originals_are_found_by_key_under_the_source_root(tmp_path: Path) -> None:
    write_sample(tmp_path / "views", 4, size=32)
    options = {"root": tmp_path / "views", "codec": "jpeg", "tasks": "rgb"}
    compress("taskonomy", tmp_path / "a", quality="20", **options)
    # one more view in front: indices shift, keys do not
    first = next((tmp_path / "views" / "rgb").rglob("*point_2*"))
    (first.parents[1] / "aaa").mkdir()
    shutil.copy(first, first.parents[1] / "aaa" / first.name)
    root = str(tmp_path / "views")
    report = write_view(tmp_path / "a", tmp_path / "v.html", source_root=root)
    assert report.measured == 4
    assert 15 < report.means["rgb"]["psnr_db"] < 60
    assert write_view(tmp_path / "a", tmp_path / "v.html").measured == 0


def test_views_of_another_seed_are_not_taken_for_the_originals(tmp_path: Path) -> None:
    compress("sample", tmp_path / "a", n=2, size=32, seed=9, tasks="segment_semantic", codec="png")
    report = write_view(tmp_path / "a", tmp_path / "v.html")
    assert report.measured == 0


def test_a_fetched_task_can_be_viewed(archive: Path, tmp_path: Path) -> None:
    fetch(archive, "normals", tmp_path / "n")
    report = write_view(tmp_path / "n", tmp_path / "v.html", samples=1, measured=1)
    assert list(report.means) == ["normal"]


def test_missing_tasks_are_said_to_be_missing(tmp_path: Path) -> None:
    compress(PixelSource(n=6, damaged=(0,)), tmp_path / "a", codec="png", on_error="skip")
    write_view(tmp_path / "a", tmp_path / "v.html", samples=6)
    page = Page(tmp_path / "v.html")
    assert "does not have it" in page.text
    assert "unreadable" in page.text


HOSTILE = "\"'><script>alert(1)</script><img src=x>"


@dataclass(frozen=True)
class HostileSource(PixelSource):
    """Names that would break out of text, attributes and style."""

    name: ClassVar[str] = HOSTILE

    @property
    def tasks(self) -> tuple[Task, ...]:
        scene = Task(name="scene", kind=TaskKind.CLASS, dtype="int64", channels=0,
                     classes=(HOSTILE,))  # fmt: skip
        return (RGB, scene)

    def arrays(self, index: int) -> dict[str, Any]:
        return {"rgb": super().arrays(index)["rgb"], "scene": np.array(0)}


def test_text_from_the_archive_is_escaped(tmp_path: Path) -> None:
    where = tmp_path / "<img src=x onerror=alert(1)>"
    compress(HostileSource(n=2), where, codec="rgb=png,scene=vector")
    write_view(where, tmp_path / "v.html")
    raw, page = (tmp_path / "v.html").read_text(), Page(tmp_path / "v.html")
    assert "<script" not in raw
    assert "<img src=x" not in raw
    assert page.text.count(HOSTILE) >= 2  # the source's name and the class, to be read as they are
    assert all(address.startswith("data:image/") for address in page.addresses)


def test_bad_numbers_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--samples 0"):
        write_view(archive, tmp_path / "v.html", samples=0)
    with pytest.raises(UsageError, match="rendered"):
        write_view(archive, tmp_path / "v.html", source_root=str(tmp_path))


def test_samples_are_spread_evenly_with_both_ends() -> None:
    assert spread(100, 5) == [0, 25, 50, 74, 99]
    assert spread(3, 12) == [0, 1, 2]
    assert spread(10, 1) == [0]
    assert spread(0, 4) == []


def test_depth_runs_from_blue_to_red_and_invalid_is_gray() -> None:
    depth = np.array([[1000, 3000, 0]], np.uint16)
    near, far, invalid = colour(DEPTH, depth, (1.0, 3.0))[0].astype(int)
    assert near[2] > near[0]
    assert far[0] > far[2]
    assert tuple(invalid) == (128, 128, 128)


def test_turbo_is_googles_colour_map() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(0, 1, 256)
    wanted = 255 * np.array([matplotlib.colormaps["turbo"](value)[:3] for value in values])
    assert np.abs(turbo(values[None])[0] - wanted).max() < 8
    assert heat(np.array([[0.0, 1.0]]))[0].tolist() == [[0, 0, 4], [252, 255, 164]]


def test_labels_have_colours_of_their_own() -> None:
    colours = label_colours(np.arange(40)[None])[0]
    assert len({tuple(c) for c in colours}) == 40


def test_errors_show_where_the_decoded_map_is_off() -> None:
    original = np.full((20, 20), 2000, np.uint16)
    decoded = original.copy()
    decoded[5:9, 5:9] = 2090
    error = task_pictures(DEPTH, decoded, original)[2]
    assert error.caption == "0 to 5% of the depth"
    assert (error.width, error.height) == (20, 20)


def test_large_maps_become_thumbnails() -> None:
    picture = task_pictures(DEPTH, np.full((700, 1000), 2000, np.uint16), None)[0]
    assert max(picture.width, picture.height) <= 256


def test_classes_and_vectors_are_spelled_by_name() -> None:
    task = Task(name="c", kind=TaskKind.CLASS, dtype="int64", channels=0, classes=("cat", "dog"))
    assert value_text(task, np.array(1)) == "dog"
    assert value_text(task, np.array(7)) == "7"
    vector = Task(name="v", kind=TaskKind.VECTOR, dtype="float32", channels=2, classes=("a", "b"))
    assert value_text(vector, np.array([0.25, 0.75], np.float32)) == "b 0.75, a 0.25"


def test_metrics_are_spelled_with_their_units() -> None:
    assert metric_text("psnr_db", 34.123) == "PSNR 34.12 dB"
    assert metric_text("psnr_db", float("inf")) == "PSNR lossless"
    assert metric_text("absrel", 0.0123) == "AbsRel 1.23%"
    assert metric_text("identical", 1.0) == "identical"
    assert metric_text("identical", 0.5) == "identical: 50.0%"
    assert metric_text("rmse_m", float("nan")) == "RMSE –"


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on PATH")
def test_page_renders_in_a_browser(archive: Path, tmp_path: Path) -> None:
    write_view(archive, tmp_path / "v.html", samples=2, measured=3)
    shot = tmp_path / "shot.png"
    window = ("--window-size=1280,2400", f"--screenshot={shot}", "--virtual-time-budget=5000")
    browse(*window, (tmp_path / "v.html").as_uri())
    pixels = imagecodecs.png_decode(shot.read_bytes())[..., :3]
    assert pixels.shape[:2] == (2400, 1280)
    assert len(np.unique(pixels.reshape(-1, 3)[::7], axis=0)) > 500
    # its own policy forbids scripts, so a copy without the policy is asked for its images
    raw = (tmp_path / "v.html").read_text()
    script = (
        "<script>addEventListener('load', () => { document.body.dataset.widths = JSON.stringify("
        "[...document.images].map(i => [i.naturalWidth, i.width, +i.getAttribute('width')])) })"
        "</script></body>"
    )
    asked = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", raw)
    (tmp_path / "asked.html").write_text(asked.replace("</body>", script))
    dom = browse("--virtual-time-budget=5000", "--dump-dom", (tmp_path / "asked.html").as_uri())
    found = re.search(r'data-widths="([^"]*)"', dom)
    assert found
    widths = json.loads(found[1].replace("&quot;", '"'))
    assert len(widths) == len(Page(tmp_path / "v.html").images) > 0
    assert all(natural == declared and shown > 0 for natural, shown, declared in widths)


def browse(*words: str) -> str:
    ran = subprocess.run(
        [CHROMIUM, *FLAGS, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def exact_task(kind: TaskKind, dtype: str, channels: int = 1, **more: object) -> Task:
    return Task.model_validate(
        {"name": "x", "kind": kind, "dtype": dtype, "channels": channels, **more}
    )


@pytest.mark.parametrize(
    "task",
    [
        exact_task(TaskKind.DISPARITY, "uint16", invalid=(0,)),
        exact_task(TaskKind.DISPARITY, "float32"),
        exact_task(TaskKind.FLOW, "float32", 2),
        exact_task(TaskKind.FLOW, "uint16", 3),
        exact_task(TaskKind.ARRAY, "float16"),
        exact_task(TaskKind.ARRAY, "int64", 5),
        exact_task(TaskKind.ARRAY, "uint8", 2),
        exact_task(TaskKind.IMAGE, "uint8", 3, exact=True),
        exact_task(TaskKind.IMAGE, "uint16", 4),
        exact_task(TaskKind.IMAGE, "uint8", 2),
        exact_task(TaskKind.IMAGE, "float32", 3),
        exact_task(TaskKind.LABEL, "int32"),
    ],
    ids=lambda task: f"{task.kind.value}-{task.dtype}-{task.channels}",
)
def test_every_kind_of_map_has_pictures(task: Task) -> None:
    shape = (40, 30) if task.channels == 1 else (40, 30, task.channels)
    values = np.arange(np.prod(shape)).reshape(shape) % 120
    array = values.astype(task.dtype)
    if array.dtype.kind == "f":
        array[3, 4], array[5, 6] = np.nan, np.inf
    pictures = task_pictures(task, array, array)
    assert [picture.title for picture in pictures] == ["original", "decoded", "error"]
    assert all((picture.width, picture.height) == (30, 40) for picture in pictures)
    if task.is_exact:
        assert pictures[-1].caption == "0 pixels differ"
        assert measure(task, array, array) == {"identical": 1.0}
        assert tuple(measure(task, array, array)) == task.metrics


def test_a_heat_map_shows_what_is_there_and_gray_where_nothing_is() -> None:
    task = exact_task(TaskKind.DISPARITY, "uint16", invalid=(0,))
    disparity = np.array([[0, 256, 512]], np.uint16)
    shown = colour(task, disparity, (256.0, 512.0))
    assert shown[0, 0].tolist() == [128] * 3
    assert shown[0, 1].argmax() == 2
    assert shown[0, 2].argmax() == 0
    flow = exact_task(TaskKind.FLOW, "float32", 2)
    (picture,) = task_pictures(flow, np.full((4, 4, 2), 3, np.float32), None)
    assert picture.caption == "first of 2 channels, 3.00 to 3.00"


def test_what_differs_of_an_exact_task_is_counted() -> None:
    task = exact_task(TaskKind.ARRAY, "float32")
    original = np.array([[np.nan, 1, 2], [3, 4, 5]], np.float32)
    decoded = original.copy()
    decoded[1, 2] = np.nan
    decoded[0, 1] += 1e-3
    assert error_map(task, original, decoded)[1] == "2 pixels differ"
