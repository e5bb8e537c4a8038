"""The codec `raw`: every promise of a codec, and exactly the bytes that a comparison needs."""

import numpy as np
import pytest

from dsc._codecs.base import Codec
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from tests.codecs.conformance import CodecConformance
from tests.codecs.test_classical import EDGES, LABELS, LOSSY, RGB


class TestRaw(CodecConformance):
    @pytest.fixture
    def codec(self) -> Codec:
        return make_codec("raw", (*LOSSY, EDGES, *LABELS))

    def is_exact(self, codec: Codec, task: Task) -> bool:
        return True


@pytest.mark.parametrize("side", [28, 32, 64])
def test_a_raw_picture_costs_its_values_and_one_byte(side: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    (streams,) = make_codec("raw", [RGB]).encode_batch([{"rgb": picture}], Quality())
    assert len(streams["rgb"]) == side * side * 3 + 1
