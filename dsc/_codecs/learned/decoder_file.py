"""The decoder's part of a codec file, and codec files with another encoder around the same decoder.

A decoder's part holds everything that turns bitstreams into samples, bit by bit as it lies in the
codec file: synthesis, gains, entropy networks and tables, sizes and the self-test's hash. What only
an encoder needs (analysis, hyper-analysis) and the card are left out. Equal decoders give equal
bytes, whatever encoder they came with, so the SHA-256 of the part names the decoder.

Nothing is computed here: tensors are moved as bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.learned.weights import DECODER_MARK, is_encoder_tensor, read_metadata
from dsc._schemas.base import canonical_json
from dsc.errors import BitstreamError, CodecError

DECODER_METADATA = ("kind", "model", "self_test")


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def decoder_part(data: bytes) -> bytes:
    """Return the decoder's part of a codec file; of a decoder's part, itself.

    Raises
    ------
    BitstreamError
        When the bytes are not a codec file.
    """
    metadata = read_metadata(data)
    if metadata["kind"].endswith(DECODER_MARK):
        return data
    kept = {name: t for name, t in _read(data).items() if not is_encoder_tensor(name)}
    own = {name: metadata[name] for name in DECODER_METADATA}
    return _packed(own | {"kind": own["kind"] + DECODER_MARK}, kept)


def with_encoder(
    data: bytes, encoder: Mapping[str, NDArray[np.float16]], card: Mapping[str, str]
) -> bytes:
    """Return a codec file with another encoder and the very same decoder.

    Parameters
    ----------
    data
        A codec file with an encoder.
    encoder
        All its encoder's tensors, by name.
    card
        Facts about the new encoder, for people.

    Raises
    ------
    CodecError
        When names or shapes are not those of the file's encoder, or a value is not finite.
    """
    tensors = _read(data)
    wanted = {name: t for name, t in tensors.items() if is_encoder_tensor(name)}
    if not wanted or wanted.keys() != encoder.keys():
        raise CodecError(
            f"an encoder of {len(encoder)} tensors does not fit a codec file with {len(wanted)}"
        )
    for name, old in wanted.items():
        new = encoder[name]
        if new.dtype != np.float16 or old.dtype != "F16" or new.shape != old.shape:
            raise CodecError(f"{name}: {new.dtype} {new.shape}, the file has {old.shape} float16")
        if not np.isfinite(new).all():
            raise CodecError(f"{name}: not finite in float16; train with a lower learning rate")
        tensors[name] = _Tensor("F16", old.shape, new.astype("<f2").tobytes())
    metadata = read_metadata(data) | {"card": json.dumps(dict(card), sort_keys=True)}
    return _packed(metadata, tensors)


def _read(data: bytes) -> dict[str, _Tensor]:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        found = {}
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = (int(at) for at in entry["data_offsets"])
                if not 0 <= start <= end <= len(data) - 8 - length:
                    raise ValueError(f"tensor {name} lies outside the file")
                shape = tuple(int(size) for size in entry["shape"])
                part = data[8 + length + start : 8 + length + end]
                found[name] = _Tensor(str(entry["dtype"]), shape, part)
    except (ValueError, KeyError, TypeError) as error:
        raise BitstreamError(f"the codec file is damaged: {error}") from None
    return found


def _packed(metadata: Mapping[str, str], tensors: Mapping[str, _Tensor]) -> bytes:
    """Write a safetensors file, the same bytes everywhere; the widest items first, as its own do.

    The library's writer puts metadata in an order that changes from process to process.
    """
    at = 0
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    order = sorted(tensors, key=lambda name: (-_item_bytes(tensors[name].dtype), name))
    for name in order:
        one = tensors[name]
        end = at + len(one.data)
        header[name] = {"dtype": one.dtype, "shape": one.shape, "data_offsets": [at, end]}
        at = end
    text = canonical_json(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensors[n].data for n in order)


def _item_bytes(dtype: str) -> int:
    """Return the bytes of one item of ``F16``, ``I32``, ``BF16``, ...; 1 for what has no number."""
    return int("".join(c for c in dtype if c.isdigit()) or 8) // 8
