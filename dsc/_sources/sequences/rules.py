r"""How a sample's name says its recording, its frame's number, and its time.

| ``--sequence-by`` | a sample's place |
| --- | --- |
| ``dir`` | its directory (or file of rows) is a recording; the last number in its name counts |
| ``{sequence}/frame-{frame}`` | what stands in these places of its whole name; ``*`` is anything |
| ``{sequence}/{time}`` | time stamps: frames are numbered in the order of their times |
| ``(?P<sequence>.+)_(?P<frame>\d+)`` | the groups of a regular expression of its whole name |
| ``none`` | none: no sample is a frame of a recording |

Where no sample's name fits, keys are read by the same rule: rows have names of numbers only.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from dsc._sources.sequences.times import STAMP, nanoseconds
from dsc.errors import UsageError

ONLY = "recording"  # the name of a recording whose frames' names say none
DIRECTORIES, NOTHING = "dir", "none"
MOST = 1 << 53  # frames' numbers go into columns of floats, too
EXAMPLES = (
    "dir; {sequence}/frame-{frame}; {sequence}/{time}; (?P<sequence>.+)_(?P<frame>\\d+); none"
)
_DIRECTORIES = r"(?:(?P<sequence>.*)[/#])?[^/#]*?(?P<frame>\d+)[^/#\d]*"
_FIELD = re.compile(r"\{([^{}]*)\}|(\*)")
_FIELDS = {
    "sequence": r"(?P<sequence>.+)",
    "frame": r"(?<!\d)(?P<frame>\d+)(?!\d)",
    "time": rf"(?<![\d.])(?P<time>{STAMP})(?!\d)",
}


class NamedPlace(NamedTuple):
    """What a name says: the recording, and number or nanoseconds or both."""

    sequence: str
    frame: int | None
    time_ns: int | None


@dataclass(frozen=True)
class SequenceRule:
    """A rule for names, checked.

    Attributes
    ----------
    text
        As people, or a layout, say it.
    pattern
        Of a whole name, with groups among ``sequence``, ``frame`` and ``time``; None where no
        sample is to be a frame.
    """

    text: str
    pattern: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule.

        Raises
        ------
        UsageError
            When it is none.
        """
        if text == NOTHING:
            return cls(text, None)
        if text == DIRECTORIES:
            return cls(text, re.compile(_DIRECTORIES))
        try:
            pattern = re.compile(text if "(?P<" in text else _from_template(text))
        except re.error as error:
            raise UsageError(f"--sequence-by {text}: {error}; expected one of {EXAMPLES}") from None
        groups = set(pattern.groupindex)
        if not groups & {"frame", "time"}:
            raise UsageError(
                f"--sequence-by {text}: where is the frame's number, or its time? Expected one of "
                f"{EXAMPLES}"
            )
        if groups - set(_FIELDS):
            extra = ", ".join(sorted(groups - set(_FIELDS)))
            raise UsageError(f"--sequence-by {text}: groups are sequence, frame, time; not {extra}")
        return cls(text, pattern)

    def read(self, name: str) -> NamedPlace | None:
        """Return what a sample's name says; None where the rule does not fit.

        Raises
        ------
        ValueError
            When number or time are none that can be kept; the message says the value.
        """
        found = None if self.pattern is None else self.pattern.fullmatch(name)
        if found is None:
            return None
        said = found.groupdict()
        number, stamp = said.get("frame"), said.get("time")
        if (number is None and "frame" in said) or (number is None and stamp is None):
            return None
        frame = None if number is None else _number(number)
        time_ns = None if stamp is None else nanoseconds(stamp)
        return NamedPlace(said.get("sequence") or ONLY, frame, time_ns)


def _from_template(text: str) -> str:
    """Return the regular expression of a name with places in braces."""
    parts, end = [], 0
    for field in _FIELD.finditer(text):
        if field[2] is None and field[1] not in _FIELDS:
            raise UsageError(
                f"--sequence-by {text}: {{{field[1]}}} is none of {{sequence}}, {{frame}}, {{time}}"
            )
        parts += [re.escape(text[end : field.start()]), _FIELDS.get(field[1] or "", ".*")]
        end = field.end()
    return "".join([*parts, re.escape(text[end:])])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no number of a frame")
    if int(text) > MOST:
        raise ValueError(f"{text} is more than a frame's number can be (2^53); is it a {{time}}?")
    return int(text)
