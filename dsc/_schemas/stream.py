"""Streams, their graph (which bitstreams decode which tasks), and the codecs that write them."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._schemas.base import Schema
from dsc.errors import UnknownTaskError

LATER = ("compressed", "pack_size")  # fields that came later


class Compressed(StrEnum):
    """How packs compress the payloads of a stream."""

    TOGETHER = "together"  # those of a pack as one block
    EACH = "each"  # each by itself, so that one can be read alone


class Stream(Schema):
    """One bitstream of a sample.

    Attributes
    ----------
    name
        Directory, file and bitstream name, e.g. ``depth_zbuffer`` or ``shared``.
    carries
        The tasks that decoding this stream (with what it requires) gives.
    requires
        Streams that must be at hand to decode this one.
    compressed
        How its packs, which are of version 2, compress payloads; None where they do not.
    pack_size
        Samples a pack where it is not the archive's: a multiple of that.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.]*$", max_length=64)
    carries: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    compressed: Compressed | None = None
    pack_size: int | None = Field(default=None, ge=1, le=1 << 20)

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so: archives without it keep their bytes."""
        whole: dict[str, Any] = handler(self)
        return {k: v for k, v in whole.items() if k not in LATER or v is not None}


class CodecRecord(Schema):
    """A codec as an archive remembers it.

    Attributes
    ----------
    id
        Registry name, e.g. ``shared-latent`` or ``jxl``.
    config
        JSON that, with the weights, gives the codec back.
    weights_sha256
        Hash and file name (``codecs/<sha256>.safetensors``) of the weights and tables; None for
        codecs that have none.
    streams
        Names of the streams this codec writes.
    """

    id: str
    config: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    streams: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the codec for people: of one over another, both."""
        base = self.config.get("base")
        below = base.get("id") if isinstance(base, dict) else None
        if below and "rule" in self.config:
            return f"{self.id} ({below})"
        return f"{below} + {self.id}" if below else self.id

    @property
    def follows(self) -> str:
        """Say what tasks follow from, and how: ``rgb by edge_texture, sigma 3``; ``""`` else.

        A parameter whose name ends in a number is in as many parts: ``sigma_1000`` of 3000 is 3.
        The others are integers of the arithmetic, which mean nothing to people; the manifest has
        them.
        """
        rule, inputs = self.config.get("rule"), self.config.get("inputs")
        if not isinstance(rule, str) or not isinstance(inputs, dict):
            return ""
        params = self.config.get("params")
        ways = params if isinstance(params, list) else [params or {}]
        told = [", ".join(filter(None, map(_told, way, way.values()))) for way in ways]
        how = " or ".join(filter(None, dict.fromkeys(told)))
        if len(ways) > 1 and len(set(told)) < len(ways):
            how = f"in {len(ways)} ways"
        words = filter(None, [rule.partition("@")[0], how])
        return f"{', '.join(sorted(inputs))} by {', '.join(words)}"


def _told(name: str, value: int) -> str:
    word, _, parts = name.rpartition("_")
    is_in_parts = word and parts.isdecimal() and int(parts)
    return f"{word} {value / int(parts):g}" if is_in_parts else ""


def carrying_streams(streams: Iterable[Stream], task: str) -> tuple[str, ...]:
    """List the streams that carry a task themselves, in the order of the graph."""
    return tuple(stream.name for stream in streams if task in stream.carries)


def required_streams(streams: Sequence[Stream], tasks: Iterable[str]) -> tuple[str, ...]:
    """List the streams that must be read to decode `tasks`, in the graph's own order.

    Every stream that carries a wanted task is taken, then everything that it requires.

    Raises
    ------
    UnknownTaskError
        When no stream carries a wanted task.
    """
    by_name = {stream.name: stream for stream in streams}
    wanted: set[str] = set()
    for task in tasks:
        pending = [stream.name for stream in streams if task in stream.carries]
        if not pending:
            carried = sorted({name for stream in streams for name in stream.carries})
            raise UnknownTaskError(f"no stream carries task {task!r}; found: {', '.join(carried)}")
        while pending:
            name = pending.pop()
            if name not in wanted:
                wanted.add(name)
                pending.extend(by_name[name].requires)
    return tuple(stream.name for stream in streams if stream.name in wanted)
