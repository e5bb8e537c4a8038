"""Golden streams of both layered codecs, decoded with integer networks that NumPy computes."""

import base64
import json
import lzma

import numpy as np
import pytest
import torch

from dsc._codecs.learned.layered.codec import LayeredNetworkCodec
from dsc._codecs.learned.layered.sequence import LayeredSequenceCodec
from dsc._codecs.registry import codec_from_config
from dsc._coding.integer import IntegerConv
from dsc._schemas.group import link_all
from tests.golden import make_layered_network, make_layered_seq

computed: list[IntegerConv] = []


def in_numpy(layer: IntegerConv, x: torch.Tensor, rows: slice | None = None) -> torch.Tensor:
    """What an integer layer is, in 64-bit integers."""
    computed.append(layer)
    weight, bias = (part.numpy().astype(np.int64) for part in (layer.weight, layer.bias))
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    around = layer.kernel // 2
    height, width = x.shape[-2:]
    padded = np.pad(x.numpy().astype(np.int64), ((0, 0), (0, 0), (around,) * 2, (around,) * 2))
    sums = np.zeros((len(x), len(weight), height, width), np.int64)
    for down in range(layer.kernel):
        for across in range(layer.kernel):
            moved = padded[..., down : down + height, across : across + width]
            own = weight[..., down, across]
            sums += moved * own[:, 0, None, None] if layer.depthwise else _mixed(own, moved)
    rounded = (sums + bias[:, None, None] + (1 << (layer.shift - 1))) >> layer.shift
    return torch.from_numpy(rounded.clip(layer.low, layer.high).astype(np.float32))


def _mixed(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.einsum("oi,bihw->bohw", weight, x)


@pytest.fixture(autouse=True)
def numpy_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IntegerConv, "forward", in_numpy)


def test_golden_streams_decode_to_the_same_integers_in_numpy() -> None:
    root, before = make_layered_network.ROOT, len(computed)
    weights = (root / "network.safetensors").read_bytes()
    codec = LayeredNetworkCodec(make_layered_network.TASKS, weights)
    streams = {path.stem: path.read_bytes() for path in sorted(root.glob("*.bin"))}
    known = json.loads((root / "latents.json").read_text())
    for scales, expected in enumerate(known, 1):
        assert make_layered_network.integers_of(codec, streams, scales) == expected
    assert len(computed) > before + 100


def test_a_golden_group_decodes_to_the_same_integers_in_numpy() -> None:
    root, before = make_layered_seq.ROOT, len(computed)
    known = json.loads((root / "group.json").read_text())
    weights = lzma.decompress((root / "weights.safetensors.xz").read_bytes())
    codec = codec_from_config("layered-seq", known["config"], weights)
    assert isinstance(codec, LayeredSequenceCodec)
    coded = [
        {name: base64.b64decode(data) for name, data in one.items()} for one in known["payloads"]
    ]
    streams = link_all(coded, known["config"]["grouped"])
    levels = make_layered_seq.LEVELS[-1]
    found = make_layered_seq.integers_of(codec, streams, levels)
    assert [make_layered_seq.digest(one) for one in found] == known["sha256"][str(levels)]
    assert len(computed) > before + 100
