"""The state of a stream: a few integers from which it goes on exactly."""

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from dsc._stream.order import OrderSpec
from dsc.errors import StateMismatchError

VERSION = 1


class StreamState(OrderSpec):
    """Where a stream stands.

    Attributes
    ----------
    epoch, position
        How many samples of that epoch all ranks together have seen: a prefix of its order.
    samples, fingerprint
        Of the data; a state goes on only with the same.
    worker, workers, batches
        In a worker of a data loader only: which it is of how many, and how many batches it has
        given since `position`.
    """

    version: int = VERSION
    epoch: int = Field(ge=0)
    position: int = Field(ge=0)
    samples: int = Field(ge=0)
    fingerprint: int
    worker: int = 0
    workers: int = 0
    batches: int = 0

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> "StreamState":
        """Read what `to_dict` gave.

        Raises
        ------
        StateMismatchError
            When it is not such a state, or of another version.
        """
        version = state.get("version") if isinstance(state, Mapping) else None
        if version != VERSION:
            raise StateMismatchError(
                f"state of version {version!r}, this dsc reads version {VERSION}: it is not the "
                "state_dict of a stream, or one of another dsc"
            )
        try:
            return cls.model_validate(dict(state))
        except ValidationError as error:
            first = error.errors()[0]
            raise StateMismatchError(
                f"state_dict: {'.'.join(map(str, first['loc']))}: {first['msg']} "
                f"(got {str(first['input'])[:80]!r})"
            ) from None

    def to_dict(self) -> dict[str, int]:
        """Return plain integers, for any checkpoint format."""
        whole = self.model_dump()
        if not self.groups:
            del whole["groups"]
        if not self.workers:
            for name in ("worker", "workers", "batches"):
                del whole[name]
        return whole

    @property
    def spec(self) -> OrderSpec:
        """The order that it is a position of."""
        return OrderSpec(**{name: getattr(self, name) for name in OrderSpec.model_fields})


def fingerprint(*parts: object) -> int:
    """Hash what the positions of a stream depend on, to 63 bits."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
