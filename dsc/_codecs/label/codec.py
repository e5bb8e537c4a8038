"""The codec `label-context`: label maps, bit for bit, one stream a task that requires nothing.

A stream is what `dsc._codecs.label.scan` says, or of method CONTEXT: words of the entropy coder,
which hold the map from coarse to fine (`dsc._coding.context.lattice`), each pixel coded as one of
the labels already known around it under what a network says (`dsc._coding.context.coder`), then the
palette.

CONTEXT is always tried, SCAN where boundaries are not plainly smooth, and JPEG XL where something
says that it may be smaller (`dsc._codecs.label.likely`). The fastest effort has SCAN in place of
CONTEXT, the best tries all.
"""

from collections.abc import Sequence
from typing import ClassVar

from dsc._codecs.base import Array
from dsc._codecs.label.likely import is_smooth
from dsc._codecs.label.palette import Packed, index_named, put_palette
from dsc._codecs.label.scan import LabelMethod, LabelScanCodec, channels_of, headed, little
from dsc._codecs.maps.base import HEADER, MAX_SIDE, ModelTaskCodec
from dsc._coding.context.coder import decode_labels, encode_labels
from dsc._coding.context.lattice import Ids
from dsc._coding.context.network import LabelModel
from dsc._coding.context.weights import cached_model, shipped_file
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder
from dsc._schemas import Effort, Task


class LabelContextCodec(ModelTaskCodec, LabelScanCodec):
    """Lossless whatever the quality.

    Parameters
    ----------
    tasks
        Label maps of any integers.
    weights
        A model file (`dsc._coding.context.weights`).
    """

    id: ClassVar[str] = "label-context"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        super().__init__(tasks, weights)
        self._model = cached_model(weights)

    @staticmethod
    def shipped() -> bytes:
        """Return the model file that comes with dsc."""
        return shipped_file()

    def modelled(self, array: Array, ids: Ids, palette: Packed) -> list[bytes]:
        """Encode a map as labels, in each way that may be the best."""
        if self.effort is Effort.FAST:
            return super().modelled(array, ids, palette)
        own = self._encode_context(array, ids, palette)
        if self.effort is Effort.DEFAULT and is_smooth(ids, palette.shape[1], len(own)):
            return [own]
        return [own, *super().modelled(array, ids, palette)]

    def _encode_context(self, array: Array, ids: Ids, palette: Packed) -> bytes:
        encoder = SymbolEncoder()
        encode_labels(encoder, self._model, ids)
        put_palette(encoder, palette, array.dtype, channels_of(array.shape))
        return headed(LabelMethod.CONTEXT, array, encoder.finish())

    def encode_named(self, labels: Ids, names: Array, below: int) -> bytes | None:
        """Encode ``names[labels]`` by its context, or as one label; None where it is no shorter.

        Parameters
        ----------
        labels
            (H, W) uint16
        names
            (n, channels), all different, of at most 8 bytes each.
        below
            Bytes that it is to be shorter than.
        """
        if max(labels.shape) > MAX_SIDE:
            return None
        if (labels == labels[0, 0]).all():
            method, body = LabelMethod.CONSTANT, little(names[labels[0, 0]])
        else:
            most = below - 1 - HEADER.size
            method, words = LabelMethod.CONTEXT, _encode_named(self._model, labels, names, most)
            if words is None:
                return None
            body = words
        coded = HEADER.pack(method, *labels.shape) + body
        return coded if len(coded) < below else None

    def read_ids(self, method: LabelMethod, decoder: SymbolDecoder, shape: Sequence[int]) -> Ids:
        """Read what `modelled` wrote, (H, W); anything raised is damage."""
        if method is LabelMethod.CONTEXT:
            return decode_labels(decoder, self._model, shape[0], shape[1])
        return super().read_ids(method, decoder, shape)


def _encode_named(model: LabelModel, labels: Ids, names: Array, most: int) -> bytes | None:
    """Return the words of ``names[labels]``; None when they are known to be more than `most`."""
    ids, palette = index_named(labels, names)
    encoder = SymbolEncoder()
    if not encode_labels(encoder, model, ids, 8 * most):
        return None
    put_palette(encoder, palette, names.dtype, names.shape[1])
    return encoder.finish()
