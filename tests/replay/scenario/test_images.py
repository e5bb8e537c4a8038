"""Images of folders, zips and archives: equal arrays from each, nothing bad goes by silently."""

import os
import tarfile
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._replay.scenario.images import LabelledImages, hold_out, load_images, load_split
from dsc.errors import SampleError, SourceNotFoundError, UsageError
from tests.replay.class_pictures import make_pictures, write_folder, write_zip

PICTURES = make_pictures(classes=3, per_class=4, side=12)


def same(one: LabelledImages, other: LabelledImages) -> bool:
    pairs = ((one.images, other.images), (one.labels, other.labels))
    return one.classes == other.classes and all(np.array_equal(*pair) for pair in pairs)


def test_a_folder_and_a_zip_give_the_same_arrays(tmp_path: Path) -> None:
    folder = load_images(write_folder(tmp_path / "folder", PICTURES))
    zipped = load_images(write_zip(tmp_path / "all.zip", PICTURES))
    assert same(folder, zipped)
    assert folder.keys == zipped.keys
    assert sorted(folder.keys) == sorted(PICTURES.keys)
    for image, label, key in zip(folder.images, folder.labels, folder.keys, strict=True):
        at = PICTURES.keys.index(key)
        assert (image == PICTURES.images[at]).all()
        assert folder.classes[label] == PICTURES.classes[PICTURES.labels[at]]


def test_an_archive_gives_what_it_was_made_of(tmp_path: Path) -> None:
    out = tmp_path / "archive"
    build_class_archive(out, PICTURES)
    found = load_images(out)
    assert sorted(map(bytes, found.images)) == sorted(map(bytes, PICTURES.images))
    assert len(found.classes) == 3
    few = load_images(out, classes=2, per_class=3)
    assert np.bincount(few.labels).tolist() == [3, 3]


def build_class_archive(out: Path, pictures: LabelledImages) -> None:
    """Write an archive with rgb and a class, from an HDF5 file."""
    import h5py

    source = out.with_suffix(".h5")
    with h5py.File(source, "w") as file:
        file["rgb"] = pictures.images
        file["category"] = pictures.labels
    dsc.compress("hdf5", out, root=str(source), codec="rgb=png,category=vector")


def test_gray_among_rgb_becomes_three_equal_channels(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "all", PICTURES)
    gray = np.ascontiguousarray(PICTURES.images[0][:, :, 0])
    (root / "class0" / "gray.png").write_bytes(imagecodecs.png_encode(gray))
    found = load_images(root)
    at = found.keys.index("class0/gray.png")
    assert (found.images[at] == gray[:, :, None]).all()


def write_files(root: Path, *names: str) -> Path:
    """Write one small picture under each name; one that ends with ``/`` is an empty directory."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (root / name).mkdir(parents=True)
        else:
            (root / name).write_bytes(imagecodecs.png_encode(PICTURES.images[0]))
    return root


def pack(root: Path, path: Path) -> Path:
    """Pack a directory, its own name included, as file managers do."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for one in sorted(root.rglob("*")):
                file.write(one, f"{root.name}/{one.relative_to(root)}")
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
            file.add(root, root.name)
    return path


HIDDEN = (
    ".ipynb_checkpoints/0.png", "cat/.ipynb_checkpoints/0-checkpoint.png", "cat/.DS_Store",
    "cat/._0.png", "__MACOSX/cat/._0.png", "dog/Thumbs.db", ".git/", "dog/.cache/1.png",
)  # fmt: skip


@pytest.mark.parametrize("packed", ["", "all.zip", "all.tar", "all.tgz", "all.data"])
def test_hidden_files_and_what_systems_leave_are_no_pictures(tmp_path: Path, packed: str) -> None:
    place = write_files(tmp_path / "pets", "cat/0.png", "cat/1.png", "dog/0.png", *HIDDEN)
    if packed:
        place = pack(place, tmp_path / packed.replace("data", "zip")).rename(tmp_path / packed)
    found = load_images(place)
    assert found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1]
    keys = [key.removeprefix("pets/") for key in found.keys]
    assert keys == ["cat/0.png", "cat/1.png", "dog/0.png"]


def image_folder(root: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Number classes and list files as torchvision.datasets.ImageFolder does (0.20)."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    samples = []
    for label, name in enumerate(classes):
        for folder, _, names in sorted(os.walk(root / name, followlinks=True)):
            for one in sorted(names):
                if one.lower().endswith((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")):
                    samples.append((os.path.relpath(f"{folder}/{one}", root), label))
    return classes, samples


@pytest.mark.parametrize("names", [
    ("10/a.png", "9/b.png", "9/a10.png", "9/a9.png", "B/1.png", "a/1.png", "\u00e9/1.PNG"),
    ("cat/x/9.png", "cat/x/10.png", "cat/b.png", "cat/x.png", "dog/images/1.png", "dog/y/z/2.png"),
    ("n2/images/1.png", "n10/images/1.png", "n2/notes.txt.png"),
])  # fmt: skip
def test_classes_and_files_are_numbered_as_torchvision_numbers_them(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = write_files(tmp_path / "all", *names)
    classes, samples = image_folder(root)
    for place in (root, pack(root, tmp_path / "all.zip"), pack(root, tmp_path / "all.tar")):
        found = load_images(place)
        assert list(found.classes) == classes
        keys = [key if place == root else key.removeprefix("all/") for key in found.keys]
        assert list(zip(keys, found.labels.tolist(), strict=True)) == samples


def test_an_empty_class_is_named_unless_the_others_are_asked_for(tmp_path: Path) -> None:
    root = write_files(tmp_path / "all", "ant/0.png", "bee/", "cat/0.png")
    for place in (root, pack(root, tmp_path / "all.zip"), pack(root, tmp_path / "all.tar")):
        with pytest.raises(UsageError, match=r"no image of class bee: .*remove the directory"):
            load_images(place)
        assert load_images(place, classes=["ant", "cat"]).labels.tolist() == [0, 1]
        assert load_images(place, classes=1).classes == ("ant",)


def test_a_picture_of_a_format_that_is_not_read_is_named(tmp_path: Path) -> None:
    root = write_files(tmp_path / "all", "ant/0.png", "ant/1.bmp", "cat/0.png")
    with pytest.raises(UsageError, match=r"ant/1.bmp: .*convert"):
        load_images(root)


def test_pictures_beside_the_classes_are_told_of(tmp_path: Path) -> None:
    root = write_files(tmp_path / "all", "ant/0.png", "cat/0.png", "preview.png")
    with pytest.warns(UserWarning, match=r"1 pictures lie beside.*preview.png"):
        assert load_images(root).classes == ("ant", "cat")


@pytest.mark.parametrize("packed", ["", "all.zip", "all.tar"])
def test_train_and_test_are_no_classes(tmp_path: Path, packed: str) -> None:
    names = [f"{part}/{one}/{n}.png" for part in ("train", "val") for one in "ab" for n in "12"]
    root = write_files(tmp_path / "all", *names)
    place = pack(root, tmp_path / packed) if packed else root
    train, test = load_split(place)
    assert (train.classes, len(train), len(test)) == (("a", "b"), 4, 4)
    with pytest.raises(UsageError, match="train and val are parts of a set"):
        load_images(place)


def test_a_zip_behind_a_signed_url_is_read_where_it_lies(tmp_path: Path) -> None:
    names = [f"{part}/{one}/{n}.png" for part in ("train", "test") for one in "ab" for n in "12"]
    pack(write_files(tmp_path / "all", *names), tmp_path / "a b.zip")
    with serve(tmp_path) as (url, traffic):
        traffic.signature = "sig=abc"
        train, test = load_split(f"{url}/a%20b.zip?sig=abc")
    assert (train.classes, len(train), len(test)) == (("a", "b"), 4, 4)
    assert train.keys[0] == "a/1.png"


def test_a_class_name_that_is_not_utf8_is_spelt_with_its_bytes(tmp_path: Path) -> None:
    write_files(tmp_path / "all", f"{os.fsdecode(b'caf' + bytes([0xE9]))}/0.png", "dog/0.png")
    found = load_images(tmp_path / "all")
    assert found.classes == ("caf\\xe9", "dog")
    assert found.keys[0] == "caf\\xe9/0.png"


def test_an_export_among_the_classes_is_no_class(tmp_path: Path) -> None:
    root = write_files(tmp_path / "all", "ant/0.png", "cat/0.png", "out/rgb/0.png")
    (root / "out" / ".dsc-export.json").write_text("{}")
    assert load_images(root).classes == ("ant", "cat")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "all", PICTURES)
    victim = root / PICTURES.keys[5]
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(SampleError, match=PICTURES.keys[5]):
        load_images(root)


def test_pictures_of_another_size_are_named_unless_all_are_resized(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "all", PICTURES)
    (root / "class1" / "large.png").write_bytes(
        imagecodecs.png_encode(np.full((20, 30, 3), 77, np.uint8))
    )
    with pytest.raises(SampleError, match=r"large.png: 30x20 pixels.*--image-size"):
        load_images(root)
    found = load_images(root, size=8)
    assert found.images.shape == (13, 8, 8, 3)
    assert (found.images[found.keys.index("class1/large.png")] == 77).all()


def test_a_place_with_train_and_test_is_both(tmp_path: Path) -> None:
    other = make_pictures(classes=3, per_class=2, side=12, seed=1)
    write_zip(tmp_path / "train.zip", PICTURES)
    write_folder(tmp_path / "val", other)
    train, test = load_split(tmp_path, per_class=3)
    assert (len(train), len(test)) == (9, 6)
    assert train.classes == test.classes


def test_without_test_images_each_class_gives_some(tmp_path: Path) -> None:
    many = make_pictures(classes=3, per_class=13, side=8)
    train, test = load_split(write_folder(tmp_path / "all", many))
    assert np.bincount(test.labels).tolist() == [2, 2, 2]
    assert not set(train.keys) & set(test.keys)
    assert len(train) + len(test) == len(many)


def test_a_class_with_one_image_cannot_be_held_out() -> None:
    one = PICTURES.take(np.array([0, 1, 4]))
    with pytest.raises(UsageError, match="'class1' has 1 image"):
        hold_out(one)


def test_a_class_missing_from_the_test_set_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", PICTURES)
    write_folder(tmp_path / "test", make_pictures(classes=2, per_class=2, side=12))
    with pytest.raises(UsageError, match="no image of class class2"):
        load_split(tmp_path)


def test_nothing_of_the_kind_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SourceNotFoundError, match="no <class>/<file>"):
        load_images(tmp_path)
    with pytest.raises(SourceNotFoundError, match="neither a folder nor a zip"):
        load_images(tmp_path / "notes.txt")


@pytest.mark.parametrize("classes", [0, 4])
def test_more_classes_than_there_are_cannot_be_asked_for(tmp_path: Path, classes: int) -> None:
    with pytest.raises(UsageError, match=f"{classes} classes were asked for, it has 3"):
        load_images(write_folder(tmp_path / "all", PICTURES), classes=classes)


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(UsageError, match="labels from 0 to 2, but there are 2 classes"):
        LabelledImages(PICTURES.images, PICTURES.labels, PICTURES.keys, PICTURES.classes[:2])


@pytest.mark.data
def test_the_real_sets_are_read(data_root: Path) -> None:
    train, test = load_split(data_root / "tiny_imagenet40", classes=2, per_class=5)
    assert train.images.shape == (10, 64, 64, 3)
    assert np.bincount(test.labels).min() >= 47
