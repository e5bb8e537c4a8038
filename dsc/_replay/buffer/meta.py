"""What a replay buffer remembers about itself: JSON that does not grow with exemplars."""

from typing import Any

from pydantic import Field

from dsc._schemas import CodecRecord, Quality, Stream, Task
from dsc._schemas.base import Schema

VERSION = 1


class SlotRecord(Schema):
    """With what some exemplars were encoded: codecs, their stream graph, and a quality.

    Attributes
    ----------
    codecs
        In the order of a `dsc._pipeline.choose.codec_set.CodecSet`; named by their decoders where
        these can be told apart (`dsc._codecs.split`).
    streams
        The stream graph; an exemplar's payload holds its streams in this order.
    quality
        What the encoder was asked for.
    """

    codecs: tuple[CodecRecord, ...]
    streams: tuple[Stream, ...]
    quality: Quality

    @property
    def label(self) -> str:
        """Codecs and quality, for people."""
        names = "+".join(record.label for record in self.codecs)
        return f"{names} q{self.quality.default}"


class BufferMeta(Schema):
    """See the module.

    Attributes
    ----------
    budget
        Bytes.
    count_decoder
        Whether the codecs' weights count against the budget.
    seed
        Where the random keys of the next samples come from.
    seeds
        All seeds that keys in this buffer came from, those of merged buffers too.
    seen
        Samples offered to this buffer under `seed`.
    offered
        Samples offered in all, to merged buffers too.
    generation
        Counts the updates.
    policy
        What makes the policy again.
    tasks
        What an exemplar holds.
    plain
        Whether an exemplar is one image, given and read without a task's name.
    keyed
        Whether exemplars have keys; None as long as there was none.
    max_pixels
        Pixels of the largest map offered.
    current
        With what new exemplars are encoded.
    slots
        With what those there were encoded.
    encoders
        Hash of the whole weights file that encoded last, by that of its decoder's part, which is
        what slots name. For people; nothing depends on it.
    """

    version: int = VERSION
    budget: int
    count_decoder: bool = False
    seed: int
    seeds: tuple[int, ...] = ()
    seen: int = 0
    offered: int = 0
    generation: int = 0
    policy: dict[str, Any]
    tasks: tuple[Task, ...]
    plain: bool
    keyed: bool | None = None
    max_pixels: int = 1
    current: SlotRecord | None = None
    slots: tuple[SlotRecord, ...] = Field(default=(), max_length=256)
    encoders: dict[str, str] = Field(default_factory=dict)

    @property
    def weight_hashes(self) -> tuple[str, ...]:
        """Hashes of the weights of all slots and of the current one, each once."""
        slots = self.slots if self.current is None else (*self.slots, self.current)
        found = [r.weights_sha256 for slot in slots for r in slot.codecs]
        return tuple(dict.fromkeys(sha for sha in found if sha is not None))
