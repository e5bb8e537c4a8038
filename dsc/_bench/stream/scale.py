"""Cost of scale: time to the first batch, and memory, of archives from a thousand to ten million.

Each measurement is a process of its own that streams RGB, shuffled, decoded, from a server on
loopback whose archive is made when it is asked for (`synthetic`). Opening (manifest and shard
records) is told apart from what comes after. Memory is the peak resident size of the process that
reads, and of a worker process where there is one.
"""

import statistics
from collections.abc import Callable
from typing import Any

from dsc._bench.server import serve
from dsc._bench.stream.archives import PACK
from dsc._bench.stream.children import ChildError, child
from dsc._bench.stream.synthetic import SyntheticArchive
from dsc._bench.stream.workshop import Workshop
from dsc._schemas.manifest import SHARDS
from dsc._storage.format.names import MANIFEST

CODEC = "av1"
OPTIONS = {"tasks": "rgb", "batch_size": 64, "shuffle": True}


def measure_scale(
    shop: Workshop, samples: int, report: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Measure one archive length.

    Returns
    -------
    dict
        ``samples``, ``manifest_bytes`` (with the shard records), medians of what
        `child.first_batch` gives, ``worker_peak_bytes`` of a worker process; or ``error``.
    """
    material = shop.material
    payloads = material.payloads(CODEC)
    archive = SyntheticArchive(
        material.tasks(CODEC),
        material.codec_set(CODEC),
        [payloads[k % len(payloads)] for k in range(PACK)],
        samples,
        material.size**2,
    )
    files = (archive.size(MANIFEST), archive.size(SHARDS))
    found: list[dict[str, Any]] = []
    row: dict[str, Any] = {"samples": samples, "manifest_bytes": sum(n or 0 for n in files)}
    try:
        with serve(archive) as (url, traffic):
            for _ in range(shop.sizes.rounds):
                before = traffic.total()
                with child() as process:
                    found.append(_ask(process, url, {}, shop.sizes.scale_batches))
                found[-1]["sent_bytes"] = traffic.total() - before
                report()
            with child() as process:
                with_worker = _ask(process, url, {"workers": 1}, shop.sizes.scale_batches)
    except ChildError as error:
        return row | {"error": f"failed: {error}"}
    medians = {name: statistics.median(one[name] for one in found) for name in found[0]}
    return row | medians | {"worker_peak_bytes": with_worker["worker_peak_bytes"]}


def _ask(process: Any, url: str, options: dict[str, Any], batches: int) -> dict[str, Any]:
    found: dict[str, Any] = process.ask(
        "first_batch", url=url, options=OPTIONS | options, batches=batches
    )
    return found
