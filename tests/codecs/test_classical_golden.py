"""Bitstreams written by the first release decode to what they decoded to then.

Lossless streams must give the same values. Pixels of lossy ones may differ a little between
versions of libjpeg, libwebp, dav1d and libjxl: by 3 of 255 in an image or normal (1.2 % of the
range of a 16-bit one), by 2 % in depth; their invalid pixels are still exact. The tests never write
a golden file: `tests/golden/make_classical.py` does, and only where there is none.
"""

import hashlib
import json

import numpy as np
import pytest

from dsc._codecs.registry import codec_from_config
from dsc._coding.context.mask import decode_mask
from dsc._schemas import Task, TaskKind
from tests.codecs.test_classical import TASKS
from tests.golden import make_classical
from tests.places import ROOT as REPOSITORY

ROOT = REPOSITORY / "tests" / "golden" / "classical"


def jpeg_cases() -> list[tuple[Task, np.ndarray]]:
    return [*make_classical.jpeg_cases(), *make_classical.jpeg_start_cases()]


OWN_CASES = {"exact": make_classical.exact_cases, "jpeg-exact": jpeg_cases}
CASES = [
    f"{codec_id}/{task.name}"
    for codec_id, tasks in TASKS.items()
    for task in (*make_classical.MAPS, *make_classical.VALUES)
    if task in tasks
] + [f"{codec_id}/{task.name}" for codec_id, cases in OWN_CASES.items() for task, _ in cases()]
MASKS = ["mask/all", "mask/box", "mask/ragged", "mask/rows"]


def read(case: str, suffix: str) -> bytes:
    return (ROOT / case).with_suffix(suffix).read_bytes()


def sha256(array: np.ndarray) -> str:
    little = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("case", CASES)
def test_golden_stream_decodes_as_it_did(case):
    expected = json.loads(read(case, ".json"))
    codec = codec_from_config(expected["codec"], expected["config"], None)
    (task,) = codec.tasks
    (decoded,) = codec.decode_batch([{task.name: read(case, ".bin")}], [task.name], 1 << 13)
    array = decoded[task.name]
    assert list(array.shape) == expected["shape"]
    assert str(array.dtype) == expected["dtype"]
    if expected["exact"]:
        assert sha256(array) == expected["sha256"]
        return
    wanted = np.load((ROOT / case).with_suffix(".npy"))
    assert sha256(wanted) == expected["sha256"]
    hole = task.invalid_mask(wanted)
    assert np.array_equal(task.invalid_mask(array), hole)
    error = np.abs(array.astype(float) - wanted)[~hole]
    if task.kind is TaskKind.DEPTH:
        assert (error <= 0.02 * wanted[~hole] + 1).all()
    else:
        assert error.max() <= (3 if task.dtype == "uint8" else 0.012 * np.ptp(wanted))


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("case", MASKS)
def test_golden_mask_decodes_as_it_did(case):
    expected = json.loads(read(case, ".json"))
    assert sha256(decode_mask(read(case, ".bin"), *expected["shape"])) == expected["sha256"]


def test_the_goldens_of_exact_cover_its_methods():
    methods = {read(f"exact/{task.name}", ".bin")[0] for task, _ in make_classical.exact_cases()}
    assert methods == {0, 1, 2, 3, 4, 5}


def test_the_goldens_of_kept_files_cover_their_forms():
    forms = [read(f"jpeg-exact/{task.name}", ".bin")[0] for task, _ in jpeg_cases()]
    assert forms == [0, 1, 2, 32 + 2, 32 + 1]


def test_every_golden_file_belongs_to_a_test():
    found = {str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.rglob("*.json")}
    assert found == {*CASES, *MASKS}


def test_making_goldens_again_replaces_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_classical, "ROOT", tmp_path)
    make_classical.write("png/rgb", b"{}", b"first")
    make_classical.write("png/rgb", b"{}", b"second")
    assert (tmp_path / "png/rgb.bin").read_bytes() == b"first"
    assert "kept" in capsys.readouterr().out
