"""The base of every schema: frozen, closed (an unknown field is an error), canonical in JSON."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dsc.errors import CorruptArchiveError


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, no NaN, 7-bit."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Schema(BaseModel):
    """A frozen value with a canonical JSON form."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> str:
        """Return the canonical JSON of this value: equal values have equal bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "") -> Self:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text
            JSON text.
        where
            The file (and line) the text comes from, for the error message.

        Raises
        ------
        CorruptArchiveError
            When the text is not JSON of this schema.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole text"
            raise CorruptArchiveError(
                f"{where or cls.__name__}: {place}: {first['msg']} "
                f"(got {str(first['input'])[:80]!r}); the file is damaged or not made by dsc"
            ) from None
