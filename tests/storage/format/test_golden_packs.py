"""Packs that were written once are read for ever; so are the bitstreams in them."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from dsc._codecs.registry import codec_from_config
from dsc._schemas import Task
from dsc._storage.format.pack import decode_pack
from tests.golden.make_packs import FIRST, ROOT, SLOT, cases

PACKS = sorted((ROOT / "packs").glob("*.bin"))
PLAIN = sorted((ROOT / "plain").glob("*.bin"))


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_golden_pack_is_read(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    known = expected["dictionary"] and base64.b64decode(expected["dictionary"])
    pack = decode_pack(path.read_bytes(), "here", lambda _: known)
    assert (pack.first_index, pack.codec_slot) == (FIRST, SLOT)
    wanted = [None if text is None else base64.b64decode(text) for text in expected["payloads"]]
    assert [None if one is None else bytes(one) for one in pack.payloads] == wanted


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.stem)
def test_a_golden_bitstream_of_plain_is_decoded(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    codec = codec_from_config("plain", expected["config"], None)
    task = Task.model_validate(expected["config"]["tasks"][0])
    [found] = codec.decode_batch([{task.name: path.read_bytes()}], [task.name], 0)
    wanted = np.array(expected["values"], task.dtype).reshape(expected["shape"])
    np.testing.assert_array_equal(found[task.name], wanted)
    assert found[task.name].dtype == wanted.dtype


def test_every_case_is_there_by_each_method() -> None:
    assert {path.stem for path in PACKS} == set(cases())
    assert {path.read_bytes()[6] for path in PACKS} == {0, 1, 2, 3, 4}
    assert len(PLAIN) == 9
