"""Write the golden bitstreams of `label-context` and of masks in its model that do not exist yet.

    python -m tests.golden.make_label

None is ever replaced. A golden case is ``label/<case>.json`` (codec config, hash of the model file,
what must come out) and ``.bin`` (the bitstream). The model file that comes with dsc decodes them;
a better one gets another name, because masks in archives rely on it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from dsc._codecs.registry import make_codec
from dsc._coding.context.mask import encode_mask
from dsc._coding.context.weights import shipped_file
from dsc._schemas import Quality, Task

ROOT = Path(__file__).parent / "label"


def cases() -> dict[str, tuple[Task, np.ndarray]]:
    """Return each case's task and array."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:61, :83]
    disc = (y - 30) ** 2 + (x - 40) ** 2 < 400
    regions = (y + 2 * x) // 60 + 3 * disc + 5 * ((y - x) % 71 > 55)
    ragged = rng.normal(size=(61, 83)).cumsum(0).cumsum(1) > 0
    plain = Task(name="label", kind="label", dtype="uint8")
    deep = Task(name="instances", kind="label", dtype="uint16", invalid=(0,))
    signed = Task(name="ids", kind="label", dtype="int32")
    colours = Task(name="colours", kind="label", dtype="uint8", channels=3)
    wide = Task(name="wide_colours", kind="label", dtype="int64", channels=3)
    palette = rng.integers(0, 256, (20, 3)).astype(np.uint8)
    blocks = np.kron(np.arange(63).reshape(7, 9) ** 3 % 41, np.ones((9, 10), int))[:61, :83]
    return {
        "regions": (plain, regions.astype(np.uint8)),
        "ragged": (plain, ragged.astype(np.uint8) * 39),
        "one_pixel": (plain, np.full((1, 1), 200, np.uint8)),
        "constant": (plain, np.full((48, 64), 39, np.uint8)),
        "noise": (plain, rng.integers(0, 256, (24, 24)).astype(np.uint8)),
        "instances": (deep, (regions * 4099 % 65536).astype(np.uint16)),
        "ids": (signed, (regions * 70_001 - 1).astype(np.int32)),
        "colours": (colours, palette[regions]),
        "wide_colours": (wide, (palette[regions].astype(np.int64) << 40) - 1),
        "blocks": (signed, (blocks + 3 * disc).astype(np.int32) * -77),
        "speckles": (plain, ((x * x * 31 + y * y * 17 + x * y) % 97 < 6).astype(np.uint8)),
    }


def masks() -> dict[str, np.ndarray]:
    """Return masks that the label model codes, one for each of its two methods."""
    y, x = np.mgrid[:90, :120]
    holes = np.zeros((90, 120), bool)
    for top, left, radius in ((20, 30, 12), (60, 90, 25), (70, 20, 15), (30, 100, 8)):
        holes |= (y - top) ** 2 + (x - left) ** 2 < radius**2
    holes |= (x + y // 3) % 60 == 0
    return {"mask_unset": holes ^ holes[0, 0], "mask_set": ~(holes ^ holes[0, 0])}


def main() -> None:
    """Write what is missing and say what was written."""
    for name, mask in masks().items():
        expected = {"shape": mask.shape, "sha256": sha256(mask)}
        write(
            name, json.dumps(expected, indent=1, sort_keys=True).encode() + b"\n", encode_mask(mask)
        )
    for name, (task, array) in cases().items():
        codec = make_codec("label-context", [task])
        (streams,) = codec.encode_batch([{task.name: array}], Quality(default=60))
        expected = {
            "config": codec.config(),
            "weights_sha256": hashlib.sha256(shipped_file()).hexdigest(),
            "dtype": str(array.dtype),
            "shape": array.shape,
            "sha256": sha256(array),
        }
        text = json.dumps(expected, indent=1, sort_keys=True).encode() + b"\n"
        write(name, text, streams[task.name])


def write(case: str, expected: bytes, data: bytes) -> None:
    """Write the files of a case unless one of them is there."""
    path = ROOT / case
    if any(path.with_suffix(suffix).exists() for suffix in (".json", ".bin")):
        print(f"kept    {case}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".bin").write_bytes(data)
    path.with_suffix(".json").write_bytes(expected)
    print(f"written {case}: {len(data)} bytes")


def sha256(array: np.ndarray) -> str:
    """Hash an array's values, little-endian, in C order."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
