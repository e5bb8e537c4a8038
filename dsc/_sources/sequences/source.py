"""Any source, its frames in the order of their recordings.

Frames of a recording lie together, in rising order of their numbers; everything else is the
source's. What tells recordings is part of the description, so a plan is good for this very order.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dsc._schemas import SequencePlace, SourceReport
from dsc._sources.base import (
    RecordedSource,
    SequenceSource,
    Source,
    check_files,
    name_of,
    report_of,
    splits_of,
)
from dsc._sources.reindexed import ReindexedSource
from dsc._sources.sequences.places import Places, check_told, find_places, notes_on
from dsc._sources.sequences.rules import SequenceRule
from dsc.errors import UsageError

SEQUENCED = "sequences"  # the entry of a description that says how


class SequencedSource(ReindexedSource):
    """Samples of another source in the order of their recordings; see `dsc._sources.base.Source`.

    Parameters
    ----------
    source
        The samples.
    by
        What was said of recordings; None for the layout's own rule.
    places
        Where the samples stand.
    """

    name: ClassVar[str] = "sequenced"

    def __init__(self, source: Source, by: str | None, places: Places) -> None:
        super().__init__(source, places.order)
        self._by, self._places = by, places
        self._notes = tuple(notes_on(source, places)) if places.names else ()

    @property
    def splits(self) -> dict[str, int]:
        """Number of samples by split, as the source has them."""
        return splits_of(self._source)

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands in a recording; None where it is of none."""
        self._at(index)
        return self._places.place(index)

    def check(self, tasks: Sequence[str]) -> None:
        """Look at the files of these tasks; see `CheckedSource`."""
        check_files(self._source, tasks)

    def report(self) -> SourceReport:
        """Say what the source found, decided and left out, and which recordings there are."""
        report = report_of(self._source)
        return report.model_copy(update={"notes": (*report.notes, *self._notes)})

    def describe(self) -> dict[str, Any]:
        """Describe the source and what tells its recordings; see `Source.describe`."""
        own, places = self._source.describe(), self._places
        digest = hashlib.sha256(str(own.get("fingerprint", "")).encode())
        digest.update(repr(places.names).encode("utf-8", "surrogateescape"))
        for column in (places.order, places.sequence, places.frame, places.time):
            digest.update(column.astype("<i8").tobytes())
        return {**own, SEQUENCED: {"by": self._by}, "fingerprint": digest.hexdigest()}


def in_sequences(source: Source, by: str | None = None) -> Source:
    """Return a source with its frames in the order of their recordings.

    A source that tells places itself, or knows of no recordings, is returned as it is.

    Parameters
    ----------
    by
        A rule as ``--sequence-by`` has it, for names of the samples; None for what the source
        itself says.

    Raises
    ------
    UsageError
        When the rule cannot be understood or fits no sample, or a source that tells places breaks
        what it promises; and what `find_places` raises.
    """
    recorded = source if isinstance(source, RecordedSource) and by is None else None
    text = by if recorded is None else recorded.sequence_rule
    if by is None and isinstance(source, SequenceSource):
        check_told(source, splits_of(source))
        return source
    if text is None:
        return source
    rule = SequenceRule.parse(text)
    if rule.pattern is None and not isinstance(source, SequenceSource):
        return source
    places = find_places(source, rule, recorded)
    if rule.pattern is not None and not places.names:
        if by is None:
            return source
        places = find_places(source, rule, called=_key)
    if rule.pattern is not None and not places.names:
        some = ", ".join(name_of(source, index) for index in _spread(len(source)))
        raise UsageError(
            f"--sequence-by {by}: no sample is called like that; they are called such as {some}"
            f"{_keys_too(source)}"
        )
    return SequencedSource(source, by, places)


def _key(source: Source, index: int) -> str:
    return source.key(index)


def _keys_too(source: Source) -> str:
    """Say what a key is, where keys are not the names: the rule was tried on them, too."""
    is_key = not len(source) or source.key(0) == name_of(source, 0)
    return "" if is_key else f", with keys such as {source.key(0)}"


def _spread(count: int) -> list[int]:
    """Return a few indices: the first, the middle, the last."""
    return np.unique([0, count // 2, count - 1]).tolist() if count else []
