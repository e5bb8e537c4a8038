"""Jitter of colours: of images only, all images of a sample alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._schemas.sample import Sample
from dsc._transforms.frames import framewise
from dsc._transforms.meaning import Meaning
from dsc._transforms.resample import as_dtype
from dsc.errors import UsageError

GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
TO_YIQ = np.array([GRAY, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


@dataclass(frozen=True)
class ColorJitter:
    """Other brightness, contrast, saturation and hue for the images of a sample.

    All four are one linear map of a pixel's colour, so that nothing is cut off in between: hue
    turns the plane of I and Q (of YIQ). Images of one channel have neither saturation nor hue.
    Images that are exact, whose values may be ids, stay as they are.

    Parameters
    ----------
    brightness, contrast, saturation
        Factors are drawn from ``1 - x`` to ``1 + x``, not below 0.
    hue
        Parts of a turn, drawn from ``-x`` to ``x``; 0 to 0.5.
    meaning
        Of what the sample's tasks do not say.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    meaning: Meaning | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "hue"):
            value = getattr(self, name)
            if not 0 <= value <= (0.5 if name == "hue" else float("inf")):
                most = "0 to 0.5" if name == "hue" else "at least 0"
                raise UsageError(f"ColorJitter: {name}={value}: {most}")

    @framewise
    def __call__(self, sample: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        """Return the sample with other colours."""
        brightness, contrast, saturation = (
            rng.uniform(max(1 - x, 0), 1 + x)
            for x in (self.brightness, self.contrast, self.saturation)
        )
        turn = rng.uniform(-self.hue, self.hue)
        maps = (self.meaning or Meaning()).maps(sample)
        out = {
            name: jittered(sample[name], brightness, contrast, saturation, turn)
            for name, known in maps.items() if known.is_smooth
        }  # fmt: skip
        return Sample.like({**sample, **out}, sample)


def jittered(image: Any, brightness: float, contrast: float, saturation: float, turn: float) -> Any:
    """Return an image (H, W), (H, W, 1) or (H, W, 3) with other colours."""
    gray = image.ndim == 2 or image.shape[2] != 3
    matrix = np.eye(3) if gray else brightness * _hue(turn) @ _saturation(saturation)
    values = image.astype(np.float32)
    if gray:
        values *= np.float32(brightness)
        mean = float(values.mean())
    else:
        total = values.sum(axis=0).sum(axis=0, dtype=np.float64)
        mean = float(GRAY @ matrix @ total) / (image.shape[0] * image.shape[1])
        values = values @ (contrast * matrix).T.astype(np.float32)
    if gray:
        values *= np.float32(contrast)
    values += np.float32((1 - contrast) * mean)
    return as_dtype(values, image.dtype)


def _saturation(factor: float) -> NDArray[np.float64]:
    found: NDArray[np.float64] = factor * np.eye(3) + (1 - factor) * np.ones((3, 1)) * GRAY
    return found


def _hue(turn: float) -> NDArray[np.float64]:
    cos, sin = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    found: NDArray[np.float64] = FROM_YIQ @ [[1, 0, 0], [0, cos, -sin], [0, sin, cos]] @ TO_YIQ
    return found
