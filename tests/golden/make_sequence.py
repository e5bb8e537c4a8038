"""Write payloads of groups, and what they decode to, where there are none yet.

    python -m tests.golden.make_sequence

One file a structure: the codec's configuration, payloads by sample and stream, and the hash of each
decoded frame. What is there is never replaced: archives have such bytes.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.sequence.codec import Av1SeqCodec
from dsc._codecs.sequence.tree import Access
from dsc._schemas import Quality, Task, TaskKind
from dsc._schemas.group import link_all
from tests.codecs.frames import DEPTH, GRAY, LABEL, RGB, depth_recording, label_recording, recording

ROOT = Path(__file__).parent / "sequence"
PIXELS = 1 << 13
QUALITY = Quality(default=40)
COLOURS = Task(name="label", kind=TaskKind.LABEL, dtype="uint8", channels=3)


def cases() -> Iterator[tuple[str, Task, Access, list[Array | None]]]:
    """Yield name, task, structure and frames of every golden group."""
    frames = recording(16, (32, 40))
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    yield "balanced", RGB, Access.BALANCED, list(frames)
    yield "tree", RGB, Access.TREE, list(frames)
    yield "gray", GRAY, Access.BALANCED, list(recording(5, (32, 40), channels=1))
    yield "gaps", RGB, Access.TREE, [*frames[:3], None, frames[4], *recording(3, (24, 24))]
    yield "stills", RGB, Access.BALANCED, list(noise)
    depth, labels = depth_recording(6, (32, 40)), label_recording(7, (32, 40))
    coarse = [np.rint(frame / 97).astype(np.uint16) * 97 for frame in depth]
    colours = [np.stack([one & 255, one >> 8, one % 7], axis=2).astype(np.uint8) for one in labels]
    yield "depth", DEPTH, Access.TREE, list(depth)
    yield "depth_listed", DEPTH, Access.BALANCED, [coarse[0], None, *coarse[1:]]
    yield "label", LABEL, Access.TREE, list(labels)
    yield "label_colours", COLOURS, Access.BALANCED, [None, *colours]


def digest(array: Array) -> str:
    """Return the hash of an array's values."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def main() -> None:
    """Write what is not there."""
    for name, task, access, frames in cases():
        path = ROOT / f"{name}.json"
        if path.exists():
            continue
        codec = Av1SeqCodec([task], access)
        samples = [{} if frame is None else {task.name: frame} for frame in frames]
        coded = codec.encode_group(samples, QUALITY)
        found = codec.decode_batch(link_all(coded, codec.config()["grouped"]), [task.name], PIXELS)
        entry = {
            "config": codec.config(),
            "payloads": [
                {stream: base64.b64encode(data).decode() for stream, data in one.items()}
                for one in coded
            ],
            "shapes": [one[task.name].shape if one else None for one in found],
            "sha256": [digest(one[task.name]) if one else None for one in found],
        }
        ROOT.mkdir(exist_ok=True)
        path.write_text(json.dumps(entry, indent=1) + "\n")


if __name__ == "__main__":
    main()
