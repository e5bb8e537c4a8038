"""Transforms of torchvision v2, applied to all tasks of a sample by one draw."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsc._extras import needing
from dsc._schemas.sample import Sample
from dsc._transforms.coordinates import coordinates, finished
from dsc._transforms.frames import framewise
from dsc._transforms.meaning import Meaning, common_size, named
from dsc._transforms.seeded import python_and_torch
from dsc.errors import UsageError

COORDINATES = "__coordinates__"


@dataclass(frozen=True)
class Torchvision:
    """A transform of ``torchvision.transforms.v2`` for all tasks of a sample, by one draw.

    Images go through it as ``tv_tensors.Image``. Where their pixels went is read off a map of
    coordinates that goes through it, too; all other maps are picked there, the nearest pixel, in
    their own dtype, with nothing (NaN, the invalid value) where the picture has none. Normals,
    flow, disparity and intrinsics are made right; what cannot be made right is refused.

    Values that torch draws, and Python's `random`, depend on the sample's generator only.

    Parameters
    ----------
    transform
        Such as ``v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()])``. It may
        change the dtype of images; they come as arrays (H, W, C).
    meaning
        Of what the sample's tasks do not say.
    """

    transform: Callable[[Any], Any]
    meaning: Meaning | None = field(default=None, kw_only=True)

    @framewise
    def __call__(self, sample: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        """Return the transformed sample.

        Raises
        ------
        UsageError
            When something of the sample cannot be made right, or the transform gives no images.
        MissingPackageError
            When torchvision is not installed.
        """
        with needing("torchvision", "Torchvision"):
            from dsc._transforms.torchvision_tensors import as_array, as_coordinates, as_image
        meaning = self.meaning or Meaning()
        maps = meaning.maps(sample)
        h, w = common_size(sample, maps, "Torchvision")
        images = [name for name, known in maps.items() if known.is_smooth]
        given = {name: as_image(sample[name]) for name in images}
        given[COORDINATES] = as_coordinates(coordinates(h, w))
        with python_and_torch(rng):
            made = self.transform(given)
        if not isinstance(made, dict) or made.keys() != given.keys():
            raise UsageError(
                f"Torchvision: {named(sample)}: the transform gave {_told(made)} for a dict of "
                f"{', '.join(given)}: it must be one of torchvision.transforms.v2 that keeps them"
            )
        moved = as_array(made.pop(COORDINATES))
        out = {name: as_array(made[name], like=sample[name]) for name in images}
        return finished(sample, out, moved, maps, meaning, "Torchvision")


def _told(made: Any) -> str:
    return ", ".join(map(str, made)) if isinstance(made, dict) else type(made).__name__
