"""What the videos of a LeRobot dataset are: images, or depth and in which unit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import Task, TaskKind
from dsc._sources.lerobot.depth import NOTHING, DepthCodes
from dsc._sources.lerobot.info import Feature
from dsc._sources.meaning.decide import Meaning


@dataclass(frozen=True)
class Camera:
    """A video that is a task.

    Attributes
    ----------
    counts
        Of depth, the native value of each 12-bit code: (4096,) uint16; None of an image.
    """

    feature: Feature
    meaning: Meaning
    counts: NDArray[np.uint16] | None = None


def camera_of(feature: Feature, name: str, unit_m: float, where: str) -> Camera:
    """Say what a video is.

    Parameters
    ----------
    name
        Of its task.
    unit_m
        Metres a count, if it is depth.
    where
        Where the feature is said, for messages.

    Raises
    ------
    UsageError
        When what is said of its depth gives none, or 16 bits do not reach so far.
    """
    said = feature.details
    words = [str(said[key]) for key in ("video.codec", "video.pix_fmt") if said.get(key)]
    shape, stored = feature.shape or (), " ".join(words) or "video"
    if not feature.is_depth:
        image = Task(
            name=name, kind=TaskKind.IMAGE, dtype="uint8", channels=3, valid_range=(0, 255)
        )
        return Camera(feature, Meaning(image, f"video {feature.name}", shape, stored))
    codes = DepthCodes.parse(said, where)
    counts = codes.counts(unit_m, where)
    depth = Task(
        name=name,
        kind=TaskKind.DEPTH,
        dtype="uint16",
        unit_m=unit_m,
        valid_range=(int(counts[1]), int(counts[-1])),
        invalid=(NOTHING,),
    )
    why = (
        f"depth video {feature.name}, 12-bit codes of {codes.near_m:g} to {codes.far_m:g} m; "
        "code 0 is nothing"
    )
    meaning = Meaning(
        depth, why, shape, stored, rounding_m=unit_m / 2, near_m=float(codes.metres()[1])
    )
    return Camera(feature, meaning, counts)
