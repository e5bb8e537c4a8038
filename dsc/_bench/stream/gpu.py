"""GPU: RGB and depth with synthesis on the device, where there is one."""

from typing import Any

from dsc._bench.stream.children import Child, ChildError, child
from dsc._bench.stream.speed import DEPTH, RATE_LIMIT_S, Entry, read_of
from dsc._bench.stream.workshop import Workshop, error_row

DEVICE = "cuda"
ENTRIES = (
    Entry("dsc pixels, independent: rgb", "dsc", ("rgb",), "pixels", "independent"),
    Entry("dsc pixels, independent: rgb, depth", "dsc", ("rgb", DEPTH), "pixels", "independent"),
)


def measure_gpu(shop: Workshop, workers: int) -> dict[str, Any]:
    """Measure rates with synthesis on the GPU and entropy decoding in worker processes.

    Returns
    -------
    dict
        ``device`` (its name, or None when there is none), ``workers``, and ``rows``: ``name``,
        ``rate`` of the stream, ``synthesis`` (samples a second of the GPU's half alone).
    """
    with child() as process:
        name = process.ask("device_name", device=DEVICE)
        if name is None:
            return {"device": None, "workers": workers, "rows": []}
        rows = [_row(shop, process, entry, workers) for entry in ENTRIES]
    return {"device": name, "workers": workers, "rows": rows}


def _row(shop: Workshop, process: Child, entry: Entry, workers: int) -> dict[str, Any]:
    read = vars(read_of(shop, entry)) | {"workers": workers, "device": DEVICE}
    seconds = shop.sizes.seconds
    try:
        rate = process.ask("rate", RATE_LIMIT_S, read=read, seconds=seconds)
        synthesis = process.ask("synthesis", RATE_LIMIT_S, read=read, seconds=seconds)
    except ChildError as error:
        return error_row(entry.name, f"failed: {error}")
    return {"name": entry.name, "rate": rate["rate"], "synthesis": synthesis}
