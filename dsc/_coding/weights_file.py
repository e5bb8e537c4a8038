"""What all weights files have in common: a safetensors whose metadata promises a self-test's hash.

A self-test is what the file's integer networks give for a fixed input. Whoever loads a file runs
it: a machine that does not reproduce the integers must not decode. Weights, activations and biases
are within the limits below, so that float32 holds every partial sum exactly.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from dsc.errors import SelfTestError

LIMIT = 127  # of weights and activations
BIAS_LIMIT = 1 << 20
MAX_FAN_IN = 970  # 970 × 127² + 2^20 + rounding is below 2^24; the bias counts too
MAX_HEADER_BYTES = 1 << 24


def shipped_file(name: str) -> bytes:
    """Return a weights file that comes with dsc, by its name.

    Raises
    ------
    FileNotFoundError
        When dsc comes with none of that name.
    """
    return (files("dsc._codecs") / "weights" / name).read_bytes()


def metadata_of(data: bytes) -> dict[str, str]:
    """Read the metadata of a weights file, without its tensors.

    By hand, as safetensors gives the metadata of files on disk only, and these come out of
    archives.

    Raises
    ------
    ValueError, KeyError, TypeError
        When the bytes are no safetensors file with metadata.
    """
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(len(data) - 8, MAX_HEADER_BYTES):
        raise ValueError("the header's length is out of range")
    try:
        return dict(json.loads(data[8 : 8 + length])["__metadata__"])
    except RecursionError:
        raise ValueError("the header is nested too deep") from None


def save_with_facts(tensors: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]) -> bytes:
    """Write a weights file, the same bytes every time.

    All facts are one entry of the metadata: safetensors writes several in an order that changes
    from run to run.
    """
    metadata = {"dsc": json.dumps(dict(facts), sort_keys=True)}
    # safetensors writes memory as it lies, whatever the strides
    whole = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return bytes(safetensors.numpy.save(whole, metadata))


def facts_of(data: bytes, kind: str) -> dict[str, Any]:
    """Read the facts of a weights file that `save_with_facts` wrote.

    Raises
    ------
    ValueError, KeyError, TypeError
        When it is none, or of another kind.
    """
    facts = dict(json.loads(metadata_of(data)["dsc"]))
    if facts["kind"] != kind:
        raise ValueError(f"kind {facts['kind']!r}, expected {kind!r}")
    return facts


def check_self_test(networks: str, found: str, promised: str) -> None:
    """Check that this machine computes what a weights file promises.

    Parameters
    ----------
    networks
        Names what computes, with its verb: ``the restoring network gives``.
    found, promised
        Hashes, in hexadecimal.

    Raises
    ------
    SelfTestError
        When it does not.
    """
    if found != promised:
        raise SelfTestError(
            f"{networks} {found[:16]} here, the file promises {promised[:16]}: the file is damaged "
            "or this machine's arithmetic differs; do not decode here, and report the machine"
        )
