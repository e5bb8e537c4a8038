"""Any source, its samples parted into the splits that people state.

Samples come split by split, each in the source's own order; everything else is the source's. What
parts them is part of the description, so a plan is good for these very splits.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dsc._schemas import SequencePlace, SourceReport
from dsc._sources.base import (
    Source,
    check_files,
    report_of,
)
from dsc._sources.reindexed import ReindexedSource
from dsc._sources.splits.assign import assign, cut_recordings
from dsc._sources.splits.lists import locate
from dsc._sources.splits.rules import SplitRules
from dsc.errors import UsageError

PARTED = "parted"  # the entry of a description that says how


class PartedSource(ReindexedSource):
    """Samples of another source, split by split; see `dsc._sources.base.Source`.

    Parameters
    ----------
    source
        The samples.
    rules
        What parts them.
    found
        By split, the indices of its samples.
    cut
        The recordings that are in several splits: in each, a part of it is a recording of its own.
    """

    name: ClassVar[str] = "parted"

    def __init__(
        self,
        source: Source,
        rules: SplitRules,
        found: Mapping[str, NDArray[np.int64]],
        cut: Collection[str] = (),
    ) -> None:
        super().__init__(source, np.concatenate([np.zeros(0, np.int64), *found.values()]))
        self._rules = rules
        self._sizes = {split: len(indices) for split, indices in found.items()}
        self._cut = frozenset(cut)

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split, in order."""
        return dict(self._sizes)

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording, or in its split's part of one."""
        place = super().place(index)
        if place is None or place.sequence not in self._cut:
            return place
        ends = list(accumulate(self._sizes.values()))
        split = list(self._sizes)[bisect_right(ends, index)]
        return place._replace(sequence=f"{place.sequence}/{split}")

    def check(self, tasks: Sequence[str]) -> None:
        """Look at the files of these tasks; see `CheckedSource`."""
        check_files(self._source, tasks)

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out, and how its samples are parted."""
        report = report_of(self._source)
        sizes = ", ".join(f"{split or 'none'} {count:,}" for split, count in self._sizes.items())
        dropped = len(self._source) - len(self)
        left = f"; {dropped:,} samples left out" if dropped else ""
        notes = (*report.notes, f"splits {_how(self._rules)}: {sizes}{left}")
        if not dropped:
            return report.model_copy(update={"notes": notes})
        return report.model_copy(update={"notes": notes, **self._counts(report)})

    def _counts(self, report: SourceReport) -> dict[str, Any]:
        """Count again what samples have, where some are left out."""
        names = list(report.tasks)
        there = dict.fromkeys(names, len(self))
        complete = len(self)
        for index in range(len(self)):
            lacking = self.lacks(index, names)
            complete -= bool(lacking)
            for name in lacking:
                there[name] -= 1
        tasks = {
            name: one.model_copy(update={"samples": there[name]})
            for name, one in report.tasks.items()
        }
        return {"samples": len(self), "complete": complete, "tasks": tasks}

    def describe(self) -> dict[str, Any]:
        """Describe the source and how it is parted; see `Source.describe`."""
        own = self._source.describe()
        digest = hashlib.sha256(str(own.get("fingerprint", "")).encode())
        digest.update(repr(list(self._sizes.items())).encode())
        digest.update(self._indices.astype("<i8").tobytes())
        return {**own, PARTED: self._rules.to_json(), "fingerprint": digest.hexdigest()}


def part(source: Source, rules: SplitRules | None, root: str | None) -> Source:
    """Return a source with its samples parted, or itself where there is nothing to part.

    Parameters
    ----------
    root
        Of the data: lists are looked for there, too.

    Raises
    ------
    UsageError
        When the samples cannot be parted so (see `dsc._sources.splits.assign.assign`), or frames of
        one recording would be in two splits, unless the rules allow it.
    """
    if rules is None:
        return source
    located = {split: locate(path, root) for split, path in rules.files.items()}
    rules = replace(rules, files=located)
    found = assign(source, rules)
    cut = cut_recordings(source, found)
    if cut and not rules.cuts:
        name, where = next(iter(cut.items()))
        raise UsageError(
            f"recording {name} would be cut: {where}. Frames of one recording are much alike, so "
            "put all into one split, say with --sequence-by what tells recordings apart, or cut "
            f"{len(cut):,} of them with --cut-sequences"
        )
    return PartedSource(source, rules, found, cut)


def _how(rules: SplitRules) -> str:
    if rules.files:
        return "by the lists " + ", ".join(rules.files.values())
    return f"by {rules.way}:{rules.argument}" if rules.way else "as chosen"
