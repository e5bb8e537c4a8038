"""The data of the benchmark: rendered views as image files, and as bitstreams of dsc's codecs.

A few views are rendered and coded once; data sets of any length repeat them in turn under keys of
their own, so that what is measured is reading, not rendering. Everything lies in one folder, is
made by `prepare` where it is not there yet, and is the same for every library:

``files/<k>.jpg``, ``files/<k>.png`` (rgb), ``files/<k>.depth.png`` (16 bits), and
``coded/<codec>/<k>.<stream>`` (bitstreams).
"""

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Quality, Task
from dsc._sources.rendered.sample import SampleSource

TASKS = ("rgb", "depth_zbuffer", "normal", "segment_semantic")
CODED = {"av1": TASKS, "independent": ("rgb", "depth_zbuffer")}
SPECS = {"av1": None, "independent": "independent"}  # None: the default codec of each task
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Material:
    """Where the views lie.

    Attributes
    ----------
    folder
        The folder.
    distinct
        How many different views there are.
    size
        Their width and height in pixels.
    """

    folder: Path
    distinct: int
    size: int

    def tasks(self, codec: str) -> tuple[Task, ...]:
        """Return the tasks that a codec coded."""
        found = {task.name: task for task in self.source().tasks}
        return tuple(found[name] for name in CODED[codec])

    def codec_set(self, codec: str) -> CodecSet:
        """Make a codec for its tasks."""
        return CodecSet.from_spec(SPECS[codec], self.tasks(codec))

    def source(self) -> SampleSource:
        """Return the views."""
        return SampleSource.open(self.distinct, self.size)

    def file(self, kind: str, index: int) -> bytes:
        """Read the image file (``jpg``, ``png``, ``depth.png``) of a sample of any index."""
        return self.path(kind, index).read_bytes()

    def path(self, kind: str, index: int) -> Path:
        """Name the image file of a sample of any index."""
        return self.folder / "files" / f"{index % self.distinct}.{kind}"

    def payloads(self, codec: str) -> list[dict[str, bytes]]:
        """Read the bitstreams of all different views, by stream."""
        names = [stream.name for stream in self.codec_set(codec).streams()]
        base = self.folder / "coded" / codec
        return [
            {name: (base / f"{k}.{name}").read_bytes() for name in names}
            for k in range(self.distinct)
        ]


def prepare(material: Material, processes: int = 1) -> None:
    """Render and code what is not there yet."""
    make = partial(_make_view, material)
    missing = [k for k in range(material.distinct) if not _marker(material, k).exists()]
    if processes <= 1 or len(missing) <= 1:
        for k in missing:
            make(k)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(make, missing))


def _make_view(material: Material, k: int) -> None:
    arrays = material.source().read(k, TASKS).arrays
    for kind, data in image_files(arrays).items():
        path = material.path(kind, k)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for codec, tasks in CODED.items():
        base = material.folder / "coded" / codec
        base.mkdir(parents=True, exist_ok=True)
        given = {name: arrays[name] for name in tasks}
        (coded,) = material.codec_set(codec).encode_batch([given], Quality())
        for stream, payload in coded.items():
            (base / f"{k}.{stream}").write_bytes(payload)
    _marker(material, k).touch()


def _marker(material: Material, k: int) -> Path:
    return material.folder / "files" / f"{k}.done"


def image_files(arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Code a view as people store it: RGB as JPEG (quality 90, 4:2:0) and PNG, depth as PNG."""
    from PIL import Image

    rgb = Image.fromarray(np.ascontiguousarray(arrays["rgb"]))
    depth = Image.fromarray(np.ascontiguousarray(arrays["depth_zbuffer"]))
    return {
        "jpg": _saved(rgb, "JPEG", quality=JPEG_QUALITY),
        "png": _saved(rgb, "PNG"),
        "depth.png": _saved(depth, "PNG"),
    }


def _saved(image: Any, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def keys(first: int, stop: int) -> Sequence[str]:
    """Name samples."""
    return [f"view_{index:08d}" for index in range(first, stop)]
