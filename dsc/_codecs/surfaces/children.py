"""A finer partition as symbols, in the way that takes the fewest.

- As a map of children (`Partition.children`), by the network of `label-context`: where few edges
  are long.
- As that map row by row (`dsc._coding.context.scan`): where a region has many small parts.
- Within the coarser partition, row by row (`dsc._coding.context.within`): where edges go on, or end
  at known ones. Classes are then numbered in the order in which they are met.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from dsc._codecs.label.palette import index_labels
from dsc._codecs.surfaces.partition import Partition
from dsc._coding.context.coder import decode_labels, encode_labels
from dsc._coding.context.lattice import Ids
from dsc._coding.context.network import LabelModel
from dsc._coding.context.scan import decode_scan, encode_scan
from dsc._coding.context.within import as_met, decode_within, encode_within
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder


class Way(IntEnum):
    """How a finer partition comes."""

    NETWORK = 0
    ROWS = 1
    WITHIN = 2


def ways_with(model: LabelModel | None) -> tuple[Way, ...]:
    """Return the ways that there are, without the network where there is no model."""
    return tuple(way for way in Way if model is not None or way is not Way.NETWORK)


@dataclass(frozen=True)
class Finer:
    """A partition that is finer than another, as it is coded.

    Attributes
    ----------
    partition
        With its classes numbered as a reader numbers them.
    way
        How it is coded; None where it parts nothing, and nothing is coded.
    symbols
        (H, W) what is coded.
    """

    partition: Partition
    way: Way | None
    symbols: Ids

    def put(
        self, encoder: SymbolEncoder, model: LabelModel | None, levels: Sequence[Partition]
    ) -> None:
        """Write it within the last of some partitions, each finer than the one before."""
        if self.way is Way.WITHIN:
            encode_within(encoder, [one.ids for one in levels], self.symbols)
        elif self.way is Way.ROWS:
            encode_scan(encoder, self.symbols)
        elif self.way is Way.NETWORK and model is not None:
            encode_labels(encoder, model, self.symbols)


def shortest(
    model: LabelModel | None, levels: Sequence[Partition], finer: Partition, ways: Sequence[Way]
) -> Finer:
    """Return a partition finer than the last of some, in the way that takes the fewest bytes."""
    coarse = levels[-1]
    if finer.count == coarse.count:
        return Finer(coarse, None, np.zeros_like(coarse.ids))
    children = coarse.children(finer)
    found = []
    for way in ways:
        if way is Way.WITHIN:
            ids = as_met(finer.ids)
            one = Finer(Partition(ids, finer.count), way, ids)
        else:
            symbols = as_met(children) if way is Way.ROWS else index_labels(children)[0]
            one = Finer(coarse.refined(symbols), way, symbols)
        encoder = SymbolEncoder()
        one.put(encoder, model, levels)
        found.append((len(encoder.finish()), way, one))
    return min(found, key=lambda each: each[:2])[2]


def read_finer(
    decoder: SymbolDecoder, model: LabelModel | None, levels: Sequence[Partition], way: Way
) -> Partition:
    """Read a partition finer than the last of some; anything raised is damage."""
    coarse = levels[-1]
    height, width = coarse.ids.shape
    if way is Way.WITHIN:
        ids = decode_within(decoder, [one.ids for one in levels])
        return Partition(ids, int(ids.max()) + 1)
    if way is Way.ROWS:
        return coarse.refined(decode_scan(decoder, height, width))
    if model is None:
        raise ValueError("a partition by the network takes a model file")
    return coarse.refined(decode_labels(decoder, model, height, width))
