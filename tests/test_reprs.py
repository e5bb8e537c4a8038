"""What a notebook shows of the things that users hold says what they are."""

from pathlib import Path

import numpy as np

import dsc


def test_datasets_streams_and_buffers_say_what_they_hold(tmp_path: Path) -> None:
    archive = tmp_path / "a"
    dsc.compress("taskonomy", archive, tasks="rgb,depth", sample=3, size=32)
    dataset = dsc.open(archive, "depth")
    assert repr(dataset) == f"<dsc.Dataset {archive}: 3 samples of depth_zbuffer>"
    stream = dsc.stream(archive, ["rgb"], batch_size=2, rank=1, world=2)
    assert repr(stream) == f"<dsc.SampleStream {archive}: batches of 2, rank 1 of 2>"
    with dsc.ReplayBuffer(tmp_path / "b.h5", "10kB", "png") as buffer:
        buffer.add(np.zeros((2, 8, 8, 3), np.uint8), [0, 1])
        assert repr(buffer) == f"<dsc.ReplayBuffer {tmp_path / 'b.h5'}: 2 exemplars, 10,000 bytes>"
