"""What golden bitstreams of the learned codecs are made of, and how they are compared."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dsc._renderer.render import render_view
from dsc._schemas import Task, TaskKind
from tests.places import ROOT

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(
    name="depth_zbuffer", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
TASKS = (RGB, DEPTH, NORMAL)
NAMES = tuple(task.name for task in TASKS)
GOLDEN = ROOT / "tests" / "golden" / "learned"
LIMIT = 1 << 22


def golden_sample() -> dict[str, np.ndarray]:
    """A rendered view with a hole in depth and normals."""
    view = render_view(8, 128)
    view["depth_zbuffer"][10:20, 5:30] = 65535
    view["normal"][10:20, 5:30] = 127
    return {name: view[name] for name in NAMES}


def latent_hash(codec: Any, streams: Mapping[str, bytes]) -> str:
    """Hash all integers that the streams decode to, ``shared`` first."""
    latents = codec.unpack_latents(streams, NAMES, LIMIT)
    assert latents is not None
    digest = hashlib.sha256()
    for name in ("shared", *NAMES):
        if name in latents.streams:
            digest.update(latents.streams[name].symbols.astype("<i4").tobytes())
            digest.update(latents.streams[name].mean.astype("<i2").tobytes())
    return digest.hexdigest()
