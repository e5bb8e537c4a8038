"""Write bitstreams of codecs with a coarse map first, and what they decode to, where none are yet.

    python -m tests.golden.make_layered

One file a task: the codec's configuration, the two payloads, and of each level the shape and the
hash of what it decodes to. What is there is never replaced: archives have such bytes.
"""

import base64
import hashlib
import json
from pathlib import Path

from dsc._codecs.base import Array, decoder_from
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality
from tests.codecs.conformance import make_sample
from tests.codecs.test_classical import COLOURS, DEPTH, EDGES, KINECT, LABEL, RGB, SHADING

ROOT = Path(__file__).parent / "layered"
CODECS = {task: "av1-layered" for task in (RGB, SHADING, EDGES, DEPTH, KINECT)}
CODECS |= {task: "label-layered" for task in (LABEL, COLOURS)}
SIZE, PIXELS = (37, 50), 1 << 11
QUALITY = Quality(default=60)


def digest(array: Array) -> str:
    """Return the hash of an array's values."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def main() -> None:
    """Write what is not there."""
    ROOT.mkdir(exist_ok=True)
    for task, codec_id in CODECS.items():
        path = ROOT / f"{task.name}.json"
        if path.exists():
            continue
        codec = make_codec(codec_id, [task])
        (payloads,) = codec.encode_batch([make_sample([task], SIZE)], QUALITY)
        names = list(payloads)
        decoders = [decoder_from(codec, names[:level]) for level in (1, 2)]
        arrays = [one.decode_batch([payloads], [task.name], PIXELS)[0] for one in decoders]
        entry = {
            "config": codec.config(),
            "payloads": {name: base64.b64encode(one).decode() for name, one in payloads.items()},
            "shapes": [one[task.name].shape for one in arrays],
            "sha256": [digest(one[task.name]) for one in arrays],
        }
        path.write_text(json.dumps(entry, indent=1) + "\n")


if __name__ == "__main__":
    main()
