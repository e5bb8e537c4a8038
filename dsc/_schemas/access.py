"""Access: how much of a recording one frame takes, where frames are predicted from one another."""

from enum import StrEnum
from typing import Self

from dsc.errors import UsageError


class Access(StrEnum):
    """What frames are predicted from.

    Attributes
    ----------
    TREE
        Their ancestors in a tree: of 16 frames one takes at most five to decode.
    BALANCED
        The fourth frame before, or those around them: fewer bytes, and one takes at most six.
    """

    TREE = "tree"
    BALANCED = "balanced"

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read an option; None is the default.

        Raises
        ------
        UsageError
            When it is another word.
        """
        try:
            return cls(text or "balanced")
        except ValueError:
            raise UsageError(f"--access {text}: {', '.join(cls)} are known") from None
