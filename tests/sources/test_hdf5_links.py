"""HDF5 whose values lie in other files: virtual datasets, links, raw data; local and remote."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dsc._sources.base import left_out_of, report_of
from dsc._sources.registry import open_source
from dsc.errors import UsageError
from tests.places import ROOT

H, W = 18, 24
RGB = np.random.default_rng(0).integers(0, 256, (4, H, W, 3), np.uint8)


def make_parts(root: Path) -> None:
    (root / "parts").mkdir()
    (root / "main").mkdir()
    for number in range(2):
        with h5py.File(root / "parts" / f"p{number}.h5", "w") as file:
            file["rgb"] = RGB[2 * number : 2 * number + 2]


def put_virtual(path: Path, names: list[str], rows: int = 2, total: int = 4) -> Path:
    layout = h5py.VirtualLayout((total, H, W, 3), np.uint8)
    for number, name in enumerate(names):
        source = h5py.VirtualSource(name, "rgb", (rows, H, W, 3))
        layout[rows * number : rows * number + rows] = source
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("rgb", layout, fillvalue=7)
        file["y"] = np.arange(total)
    return path


PARTS = ["../parts/p0.h5", "../parts/p1.h5"]


def test_a_virtual_dataset_is_read_through_its_parts(tmp_path: Path) -> None:
    make_parts(tmp_path)
    path = put_virtual(tmp_path / "main" / "a.h5", PARTS)
    for root in (path, path.parent):
        source = open_source("hdf5", str(root))
        for index in range(4):
            np.testing.assert_array_equal(source.read(index, ["rgb"]).arrays["rgb"], RGB[index])
        note = next(note for note in report_of(source).notes if "outside" in note)
        assert str(tmp_path / "parts" / "p1.h5") in note


@pytest.mark.parametrize("how", ["gone", "no dataset", "shorter", "no hdf5"])
def test_a_part_that_is_missing_is_named(how: str, tmp_path: Path) -> None:
    make_parts(tmp_path)
    path = put_virtual(tmp_path / "main" / "a.h5", PARTS)
    part = tmp_path / "parts" / "p1.h5"
    part.unlink()
    if how == "no hdf5":
        part.write_bytes(b"x")
    elif how != "gone":
        with h5py.File(part, "w") as file:
            file["rgb" if how == "shorter" else "other"] = RGB[:1]
    with pytest.raises(UsageError, match=r"a\.h5, dataset rgb: .*parts/p1\.h5"):
        open_source("hdf5", str(path))
    assert len(open_source("hdf5", str(path), tasks="y")) == 4


def test_a_missing_part_of_a_part_is_named(tmp_path: Path) -> None:
    make_parts(tmp_path)
    put_virtual(tmp_path / "parts" / "all.h5", ["p0.h5", "p1.h5"])
    path = put_virtual(tmp_path / "main" / "a.h5", ["../parts/all.h5"], rows=4)
    np.testing.assert_array_equal(
        open_source("hdf5", str(path)).read(3, ["rgb"]).arrays["rgb"], RGB[3]
    )
    (tmp_path / "parts" / "p0.h5").unlink()
    with pytest.raises(UsageError, match=r"p0\.h5, which is missing"):
        open_source("hdf5", str(path))


def test_rows_that_no_part_fills_are_said(tmp_path: Path) -> None:
    make_parts(tmp_path)
    path = put_virtual(tmp_path / "main" / "a.h5", PARTS, total=5)
    notes = report_of(open_source("hdf5", str(path))).notes
    assert any("20% of this virtual dataset is in no file; its fill value 7" in n for n in notes)


def test_numbered_parts_of_an_unlimited_virtual_dataset(tmp_path: Path) -> None:
    make_parts(tmp_path)
    path = tmp_path / "parts" / "all.h5"
    space = h5py.h5s.create_simple((2, H, W, 3), (h5py.h5s.UNLIMITED, H, W, 3))
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    space.select_hyperslab((0,) * 4, (h5py.h5s.UNLIMITED, 1, 1, 1), (2, H, W, 3), (2, H, W, 3))
    part = h5py.h5s.create_simple((2, H, W, 3))
    creation.set_virtual(space, b"p%b.h5", b"rgb", part)
    with h5py.File(path, "w") as file:
        shape = h5py.h5s.create_simple((2, H, W, 3), (h5py.h5s.UNLIMITED, H, W, 3))
        h5py.h5d.create(file.id, b"rgb", h5py.h5t.NATIVE_UINT8, shape, creation)
    source = open_source("hdf5", str(path))
    assert len(source) == 4
    np.testing.assert_array_equal(source.read(3, ["rgb"]).arrays["rgb"], RGB[3])
    (tmp_path / "parts" / "p0.h5").unlink()
    with pytest.raises(UsageError, match=r"rgb: .*(p0\.h5|none of whose parts is found)"):
        open_source("hdf5", str(path))


def test_links_are_followed_and_each_dataset_is_read_once(tmp_path: Path) -> None:
    make_parts(tmp_path)
    path = tmp_path / "main" / "a.h5"
    with h5py.File(path, "w") as file:
        file["rgb"] = h5py.ExternalLink("../parts/p0.h5", "/rgb")
        file["inner/y"] = np.arange(2)
        file["y"] = h5py.SoftLink("/inner/y")
        file["hard"] = file["inner/y"]
        file["loop"] = h5py.SoftLink("/")
        file["inner/up"] = h5py.SoftLink("/inner")
    source = open_source("hdf5", str(path))
    assert {task.name for task in source.tasks} == {"rgb", "hard"}
    np.testing.assert_array_equal(source.read(1, ["rgb"]).arrays["rgb"], RGB[1])
    assert {one.what: one.reason for one in left_out_of(source)} == {
        "a.h5: /y": "another name of /hard",
        "a.h5: /inner/y": "another name of /hard",
        "a.h5: /inner/up": "another name of /inner",
        "a.h5: /loop": "another name of /",
    }


@pytest.mark.parametrize("link", [h5py.SoftLink("/gone"), h5py.ExternalLink("gone.h5", "/x")])
def test_a_link_to_nothing_is_named(link: object, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rgb"], file["depth"] = RGB, link
    with pytest.raises(UsageError, match=r"a\.h5, dataset depth: its link leads to .*gone|/x"):
        open_source("hdf5", str(tmp_path))
    assert len(open_source("hdf5", str(tmp_path), tasks="rgb")) == 4


def test_raw_values_beside_the_file(tmp_path: Path) -> None:
    raw = tmp_path / "values.bin"
    raw.write_bytes(RGB.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("rgb", RGB.shape, np.uint8, external=[(str(raw), 0, RGB.nbytes)])
    source = open_source("hdf5", str(tmp_path / "a.h5"))
    np.testing.assert_array_equal(source.read(2, ["rgb"]).arrays["rgb"], RGB[2])
    raw.unlink()
    with pytest.raises(UsageError, match=r"values\.bin, which is missing"):
        open_source("hdf5", str(tmp_path / "a.h5"))


REMOTE = """
import sys, fsspec
from dsc.errors import UsageError
from dsc._sources.registry import open_source
fsspec.filesystem("memory").put(sys.argv[1], "/all", recursive=True)
source = open_source("hdf5", "memory://all/main/a.h5", tasks="y")
assert len(source) == 4, len(source)
assert source.read(3, ["y"]).arrays["y"] == 3
for name in sys.argv[2:]:
    for tasks in (None, name):
        try:
            open_source("hdf5", "memory://all/main/a.h5", tasks=tasks)
        except UsageError as error:
            print(error)
"""


def test_remote_values_in_other_files_are_refused_without_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    make_parts(tmp_path)
    path = put_virtual(tmp_path / "main" / "a.h5", PARTS)
    with h5py.File(path, "a") as file:
        file["out"] = h5py.ExternalLink("../parts/p0.h5", "/rgb")
        file["outer"] = h5py.ExternalLink("../parts/p0.h5", "/")
        file["soft"] = h5py.SoftLink("/outer/rgb")
        file.create_dataset("raw", (4, 3), np.uint8, external=[("x.bin", 0, 12)])
    wanted = ["rgb", "out", "raw", "soft"]
    done = subprocess.run(
        [sys.executable, "-c", REMOTE, str(tmp_path), *wanted],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 2 * len(wanted)
    for what in ("virtual dataset", "link into another file", "lie in other files", "another link"):
        assert what in done.stdout


def test_a_process_ends_well_when_the_network_failed_under_an_open_file(tmp_path: Path) -> None:
    """HDF5 calls back into Python to close it, so that must be done while Python still runs."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rgb"] = np.arange(60 * 90 * 90 * 3).astype(np.uint8).reshape(60, 90, 90, 3)
    code = f"""
import dsc._storage.files.retry
from dsc._files.tree import FileTree
from dsc._sources.hdf5.reading import OpenFiles
from dsc._bench.server import serve
dsc._storage.files.retry.BACKOFF_S = 0.001
with serve({str(tmp_path)!r}) as (url, traffic):
    files = OpenFiles(FileTree(url))
    files.row("x.h5", "rgb", 0, "sample a")
    traffic.dead = True
    try:
        files.row("x.h5", "rgb", 59, "sample b")
    except OSError:
        print("failed in words")
"""
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "failed in words"), done.stderr
