"""Codes a label map as entropy-coded symbols: one walk through the lattice for both directions.

`encode_labels` and `decode_labels` do so by the kernel in `dsc/_kernels/labels.c`. `walk` is its
twin and the reference. It asks a port for every symbol: a writing port is told the symbol, a
reading port finds it in the bitstream; everything else (contexts, tables, order) is the same code
for both.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dsc import _kernels
from dsc._coding.context import escapes
from dsc._coding.context.lattice import (
    LEVELS,
    MARGIN,
    PHASES,
    Grid,
    Ids,
    Index,
    level_of,
    offsets_of,
    pixels_of,
    steps_of,
)
from dsc._coding.context.neighbours import CALM, NO_LABEL, calmness, contexts
from dsc._coding.context.network import DECISIONS, LabelModel, compiled_model
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, Tables
from dsc.errors import BitstreamError

CHUNK = 1 << 11  # pixels whose contexts are held at once
CALM_TABLES = CALM * LEVELS * len(PHASES)
Int = NDArray[np.int32]


def encode_labels(
    encoder: SymbolEncoder, model: LabelModel, labels: Ids, most_bits: int | None = None
) -> bool:
    """Append a map.

    Parameters
    ----------
    labels
        (H, W) uint16, numbered in the order in which they are met
        (`dsc._coding.context.lattice.meeting_order`).
    most_bits
        Encoding may end early where it takes more.

    Returns
    -------
    bool
        Whether the map was appended: not where encoding has ended early.
    """
    if not (_kernels.in_use() and _fits(labels.shape)):
        walk(Writer(encoder), model, (labels.shape[0], labels.shape[1]), labels)
        return True
    most = -1.0 if most_bits is None else float(max(most_bits, 0))
    compiled = compiled_model(model)
    coded = _kernels.compiled.label_encode(compiled, np.ascontiguousarray(labels), most)
    if coded is None:
        return False
    encoder.put_intervals(np.frombuffer(coded, np.uint32).reshape(-1, 2))
    return True


def encode_levels(model: LabelModel, labels: Ids, step: int) -> tuple[SymbolEncoder, SymbolEncoder]:
    """Encode a map in two parts: the level of a step, and what is finer.

    Parameters
    ----------
    labels
        As of `encode_labels`.
    step
        A power of two; the first part holds every step-th pixel of every step-th row.

    Returns
    -------
    Each part by itself. Together they have the symbols of `encode_labels`, in its order.
    """
    coarse, fine = SymbolEncoder(), SymbolEncoder()
    if _kernels.in_use() and _fits(labels.shape):
        compiled, array = compiled_model(model), np.ascontiguousarray(labels)
        whole = _intervals(_kernels.compiled.label_encode(compiled, array))
        first = _intervals(_kernels.compiled.label_encode(compiled, array, -1.0, step))
        coarse.put_intervals(first)
        fine.put_intervals(whole[len(first) :])
    else:
        size = labels.shape[0], labels.shape[1]
        level = walk(Writer(coarse), model, size, labels, finest=step)
        walk(Writer(fine), model, size, labels, known=(level, step))
    return coarse, fine


def _intervals(coded: bytes | None) -> NDArray[np.uint32]:
    return np.frombuffer(coded or b"", np.uint32).reshape(-1, 2)


def decode_level(
    decoder: SymbolDecoder, model: LabelModel, height: int, width: int, step: int
) -> Ids:
    """Read the level of a step of a map of (height, width); see `encode_levels`.

    Returns
    -------
    (⌈height / step⌉, ⌈width / step⌉) uint16, numbered in the order in which they are met.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    if not (_kernels.in_use() and _fits((height, width))):
        return walk(Reader(decoder), model, (height, width), None, finest=step)
    labels = np.empty((-(-height // step), -(-width // step)), np.uint16)
    return _read(decoder, model, labels, None, 1, step)


def decode_finer(
    decoder: SymbolDecoder,
    model: LabelModel,
    height: int,
    width: int,
    known: tuple[Ids, int],
) -> Ids:
    """Read a map of which a level is known; see `encode_levels`.

    Parameters
    ----------
    known
        What `decode_level` gave, and the step.

    Returns
    -------
    (height, width) uint16, numbered in the order in which they are met.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    if not (_kernels.in_use() and _fits((height, width))):
        return walk(Reader(decoder), model, (height, width), None, known=known)
    return _read(decoder, model, np.empty((height, width), np.uint16), *known, 1)


def decode_labels(decoder: SymbolDecoder, model: LabelModel, height: int, width: int) -> Ids:
    """Read a map: (height, width) uint16, numbered in the order in which they are met.

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    if not (_kernels.in_use() and _fits((height, width))):
        return walk(Reader(decoder), model, (height, width), None)
    return _read(decoder, model, np.empty((height, width), np.uint16), None, 1, 1)


def _read(
    decoder: SymbolDecoder,
    model: LabelModel,
    labels: Ids,
    known: Ids | None,
    step: int,
    finest: int,
) -> Ids:
    """Read by the kernel, which says what the arguments are, into `labels`; return them."""
    level = None if known is None else np.ascontiguousarray(known)
    try:
        _kernels.compiled.label_decode(
            compiled_model(model), decoder.words, decoder.state, labels, level, step, finest
        )
    except ValueError as error:
        raise BitstreamError(str(error)) from None
    return labels


def _fits(size: tuple[int, ...]) -> bool:
    """Tell whether the kernel numbers the pixels of a map with 31 bits."""
    return (size[0] + 2 * MARGIN) * (size[1] + 2 * MARGIN) < 1 << 31


class Port(Protocol):
    """Where symbols go to or come from."""

    def code(self, symbols: Int | None, index: NDArray[np.uint8], tables: Tables) -> Int:
        """Code as many symbols as `index` has; give them back."""
        ...


@dataclass(frozen=True)
class Writer:
    """A port into a bitstream."""

    encoder: SymbolEncoder

    def code(self, symbols: Int | None, index: NDArray[np.uint8], tables: Tables) -> Int:
        """Write `symbols`."""
        if symbols is None:
            raise BitstreamError("a writer was given no symbols")
        self.encoder.put(symbols, index, tables)
        return symbols


@dataclass(frozen=True)
class Reader:
    """A port from a bitstream."""

    decoder: SymbolDecoder

    def code(self, symbols: Int | None, index: NDArray[np.uint8], tables: Tables) -> Int:
        """Read symbols."""
        return self.decoder.get(index, tables)


def walk(
    port: Port,
    model: LabelModel,
    size: tuple[int, int],
    truth: Ids | None,
    finest: int = 1,
    known: tuple[Ids, int] | None = None,
) -> Ids:
    """Code a map, or decode one.

    Parameters
    ----------
    size
        (H, W)
    truth
        (H, W) uint16 labels, numbered in the order in which they are met
        (`dsc._coding.context.lattice.meeting_order`); None when they are to be read.
    finest
        The step of the last level that is coded.
    known
        A level that is known already, and its step; what is coded begins with the next one.

    Returns
    -------
    The labels (H, W) uint16, so numbered; of the level `finest`

    Raises
    ------
    BitstreamError
        When what is read is no map.
    """
    grid = Grid.start() if known is None else Grid.of(known[0])
    n_known = int(grid.inner.max()) + 1
    before = None if known is None else known[1]
    for step in steps_of(*size):
        if step < finest or (before is not None and step >= before):
            continue
        grid = grid.refined(-(-size[0] // step), -(-size[1] // step))
        for number in range(len(PHASES)):
            given = None if truth is None else pixels_of(number, truth[::step, ::step])
            places = grid.places(number)
            if len(places):
                phase = Phase(port, model, number, level_of(step), grid, places, given)
                labels = phase.code(n_known)
                n_known = max(n_known, int(labels.max()) + 1)
                if n_known > escapes.MAX_LABELS:
                    raise BitstreamError(f"{n_known} labels, more than a bitstream can name")
                grid.padded.ravel()[places] = labels
                grid.extend()
    return grid.inner


@dataclass(frozen=True)
class Phase:
    """One phase of one level.

    Attributes
    ----------
    number, level
        Of the phase; of the level, as models know it.
    places
        (n,) of its pixels in the flat padded grid.
    truth
        (n,) their labels, when they are to be written.
    """

    port: Port
    model: LabelModel
    number: int
    level: int
    grid: Grid
    places: Index
    truth: Ids | None

    def code(self, n_known: int) -> Ids:
        """Return the labels (n,) of the pixels; `n_known` labels were met before."""
        calm = pixels_of(self.number, calmness(self.grid, self.number))
        labels = np.empty(len(self.places), np.uint16)
        candidates = np.full((DECISIONS, len(self.places)), NO_LABEL, np.uint16)
        missed = np.zeros(len(self.places), bool)
        self._code_calm(calm, labels, candidates, missed)
        self._code_busy(np.flatnonzero(calm == 0), labels, candidates, missed)
        if missed.any():
            at = np.flatnonzero(missed)
            ranking = escapes.Ranking(self.grid.inner, n_known, candidates[:, at])
            wanted = None if self.truth is None else ranking.symbols(self.truth[at])
            table = escapes.table_index(self.level, n_known)
            index = np.full(len(at), table, np.uint8)
            labels[at] = ranking.labels(self.port.code(wanted, index, self.model.escapes))
        return labels

    def _code_calm(
        self, calm: NDArray[np.uint8], labels: Ids, candidates: Ids, missed: NDArray[np.bool_]
    ) -> None:
        """Code whether the pixels without a boundary near them are like the nearest neighbour."""
        down, right = offsets_of(self.number)[0]
        move = down * self.grid.padded.shape[1] + right
        np.take(self.grid.padded.ravel(), self.places + move, out=labels)
        at = np.flatnonzero(calm)
        candidates[0, at] = labels[at]
        index = calm_index(self.number, self.level, calm[at])
        missed[at] = ~self._decide(at, labels[at], index, self.model.calm)

    def _code_busy(
        self, at: Index, labels: Ids, candidates: Ids, missed: NDArray[np.bool_]
    ) -> None:
        """Code which of its candidates each of the pixels `at` is like, if any."""
        offsets = offsets_of(self.number)
        logits = np.empty((DECISIONS, len(at)), np.uint8)
        for start in range(0, len(at), CHUNK):
            part = slice(start, start + CHUNK)
            around = contexts(self.grid, self.places[at[part]], offsets)
            candidates[:, at[part]] = around.candidates
            logits[:, part] = self.model.logits(self.number, self.level, around.features)
        unlike = np.ones(len(at), bool)
        for decision in range(DECISIONS):
            left = np.flatnonzero(unlike)
            offered = candidates[decision, at[left]]
            there = offered != NO_LABEL
            asked, offered = left[there], offered[there]
            table = self.model.decisions[decision]
            like = self._decide(at[asked], offered, logits[decision, asked], table)
            labels[at[asked[like]]] = offered[like]
            unlike[asked[like]] = False
        missed[at[unlike]] = True

    def _decide(
        self, at: Index, offered: Ids, index: NDArray[np.uint8], tables: Tables
    ) -> NDArray[np.bool_]:
        """Code whether pixels have the labels that are offered to them."""
        if not len(at):
            return np.zeros(0, bool)
        wanted = None if self.truth is None else (self.truth[at] == offered).astype(np.int32)
        found = self.port.code(wanted, index, tables)
        if not 0 <= found.min() <= found.max() <= 1:
            raise BitstreamError("a decision is neither yes nor no; the bitstream is damaged")
        return found.astype(bool)


def calm_index(phase: int, level: int, calm: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the tables of pixels whose calmness is 1 to `CALM`."""
    return ((phase * LEVELS + level) * CALM + calm - 1).astype(np.uint8)
