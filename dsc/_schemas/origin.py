"""Where a sample came from, as an archive remembers it."""

from collections.abc import Mapping

from pydantic import Field

from dsc._schemas.base import Schema


class Origin(Schema):
    """Where a sample came from.

    Attributes
    ----------
    name
        What the source calls it: the name that its files share, with the directories that tell it
        from others, or file and row. Time stamps in names are kept as they stand.
    files
        Path of each task's file below the source's root; none where a file holds many samples.
    """

    name: str
    files: Mapping[str, str] = Field(default_factory=dict)
