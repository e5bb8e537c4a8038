"""What ``--codec auto`` decided, and the measurements that it decided from.

Speeds are shown when the choice is made and not stored: they differ from run to run, and equal
input must give equal bytes.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._schemas.base import Schema
from dsc._schemas.effort import Effort
from dsc._schemas.quality import Quality


class Trial(Schema):
    """A codec that was tried on some tasks together.

    Attributes
    ----------
    tasks
        The tasks that it coded, all in one graph of streams.
    codec
        Registry id, or file.
    quality
        The quality of each task that matches its reference.
    distortion
        Mean over the samples, by task, in the metric of `Choice.metric`; a task that has none, or
        came back unchanged, is left out.
    sample_bytes
        Mean bytes a sample: all streams of these tasks and their entries in the packs.
    weights_bytes
        Bytes of the codec's file, which an archive holds once.
    samples
        How many samples it was tried on; one that was clearly beaten on the first few was not
        tried on the others.
    is_chosen
        Whether these tasks are coded so.
    is_crop
        Whether it was tried on a crop of its samples; the bytes are scaled up.
    encode_mpix_s, decode_mpix_s
        Million pixels of all its tasks a second, on one thread; not stored.
    """

    tasks: tuple[str, ...]
    codec: str
    quality: Mapping[str, int] = Field(default_factory=dict)
    distortion: Mapping[str, float] = Field(default_factory=dict)
    sample_bytes: float
    weights_bytes: int = 0
    samples: int
    is_chosen: bool = False
    is_crop: bool = False
    encode_mpix_s: float | None = Field(default=None, exclude=True)
    decode_mpix_s: float | None = Field(default=None, exclude=True)

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so: choices of earlier versions keep their bytes."""
        return without_false(handler(self), "is_crop")


class Choice(Schema):
    """A codec for each task, chosen by trying.

    Attributes
    ----------
    asked
        The quality, targets and bounds that were asked for.
    effort
        The effort that all candidates were tried at.
    samples
        How many samples were asked to be tried.
    metric
        How each task's distortion is measured.
    reference
        The distortion that every candidate had to reach, by task.
    codecs
        What was chosen: registry id or file, by task.
    quality
        The quality of each chosen task where one value holds for all samples.
    trials
        Everything that was measured.
    refused
        Why a codec could not do what is asked, by "task by codec".
    is_cut_short
        Whether the time for trying was over before the choice was clear.
    follows
        Of tasks that follow from others, which are not tried: from which, and by which rule. Their
        entry of `codecs` stores the maps that the rule does not give.
    """

    asked: Quality
    effort: Effort = Effort.DEFAULT
    samples: int
    metric: Mapping[str, str]
    reference: Mapping[str, float]
    codecs: Mapping[str, str]
    quality: Mapping[str, int]
    trials: tuple[Trial, ...]
    refused: Mapping[str, str] = Field(default_factory=dict)
    is_cut_short: bool = False
    follows: Mapping[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so, or usual: choices of earlier versions keep their bytes."""
        whole = without_false(without_false(handler(self), "is_cut_short"), "follows")
        return {k: v for k, v in whole.items() if k != "effort" or v != Effort.DEFAULT}

    def stored(self) -> Self:
        """Return the same without what differs from run to run."""
        return type(self).from_json(self.to_json())


def without_false(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping without a value that is false or empty."""
    return {key: value for key, value in whole.items() if key != name or value}
