"""Write the golden bitstreams of `feature-klt` that do not exist yet.

    python -m tests.golden.make_feature_klt

None is ever replaced. A golden case is ``feature_klt/<case>.bin`` (the bitstream) and ``.npy`` (the
feature maps that it decodes to), with ``weights.safetensors``, or without weights where its name
begins with ``plain``.
"""

from pathlib import Path

import numpy as np

from dsc._codecs.klt.codec import FeatureKltCodec
from dsc._codecs.registry import codec_from_config
from dsc._schemas import Quality, Task
from tests.codecs.conformance import make_sample

ROOT = Path(__file__).parent / "feature_klt"
FEATURE = Task(name="feature", kind="feature", dtype="float16", channels=12, shape=(12, -1, -1))
CASES = {  # size, quality
    "coarse": ((14, 14), 20),
    "usual": ((9, 17), 60),
    "fine": ((7, 7), 100),
    "one": ((1, 1), 60),
    "plain_usual": ((14, 14), 60),
    "plain_fine": ((3, 20), 100),
}


def main() -> None:
    """Write what is missing and say what was written."""
    ROOT.mkdir(exist_ok=True)
    kept = ROOT / "weights.safetensors"
    if not kept.exists():
        samples = [make_sample([FEATURE], (14, 14 + at)) for at in range(8)]
        weights = FeatureKltCodec([FEATURE]).learning(samples, 10**6).weights()
        assert weights is not None
        kept.write_bytes(weights)
    config = {"tasks": [FEATURE.model_dump(mode="json")]}
    for name, (size, quality) in CASES.items():
        path = ROOT / name
        if path.with_suffix(".bin").exists():
            print(f"kept    {name}")
            continue
        given = None if name.startswith("plain") else kept.read_bytes()
        codec = codec_from_config("feature-klt", config, given)
        sample = make_sample([FEATURE], size)
        (streams,) = codec.encode_batch([sample], Quality(default=quality))
        (back,) = codec.decode_batch([streams], ["feature"], 1 << 16)
        path.with_suffix(".bin").write_bytes(streams["feature"])
        np.save(path.with_suffix(".npy"), back["feature"])
        print(f"written {name}")


if __name__ == "__main__":
    main()
