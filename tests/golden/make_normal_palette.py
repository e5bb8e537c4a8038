"""Write the golden bitstreams of `normal-palette` that do not exist yet; none is ever replaced.

python -m tests.golden.make_normal_palette
"""

import json
from pathlib import Path

import numpy as np

from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from tests.golden.make_label import sha256

ROOT = Path(__file__).parent / "normal_palette"


def cases() -> dict[str, np.ndarray]:
    """Return a map made of planes with a hole, and one that is not, (H, W, 3) uint8."""
    y, x = np.mgrid[:60, :80]
    faces = np.array([(128, 128, 255), (200, 90, 220), (60, 128, 230), (128, 230, 160)], np.uint8)
    planes = faces[(y + 2 * x) // 60 % 4].copy()
    planes[10:20, 50:70] = 127
    bent = np.stack([128 + x, 128 + y, 255 - (x + y) // 4], axis=-1).astype(np.uint8)
    return {"labels": planes, "picture": bent}


def main() -> None:
    """Write what is missing and say what was written."""
    task = Task(name="normal", kind="normal", dtype="uint8", channels=3, invalid=(127,))
    codec = make_codec("normal-palette", [task])
    ROOT.mkdir(exist_ok=True)
    for name, array in cases().items():
        if (ROOT / f"{name}.json").exists():
            print(f"kept    {name}")
            continue
        (streams,) = codec.encode_batch([{"normal": array}], Quality(default=60))
        (decoded,) = codec.decode_batch([streams], ["normal"], array[..., 0].size)
        expected = {"config": codec.config(), "sha256": sha256(decoded["normal"])}
        (ROOT / f"{name}.bin").write_bytes(streams["normal"])
        (ROOT / f"{name}.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
        print(f"written {name}: {len(streams['normal'])} bytes, form {streams['normal'][0]}")


if __name__ == "__main__":
    main()
