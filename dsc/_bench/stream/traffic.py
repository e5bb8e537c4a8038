"""Bytes: what is sent when only depth is read of an archive of four tasks.

The same bitstreams lie in an archive of dsc's, in webdataset's tars, in MosaicML's MDS shards and
in litdata's chunks; each library reads one epoch from a counting server on loopback. webdataset
reads over plain HTTP (by curl, as it does); MosaicML streaming and litdata have no HTTP client and
read through their S3 clients, with the same server as S3 endpoint.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dsc._bench.server import serve
from dsc._bench.stream.children import ChildError, child, s3_environment
from dsc._bench.stream.material import TASKS
from dsc._bench.stream.readers import Read
from dsc._bench.stream.rivals import PACKAGES
from dsc._bench.stream.workshop import Workshop, absent, error_row
from dsc._schemas import required_streams
from dsc._storage.read.archive import Archive

TASK = "depth_zbuffer"
BAR = 1.02
DSC_READS: dict[str, dict[str, Any]] = {
    "dsc, in order": {},
    "dsc, shuffled": {"shuffle": True},
    "dsc, shuffled, 2 workers": {"shuffle": True, "workers": 2},
}


def measure_traffic(shop: Workshop) -> dict[str, Any]:
    """Count the bytes of one epoch of depth, library by library.

    Returns
    -------
    dict
        ``required`` (``payload``, ``stored`` bytes of the streams that depth requires), and
        ``rows``: ``name``, ``sent``, ``requests``, ``samples``, ``total`` bytes of the data set.
    """
    samples = shop.sizes.samples
    archive = shop.archive("av1", samples)
    manifest = Archive.open(archive).manifest
    streams = required_streams(manifest.streams, [TASK])
    rows = [
        _row(name, partial(_count, shop, "dsc", archive, options))
        for name, options in DSC_READS.items()
    ]
    for library in ("webdataset", "mosaicml", "litdata"):
        name, reason = PACKAGES[library], absent(library)
        rows.append(
            error_row(name, reason) if reason else _row(name, partial(_rival, shop, library))
        )
    return {
        "samples": samples,
        "required": {
            "payload": sum(manifest.totals[name].payload_bytes for name in streams),
            "stored": sum(manifest.totals[name].stored_bytes for name in streams),
        },
        "rows": rows,
    }


def _row(name: str, count: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"name": name, **count()}
    except ChildError as error:
        return error_row(name, f"failed: {error}")


def _rival(shop: Workshop, library: str) -> dict[str, Any]:
    return _count(shop, library, shop.rival(library, TASKS, shop.sizes.samples), {})


def _count(shop: Workshop, library: str, data: Path, options: dict[str, Any]) -> dict[str, Any]:
    with serve(data.parent) as (url, traffic):
        places = {
            "dsc": f"{url}/{data.name}",
            "webdataset": f"{url}/{data.name}/{_braces(data)}",
            "mosaicml": f"s3://{data.name}",
            "litdata": f"s3://{data.name}",
        }
        read = Read(library, places[library], (TASK,), scratch=str(shop.fresh(library)), **options)
        with child(s3_environment(url)) as process:
            samples = process.ask("read_all", read=vars(read))
        return {
            "sent": traffic.total(),
            "requests": traffic.bodies,
            "samples": samples,
            "total": sum(path.stat().st_size for path in data.rglob("*") if path.is_file()),
        }


def _braces(data: Path) -> str:
    """Return the pattern of webdataset's tars."""
    count = len(list(data.glob("*.tar")))
    return f"{{{0:06d}..{max(count - 1, 0):06d}}}.tar"
