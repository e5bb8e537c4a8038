"""Bitstreams of `label-context` that were written once decode to what they decoded to then.

The tests never write a golden file: `tests/golden/make_label.py` does, and only what is missing.
"""

import hashlib
import json

import pytest

from dsc._codecs.registry import codec_from_config
from dsc._coding.context.mask import CONTEXT_SET, CONTEXT_UNSET, decode_mask
from dsc._coding.context.weights import shipped_file
from tests.golden import make_label
from tests.places import ROOT as REPOSITORY

pytestmark = pytest.mark.usefixtures("both_kernels")

ROOT = REPOSITORY / "tests" / "golden" / "label"
CASES = sorted(make_label.cases())
MASKS = {"mask_unset": CONTEXT_UNSET, "mask_set": CONTEXT_SET}


@pytest.mark.parametrize("case", CASES)
def test_golden_stream_decodes_as_it_did(case):
    expected = json.loads((ROOT / case).with_suffix(".json").read_text())
    assert hashlib.sha256(shipped_file()).hexdigest() == expected["weights_sha256"], (
        "the model file was replaced: masks in archives rely on it; give the new one another name"
    )
    codec = codec_from_config("label-context", expected["config"], shipped_file())
    (task,) = codec.tasks
    data = (ROOT / case).with_suffix(".bin").read_bytes()
    (decoded,) = codec.decode_batch([{task.name: data}], [task.name], 1 << 13)
    array = decoded[task.name]
    assert list(array.shape) == expected["shape"]
    assert str(array.dtype) == expected["dtype"]
    assert make_label.sha256(array) == expected["sha256"]


@pytest.mark.parametrize("case", MASKS)
def test_golden_mask_decodes_as_it_did(case):
    expected = json.loads((ROOT / case).with_suffix(".json").read_text())
    data = (ROOT / case).with_suffix(".bin").read_bytes()
    assert data[0] == MASKS[case]
    assert make_label.sha256(decode_mask(data, *expected["shape"])) == expected["sha256"]


def test_every_golden_file_belongs_to_a_test():
    for suffix in ("json", "bin"):
        assert {path.stem for path in ROOT.glob(f"*.{suffix}")} == {*CASES, *MASKS}


def test_making_goldens_again_replaces_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_label, "ROOT", tmp_path)
    make_label.write("regions", b"{}", b"first")
    make_label.write("regions", b"{}", b"second")
    assert (tmp_path / "regions.bin").read_bytes() == b"first"
    assert "kept" in capsys.readouterr().out
