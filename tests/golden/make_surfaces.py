"""Write the golden bitstreams of `surfaces` that do not exist yet; none is ever replaced.

python -m tests.golden.make_surfaces
"""

import json
from pathlib import Path

import numpy as np

from dsc._codecs.registry import make_codec
from dsc._renderer.render import render_view
from dsc._schemas import Quality, Task
from tests.golden.make_label import sha256

ROOT = Path(__file__).parent / "surfaces"
TASKS = (
    Task(name="depth", kind="depth", dtype="uint16", unit_m=0.001, invalid=(0,)),
    Task(name="normal", kind="normal", dtype="uint8", channels=3, invalid=(127,)),
    Task(name="label", kind="label", dtype="uint8"),
)
HEIGHT, WIDTH = 120, 160
TANGENT = 0.7


def cases() -> dict[str, dict[str, np.ndarray]]:
    """Return a room with a ball and a hole, and variants of it.

    One is without surfaces of depth, and one has ragged normals. The last is a rendered view.
    """
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT) * HEIGHT / WIDTH)
    ray = np.stack([TANGENT * x, -TANGENT * y, -np.ones_like(x)], axis=-1)
    faces = [((0, 1, 0), 1.2, 1), ((0, -1, 0), 1.3, 2), ((1, 0, 0.3), 1.6, 3), ((-0.2, 0, 1), 4, 3)]
    z, normal, label = (
        np.full(x.shape, np.inf),
        np.zeros((*x.shape, 3)),
        np.zeros(x.shape, np.uint8),
    )
    for face, distance, name in faces:
        unit = np.array(face) / np.linalg.norm(face)
        towards = -(ray @ unit)
        with np.errstate(divide="ignore"):
            along = np.where(towards > 0, distance / np.maximum(towards, 1e-9), np.inf)
        closer = along < z
        z[closer], normal[closer], label[closer] = along[closer], unit, name
    centre, radius = np.array([0.5, -0.6, -2.6]), 0.25
    a, b = (ray**2).sum(axis=-1), ray @ centre
    inside = b**2 - a * (centre @ centre - radius**2)
    hit = inside > 0
    along = (b - np.sqrt(np.maximum(inside, 0))) / a
    z[hit], label[hit] = along[hit], 4
    normal[hit] = (ray[hit] * along[hit][:, None] - centre) / radius
    depth = np.rint(1000 * z).astype(np.uint16)
    native = np.rint(127.5 + 127.5 * normal).clip(0, 255).astype(np.uint8)
    hole = np.s_[:18, 10:40]
    depth[hole], native[hole], label[hole] = 0, 127, 0
    room = {"depth": depth, "normal": native, "label": label}
    rough = np.random.default_rng(0).integers(500, 4000, depth.shape).astype(np.uint16)
    shelf = np.array([(0, 128, 255), (255, 128, 128)], np.uint8)
    rows, columns = np.mgrid[:50, :70]
    ragged = (rows * 7 + columns * columns // 5) % 13 < 4
    barred = {**room, "normal": native.copy()}
    barred["normal"][60:110, 20:90] = shelf[ragged.astype(int)]
    view = render_view(1, 128)
    far = view["depth_zbuffer"]
    furnished = {
        "depth": np.where(far == 65535, 0, far).astype(np.uint16),
        "normal": view["normal"],
        "label": view["segment_semantic"],
    }
    return {
        "room": room, "rough": {**room, "depth": rough}, "barred": barred, "furnished": furnished
    }  # fmt: skip


def main() -> None:
    """Write what is missing and say what was written."""
    codec = make_codec("surfaces", TASKS)
    ROOT.mkdir(exist_ok=True)
    for name, sample in cases().items():
        if (ROOT / f"{name}.json").exists():
            print(f"kept    {name}")
            continue
        (streams,) = codec.encode_batch([sample], Quality(default=60))
        (decoded,) = codec.decode_batch([streams], list(sample), HEIGHT * WIDTH)
        expected = {
            "config": codec.config(),
            "streams": list(streams),
            "sha256": {task: sha256(array) for task, array in decoded.items()},
        }
        for stream, data in streams.items():
            (ROOT / f"{name}.{stream}.bin").write_bytes(data)
        (ROOT / f"{name}.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
        sizes = ", ".join(f"{stream} {len(data)}" for stream, data in streams.items())
        forms = ", ".join(f"{stream} {data[0]:#04x}" for stream, data in streams.items())
        print(f"written {name}: {sizes}; forms {forms}")


if __name__ == "__main__":
    main()
