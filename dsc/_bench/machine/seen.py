"""What the network makes of coded pictures, kept on disk: coding once serves all tasks and seeds.

A file a carrier, quality and set, named by a hash of what decides it; feature maps in 16 bits,
which changes answers by less than a thousandth of what codecs do.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dsc._bench.machine.carriers import Carried, Carrier
from dsc._bench.machine.network import PIXELS, Network
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.speed.clock import processor_s
from dsc._bench.store import key_of
from dsc._schemas.extractor import EMBEDDING


@dataclass(frozen=True)
class Seen:
    """Where in the network coded pictures are known, and what they cost.

    Attributes
    ----------
    at
        The network's layer, or the embedding.
    values
        Feature maps float16 (N, C, h, w), or embeddings float32 (N, D).
    payload_bytes
        int64 (N,).
    encode_s, read_s
        Processor time a picture: of the codec's encoder; from bytes to `values`.
    """

    at: str
    values: Array
    payload_bytes: Array
    encode_s: float
    read_s: float

    def measured(self, data: PictureSet) -> "Seen":
        """Return it without the pictures that train."""
        values, sizes = (one[data.train :] for one in (self.values, self.payload_bytes))
        return replace(self, values=values, payload_bytes=sizes)

    @property
    def has_maps(self) -> bool:
        """Whether dense tasks can go on from here."""
        return self.at != EMBEDDING


class SeenCache:
    """What was seen, by carrier, quality and set.

    Parameters
    ----------
    folder
        Where it is kept.
    network
        What looks.
    """

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder = folder
        self._network = network

    def get(self, carrier: Carrier, quality: int, data: PictureSet) -> Seen:
        """Return what was seen; code and look when it is not there."""
        path = self.folder / f"{key_of(self.identity(carrier, quality, data))}.npz"
        if path.is_file():
            with np.load(path) as file:
                return Seen(
                    str(file["at"]),
                    file["values"],
                    file["payload_bytes"],
                    float(file["encode_s"]),
                    float(file["read_s"]),
                )
        seen = look(self._network, carrier.code(data, quality), carrier.enters, data.side)
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as target:
            np.savez(target, **vars(seen))
        part.replace(path)
        return seen

    def identity(self, carrier: Carrier, quality: int, data: PictureSet) -> Mapping[str, Any]:
        """Say in JSON what decides what is seen."""
        return {
            "carrier": dict(carrier.identity()),
            "quality": quality,
            "pictures": data.digest,
            "train": data.train,
            "side": data.side,
            "weights": self._network.backbone.weights_sha256,
            "layer": self._network.layer.name,
        }


def look(network: Network, coded: Carried, enters: str, side: int | None) -> Seen:
    """Bring what was decoded to the network's layer, or keep the embeddings that it is."""
    start = processor_s()
    if enters == PIXELS:
        at, values = network.layer.name, network.maps(coded.values, side)
    elif enters == EMBEDDING:
        at, values = EMBEDDING, np.stack(coded.values).astype(np.float32)
    else:
        at, values = enters, np.stack(coded.values).astype(np.float16)
    count = len(coded.payload_bytes)
    read_s = coded.decode_s + processor_s() - start
    sizes = np.asarray(coded.payload_bytes, np.int64)
    return Seen(at, values, sizes, coded.encode_s / count, read_s / count)
