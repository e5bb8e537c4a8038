"""What a stream was asked for, checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dsc.errors import UsageError

Transform = Callable[[dict[str, Any]], Mapping[str, Any]]

_CHOICES = {
    "decode": ("pixels", "latents", "bytes"),
    "missing": ("error", "skip", "none"),
    "on_error": ("fail", "skip"),
    "mixed_sizes": ("error", "list"),
}


@dataclass(frozen=True)
class StreamOptions:
    """The options of `dsc.stream`, which documents them; sizes in bytes."""

    batch_size: int
    drop_last: bool
    pad: bool
    decode: str
    device: str | None
    native: bool
    transform: Transform | None
    missing: str
    on_error: str
    mixed_sizes: str
    workers: int
    prefetch_bytes: int
    memory_bytes: int
    cache: str | None
    cache_bytes: int

    def check(self) -> None:
        """Refuse what cannot be honoured.

        Raises
        ------
        UsageError
            Naming the option, its value and what it may be.
        """
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name}={getattr(self, name)!r}: one of {', '.join(allowed)}")
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size}: at least 1")
        if self.workers < 0:
            raise UsageError(f"workers={self.workers}: 0 (in this process) or more")
        if self.decode != "pixels" and self.native:
            raise UsageError(f"native=True goes with decode='pixels', not {self.decode!r}")
        if self.decode == "bytes" and self.transform is not None:
            raise UsageError("decode='bytes' takes no transform: there are no arrays to transform")
        if self.decode == "bytes" and self.device is not None:
            raise UsageError(f"decode='bytes' has nothing to put on device={self.device!r}")
