"""Times of encoding and decoding single frames, all contenders in turn, on one thread."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dsc._bench.speed.clock import LEAST_S, seconds_of
from dsc._bench.speed.contenders import Contender, baseline_of
from dsc._bench.speed.frames import Kind
from dsc._pipeline.metrics import MeanMetrics, measure, peak_of, psnr_db
from dsc._schemas import TaskKind
from dsc._threads import single_thread


@dataclass
class _Lane:
    """A contender, what it made of the frames, and its times."""

    contender: Contender
    coded: list[Any]
    row: dict[str, Any]
    encode_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)


def measure_codecs(
    kind: Kind,
    contenders: Sequence[Contender],
    rounds: int,
    report: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Time all contenders on all frames of one kind.

    Parameters
    ----------
    rounds
        Times that each takes its turn, after one that does not count.
    report
        Called after each turn.

    Returns
    -------
    dict
        JSON: ``kind``, ``size``, ``frames``, ``pixels``, ``baseline`` and ``rows``. A row has
        ``name``, ``bytes`` and ``metrics`` (means) of the frames, and seconds of processor time for
        all of them, by round: ``encode_s`` and ``decode_s``; or ``error``.
    """
    rows, lanes = [], []
    with single_thread():
        for contender in contenders:
            row: dict[str, Any] = {"name": contender.name}
            rows.append(row)
            try:
                lanes.append(_begin(kind, contender, row))
            except Exception as error:  # whatever a codec raises becomes a line of the table
                row["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            report()
        for _ in range(rounds):
            for lane in lanes:
                _turn(kind, lane)
                report()
    for lane in lanes:
        lane.row |= {"encode_s": lane.encode_s, "decode_s": lane.decode_s}
    return {
        "kind": kind.name,
        "size": kind.size,
        "frames": len(kind.arrays),
        "pixels": kind.pixels,
        "baseline": baseline_of(kind),
        "rows": rows,
    }


def _begin(kind: Kind, contender: Contender, row: dict[str, Any]) -> _Lane:
    """Code all frames once, and hold what comes back against them."""
    coded = [contender.encode(array) for array in kind.arrays]
    row["bytes"] = sum(map(contender.size, coded))
    row["metrics"] = _metrics(kind, contender, coded)
    return _Lane(contender, coded, row)


def _metrics(kind: Kind, contender: Contender, coded: Sequence[Any]) -> dict[str, float]:
    """Return the means over the frames; ``identical`` alone where all come back bit for bit."""
    pairs = [(a, _decoded(contender, a, one)) for a, one in zip(kind.arrays, coded, strict=True)]
    if all(np.array_equal(array, decoded) for array, decoded in pairs):
        return {"identical": 1.0}
    means = MeanMetrics()
    for array, decoded in pairs:
        means.add(_distortion(kind, array, decoded))
    return {name: value for name, value in means.means().items() if math.isfinite(value)}


def _decoded(contender: Contender, array: Any, coded: Any) -> Any:
    decoded = contender.decode(coded, array)
    return decoded[..., 0] if decoded.ndim > array.ndim else decoded  # gray, held as colours


def _distortion(kind: Kind, array: Any, decoded: Any) -> dict[str, float]:
    if kind.task.kind is TaskKind.IMAGE and not kind.task.is_exact:  # MS-SSIM is slow
        return {"psnr_db": psnr_db(array, decoded, peak_of(kind.task))}
    return measure(kind.task, array, decoded)


def _turn(kind: Kind, lane: _Lane) -> None:
    lane.encode_s.append(seconds_of(partial(_encode_all, kind, lane), LEAST_S))
    lane.decode_s.append(seconds_of(partial(_decode_all, kind, lane), LEAST_S))


def _encode_all(kind: Kind, lane: _Lane) -> None:
    for array in kind.arrays:
        lane.contender.encode(array)


def _decode_all(kind: Kind, lane: _Lane) -> None:
    for array, coded in zip(kind.arrays, lane.coded, strict=True):
        lane.contender.decode(coded, array)
