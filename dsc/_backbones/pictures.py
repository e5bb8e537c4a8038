"""From 8-bit pictures to the input of a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dsc._schemas.extractor import Preprocessing
from dsc.errors import UsageError


def prepare(pictures: Sequence[NDArray[Any]], preprocessing: Preprocessing, stride: int) -> Tensor:
    """Prepare pictures as a network's training did.

    Parameters
    ----------
    pictures
        uint8 (H, W, 3) or (H, W); of one size, unless `preprocessing` gives them one.
    preprocessing
        How.
    stride
        Where pictures keep their own size, the multiple that both sides are filled up to.

    Returns
    -------
    Tensor
        float32 (B, 3, h, w).

    Raises
    ------
    UsageError
        When a picture is no 8-bit one, is smaller than the stride, or differs in size from the
        others where sizes are kept.
    """
    sized = [_sized(_planes(picture), preprocessing, stride) for picture in pictures]
    sizes = {tuple(picture.shape) for picture in sized}
    if len(sizes) > 1:
        raise UsageError(f"pictures of the sizes {sorted(size[1:] for size in sizes)} in one batch")
    scale = (preprocessing.mean, preprocessing.std)
    mean, std = (torch.tensor(values)[:, None, None] for values in scale)
    return (torch.stack(sized) - mean) / std


def _planes(picture: NDArray[Any]) -> Tensor:
    """Return float32 (3, H, W), 0 to 255; a gray picture in all three."""
    if (
        picture.dtype != np.uint8
        or picture.ndim not in (2, 3)
        or picture.shape[2:] not in ((), (3,))
    ):
        raise UsageError(
            f"a picture {picture.dtype} {picture.shape}: backbones take uint8 (H, W, 3) or (H, W)"
        )
    colours = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
    return torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1))).float()


def _sized(planes: Tensor, preprocessing: Preprocessing, stride: int) -> Tensor:
    height, width = planes.shape[1:]
    if min(height, width) < stride:
        raise UsageError(
            f"a picture of {width} x {height} pixels is smaller than the network's stride of "
            f"{stride}; resize it before"
        )
    if preprocessing.side is None:
        fill = (0, -width % stride, 0, -height % stride)
        return functional.pad(planes[None], fill, mode="replicate")[0]
    return resize_middle(planes[None], preprocessing.side, preprocessing.crop)[0]


def resize_middle(planes: Tensor, side: int, crop: float = 1.0) -> Tensor:
    """Resize the shorter side to side / crop, bicubic and antialiased, and cut the middle out.

    Parameters
    ----------
    planes
        float32 (B, 3, H, W), 0 to 255.

    Returns
    -------
    Tensor
        float32 (B, 3, side, side), 0 to 255.
    """
    shorter = min(planes.shape[2:])
    scale = round(side / crop) / shorter
    size = [max(side, round(length * scale)) for length in planes.shape[2:]]
    resized = functional.interpolate(
        planes, size, mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 255)
    top, left = ((length - side) // 2 for length in size)
    return resized[:, :, top : top + side, left : left + side]
