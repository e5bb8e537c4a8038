"""An archive tells its recordings: which samples they are, their frames and times."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._schemas import SequencePlace
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError
from tests.places import ROOT
from tests.sources.lookalikes import Drawer
from tests.walks_of_files import write_walk

CODING = {"codec": "png", "tasks": "rgb,depth", "shard_size": 3, "pack": 2}


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings, of five frames and of four, in shards of three samples."""
    root = tmp_path_factory.mktemp("walks")
    write_walk(root / "in", "seq-01", range(10, 15), first_without_depth=True)
    write_walk(root / "in", "seq-02", range(0, 8, 2))
    dsc.compress("folder", root / "out", root=root / "in", **CODING)
    return root / "out"


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of three frames with time stamps, and a picture of none."""
    root = tmp_path_factory.mktemp("timed")
    d = Drawer(root / "in")
    d.rgb("rgb/a/cover.png", *(f"rgb/a/{t}.png" for t in ("5.25", "5.5", "7.000000001")))
    d.rgb("rgb/b/9.0.png")
    options = {"codec": "png", "sequence_by": "{sequence}/{time}"}
    dsc.compress("folder", root / "out", root=root / "in", **options)
    return root / "out"


def test_a_dataset_tells_its_recordings(walks: Path) -> None:
    found = dsc.open(walks).sequences()
    assert list(found) == ["seq-01", "seq-02"]
    first, second = found.values()
    np.testing.assert_array_equal(first.indices, range(5))
    np.testing.assert_array_equal(first.frames, range(10, 15))
    np.testing.assert_array_equal(second.indices, range(5, 9))
    np.testing.assert_array_equal(second.frames, [0, 2, 4, 6])
    assert (len(second), second.split, second.times, second.duration_ns) == (4, "train", None, None)
    assert repr(second) == "<recording seq-02: 4 frames, 0 to 6>"
    assert [dsc.open(walks).place(n) for n in (0, -1)] == [
        SequencePlace("seq-01", 10), SequencePlace("seq-02", 6)
    ]  # fmt: skip


def test_a_selection_tells_what_it_has_of_recordings(walks: Path) -> None:
    some = dsc.open(walks, indices=[7, 3, 5])
    found = some.sequences()
    assert {name: one.indices.tolist() for name, one in found.items()} == {
        "seq-01": [1], "seq-02": [2, 0]
    }  # fmt: skip
    assert found["seq-02"].frames.tolist() == [0, 4]
    assert some.place(0) == SequencePlace("seq-02", 4)
    assert pickle.loads(pickle.dumps(some)).place(2) == SequencePlace("seq-02", 0)


def test_times_are_told_where_every_frame_has_one(timed: Path) -> None:
    found = dsc.open(timed).sequences()
    times = found["a"].times
    assert times is not None
    assert times.tolist() == [5_250_000_000, 5_500_000_000, 7_000_000_001]
    assert found["a"].duration_ns == 1_750_000_001
    assert found["a"].indices.tolist() == [0, 1, 2]
    assert dsc.open(timed).place(3) is None


def test_conditions_know_sequence_frame_and_time(walks: Path, timed: Path) -> None:
    def chosen(archive: Path, where: str) -> list[int]:
        return dsc.open(archive, where=where).indices.tolist()

    assert chosen(walks, "sequence == 'seq-02' and frame >= 4") == [7, 8]
    assert chosen(walks, "frame % 2 == 0 and depth is not None") == [2, 4, 5, 6, 7, 8]
    assert chosen(timed, "time < 5.5e9") == [0]
    assert chosen(timed, "sequence is None") == [3]
    assert chosen(timed, "__frame__ == 0 and column('sequence') in ('b', 'c')") == [4]
    found = dsc.open(walks, where=lambda row: row["frame"] == 12 and row["time"] is None)
    assert found.indices.tolist() == [2]
    with pytest.raises(UsageError, match="its first shard has sequence: 'seq-01'"):
        dsc.open(walks, where="sequence == 'seq-09'")


def test_an_archive_without_recordings_has_none(tmp_path: Path) -> None:
    dsc.compress("sample", tmp_path, sample=2, size=32, tasks="depth", codec="png")
    dataset = dsc.open(tmp_path)
    assert dataset.sequences() == {}
    assert dataset.place(1) is None
    assert not Archive.open(str(tmp_path)).has_recordings
    with pytest.raises(UsageError, match="sequence: no sample here has it"):
        dsc.open(tmp_path, where="sequence == 'a'")


def test_a_task_of_such_a_name_comes_before(tmp_path: Path) -> None:
    write_walk(tmp_path / "in", "seq-01", range(3))
    for frame in range(3):
        (tmp_path / f"in/seq-01/frame-{frame:06d}.time.txt").write_text(f"{frame}")
    dsc.compress("folder", tmp_path / "out", root=tmp_path / "in", kinds={"time": "scalar"})
    assert dsc.open(tmp_path / "out", where="time == 2").indices.tolist() == [2]
    assert dsc.open(tmp_path / "out", where="__time__ is None").indices.tolist() == [0, 1, 2]


def test_python_of_the_page_about_recordings_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dsc.compress("rendered", "walks", frames=40, sequences=2, size=32, tasks="rgb,depth")
    page = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/recordings.md", "exec"), scope)
    assert len(scope["some"]) == 2
