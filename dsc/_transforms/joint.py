"""Crops, flips and sizes of a whole sample, in NumPy.

Each works on a dict of arrays as `dsc.open` and `dsc.stream` give it, which knows what its tasks
mean, and returns another one: images between pixels, everything else the nearest pixel, so that no
depth, label or direction comes up that was not there. Arrays are not changed in place.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dsc._schemas.sample import Sample
from dsc._transforms.frames import framewise
from dsc._transforms.meaning import MapMeaning, Meaning, common_size, named
from dsc._transforms.move import Move
from dsc._transforms.resample import mirrored, resized
from dsc.errors import UsageError

Values = Mapping[str, Any]
Size = int | Sequence[int]
Pick = Callable[[Any, MapMeaning], Any]


@dataclass(frozen=True)
class JointTransform:
    """A move of a sample's pixels, by what is given it and what it draws.

    Attributes
    ----------
    meaning
        Of what the sample's tasks do not say; None for the usual (or that of a `Compose`).
    """

    meaning: Meaning | None = field(default=None, kw_only=True)

    @property
    def _meaning(self) -> Meaning:
        return self.meaning or Meaning()

    def _moved(
        self, sample: Values, maps: Mapping[str, MapMeaning], move: Move, pick: Pick
    ) -> Sample:
        """Return a sample whose maps are picked, and what became of the rest."""
        picked = {name: pick(sample[name], known) for name, known in maps.items()}
        made = _sample({**sample, **picked}, sample)
        return _sample(move.finish(made, maps, self._meaning), sample)

    def _size(self, sample: Values, maps: Mapping[str, MapMeaning]) -> tuple[int, int]:
        return common_size(sample, maps, type(self).__name__)

    def _cropped(self, sample: Values, top: int, left: int, height: int, width: int) -> Sample:
        maps = self._meaning.maps(sample)
        move = Move.of(type(self).__name__, shift=(-left, -top))
        box = slice(top, top + height), slice(left, left + width)
        return self._moved(sample, maps, move, lambda array, _: array[box])


class RandomTransform(JointTransform, ABC):
    """A transform that draws."""

    @abstractmethod
    def __call__(self, sample: Values, rng: np.random.Generator) -> Sample:
        """Return the sample, moved by what is drawn."""


@dataclass(frozen=True)
class CenterCrop(JointTransform):
    """The middle of a sample.

    Parameters
    ----------
    size
        Height and width, or one number for both.
    meaning
        Of what the sample's tasks do not say.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", both(self.size, "CenterCrop"))

    @framewise
    def __call__(self, sample: Values) -> Sample:
        """Return the cropped sample.

        Raises
        ------
        UsageError
            When the sample is smaller, or something of it cannot be made right.
        """
        h, w, height, width = _room(self, sample, both(self.size))
        return self._cropped(sample, (h - height) // 2, (w - width) // 2, height, width)


@dataclass(frozen=True)
class RandomCrop(RandomTransform):
    """A part of a sample, anywhere in it.

    Parameters
    ----------
    size
        Height and width, or one number for both.
    meaning
        Of what the sample's tasks do not say.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", both(self.size, "RandomCrop"))

    @framewise
    def __call__(self, sample: Values, rng: np.random.Generator) -> Sample:
        """Return the cropped sample.

        Raises
        ------
        UsageError
            When the sample is smaller, or something of it cannot be made right.
        """
        h, w, height, width = _room(self, sample, both(self.size))
        top, left = (int(rng.integers(0, room + 1)) for room in (h - height, w - width))
        return self._cropped(sample, top, left, height, width)


@dataclass(frozen=True)
class RandomResizedCrop(RandomTransform):
    """A part of a sample of any size and shape, in one size.

    Parameters
    ----------
    size
        Height and width of what comes out, or one number for both.
    scale
        Smallest and largest part of the sample's area.
    ratio
        Smallest and largest width by height.
    meaning
        Of what the sample's tasks do not say.
    """

    size: Size
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", both(self.size, "RandomResizedCrop"))
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UsageError(f"RandomResizedCrop: {name}=({low}, {high}): 0 < least <= most")

    @framewise
    def __call__(self, sample: Values, rng: np.random.Generator) -> Sample:
        """Return the cropped and resized sample.

        Raises
        ------
        UsageError
            When something of the sample cannot be made right.
        """
        h, w = self._size(sample, self._meaning.maps(sample))
        cropped = self._cropped(sample, *self._box(h, w, rng))
        return Resize(self.size, meaning=self.meaning)(cropped)

    def _box(self, h: int, w: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draw top, left, height and width."""
        low, high = (math.log(one) for one in self.ratio)
        for _ in range(10):
            area = h * w * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(low, high))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= w and 0 < height <= h:
                return (
                    int(rng.integers(0, h - height + 1)),
                    int(rng.integers(0, w - width + 1)), height, width,
                )  # fmt: skip
        ratio = min(max(w / h, self.ratio[0]), self.ratio[1])  # as much of it as such a shape holds
        height, width = min(h, round(w / ratio)), min(w, round(h * ratio))
        return (h - height) // 2, (w - width) // 2, max(height, 1), max(width, 1)


@dataclass(frozen=True)
class _Flip(RandomTransform):
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise UsageError(f"{type(self).__name__}: p={self.p}: a probability, 0 to 1")

    @framewise
    def __call__(self, sample: Values, rng: np.random.Generator) -> Sample:
        """Return the sample, or its mirror image.

        Raises
        ------
        UsageError
            When something of the sample cannot be made right.
        """
        if rng.random() >= self.p:
            return _sample(sample, sample)
        maps = self._meaning.maps(sample)
        h, w = self._size(sample, maps)
        scale, shift = ((-1, 1), (w, 0)) if self._axis == 1 else ((1, -1), (0, h))
        move = Move.of(type(self).__name__, scale, shift)
        return self._moved(sample, maps, move, lambda array, _: mirrored(array, self._axis))

    @property
    @abstractmethod
    def _axis(self) -> int:
        """The axis of arrays that is turned around: 0 is down, 1 is right."""


class HorizontalFlip(_Flip):
    """A mirror that swaps left and right, now and then.

    The first component of normals and of flow is negated, the principal point moves; disparity
    stays, as that of this view (whose other view is on the other side now).

    Parameters
    ----------
    p
        Probability.
    meaning
        Of what the sample's tasks do not say.
    """

    @property
    def _axis(self) -> int:
        return 1


class VerticalFlip(_Flip):
    """A mirror that swaps top and bottom, now and then; see `HorizontalFlip`.

    Parameters
    ----------
    p
        Probability.
    meaning
        Of what the sample's tasks do not say.
    """

    @property
    def _axis(self) -> int:
        return 0


@dataclass(frozen=True)
class Resize(JointTransform):
    """A sample in another size: all maps, also those that differ in size.

    Parameters
    ----------
    size
        Height and width; or one number for the shorter side of the first map, the other one
        follows.
    meaning
        Of what the sample's tasks do not say.
    """

    size: Size

    def __post_init__(self) -> None:
        if not isinstance(self.size, int):
            object.__setattr__(self, "size", both(self.size, "Resize"))
        elif self.size < 1:
            raise UsageError(f"Resize({self.size}): at least 1")

    @framewise
    def __call__(self, sample: Values) -> Sample:
        """Return the resized sample.

        Raises
        ------
        UsageError
            When something of the sample cannot be made right.
        """
        meaning = self._meaning
        maps = meaning.maps(sample)
        if not maps:
            common_size(sample, maps, "Resize")
        first = sample[next(iter(maps))].shape
        size = self._target(first[0], first[1])
        made = _sample(sample, sample)
        sizes = dict.fromkeys(sample[name].shape[:2] for name in maps)
        others = {name: value for name, value in sample.items() if name not in maps}
        for number, old in enumerate(sizes):
            move = Move.of("Resize", (size[1] / old[1], size[0] / old[0]))
            own = {name: known for name, known in maps.items() if sample[name].shape[:2] == old}
            part = {
                name: resized(sample[name], size, known.is_smooth) for name, known in own.items()
            }
            rest = others if number == 0 else {}  # intrinsics are those of the first map
            made.update(move.finish(_sample({**rest, **part}, sample), own, meaning))
        return made

    def _target(self, h: int, w: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return both(self.size)
        short = min(h, w)
        return tuple(max(round(n * self.size / short), 1) for n in (h, w))  # type: ignore[return-value]


@dataclass(frozen=True)
class Pad(JointTransform):
    """A sample in at least a size: what is added is nothing.

    Images get `fill`; depth in metres, normals and other floats NaN; native integers the value that
    means nothing measured; labels their invalid value, or else the largest of the dtype (255,
    65535, -1 where it has a sign).

    Parameters
    ----------
    size
        Height and width that it has at least, or one number for both.
    multiple
        Of what height and width are multiples.
    where
        Whether rows and columns are added at the ``end`` or on both sides, ``center``.
    fill
        Value of the pixels of images.
    meaning
        Of what the sample's tasks do not say.
    """

    size: Size = 1
    multiple: int = 1
    where: Literal["end", "center"] = "end"
    fill: float = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", both(self.size, "Pad"))
        if self.multiple < 1 or self.where not in ("end", "center"):
            raise UsageError(
                f"Pad: multiple={self.multiple}, where={self.where!r}: at least 1; end or center"
            )

    @framewise
    def __call__(self, sample: Values) -> Sample:
        """Return the padded sample.

        Raises
        ------
        UsageError
            When its maps differ in size.
        """
        maps = self._meaning.maps(sample)
        h, w = self._size(sample, maps)
        least = both(self.size)
        height, width = (
            -(-max(n, m) // self.multiple) * self.multiple
            for n, m in zip((h, w), least, strict=True)
        )
        if (height, width) == (h, w):
            return _sample(sample, sample)
        middle = self.where == "center"
        top, left = ((height - h) // 2, (width - w) // 2) if middle else (0, 0)

        def pick(array: Any, known: MapMeaning) -> Any:
            value = self.fill if known.is_smooth else known.blank(array)
            out = np.full((height, width, *array.shape[2:]), value, array.dtype)
            out[top : top + h, left : left + w] = array
            return out

        return self._moved(sample, maps, Move.of("Pad", shift=(left, top)), pick)


def both(size: Size, what: str = "size") -> tuple[int, int]:
    """Return height and width.

    Raises
    ------
    UsageError
        When they are no whole numbers above 0.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in pair):
        raise UsageError(f"{what}({size!r}): height and width, whole numbers above 0")
    return int(pair[0]), int(pair[1])


def _room(
    transform: CenterCrop | RandomCrop, sample: Values, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return height and width of a sample and of its crop."""
    h, w = transform._size(sample, transform._meaning.maps(sample))
    if h < size[0] or w < size[1]:
        raise UsageError(
            f"{type(transform).__name__}: {named(sample)} is {h}×{w}, less than "
            f"{size[0]}×{size[1]}: put Pad(({size[0]}, {size[1]})) or Resize before"
        )
    return h, w, *size


def _sample(values: Values, like: Values) -> Sample:
    return Sample.like(values, like)
