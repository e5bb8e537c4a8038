"""What an export gives back is what the same source reads again: samples, names, order, splits."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dsc
from dsc._copies.export.run import export
from dsc._sources.base import lacks_of, origin_of, read_sample, splits_of
from dsc._sources.registry import open_source
from tests.sources.lookalikes import LOOKS, Drawer
from tests.walks_of_files import write_walk

RNG = np.random.default_rng(0)
CHANGED = ("hypersim", "hypersim_geometry_only")  # whose HDF5 files become .npy and .png


def put(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        encode = imagecodecs.png_encode if path.suffix == ".png" else imagecodecs.jpeg8_encode
        path.write_bytes(encode(array))


def rgb() -> Any:
    return RNG.integers(0, 256, (6, 8, 3), np.uint8)


def there_and_back(source: str, root: Path, **options: Any) -> tuple[Path, Any]:
    """Compress without loss, export, and compare what the source reads before and after."""
    first = open_source(source, str(root / "in"), **options)
    names = [task.name for task in first.tasks]
    wanted = {} if "alpha" in options else {"tasks": names}
    dsc.compress(source, root / "a", root=root / "in", codec="exact", **wanted, **options)
    export(root / "a", None, root / "out")
    again = open_source(source, str(root / "out"), **options)
    assert {task.name: task for task in again.tasks} == {task.name: task for task in first.tasks}
    assert splits_of(again) == splits_of(first)
    assert [again.key(k) for k in range(len(again))] == [first.key(k) for k in range(len(first))]
    for index in range(len(first)):
        one, two = read_sample(first, index, names), read_sample(again, index, names)
        assert lacks_of(first, index, names) == lacks_of(again, index, names)
        assert one.arrays.keys() == two.arrays.keys()
        for name in one.arrays:
            np.testing.assert_array_equal(one.arrays[name], two.arrays[name], err_msg=name)
        before, after = origin_of(first, index), origin_of(again, index)
        assert before is not None
        assert after is not None
        assert before.name == after.name
        stems = ({n: p.rpartition(".")[0] for n, p in o.files.items()} for o in (before, after))
        assert next(stems) == next(stems)
    return root / "out", again


@pytest.mark.parametrize("name", [name for name in LOOKS if name not in CHANGED])
def test_published_layouts_come_back(name: str, tmp_path: Path) -> None:
    LOOKS[name](tmp_path / "in")
    there_and_back("folder", tmp_path)


def test_a_file_that_frames_share_is_written_once(tmp_path: Path) -> None:
    LOOKS["seven_scenes"](tmp_path / "in")
    archive, out = tmp_path / "a", tmp_path / "out"
    dsc.compress("folder", archive, root=tmp_path / "in", tasks="depth,intrinsics", codec="exact")
    done = export(archive, None, out)
    assert (done.written, done.kept) == (4 + 2, 0)
    assert {name for name in files_of(out) if name.endswith(".txt")} == {
        "chess/camera-intrinsics.txt", "chess/seq-02/camera-intrinsics.txt"
    }  # fmt: skip
    done = export(archive, None, out)
    assert (done.written, done.kept) == (0, 4 + 2)
    assert export(archive, None, out, overwrite=True).written == 4 + 2


def test_two_files_of_one_name_are_both_kept(tmp_path: Path) -> None:
    for number, sequence in enumerate(("seq-01", "seq-02")):
        root = tmp_path / f"in{number}"
        write_walk(root, sequence, range(2))
        Drawer(root).matrix("camera-intrinsics.txt", rows=3, columns=3)
        (root / "camera-intrinsics.txt").write_text(f"{number + 1} 0 0\n0 1 0\n0 0 1\n")
    wanted = {"tasks": "depth,intrinsics"}
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in0", codec="exact", **wanted)
    dsc.append(tmp_path / "a", "folder", root=tmp_path / "in1", **wanted)
    export(tmp_path / "a", None, tmp_path / "out")
    assert (tmp_path / "out/camera-intrinsics.txt").read_text().split()[0] == "1.0"
    others = list((tmp_path / "out" / "intrinsics").iterdir())
    assert [np.load(path).ravel()[0] for path in others] == [2, 2]


@pytest.mark.parametrize(
    "form",
    [
        "{domain}/{building}/{view}_domain_{domain}.{end}",
        "{domain}/comp/{building}/{view}_domain_{domain}.{end}",
        "comp/{domain}/{building}/{view}_domain_{domain}.{end}",
        "{building}/{domain}/{view}_domain_{domain}.{end}",
        "{building}_{domain}/{view}_domain_{domain}.{end}",
        "{building}_{domain}/{domain}/{view}_domain_{domain}.{end}",
    ],
)
def test_taskonomy_comes_back_in_the_layout_that_it_had(form: str, tmp_path: Path) -> None:
    values = {
        "rgb": rgb,
        "depth_zbuffer": lambda: RNG.integers(1, 5000, (6, 8), np.uint16),
        "class_scene": lambda: RNG.random(7, np.float32),
    }
    for building in ("allensville", "b2"):
        for domain, value in values.items():
            for view in ("point_2_view_0", "point_10_view_1"):
                end = "npy" if domain == "class_scene" else "png"
                path = form.format(domain=domain, building=building, view=view, end=end)
                put(tmp_path / "in" / path, value())
    out, _ = there_and_back("taskonomy", tmp_path)
    assert files_of(out) == files_of(tmp_path / "in")


def test_nyuv2_comes_back_with_its_lists(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for frame in range(5):
        put(root / f"nyu_images/{frame}.png", rgb())
        put(root / f"nyu_depths/{frame}.png", RNG.integers(1, 255, (6, 8), np.uint8))
        put(root / f"nyu_labels40/{frame}.png", RNG.integers(0, 3, (6, 8), np.uint8))
    (root / "classes40.txt").write_text("wall\nfloor\ncabinet\n")
    (root / "test.txt").write_text("1\n3\n")
    there_and_back("nyuv2", tmp_path)
    manifest = dsc.compress("nyuv2", tmp_path / "test", root=root, split="test", codec="exact")
    assert dict(manifest.splits) == {"test": 2}
    export(tmp_path / "test", None, tmp_path / "test-out")
    again = open_source("nyuv2", str(tmp_path / "test-out"), split="test")
    assert [again.key(k) for k in range(len(again))] == ["nyu_000001", "nyu_000003"]


def files_of(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_class_folders_come_back_as_directories(tmp_path: Path) -> None:
    for path in ("train/dog/1.png", "train/cat é/2.png", "val/dog/9.png"):
        put(tmp_path / "in" / path, rgb())
    out, _ = there_and_back("folder", tmp_path)
    assert files_of(out) == files_of(tmp_path / "in")
    export(tmp_path / "a", "class_label", tmp_path / "labels")
    assert len(files_of(tmp_path / "labels")) == 3


def test_alpha_goes_back_into_its_picture(tmp_path: Path) -> None:
    for at in range(2):
        put(tmp_path / f"in/rgb/{at}.png", RNG.integers(0, 256, (6, 8, 4), np.uint8))
    out, _ = there_and_back("folder", tmp_path, alpha="mask")
    assert files_of(out) == {"rgb/0.png", "rgb/1.png"}


def test_npy_stays_npy_and_text_stays_text(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for at in range(3):
        put(root / f"rgb/{at}.jpg", rgb())
        put(root / f"depth/{at}.npy", RNG.uniform(0.5, 9, (6, 8)).astype(np.float32))
        put(root / f"ids/{at}.npy", RNG.integers(0, 70000, (6, 8)).astype(np.int32))
        put(root / f"k/{at}.npy", RNG.normal(size=(3, 3)))
        (root / "pose").mkdir(exist_ok=True)
        pose = RNG.normal(size=(4, 4))
        (root / f"pose/{at}.txt").write_text(
            "\n".join(" ".join(map(repr, map(float, row))) for row in pose)
        )
    out, _ = there_and_back("folder", tmp_path)
    assert files_of(out) == {name.replace(".jpg", ".png") for name in files_of(root)}
    assert np.load(out / "k/1.npy").shape == (3, 3)
    assert (out / "pose/1.txt").read_text() == (root / "pose/1.txt").read_text()
    metres = np.load(out / "depth/1.npy")
    assert metres.dtype == np.float32
    np.testing.assert_allclose(metres, np.load(root / "depth/1.npy"), atol=5.1e-4)


NAMES = st.text(st.sampled_from("ab1 é._-"), min_size=1, max_size=6).filter(
    lambda name: name.strip(" .") == name and not name.startswith("-")
)


@given(
    stems=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    groups=st.sampled_from([[""], ["train/", "val/"], ["seq-01/", "seq-02/"]]),
    form=st.sampled_from(["rgb/{g}{s}.png depth/{g}{s}.png", "{g}{s}_rgb.png {g}{s}_depth.png"]),
)
@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_any_names_come_back(
    stems: list[str], groups: list[str], form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("names")
    for group in groups:
        for stem in stems:
            one, two = (part.format(g=group, s=stem) for part in form.split(" "))
            put(root / "in" / one, rgb())
            put(root / "in" / two, RNG.integers(1, 5000, (6, 8), np.uint16))
    out, _ = there_and_back("folder", root)
    assert files_of(out) == files_of(root / "in")
