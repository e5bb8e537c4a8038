"""What torchvision's transforms get: images, and coordinates, which are interpolated like images.

Coordinates are masks to every transform, so that colours leave them alone, but for moves between
pixels, which have kernels of their own here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

BILINEAR = InterpolationMode.BILINEAR


class Coordinates(tv_tensors.Mask):  # type: ignore[misc]
    """Coordinates of pixels, float32 (3, H, W)."""


def as_image(array: Any) -> Any:
    """Return an image (H, W) or (H, W, C) as torchvision has them, (C, H, W)."""
    return tv_tensors.Image(_channels_first(array))


def as_coordinates(array: Any) -> Any:
    """Return a copy of coordinates (H, W, 3) for a transform."""
    return Coordinates(_channels_first(array.copy()))


def as_array(tensor: Any, like: Any = None) -> Any:
    """Return an array (H, W, C); (H, W) where that is what the image was."""
    array = tensor.as_subclass(Tensor).permute(1, 2, 0).contiguous().numpy()
    return array[..., 0] if like is not None and like.ndim == 2 and array.shape[2] == 1 else array


def _channels_first(array: Any) -> Tensor:
    whole = array if array.ndim == 3 else array[..., None]
    usable = whole.flags.writeable and min(whole.strides) > 0  # by torch; others are copied
    return torch.from_numpy(whole if usable else whole.copy()).permute(2, 0, 1)


def _kernel(of: Callable[..., Any], by: Callable[..., Any], **fixed: Any) -> None:
    """Have coordinates moved by the kernel of images, with some arguments fixed."""

    def moved(inpt: Any, *args: Any, **options: Any) -> Any:
        out = by(inpt.as_subclass(Tensor), *args, **options | fixed)
        return tv_tensors.wrap(out, like=inpt)

    functional.register_kernel(of, Coordinates)(moved)


SMOOTH: dict[str, Any] = {"interpolation": BILINEAR}
_kernel(functional.resize, functional.resize_image, antialias=False, **SMOOTH)
_kernel(functional.resized_crop, functional.resized_crop_image, antialias=False, **SMOOTH)
_kernel(functional.affine, functional.affine_image, fill=0, **SMOOTH)
_kernel(functional.rotate, functional.rotate_image, fill=0, **SMOOTH)
_kernel(functional.perspective, functional.perspective_image, fill=0, **SMOOTH)
_kernel(functional.elastic, functional.elastic_image, fill=0, **SMOOTH)
