"""Write the golden bitstreams of the classical codecs that do not exist yet; never replace one.

    python -m tests.golden.make_classical

A golden case is three files, ``<codec>/<case>.json`` (codec config, quality, what must come out),
``.bin`` (the bitstream) and, for lossy ones, ``.npy`` (the decoded array). They are how an archive
written today is known to be readable tomorrow, so a case that no longer decodes is mended in the
code. A format that changes on purpose gets a new case beside the old one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from dsc._codecs.classical.file_starts import starts_of
from dsc._codecs.registry import codec_from_config, make_codec
from dsc._coding.context.mask import ROWS, encode_mask
from dsc._coding.context.raster import encode_rows
from dsc._schemas import Quality, Task, TaskKind
from dsc._schemas.from_file import with_file
from tests.codecs import test_classical as tasks
from tests.codecs.conformance import make_sample

ROOT = Path(__file__).parent / "classical"
SIZE = (19, 26)
QUALITY = 60
MAPS = (tasks.RGB, tasks.SHADING, tasks.EDGES, tasks.KINECT, tasks.NORMAL, tasks.LABEL16)
VALUES = (tasks.CLASS, tasks.POSE)


def main() -> None:
    """Write what is missing and say what was written."""
    for codec_id, codec_tasks in tasks.TASKS.items():
        for task in (*MAPS, *VALUES):
            if task in codec_tasks:
                write_case(codec_id, task, make_sample([task], SIZE, seed=3)[task.name])
    for task, array in exact_cases():
        write_case("exact", task, array)
    for task, array in jpeg_cases():
        write_case("jpeg-exact", task, array)
    for task, array in jpeg_start_cases():
        write_case("jpeg-exact", task, array, learnt_starts())
    rng = np.random.default_rng(2)
    ragged = rng.normal(size=(60, 80)).cumsum(0).cumsum(1) > 0
    box = np.zeros((60, 80), bool)
    box[10:30, 20:70] = True
    for name, mask in (("all", np.ones((6, 8), bool)), ("box", box), ("ragged", ragged)):
        expected = {"shape": mask.shape, "sha256": sha256(mask)}
        write(f"mask/{name}", json_bytes(expected), encode_mask(mask))
    noise = np.random.default_rng(4).random((60, 80)) < 0.3
    expected = {"shape": noise.shape, "sha256": sha256(noise)}
    write("mask/rows", json_bytes(expected), bytes([ROWS]) + encode_rows(noise))


def exact_cases() -> list[tuple[Task, np.ndarray]]:
    """Return maps that `exact` codes by each of its methods."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:19, :26]
    slope = 20 + y + 0.5 * x + rng.normal(0, 0.3, (19, 26))
    broken = slope.astype(np.float32)
    broken[4, :5] = (np.nan, np.inf, -np.inf, -0.0, 0.0)
    counts = np.rint(np.kron(slope, np.ones((4, 4))) * 8).astype(np.uint16)
    grown = np.kron(slope, np.ones((2, 2))) + rng.normal(0, 0.1, (38, 52))
    tile = rng.integers(0, 200, (10, 6, 3)).repeat(2, axis=1)
    fine = rng.normal(0, 0.4, (57, 78))
    disparity = np.rint(np.kron(slope, np.ones((3, 3))) * 2 + fine)
    depth = np.rint(9e4 / disparity).astype(np.uint16)
    depth[9:30, 20:50], depth[40:44] = 0, 65535
    arrays = {
        "constant": np.full((19, 26, 2), -7, np.int32),
        "planes": np.stack([broken, -broken], axis=2),
        "planes_wide": (slope * 1e12).astype(np.int64) - (1 << 50),
        "image": np.rint(grown * 9).astype(np.uint16),
        "image_half": np.stack([grown, -grown / 9], axis=2).astype(np.float16),
        "palette": counts.astype(np.float32) / 256,
        "webp": np.tile(tile, (2, 3, 1))[:19, :26].astype(np.uint8),
        "values": depth,
        "values_dense": np.rint(np.kron(slope, np.ones((3, 3))) + fine).astype(np.uint8),
        "values_wide": depth.astype(np.float32) / 1000,
    }
    found = []
    for name, array in arrays.items():
        channels = 1 if array.ndim == 2 else array.shape[2]
        made: dict[str, Any] = {"kind": "array"}
        if name in ("values", "values_wide"):
            made = {"kind": "disparity", "invalid": (0,)}
        task = Task(name=name, dtype=str(array.dtype), channels=channels, **made)
        found.append((task, array))
    return found


def jpeg_cases() -> list[tuple[Task, np.ndarray]]:
    """Return pictures that `jpeg-exact` keeps in each of its forms."""
    picture = make_sample([tasks.RGB], (80, 100), seed=5)["rgb"]
    file = bytes(imagecodecs.jpeg8_encode(picture, level=95))
    profile = b"\xff\xe2\x00\x14ICC_PROFILE\0\1\1none"  # which JPEG XL does not repack
    files = {"picture": None, "repacked": file, "file": file[:2] + profile + file[2:]}
    found = []
    for name, data in files.items():
        task = Task(name=name, kind="image", dtype="uint8", channels=3)
        array = picture if data is None else with_file(imagecodecs.jpeg8_decode(data), data)
        found.append((task, array))
    return found


def jpeg_start_cases() -> list[tuple[Task, np.ndarray]]:
    """Return pictures of whose files `jpeg-exact` knows the start, in both forms of files."""
    found = []
    for name, size in (("file_after_start", SIZE), ("repacked_after_start", (80, 100))):
        picture = make_sample([tasks.RGB], size, seed=6)["rgb"]
        file = bytes(imagecodecs.jpeg8_encode(picture, level=95))
        task = Task(name=name, kind="image", dtype="uint8", channels=3)
        found.append((task, with_file(imagecodecs.jpeg8_decode(file), file)))
    return found


def learnt_starts() -> dict[str, str]:
    """Return what a configuration of `jpeg-exact` has of files like those of the cases."""
    picture = make_sample([tasks.RGB], (40, 60), seed=7)["rgb"]
    file = bytes(imagecodecs.jpeg8_encode(picture, level=95))
    packed = bytes(imagecodecs.jpegxl_encode_jpeg(file, numthreads=1))
    return {"starts": starts_of([[file, packed]]).to_text()}


def write_case(
    codec_id: str, task: Task, original: np.ndarray, learnt: dict[str, str] | None = None
) -> None:
    """Encode one task's array and write what it decodes to.

    What a codec has learnt of other files is put into its configuration.
    """
    codec = make_codec(codec_id, [task])
    if learnt:
        codec = codec_from_config(codec_id, codec.config() | learnt, None)
    streams = codec.encode_batch([{task.name: original}], Quality(default=QUALITY))
    (decoded,) = codec.decode_batch(streams, [task.name], original.size)
    array = decoded[task.name]
    exact = array.tobytes() == original.tobytes() or (
        codec_id == "jxl" and task.kind is TaskKind.DEPTH
    )
    expected = {
        "codec": codec_id,
        "config": codec.config(),
        "task": task.name,
        "quality": QUALITY,
        "dtype": str(array.dtype),
        "shape": array.shape,
        "exact": exact,
        "sha256": sha256(array),
    }
    write(
        f"{codec_id}/{task.name}",
        json_bytes(expected),
        streams[0][task.name],
        None if exact else array,
    )


def write(case: str, expected: bytes, data: bytes, array: np.ndarray | None = None) -> None:
    """Write the files of a case unless one of them is there."""
    path = ROOT / case
    if any(path.with_suffix(suffix).exists() for suffix in (".json", ".bin", ".npy")):
        print(f"kept    {case}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".bin").write_bytes(data)
    if array is not None:
        np.save(path.with_suffix(".npy"), array)
    path.with_suffix(".json").write_bytes(expected)
    print(f"written {case}: {len(data)} bytes")


def json_bytes(value: object) -> bytes:
    """Return JSON that is easy to read in a diff."""
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def sha256(array: np.ndarray) -> str:
    """Hash an array's values, little-endian, in C order."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
