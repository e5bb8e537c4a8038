"""What computed a task: a frozen backbone, up to a layer, on pictures prepared in one way."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from dsc._schemas.base import Schema

EMBEDDING = "embedding"
"""The layer that every backbone has: one vector a picture."""


class Preprocessing(Schema):
    """How an 8-bit picture becomes a network's input: sized, then (value - mean) / std.

    Attributes
    ----------
    side
        Pixels of the square that the input is: the picture's shorter side is resized to
        `side` / `crop`, bicubic and antialiased, and the middle is cut out. None keeps the
        picture's own size; its last row and column are repeated up to whole strides.
    crop
        Which share of the shorter side is kept; 1 where `side` is None.
    mean, std
        Of each channel, in counts of 0 to 255.
    """

    side: int | None = Field(default=224, ge=8, le=8192)
    crop: float = Field(default=1.0, gt=0, le=1)
    mean: tuple[float, float, float]
    std: tuple[
        Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
    ]

    @model_validator(mode="after")
    def _check_crop(self) -> Self:
        if self.side is None and self.crop != 1:
            raise ValueError("a picture of its own size is not cropped")
        return self


class Extractor(Schema):
    """What turned pictures into a task.

    Attributes
    ----------
    backbone
        Name of the network, as `dsc append --embed` takes it.
    weights_sha256
        Hash of its weights: those of another training mean other numbers.
    layer
        Name of the layer; `EMBEDDING` for one vector a picture.
    of
        Task whose pictures it saw.
    preprocessing
        How they were prepared.
    """

    backbone: str = Field(min_length=1, max_length=200)
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    layer: str = Field(min_length=1, max_length=200)
    of: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=48)
    preprocessing: Preprocessing

    def __str__(self) -> str:
        """Say what it is, for people."""
        side = self.preprocessing.side
        seen = "its own size" if side is None else f"{side} pixels"
        where = "" if self.layer == EMBEDDING else f", {self.layer},"
        return f"{self.backbone}{where} ({self.weights_sha256[:12]}) from {self.of} at {seen}"
