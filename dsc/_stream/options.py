"""What a stream is asked for: every keyword of `dsc.stream`, checked, in the units that it has."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any, Literal, Self, get_args

import numpy as np

from dsc._columns.where import Predicate
from dsc._pipeline.read.selection import Selection, Subset
from dsc._pipeline.read.window import WindowOption, WindowSpec
from dsc._schemas.levels import Levels
from dsc._schemas.rate import Rate
from dsc._schemas.size import parse_bytes
from dsc._transforms.randomness import drawing
from dsc.errors import UsageError

Transform = Callable[..., Mapping[str, Any]]
CollateFn = Callable[[list[Any]], Any]
Decode = Literal["pixels", "latents", "bytes", "features"]
Missing = Literal["error", "skip", "none"]
OnError = Literal["fail", "skip"]
OnDamage = Literal["fail", "nearest", "coarser"]
MixedSizes = Literal["error", "list", "pad"]
Output = Literal["torch", "numpy"]

_CHOICES = {
    "decode": Decode,
    "missing": Missing,
    "on_error": OnError,
    "on_damage": OnDamage,
    "mixed_sizes": MixedSizes,
    "output": Output,
}
BY_PLACE = ("keys", "indices")
_NUMBERS = ("batch_size", "shuffle_window", "lanes", "workers", "threads")
GROUP = "group"


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """The keywords of `dsc.stream`, under the same names; what they mean stands there.

    Attributes
    ----------
    batch_size, shuffle_window
        Samples.
    lanes, workers, threads
        Numbers of lanes, of processes, and of threads in each that decode.
    prefetch, memory, cache_limit, cache_decoded
        Bytes, or text such as ``"32MB"``; as bytes in `prefetch_bytes` and so on.
    timeout
        Seconds.

    Raises
    ------
    UsageError
        When they cannot be honoured; it names the option, its value and what it may be.
    """

    tasks: Sequence[str] | str | None = None
    batch_size: int = 64
    rate: Rate = 1
    levels: Levels | None = None
    split: str | Sequence[str] | None = None
    where: str | Predicate | None = None
    keys: Any = None
    indices: Any = None
    subset: Subset | None = None
    limit: int | None = None
    window: WindowOption | int | None = None
    window_edges: str = "clamp"
    shuffle: bool | str = False
    seed: int = 0
    shuffle_window: int | None = None
    lanes: int | None = None
    drop_last: bool = False
    pad: bool | None = None
    rank: int | None = None
    world: int | None = None
    decode: str = "pixels"
    device: str | None = None
    native: bool = False
    output: str = "torch"
    transform: Transform | None = None
    collate_fn: CollateFn | None = None
    with_keys: bool = False
    temperature: float | None = None
    missing: str = "error"
    on_error: str = "fail"
    on_damage: str = "fail"
    mixed_sizes: str = "error"
    workers: int = 0
    threads: int | None = None
    prefetch: int | str = "32MB"
    memory: int | str = "256MB"
    cache: str | os.PathLike[str] | None = None
    cache_limit: int | str = "10GB"
    cache_decoded: int | str = 0
    buffer: int | str = "1GB"
    timeout: float | None = None

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> Self:
        """Take the options among the arguments of a call."""
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    @property
    def gives_arrays(self) -> bool:
        """Whether samples are decoded, as pixels or as what heads take."""
        return self.decode in ("pixels", "features")

    @property
    def prefetch_bytes(self) -> int:
        """Bytes that each process reads ahead."""
        return parse_bytes(self.prefetch, "prefetch")

    @property
    def memory_bytes(self) -> int:
        """Bytes of packs that each process keeps."""
        return parse_bytes(self.memory, "memory")

    @property
    def cache_decoded_bytes(self) -> int:
        """Bytes of decoded arrays that all processes of this rank keep."""
        return parse_bytes(self.cache_decoded, "cache_decoded")

    @property
    def buffer_bytes(self) -> int:
        """Bytes of decoded frames that each process keeps of groups that have begun."""
        return parse_bytes(self.buffer, "buffer")

    @property
    def is_grouped(self) -> bool:
        """Whether groups are shuffled, and not samples one by one."""
        return self.shuffle == GROUP

    @property
    def window_spec(self) -> WindowSpec | None:
        """The frames that come with each sample; None for its own alone."""
        return WindowSpec.of(self.window, self.window_edges)

    @property
    def cache_bytes(self) -> int:
        """Bytes that the cache's directory may grow to."""
        return parse_bytes(self.cache_limit, "cache_limit")

    def selections(self, places: Sequence[str]) -> dict[str, Selection]:
        """Return what is wanted of each archive.

        Raises
        ------
        UsageError
            When it cannot be read, or names an archive that is not there.
        """
        keys, indices = (_by_place(name, getattr(self, name), places) for name in BY_PLACE)
        return {
            place: Selection.of(
                self.split, self.where, keys.get(place), indices.get(place), self.subset, self.limit
            )
            for place in places
        }

    def without_selection(self) -> Self:
        """Return the same without what samples were chosen by."""
        return replace(self, where=None, keys=None, indices=None, subset=None, limit=None)

    def __post_init__(self) -> None:
        # in plain words, whatever was given: options travel to workers
        object.__setattr__(self, "device", None if self.device is None else str(self.device))
        object.__setattr__(self, "cache", None if self.cache is None else os.fspath(self.cache))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in get_args(allowed):
                found = f"{name}={getattr(self, name)!r}"
                raise UsageError(f"{found}: one of {', '.join(get_args(allowed))}")
        if isinstance(self.window, int | np.integer):  # as it was called before there were windows
            self._take_shuffle_window(int(self.window))
        self._check_numbers()
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size}: at least 1")
        if self.workers < 0:
            raise UsageError(f"workers={self.workers}: 0 (in this process) or more")
        if self.threads is not None and self.threads < 0:
            raise UsageError(f"threads={self.threads}: 0 (none but the loop's own) or more")
        # refused if they are no sizes
        _ = self.prefetch_bytes, self.memory_bytes, self.cache_bytes, self.cache_decoded_bytes
        _ = self.buffer_bytes
        self._check_decode()
        self._check_collate()
        self._check_order()
        self._check_window()

    def _take_shuffle_window(self, window: int) -> None:
        if self.shuffle_window is not None:
            raise UsageError(
                f"window={window} means shuffle_window, which is given, too; frames around a "
                "sample are window=(-1, 0, 1)"
            )
        object.__setattr__(self, "shuffle_window", window)
        object.__setattr__(self, "window", None)

    def _check_window(self) -> None:
        """Refuse windows that cannot be read, or go with what else is asked for."""
        if self.window_spec is None:
            return
        if not self.gives_arrays:
            raise UsageError(f"window= goes with decode='pixels', not {self.decode!r}")
        if self.on_damage == "coarser":
            raise UsageError("on_damage='coarser' goes with single frames, not with window=")
        if self.mixed_sizes == "pad":
            raise UsageError(
                "window= does not go with mixed_sizes='pad': choose one size by where="
            )

    def _check_numbers(self) -> None:
        """Refuse what is no whole number where one is wanted."""
        for name in _NUMBERS:
            given = getattr(self, name)
            is_left_out = given is None and getattr(type(self), name) is None
            if not is_left_out and not isinstance(given, Integral):
                raise UsageError(f"{name}={given!r}: a whole number")

    def _check_decode(self) -> None:
        """Refuse what does not go with ``decode``."""
        if self.decode != "pixels" and self.native:
            raise UsageError(f"native=True goes with decode='pixels', not {self.decode!r}")
        if not self.gives_arrays and self.on_damage != "fail":
            found = f"on_damage={self.on_damage!r}"
            raise UsageError(f"{found} goes with decode='pixels', not {self.decode!r}")
        if self.transform is not None:
            drawing(self.transform)  # refused if it must be given more than it can be
        if self.decode == "bytes" and self.transform is not None:
            raise UsageError("decode='bytes' takes no transform: there are no arrays to transform")
        if not self.gives_arrays and self.mixed_sizes == "pad":
            raise UsageError(f"mixed_sizes='pad' goes with decode='pixels', not {self.decode!r}")
        if self.decode == "bytes" and self.device is not None:
            raise UsageError(f"decode='bytes' has nothing to put on device={self.device!r}")
        if self.output == "numpy" and (self.device is not None or self.decode == "latents"):
            asked = "decode='latents'" if self.device is None else f"device={self.device!r}"
            raise UsageError(f"{asked} gives tensors: it goes with output='torch', not 'numpy'")

    def _check_collate(self) -> None:
        """Refuse what a batch of one's own making cannot be."""
        if self.collate_fn is None:
            return
        if not callable(self.collate_fn):
            raise UsageError(f"collate_fn={self.collate_fn!r}: a function of a list of samples")
        if not self.gives_arrays:
            raise UsageError(f"collate_fn goes with decode='pixels', not {self.decode!r}")
        if self.device is not None:
            raise UsageError(
                f"device={self.device!r} moves batches of tensors: move what collate_fn returns in "
                "the loop"
            )
        if self.mixed_sizes != "error":
            raise UsageError(
                f"mixed_sizes={self.mixed_sizes!r} with collate_fn, which is given samples of any "
                "size: leave one of them out"
            )

    def _check_order(self) -> None:
        """Refuse an order that cannot be."""
        if self.shuffle not in (False, True, GROUP):
            raise UsageError(f"shuffle={self.shuffle!r}: False, True or 'group'")
        window, lanes = self.shuffle_window, self.lanes
        if any(given is not None and given < 1 for given in (window, lanes)):
            raise UsageError(f"shuffle_window={window}, lanes={lanes}: at least 1")
        if not self.shuffle and (window is not None or lanes is not None):
            given = f"lanes={lanes}" if window is None else f"shuffle_window={window}"
            raise UsageError(
                f"{given} without shuffle=True: the archive's own order has neither windows nor "
                "lanes; give shuffle=True, or leave it out"
            )


def _by_place(name: str, given: Any, places: Sequence[str]) -> dict[str, Any]:
    """Return by archive what was given for one archive, or by URL."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        found = {os.fspath(place): value for place, value in given.items()}
        odd = [place for place in found if place not in places]
        if odd:
            raise UsageError(f"{name}: no archive {odd[0]} here; there are {', '.join(places)}")
        return found
    if len(places) > 1:
        raise UsageError(f"{name} of several archives: give them by URL, {name}={{url: ...}}")
    return {places[0]: given}
