"""Multiplications that networks take, counted while they run."""

from collections.abc import Callable

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from dsc._bench.machine.network import Network
from dsc._bench.machine.pictures import Array
from dsc._schemas.extractor import EMBEDDING

FLOP_A_MAC = 2  # of a multiplication and the addition behind it


def mmac_of(run: Callable[[], object]) -> float:
    """Return the millions of multiply-accumulates that convolutions and matrices take."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops() / FLOP_A_MAC / 1e6)


def network_mmac(network: Network, picture: Array, side: int | None) -> dict[str, float]:
    """Count the network's parts on one picture.

    Returns
    -------
    dict
        ``front``: from pixels to the layer; ``tail``: from there to the embedding; ``classifier``.
    """
    maps = network.maps([picture], side)
    counts = {
        "front": mmac_of(lambda: network.maps([picture], side)),
        "tail": mmac_of(lambda: network.embeddings(maps)),
    }
    if network.classifies:
        counts["classifier"] = mmac_of(
            lambda: network.logits(np.zeros((1, network.backbone.embedding_size), np.float32))
        )
    return counts


def reader_mmac(parts: dict[str, float], enters: str, layer: str) -> float:
    """Return what a reader runs from what is decoded to the network's last answer."""
    later = parts.get("classifier", 0.0)
    if enters == EMBEDDING:
        return later
    return later + parts["tail"] + (0.0 if enters == layer else parts["front"])
