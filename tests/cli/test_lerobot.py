"""LeRobot datasets through the command line: recognised, compressed, listed, checked."""

from pathlib import Path

import pytest

from dsc._storage.read.archive import Archive
from tests.cli.conftest import Command
from tests.lerobot import TEXTS, Made, make

pytest.importorskip("pyarrow")
pytest.importorskip("av", reason="videos are read by PyAV")


def test_a_dataset_is_compressed_and_listed(dsc: Command, tmp_path: Path) -> None:
    root, out = make(tmp_path / "robot", Made(depth=True)), tmp_path / "out"
    ran = dsc("compress", "lerobot", "--root", root, "--out", out, "--pack", 4)
    assert ran.code == 0, ran.err
    assert "LeRobot v3.0, 10 frames a second; times are frame_index / fps" in ran.err
    listed = dsc("ls", out, "--json").json()
    assert listed["samples"][14]["key"] == "episode_000001__000001"
    archive = Archive.open(str(out))
    assert archive.place(14) == ("episode_000001", 1, 100_000_000)
    assert dsc("verify", out, "--deep").code == 0
    told = dsc("ls", out, "--where", f"task == '{TEXTS[1]}'", "--json").json()["samples"]
    assert {one["key"].partition("__")[0] for one in told} == {"episode_000001"}


def test_a_dataset_is_known_by_its_info(dsc: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "robot", Made(cameras=(), lengths=(2,)))
    ran = dsc("compress", root, "--out", tmp_path / "out")
    assert ran.code == 2
    assert f"write lerobot --root {root}" in " ".join(ran.err.split())


def test_a_damaged_frame_is_a_failed_sample(dsc: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "robot", Made(version="v2.1", lengths=(4, 3)))
    video = tmp_path / "robot/videos/chunk-000/observation.images.top/episode_000001.mp4"
    video.write_bytes(video.read_bytes()[:-600])
    out = tmp_path / "out"
    ran = dsc("compress", "lerobot", "--root", root, "--out", out)
    assert ran.code != 0
    assert "episode 1, frame 0" in " ".join(ran.err.split())
    ran = dsc("compress", "lerobot", "--root", root, "--out", out, "--on-error", "skip")
    assert ran.code == 1
    assert Archive.open(str(out)).manifest.n_failed == 3
