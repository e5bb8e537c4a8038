"""Writes the same samples as webdataset, MosaicML streaming and litdata keep them.

Each library's own writer is used as its users use it. A data set is a list of fields: ``rgb.jpg``,
``rgb.png`` and ``depth.png`` are image files, any other field is a bitstream of dsc's default
codecs. The libraries are optional; they are imported when they are used.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsc._bench.stream.material import Material, keys

FILES = {"rgb.jpg": "jpg", "rgb.png": "png", "depth.png": "depth.png"}
MODULES = {"dsc": "dsc", "webdataset": "webdataset", "mosaicml": "streaming", "litdata": "litdata"}
PACKAGES = {
    "dsc": "dsc",
    "webdataset": "webdataset",
    "mosaicml": "mosaicml-streaming",
    "litdata": "litdata",
}
TARS = 8
WRITTEN = "written.json"


def is_installed(library: str) -> bool:
    """Tell whether a library is at hand, without importing it."""
    return find_spec(MODULES[library]) is not None


def write_rival(
    library: str, material: Material, fields: Sequence[str], samples: int, out: Path
) -> None:
    """Write a data set; nothing when it is there.

    Parameters
    ----------
    library
        ``webdataset``, ``mosaicml`` or ``litdata``.
    fields
        What each sample holds.
    out
        Directory for this data set alone.
    """
    said = {"fields": list(fields), "samples": samples, "distinct": material.distinct}
    marker = out / WRITTEN
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == said:
        return
    writers: Mapping[str, Callable[..., None]] = {
        "webdataset": _write_webdataset,
        "mosaicml": _write_mosaicml,
        "litdata": _write_litdata,
    }
    out.mkdir(parents=True, exist_ok=True)
    writers[library](material, fields, samples, out / "data")
    marker.write_text(json.dumps(said), encoding="utf-8")


def field_bytes(material: Material, field: str, index: int) -> bytes:
    """Return one field of a sample."""
    if field in FILES:
        return material.file(FILES[field], index)
    return (material.folder / "coded" / "av1" / f"{index % material.distinct}.{field}").read_bytes()


def _write_webdataset(
    material: Material, fields: Sequence[str], samples: int, out: Path, tars: int = TARS
) -> None:
    wds = import_module("webdataset")
    out.mkdir(parents=True, exist_ok=True)
    held = _Held(material, fields)
    size = -(-samples // tars)
    for number, first in enumerate(range(0, samples, size)):
        stop = min(first + size, samples)
        # mtime: with the default, every member gets another 1,024 bytes of header
        with wds.TarWriter(str(out / f"{number:06d}.tar"), mtime=0) as writer:
            for index, key in zip(range(first, stop), keys(first, stop), strict=True):
                values = held.sample(index)
                writer.write({"__key__": key} | {_member(name): values[name] for name in fields})


def _member(field: str) -> str:
    """Name a field as webdataset does; its writer codes an ending that it knows, so none is."""
    return field if field in FILES else f"{field}.bin"


def _write_mosaicml(material: Material, fields: Sequence[str], samples: int, out: Path) -> None:
    streaming = import_module("streaming")
    held = _Held(material, fields)
    columns = {name: "jpeg" if name == "rgb.jpg" else "bytes" for name in fields}
    with streaming.MDSWriter(out=str(out), columns=columns) as writer:
        for index in range(samples):
            writer.write(_with_jpeg(held.sample(index), material, index))


def _write_litdata(material: Material, fields: Sequence[str], samples: int, out: Path) -> None:
    litdata = import_module("litdata")
    litdata.optimize(
        partial(_litdata_sample, material, tuple(fields)),
        list(range(samples)),
        output_dir=str(out),
        chunk_bytes="64MB",
        num_workers=1,
    )


def _litdata_sample(material: Material, fields: Sequence[str], index: int) -> dict[str, Any]:
    values = {name: field_bytes(material, name, index) for name in fields}
    return _with_jpeg(values, material, index)


def _with_jpeg(values: dict[str, Any], material: Material, index: int) -> dict[str, Any]:
    """Hand a JPEG over as an opened image: both libraries then store the file as it is."""
    if "rgb.jpg" in values:
        from PIL import Image

        values["rgb.jpg"] = Image.open(material.path("jpg", index))
    return values


class _Held:
    """The fields of all different views, read once."""

    def __init__(self, material: Material, fields: Sequence[str]) -> None:
        self._views = [
            {name: field_bytes(material, name, k) for name in fields}
            for k in range(material.distinct)
        ]

    def sample(self, index: int) -> dict[str, Any]:
        return dict(self._views[index % len(self._views)])
