"""Which codec a buffer takes when none was named: the first images decide, the file remembers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._schemas import Task
from dsc.errors import UsageError
from tests.replay.pictures import pictures

DEPTH = Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0,))
RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)


@pytest.mark.parametrize(
    ("side", "codec"),
    [(32, "av1-small q50"), (64, "av1-small q50"), (224, "av1-small q50"), (300, "webp q50")],
)
def test_the_size_of_the_first_images_decides(tmp_path: Path, side: int, codec: str) -> None:
    with ReplayBuffer(tmp_path / "b.h5", "1MB") as buffer:
        assert buffer.report().codec == "undecided"
        buffer.add(pictures(0), [])
        assert buffer.report().codec == "undecided"
        buffer.add(pictures(3, side), [0, 1, 2])
        assert buffer.report().codec == codec
        assert buffer.report().slots == {codec: 3}


def test_what_was_decided_is_remembered(tmp_path: Path) -> None:
    ReplayBuffer(tmp_path / "b.h5", "1MB", quality=30).close()
    with ReplayBuffer(tmp_path / "b.h5") as buffer:
        assert buffer.report().codec == "undecided"
        buffer.add(pictures(3, 32), [0, 1, 2])
    with ReplayBuffer(tmp_path / "b.h5") as buffer:
        buffer.add(pictures(3, 300), [0, 1, 2])
        assert buffer.report().slots == {"av1-small q30": 6}


def test_one_that_waits_can_be_told(tmp_path: Path) -> None:
    with ReplayBuffer(tmp_path / "b.h5", "1MB") as buffer:
        buffer.use(quality=70)
        decoded, _ = buffer.through_codec(pictures(2, 32))
        assert buffer.report().codec == "undecided"
        buffer.add(pictures(2, 32), [0, 1])
        assert buffer.report().codec == "av1-small q70"
        for image, label in buffer:
            assert np.array_equal(image, decoded[label])
    with ReplayBuffer(tmp_path / "c.h5", "1MB") as buffer:
        buffer.use("png")
        buffer.add(pictures(2, 32), [0, 1])
        assert buffer.report().slots == {"png q50": 2}


def test_sizes_are_mixed_and_the_middle_one_decides(tmp_path: Path) -> None:
    images = [pictures(1, side)[0] for side in (8, 300, 40)]
    with ReplayBuffer(tmp_path / "b.h5", "1MB") as buffer:
        buffer.add(images, [0, 1, 2])
        assert buffer.report().slots == {"av1-small q50": 3}


def test_a_word_for_another_task_leaves_images_to_the_first_ones(tmp_path: Path) -> None:
    options: dict[str, Any] = {"tasks": [RGB, DEPTH], "codec": "depth=png"}
    given = {"rgb": pictures(4, 32), "depth": np.full((4, 32, 32), 900, np.uint16)}
    with ReplayBuffer(tmp_path / "b.h5", "1MB", **options) as buffer:
        buffer.add(given, range(4))
        assert buffer.report().slots == {"av1-small+png q50": 4}
    with ReplayBuffer(tmp_path / "b.h5", **options) as buffer:
        buffer.add(given, range(4))
        assert buffer.report().slots == {"av1-small+png q50": 8}


def test_a_failed_update_decides_nothing(tmp_path: Path) -> None:
    with ReplayBuffer(tmp_path / "b.h5", 200) as buffer:
        with pytest.raises(UsageError, match="smaller than one exemplar"):
            buffer.add(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8), [0, 1])
        assert buffer.report().codec == "undecided"


def test_merged_buffers_go_on_with_what_one_has_decided(tmp_path: Path) -> None:
    ReplayBuffer(tmp_path / "0.h5", "1MB").close()
    with ReplayBuffer(tmp_path / "1.h5", "1MB", seed=1) as part:
        part.add(pictures(3, 32), [0, 1, 2])
    with ReplayBuffer.merge([tmp_path / f"{at}.h5" for at in range(2)], tmp_path / "m.h5") as both:
        assert both.report().codec == "av1-small q50"
    with ReplayBuffer(tmp_path / "2.h5", "1MB", seed=2):
        pass
    with ReplayBuffer.merge([tmp_path / "0.h5", tmp_path / "2.h5"], tmp_path / "n.h5") as neither:
        neither.add(pictures(3, 300), [0, 1, 2])
        assert neither.report().codec == "webp q50"
