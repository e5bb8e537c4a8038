"""What lies beside a dataset's samples and is not read: said before work starts, and kept."""

from pydantic import Field

from dsc._schemas.base import Schema


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
