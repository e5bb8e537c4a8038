"""Crops of an adaptation: weights go with their pixels, and a step is drawn from its number."""

import numpy as np
import torch

from dsc._schemas import Task
from dsc._training.adapt import Adaptation, _batch, as_planes

RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)
HOW = Adaptation(steps=9, batch=8, crop=32, quality=(20, 60), seed=3)


def test_weights_of_the_error_go_with_their_pixels() -> None:
    """The weight of a pixel is its value here, so it can be seen where each of them went."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 256, (5, 48, 80))
    samples = [
        as_planes([RGB], {"rgb": v[..., None].repeat(3, 2).astype(np.uint8)}, v) for v in values
    ]
    inputs, valid, quality = _batch(samples, HOW, 32, 0)
    assert inputs["rgb"].shape == (8, 3, 32, 32)
    seen = (inputs["rgb"][:, :1] + 0.5) * 255
    ratio = seen / valid["rgb"]
    means = torch.tensor([v.mean() for v in values])
    for own in ratio:
        assert own.max() - own.min() < 0.01 * own.max()
        assert (means - own.mean()).abs().min() < 0.1
    assert quality["rgb"].min() >= 20
    assert quality["rgb"].max() <= 60


def test_what_pads_a_small_image_has_no_weight() -> None:
    sample = as_planes([RGB], {"rgb": np.full((20, 17, 3), 9, np.uint8)})
    _, valid, _ = _batch([sample], HOW, 32, 0)
    assert valid["rgb"].sum() == 8 * 20 * 17


def test_a_step_is_drawn_from_its_number() -> None:
    rng = np.random.default_rng(1)
    samples = [
        as_planes([RGB], {"rgb": rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)})
        for _ in range(9)
    ]
    first, again, later = (_batch(samples, HOW, 32, step)[0]["rgb"] for step in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
