"""What a stream counts: samples given, samples left out and why, requests, bytes, retries."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LISTED = 1000  # left-out samples that are listed; all are counted


@dataclass(frozen=True)
class SkippedSample:
    """A damaged sample that was left out."""

    archive: str
    key: str
    index: int
    reason: str


@dataclass
class StreamReport:
    """Counts since the stream was made.

    Attributes
    ----------
    batches, samples
        Given to the training loop.
    n_skipped
        Damaged samples left out (``on_error="skip"``), each time they came up.
    skipped
        The first `LISTED` of them.
    n_nearest
        Frames that stand for damaged ones (``on_damage="nearest"``), each time they came up.
    n_coarser
        Tasks of samples that were decoded from fewer levels than there are
        (``on_damage="coarser"``), each time they came up.
    repeated
        Batches given twice because nothing was left of the one that followed.
    reads
        What reading took: requests, bytes_read, cache_hits, retries and more
        (`dsc._storage.files.counts.ReadCounts`).
    decoded
        With ``cache_decoded``: arrays that were there (``hits``), or were decoded (``misses``), and
        the ``bytes`` that are kept.
    """

    batches: int = 0
    samples: int = 0
    n_skipped: int = 0
    skipped: list[SkippedSample] = field(default_factory=list)
    n_nearest: int = 0
    n_coarser: int = 0
    repeated: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    decoded: Counter[str] = field(default_factory=Counter)

    def skip(self, sample: SkippedSample) -> None:
        """Count a left-out sample."""
        self.n_skipped += 1
        if len(self.skipped) < LISTED:
            self.skipped.append(sample)

    def add(self, other: "StreamReport") -> None:
        """Add another reader's counts."""
        self.batches += other.batches
        self.samples += other.samples
        self.n_skipped += other.n_skipped
        self.skipped += other.skipped[: LISTED - len(self.skipped)]
        self.n_nearest += other.n_nearest
        self.n_coarser += other.n_coarser
        self.repeated += other.repeated
        self.reads.update(other.reads)
        self.decoded.update(other.decoded)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "batches": self.batches,
            "samples": self.samples,
            "n_skipped": self.n_skipped,
            "skipped": [vars(sample) for sample in self.skipped],
            "n_nearest": self.n_nearest,
            "n_coarser": self.n_coarser,
            "repeated": self.repeated,
            "reads": dict(self.reads),
            "decoded": dict(self.decoded),
        }
