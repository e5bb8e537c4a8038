"""What a source found: said before work starts, and kept in the manifest."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from dsc._schemas.base import Schema
from dsc._schemas.left_out import LeftOut


class TaskReport(Schema):
    """What was found of one task.

    Attributes
    ----------
    samples
        How many samples have it.
    stored
        Dtype and shape of an example, as the source has it.
    why
        How its kind was told.
    warnings
        What people should look at before they go on.
    rounding_m, near_m
        Of depth that was rounded when it was read: by how many metres at most, and the nearest
        depth that was seen before; else 0.
    """

    samples: int = Field(ge=0)
    stored: str = ""
    why: str = ""
    warnings: tuple[str, ...] = ()
    rounding_m: float = Field(default=0.0, ge=0)
    near_m: float = Field(default=0.0, ge=0)


class SourceReport(Schema):
    """What a source found and decided.

    Attributes
    ----------
    samples
        Samples in all.
    complete
        Samples that have every task.
    tasks
        By name, in the source's order.
    left_out
        What lies beside the samples and is not read.
    notes
        What was decided for all files: the layout, what becomes of EXIF orientation.
    options
        What the source was told beside its root, and the layout that it recognised: with these,
        the same files are read alike again.
    """

    samples: int = Field(default=0, ge=0)
    complete: int = Field(default=0, ge=0)
    tasks: Mapping[str, TaskReport] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = Field(default_factory=dict)
