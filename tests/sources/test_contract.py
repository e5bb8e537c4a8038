"""What every source promises: stable order and keys, JSON that reopens it, pickling."""

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pytest

from dsc._schemas import Task
from dsc._sources.registry import SOURCES, Source, open_source, source_from_description
from dsc.errors import SourceNotFoundError, UnknownTaskError, UsageError
from tests import coco, lerobot
from tests.sources.tars import everything, write_samples

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
RNG = np.random.default_rng(0)


def put(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        encode = imagecodecs.png_encode if path.suffix == ".png" else imagecodecs.jpeg8_encode
        path.write_bytes(encode(array))


def rgb(height: int = 6, width: int = 8) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def depth(height: int = 6, width: int = 8) -> np.ndarray:
    return RNG.integers(1, 5000, (height, width), np.uint16)


def make_taskonomy(root: Path) -> str:
    for building, point, view in (("b.1", 2, 0), ("b.1", 10, 0), ("b-1", 1, 11), ("b-1", 1, 2)):
        name = f"point_{point}_view_{view}_domain_"
        put(root / "rgb" / building / f"{name}rgb.png", rgb())
        if view != 11:
            put(root / "depth_zbuffer" / building / f"{name}depth_zbuffer.png", depth())
    return str(root)


def make_nyuv2(root: Path) -> str:
    for frame in (10, 9, 100):
        put(root / "nyu_images" / f"{frame}.jpg", rgb())
        put(root / "nyu_depths" / f"{frame}.png", depth().astype(np.uint8))
    return str(root)


def make_folder(root: Path) -> str:
    for stem in ("a 1", "a-1", "a.1", "10", "9", "ünï", "x" * 120):
        put(root / "rgb" / f"{stem}.png", rgb())
        if stem != "9":
            put(root / "depth" / "below" / f"{stem}.png", depth())
    return str(root)


def make_hdf5(root: Path) -> str:
    for name, count in (("b10.h5", 2), ("b9.h5", 3)):
        with h5py.File(root / name, "w") as file:
            file["rgb"] = np.stack([rgb() for _ in range(count)])
            if name == "b9.h5":
                file["depth"] = np.stack([depth() for _ in range(count)])
    return str(root)


def make_webdataset(root: Path) -> str:
    for tar, numbers in (("train-1", (3, 4)), ("val-0", (5, 6, 7))):
        samples = [(f"a {number}", everything(number)) for number in numbers]
        samples[0][1].pop("depth.png")
        write_samples(root / f"{tar}.tar", samples)
    return str(root)


def make_huggingface(root: Path) -> str:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for part in range(2):
        pictures = [imagecodecs.png_encode(rgb()) for _ in range(3)]
        image = [{"bytes": data, "path": None} for data in pictures]
        table = {"rgb": image, "caption": ["a", None, "c"], "box": [[1.0], [], [2.0, 3.0]]}
        (root / "data").mkdir(exist_ok=True)
        name = f"train-0000{part}-of-00002.parquet"
        parquet.write_table(pa.table(table), root / "data" / name, row_group_size=2)
    return str(root)


def make_coco(root: Path) -> str:
    files = coco.usual(3)
    path = "annotations/captions_val2017.json"
    files[path]["images"].pop()
    files[path]["annotations"] = []
    return str(coco.write(root, files))


def make_table(root: Path) -> str:
    pytest.importorskip("pyarrow")
    for n in range(3):
        put(root / "pictures" / f"{n}.png", rgb())
    lines = ["rgb,caption,id", "pictures/0.png,a,x 1", "pictures/1.png,,x-1", ",c,y"]
    (root / "metadata.csv").write_text("\n".join(lines))
    return str(root)


def make_lerobot(root: Path) -> str:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av", reason="videos are read by PyAV")
    made = lerobot.Made(lengths=(3, 2), depth=True, images=True, notes=True)
    return lerobot.make(root, made)


MAKERS: dict[str, Callable[[Path], str]] = {
    "taskonomy": make_taskonomy,
    "nyuv2": make_nyuv2,
    "folder": make_folder,
    "hdf5": make_hdf5,
    "webdataset": make_webdataset,
    "huggingface": make_huggingface,
    "coco": make_coco,
    "table": make_table,
    "lerobot": make_lerobot,
}


@pytest.fixture(params=[*MAKERS, "sample", "clevr", "rendered"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Source]:
    name = request.param
    if name in ("sample", "clevr"):
        return lambda: open_source(name, n=2, size=32, seed=5)
    if name == "rendered":
        return lambda: open_source(name, frames=2, size=32)
    root = MAKERS[name](tmp_path)
    options = {"depth_unit": "1/25.5"} if name == "nyuv2" else {}
    return lambda: open_source(name, root, **options)


def all_tasks(source: Source) -> list[str]:
    return [task.name for task in source.tasks]


def test_every_source_is_covered_here() -> None:
    assert set(SOURCES) == {*MAKERS, "sample", "clevr", "rendered"}


def test_two_openings_give_the_same_samples_in_the_same_order(
    opened: Callable[[], Source],
) -> None:
    one, two = opened(), opened()
    assert one.tasks == two.tasks
    assert [one.key(i) for i in range(len(one))] == [two.key(i) for i in range(len(two))]
    for index in range(len(one)):
        first, second = one.read(index, all_tasks(one)), two.read(index, all_tasks(one))
        assert first.source_bytes == second.source_bytes
        assert first.arrays.keys() == second.arrays.keys()
        for name, array in first.arrays.items():
            np.testing.assert_array_equal(array, second.arrays[name])


def test_keys_are_unique_and_plain(opened: Callable[[], Source]) -> None:
    source = opened()
    keys = [source.key(index) for index in range(len(source))]
    assert len(set(keys)) == len(keys) > 1
    assert all(KEY.fullmatch(key) for key in keys), keys
    assert [source.read(index, []).key for index in range(len(source))] == keys


def test_description_is_json_that_opens_the_same_source(opened: Callable[[], Source]) -> None:
    source = opened()
    again = source_from_description(json.loads(json.dumps(source.describe())))
    assert again.describe() == source.describe()
    assert again.tasks == source.tasks
    assert [again.key(i) for i in range(len(again))] == [source.key(i) for i in range(len(source))]


def test_tasks_have_one_spelling_in_json(opened: Callable[[], Source]) -> None:
    for task in opened().tasks:
        assert Task.from_json(task.to_json()).to_json() == task.to_json()


def test_pickled_source_reads_the_same(opened: Callable[[], Source]) -> None:
    source = opened()
    before = source.read(0, all_tasks(source))  # files may be held open by now
    after = pickle.loads(pickle.dumps(source)).read(0, all_tasks(source))
    assert after.source_bytes == before.source_bytes
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)


def test_arrays_are_what_their_tasks_say(opened: Callable[[], Source]) -> None:
    source = opened()
    for task in source.tasks:
        array = source.read(0, [task.name]).arrays.get(task.name)
        if array is None:
            continue
        assert array.dtype == np.dtype(task.dtype)
        assert array.flags.c_contiguous
        if task.is_map:
            assert array.shape[2:] == ((3,) if task.channels == 3 else ())
            assert source.read(0, [task.name]).source_bytes[task.name] > 0


def test_unknown_task_lists_those_found(opened: Callable[[], Source]) -> None:
    with pytest.raises(UnknownTaskError, match=r"'smell'.*(rgb|image)"):
        opened().read(0, ["smell"])


def test_index_out_of_range_is_an_index_error(opened: Callable[[], Source]) -> None:
    source = opened()
    for index in (-1, len(source)):
        with pytest.raises(IndexError):
            source.read(index, [])


@pytest.mark.parametrize("name", MAKERS)
def test_samples_that_lack_a_task_are_kept(name: str, tmp_path: Path) -> None:
    if name == "rendered":
        return lambda: open_source(name, frames=2, size=32)
    root = MAKERS[name](tmp_path)
    options = {"depth_unit": "1/25.5"} if name == "nyuv2" else {}
    if name == "nyuv2":
        (tmp_path / "nyu_depths" / "9.png").unlink()
    source = open_source(name, root, **options)
    found = [set(source.read(i, all_tasks(source)).arrays) for i in range(len(source))]
    assert len({frozenset(names) for names in found}) > 1
    assert set().union(*found) == set(all_tasks(source))


@pytest.mark.parametrize("name", MAKERS)
def test_root_without_data_says_the_layout_and_names_the_sample(name: str, tmp_path: Path) -> None:
    example = {
        "taskonomy": "domain_rgb.png",
        "nyuv2": "nyu_images",
        "folder": "rgb/",
        "hdf5": "train.h5",
        "webdataset": "train-000000.tar",
        "huggingface": "train-00000-of-00002.parquet",
        "coco": "instances_val2017.json",
        "table": "metadata.csv",
        "lerobot": "meta/info.json",
    }
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(SourceNotFoundError, match="--views N") as caught:
        open_source(name, str(tmp_path))
    if name != "hdf5":
        assert example[name] in str(caught.value)
    with pytest.raises(SourceNotFoundError, match=r"does not exist.*--views N"):
        open_source(name, str(tmp_path / "missing"))


@pytest.mark.parametrize("name", MAKERS)
def test_missing_root_says_what_it_is(name: str) -> None:
    with pytest.raises(UsageError, match=r"--root.*--views N"):
        open_source(name)


def test_unknown_source_or_option_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"taskonomie.*taskonomy"):
        open_source("taskonomie", str(tmp_path))
    with pytest.raises(UsageError, match=r"no option --colour.*--depth-unit"):
        open_source("taskonomy", make_taskonomy(tmp_path), colour=3)
    with pytest.raises(UsageError, match="takes no --root"):
        open_source("sample", str(tmp_path))


def test_option_none_is_unset(tmp_path: Path) -> None:
    root = make_taskonomy(tmp_path)
    assert open_source("taskonomy", root, kinds=None, depth_unit=None).tasks


@pytest.mark.parametrize("name", MAKERS)
def test_changed_files_are_noticed_when_work_goes_on(name: str, tmp_path: Path) -> None:
    if name == "rendered":
        return lambda: open_source(name, frames=2, size=32)
    root = MAKERS[name](tmp_path)
    options = {"depth_unit": "1/25.5"} if name == "nyuv2" else {}
    description = open_source(name, root, **options).describe()
    endings = (".png", ".h5", ".tar", ".parquet")
    victim = sorted(path for path in tmp_path.rglob("*") if path.suffix in endings)[-1]
    if name == "table":  # its files are those that it names
        victim = tmp_path / "metadata.csv"
        victim.write_text(victim.read_text().replace(",c,", ",d,"))
    elif name == "lerobot":  # whose files are listed
        victim = tmp_path / "meta" / "info.json"
        victim.write_text(victim.read_text().replace("0:2", "0:1"))
    else:
        victim.unlink()
    with pytest.raises(UsageError, match=r"not what it was.*--overwrite"):
        source_from_description(description)


def test_importing_the_sources_loads_nothing_heavy() -> None:
    code = (
        "import sys, dsc._sources.registry, dsc._sources.taskonomy, "
        "dsc._sources.hdf5.source, dsc._sources.folder.source, dsc._sources.webdataset.source, "
        "dsc._sources.rows.source; "
        "heavy = ('torch', 'ray', 'imagecodecs', 'h5py', 'fsspec', 'pyarrow', 'datasets'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "name", "right"),
    [
        ("folder", "a.tar", "webdataset"),
        ("webdataset", "data/train.parquet", "huggingface"),
        ("huggingface", "scans.csv", "table"),
        ("table", "a.tar", "webdataset"),
        ("coco", "cat/1.jpg", "folder"),
        ("taskonomy", "frames.h5", "hdf5"),
    ],
)
def test_a_root_of_another_source_is_told_which(
    asked: str, name: str, right: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(SourceNotFoundError, match=f"read by `dsc compress {right} --root DIR`"):
        open_source(asked, str(tmp_path))
