"""Tars as webdataset writes them, for tests."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

Files = Mapping[str, bytes]


def png(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(array))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    return file.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Write a tar of these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT, errors="surrogateescape") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_samples(path: Path, samples: Sequence[tuple[str, Files]]) -> Path:
    """Write a tar of samples: of each its name, and its files by ending."""
    return write_tar(
        path, [(f"{name}.{end}", data) for name, files in samples for end, data in files.items()]
    )


def everything(number: int) -> dict[str, bytes]:
    """A sample with a file of every family."""
    rng = np.random.default_rng(number)
    smooth = rng.integers(0, 255, (3, 4, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    return {
        "jpg": bytes(imagecodecs.jpeg8_encode(smooth)),
        "depth.png": png(rng.integers(500, 4000, (24, 32)).astype(np.uint16)),
        "seg.png": png(rng.integers(0, 9, (3, 4)).astype(np.uint8).repeat(8, 0).repeat(8, 1)),
        "json": json.dumps({"id": number, "name": "Zoë"}).encode(),
        "cls": str(number % 3).encode(),
        "txt": f"number {number}\0 Ü".encode(),
        "pose.npy": npy(rng.normal(size=(4, 4))),
        "boxes.npy": npy(rng.random((number % 3, 4), np.float32)),
        "wav": rng.bytes(number % 5),
        "pyd": b"\x80\x04never loaded",
    }
