"""The format of a buffer's file: one of version 1, as an earlier dsc wrote it, stays what it is."""

import shutil
from pathlib import Path

import h5py
import numpy as np

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.file import BufferFile
from dsc._replay.buffer.format import packed

OLD = Path(__file__).parent / "golden" / "version1.h5"
IMAGES = np.random.default_rng(5).integers(0, 256, (6, 8, 10, 3)).astype(np.uint8)
ORDER = [0, 3, 1, 2, 5, 4]  # by ascending random key, within each class


def test_an_old_buffer_reads_as_it_did() -> None:
    buffer = ReplayBuffer.open(OLD)
    assert buffer.targets.tolist() == [0, 0, 1, 2, -3, 70000, 5]
    assert buffer.keys == (*(f"k{at}" for at in ORDER), "raw")
    assert (buffer.seen, buffer.generation, buffer.budget, buffer.nbytes) == (7, 2, 9000, 2332)
    assert buffer.report().slots == {"png+vector q70": 6, "raw+vector q20": 1}
    for row, at in enumerate(ORDER):
        sample, _ = buffer[row]
        assert np.array_equal(sample["rgb"], IMAGES[at])
        assert ("logits" in sample) == (at % 2 == 0)
        assert np.array_equal(sample.get("logits", []), [] if at % 2 else np.full(3, at / 4))
    assert np.array_equal(buffer[6][0]["rgb"], IMAGES[0] // 2)


def test_an_old_buffer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    shutil.copyfile(OLD, path)
    before = ReplayBuffer.open(path)
    with ReplayBuffer(path, policy="class-balanced", seed=4) as buffer:
        buffer.add({"rgb": IMAGES[:1], "logits": [None]}, [9], keys=["new"])
    after = ReplayBuffer.open(path)
    assert after.keys == (*before.keys, "new")
    assert all(
        np.array_equal(after[row][0]["rgb"], before[row][0]["rgb"]) for row in range(len(before))
    )


def test_an_index_is_written_as_it_was_read() -> None:
    with h5py.File(OLD, "r") as file:
        there = {name: file[name][()] for name in file if name not in ("payloads", "blocks")}
    again = packed(BufferFile(OLD).contents)
    assert again.keys() == there.keys()
    assert {"wide_labels", "keys", "key_lengths"} < again.keys()
    for name, array in there.items():
        assert again[name].dtype == array.dtype, name
        assert again[name].tobytes() == array.tobytes(), name
