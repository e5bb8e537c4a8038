"""Bad input gets one clear message that says what to do, the right exit code, and no traceback."""

import errno
import os
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from dsc.cli.failure import explain
from dsc.errors import CorruptPackError
from tests.cli.conftest import Command, Ran


@pytest.fixture
def files(views: Path, tmp_path: Path) -> Path:
    """A copy of the views that a test may damage."""
    return Path(shutil.copytree(views, tmp_path / "files"))


def picture(root: Path, task: str, index: int) -> Path:
    return root / task / "procedural" / f"point_{index}_view_0_domain_{task}.png"


def compress(dsc: Command, root: Path, out: Path, *words: object) -> Ran:
    return dsc("compress", "taskonomy", "--root", root, "--codec", "png", "--out", out, *words)


def says(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    for word in words:
        assert word in ran.err
    assert "Traceback" not in ran.err
    assert "error: " in ran.err


def test_no_data_at_root_says_what_was_looked_for(dsc: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = compress(dsc, tmp_path / "empty", tmp_path / "a")
    says(ran, 2, str(tmp_path / "empty"), "point_0_view_0_domain_rgb.png", "--sample")
    says(compress(dsc, tmp_path / "gone", tmp_path / "a"), 2, "does not exist", "--sample")


def test_no_root_at_all_says_what_is_missing(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = dsc("compress", "taskonomy", "--tasks", "rgb,depth")
    says(ran, 2, "--root", "./taskonomy", "./data/taskonomy", "--sample")


def test_unknown_layout_lists_the_known_ones(dsc: Command, views: Path) -> None:
    says(dsc("compress", "kitti"), 2, "kitti", "taskonomy", "nyuv2", "folder", "hdf5")
    says(dsc("compress", views), 2, f"--root {views}")


def test_unknown_task_lists_those_found(dsc: Command, views: Path, tmp_path: Path) -> None:
    ran = compress(dsc, views, tmp_path / "a", "--tasks", "rgb,flow")
    says(ran, 2, "'flow'", "rgb, depth_zbuffer, normal, segment_semantic, class_scene")


def test_unknown_task_of_an_archive_lists_those_found(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    for command in ("fetch", "export", "view"):
        ran = dsc(command, archive, "--tasks", "flow", "--out", tmp_path / "x")
        says(ran, 2, "'flow'", "depth_zbuffer", str(archive))


def test_mixed_sizes_name_sample_and_sizes(dsc: Command, files: Path, tmp_path: Path) -> None:
    small = np.zeros((16, 24), np.uint16)
    picture(files, "depth_zbuffer", 2).write_bytes(imagecodecs.png_encode(small))
    ran = compress(dsc, files, tmp_path / "a", "--tasks", "rgb,depth")
    says(ran, 1, "point_2_view_0", "rgb 32x32", "depth_zbuffer 24x16")


def test_truncated_file_fails_by_name(dsc: Command, files: Path, tmp_path: Path) -> None:
    cut = picture(files, "rgb", 1)
    cut.write_bytes(cut.read_bytes()[:300])
    ran = compress(dsc, files, tmp_path / "a", "--tasks", "rgb,depth")
    says(ran, 1, cut.name, "point_1_view_0", "--on-error skip")
    assert not (tmp_path / "a" / "dsc.json").exists()


def test_truncated_file_is_skipped_counted_and_listed(
    dsc: Command, files: Path, tmp_path: Path
) -> None:
    cut = picture(files, "rgb", 1)
    cut.write_bytes(cut.read_bytes()[:300])
    words = ("--tasks", "rgb,depth", "--on-error", "skip")
    ran = compress(dsc, files, tmp_path / "a", *words)
    assert ran.code == 1
    assert "1 of 4 samples could not be read" in ran.err
    assert cut.name in ran.err
    ran = compress(dsc, files, tmp_path / "a", *words, "--json")
    assert ran.code == 1
    assert [sample["key"] for sample in ran.json()["failed"]] == ["procedural__point_1_view_0"]
    assert dsc("verify", tmp_path / "a", "--deep").code == 0
    failed = dsc("ls", tmp_path / "a", "--failed", "--json").json()["failed"]
    assert [sample["key"] for sample in failed] == ["procedural__point_1_view_0"]


def test_output_of_another_plan_is_refused(
    dsc: Command, archive: Path, views: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    says(compress(dsc, views, out), 2, str(out), "--overwrite", "another plan")
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == before


def test_output_that_is_a_file_is_refused(dsc: Command, views: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    says(compress(dsc, views, tmp_path / "a"), 2, str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "mine"


def test_options_that_cannot_be_honoured_are_bad_usage(
    dsc: Command, views: Path, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    says(compress(dsc, views, out, "--quality", "best"), 2, "best", "1 to 100")
    says(compress(dsc, views, out, "--on-error", "ignore"), 2, "ignore", "skip")
    says(compress(dsc, views, out, "--workers", 2, "--address", "local"), 2, "--address")
    says(compress(dsc, views, out, "--sample", 3), 2, "--sample", "--root")
    says(compress(dsc, views, out, "--kinds", "rgb"), 2, "--kinds", "task=kind")
    says(dsc("ls", archive, "--shards", "--streams"), 2, "--shards")
    assert dsc("compress").code == 2
    assert dsc("nonsense").code == 2
    assert not out.exists()


def test_no_archive_is_bad_usage(dsc: Command, tmp_path: Path) -> None:
    for command in ("info", "ls", "verify"):
        says(dsc(command, tmp_path), 2, str(tmp_path), "dsc.json")


def test_damage_is_listed_and_exits_1(dsc: Command, archive: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    tars = sorted((out / "rgb").glob("*.tar"))
    for tar in tars[:2]:
        data = bytearray(tar.read_bytes())
        data[700] ^= 1
        tar.write_bytes(data)
    (out / "normal" / "train-normal-000001.tar").unlink()
    ran = dsc("verify", out, "--json")
    assert ran.code == 1
    found = {problem["path"] for problem in ran.json()["problems"]}
    assert {f"rgb/{tar.name}" for tar in tars[:2]} <= found
    assert "normal/train-normal-000001.tar" in found
    text = dsc("verify", out)
    assert text.code == 1
    assert all(path in text.out for path in found)


def test_what_does_not_decode_is_listed_by_sample_and_task(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    from tests.archives import forge

    out = Path(shutil.copytree(archive, tmp_path / "a"))
    forge(out, manifest=lambda manifest: manifest.update(max_pixels=100))
    assert dsc("verify", out).code == 0
    ran = dsc("verify", out, "--deep", "--json")
    assert ran.code == 1
    details = [problem["detail"] for problem in ran.json()["problems"]]
    assert len(details) == 5 * 4
    assert any("point_3_view_0" in d and "normal" in d for d in details)


def test_damage_met_while_reading_exits_1(dsc: Command, archive: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    tar = out / "rgb" / "train-rgb-000001.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    ran = dsc("export", out, "--tasks", "rgb", "--out", tmp_path / "files")
    says(ran, 1, tar.name, "dsc verify")


def test_full_disk_says_so_and_how_to_go_on() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/out.part")
    message, code = explain(full)
    assert code == 1
    assert all(word in message for word in ("disk is full", "/data/out.part", "same command"))


def test_every_error_has_a_message_and_a_code() -> None:
    assert explain(CorruptPackError("pack 3 is damaged")) == ("pack 3 is damaged", 1)
    assert explain(PermissionError(13, "Permission denied", "/x"))[1] == 1
    assert "dsc[all]" in explain(ModuleNotFoundError("No module named 'ray'"))[0]
    missing = ModuleNotFoundError("No module named 'compressai'", name="compressai.layers")
    assert "dsc[research]" in explain(missing)[0]
    message, code = explain(ZeroDivisionError("division by zero"))
    assert "DSC_DEBUG=1" in message
    assert code == 1


def test_debug_shows_where_it_happened(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from dsc.cli import app

    monkeypatch.setenv("DSC_DEBUG", "1")
    result = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert type(result.exception).__name__ == "ArchiveNotFoundError"
