"""Images come back in the form in which they came; what is no 8-bit image is refused."""

from typing import Any

import numpy as np
import pytest
import torch

from dsc._replay.avalanche.forms import from_pixels, to_pixels
from dsc.errors import UsageError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GRAY = RNG.integers(0, 256, (5, 7), np.uint8)


def pil(array: Any) -> Any:
    return pytest.importorskip("PIL.Image", reason="pip install pillow").fromarray(array)


@pytest.mark.parametrize(
    "image",
    [
        RGB,
        GRAY,
        GRAY[..., None],
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(GRAY),
        torch.from_numpy(GRAY)[None],
        torch.from_numpy(RGB).permute(2, 0, 1).float() / 255,
        torch.from_numpy(GRAY)[None].double() / 255,
    ],
    ids=["rgb", "gray", "gray1", "tensor", "tensor-gray", "tensor-gray1", "unit", "unit-double"],
)
def test_arrays_and_tensors_come_back_as_they_came(image: Any) -> None:
    pixels, form = to_pixels(image)
    assert pixels.shape == (5, 7, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == RGB).all() or (pixels == GRAY[..., None]).all()
    back = from_pixels(pixels, form)
    assert type(back) is type(image)
    assert back.shape == image.shape
    if torch.is_tensor(image):
        assert torch.allclose(back.double(), image.double(), atol=1e-7)
    else:
        assert (back == image).all()


@pytest.mark.parametrize(("array", "mode"), [(RGB, "RGB"), (GRAY, "L")])
def test_pil_images_come_back_as_they_came(array: Any, mode: str) -> None:
    pixels, form = to_pixels(pil(array))
    back = from_pixels(pixels, form)
    assert back.mode == mode
    assert (np.asarray(back) == array).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.from_numpy(RGB).permute(2, 0, 1).float(), "no image in"),
        (torch.randn(3, 5, 7), "no image in"),
        (torch.full((3, 5, 7), float("nan")), "no image in"),
        (torch.rand(3, 5, 7), "not k / 255"),
        (torch.from_numpy(RGB), "shape"),
        (torch.zeros(3, 5, 7, dtype=torch.int64), "int64"),
        (RGB.astype(np.float32), "float32"),
        (np.zeros((3, 5, 7), np.uint8), "shape"),
        ([1, 2], "list is no image"),
    ],
)
def test_what_is_no_8_bit_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_pixels(image)


def test_pil_images_of_other_modes_are_refused() -> None:
    with pytest.raises(UsageError, match="mode RGBA; convert it"):
        to_pixels(pil(RGB).convert("RGBA"))
