"""The file of a dictionary that the packs of a stream share: a codec's weights, named by its hash.

A safetensors file whose tensor `dictionary`, uint8 (N,), is a zstd frame of the dictionary, which
is plain bytes; `size` in its metadata is their number.
"""

import json
from functools import lru_cache

from dsc._storage.format.zstd import compress, decompress
from dsc.errors import CorruptArchiveError

MAX_DICTIONARY = 1 << 20
TENSOR = "dictionary"


def write_dictionary(dictionary: bytes) -> bytes:
    """Return the file of a dictionary: always the same bytes, which the library's own are not."""
    frame = compress(dictionary)
    tensor = {"dtype": "U8", "shape": [len(frame)], "data_offsets": [0, len(frame)]}
    metadata = {"kind": "dsc dictionary 1", "size": str(len(dictionary))}
    head = json.dumps({"__metadata__": metadata, TENSOR: tensor}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + frame


@lru_cache(maxsize=32)
def read_dictionary(data: bytes, where: str) -> bytes | None:
    """Return the dictionary of a codec file; None when it has none.

    Raises
    ------
    CorruptArchiveError
        When it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        if TENSOR not in tensors:
            return None
        size = int(_metadata(data)["size"])
        if not 0 < size <= MAX_DICTIONARY:
            raise ValueError(f"declares {size} bytes, at most {MAX_DICTIONARY} are read")
        return decompress(tensors[TENSOR].tobytes(), size)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptArchiveError(f"{where}: no dictionary can be read: {error}") from None


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])
