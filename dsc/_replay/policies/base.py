"""What stays in a replay buffer: policies, which see the index and never a pixel, file or codec.

A policy is a pure function with a name. It is given every exemplar that is there or offered
(labels, bytes, random keys, features of the new ones) and a budget in bytes, and says which stay,
and in what order they are stored. What it must remember between calls it returns as a few small
arrays, its state, whose bytes count against the budget. The storage does not know how it decides.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
State = Mapping[str, NDArray[Any]]

NO_CUT = 1 << 32
"""A cut that lets every random key pass."""

CUT_BYTES = 4


@dataclass(frozen=True)
class ExemplarTable:
    """What a policy sees, one row an exemplar, in storage order with the new ones last.

    Attributes
    ----------
    labels
        (N,) int64.
    costs
        (N,) int64, bytes in the file, index included.
    random
        (N,) uint32, uniform and independent.
    qualities
        (N,) int64, 1 to 100, at which each is encoded.
    fresh
        (N,) bool, True where offered now.
    features
        (number of fresh, D) float; None when none were given.
    """

    labels: Ints
    costs: Ints
    random: NDArray[np.uint32]
    qualities: Ints
    fresh: NDArray[np.bool_]
    features: NDArray[Any] | None = None


@dataclass(frozen=True)
class PolicyChoice:
    """What a policy decides.

    Attributes
    ----------
    keep
        (M,) int64, rows that stay, in the order in which they are to be stored.
    state
        What the policy must be given next time.
    lower
        Rows to encode again, each at this quality; the policy is then asked once more.
    """

    keep: Ints
    state: State
    lower: Mapping[int, int] = field(default_factory=dict)


class Policy(Protocol):
    """What decides which exemplars stay; an object of your own class may.

    A policy has no state of its own: what it must remember from call to call it returns as arrays,
    and equal arguments must give equal answers, or a resumed run is another one. A buffer made with
    a policy of your own is opened for writing with it: ``ReplayBuffer(path, policy=Newest())``;
    reading needs none. Only dsc's own policies merge.

    Attributes
    ----------
    name
        The word that names it.
    in_parts
        Whether samples may be offered in parts, by ascending random key; else all at once.
    mergeable
        Whether buffers that saw different data merge into what one would have kept.

    Examples
    --------
    What came last stays, as much of it as fits:

    >>> import numpy as np
    >>> from dsc import ReplayBuffer
    >>> from dsc.replay import ExemplarTable, PolicyChoice
    >>> class Newest:
    ...     name, in_parts, mergeable = "newest", False, False
    ...
    ...     def config(self):
    ...         return {"name": self.name}
    ...
    ...     def admits(self, labels, random, state):
    ...         return np.ones(len(labels), bool)
    ...
    ...     def quality(self, wanted, state):
    ...         return wanted
    ...
    ...     def select(self, rows: ExemplarTable, budget: int, state) -> PolicyChoice:
    ...         newest_first = np.arange(len(rows.costs))[::-1]  # new ones are the last rows
    ...         fits = np.cumsum(rows.costs[newest_first]) <= budget
    ...         return PolicyChoice(keep=np.sort(newest_first[fits]), state={})
    ...
    ...     def merged(self, states):
    ...         return {}
    >>> images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8)
    >>> with ReplayBuffer("newest.h5", "10kB", "raw", policy=Newest()) as buffer:
    ...     for at in range(0, 30, 10):
    ...         buffer.add(images[at : at + 10], labels=np.arange(at, at + 10))
    ...     kept = buffer.targets.tolist()
    >>> kept
    [18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]
    """

    name: ClassVar[str]
    in_parts: ClassVar[bool]
    mergeable: ClassVar[bool]

    def config(self) -> dict[str, Any]:
        """Return JSON values that make the policy again; `name` is one.

        They are kept in the buffer, and compared when it is opened with a policy.
        """
        ...

    def admits(self, labels: Ints, random: NDArray[np.uint32], state: State) -> NDArray[np.bool_]:
        """Tell which offered samples could stay; others are not even encoded.

        Parameters
        ----------
        labels
            (N,) int64, classes of the samples offered.
        random
            (N,) uint32, their random keys.
        state
            As `select` returned it; empty at first.

        Returns
        -------
        (N,) bool.
        """
        ...

    def quality(self, wanted: int, state: State) -> int:
        """Return the quality, 1 to 100, of new samples, where `wanted` is asked for."""
        ...

    def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
        """Choose what stays of all that is there and all that is new.

        Parameters
        ----------
        rows
            What is there in storage order, then what is new.
        budget
            Bytes that the rows kept and the state may cost together: the sum of ``rows.costs`` and
            of the arrays' ``nbytes``. A choice that costs more is refused, and nothing is changed.
        state
            As it was returned last time; empty at first.
        """
        ...

    def merged(self, states: Sequence[State]) -> State:
        """Return the state of a buffer made of several."""
        ...


class Reservoir:
    """A uniform sample of everything offered, as large as fits.

    Reservoir sampling (Vitter, "Random Sampling with a Reservoir", ACM TOMS 1985, algorithm R) in
    its form with random keys: a sample of the N smallest keys is uniform.

    The exemplars of the smallest random keys stay, as many as fit. The *cut* is the smallest key
    that did not fit: nothing at or above it is ever taken, so what stays depends neither on the
    order nor on the parts in which the data came, and buffers merge exactly.
    """

    name: ClassVar[str] = "reservoir"
    in_parts: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True

    def config(self) -> dict[str, Any]:
        """Return the JSON that makes the policy again."""
        return {"name": self.name}

    def admits(self, labels: Ints, random: NDArray[np.uint32], state: State) -> NDArray[np.bool_]:
        """Admit what is below the cut."""
        return random < _cut(state)

    def quality(self, wanted: int, state: State) -> int:
        """Return the quality asked for."""
        return wanted

    def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
        """Keep the smallest random keys that fit."""
        order = np.argsort(rows.random, kind="stable")
        order = order[rows.random[order] < _cut(state)]
        over = np.cumsum(rows.costs[order]) > budget - CUT_BYTES
        if not over.any():
            return PolicyChoice(np.sort(order), state)
        cut = rows.random[order[over.argmax()]]  # of equal keys, none stays: no order decides
        keep = np.sort(order[rows.random[order] < cut])
        return PolicyChoice(keep, {"cut": np.array([cut], np.uint32)})

    def merged(self, states: Sequence[State]) -> State:
        """Take the smallest cut."""
        cut = min((_cut(state) for state in states), default=NO_CUT)
        return {} if cut == NO_CUT else {"cut": np.array([cut], np.uint32)}


class ClassBalanced:
    """Equal bytes for every class; what a small class leaves over goes to the others.

    iCaRL's rule of equal shares, m = K / t (Rebuffi et al., CVPR 2017, algorithm 2), in bytes.

    Within a class the exemplars of the smallest random keys stay. A class that had to give up a key
    keeps it as its *cut*, and takes nothing at or above it.
    """

    name: ClassVar[str] = "class-balanced"
    in_parts: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True

    def config(self) -> dict[str, Any]:
        """Return the JSON that makes the policy again."""
        return {"name": self.name}

    def admits(self, labels: Ints, random: NDArray[np.uint32], state: State) -> NDArray[np.bool_]:
        """Admit what is below the cut of its class."""
        cuts = class_values(state, "cuts")
        limit = np.array([cuts.get(label, NO_CUT) for label in labels.tolist()], np.int64)
        return random < limit

    def quality(self, wanted: int, state: State) -> int:
        """Return the quality asked for."""
        return wanted

    def select(self, rows: ExemplarTable, budget: int, state: State) -> PolicyChoice:
        """Keep the smallest random keys of every class, equal bytes each."""
        admitted = np.flatnonzero(self.admits(rows.labels, rows.random, state))
        order = admitted[np.lexsort((rows.random[admitted], rows.labels[admitted]))]
        queues = by_class(rows.labels, order)
        room = budget - class_state_bytes(rows.labels, state)
        counts = fill_equally(queues, rows.costs, room)
        kept = [queue[: counts[label]] for label, queue in queues.items()]
        cuts = class_values(state, "cuts")
        for label, queue in queues.items():
            if counts[label] < len(queue):
                cuts[label] = int(rows.random[queue[counts[label]]])
        return PolicyChoice(np.sort(joined(kept)), class_state("cuts", cuts))

    def merged(self, states: Sequence[State]) -> State:
        """Take the smallest cut of every class."""
        cuts: dict[int, int] = {}
        for state in states:
            for label, cut in class_values(state, "cuts").items():
                cuts[label] = min(cut, cuts.get(label, NO_CUT))
        return class_state("cuts", cuts)


def by_class(labels: Ints, order: Ints) -> dict[int, Ints]:
    """Part rows by class; within a class they stay in order."""
    if not len(order):
        return {}
    grouped = order[np.argsort(labels[order], kind="stable")]
    classes, starts = np.unique(labels[grouped], return_index=True)
    parts = np.split(grouped, starts[1:])
    return {int(label): part for label, part in zip(classes, parts, strict=True)}


def fill_equally(queues: Mapping[int, Ints], costs: Ints, budget: int) -> dict[int, int]:
    """Share a budget out equally among classes, taking each queue from its front.

    The class with the fewest bytes takes its next row, again and again; a class whose next row no
    longer fits is done, and so is one with no more rows: the others go on.

    Returns
    -------
    How many rows of its queue each class keeps.
    """
    counts = dict.fromkeys(queues, 0)
    next_costs = {label: costs[queue].tolist() for label, queue in queues.items()}
    heap = [(0, label) for label in queues]
    heapq.heapify(heap)
    left = budget
    while heap:
        used, label = heap[0]
        taken = counts[label]
        if taken == len(next_costs[label]) or next_costs[label][taken] > left:
            heapq.heappop(heap)
            continue
        cost = next_costs[label][taken]
        counts[label] += 1
        left -= cost
        heapq.heapreplace(heap, (used + cost, label))
    return counts


def joined(parts: Sequence[Ints]) -> Ints:
    """Concatenate rows; of no parts, none."""
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def state_bytes(state: State) -> int:
    """Count the bytes of a state in the file."""
    return sum(array.nbytes for array in state.values())


def _cut(state: State) -> int:
    return int(state["cut"][0]) if "cut" in state else NO_CUT


def class_values(state: State, name: str) -> dict[int, int]:
    """Read a number for each class out of a state."""
    if name not in state:
        return {}
    return dict(zip(state["labels"].tolist(), state[name].tolist(), strict=True))


def class_state(name: str, values: Mapping[int, int]) -> State:
    """Make the state that holds a number for each class."""
    if not values:
        return {}
    labels = np.array(sorted(values), np.int64)
    numbers = np.array([values[label] for label in labels.tolist()], np.uint32)
    return {"labels": labels.astype(_label_dtype(labels)), name: numbers}


def class_state_bytes(labels: Ints, state: State) -> int:
    """Count the bytes of a state with a number for each of these classes and those it has."""
    classes = np.union1d(labels, state.get("labels", np.zeros(0, np.int64)).astype(np.int64))
    return len(classes) * (_label_dtype(classes).itemsize + 4)


def _label_dtype(labels: Ints) -> np.dtype[Any]:
    narrow = not len(labels) or (labels.min() >= 0 and labels.max() <= 0xFFFF)
    return np.dtype(np.uint16 if narrow else np.int64)
