"""Write golden bitstreams of the codec `layered`, and the network they are of, once.

    python -m tests.golden.make_layered_network

A rendered view is coded by a network of some kilobytes, as its start leaves it; its codec file, the
streams and the hashes of the integers that the first scales decode to are kept. What is there is
never replaced: archives have such bytes.
"""

import hashlib
import json
from collections.abc import Mapping

import torch

from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.layered.codec import LayeredNetworkCodec
from dsc._codecs.learned.layered.differentiable import layered
from dsc._codecs.learned.layered.spec import SCALES, LayeredSizes, LayeredSpec
from dsc._schemas import Quality
from tests.codecs.conditional_cases import view_planes
from tests.codecs.learned_golden import DEPTH, GOLDEN, LIMIT, RGB, golden_sample

ROOT = GOLDEN / "layered"
TASKS = (RGB, DEPTH)
NAMES = tuple(task.name for task in TASKS)
_ONE = (1, 1, 1, 1)
SPEC = LayeredSpec(
    {
        "rgb": LayeredSizes(3, (8, 8, 8, 8), _ONE, (4, 4, 4, 2), (0.0012, 0.12)),
        "depth": LayeredSizes(1, (8, 8, 8, 8), _ONE, (2, 2, 4, 2), (0.003, 3.0)),
    },
    prior_width=8,
)


def integers_of(codec: LayeredNetworkCodec, streams: Mapping[str, bytes], scales: int) -> str:
    """Hash all integers that the first scales decode to."""
    names = [name for name in streams if int(name.rpartition(".")[2]) < scales]
    latents = codec.from_streams(names).unpack_latents(streams, NAMES, LIMIT)
    assert latents is not None
    digest = hashlib.sha256()
    for latent in latents.streams.values():
        digest.update(latent.symbols.astype("<i4").tobytes())
        digest.update(latent.mean.astype("<i2").tobytes())
    return digest.hexdigest()


def main() -> None:
    """Write everything, where nothing is."""
    ROOT.mkdir(exist_ok=True)
    if any(ROOT.iterdir()):
        raise SystemExit(f"{ROOT} is not empty; goldens are never rewritten")
    torch.manual_seed(0)
    network = layered((), "", SPEC.to_json())
    network.initialise({name: view_planes(4)[name] for name in SPEC.modalities})
    with torch.no_grad():  # later steps, which start silent, turn what they see
        for name, parameter in network.named_parameters():
            if ".steps." in name and not parameter.any():
                parameter.normal_(std=0.05)
    weights = export_codec(network.eval(), {})
    (ROOT / "network.safetensors").write_bytes(weights)
    codec = LayeredNetworkCodec(TASKS, weights)
    (streams,) = codec.encode_batch([golden_sample()], Quality(default=60))
    for name, data in streams.items():
        (ROOT / f"{name}.bin").write_bytes(data)
    hashes = [integers_of(codec, streams, scales) for scales in range(1, SCALES + 1)]
    (ROOT / "latents.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
