"""Turns a trained network into a codec file, and checks that real bits are what training counted.

The file is made, loaded as any user would load it (which runs its self-test), and used to code
held-out samples. What the coder writes is compared with the estimate for the network in training.
Research networks write no archives and therefore get no file.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from dsc._codecs.registry import CODECS
from dsc._training.config import RESEARCH, TrainConfig
from dsc._training.data.batches import TrainingData
from dsc._training.evaluate import Figures, held_out
from dsc.errors import ExportError
from dsc.version import __version__

TOLERANCE = 0.01
FAULT = 0.50  # beyond this the file and the network are not the same codec
STREAM_BYTES = 8  # the coder's last words, of one stream of one sample
CHECKED = 4  # samples of a data set
CHECKED_QUALITIES = (30, 75)


@dataclass(frozen=True)
class BitCheck:
    """Real against estimated bits of held-out samples.

    Attributes
    ----------
    samples
        Encodings that were compared.
    estimated_bytes, real_bytes
        Sums over all streams; the real ones without `STREAM_BYTES` a stream, headers and masks.
    """

    samples: int
    estimated_bytes: float
    real_bytes: float

    @property
    def excess(self) -> float:
        """How much more the real bits are, as a part of the estimated ones."""
        return self.real_bytes / max(self.estimated_bytes, 1e-9) - 1

    @property
    def ok(self) -> bool:
        """Whether it is at most `TOLERANCE`.

        A network that has hardly been trained may exceed it: symbols beyond its tables are escapes,
        which cost more than the estimate says.
        """
        return self.excess <= TOLERANCE


@dataclass(frozen=True)
class Export:
    """A codec file.

    Attributes
    ----------
    weights
        The safetensors file.
    check
        What its bits were held against.
    """

    weights: bytes
    check: BitCheck


def can_export(kind: str) -> bool:
    """Tell whether networks of a kind become codec files."""
    return kind in CODECS and kind not in RESEARCH


def export(
    network: Any, data: TrainingData, card: Mapping[str, str], codec: bytes | None = None
) -> Export:
    """Make and check a codec file.

    Parameters
    ----------
    network
        The (averaged) network; it is not changed.
    card
        Facts about the training, for people; they go into the file.
    codec
        The codec file whose encoder alone was trained: the new one has the same decoder, byte for
        byte.

    Raises
    ------
    CodecError
        When that decoder did not stay as it was.
    ExportError
        When the real bits exceed the estimated ones by more than `FAULT`.
    """
    from dsc._codecs.learned.codec_file import export_codec
    from dsc._codecs.learned.encoder_alone import export_encoder

    network = copy.deepcopy(network).cpu().eval()
    if codec is not None:
        weights = export_encoder(codec, network, card)
    else:
        weights = export_codec(copy.deepcopy(network), dict(card))
    check = check_bits(network, weights, data)
    if check.excess > FAULT:
        raise ExportError(
            f"the codec's real bits exceed the estimated ones by {check.excess:.2%} "
            f"({check.real_bytes:.0f} and {check.estimated_bytes:.0f} bytes on {check.samples} "
            f"held-out encodings; {TOLERANCE:.0%} is allowed): train longer, and if that does not "
            "help, report it"
        )
    return Export(weights, check)


def check_bits(network: Any, weights: bytes, data: TrainingData) -> BitCheck:
    """Code held-out samples with a codec file and compare with the network's estimate.

    Parameters
    ----------
    network
        What the file was made of, in evaluation mode, on the CPU.
    """
    from dsc._codecs.learned.codec_file import load_codec_file
    from dsc._codecs.learned.network.differentiable import estimated_bits
    from dsc._codecs.learned.sample_coder import real_bits

    loaded = load_codec_file(weights)
    real = estimated = 0.0
    count = 0
    for pool in data.pools:
        for quality in CHECKED_QUALITIES:
            for batch in held_out(pool, quality, CHECKED):
                counted = estimated_bits(network, batch.inputs, batch.quality)
                written = real_bits(loaded, batch.inputs, batch.quality)
                estimated += sum(float(bits.sum()) for bits in counted.values()) / 8
                real += sum(
                    max(float(bits.sum()) / 8 - STREAM_BYTES, 0.0) for bits in written.values()
                )
                count += 1
    return BitCheck(count, estimated, real)


def make_card(
    config: TrainConfig,
    data: TrainingData,
    parameters: int,
    steps: int,
    seconds: float,
    figures: list[Figures],
) -> dict[str, Any]:
    """Return what there is to know about a trained network, as JSON."""
    return {
        "dsc": __version__,
        "torch": torch.__version__,
        "kind": config.kind,
        "size": config.size,
        "parameters": parameters,
        "tasks": list(data.modalities),
        "data": [
            {
                "data": pool.where,
                "share": round(pool.share, 4),
                "trained_on": len(pool.trained),
                "held_out": len(pool.held_out),
                "fingerprint": fingerprint,
            }
            for pool, fingerprint in zip(data.pools, data.fingerprints, strict=True)
        ],
        "steps": steps,
        "seconds": round(seconds, 1),
        "seed": config.seed,
        "figures": [asdict(one) for one in figures],
        "config": json.loads(config.to_json()),
        "skipped_samples": len(data.skipped),
    }
