"""Each command does what its help says, gives one JSON object on request, exits as designed."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import dsc
from dsc import _kernels
from dsc._storage.read.archive import Archive
from tests.cli.conftest import Command
from tests.places import ROOT

COMMANDS = (
    "compress", "append", "info", "ls", "verify", "fetch", "push", "pull", "export", "view",
)  # fmt: skip
TASKS = ["rgb", "depth_zbuffer", "normal", "segment_semantic", "class_scene"]


def test_version_is_that_of_the_project(dsc: Command) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version, kernels = dsc("--version").out.splitlines()
    assert version == f"dsc {project['version']}"
    assert kernels == _kernels.description()


def test_a_start_without_compiled_kernels_says_so(dsc: Command, tmp_path: Path) -> None:
    words = ("compress", "taskonomy", "--views", 1, "--size", 32, "--tasks", "rgb", "--out")
    with _kernels.twins():
        assert _kernels.description() in dsc(*words, tmp_path / "slow").err.splitlines()
    if _kernels.in_use():
        assert "kernels" not in dsc(*words, tmp_path / "fast").err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_examples(dsc: Command, command: str) -> None:
    ran = dsc(command, "--help")
    assert ran.code == 0
    assert f"dsc {command} " in ran.out.partition("Examples")[2]
    assert "--json" in ran.out


def test_no_command_shows_help_and_counts_as_bad_usage(dsc: Command) -> None:
    ran = dsc()
    assert ran.code == 2
    assert all(command in ran.out + ran.err for command in COMMANDS)


def test_compress_reports_every_task_in_bytes(dsc: Command, views: Path, tmp_path: Path) -> None:
    words = ("--root", views, "--tasks", "rgb,depth", "--codec", "png", "--out", tmp_path / "a")
    ran = dsc("compress", "taskonomy", *words, "--json")
    assert ran.code == 0
    found = ran.json()
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["rgb", "depth_zbuffer"]
    for name, row in rows.items():
        files = sum(path.stat().st_size for path in (views / name).rglob("*.png"))
        tars = sum(path.stat().st_size for path in (tmp_path / "a" / name).iterdir())
        assert (row["source_bytes"], row["stored_bytes"]) == (files, tars)
        assert 0 < row["payload_bytes"] < row["stored_bytes"]
    assert found["samples"] == 4
    assert found["failed"] == []
    assert found["ratio"] == found["source_bytes"] / found["stored_bytes"]


def test_compress_shows_a_table_and_what_to_do_next(
    dsc: Command, views: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    ran = dsc("compress", "taskonomy", "--root", views, "--codec", "png", "--out", out)
    assert ran.code == 0
    for word in (*TASKS, "ratio", "dsc serve", "dsc fetch", "dsc verify"):
        assert word in ran.out
    assert "4 of 4 samples" in ran.err


def test_compress_finds_data_in_the_usual_place_and_names_the_archive_after_it(
    dsc: Command, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "taskonomy").symlink_to(views)
    monkeypatch.chdir(tmp_path)
    ran = dsc("compress", "taskonomy", "--tasks", "rgb", "--codec", "png")
    assert ran.code == 0
    assert "data/taskonomy" in ran.err
    assert len(Archive.open("taskonomy-dsc")) == 4


@pytest.mark.data
def test_a_split_of_nyuv2_chooses_its_frames(dsc: Command, tmp_path: Path, data_root: Path) -> None:
    root = tmp_path / "nyu"
    (root / "nyu_depths").mkdir(parents=True)
    frames = [int(word) for word in (data_root / "nyuv2" / "test.txt").read_text().split()[:3]]
    for frame in frames:
        shutil.copy(data_root / "nyuv2" / "nyu_depths" / f"{frame}.png", root / "nyu_depths")
    (root / "test.txt").write_text(f"{frames[0]}\n{frames[2]}\n")
    words = ("--root", root, "--split", "test", "--codec", "png", "--out", tmp_path / "a")
    assert dsc("compress", "nyuv2", *words).code == 0
    found = dsc("ls", tmp_path / "a", "--json").json()["samples"]
    assert [entry["key"] for entry in found] == [f"nyu_{frames[i]:06d}" for i in (0, 2)]
    assert {entry["split"] for entry in found} == {"test"}


def test_info_sums_up_the_archive(dsc: Command, archive: Path) -> None:
    found = dsc("info", archive, "--json").json()
    assert [row["name"] for row in found["rows"]] == TASKS
    assert found["samples"] == 5
    assert found["manifest"]["splits"] == {"train": 5}
    assert found["shards"] == 3
    everything = sum(path.stat().st_size for path in archive.rglob("*") if path.is_file())
    assert found["stored_bytes"] + found["codec_bytes"] + found["other_bytes"] == everything
    text = dsc("info", archive)
    assert text.code == 0
    assert all(word in text.out for word in (*TASKS, "requires", "0.00195312 m a count"))


def test_ls_lists_samples_shards_and_files(dsc: Command, archive: Path) -> None:
    samples = dsc("ls", archive, "-n", 0, "--json").json()["samples"]
    assert [entry["key"] for entry in samples] == [f"point_{i}_view_0" for i in range(5)]
    assert [entry["index"] for entry in samples] == list(range(5))
    assert len(dsc("ls", archive, "-n", 2, "--json").json()["samples"]) == 2
    shards = dsc("ls", archive, "--shards", "--json").json()["shards"]
    assert [shard["samples"] for shard in shards] == [2, 2, 1]
    files = dsc("ls", archive, "--streams", "--json").json()["files"]
    assert {file["path"] for file in files} == {
        str(path.relative_to(archive)) for path in archive.rglob("*.tar")
    }
    assert "point_4_view_0" in dsc("ls", archive).out
    assert dsc("ls", archive, "--failed").out.strip() == "none"


def test_verify_passes_an_intact_archive(dsc: Command, archive: Path) -> None:
    ran = dsc("verify", archive, "--deep", "--json")
    assert ran.code == 0
    assert ran.json()["ok"]
    assert ran.json()["problems"] == []
    assert "intact" in dsc("verify", archive).out


def test_fetch_export_and_view_follow_each_other(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    ran = dsc("fetch", archive, "--tasks", "depth", "--out", tmp_path / "d", "--json")
    assert (ran.code, ran.json()["tasks"]) == (0, ["depth_zbuffer"])
    assert dsc("verify", tmp_path / "d", "--deep").code == 0
    ran = dsc("export", tmp_path / "d", "--out", tmp_path / "files", "--json")
    assert (ran.code, ran.json()["written"]) == (0, 5)
    ran = dsc("view", tmp_path / "d", "--out", tmp_path / "d.html", "-n", 2, "--json")
    assert (ran.code, ran.json()["samples"], ran.json()["measured"]) == (0, 2, 5)
    assert (tmp_path / "d.html").stat().st_size == ran.json()["bytes"]


def test_stdout_holds_one_json_object_also_on_failure(dsc: Command, tmp_path: Path) -> None:
    ran = dsc("info", tmp_path / "nothing", "--json")
    assert ran.code == 2
    assert ran.json() == {"error": ran.json()["error"], "exit_code": 2}
    assert str(tmp_path / "nothing") in ran.json()["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_keeps_state_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = "compress taskonomy --views 48 --size 48 --tasks rgb --codec png --shard-size 1"
    command = [sys.executable, "-m", "dsc", *words.split(), "--out", str(tmp_path / "a")]
    child = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background of a shell ignores SIGINT, and its children would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    records = tmp_path / "a" / ".dsc" / "records"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(records.glob("*.json"))) < 2:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted: " in err
    assert "kept" in err
    assert "dsc compress taskonomy" in err
    assert "Traceback" not in err
    kept = {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert 2 <= len(kept) < 48
    tars = {path: path.stat().st_mtime_ns for path in (tmp_path / "a" / "rgb").glob("*.tar")}
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(Archive.open(tmp_path / "a")) == 48
    again = [path for path, when in tars.items() if path.stat().st_mtime_ns != when]
    assert len(again) <= len(tars) - len(kept)


def test_a_closed_pipe_is_no_traceback(archive: Path) -> None:
    command = f"{sys.executable} -m dsc ls {archive} --streams -n 0 --json | head -c 1"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert ran.stdout == "{"
    assert "Traceback" not in ran.stderr


def test_public_names_are_those_promised() -> None:
    assert {"compress", "open", "fetch", "unpack", "load_codec"} <= set(dsc.__all__)
    assert all(callable(getattr(dsc, name)) for name in dsc.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dsc.nonsense


def test_codecs_are_loaded_by_name_and_out_of_an_archive(archive: Path) -> None:
    assert dsc.load_codec("png", ["rgb", "depth"]).tasks[1].name == "depth_zbuffer"
    codec = dsc.load_codec(archive, ["depth"])
    assert codec.id == "png"
    assert "depth_zbuffer" in [task.name for task in codec.tasks]
    with pytest.raises(dsc.DscError, match=r"png: rgb.*plain: class_scene"):
        dsc.load_codec(archive)
    with pytest.raises(dsc.DscError, match="neither a codec"):
        dsc.load_codec("nonsense")


def test_json_of_numbers_that_json_does_not_know_is_null(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    ran = dsc("view", archive, "--out", tmp_path / "v.html", "--tasks", "rgb", "--json", "-n", 1)
    assert re.search(r'"psnr_db": null', ran.out)
    assert json.loads(ran.out)["means"]["rgb"]["psnr_db"] is None


def test_overwrite_replaces_an_archive(dsc: Command, archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "a")
    words = (
        "--views",
        2,
        "--size",
        32,
        "--tasks",
        "rgb",
        "--codec",
        "png",
        "--out",
        tmp_path / "a",
    )
    assert dsc("compress", "taskonomy", *words, "--overwrite").code == 0
    assert len(Archive.open(tmp_path / "a")) == 2
    assert dsc("verify", tmp_path / "a").code == 0
