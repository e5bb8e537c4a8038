"""Speed: samples a second of every library on the same images, on one core and on two.

One core: the reader runs in the measured process, which is bound to one processor. Two cores: two
worker processes of the data loader, bound with it to two. Data lie on the local disk and have been
read before. All rows are measured in turn, round after round; a row's figure is the median of its
rounds, and a ratio is the median of the ratios within rounds. Where there is a GPU, dsc alone is
measured with synthesis on it.
"""

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsc._bench.stream.children import Child, ChildError, child
from dsc._bench.stream.readers import Read
from dsc._bench.stream.workshop import Workshop, absent, error_row
from dsc._schemas import required_streams
from dsc._storage.read.archive import Archive
from dsc.errors import DscError

RATE_LIMIT_S = 90.0
DEPTH = "depth_zbuffer"
BATCH = 64
DEVICE = "cuda"
Rates = Mapping[str, Mapping[int, list[dict[str, float]]]]  # by row and number of cores


@dataclass(frozen=True)
class Entry:
    """A row of a table: what is read, and how.

    Attributes
    ----------
    name
        For people.
    library
        Whose reader.
    fields
        Tasks of dsc's, or fields of a rival's samples.
    decode
        See `readers.Read`.
    codec
        Of dsc's archive.
    shuffle
        Whether the epoch is shuffled.
    """

    name: str
    library: str
    fields: tuple[str, ...]
    decode: str
    codec: str = "av1"
    shuffle: bool = False


def raw_entries() -> list[Entry]:
    """List what is compared without decoding, RGB alone; the second row is the baseline."""
    return [
        Entry("dsc bytes", "dsc", ("rgb",), "bytes"),
        Entry("webdataset, the same bitstreams", "webdataset", ("rgb",), "bytes"),
        Entry("dsc bytes, shuffled", "dsc", ("rgb",), "bytes", shuffle=True),
        Entry("webdataset, JPEG files", "webdataset", ("rgb.jpg",), "bytes"),
        Entry("mosaicml-streaming, the same bitstreams", "mosaicml", ("rgb",), "bytes"),
        Entry("litdata, the same bitstreams", "litdata", ("rgb",), "bytes"),
    ]


def pixel_entries(depth: bool) -> list[Entry]:
    """List what is compared with decoding; the first row is the baseline."""
    tasks = ("rgb", DEPTH) if depth else ("rgb",)
    with_jpeg = ("rgb.jpg", "depth.png") if depth else ("rgb.jpg",)
    with_png = ("rgb.png", "depth.png") if depth else ("rgb.png",)
    name = "{}, depth PNG".format if depth else "{}".format
    return [
        Entry(name("webdataset, JPEG, PIL"), "webdataset", with_jpeg, "pil"),
        Entry(name("webdataset, JPEG, imagecodecs"), "webdataset", with_jpeg, "imagecodecs"),
        Entry("webdataset, PNG, PIL", "webdataset", with_png, "pil"),
        Entry("webdataset, PNG, imagecodecs", "webdataset", with_png, "imagecodecs"),
        Entry(name("mosaicml-streaming, JPEG, PIL"), "mosaicml", with_jpeg, "pil"),
        Entry(name("litdata, JPEG, torchvision"), "litdata", with_jpeg, "pil"),
        Entry("dsc bytes", "dsc", tasks, "bytes"),
        Entry("dsc pixels, av1 (default)", "dsc", tasks, "pixels"),
        Entry("dsc latents, independent", "dsc", tasks, "latents", "independent"),
        Entry("dsc pixels, independent", "dsc", tasks, "pixels", "independent"),
    ]


def gpu_entries() -> list[Entry]:
    """List what is synthesised on a GPU."""
    tasks = {"rgb": ("rgb",), "rgb, depth": ("rgb", DEPTH)}
    return [
        Entry(f"dsc pixels, independent: {name}", "dsc", fields, "pixels", "independent")
        for name, fields in tasks.items()
    ]


def measure_speed(
    shop: Workshop,
    entries: Sequence[Entry],
    baseline: str,
    report: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the rows of a table in turn.

    Parameters
    ----------
    baseline
        Name of the row that ratios are to.
    report
        Called after each round.

    Returns
    -------
    dict
        ``rows``: ``name``, and by number of cores the ``rates`` of all rounds, their median
        ``rate``, and the ``ratio`` to the baseline; the same of ``cpu_rates``, samples a second of
        processor time; or ``error``.
    """
    errors: dict[str, str] = {}
    reads = {e.name: found for e in entries if (found := _prepare(shop, e, errors)) is not None}
    cores = [1, 2] if (os.cpu_count() or 1) > 1 else [1]
    rates: Rates = {name: {count: [] for count in cores} for name in reads}
    with ExitStack() as stack:
        processes = {
            library: stack.enter_context(child()) for library in {r.library for r in reads.values()}
        }
        for _ in range(shop.sizes.rounds):
            for name, read in reads.items():
                for count in cores:
                    if name not in errors:
                        _measure(processes, read, count, shop.sizes.seconds, name, rates, errors)
            report()
    return {
        "baseline": baseline,
        "rows": [
            error_row(e.name, errors[e.name])
            if e.name in errors
            else _row(e.name, rates[e.name], rates.get(baseline, {}))
            for e in entries
        ],
    }


def _measure(
    processes: Mapping[str, Child],
    read: Read,
    cores: int,
    seconds: float,
    name: str,
    rates: Rates,
    errors: dict[str, str],
) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    asked = vars(read) | {"workers": 0 if cores == 1 else cores}
    try:
        found = processes[read.library].ask(
            "rate", RATE_LIMIT_S, read=asked, seconds=seconds, cpus=allowed[:cores]
        )
    except ChildError as error:
        errors[name] = f"failed: {error}"
    else:
        rates[name][cores].append(found)


def _prepare(shop: Workshop, entry: Entry, errors: dict[str, str]) -> Read | None:
    reason = absent(entry.library)
    if not reason:
        try:
            return read_of(shop, entry)
        except DscError as error:
            reason = f"failed: {error}"
    errors[entry.name] = reason
    return None


def read_of(shop: Workshop, entry: Entry) -> Read:
    """Make the data set of a row, and say how it is read.

    Raises
    ------
    DscError
        When the library cannot write it, or the archive has no such task.
    """
    sizes = shop.sizes
    memory = Read.memory
    if entry.library == "dsc":
        where = shop.archive(entry.codec, sizes.samples)
        memory = too_little(where, entry.fields)
    else:
        images = any("." in name for name in entry.fields)
        count = sizes.images if images else sizes.samples
        where = shop.rival(entry.library, entry.fields, count)
    return Read(
        entry.library,
        str(where),
        entry.fields,
        entry.decode,
        batch_size=BATCH if entry.decode == "bytes" else sizes.batch_size,
        shuffle=entry.shuffle,
        memory=memory,
    )


def too_little(archive: Path, tasks: Sequence[str]) -> int:
    """Return less memory than one of two workers reads in an epoch.

    Packs that stayed from the epoch before would not be read, and rates not be those of reading.
    """
    manifest = Archive.open(archive).manifest
    streams = required_streams(manifest.streams, tasks)
    return int(0.4 * sum(manifest.totals[name].stored_bytes for name in streams))


def _row(
    name: str,
    rates: Mapping[int, Sequence[Mapping[str, float]]],
    baseline: Mapping[int, Sequence[Mapping[str, float]]],
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name}
    for cores, found in rates.items():
        row[str(cores)] = {}
        for kind in ("rate", "cpu_rate"):
            values = [one[kind] for one in found]
            bases = [one[kind] for one in baseline.get(cores, [])]
            ratios = [value / base for value, base in zip(values, bases, strict=False)]
            row[str(cores)] |= {
                f"{kind}s": values,
                kind: statistics.median(values),
                kind.replace("rate", "ratio"): statistics.median(ratios) if ratios else None,
            }
    return row


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
        rows = [_gpu_row(shop, process, entry, workers) for entry in gpu_entries()]
    return {"device": name, "workers": workers, "rows": rows}


def _gpu_row(shop: Workshop, process: Child, entry: Entry, workers: int) -> dict[str, Any]:
    read = vars(read_of(shop, entry)) | {"workers": workers, "device": DEVICE}
    seconds = shop.sizes.seconds
    try:
        rate = process.ask("rate", RATE_LIMIT_S, read=read, seconds=seconds)
        synthesis = process.ask("synthesis", RATE_LIMIT_S, read=read, seconds=seconds)
    except ChildError as error:
        return error_row(entry.name, f"failed: {error}")
    return {"name": entry.name, "rate": rate["rate"], "synthesis": synthesis}
