"""How many bytes samples take, stream by stream: a histogram over some packs, evenly spread."""

from typing import Any

import numpy as np

from dsc._pipeline.read.originals import spread
from dsc._storage.read.archive import Archive

BINS = 48
MOST_PACKS = 64
READ_HERE, READ_REMOTE = 32 << 20, 4 << 20  # bytes a stream
TAIL = 99.5  # percent of the samples that the histogram shows apart


def measure_sizes(archive: Archive, stream: str) -> dict[str, Any]:
    """Count the bytes of a stream's bitstreams in some packs.

    Returns
    -------
    dict
        ``samples`` looked at, ``missing`` of them, ``total`` of the archive; where there are any
        bitstreams, the ``least``, ``median`` and ``most`` bytes, and a histogram: ``counts`` of
        equal steps from ``low`` to ``high``, the largest samples all in the last one.

    Raises
    ------
    CorruptArchiveError, OSError
        When a pack cannot be read.
    """
    packs = [(n, pack) for n in range(len(archive.shards)) for pack in range(archive.n_packs(n))]
    stored = archive.manifest.totals[stream].stored_bytes
    budget = READ_REMOTE if archive.root.local is None else READ_HERE
    wanted = budget * len(packs) // max(stored, 1)
    lengths: list[int] = []
    missing = 0
    for place in spread(len(packs), min(max(wanted, 1), MOST_PACKS)):
        shard, pack = packs[place]
        payloads = archive.read_pack(shard, stream, pack).payloads
        found = [len(payload) for payload in payloads if payload is not None]
        missing += len(payloads) - len(found)
        lengths += found
    counted = {"samples": len(lengths) + missing, "missing": missing, "total": len(archive)}
    return counted | (_histogram(np.array(lengths)) if lengths else {})


def _histogram(lengths: "np.ndarray[Any, Any]") -> dict[str, Any]:
    low, high = float(lengths.min()), float(np.percentile(lengths, TAIL, method="higher"))
    bins = int(min(BINS, max(high - low, 1)))
    counts, _ = np.histogram(np.minimum(lengths, high), bins, (low, max(high, low + 1)))
    return {
        "least": int(lengths.min()),
        "median": float(np.median(lengths)),
        "most": int(lengths.max()),
        "low": low,
        "high": max(high, low + 1),
        "counts": counts.tolist(),
    }
