"""The pages for owners, trainers and learners run from top to bottom, on smaller data."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc.sources import open_source
from tests.places import ROOT

FRAMES, SIZE = 12, 256


def page(name: str, **instead: str) -> str:
    """Return a page with some of its words replaced; each must be there."""
    text = (ROOT / "docs" / name).read_text()
    for old, new in instead.values():
        assert old in text, f"{name} no longer says {old!r}"
        text = text.replace(old, new)
    return text


def run_commands(text: str, folder: Path) -> list[str]:
    """Run what a page's shell blocks say, but for servers; give what each printed."""
    printed = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line)
            assert words[0] == "dsc"
            if words[1] != "serve":
                command = [sys.executable, "-m", "dsc", *words[1:]]
                done = subprocess.run(
                    command, check=False, cwd=folder, capture_output=True, text=True,
                    env=os.environ | {"DSC_STATE": str(folder / "state")},
                )  # fmt: skip
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                printed.append(done.stdout + done.stderr)
    return printed


def run_code(text: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "page", "exec"), names)
    return names


def write_frames(folder: Path, numbers: range) -> None:
    """Write rendered views as frames of a recording: colour, depth in millimetres, poses."""
    source = open_source("sample", n=numbers.stop, size=SIZE)
    folder.mkdir()
    for number in numbers:
        arrays = source.read(number, ["rgb", "depth_zbuffer"]).arrays
        metres = arrays["depth_zbuffer"].astype(np.float64) / 512
        depth = np.where(arrays["depth_zbuffer"] == 65535, 0, metres * 1000).astype(np.uint16)
        stem = folder / f"frame-{number:06d}"
        Path(f"{stem}.color.jpg").write_bytes(imagecodecs.jpeg8_encode(arrays["rgb"], 95))
        Path(f"{stem}.depth.png").write_bytes(imagecodecs.png_encode(depth))
        np.savetxt(f"{stem}.pose.txt", np.eye(4) + number)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which the owner's page was followed, and what was printed."""
    folder = tmp_path_factory.mktemp("people")
    write_frames(folder / "sevenscenes", range(FRAMES))
    write_frames(folder / "newer", range(FRAMES, FRAMES + 2))
    for part in ("sevenscenes", "newer"):
        (folder / part / "camera-intrinsics.txt").write_text("585 0 320\n0 585 240\n0 0 1\n")
    return folder, run_commands(page("for_owners.md"), folder)


@pytest.mark.slow
def test_an_owner_makes_measures_pushes_and_grows_an_archive(rooms) -> None:
    folder, printed = rooms
    assert f"{FRAMES} samples, 4 tasks" in printed[0]
    assert "depth_unit" not in printed[0]
    assert "invalid mask exact" in printed[1]
    assert list(dsc.open(folder / "depth-only").keys()) == [
        f"frame-{number:06d}" for number in range(FRAMES)
    ]
    assert (folder / "files" / "frame-000003.depth.png").is_file()
    assert "2" in printed[-1]


@pytest.mark.slow
def test_a_trainer_crops_selects_stops_and_goes_on(rooms, monkeypatch, capsys) -> None:
    monkeypatch.chdir(rooms[0])
    text = page(
        "for_trainers.md",
        split=("index < 80", "index < 8"),
        held=("index >= 80", "index >= 8"),
        batch=("batch_size=8", "batch_size=2"),
    )
    names = run_code(text)
    assert names["rest"] == 8 - 3 * 2
    printed = capsys.readouterr().out
    assert printed.startswith("8 frames to train on, 6 to judge by")
    assert "epoch 1:" in printed


@pytest.mark.slow
def test_a_learner_chooses_a_codec_and_runs_it(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 4)):
        for kind in "abcd":
            folder = tmp_path / "cifar100" / part / kind
            folder.mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 256, (32, 32, 3), np.uint8)
                (folder / f"{number}.png").write_bytes(imagecodecs.png_encode(image))
    text = page(
        "for_learners.md",
        classes=("--classes 20 --increment 4", "--classes 4 --increment 2"),
        epochs=("--epochs 30 --seeds 0,1,2", "--epochs 1 --seeds 0"),
    )
    run_commands(text, tmp_path)
    assert (tmp_path / "results" / "results.csv").is_file()
    monkeypatch.chdir(tmp_path)
    assert len(run_code(text)["memory"]) == 8
