"""`dsc verify --against`: an archive beside its source, sample by sample, and what is no proof."""

import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._pipeline.read.against import compare_with_source
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError
from tests.cli.conftest import run_dsc

N = 5


def jpeg(seed: int) -> bytes:
    rows, columns = np.mgrid[:96, :128]
    noise = np.random.default_rng(seed).integers(0, 12, (96, 128, 3))
    smooth = np.stack([rows * 2, columns, rows + columns], 2)
    return bytes(imagecodecs.jpeg8_encode(((smooth + noise) % 256).astype(np.uint8), level=85))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Frames with colours in JPEG, depth and labels in PNG, and a caption."""
    root = tmp_path / "scans"
    rows, columns = np.mgrid[:96, :128]
    for name in ("rgb", "depth", "label", "caption"):
        (root / name).mkdir(parents=True)
    for n in range(N):
        (root / f"rgb/{n}.jpg").write_bytes(jpeg(n))
        depth = (1000 + 3 * rows + columns + n).astype(np.uint16)
        (root / f"depth/{n}.png").write_bytes(imagecodecs.png_encode(depth))
        label = (rows // 32 + n).astype(np.uint8)
        (root / f"label/{n}.png").write_bytes(imagecodecs.png_encode(label))
        (root / f"caption/{n}.txt").write_text(f"frame {n}")
    return root


@pytest.fixture
def archive(root: Path, tmp_path: Path) -> Path:
    dsc.compress("folder", tmp_path / "a", root=root, exact=True)
    return tmp_path / "a"


def verify(archive: Path, *against: Any) -> Any:
    return run_dsc("verify", archive, *(word for one in against for word in ("--against", one)))


def compared(archive: Path, *against: Any) -> dict[str, Any]:
    words = [str(word) for one in against for word in ("--against", one)]
    found: dict[str, Any] = run_dsc("verify", archive, "--json", *words).json()
    assert found["ok"] == found["against"]["ok"]
    return found["against"]


def task_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["tasks"] if one["task"] == name)


def repaint(path: Path, at: tuple[int, int], value: int) -> None:
    array = imagecodecs.png_decode(path.read_bytes()).copy()
    array[at] = value
    path.write_bytes(imagecodecs.png_encode(array))


def test_an_exact_archive_gives_its_source_back(root: Path, archive: Path) -> None:
    ran = verify(archive, root)
    assert ran.code == 0, ran.err
    assert "gives its source back, value for value" in ran.out
    assert f"{N} of {N} JPEG files byte for byte" in ran.out
    found = compared(archive, root)
    assert found["ok"]
    assert (found["samples"], found["archive_only"], found["source_only"]) == (N, 0, 0)
    assert {one["verdict"] for one in found["tasks"]} == {"equal"}
    assert (task_of(found, "rgb")["files"], task_of(found, "rgb")["files_equal"]) == (N, N)
    assert task_of(found, "depth")["files"] is None
    assert compare_with_source(Archive.open(str(archive)), [str(root)]).ok


def test_the_proof_is_the_next_step_of_an_exact_archive(root: Path, tmp_path: Path) -> None:
    data = run_dsc("compress", "folder", "--root", root, "--exact", "--out", tmp_path / "a")
    assert f"dsc verify {tmp_path / 'a'} --against {root}" in data.out
    views = ("--views", 1, "--size", 32, "--tasks", "rgb", "--exact")
    ran = run_dsc("compress", "taskonomy", *views, "--out", tmp_path / "b")
    assert f"dsc verify {tmp_path / 'b'} --against sample" in ran.out
    assert run_dsc("verify", tmp_path / "b", "--against", "sample").code == 0


def test_a_place_that_is_not_there_is_said_so(archive: Path) -> None:
    ran = run_dsc("verify", archive, "--against", "nowhere")
    assert ran.code == 2
    assert "--against nowhere: there is no such file or directory" in ran.err


def test_the_first_pixel_that_differs_is_named(root: Path, archive: Path) -> None:
    repaint(root / "depth/3.png", (7, 9), 65000)
    repaint(root / "depth/4.png", (0, 0), 1)
    ran = verify(archive, root)
    assert ran.code == 1
    assert "differs in 2 samples" in ran.out
    said = "sample 3: 1 of 12288 values differ, the first at row 7, column 9: 65000 in"
    assert said in ran.out
    assert "the source, 1033 here" in ran.out
    found = compared(archive, root)
    assert (task_of(found, "depth")["differing"], task_of(found, "rgb")["differing"]) == (2, 0)


def test_a_file_of_the_same_pixels_is_another_file(root: Path, archive: Path) -> None:
    data = (root / "rgb/1.jpg").read_bytes()
    (root / "rgb/1.jpg").write_bytes(data[:2] + b"\xff\xfe\x00\x06note" + data[2:])
    ran = verify(archive, root)
    assert ran.code == 1
    assert "4 of 5 JPEG files byte for byte" in ran.out
    assert "its values come back, and not its file" in ran.out
    found = task_of(compared(archive, root), "rgb")
    assert (found["verdict"], found["differing"], found["files_equal"]) == ("differs", 0, 4)


def test_samples_that_one_of_them_lacks_are_no_proof(root: Path, archive: Path) -> None:
    for name in ("rgb", "depth", "label", "caption"):
        (old,) = root.glob(f"{name}/2.*")
        shutil.copy(old, old.with_stem("7"))
        old.unlink()
    ran = verify(archive, root)
    assert ran.code == 1
    assert "1 sample only in the archive: 2" in ran.out
    assert "1 sample only in the source: 7" in ran.out
    found = compared(archive, root)
    assert (found["samples"], found["archive_keys"], found["source_keys"]) == (N - 1, ["2"], ["7"])


def test_a_task_that_a_sample_lacks_differs(root: Path, archive: Path) -> None:
    (root / "label/1.png").unlink()
    found = task_of(compared(archive, root), "label")
    assert (found["verdict"], found["differing"]) == ("differs", 1)
    assert found["detail"] == "sample 1: only the archive has it"


def test_a_sample_that_cannot_be_read_is_named(root: Path, archive: Path) -> None:
    (root / "depth/4.png").write_bytes((root / "depth/4.png").read_bytes()[:200])
    ran = verify(archive, root)
    assert ran.code == 1
    assert "depth/4.png" in ran.out
    assert compared(archive, root)["n_unreadable"] == 1


def test_a_task_that_is_something_else_now_is_not_compared(root: Path, archive: Path) -> None:
    for path in (root / "label").glob("*.png"):
        array = imagecodecs.png_decode(path.read_bytes())
        path.write_bytes(imagecodecs.png_encode(array.astype(np.uint16) << 8))
    found = task_of(compared(archive, root), "label")
    assert found["verdict"] == "not compared"
    assert "the source gives label as uint16" in found["detail"]
    shutil.rmtree(root / "depth")
    found = task_of(compared(archive, root), "depth")
    assert found["detail"] == "the source has no such task"


def test_lossy_tasks_are_told_and_no_failure(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "lossy"
    dsc.compress("folder", out, root=root, quality=50)
    ran = verify(out, root)
    assert ran.code == 0, ran.err
    assert "lossy: PSNR" in ran.out
    assert "value for value, but for" in ran.out
    found = compared(out, root)
    assert task_of(found, "label")["verdict"] == "equal"
    rgb = task_of(found, "rgb")
    assert rgb["verdict"] == "lossy"
    dsc.compress("folder", tmp_path / "rgb", root=root, tasks=["rgb"])
    ran = verify(tmp_path / "rgb", root)
    assert ran.code == 0, ran.err
    assert "every task is lossy" in ran.out
    assert "value for value" not in ran.out
    assert rgb["worst"] <= rgb["mean"]
    (root / "rgb/2.jpg").unlink()
    assert task_of(compared(out, root), "rgb")["verdict"] == "differs"


def test_options_of_the_source_are_those_of_the_archive(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    asked = {"depth_unit": 0.002, "kinds": {"label": "image"}, "ignore": ["caption"]}
    dsc.compress("folder", out, root=root, exact=True, **asked)
    assert verify(out, root).code == 0


def test_rendered_views_are_rendered_again(tmp_path: Path) -> None:
    out = tmp_path / "a"
    dsc.compress("taskonomy", out, sample=2, size=32, tasks="rgb,normal", exact=True)
    ran = verify(out, "sample")
    assert ran.code == 0, ran.err
    assert "sample, rendered again" in ran.out
    with pytest.raises(UsageError, match="--against"):
        compare_with_source(Archive.open(str(out)), [str(tmp_path / "nowhere")])


def test_what_was_appended_may_lie_elsewhere(root: Path, archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    for name in ("rgb", "depth", "label", "caption"):
        (other / name).mkdir(parents=True)
        for path in (root / name).iterdir():
            shutil.copy(path, other / name / path.with_stem(f"9{path.stem}").name)
    dsc.append(archive, "folder", root=other)
    assert verify(archive, root).code == 1
    assert verify(archive, root, other).code == 0
    found = compared(archive, other, root)
    assert (found["ok"], found["is_in_order"]) == (True, False)


def test_what_is_not_there_and_what_is_another_data_set_is_refused(
    root: Path, archive: Path, tmp_path: Path
) -> None:
    ran = verify(archive, tmp_path / "nowhere")
    assert ran.code == 2
    assert "--against" in ran.err
    assert "nowhere" in ran.err


def test_a_damaged_archive_is_not_compared(root: Path, archive: Path) -> None:
    (tar,) = (archive / "depth").glob("*.tar")
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.chmod(0o644)
    tar.write_bytes(bytes(data))
    ran = run_dsc("verify", archive, "--against", root, "--json")
    assert ran.code == 1
    assert "against" not in ran.json()
