from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.policies.registry import POLICIES
from dsc.errors import StateMismatchError, UnknownCodecError, UsageError
from tests.replay.pictures import pictures


def test_a_budget_smaller_than_one_exemplar_names_both_sizes(tmp_path: Path) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", budget=300, codec="png")
    with pytest.raises(UsageError, match="budget of 300") as raised:
        buffer.add(pictures(3, 32), [0, 1, 2])
    assert "smaller than one exemplar" in str(raised.value)
    assert len(buffer) == 0
    with pytest.raises(UsageError, match="raise it"):
        ReplayBuffer(tmp_path / "c.h5", budget=3)


def test_a_class_with_no_samples_takes_no_share(tmp_path: Path) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", "6kB", "webp", policy="class-balanced")
    buffer.add(pictures(150), np.array([0, 2, 5])[np.arange(150) % 3])
    buffer.add(pictures(0), [])
    counts = np.bincount(buffer.targets)
    assert counts[[1, 3, 4]].sum() == 0
    assert np.ptp(counts[[0, 2, 5]]) <= 2
    assert buffer.nbytes > 5400


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_labels_out_of_order_and_long_tails_come_out_right(tmp_path: Path, policy: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([9, 3, 1, 700], [120, 40, 4, 1])
    order = rng.permutation(len(labels))
    images = pictures(len(labels))[order]
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="9kB", policy=policy, codec="png")
    keys = [str(at) for at in order]
    buffer.add(images, labels[order], keys=keys, features=rng.normal(size=(len(labels), 4)))
    for label, key in zip(buffer.targets, buffer.keys, strict=True):
        assert labels[int(key)] == label
    if policy != "reservoir":
        assert (buffer.targets == 700).sum() == 1
        assert (buffer.targets == 1).sum() == 4


def test_gray_among_colour_becomes_three_equal_channels(tmp_path: Path) -> None:
    gray = pictures(1)[0, :, :, 0]
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB", codec="png")
    buffer.add([pictures(1)[0], gray, gray[..., None]], [0, 1, 2])
    for image, label in buffer:
        assert image.shape == (16, 16, 3)
        if label:
            assert np.array_equal(image, np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (pictures(2).astype(np.float32) / 255, [0, 1], "float32.*integers of the file"),
        (np.moveaxis(pictures(2), -1, 1), [0, 1], "channels come last"),
        (pictures(2).astype(np.uint16), [0, 1], "uint16, expected uint8"),
        (pictures(2), [0], "2 arrays of rgb and 1 labels"),
        (pictures(2), [0.0, 1.0], "float64.*integers"),
        (pictures(2), [[0, 1]], "integers, one an image"),
        (pictures(2), ["cat", "dog"], "integers"),
        ({"rgb": pictures(2)}, [0, 1], "got dict"),
        ([pictures(1)[0], None], [0, 1], "none of the tasks"),
        ([pictures(1)[0], "x.png"], [0, 1], "image 1.*str"),
        ([np.zeros((4, 4, 4), np.uint8)], [0], "image 0"),
        (np.zeros((1, 0, 4, 3), np.uint8), [0], "image 0"),
    ],
)
def test_what_is_no_image_or_label_is_refused_and_named(
    tmp_path: Path, images: Any, labels: Any, says: str
) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB")
    data = (tmp_path / "b.h5").read_bytes()
    with pytest.raises(UsageError, match=says):
        buffer.add(images, labels)
    assert (tmp_path / "b.h5").read_bytes() == data


def test_keys_are_given_always_or_never(tmp_path: Path) -> None:
    buffer = ReplayBuffer(tmp_path / "b.h5", budget="1MB")
    buffer.add(pictures(2), [0, 1], keys=["a", "b"])
    with pytest.raises(UsageError, match="keeps keys"):
        buffer.add(pictures(2), [0, 1])
    with pytest.raises(UsageError, match="1 keys and 2 labels"):
        buffer.add(pictures(2), [0, 1], keys=["a"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"budget": "7kB"}, "budget=7000.*6000.*resize"),
        ({"seed": 4}, "seed=4"),
        ({"policy": "herding"}, "policy=.*herding"),
        ({"count_decoder": True}, "count_decoder=True"),
    ],
)
def test_other_options_than_those_of_the_buffer_there_are_refused(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    ReplayBuffer(tmp_path / "b.h5", budget="6kB", seed=3, policy="reservoir").close()
    with pytest.raises(StateMismatchError, match=says):
        ReplayBuffer(tmp_path / "b.h5", **given)
    ReplayBuffer(tmp_path / "b.h5").close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "needs budget="),
        ({"budget": "many"}, "budget='many'"),
        ({"budget": "1MB", "policy": "random"}, "policy 'random'"),
        ({"budget": "1MB", "quality": 0}, "1 to 100"),
        ({"budget": "1MB", "tasks": []}, "Task values"),
        ({"budget": "1MB", "tasks": ["rgb"]}, "Task values"),
        ({"budget": "1MB", "codec": "vector"}, "rgb"),
    ],
)
def test_options_that_make_no_sense_leave_nothing_behind(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        ReplayBuffer(tmp_path / "b.h5", **given)
    assert not list(tmp_path.iterdir())


def test_an_unknown_codec_word_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownCodecError, match=r"webp"):
        ReplayBuffer(tmp_path / "b.h5", budget="1MB", codec="gif")


def test_a_second_writer_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = ReplayBuffer(tmp_path / "b.h5", budget="1MB")
    with pytest.raises(UsageError, match="is writing to this buffer"):
        ReplayBuffer(tmp_path / "b.h5")
    first.close()
    with ReplayBuffer(tmp_path / "b.h5") as second:
        second.add(pictures(1), [0])
    with pytest.raises(UsageError, match="closed"):
        first.add(pictures(1), [0])
    assert [path.name for path in tmp_path.iterdir()] == ["b.h5"]
