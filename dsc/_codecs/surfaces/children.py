"""Maps of children as symbols: by the network of `label-context`, or row by row.

What is learned from the map itself wins where a region has many small parts; the network where few
edges are long. Children are numbered in the order in which the one or the other meets them.
"""

import numpy as np

from dsc._codecs.coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._codecs.context.coder import decode_labels, encode_labels
from dsc._codecs.context.lattice import Ids
from dsc._codecs.context.network import LabelModel
from dsc._codecs.context.scan import decode_scan, encode_scan
from dsc._codecs.label.palette import index_labels


def numbered(model: LabelModel, children: Ids) -> tuple[Ids, bool]:
    """Return children (H, W) as they are numbered in the fewest bytes, and whether row by row."""
    found = index_labels(children)[0]
    if not found.any():
        return found, False
    by_network, by_rows = SymbolEncoder(), SymbolEncoder()
    encode_labels(by_network, model, found)
    order = encode_scan(by_rows, found)
    if len(by_network.finish()) <= len(by_rows.finish()):
        return found, False
    number = np.empty(len(order), np.uint16)
    number[order] = np.arange(len(order))
    return np.asarray(number[found]), True


def put_children(encoder: SymbolEncoder, model: LabelModel, children: Ids, by_rows: bool) -> None:
    """Write what `numbered` gave."""
    if by_rows:
        encode_scan(encoder, children)
    else:
        encode_labels(encoder, model, children)


def get_children(
    decoder: SymbolDecoder, model: LabelModel, size: tuple[int, ...], by_rows: bool
) -> Ids:
    """Read a map (H, W); anything raised is damage."""
    if by_rows:
        return decode_scan(decoder, size[0], size[1])
    return decode_labels(decoder, model, size[0], size[1])
