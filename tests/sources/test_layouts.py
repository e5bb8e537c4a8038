"""General layouts: tasks, classes, splits and stems told from names alone."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsc._sources.folder.general import (
    class_level,
    split_level,
    stated_layout,
    task_level,
    tell_layout,
)
from dsc._sources.folder.layout import FilePlace, Layout
from dsc._sources.folder.placing import ListedFiles, place_files
from dsc._sources.folder.published import recognise
from dsc._sources.folder.published.stamps import associate
from dsc._sources.meaning.names import split_affix
from dsc._sources.meaning.options import EVERYTHING
from dsc._sources.registry import open_source
from dsc.errors import UsageError
from tests.sources.lookalikes import Drawer, text


def listing_of(*paths: str) -> dict[str, list[str]]:
    listing: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        listing.setdefault(directory, []).append(name)
    return listing


def places(*paths: str) -> dict[str, Any]:
    listing = listing_of(*paths)
    layout = tell_layout(listing, "ROOT")
    return {path: layout.place(*path.rpartition("/")[::2]) for path in paths}


def tasks_of(*paths: str) -> dict[str, set[str]]:
    """Return the stems with group, by task."""
    found: dict[str, set[str]] = {}
    for place in places(*paths).values():
        assert isinstance(place, FilePlace)
        found.setdefault(place.task, set()).add(f"{place.group}:{place.stem}")
    return found


@pytest.mark.parametrize(
    ("stem", "base", "word"),
    [
        ("000001-color", "000001", "color"),
        ("000001_depth", "000001", "depth"),
        ("frame-000000.color", "frame-000000", "color"),
        ("frame.0000.semantic_instance", "frame.0000", "semantic_instance"),
        ("aachen_000000_000019_gtFine_labelIds", "aachen_000000_000019", "gtFine_labelIds"),
        ("x_mask", "x", "mask"),
        ("depth0001", "0001", "depth"),
        ("sync_depth_00045", "00045", "sync_depth"),
        ("rgb_0001", "0001", "rgb"),
        ("0001", "0001", ""),
        ("cat_sitting", "cat_sitting", ""),
        ("depth", "depth", ""),
        ("mask", "mask", ""),
        ("_depth", "_depth", ""),
        ("", "", ""),
        (".", ".", ""),
        ("__", "__", ""),
        ("ünï_depth", "ünï", "depth"),
        ("深度", "深度", ""),
        ("a b_depth", "a b", "depth"),
        ("²_depth", "²", "depth"),
    ],
)
def test_stem_is_parted_from_the_task_that_a_name_says(stem: str, base: str, word: str) -> None:
    assert split_affix(stem) == (base, word)


@pytest.mark.parametrize(
    ("paths", "tasks"),
    [
        (("000001-color.png", "000001-depth.png"), {"rgb": {":000001"}, "depth": {":000001"}}),
        (("000001_color.png", "000001_depth.png"), {"rgb": {":000001"}, "depth": {":000001"}}),
        (("a/1.color.png", "a/1.depth.png"), {"rgb": {"a:1"}, "depth": {"a:1"}}),
        (
            ("rgb/0001_rgb.png", "depth/0001_depth.png"),
            {"rgb": {":0001"}, "depth": {":0001"}},
        ),
        (
            ("bath/rgb_00045.jpg", "bath/sync_depth_00045.png"),
            {"rgb": {"bath:00045"}, "sync_depth": {"bath:00045"}},
        ),
        (("rgb0001.png", "depth0001.png"), {"rgb": {":0001"}, "depth": {":0001"}}),
        (("x.jpg", "x_mask.png", "y.jpg"), {"rgb": {":x", ":y"}, "mask": {":x"}}),
        (("left/1.png", "right/1.png"), {"left": {":1"}, "right": {":1"}}),
        (("left/left_1.png", "right/right_1.png"), {"left": {":1"}, "right": {":1"}}),
        (("1_left.png", "1_right.png"), {"left": {":1"}, "right": {":1"}}),
        (("left_1.png", "right_1.png"), {"left": {":1"}, "right": {":1"}}),
        (("images/1.jpg", "masks/1.png"), {"images": {":1"}, "masks": {":1"}}),
        (("images/1.jpg", "masks/1_mask.png"), {"images": {":1"}, "masks": {":1"}}),
        (
            ("imgs/train/1.jpg", "labels/train/1.png"),
            {"imgs": {"train:1"}, "labels": {"train:1"}},
        ),
        (
            ("train/images/1.jpg", "train/labels/1.png"),
            {"images": {"train:1"}, "labels": {"train:1"}},
        ),
        (
            ("train_images/1.jpg", "train_masks/1.png", "val_images/2.jpg", "val_masks/2.png"),
            {"images": {"train:1", "val:2"}, "masks": {"train:1", "val:2"}},
        ),
        (
            ("train/1.jpg", "train_labels/1.png", "test/2.jpg", "test_labels/2.png"),
            {"rgb": {"train:1", "test:2"}, "labels": {"train:1", "test:2"}},
        ),
        (
            ("masks_train/1_mask.gif", "images_train/1.jpg"),
            {"images": {"train:1"}, "masks": {"train:1"}},
        ),
        (
            ("images/im_1.png", "images/im_2.png", "gt/anno_1.png", "gt/anno_2.png"),
            {"images": {":1", ":2"}, "gt": {":1", ":2"}},
        ),
        (
            (
                "images/21_training.tif",
                "images/22_training.tif",
                "labels/21_a.png",
                "labels/22_a.png",
            ),
            {"images": {":21", ":22"}, "labels": {":21", ":22"}},
        ),
        (
            ("s1/color/0.jpg", "s1/depth/0.png", "s2/color/0.jpg", "s2/depth/0.png"),
            {"rgb": {"s1:0", "s2:0"}, "depth": {"s1:0", "s2:0"}},
        ),
        (
            ("s1/rgb/0.jpg", "s1/curv/0.png", "s1/myfeature/0.png"),
            {"rgb": {"s1:0"}, "curv": {"s1:0"}, "myfeature": {"s1:0"}},
        ),
        (("IMG_0001.jpg", "DSC_0002.jpg"), {"rgb": {":IMG_0001", ":DSC_0002"}}),
        (("image_1.jpg", "image_2.jpg"), {"rgb": {":image_1", ":image_2"}}),
        (("seq1/1.jpg", "seq2/1.jpg"), {"rgb": {"seq1:1", "seq2:1"}}),
        (("kitchen_0001/1.jpg", "attic_0002/1.jpg"), {"rgb": {"kitchen_0001:1", "attic_0002:1"}}),
        (
            ("scene0000_00/a/1.jpg", "scene0001_00/a/1.jpg"),
            {"rgb": {"scene0000_00/a:1", "scene0001_00/a:1"}},
        ),
        (("a.jpg", "trip/b.jpg"), {"rgb": {":a", "trip:b"}}),
    ],
)
def test_tasks_and_stems_are_told_from_names(
    paths: tuple[str, ...], tasks: dict[str, set[str]]
) -> None:
    assert tasks_of(*paths) == tasks


@pytest.mark.parametrize(
    ("paths", "labels", "splits"),
    [
        (("airplane/0000.jpg", "cat/0000.jpg"), {"airplane", "cat"}, {""}),
        (("train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg"), {"cat", "dog"}, {"train", "val"}),
        (("data/train/cat/1.jpg", "data/val/dog/1.jpg"), {"cat", "dog"}, {"train", "val"}),
        (("train/cat/1.jpg",), {"cat"}, {"train"}),
        (("train/NORMAL/1.jpg", "train/PNEUMONIA/1.jpg"), {"NORMAL", "PNEUMONIA"}, {"train"}),
        (("with_mask/1.jpg", "without_mask/1.jpg"), {"with_mask", "without_mask"}, {""}),
        (
            ("with_mask/with_mask_1.jpg", "without_mask/without_mask_1.jpg"),
            {"with_mask", "without_mask"},
            {""},
        ),
        (("Mask/1.png", "No_Mask/1.png"), {"Mask", "No_Mask"}, {""}),
        (("target/1.jpg", "id/1.jpg"), {"target", "id"}, {""}),
        (("0/1.png", "1/1.png", "9/1.png"), {"0", "1", "9"}, {""}),
        (("001.Albatross/a.jpg", "002.Auklet/b.jpg"), {"001.Albatross", "002.Auklet"}, {""}),
        (
            ("n01440764/n01440764_1.JPEG", "n01443537/n01443537_2.JPEG"),
            {"n01440764", "n01443537"},
            {""},
        ),
        (
            ("train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg"),
            {"cat", "dog", None},
            {"train", "test"},
        ),
        (("photo/dog/1.jpg", "sketch/dog/1.jpg"), {"photo", "sketch"}, {""}),
        (("Über/1.jpg", "ünter/1.jpg"), {"Über", "ünter"}, {""}),
        (("red color/1.jpg".replace("color", "hue"), "b/1.jpg"), {"red hue", "b"}, {""}),
    ],
)
def test_directories_of_classes_give_a_class_and_never_tasks(
    paths: tuple[str, ...], labels: set[str | None], splits: set[str]
) -> None:
    found = places(*paths)
    assert {place.task for place in found.values()} == {"rgb"}
    assert {place.label for place in found.values()} == labels
    assert {place.split for place in found.values()} == splits
    assert len({(place.group, place.stem) for place in found.values()}) == len(paths)


@pytest.mark.parametrize(
    "paths",
    [
        ("0000/000000.png", "0001/000000.png"),
        ("good/1.raw.png", "good/1.seen.png", "bad/2.raw.png", "bad/2.seen.png"),
    ],
)
def test_what_may_be_classes_or_recordings_is_asked_for(paths: tuple[str, ...]) -> None:
    listing = listing_of(*paths)
    names = sorted({path.split("/")[0] for path in paths})
    with pytest.raises(UsageError) as caught:
        tell_layout(listing, "ROOT")
    for words in (*names, "--layout classes", "--layout directories", "--layout suffixes"):
        assert words in str(caught.value)


def test_a_few_pictures_above_the_classes_are_left_out_and_said(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    d.rgb(*(f"{name}/{at}.jpg" for name in ("cat", "dog") for at in range(9)), "preview.jpg")
    source = open_source("folder", str(tmp_path))
    assert (len(source), [task.name for task in source.tasks]) == (18, ["rgb", "class_label"])
    (one,) = source.report().left_out
    assert (one.what, one.reason) == ("preview.jpg", "lies above the directories of the classes")


def test_classes_are_numbered_as_image_folder_does(tmp_path: Path) -> None:
    names = ["b", "B", "a10", "a9", "Z", "_x", "ä", "10", "9"]
    d = Drawer(tmp_path)
    d.rgb(
        *(f"{split}/{name}/{at}.jpg" for split in ("train", "val") for name in names for at in "12")
    )
    source = open_source("folder", str(tmp_path))
    label = next(task for task in source.tasks if task.name == "class_label")
    expected = sorted(entry.name for entry in (tmp_path / "train").iterdir() if entry.is_dir())
    assert list(label.classes) == expected
    assert source.splits == {"train": 18, "val": 18}
    for index in range(len(source)):
        name = source.origin(index).files["rgb"].split("/")[1]
        assert int(source.read(index, ["class_label"]).arrays["class_label"]) == expected.index(
            name
        )


def test_unlabelled_test_pictures_are_samples_without_a_class(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    d.rgb("train/cat/1.jpg", "train/dog/2.jpg", "test/3.jpg", "test/4.jpg")
    source = open_source("folder", str(tmp_path))
    assert source.splits == {"train": 2, "test": 2}
    assert source.report().tasks["class_label"].samples == 2
    assert set(source.read(2, ["rgb", "class_label"]).arrays) == {"rgb"}


def test_pose_beside_pictures_by_suffix_is_a_vector(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    for at in range(2):
        d.rgb(f"chess/frame-{at:06d}.color.png")
        d.counts(f"chess/frame-{at:06d}.depth.png")
        pose = d.matrix(f"chess/frame-{at:06d}.pose.txt")
    source = open_source("folder", str(tmp_path))
    assert [task.name for task in source.tasks] == ["rgb", "depth", "pose"]
    np.testing.assert_array_equal(source.read(1, ["pose"]).arrays["pose"], pose.ravel())


def test_detector_labels_are_text(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    for at in range(3):
        d.rgb(f"images/train/{at}.jpg")
        text(tmp_path / f"labels/train/{at}.txt", "0 0.5 0.5 0.1 0.1")
    source = open_source("folder", str(tmp_path))
    assert [(task.name, task.kind.value) for task in source.tasks][1:] == [("labels", "text")]
    found = source.read(2, ["labels"]).arrays["labels"].tobytes()
    assert found == (tmp_path / "labels/train/2.txt").read_bytes()


def test_stated_layout_is_kept_by_the_description(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    d.rgb("0000/1.jpg", "0001/1.jpg")
    assert "class_label" in {
        t.name for t in open_source("folder", str(tmp_path), layout="classes").tasks
    }
    source = open_source("folder", str(tmp_path), layout="suffixes")
    assert [source.key(0), source.key(1)] == ["0000__1", "0001__1"]
    with pytest.raises(UsageError, match="split-directories"):
        open_source("folder", str(tmp_path), layout="split-directories")


def test_time_stamps_are_joined_to_the_nearest_each_once() -> None:
    assert associate(["1.00", "2.00"], ["1.015", "1.99", "3"]) == [
        ("1.00", "1.015"),
        ("2.00", "1.99"),
    ]
    assert associate(["1.000", "1.010"], ["1.009"]) == [("1.010", "1.009")]
    assert associate(["1.00"], ["1.021"]) == []
    assert associate(["1600000000000000000"], ["1600000000019000000"]) != []
    assert associate(["1.0", "1.00"], ["1.00", "1.0"]) == [("1.0", "1.0"), ("1.00", "1.00")]
    assert associate([], ["1"]) == []


STAMPS = st.lists(st.integers(0, 3000), max_size=30).map(lambda stamps: [*dict.fromkeys(stamps)])


@settings(deadline=None)
@given(STAMPS, STAMPS)
def test_time_stamps_are_joined_as_by_trying_all_pairs(first: list[int], second: list[int]) -> None:
    left, right = [[f"{1000 + t / 1000:.3f}" for t in stamps] for stamps in (first, second)]
    candidates = sorted((abs(a - b), a, b) for a in first for b in second if abs(a - b) < 20)
    wanted, used = [], set()
    for _, a, b in candidates:
        if ("a", a) not in used and ("b", b) not in used:
            used |= {("a", a), ("b", b)}
            wanted.append((f"{1000 + a / 1000:.3f}", f"{1000 + b / 1000:.3f}"))
    assert sorted(associate(left, right)) == sorted(wanted)


WORDS = """
rgb color depth mask masks label gt images train val test train_masks cat dog NORMAL seq-01
scene0000_00 0000 1 10 image_2 a.b left right results proj_depth 深度 é \udce9 - _ x__y
JPEGImages SegmentationClass image annotations semantic_class leftImg8bit gtFine
"""
NAMES = WORDS.split()
STEMS = ("depth0001", "rgb_1", "1305031102.175304", "000000_10", "2007_000001")
ENDINGS = (".png", ".jpg", ".npy", ".txt", ".json", ".hdf5", ".PNG", "", ".bin")
LETTERS = "aZ019._- \n\t\\*?[]éß\u0301\u200f²٣深🙂\x7f\xa0"


def make_paths(seed: int) -> list[str]:
    """Return 1 to 24 different paths: words that layouts look for, among any others."""
    rng = random.Random(seed)  # hypothesis itself would take a hundred times as long to draw them

    def any_name() -> str:
        odd = "".join(
            rng.choice(LETTERS) if rng.random() < 0.7 else chr(rng.randrange(1, 0xD800))
            for _ in range(rng.randint(1, 6))
        )
        odd = odd.replace("/", "-")
        return f"{odd}x" if odd in (".", "..") else odd

    def directory() -> str:
        return rng.choice(NAMES) if rng.random() < 2 / 3 else any_name()

    def stem() -> str:
        number, mark = rng.choice(("0", "1", "frame-000000", "12", "a")), rng.choice(("", *"_-."))
        spelled = f"{number}{mark}{rng.choice(('', 'rgb', 'depth', 'mask', 'x'))}"
        return rng.choice((spelled, rng.choice(STEMS), any_name()))

    def path() -> str:
        above = [directory() for _ in range(rng.randint(0, 4))]
        return "/".join([*above, f"{stem()}{rng.choice(ENDINGS)}"])

    return list(dict.fromkeys(path() for _ in range(rng.randint(1, 24))))


LISTINGS = st.integers(0, 1 << 32).map(make_paths)


def chosen(files: ListedFiles) -> Layout | str:
    """Return the layout that `folder` chooses, or its error."""
    try:
        found = recognise(files.all(), "ROOT")
        if found is None and files.readable:
            found = tell_layout(files.readable, "ROOT")
        return found or "nothing"
    except UsageError as error:
        return str(error)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(LISTINGS, st.integers(0, 99))
def test_any_listing_is_laid_out_in_full_or_refused_in_words(paths: list[str], seed: int) -> None:
    files = ListedFiles.of(listing_of(*paths).items(), EVERYTHING)
    layout = chosen(files)
    random.Random(seed).shuffle(paths)
    again = chosen(ListedFiles.of(listing_of(*paths).items(), EVERYTHING))
    if isinstance(layout, str):
        assert layout == again
        return
    assert isinstance(again, Layout)
    assert layout.name == again.name
    for path in paths:
        place = None
        try:
            place = layout.place(*path.rpartition("/")[::2])
        except UsageError as error:
            assert "rename" in str(error)  # noqa: PT017
            return
        assert place == again.place(*path.rpartition("/")[::2])
    built = place_files(layout, files)
    assert all("are both" in what for what in built.twins.values())
    read = sum(built.files.values())
    assert read + sum(one.files for one in built.left_out) == len(paths)
    keys = [built.table.key(row) for row in range(len(built.table))]
    assert len(set(keys)) == len(keys)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(LISTINGS)
@pytest.mark.parametrize("tell", [task_level, class_level, split_level])
def test_levels_are_told_of_any_listing(
    tell: Callable[[dict[str, list[str]]], int | None], paths: list[str]
) -> None:
    listing = listing_of(*paths)
    level = tell(listing)
    assert level is None or any(
        -len(d.split("/")) <= level < len(d.split("/")) for d in listing if d
    )


@given(st.text(max_size=20))
def test_any_stem_is_parted_into_parts_of_itself(stem: str) -> None:
    base, word = split_affix(stem)
    assert base in stem
    assert word in stem
    assert (word == "") == (base == stem)


@pytest.mark.parametrize("layout", ["directories", "suffixes", "classes"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(paths=LISTINGS)
def test_stated_layouts_never_crash(layout: str, paths: list[str]) -> None:
    files = ListedFiles.of(listing_of(*paths).items(), EVERYTHING)
    if not files.readable:
        return
    try:
        place_files(stated_layout(layout, files.readable), files)
    except UsageError as error:
        assert str(error)  # noqa: PT017


def test_large_trees_cost_one_look_a_name() -> None:
    """Half of the names are asked for their place twice at most, whatever the layout."""
    listing = {
        f"scene{scene:04d}_00/{what}": [f"{at}.png" for at in range(50)]
        for scene in range(40)
        for what in ("color", "depth", "pose")
    }
    files = ListedFiles.of(listing.items(), EVERYTHING)
    layout = chosen(files)
    assert isinstance(layout, Layout)
    assert len(place_files(layout, files).table) == 40 * 50


def test_class_whose_name_is_no_utf8_keeps_its_place_in_the_order(tmp_path: Path) -> None:
    d = Drawer(tmp_path)
    d.rgb("a/1.jpg", "Z/1.jpg")
    odd = tmp_path / "\udce9t\udce9"
    try:
        odd.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 only")
    (odd / "1.jpg").write_bytes((tmp_path / "a/1.jpg").read_bytes())
    source = open_source("folder", str(tmp_path))
    label = next(task for task in source.tasks if task.name == "class_label")
    assert label.classes == ("Z", "a", "\\xe9t\\xe9")
