"""A run that trains the encoder of a codec file alone: its start, and what its checkpoints hold.

The codec file goes along in every checkpoint, so a run goes on without the file it began with.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dsc._codecs.learned.encoder_alone import encoder_network

CODEC = "codec"  # where a state keeps the codec file


def start_of(codec: bytes) -> dict[str, Any]:
    """Return what a `Trainer` takes as the start of a run that trains this codec file's encoder.

    Raises
    ------
    BitstreamError, CodecError
        When it is no codec file with an encoder.
    """
    spec = encoder_network(codec).spec
    return {"spec": spec.to_json(), "modalities": list(spec.modalities)} | codec_state(codec)


def codec_state(codec: bytes | None) -> dict[str, Any]:
    """Return what a checkpoint holds of the codec file; nothing where there is none."""
    if codec is None:
        return {}
    return {CODEC: torch.from_numpy(np.frombuffer(codec, np.uint8).copy())}


def codec_of(state: Mapping[str, Any] | None) -> bytes | None:
    """Return the codec file of a start or a checkpoint; None where everything is trained."""
    if state is None or CODEC not in state:
        return None
    kept: bytes = state[CODEC].numpy().tobytes()
    return kept
