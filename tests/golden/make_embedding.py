"""Write the golden bitstreams of `embedding` that do not exist yet; none is ever replaced.

    python -m tests.golden.make_embedding

Two weights files, of sparse vectors with modes and of dense ones with centres, and vectors under
each and under none, at qualities, within a bound, far out and all zero.
"""

import json
from pathlib import Path

import numpy as np

from dsc._codecs.embedding.codec import EmbeddingCodec
from dsc._codecs.embedding.learn import prior_of
from dsc._schemas import Bound, BoundKind, Quality, Task, TaskKind
from tests.golden.make_label import sha256

ROOT = Path(__file__).parent / "embedding"
LENGTH = 96
TASK = Task(name="clip", kind=TaskKind.EMBEDDING, dtype="float32", channels=LENGTH)
FILES = {"sparse": (16, 4), "dense": (4, 1)}


def vectors(name: str) -> np.ndarray:
    """Return vectors (256, 96): sparse ones of four kinds, or dense ones about a mean."""
    rng = np.random.default_rng(sorted(FILES).index(name))
    if name == "dense":
        return rng.normal(size=(256, LENGTH)) + 2 * rng.normal(size=LENGTH)
    large = np.where(rng.random((4, LENGTH)) < 0.2, 1.0, 0.1)
    return rng.gamma(1.5, 1.0, (256, LENGTH)) * large[np.arange(256) % 4]


def cases() -> dict[str, tuple[str | None, np.ndarray, Quality]]:
    """Return the weights file, the vector and what is asked of it, by name."""
    bound = {"clip": Bound(kind=BoundKind.UNITS, value=1e-4)}
    far = vectors("dense")[3].copy()
    far[7] = 1e6
    return {
        "sparse_60": ("sparse", vectors("sparse")[0], Quality(default=60)),
        "sparse_100": ("sparse", vectors("sparse")[1], Quality(default=100)),
        "dense_20": ("dense", vectors("dense")[0], Quality(default=20)),
        "dense_bound": ("dense", vectors("dense")[1], Quality(max_error=bound)),
        "dense_far": ("dense", far, Quality(max_error=bound)),
        "unlearnt_60": (None, vectors("dense")[2], Quality(default=60)),
        "zero": (None, np.zeros(LENGTH), Quality()),
    }


def main() -> None:
    """Write what is missing and say what was written."""
    ROOT.mkdir(exist_ok=True)
    for name, form in FILES.items():
        path = ROOT / f"{name}.safetensors"
        prior = prior_of(vectors(name), 1000, *form)
        if not path.exists() and prior is not None:
            path.write_bytes(EmbeddingCodec([TASK], {"clip": prior}).weights() or b"")
    for name, (file, vector, quality) in cases().items():
        if (ROOT / f"{name}.json").exists():
            print(f"kept    {name}")
            continue
        weights = None if file is None else (ROOT / f"{file}.safetensors").read_bytes()
        config = {"tasks": [TASK.model_dump(mode="json")]}
        codec = EmbeddingCodec.from_config(config, weights)
        [streams] = codec.encode_batch([{"clip": vector.astype(np.float32)}], quality)
        [decoded] = codec.decode_batch([streams], ["clip"], 1)
        expected = {"config": config, "weights": file, "sha256": sha256(decoded["clip"])}
        (ROOT / f"{name}.bin").write_bytes(streams["clip"])
        (ROOT / f"{name}.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
        print(f"written {name}: {len(streams['clip'])} bytes, level {streams['clip'][0]}")


if __name__ == "__main__":
    main()
