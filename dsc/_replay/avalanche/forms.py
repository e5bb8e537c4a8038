"""The forms in which other libraries hold images, to uint8 (H, W, 3) and back.

A replayed image must look to a transform like a new one: what came as a PIL image, a gray one or a
tensor goes back as such. Only what is 8 bits deep passes; anything else is an error, since a codec
would change its meaning.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dsc.errors import UsageError

Pixels = NDArray[np.uint8]
PIL_MODES = {"RGB": 3, "L": 0}
TOLERANCE = 1e-3  # of a count of 255


class Holder(Enum):
    """What holds the pixels of an image."""

    PIL = "PIL image"
    ARRAY = "uint8 array"
    BYTES = "uint8 tensor"
    UNIT = "float tensor in [0, 1]"


@dataclass(frozen=True)
class ImageForm:
    """The form of an image.

    Attributes
    ----------
    holder
        What holds the pixels; the channels of arrays come last, those of tensors first.
    channels
        3, 1, or 0 where the image has no axis for them.
    """

    holder: Holder
    channels: int

    def __str__(self) -> str:
        return f"{self.holder.value}, {'RGB' if self.channels == 3 else 'gray'}"


def to_pixels(image: Any) -> tuple[Pixels, ImageForm]:
    """Return an image as uint8 (H, W, 3), gray ones as three equal channels, and its form.

    Parameters
    ----------
    image
        A PIL image (RGB or L), an array (H, W[, C]) uint8, or a tensor ([C,] H, W), uint8 or
        floating with values k / 255, as torchvision's ``ToTensor`` gives them; C is 1 or 3.

    Raises
    ------
    UsageError
        When it is none of these; the message says what it is.
    """
    if isinstance(image, torch.Tensor):
        holder = Holder.UNIT if image.is_floating_point() else Holder.BYTES
        array = _counts(image) if image.is_floating_point() else image.numpy(force=True)
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        holder, array = Holder.ARRAY, image
    elif hasattr(image, "mode") and hasattr(image, "size"):
        if image.mode not in PIL_MODES:
            raise UsageError(f"a PIL image of mode {image.mode}; convert it to RGB or L")
        holder, array = Holder.PIL, np.asarray(image)
    else:
        raise UsageError(f"{type(image).__name__} is no image; give PIL images, arrays or tensors")
    channels = array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (0, 1, 3):
        raise UsageError(
            f"a {type(image).__name__} of shape {tuple(image.shape)} and dtype {image.dtype}; an "
            "image is uint8 with 1 or 3 channels (last in arrays, first in tensors)"
        )
    pixels = array if channels == 3 else np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return pixels, ImageForm(holder, channels)


def from_pixels(pixels: Pixels, form: ImageForm) -> Any:
    """Return pixels, uint8 (H, W, 3), in a form; the mean of the channels where it is gray."""
    if form.channels == 3:
        array = pixels
    else:
        array = np.rint(pixels.mean(axis=2)).astype(np.uint8)
        array = array[..., None] if form.channels else array
    if form.holder is Holder.ARRAY:
        return array
    if form.holder is Holder.PIL:
        from PIL import Image

        return Image.fromarray(array)
    tensor = torch.from_numpy(
        np.ascontiguousarray(array if array.ndim == 2 else array.transpose(2, 0, 1))
    )
    return tensor.float() / 255 if form.holder is Holder.UNIT else tensor


def _counts(image: torch.Tensor) -> NDArray[Any]:
    """Return the 8-bit counts of an image in [0, 1]."""
    counts = image.numpy(force=True).astype(np.float64) * 255
    whole = np.rint(counts)
    if not np.all(np.isfinite(counts)) or whole.min(initial=0) < 0 or whole.max(initial=0) > 255:
        raise UsageError(
            f"a float tensor with values from {float(image.min()):g} to {float(image.max()):g} is "
            "no image in [0, 1]; normalise in a transform that is applied after the memory"
        )
    if np.abs(counts - whole).max(initial=0) > TOLERANCE:
        raise UsageError(
            "a float tensor whose values are not k / 255 is no 8-bit image: it has been resized or "
            "changed as floats; do so in a transform that is applied after the memory"
        )
    return whole.astype(np.uint8)
