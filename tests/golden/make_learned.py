"""Write the learned codecs' golden bitstreams, once; nothing that exists is ever overwritten.

    python -m tests.golden.make_learned independent

A rendered view is coded with the weights that ship; the streams and the hash of the integers they
decode to are kept. New weights need new goldens: move the old ones to a folder of their own, with
the weights they belong to, and keep decoding them.
"""

import argparse
import hashlib
import json
from pathlib import Path

from dsc._codecs.learned.codec_file import default_weights
from dsc._codecs.registry import codec_class
from dsc._schemas import Quality
from tests.codecs.learned_golden import GOLDEN, TASKS, golden_sample, latent_hash

FOLDERS = {"shared-latent": GOLDEN, "independent": GOLDEN / "independent",
           "chained": GOLDEN / "chained", "layered": GOLDEN / "layered-shipped"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codec", choices=FOLDERS)
    codec_id = parser.parse_args().codec
    folder: Path = FOLDERS[codec_id]
    folder.mkdir(parents=True, exist_ok=True)
    if any(path.is_file() for path in folder.iterdir()):
        raise SystemExit(f"{folder} is not empty; goldens are never rewritten")
    codec = codec_class(codec_id).for_tasks(TASKS)
    (streams,) = codec.encode_batch([golden_sample()], Quality(default=60, tasks={"normal": 20}))
    for name, data in streams.items():
        Path(folder / f"{name}.bin").write_bytes(data)
    facts = {
        "weights_sha256": hashlib.sha256(default_weights(codec_id)).hexdigest(),
        "latents_sha256": latent_hash(codec, streams),
    }
    (folder / "latents.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
