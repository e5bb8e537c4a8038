"""Binary decisions under chances that learn, and some of them mixed into one; all is integers.

A *pattern* is what is known around a decision, as a number. Its chance of a set bit begins at even
odds and moves to what is seen as in `dsc._coding.context.raster`. Where several kinds of patterns
are looked at, their logits are added under weights, which move so that the sum would have been
nearer to what was seen: logistic mixing (Mahoney 2005, "Adaptive weighing of context models for
lossless data compression", equations 4 to 6). Logits are in 1/256, a mixed chance has twelve bits,
and lies on straight lines between knots, so that no machine rounds an exponential.

These are the twins of ``dsc/_kernels/mix.h``.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._coding.entropy import ANS_BITS, AnsReader

ONE = 1 << ANS_BITS
MOST_SEEN = 1023  # decisions of a pattern after which it no longer learns more slowly
MIX_BITS = 12
DOWN = ANS_BITS - MIX_BITS
FARTHEST = 2047
WEIGHT_BITS = 16
FIRST_WEIGHT = 23_000  # 0.35
MOST_WEIGHT = 8 << WEIGHT_BITS
RATE = 80
WORD = 0xFFFFFFFF
TRUST_FROM = (0, 1, 3, 8, 24, 100)  # decisions seen from which a pattern has its next weight
TRUSTS = len(TRUST_FROM)
SHARE = [655_360 // (10 * n + 18) for n in range(MOST_SEEN + 1)]  # of 2^16
KNOTS = (
    1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348,
    3607, 3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094, 4094,
)  # fmt: skip

Port = Callable[[int, int], int]
"""Codes a bit, of which the chance of 1 is given first, of 2^24; when reading, returns it."""


@dataclass(frozen=True)
class Counts:
    """What was learned of patterns.

    Attributes
    ----------
    chance
        (n,) uint32, of a set bit, of 2^24.
    seen
        (n,) uint16 decisions of the pattern, as far as they matter.
    """

    chance: NDArray[np.uint32]
    seen: NDArray[np.uint16]

    @classmethod
    def start(cls, patterns: int) -> Self:
        """Return patterns of even odds."""
        return cls(np.full(patterns, ONE // 2, np.uint32), np.zeros(patterns, np.uint16))

    def copy(self) -> "Counts":
        """Return the same, to go on from."""
        return Counts(self.chance.copy(), self.seen.copy())

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """As the kernels take them."""
        return self.chance, self.seen

    def learn(self, pattern: int, bit: int, most: int = MOST_SEEN) -> None:
        """Move the chance of a pattern towards what was seen, `most` decisions at most."""
        chance, seen = int(self.chance[pattern]), int(self.seen[pattern])
        step = (ONE - chance if bit else chance) * SHARE[seen] >> 16
        self.chance[pattern] = chance + step if bit else chance - step
        self.seen[pattern] = min(seen + 1, most)


def hash_key(key: int, bits: int) -> int:
    """Spread keys over 2^bits places: a key's, for its lowest 32 bits."""
    key = key * 2_654_435_761 & WORD
    key ^= key >> 15
    return (key * 2_246_822_519 & WORD) >> (32 - bits)


def chance_of_logit(logit: int) -> int:
    """Return the chance, of 2^12, of a logit within ±`FARTHEST`."""
    at, part = divmod(logit + FARTHEST + 1, 128)
    return (KNOTS[at] * (128 - part) + KNOTS[at + 1] * part + 64) >> 7


def _logits() -> list[int]:
    """Return the first logit that has at least a chance, for each of 2^12."""
    found: list[int] = []
    for logit in range(-FARTHEST, FARTHEST + 1):
        found += [logit] * (chance_of_logit(logit) + 1 - len(found))
    return found + [FARTHEST] * ((1 << MIX_BITS) - len(found))


LOGIT = _logits()
TRUST = [bisect_right(TRUST_FROM, n) - 1 for n in range(MOST_SEEN + 1)]


def code_one(port: Port, counts: Counts, pattern: int, bit: int) -> int:
    """Code a decision under what one pattern has learned; return it."""
    bit = port(int(counts.chance[pattern]), bit)
    counts.learn(pattern, bit)
    return bit


def code_two(
    port: Port,
    counts: tuple[Counts, Counts],
    patterns: tuple[int, int],
    weights: NDArray[np.int32],
    bit: int,
) -> int:
    """Code a decision under what two patterns have learned, mixed by `weights` (2,); return it."""
    logits = [
        LOGIT[int(one.chance[pattern]) >> DOWN]
        for one, pattern in zip(counts, patterns, strict=True)
    ]
    mixed = sum(logit * int(weight) for logit, weight in zip(logits, weights, strict=True))
    chance = chance_of_logit(_within(mixed >> WEIGHT_BITS, FARTHEST))
    bit = port(chance << DOWN, bit)
    error = ((bit << MIX_BITS) - chance) * RATE
    for k, logit in enumerate(logits):
        weights[k] = _within(int(weights[k]) + (logit * error >> WEIGHT_BITS), MOST_WEIGHT)
    for one, pattern in zip(counts, patterns, strict=True):
        one.learn(pattern, bit)
    return bit


def code_mixed(
    port: Port,
    counts: Counts,
    patterns: Sequence[int],
    weights: NDArray[np.int32],
    bit: int,
    most: int = MOST_SEEN,
    rate: int = RATE,
) -> int:
    """Code a decision under what several patterns have learned; return it.

    Parameters
    ----------
    weights
        (patterns, `TRUSTS`): of each pattern one for each range of what it has seen.
    most
        Decisions after which a pattern no longer learns more slowly.
    rate
        At which weights learn.
    """
    logits = [LOGIT[int(counts.chance[pattern]) >> DOWN] for pattern in patterns]
    own = [TRUST[int(counts.seen[pattern])] for pattern in patterns]
    mixed = sum(logit * int(weights[k, own[k]]) for k, logit in enumerate(logits))
    chance = chance_of_logit(_within(mixed >> WEIGHT_BITS, FARTHEST))
    bit = port(chance << DOWN, bit)
    error = ((bit << MIX_BITS) - chance) * rate
    for k, logit in enumerate(logits):
        moved = int(weights[k, own[k]]) + (logit * error >> WEIGHT_BITS)
        weights[k, own[k]] = _within(moved, MOST_WEIGHT)
        counts.learn(patterns[k], bit, most)
    return bit


def _within(value: int, most: int) -> int:
    return max(-most, min(most, value))


def weights_start(sets: int) -> NDArray[np.int32]:
    """Return weights (2 sets,) that nothing has moved."""
    return np.full(2 * sets, FIRST_WEIGHT, np.int32)


class Writing:
    """A port that keeps intervals for the entropy coder."""

    def __init__(self) -> None:
        self.intervals: list[tuple[int, int]] = []

    def __call__(self, chance: int, bit: int) -> int:
        """Write a bit."""
        self.intervals.append((0, chance) if bit else (chance, ONE - chance))
        return bit


def reading(reader: AnsReader) -> Port:
    """Return a port that reads."""
    return lambda chance, _: int(reader.below(chance))
