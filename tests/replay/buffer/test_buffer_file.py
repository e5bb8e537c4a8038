import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dsc._codecs import registry
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.format import checksum
from dsc._schemas import Task, TaskKind
from dsc.errors import (
    CorruptArchiveError,
    SourceNotFoundError,
    UnknownCodecError,
    UnsupportedVersionError,
)
from tests.places import ROOT
from tests.replay.kinds import Kind
from tests.replay.pictures import pictures

KILLS = int(os.environ.get("DSC_KILLS", "25"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "b.h5"
    with ReplayBuffer(found, budget="1MB", codec="png") as buffer:
        buffer.add(pictures(80, 32), np.arange(80) % 4)
    return found


def test_a_process_killed_at_any_moment_leaves_the_old_or_the_new_buffer(
    tmp_path: Path, kind: Kind
) -> None:
    module = "tests.replay.buffer.killed"
    command = [sys.executable, "-m", module, str(tmp_path), kind.name, str(KILLS)]
    root = ROOT
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    counts = json.loads(ran.stdout)
    assert counts["lost"] == 0
    assert counts["kills"] == KILLS


def test_a_full_disk_leaves_the_old_buffer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = path.read_bytes()
    buffer = ReplayBuffer(path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            buffer.add(pictures(5, 32), range(5))
    assert path.read_bytes() == data
    assert len(buffer) == 80
    assert not (path.parent / ".b.h5.part").exists()
    buffer.add(pictures(5, 32), range(5))
    assert len(buffer) == 85


def test_a_flipped_payload_byte_is_reported_with_its_exemplars(path: Path) -> None:
    with h5py.File(path) as file:
        start, size = file["payloads"].id.get_offset(), file["payloads"].size
    data = bytearray(path.read_bytes())
    data[start + size - 10] ^= 1
    path.write_bytes(data)
    buffer = ReplayBuffer.open(path)
    assert buffer[0][0].shape == (32, 32, 3)  # what is intact can be read
    with pytest.raises(CorruptArchiveError, match=r"exemplars \d+ to 79.*damaged"):
        buffer[79]


@pytest.mark.parametrize("name", ["labels", "random", "lengths", "meta"])
def test_a_changed_index_is_not_opened(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        file[name][0] += 1
    with pytest.raises(CorruptArchiveError, match="checksum"):
        ReplayBuffer.open(path)


@pytest.mark.parametrize("left", [0, 100, 5000, -1])
def test_a_cut_file_is_not_opened(path: Path, left: int) -> None:
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CorruptArchiveError, match=r"b\.h5"):
        ReplayBuffer.open(path)


def test_a_file_of_something_else_is_not_opened(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["labels"] = [1, 2]
    with pytest.raises(CorruptArchiveError, match="not a replay buffer"):
        ReplayBuffer.open(tmp_path / "x.h5")
    with pytest.raises(SourceNotFoundError):
        ReplayBuffer.open(tmp_path / "y.h5", readonly=False)
    assert not (tmp_path / "y.h5").exists()


def rewritten_meta(path: Path, old: str, new: str) -> None:
    with h5py.File(path, "r+") as file:
        text = file["meta"][()].tobytes().decode()
        assert old in text
        del file["meta"]
        file["meta"] = np.frombuffer(text.replace(old, new).encode(), np.uint8)
        arrays = {n: d[()] for n, d in file.items() if isinstance(d, h5py.Dataset)}
        file.attrs["index_crc32"] = np.uint32(
            checksum({name: array for name, array in arrays.items() if name != "payloads"})
        )


def test_a_later_version_is_refused_by_number(path: Path) -> None:
    rewritten_meta(path, '"version":1', '"version":2')
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        ReplayBuffer.open(path)


def test_a_codec_that_is_not_known_here_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_weights(tmp_path)
    with h5py.File(path) as file:
        (sha,) = file["weights"]
    monkeypatch.delitem(registry.CODECS, "label-context")
    with pytest.raises(UnknownCodecError, match=f"{sha}.*label-context"):
        ReplayBuffer.open(path)


def test_missing_weights_are_an_error_that_names_their_hash(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    with h5py.File(path, "r+") as file:
        (sha,) = file["weights"]
        del file["weights"][sha]
    with pytest.raises(CorruptArchiveError, match=sha):
        ReplayBuffer.open(path)


def test_changed_weights_are_an_error_that_names_their_hash(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    with h5py.File(path, "r+") as file:
        (sha,) = file["weights"]
        file["weights"][sha][1000] ^= 1
    with pytest.raises(CorruptArchiveError, match=sha):
        ReplayBuffer.open(path)[0]


def with_weights(folder: Path) -> Path:
    task = Task(name="semantic", kind=TaskKind.LABEL, dtype="uint8")
    path = folder / "w.h5"
    with ReplayBuffer(path, budget="1MB", codec="label-context", tasks=[task]) as buffer:
        masks = np.kron(np.arange(16).reshape(1, 4, 4), np.ones((1, 4, 4))).astype(np.uint8)
        buffer.add({"semantic": masks}, [0])
    return path
