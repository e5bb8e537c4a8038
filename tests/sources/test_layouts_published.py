"""Published layouts are recognised from names, with the right meaning, and nothing is lost."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dsc._files.tree import FileTree
from dsc._sources.folder.published import PUBLISHED, recognise
from dsc._sources.meaning import decide
from dsc._sources.registry import open_source, source_from_description
from dsc.errors import UsageError
from tests.places import ROOT
from tests.sources.lookalikes import LOOKS, Drawer, text


@pytest.mark.parametrize("name", LOOKS)
def test_look_alike_of_a_published_layout_is_read_as_what_it_is(name: str, tmp_path: Path) -> None:
    look = LOOKS[name](tmp_path)
    source = open_source("folder", str(tmp_path))
    report = source.report()
    assert report.notes[0].startswith(f"layout {look.layout}: ")
    assert {task.name: task.kind.value for task in source.tasks} == look.tasks
    assert (len(source), source.splits) == (look.samples, look.splits)
    assert source.key(0).startswith(look.first)
    assert len({source.key(index) for index in range(len(source))}) == len(source)
    assert report.complete == look.samples - look.incomplete
    by_name = {task.name: task for task in source.tasks}
    for task, unit in look.units.items():
        assert by_name[task].unit_m == unit
    for task, values in look.invalid.items():
        assert by_name[task].invalid == values
    for (index, task), wanted in look.values.items():
        np.testing.assert_array_equal(source.read(index, [task]).arrays[task], wanted)


@pytest.mark.parametrize("name", LOOKS)
def test_every_file_of_a_look_alike_is_read_or_left_out_with_a_reason(
    name: str, tmp_path: Path
) -> None:
    look = LOOKS[name](tmp_path)
    source = open_source("folder", str(tmp_path))
    read = [path for index in range(len(source)) for path in source.origin(index).files.values()]
    left_out = source.report().left_out
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    shared = {path for path in read if read.count(path) > 1}
    assert all("intrinsic" in path or "extrinsic" in path for path in shared)
    assert len(set(read)) + sum(one.files for one in left_out) == len(everything)
    assert {one.task for one in left_out} - {""} == look.left_out
    for words in look.beside:
        assert any(words in one.reason for one in left_out), words


@pytest.mark.parametrize("name", LOOKS)
def test_look_alike_has_no_other_published_layout(name: str, tmp_path: Path) -> None:
    layout = LOOKS[name](tmp_path).layout
    listing = dict(FileTree(tmp_path).walk())
    allowed = {layout, "time-stamps"} if layout == "tum-rgbd" else {layout}
    assert {other for other, find in PUBLISHED.items() if find(listing)} == allowed


@pytest.mark.parametrize("name", LOOKS)
def test_every_sample_of_a_look_alike_is_read_again_from_its_description(
    name: str, tmp_path: Path
) -> None:
    LOOKS[name](tmp_path)
    source = open_source("folder", str(tmp_path))
    again = source_from_description(json.loads(json.dumps(source.describe())))
    names = [task.name for task in source.tasks]
    for index in range(len(source)):
        sample, twin = source.read(index, names), again.read(index, names)
        assert set(sample.arrays) == set(twin.arrays) == set(source.origin(index).files)
        assert sample.key == twin.key
        assert sample.source_bytes == twin.source_bytes


@pytest.mark.parametrize("name", LOOKS)
def test_layout_does_not_depend_on_the_order_of_the_listing(name: str, tmp_path: Path) -> None:
    LOOKS[name](tmp_path)
    listing = dict(FileTree(tmp_path).walk())
    turned = {d: listing[d][::-1] for d in reversed(listing)}
    first, second = recognise(listing, "x"), recognise(turned, "x")
    assert first is not None
    assert second is not None
    assert first.name == second.name
    for directory, names in listing.items():
        for file in names:
            assert first.place(directory, file) == second.place(directory, file)


def test_every_published_layout_has_a_look_alike(tmp_path: Path) -> None:
    made = {LOOKS[name](tmp_path / name).layout for name in LOOKS}
    assert made == set(PUBLISHED)


def test_docs_list_every_published_layout() -> None:
    page = (ROOT / "docs" / "layouts.md").read_text()
    table = page.partition("## Published layouts")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == set(PUBLISHED)


def test_docs_list_every_kind_by_its_evidence() -> None:
    table = (ROOT / "docs" / "layouts.md").read_text()
    rows = [line for line in str(decide.__doc__).splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 5
    assert not [row for row in rows if row not in table]


def test_a_task_of_ones_own_beside_those_of_scannet_is_read(tmp_path: Path) -> None:
    LOOKS["scannet"](tmp_path)
    d = Drawer(tmp_path)
    d.gray(*(f"scene0000_00/edges/{at}.png" for at in (0, 2, 10)))
    assert "edges" in {task.name for task in open_source("folder", str(tmp_path)).tasks}


def test_a_directory_that_a_published_layout_does_not_know_is_no_silence(tmp_path: Path) -> None:
    LOOKS["voc"](tmp_path)
    d = Drawer(tmp_path)
    d.gray(*(f"VOCdevkit/VOC2012/depth/2007_{at:06d}.png" for at in range(4)))
    left_out = open_source("folder", str(tmp_path)).report().left_out
    assert "depth" in {one.task for one in left_out}


@pytest.mark.parametrize(
    ("files", "source"),
    [
        (("rgb/a/point_0_view_1_domain_rgb.png", "a/point_1_view_1_domain_rgb.png"), "taskonomy"),
        (("nyu_images/0.jpg", "nyu_depths/0.png"), "nyuv2"),
    ],
)
def test_data_set_with_a_source_of_its_own_is_sent_there(
    files: tuple[str, ...], source: str, tmp_path: Path
) -> None:
    Drawer(tmp_path).rgb(*files)
    with pytest.raises(UsageError, match=f"dsc compress {source} --root"):
        open_source("folder", str(tmp_path))


def test_left_out_files_of_many_directories_are_one_entry(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    for scene in range(12):
        d.rgb(f"scene{scene:04d}_00/color/0.jpg")
        text(tmp_path / f"scene{scene:04d}_00" / f"scene{scene:04d}_00_vh_clean.ply")
    (one,) = open_source("folder", str(tmp_path)).report().left_out
    assert (one.what, one.files) == ("**/*.ply", 12)


def test_stated_published_layout_must_fit(tmp_path: Path) -> None:
    Drawer(tmp_path).rgb("a.png")
    with pytest.raises(UsageError, match="--layout kitti"):
        open_source("folder", str(tmp_path), layout="kitti")
