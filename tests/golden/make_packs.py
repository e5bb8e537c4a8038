"""Write the golden packs of version 2, and bitstreams of `plain`, that do not exist yet.

    python -m tests.golden.make_packs

A pack is ``packs/<case>.bin`` with ``<case>.json``: its payloads, by base64, and the dictionary. A
bitstream is ``plain/<kind>.bin`` with the codec's configuration and what must come out. They are
how an archive written today is known to be readable tomorrow; none is ever replaced.
"""

import base64
import json
from pathlib import Path

import numpy as np

from dsc._codecs.registry import make_codec
from dsc._schemas import Quality
from dsc._storage.format.pack import Packing, encode_compressed
from tests.everything import TASKS, values

ROOT = Path(__file__).parent
FIRST, SLOT = 7, 3
WORDS = b"a brown chair table in front of the old white lamp near window".split()
DICTIONARY = b" ".join(WORDS * 3)


def cases() -> dict[str, tuple[list[bytes | None], Packing]]:
    """Return payloads and how they are packed, by the name of the case."""
    rng = np.random.default_rng(5)
    texts = [b" ".join(WORDS[k] for k in rng.integers(0, len(WORDS), 9)) for _ in range(20)]
    some: list[bytes | None] = [None if k % 5 == 2 else text for k, text in enumerate(texts)]
    times = (1_700_000_000_000_000_000 + np.arange(40) * 33_333_333).astype("<i8")
    poses = np.round(np.cumsum(rng.normal(size=(20, 16)), 0), 6).astype("<f8")
    poses[:, 3] = rng.normal(size=20)  # no decimals
    walk = np.cumsum(rng.normal(size=(30, 3)), 0).astype("<f4")
    boxes = [rng.integers(0, 640, 4 * (k % 3)).astype("<u4").tobytes() for k in range(20)]
    return {
        "stored": ([rng.bytes(9), None, rng.bytes(4)], Packing()),
        "text": (list(texts), Packing()),
        "text-missing": (some, Packing()),
        "lines": ([text + b"\n" * (k % 2) for k, text in enumerate(texts)], Packing()),
        "dictionary": (some, Packing(dictionary=DICTIONARY)),
        "equal": ([texts[0]] * 9, Packing()),
        "times": ([one.tobytes() for one in times], Packing(dtype="int64")),
        "poses": ([row.tobytes() for row in poses], Packing(dtype="float64")),
        "walk": ([None, *(row.tobytes() for row in walk)], Packing(dtype="float32")),
        "boxes": (list(boxes), Packing(dtype="uint32")),
        "each": ([texts[0] * 9, None, rng.bytes(30), b""], Packing(together=False)),
    }


def main() -> None:
    """Write what is missing and say what was written."""
    for name, (payloads, packing) in cases().items():
        pack, _ = encode_compressed(payloads, FIRST, SLOT, packing)
        given = [None if p is None else base64.b64encode(p).decode() for p in payloads]
        known = packing.dictionary
        expected = {
            "payloads": given,
            "dictionary": None if known is None else base64.b64encode(known).decode(),
        }
        _write(ROOT / "packs" / name, expected, pack)
    for task in TASKS:
        if not task.is_map:
            codec = make_codec("plain", [task])
            native = task.to_native(values(4)[task.name])
            [coded] = codec.encode_batch([{task.name: native}], Quality())
            _write(
                ROOT / "plain" / task.name,
                {"config": codec.config(), "shape": native.shape, "values": native.tolist()},
                coded[task.name],
            )


def _write(path: Path, expected: object, data: bytes) -> None:
    if path.with_suffix(".bin").exists():
        return
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n")
    path.with_suffix(".bin").write_bytes(data)
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
