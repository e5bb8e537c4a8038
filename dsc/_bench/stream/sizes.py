"""How much the streaming benchmark measures."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Sizes of data sets and lengths of measurements.

    Attributes
    ----------
    distinct, pixels
        Different views, and their width and height.
    samples
        Samples of data sets of bitstreams.
    images
        Samples of data sets of image files, which are larger.
    rounds
        Times that everything is measured, in turn.
    seconds
        How long each rate is measured.
    batch_size
        Samples a batch, where rates of decoding are measured.
    scale
        Lengths of the archives in the table of scale; multiples of 64.
    scale_batches
        Batches read of each.
    """

    distinct: int = 32
    pixels: int = 256
    samples: int = 16384
    images: int = 2048
    rounds: int = 3
    seconds: float = 0.8
    batch_size: int = 32
    scale: tuple[int, ...] = (1_024, 100_032, 10_000_000)
    scale_batches: int = 24

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"scale": list(self.scale)}


QUICK = Sizes(
    distinct=6,
    samples=4096,
    images=256,
    rounds=1,
    seconds=0.3,
    batch_size=16,
    scale=(1_024, 10_000_000),
    scale_batches=8,
)
