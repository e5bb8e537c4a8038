"""The commands know recordings: compress says what it found, ls and info list, view shows one."""

import json
from pathlib import Path

import pytest

from dsc._pipeline.read.dataset import Dataset
from tests.cli.conftest import Command
from tests.sources.lookalikes import Drawer
from tests.walks_of_files import write_walk


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("walks")
    write_walk(root, "seq-01", range(10, 15))
    write_walk(root, "seq-02", range(0, 8, 2))
    return root


@pytest.fixture
def walks(root: Path, tmp_path: Path, dsc: Command) -> Path:
    out = tmp_path / "walks"
    words = ("--tasks", "rgb,pose", "--codec", "png", "--shard-size", 4, "--pack", 2)
    ran = dsc("compress", "folder", "--root", root, *words, "--out", out)
    assert ran.code == 0, ran.err
    assert "recordings: 2 with 9 frames" in ran.out + ran.err
    return out


def test_ls_lists_frames_and_recordings(walks: Path, dsc: Command) -> None:
    found = json.loads(dsc("ls", walks, "--json").out)["samples"]
    assert [(one["sequence"], one["frame"]) for one in found] == [
        *(("seq-01", frame) for frame in range(10, 15)),
        *(("seq-02", frame) for frame in range(0, 8, 2)),
    ]
    found = json.loads(dsc("ls", walks, "--sequences", "--json").out)["sequences"]
    assert found[1] == {
        "sequence": "seq-02", "split": "train", "frames": 4, "first": 0, "last": 6, "index": 5,
        "duration_ns": None,
    }  # fmt: skip
    text = dsc("ls", walks, "--sequences").out
    assert "seq-01" in text
    assert "duration" not in text


def test_ls_takes_frames_of_some_recordings(walks: Path, dsc: Command) -> None:
    words = ("--sequence", "seq-02", "--where", "frame < 3 or frame > 5")
    found = json.loads(dsc("ls", walks, *words, "--json").out)["samples"]
    assert [(one["index"], one["frame"]) for one in found] == [(5, 0), (6, 2), (8, 6)]
    listed = json.loads(dsc("ls", walks, *words, "--sequences", "--json").out)["sequences"]
    assert [(one["sequence"], one["frames"], one["index"]) for one in listed] == [("seq-02", 3, 5)]
    nothing = dsc("ls", walks, "--sequence", "seq-3")
    assert nothing.code == 2
    assert "'seq-01'" in nothing.err
    assert "name a recording" in dsc("ls", walks, "--sequence", ",").err
    assert "give one" in dsc("ls", walks, "--sequences", "--shards").err


def test_ls_shows_seconds(tmp_path: Path, dsc: Command) -> None:
    Drawer(tmp_path / "in").rgb("rgb/a/5.25.png", "rgb/a/7.5.png", "rgb/b/x.png")
    words = ("--root", tmp_path / "in", "--sequence-by", "{sequence}/{time}", "--codec", "png")
    assert dsc("compress", "folder", *words, "--out", tmp_path / "out").code == 0
    assert "7.500 s" in dsc("ls", tmp_path / "out").out
    assert "2.250 s" in dsc("ls", tmp_path / "out", "--sequences").out


def test_info_shows_recordings(walks: Path, archive: Path, dsc: Command) -> None:
    text = dsc("info", walks).out
    assert "2 recordings, 9 frames" in text
    found = json.loads(dsc("info", walks, "--json").out)
    assert [one["sequence"] for one in found["recordings"]] == ["seq-01", "seq-02"]
    assert json.loads(dsc("info", archive, "--json").out)["recordings"] == []
    assert "recording" not in dsc("info", archive).out


def test_view_shows_the_frames_of_a_recording(walks: Path, tmp_path: Path, dsc: Command) -> None:
    page = tmp_path / "page.html"
    ran = dsc("view", walks, "--sequence", "seq-02", "-n", 2, "--out", page)
    assert ran.code == 0, ran.err
    text = page.read_text()
    assert "seq-02, frame 0" in text
    assert "seq-02, frame 6" in text
    assert "seq-01" not in text
    ran = dsc("view", walks, "--sequence", "seq-2", "--out", page)
    assert (ran.code, "there: seq-01, seq-02" in ran.err) == (2, True)


def test_export_gives_frames_their_names_back(
    root: Path, walks: Path, tmp_path: Path, dsc: Command
) -> None:
    out = tmp_path / "back"
    ran = dsc("export", walks, "--sequence", "seq-02", "--out", out)
    assert ran.code == 0, ran.err
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert found == [f"seq-02/frame-{frame:06d}.color.png" for frame in range(0, 8, 2)]
    for path in found:
        assert (out / path).read_bytes()


def test_append_goes_on_with_a_recording(
    root: Path, walks: Path, tmp_path: Path, dsc: Command
) -> None:
    more = tmp_path / "more"
    write_walk(more, "seq-02", range(8, 11))
    write_walk(more, "seq-03", range(2))
    ran = dsc("append", walks, "folder", "--root", more, "--tasks", "rgb,pose")
    assert ran.code == 0, ran.err
    found = json.loads(dsc("ls", walks, "--sequences", "--json").out)["sequences"]
    assert [(one["sequence"], one["frames"], one["last"]) for one in found] == [
        ("seq-01", 5, 14), ("seq-02", 7, 10), ("seq-03", 2, 1)
    ]  # fmt: skip
    assert dsc("verify", walks, "--deep").code == 0


def test_append_puts_no_frame_between(walks: Path, tmp_path: Path, dsc: Command) -> None:
    write_walk(tmp_path / "more", "seq-02", range(5, 9))
    ran = dsc("append", walks, "folder", "--root", tmp_path / "more", "--tasks", "rgb,pose")
    assert ran.code == 2
    assert "recording seq-02: seq-02__frame-000005 is frame 5, and the archive ends" in ran.err
    assert "frame 6" in ran.err


def test_append_keeps_a_recording_in_its_split(walks: Path, tmp_path: Path, dsc: Command) -> None:
    write_walk(tmp_path / "more", "seq-02", range(8, 9))
    words = ("--tasks", "rgb,pose", "--split", "val")
    ran = dsc("append", walks, "folder", "--root", tmp_path / "more", *words)
    assert ran.code == 2
    assert "in split train of the archive" in ran.err


def test_none_codes_every_frame_alone(root: Path, tmp_path: Path, dsc: Command) -> None:
    words = ("--tasks", "rgb", "--codec", "png", "--sequence-by", "none")
    ran = dsc("compress", "folder", "--root", root, *words, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "recordings" not in ran.out + ran.err
    assert json.loads(dsc("ls", tmp_path / "out", "--sequences", "--json").out)["sequences"] == []


def test_files_that_are_no_videos_cannot_be_kept(root: Path, tmp_path: Path, dsc: Command) -> None:
    words = ("--tasks", "rgb", "--codec", "rgb=keep", "--on-error", "skip")
    ran = dsc("compress", "folder", "--root", root, *words, "--out", tmp_path / "out")
    assert (ran.code, "--codec rgb=keep" in ran.err, "folder has no videos" in ran.err) == (
        2, True, True,
    )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_text_beside_frames_in_groups_is_read_in_order(tmp_path: Path, dsc: Command) -> None:
    Drawer(tmp_path / "in").labels(*(f"a/{number}.label.png" for number in range(5)))
    for number in range(5):
        (tmp_path / "in/a" / f"{number}.caption.txt").write_text(f"frame {number}")
    words = ("--root", tmp_path / "in", "--sequence-by", "dir", "--codec", "label=av1-seq")
    assert dsc("compress", "folder", *words, "--out", tmp_path / "out").code == 0
    captions = [sample["caption"] for sample in Dataset.open(tmp_path / "out")]
    assert captions == [f"frame {number}" for number in range(5)]
