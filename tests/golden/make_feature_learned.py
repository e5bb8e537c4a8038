"""Write the golden bitstreams of `feature-learned` that do not exist yet.

    python -m tests.golden.make_feature_learned

None is ever replaced. A golden case is ``feature_learned/<case>.bin`` (the bitstream) and ``.json``
(hash of the weights file and of the integers that it decodes to: features are floats, and differ in
their last bits between machines). New weights need new goldens: move the old ones to a folder of
their own, with the weights they belong to, and keep decoding them.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from dsc._codecs.learned.feature.codec import FeatureLearnedCodec, read_header
from dsc._schemas import Quality, Task
from tests.codecs.conformance import make_sample

ROOT = Path(__file__).parent / "feature_learned"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
CASES = {  # (h, w), quality
    "square": ((14, 14), 60),
    "odd": ((5, 9), 30),
    "one": ((1, 1), 90),
    "fine": ((6, 7), 100),
    "coarse": ((16, 12), 1),
}


def task(**changed: object) -> Task:
    """Return the task of block 10 of efficientnet-lite0, of any size."""
    preprocessing = {"side": 224, "crop": 0.875, "mean": [127.0] * 3, "std": [128.0] * 3}
    facts: dict[str, object] = {
        "name": "features",
        "kind": "feature",
        "dtype": "float16",
        "channels": 112,
        "shape": (112, -1, -1),
        "extractor": {
            "backbone": "efficientnet-lite0",
            "weights_sha256": WEIGHTS_SHA256,
            "layer": "block10",
            "of": "rgb",
            "preprocessing": preprocessing,
        },
    }
    return Task.model_validate(facts | changed)


def integers_hash(codec: FeatureLearnedCodec, data: bytes) -> str:
    """Hash the integers that a bitstream decodes to."""
    quality, size, words = read_header(codec.tasks[0], data, 1 << 12)
    (latent,) = codec.unpack([(quality, words)], size)
    digest = hashlib.sha256()
    for part in (latent.symbols, latent.mean):
        digest.update(np.ascontiguousarray(part, "<i4").tobytes())
    return digest.hexdigest()


def main() -> None:
    """Write what is missing and say what was written."""
    ROOT.mkdir(exist_ok=True)
    codec = FeatureLearnedCodec.for_tasks([task()])
    for name, (size, quality) in CASES.items():
        path = ROOT / name
        if any(path.with_suffix(suffix).exists() for suffix in (".bin", ".json")):
            print(f"kept    {name}")
            continue
        sample = make_sample(codec.tasks, size)
        (streams,) = codec.encode_batch([sample], Quality(default=quality))
        data = streams["features"]
        facts = {
            "weights_sha256": hashlib.sha256(codec.weights()).hexdigest(),
            "shape": sample["features"].shape,
            "integers_sha256": integers_hash(codec, data),
        }
        path.with_suffix(".bin").write_bytes(data)
        path.with_suffix(".json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
        print(f"written {name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
