"""Every codec file that ships: it loads, keeps its size, and reads what was written with it."""

import hashlib
import json
from importlib.resources import files

import pytest

from dsc._codecs.learned.codec_file import default_weights
from dsc._codecs.registry import codec_class
from tests.codecs.learned_golden import TASKS, latent_hash
from tests.golden.make_learned import FOLDERS

SHIPPED = sorted(
    path.name.removesuffix(".safetensors")
    for path in (files("dsc._codecs") / "weights").iterdir()
    if path.name.removesuffix(".safetensors") in FOLDERS
)


@pytest.mark.usefixtures("both_kernels")
@pytest.mark.parametrize("codec_id", SHIPPED)
def test_golden_bitstreams_decode_to_the_same_integers(codec_id: str) -> None:
    """Written once with these weights; every machine and version must read the same integers."""
    folder = FOLDERS[codec_id]
    expected = json.loads((folder / "latents.json").read_text())
    assert expected["weights_sha256"] == hashlib.sha256(default_weights(codec_id)).hexdigest()
    codec = codec_class(codec_id).for_tasks(TASKS)
    streams = {s.name: (folder / f"{s.name}.bin").read_bytes() for s in codec.streams()}
    assert latent_hash(codec, streams) == expected["latents_sha256"]


@pytest.mark.parametrize("codec_id", SHIPPED)
def test_a_codec_file_stays_below_eight_megabytes(codec_id: str) -> None:
    assert len(default_weights(codec_id)) < 8 << 20
