"""Write a group of `layered-seq` and the integers that it decodes to, where there is none yet.

    python -m tests.golden.make_layered_seq

A network of a few channels whose weights are random: the decoder's part of its codec file,
compressed, the payloads of some frames (a key, frames after it, one without the task, a key again,
one of another size), and the hash of the integers of each, whole and of the first scales. What is
there is never replaced: archives have such bytes.
"""

import base64
import hashlib
import json
import lzma
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from dsc._codecs.base import decoder_from
from dsc._codecs.latents import StreamLatent
from dsc._codecs.learned.codec_file import decoder_part, export_sequence_codec
from dsc._codecs.learned.layered.coder import ScaleCoder
from dsc._codecs.learned.layered.differentiable import LayeredNetwork
from dsc._codecs.learned.layered.sequence import LayeredSequenceCodec
from dsc._codecs.learned.layered.spec import LayeredSizes, LayeredSpec
from dsc._codecs.learned.layered.temporal import TemporalModel
from dsc._schemas import Quality
from dsc._schemas.group import link_all
from tests.codecs.conditional_cases import RGB, view_planes
from tests.codecs.frames import recording

ROOT = Path(__file__).parent / "layered_seq"
LEVELS, QUALITY, PIXELS = (1, 3, 4), Quality(default=60), 1 << 14
SIZES = LayeredSizes(3, (8, 8, 8, 8), (1, 1, 1, 1), (4, 4, 2, 2), (0.0012, 0.12))


def network_file() -> bytes:
    """Return the whole codec file of a network that has learned nothing."""
    spec = LayeredSpec({"rgb": SIZES}, prior_width=4)
    torch.manual_seed(0)
    network, branches = LayeredNetwork(spec), TemporalModel(spec)
    network.initialise({"rgb": view_planes(4)["rgb"]})
    with torch.no_grad():
        for model in (network, branches):
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.03)
    return export_sequence_codec(network.eval(), branches.eval().modalities, {})


def frames() -> list[dict[str, np.ndarray]]:
    """Return the samples of the group."""
    moving = [{"rgb": frame} for frame in recording(5, (40, 56))]
    return [*moving[:3], {}, *moving[3:], {"rgb": recording(1, (33, 20))[0]}]


def integers_of(
    codec: LayeredSequenceCodec, streams: list[dict[str, bytes]], levels: int
) -> list[list[StreamLatent]]:
    """Return the integers of each frame that is there, by scale, as its first levels give them."""
    found = []
    decode = ScaleCoder.decode

    def noting(*given: Any) -> list[list[StreamLatent]]:
        latents = decode(*given)
        found.extend(latents)
        return latents

    decoder = decoder_from(codec, [f"rgb.{scale}" for scale in range(levels)])
    with patch.object(ScaleCoder, "decode", noting):
        decoder.decode_batch(streams, ["rgb"], PIXELS)
    return found


def digest(frame: list[StreamLatent]) -> str:
    """Hash the integers of a frame."""
    found = hashlib.sha256()
    for latent in frame:
        found.update(latent.symbols.astype("<i4").tobytes())
        found.update(latent.mean.astype("<i2").tobytes())
    return found.hexdigest()


def main() -> None:
    """Write what is not there."""
    ROOT.mkdir(exist_ok=True)
    if any(ROOT.iterdir()):
        raise SystemExit(f"{ROOT} is not empty; goldens are never rewritten")
    file = network_file()
    codec = LayeredSequenceCodec([RGB], file)
    payloads = codec.encode_group(frames(), QUALITY)
    streams = link_all(payloads, codec.config()["grouped"])
    entry = {
        "config": codec.config(),
        "payloads": [
            {name: base64.b64encode(data).decode() for name, data in one.items()}
            for one in payloads
        ],
        "sha256": {n: [digest(one) for one in integers_of(codec, streams, n)] for n in LEVELS},
    }
    (ROOT / "group.json").write_text(json.dumps(entry, indent=1) + "\n")
    (ROOT / "weights.safetensors.xz").write_bytes(lzma.compress(decoder_part(file)))


if __name__ == "__main__":
    main()
