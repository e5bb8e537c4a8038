"""A group of `layered-seq` that was once written decodes to the integers it decoded to then."""

import base64
import json
import lzma

import pytest

from dsc._codecs.learned.layered.sequence import LayeredSequenceCodec
from dsc._codecs.registry import codec_from_config
from dsc._schemas.group import link_all
from tests.golden.make_layered_seq import LEVELS, PIXELS, ROOT, digest, frames, integers_of


@pytest.mark.usefixtures("both_kernels")
def test_a_golden_group_decodes_to_the_same_integers() -> None:
    known = json.loads((ROOT / "group.json").read_text())
    weights = lzma.decompress((ROOT / "weights.safetensors.xz").read_bytes())
    codec = codec_from_config("layered-seq", known["config"], weights)
    assert isinstance(codec, LayeredSequenceCodec)
    coded = [
        {name: base64.b64decode(data) for name, data in one.items()} for one in known["payloads"]
    ]
    streams = link_all(coded, known["config"]["grouped"])
    for levels in LEVELS:
        found = [digest(one) for one in integers_of(codec, streams, levels)]
        assert found == known["sha256"][str(levels)]
    shapes = [one["rgb"].shape for one in codec.decode_batch(streams, ["rgb"], PIXELS) if one]
    assert shapes == [one["rgb"].shape for one in frames() if one]
