"""Groups written by the first release decode to what they decoded to then, value by value."""

import base64
import json

import pytest

from dsc._codecs.classical import dav1d
from dsc._codecs.registry import codec_from_config
from dsc._codecs.sequence import libaom
from dsc._schemas.group import link_all
from tests.golden import make_sequence

NAMES = [name for name, *_ in make_sequence.cases()]


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("decoder", ["dav1d", "libaom"])
@pytest.mark.parametrize("name", NAMES)
def test_a_golden_group_decodes_as_it_did(name, decoder, monkeypatch):
    if decoder == "libaom":
        if not libaom.is_there():
            pytest.skip("the libaom of this imagecodecs is not known")
        monkeypatch.setattr(dav1d, "version", lambda: None)
    known = json.loads((make_sequence.ROOT / f"{name}.json").read_text())
    codec = codec_from_config("av1-seq", known["config"], None)
    (task,) = codec.tasks
    coded = [
        {stream: base64.b64decode(data) for stream, data in one.items()}
        for one in known["payloads"]
    ]
    streams = link_all(coded, known["config"]["grouped"])
    found = codec.decode_batch(streams, [task.name], make_sequence.PIXELS)
    arrays = [one.get(task.name) for one in found]
    assert [None if one is None else list(one.shape) for one in arrays] == known["shapes"]
    wanted = known["sha256"]
    assert [None if one is None else make_sequence.digest(one) for one in arrays] == wanted


def test_every_golden_file_belongs_to_a_test():
    assert {path.stem for path in make_sequence.ROOT.glob("*.json")} == set(NAMES)
