"""How exemplars are kept, in a few words: ``webp:50``, ``embedding:40``, or some of both.

``embedding:40+10%av1-small:20`` keeps one sample in ten as a picture, and embeddings of the others.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from dsc._codecs.registry import LOSSLESS
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.offered import Images
from dsc._replay.buffer.tasks import EMBEDDED, IMAGE
from dsc._schemas import Quality, Task
from dsc._schemas.base import Schema
from dsc.errors import UsageError

EMBEDDING_CODEC = "embedding"
DEFAULT_CODEC = "default"
"""Stands for the codec that a buffer chooses by the first images."""
MIXTURE = re.compile(r"(?P<embeddings>[^+]+)\+(?P<percent>[\d.]+)%(?P<pictures>.+)")


class PictureShare(Schema):
    """The samples that are kept as pictures where others are kept as embeddings.

    Attributes
    ----------
    share
        Of all samples, above 0 and below 1.
    codec, quality
        How they are kept.
    """

    share: float = Field(gt=0, lt=1)
    codec: str
    quality: int = Field(ge=1, le=100)

    def __str__(self) -> str:
        """Spell it as a part of ``--codec``."""
        return f"{100 * self.share:g}%{_spelled(self.codec, self.quality)}"


@dataclass(frozen=True)
class ExemplarCodec:
    """A codec, a quality of 1 to 100, and of embeddings what is kept as pictures beside them."""

    codec: str
    quality: int
    pictures: PictureShare | None = None

    def __str__(self) -> str:
        """Spell it as ``--codec`` takes it: ``webp:50``, ``png``."""
        own = _spelled(self.codec, self.quality)
        return own if self.pictures is None else f"{own}+{self.pictures}"

    @classmethod
    def parse(cls, text: str, usual: int | None = None) -> "ExemplarCodec":
        """Read what `str` spells.

        Parameters
        ----------
        usual
            The quality of a lossy codec that is named without one; None where it must have one.

        Raises
        ------
        UsageError
            When it is spelled otherwise.
        """
        mixture = MIXTURE.fullmatch(text)
        if mixture is None:
            return cls(*_halves(text, usual))
        codec, quality = _halves(mixture["embeddings"], usual)
        share = _number(mixture["percent"]) / 100
        if codec != EMBEDDING_CODEC or not 0 < share < 1:
            raise UsageError(
                f"codec {text!r}: write a mixture as {EMBEDDING_CODEC}:40+10%av1-small:20, "
                "with a share of pictures above 0 and below 100 %"
            )
        name, own = _halves(mixture["pictures"], usual)
        return cls(codec, quality, PictureShare(share=share, codec=name, quality=own))

    @property
    def has_embeddings(self) -> bool:
        """Whether exemplars are embeddings, or some are."""
        return self.codec == EMBEDDING_CODEC

    def open(
        self, path: str | os.PathLike[str], budget: int, embedded: Task | None, **options: Any
    ) -> ReplayBuffer:
        """Open a buffer that keeps exemplars so.

        Parameters
        ----------
        embedded
            The task of the embeddings; needed where there are some.
        options
            Further ones of `ReplayBuffer`.
        """
        if not self.has_embeddings:
            codec = None if self.codec == DEFAULT_CODEC else self.codec
            return ReplayBuffer(path, budget, codec, quality=self.quality, **options)
        if embedded is None:
            raise UsageError(f"{self}: embeddings by which backbone? Name one by --backbone")
        if self.pictures is None:
            return ReplayBuffer(
                path, budget, self.codec, quality=self.quality, tasks=[embedded], **options
            )
        return ReplayBuffer(
            path,
            budget,
            f"{IMAGE.name}={self.pictures.codec},{EMBEDDED}={self.codec}",
            quality=Quality(default=self.quality, tasks={IMAGE.name: self.pictures.quality}),
            tasks=[IMAGE, embedded],
            pictures=self.pictures.share,
            **options,
        )

    def offered(self, images: Images, embeddings: Images) -> Images | Mapping[str, Images]:
        """Return what a buffer that `open` opened is to be offered.

        Parameters
        ----------
        images
            (N, H, W, 3) uint8.
        embeddings
            (N, D) floats, not looked at where there are to be none.
        """
        if not self.has_embeddings:
            return images
        alone = {EMBEDDED: embeddings}
        return alone if self.pictures is None else {IMAGE.name: images, **alone}


def split_quality(text: str) -> tuple[str, str]:
    """Take ``name:quality`` apart; the path of a codec file may have colons, too."""
    name, colon, quality = text.rpartition(":")
    if not colon or "/" in quality or "." in quality:
        return text, ""
    return name, quality


def _halves(text: str, usual: int | None) -> tuple[str, int]:
    name, quality = split_quality(text)
    if not name or (quality and not (quality.isdigit() and 1 <= int(quality) <= 100)):
        raise UsageError(f"codec {text!r}: write a name and a quality of 1 to 100, as in webp:50")
    if not quality and usual is None and name not in LOSSLESS:
        raise UsageError(f"candidate {text!r}: at which quality? Write for example {name}:50")
    return name, int(quality or usual or 50)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _spelled(codec: str, quality: int) -> str:
    return codec if codec in LOSSLESS else f"{codec}:{quality}"
