"""The decoder's part of a codec file decodes all, encodes nothing, and has one hash for ever."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy

from dsc._codecs.learned.codec_file import (
    decoder_part,
    default_weights,
    is_encoder_tensor,
    read_metadata,
    with_encoder,
)
from dsc._codecs.learned.network.spec import KINDS
from dsc._codecs.split import encoding_weights
from dsc._schemas import Quality
from dsc.errors import BitstreamError, CodecError, SelfTestError
from tests.codecs.conditional_cases import CODECS, LIMIT, NAMES, TASKS, make_view

Q = Quality(default=60)
# What buffers in the field name: a change here would leave their exemplars without a decoder.
SHIPPED = {
    "independent": "d813a2775c8e",
    "shared-latent": "671e09991344",
}


def other_encoder(data: bytes, add: float = 0.01) -> bytes:
    tensors = safetensors.numpy.load(data)
    moved = {n: (t + np.float16(add)) for n, t in tensors.items() if is_encoder_tensor(n)}
    return with_encoder(data, moved, {"moved": str(add)})


@pytest.mark.parametrize("kind", KINDS)
def test_decodes_what_the_whole_file_encoded_and_refuses_to_encode(
    files: dict[str, bytes], kind: str
) -> None:
    whole = CODECS[kind](TASKS, files[kind])
    part = CODECS[kind](TASKS, decoder_part(files[kind]))
    sample = make_view(0, 70)
    streams = whole.encode_batch([sample], Q)
    expected = whole.decode_batch(streams, NAMES, LIMIT)[0]
    found = part.decode_batch(streams, NAMES, LIMIT)[0]
    assert all(np.array_equal(expected[name], found[name]) for name in NAMES)
    assert part.streams() == whole.streams()
    with pytest.raises(CodecError, match=r'cannot encode; give the whole codec file, .*codec="my'):
        part.encode_batch([sample], Q)
    with pytest.raises(CodecError, match="whole codec file"):
        part.encoder_network()


@pytest.mark.parametrize("kind", KINDS)
def test_holds_every_tensor_but_the_encoders(files: dict[str, bytes], kind: str) -> None:
    whole = safetensors.numpy.load(files[kind])
    part = safetensors.numpy.load(decoder_part(files[kind]))
    left_out = whole.keys() - part.keys()
    assert left_out
    heads = {name.split(".")[0] for name in left_out}
    assert heads <= {"analysis", "private", "to_shared", "entropy"} | {
        h for h in heads if h.startswith("joint_")
    }
    assert all(".analysis." in n for n in left_out if n.startswith("entropy."))
    for name, tensor in part.items():
        assert tensor.dtype == whole[name].dtype
        assert np.array_equal(tensor, whole[name])


@pytest.mark.parametrize("kind", KINDS)
def test_all_encoders_of_one_decoder_share_its_part(files: dict[str, bytes], kind: str) -> None:
    part = decoder_part(files[kind])
    changed = other_encoder(files[kind])
    assert changed != files[kind]
    assert decoder_part(changed) == part
    assert decoder_part(part) == part
    assert "card" not in read_metadata(part)
    assert json.loads(read_metadata(changed)["card"]) == {"moved": "0.01"}
    sample = make_view(1, 64)
    codec = CODECS[kind](TASKS, files[kind])
    again = with_encoder(
        files[kind],
        {n: t for n, t in safetensors.numpy.load(files[kind]).items() if is_encoder_tensor(n)},
        {},
    )
    same = CODECS[kind](TASKS, again)
    assert same.encode_batch([sample], Q) == codec.encode_batch([sample], Q)


@pytest.mark.parametrize("kind", sorted(SHIPPED))
def test_the_decoder_that_ships_keeps_its_hash(kind: str) -> None:
    part = decoder_part(default_weights(kind))
    assert hashlib.sha256(part).hexdigest().startswith(SHIPPED[kind])
    assert encoding_weights(kind, part) == default_weights(kind)


def test_without_an_encoder_at_hand_there_are_no_weights_that_encode(
    files: dict[str, bytes],
) -> None:
    assert encoding_weights("independent", files["independent"]) == files["independent"]
    assert encoding_weights("independent", decoder_part(files["independent"])) is None
    assert encoding_weights("label-context", b"any") == b"any"


def test_a_changed_integer_fails_the_self_test_of_the_part_too(files: dict[str, bytes]) -> None:
    part = decoder_part(files["chained"])
    tensors = safetensors.numpy.load(part)
    name = "entropy.rgb.synthesis.mix.bias"
    tensors[name] = tensors[name] + np.int32(4000)
    broken = safetensors.numpy.save(tensors, read_metadata(part))
    with pytest.raises(SelfTestError, match="do not decode here"):
        CODECS["chained"](TASKS, broken)


def test_an_encoder_that_does_not_fit_is_refused(files: dict[str, bytes]) -> None:
    data = files["independent"]
    own = {n: t for n, t in safetensors.numpy.load(data).items() if is_encoder_tensor(n)}
    name = next(iter(own))
    with pytest.raises(CodecError, match="does not fit a codec file"):
        with_encoder(data, {n: t for n, t in own.items() if n != name}, {})
    with pytest.raises(CodecError, match="does not fit a codec file with 0"):
        with_encoder(decoder_part(data), own, {})
    with pytest.raises(CodecError, match=f"{name}: float16"):
        with_encoder(data, own | {name: own[name][:1]}, {})
    with pytest.raises(CodecError, match="not finite"):
        with_encoder(data, own | {name: own[name] * np.float16(np.inf)}, {})


@pytest.mark.parametrize("damage", [b"", b"no codec file at all", b"\x10" + b"\0" * 40])
def test_what_is_no_codec_file_is_an_error(damage: bytes) -> None:
    with pytest.raises(BitstreamError, match="not a learned codec file"):
        decoder_part(damage)


def test_a_header_that_points_outside_the_file_is_an_error(files: dict[str, bytes]) -> None:
    with pytest.raises(BitstreamError, match="codec file is damaged"):
        decoder_part(files["independent"][:-1000])
