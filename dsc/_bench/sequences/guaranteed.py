"""Bytes of depth of which no pixel is off by more than a bound, by stills and by groups."""

from typing import Any

from dsc._bench.sequences.contenders import GROUP, TABLE
from dsc._bench.sequences.recording import Clip
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding
from dsc._schemas import Bound, BoundKind, Effort, Quality

CODECS = ("av1", "av1-seq")


def measure_guaranteed(recording: Clip, bound: float, effort: Effort) -> dict[str, Any]:
    """Return the bytes a frame under a bound, by codec, streams' places in tables included.

    Parameters
    ----------
    bound
        The largest relative error of a valid pixel.

    Raises
    ------
    CodecError
        When a codec does not keep it, which is a fault.
    """
    return {
        "bound": bound,
        "bytes": {codec: _bytes(recording, codec, bound, effort) for codec in CODECS},
    }


def _bytes(recording: Clip, codec: str, bound: float, effort: Effort) -> float:
    task = recording.task
    kept = Bound(kind=BoundKind.RELATIVE, value=bound)
    codecs = CodecSet.from_spec(f"{task.name}={codec}", [task], [task.name], effort)
    encoder = Coding((task,), codecs, Quality(max_error={task.name: kept})).encoder()
    samples = [{task.name: frame} for frame in recording.frames]
    coded = encoder.encode([samples[at : at + GROUP] for at in range(0, len(samples), GROUP)])
    tables = TABLE * len(codecs.streams()) * len(samples)
    return (sum(len(p) for one in coded for p in one.payloads.values()) + tables) / len(samples)
