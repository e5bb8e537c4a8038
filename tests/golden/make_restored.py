"""Write the golden bitstreams of `av1-small-restored` that do not exist yet.

    python -m tests.golden.make_restored

None is ever replaced. A golden case is ``restored/<case>.bin`` (the bitstream) and ``.json`` (hash
of the weights file, shape and hash of the pixels it decodes to). New weights need new goldens: move
the old ones to a folder of their own, with the weights they belong to, and keep decoding them.
"""

import hashlib
import json
from pathlib import Path

from dsc._codecs.registry import make_codec
from dsc._codecs.restored.weights import shipped_file
from dsc._schemas import Quality, Task
from tests.codecs.conformance import make_sample

ROOT = Path(__file__).parent / "restored"
RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)
CASES = {  # size, quality
    "square_32": ((32, 32), 20),
    "square_64": ((64, 64), 35),
    "odd": ((37, 51), 15),
    "one_pixel": ((1, 1), 30),
    "fine": ((32, 32), 90),
}


def main() -> None:
    """Write what is missing and say what was written."""
    ROOT.mkdir(exist_ok=True)
    codec = make_codec("av1-small-restored", [RGB])
    for name, (size, quality) in CASES.items():
        path = ROOT / name
        if any(path.with_suffix(suffix).exists() for suffix in (".bin", ".json")):
            print(f"kept    {name}")
            continue
        sample = make_sample([RGB], size, holes=False)
        (streams,) = codec.encode_batch([sample], Quality(default=quality))
        (decoded,) = codec.decode_batch([streams], [RGB.name], 1 << 12)
        facts = {
            "weights_sha256": hashlib.sha256(shipped_file()).hexdigest(),
            "shape": decoded[RGB.name].shape,
            "sha256": hashlib.sha256(decoded[RGB.name].tobytes()).hexdigest(),
        }
        path.with_suffix(".bin").write_bytes(streams[RGB.name])
        path.with_suffix(".json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
        print(f"written {name}: {len(streams[RGB.name])} bytes")


if __name__ == "__main__":
    main()
