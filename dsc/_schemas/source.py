"""What a source says of its data: where samples came from, what was found, what is not read.

It is said before work starts and kept in the manifest.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._schemas.base import Schema


class Origin(Schema):
    """Where a sample came from.

    Attributes
    ----------
    name
        What the source calls it: the name that its files share, with the directories that tell it
        from others, or file and row. Time stamps in names are kept as they stand.
    files
        Path of each task's file below the source's root; none where a file holds many samples. Of
        a tar, the path in it.
    order
        The tasks in the order in which their files lie, where the source has one, as a tar does.
    """

    name: str
    files: Mapping[str, str] = Field(default_factory=dict)
    order: tuple[str, ...] = ()


class LeftOut(Schema):
    """Files (or datasets of an HDF5 file) that are not read, and why.

    Attributes
    ----------
    what
        A path below the source's root, or a pattern of several: ``depth/*.pfm``.
    files
        How many there are.
    reason
        Why they are not read, in a few words for people.
    task
        Name of the task that they look like, one file a sample; empty when they look like none. A
        call that neither names its tasks nor ignores them then stops.
    """

    what: str
    files: int = Field(default=1, ge=1)
    reason: str
    task: str = ""


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
    column
        What it was where it was a column of rows: name, type and feature, for exports.
    """

    samples: int = Field(ge=0)
    stored: str = ""
    why: str = ""
    warnings: tuple[str, ...] = ()
    rounding_m: float = Field(default=0.0, ge=0)
    near_m: float = Field(default=0.0, ge=0)
    column: str = ""

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the column out where there is none: archives without it keep their bytes."""
        whole: dict[str, Any] = handler(self)
        return {name: value for name, value in whole.items() if name != "column" or value}


class WholeFile(Schema):
    """A file of the whole data set whose content was parted among its samples, or is of all.

    Attributes
    ----------
    path
        Below the source's root.
    task
        Name of the task that its content is; empty where it is of all samples.
    group
        What the names of its samples (`Origin.name`) begin with.
    text
        What is left of the file without what is some sample's.
    samples
        How many samples it speaks of.
    in_order
        Whether its content comes in the order of the samples; else a task of them says the order.
    """

    path: str
    task: str
    group: str = ""
    text: str
    samples: int = Field(default=0, ge=0)
    in_order: bool = True


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
    whole_files
        What remains of files that were parted among samples; an export puts them together again.
    """

    samples: int = Field(default=0, ge=0)
    complete: int = Field(default=0, ge=0)
    tasks: Mapping[str, TaskReport] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = Field(default_factory=dict)
    whole_files: tuple[WholeFile, ...] = ()

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what there is none of: archives without it keep their bytes."""
        found: dict[str, Any] = handler(self)
        return {n: value for n, value in found.items() if n != "whole_files" or value}
