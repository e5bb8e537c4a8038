"""Transforms of albumentations, applied to all tasks of a sample by one draw."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsc._extras import needing
from dsc._schemas.sample import Sample
from dsc._transforms.coordinates import coordinates, finished
from dsc._transforms.frames import framewise
from dsc._transforms.meaning import Meaning, common_size, named
from dsc.errors import UsageError

COORDINATES = "dsc_coordinates"


@dataclass
class Albumentations:
    """A transform of albumentations for all tasks of a sample, by one draw.

    The first image is its ``image``, others are targets alike. Where their pixels went is read off
    a mask of coordinates; all other maps are picked there, the nearest pixel, in their own dtype,
    with nothing (NaN, the invalid value) where the picture has none. Normals, flow, disparity and
    intrinsics are made right; what cannot be made right is refused.

    What it draws depends on the sample's generator only.

    Parameters
    ----------
    transform
        An ``A.Compose`` or a single transform, which is copied. Images come as arrays.
    meaning
        Of what the sample's tasks do not say.
    """

    transform: Any
    meaning: Meaning | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        with needing("albumentations", "Albumentations"):
            import albumentations
            import cv2
        made = copy.deepcopy(self.transform)
        compose = (
            made if isinstance(made, albumentations.Compose) else albumentations.Compose([made])
        )
        compose.add_targets({COORDINATES: "mask"})
        compose.set_mask_interpolation(cv2.INTER_LINEAR)
        self._compose: Any = compose

    @framewise
    def __call__(self, sample: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        """Return the transformed sample.

        Raises
        ------
        UsageError
            When something of the sample cannot be made right.
        """
        meaning = self.meaning or Meaning()
        maps = meaning.maps(sample)
        h, w = common_size(sample, maps, "Albumentations")
        images = [name for name, known in maps.items() if known.is_smooth]
        targets = {name: f"dsc_image_{name}" for name in images[1:]} | {
            name: "image" for name in images[:1]
        }
        self._compose.add_targets({t: "image" for t in targets.values() if t != "image"})
        self._compose.set_random_state(rng, random.Random(int(rng.integers(1 << 63))))
        given = {target: sample[name] for name, target in targets.items()}
        given.setdefault("image", np.zeros((h, w, 3), np.uint8))  # it wants one
        made = self._compose(**given, **{COORDINATES: coordinates(h, w).copy()})
        out = {name: _array(made[target]) for name, target in targets.items()}
        moved = _array(made[COORDINATES])
        if moved.ndim != 3 or any(one.shape[:2] != moved.shape[:2] for one in out.values()):
            raise UsageError(
                f"Albumentations: {named(sample)}: the transform gave images and masks that do not "
                "fit each other; it must treat both alike"
            )
        return finished(sample, out, moved, maps, meaning, "Albumentations")


def _array(value: Any) -> Any:
    """Return an array (H, W, C), of what may be a tensor (C, H, W) after ``ToTensorV2``."""
    if isinstance(value, np.ndarray):
        return value
    found = value.numpy()
    return np.ascontiguousarray(found.transpose(1, 2, 0)) if found.ndim == 3 else found
