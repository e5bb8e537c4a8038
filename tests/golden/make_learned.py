"""Write the learned codec's golden bitstreams, once; nothing that exists is ever overwritten.

    python -m tests.golden.make_learned

A rendered view is coded with the weights that ship; the streams and the hash of the integers they
decode to are kept. New weights need new goldens: move the old ones to a folder of their own, with
the weights they belong to, and keep decoding them.
"""

import hashlib
import json
from pathlib import Path

from dsc.codecs.learned.shared_latent import default_weights
from dsc.schemas import Quality
from tests.codecs.test_shared_latent import (
    GOLDEN,
    NAMES,
    TASKS,
    SharedLatentCodec,
    golden_sample,
    latent_hash,
)


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    if any(GOLDEN.iterdir()):
        raise SystemExit(f"{GOLDEN} is not empty; goldens are never rewritten")
    codec = SharedLatentCodec.for_tasks(TASKS)
    (streams,) = codec.encode_batch([golden_sample()], Quality(default=60, tasks={"normal": 20}))
    for name in ("shared", *NAMES):
        Path(GOLDEN / f"{name}.bin").write_bytes(streams[name])
    facts = {
        "weights_sha256": hashlib.sha256(default_weights()).hexdigest(),
        "latents_sha256": latent_hash(codec, streams),
    }
    (GOLDEN / "latents.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
