"""Bits of every latent channel, as in Fig. 5 and 6 of Alvandian and Bachmann.

What is decoded is what was paid for: while a codec unpacks a bitstream, each symbol that the
entropy decoder gives is charged -log2 of its probability in its integer table, and an escape its
plain bits as well. Of a codec only this is known: it has `unpack_latents`; it decodes by one
`dsc._coding.entropy.SymbolDecoder` a stream, the hyper-latent (1, Cz, h, w) first where it has one,
then the latent, whole or in the steps of `dsc._coding.steps`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import LatentCodec
from dsc._coding.entropy import ESCAPE_BITS, PRECISION, SymbolDecoder, Tables
from dsc._coding.steps import step_elements
from dsc._threads import single_thread
from dsc.errors import CodecError

Float = NDArray[np.float64]


@dataclass
class StreamBits:
    """Bits of one stream's symbols, all samples.

    Attributes
    ----------
    hyper
        (Cz,) by channel of the hyper-latent; empty where there is none.
    latent
        (C,) by channel of the latent.
    """

    hyper: Float = field(default_factory=lambda: np.zeros(0))
    latent: Float = field(default_factory=lambda: np.zeros(0))

    @property
    def total(self) -> float:
        """All bits."""
        return float(self.hyper.sum() + self.latent.sum())


def channel_bits(
    codec: object, coded: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
) -> dict[str, StreamBits]:
    """Return the bits of each channel of each stream that decoding `tasks` reads.

    Parameters
    ----------
    codec
        One with `unpack_latents`.
    coded
        Streams by name, a mapping a sample.
    tasks
        Decoded together.
    max_pixels
        As for `Codec.decode_batch`.

    Returns
    -------
    dict
        By stream; empty for a codec without latents.

    Raises
    ------
    CodecError
        When the codec orders its symbols in a way that is not known here.
    """
    found: dict[str, StreamBits] = {}
    if not isinstance(codec, LatentCodec):
        return found
    for streams in coded:
        with single_thread(), _recorded() as decoders:
            latents = codec.unpack_latents(streams, tasks, max_pixels)
        for words, parts in decoders:
            name = _stream_of(words, streams)
            if name is not None and parts and latents is not None:
                wanted = latents.streams[name].symbols
                bits = found.setdefault(name, StreamBits())
                first = int(sum(part.symbols.size for part in parts) > wanted.size)
                for hyper in parts[:first]:
                    bits.hyper = _sum(bits.hyper, hyper.bits.sum((0, 2, 3)))
                latent = _in_place(parts[first:], wanted, name)
                bits.latent = _sum(bits.latent, latent.sum((1, 2)))
    return found


def symbol_bits(symbols: NDArray[np.int32], indexes: NDArray[np.uint8], tables: Tables) -> Float:
    """Return -log2 p of symbols under their tables, in bits, in the shape of `symbols`.

    Parameters
    ----------
    symbols
        int32, any shape.
    indexes
        The table of each.
    tables
        Integer frequencies out of 2^16.
    """
    table = indexes.astype(np.int64)
    escape = tables.escapes[table].astype(np.int64)
    entry = symbols.astype(np.int64) - tables.lows[table]
    outside = (entry < 0) | (entry >= escape)
    entry = np.where(outside, escape, entry)
    frequency = tables.frequencies[tables.offsets[table] + entry]
    bits: Float = PRECISION - np.log2(frequency.astype(np.float64)) + ESCAPE_BITS * outside
    return bits


@dataclass(frozen=True)
class _Part:
    symbols: NDArray[np.int32]
    bits: Float


@contextmanager
def _recorded() -> Iterator[list[tuple[bytes, list[_Part]]]]:
    """Keep the bits of all symbols that are decoded in this block: (words, parts) a decoder."""
    decoders: list[tuple[bytes, list[_Part]]] = []
    parts_of: dict[int, list[_Part]] = {}
    begin, get = SymbolDecoder.__init__, SymbolDecoder.get

    def recording_begin(self: SymbolDecoder, data: bytes | memoryview) -> None:
        begin(self, data)
        parts_of[id(self)] = []
        decoders.append((bytes(data), parts_of[id(self)]))

    def recording_get(
        self: SymbolDecoder, indexes: NDArray[np.uint8], tables: Tables
    ) -> NDArray[np.int32]:
        symbols = get(self, indexes, tables)
        parts_of[id(self)].append(_Part(symbols, symbol_bits(symbols, indexes, tables)))
        return symbols

    try:
        SymbolDecoder.__init__, SymbolDecoder.get = recording_begin, recording_get  # type: ignore[method-assign]
        yield decoders
    finally:
        SymbolDecoder.__init__, SymbolDecoder.get = begin, get  # type: ignore[method-assign]


def _stream_of(words: bytes, streams: Mapping[str, bytes]) -> str | None:
    """Name the stream that ends with these coder words; headers stand before them."""
    found = [name for name, data in streams.items() if words and bytes(data).endswith(words)]
    return found[0] if len(found) == 1 else None


def _in_place(parts: Sequence[_Part], wanted: NDArray[np.int32], stream: str) -> Float:
    """Return the bits of each element of a latent (C, h, w), whatever the steps it came in."""
    symbols: NDArray[np.int32] = np.concatenate([part.symbols.ravel() for part in parts])
    bits: Float = np.concatenate([part.bits.ravel() for part in parts])
    if len(parts) == 1:
        symbols, bits = symbols.reshape(wanted.shape), bits.reshape(wanted.shape)
    else:  # several steps go position by position
        channels, height, width = wanted.shape
        steps = step_elements(len(parts), channels, height, width)
        where = np.argsort(np.concatenate([step.numpy() for step in steps]))
        positions = (height, width, channels)
        symbols = symbols[where].reshape(positions).transpose(2, 0, 1)
        bits = bits[where].reshape(positions).transpose(2, 0, 1)
    if not np.array_equal(symbols, wanted):
        raise CodecError(f"stream {stream}: its symbols come in an order that is not known here")
    return bits


def _sum(before: Float, more: Float) -> Float:
    return before + more if before.size else more
