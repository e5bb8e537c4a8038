"""Effort: how long encoders may look for fewer bytes; it changes what encoding costs, no meaning.

What was encoded at any effort is decoded by the same decoder. The archive says the effort with each
codec that knows one, so that what joins it is encoded alike.
"""

from enum import StrEnum
from typing import Self

from dsc.errors import UsageError


class Effort(StrEnum):
    """How long an encoder may look for fewer bytes, in three steps.

    Attributes
    ----------
    FAST
        For a first look, for data that come as fast as they are compressed, for small machines.
    DEFAULT
        At the knee of bytes against time.
    BEST
        For an archive that is written once and read for years: the fewest bytes.
    """

    FAST = "fast"
    DEFAULT = "default"
    BEST = "best"

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read an option; None is the default.

        Raises
        ------
        UsageError
            When it is another word.
        """
        try:
            return cls(text or "default")
        except ValueError:
            raise UsageError(f"--effort {text}: {', '.join(cls)} are known") from None
