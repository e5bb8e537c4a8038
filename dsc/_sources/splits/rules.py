"""What people say of splits, checked: which there are, and by what samples are put into them.

| ``--split-by`` | a sample's split is |
| --- | --- |
| ``hash:train=0.9,val=0.1`` | drawn by its key, or its recording's name: the same for ever |
| ``hash-folder:train=0.9,val=0.1`` | drawn by its directory, so scenes stay together |
| ``folder:2`` | the second directory of its name; ``folder:-1`` the last |
| ``name:train=a*+b*,val=c*`` | the first whose pattern its name, or key, fits |
| ``task:scene`` | what a task of it says: a class, a text, a number |
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from dsc._schemas.manifest import SPLIT
from dsc._sources.meaning.names import name_of_split
from dsc._storage.files.place import absolute
from dsc.errors import UsageError

DROP = "drop"
WAYS = ("hash", "hash-folder", "folder", "name", "task")
LONGEST = 64  # letters of a split's name, which stands in names of files
EXAMPLES = (
    "hash:train=0.9,val=0.1; hash-folder:train=0.9,val=0.1; folder:1; name:train=a*,val=b*; "
    "task:NAME"
)


@dataclass(frozen=True)
class SplitRules:
    """How samples are put into splits.

    Attributes
    ----------
    files
        By split, the file that lists its samples.
    way, argument
        One of `WAYS` and what follows it; empty where nothing is said.
    shares
        By split, the share of samples that hashes are to draw.
    patterns
        By split, patterns of names.
    rest
        The split of samples that are in none, ``drop`` to leave them out, None to refuse them.
    chosen
        The splits that are wanted, in this order; None for all.
    cuts
        Whether frames of one recording may be put into several splits.
    """

    files: Mapping[str, str]
    way: str = ""
    argument: str = ""
    shares: Mapping[str, float] | None = None
    patterns: Mapping[str, tuple[str, ...]] | None = None
    rest: str | None = None
    chosen: tuple[str, ...] | None = None
    cuts: bool = False

    @classmethod
    def parse(
        cls,
        split: str | None = None,
        split_file: Any = None,
        split_by: str | None = None,
        split_rest: str | None = None,
        cut_sequences: bool = False,
    ) -> Self | None:
        """Read what a command line or caller gave; None where nothing parts the samples anew.

        Raises
        ------
        UsageError
            When it cannot be understood, or contradicts itself.
        """
        files = parse_files(split_file)
        chosen = None if split is None else tuple(words(split))
        if cut_sequences and not files and not split_by:
            raise UsageError("--cut-sequences goes with --split-file or --split-by")
        if not files and not split_by and split_rest is None and not _lists(split):
            return None
        if files and split_by:
            raise UsageError("--split-file and --split-by both say what splits are: give one")
        if split_rest is not None and not files and not split_by:
            raise UsageError("--split-rest goes with --split-file or --split-by")
        if split_rest not in (None, DROP):
            check_name(str(split_rest), "--split-rest")
        if split is not None and not chosen:
            raise UsageError("--split: name a split, or several with commas")
        for name in chosen or ():
            check_name(name, "--split")
        made = cls(files, rest=split_rest, chosen=chosen, cuts=cut_sequences)
        return made._by(split_by) if split_by else made

    def _by(self, text: str) -> Self:
        way, _, argument = text.partition(":")
        if way not in WAYS or not argument:
            raise UsageError(f"--split-by {text}: expected one of {EXAMPLES}")
        shares = _shares(text, argument) if way in ("hash", "hash-folder") else None
        patterns = _patterns(text, argument) if way == "name" else None
        if way == "folder" and not re.fullmatch(r"-?[1-9]\d*", argument):
            raise UsageError(f"--split-by {text}: which directory? 1 is the first, -1 the last")
        return replace(self, way=way, argument=argument, shares=shares, patterns=patterns)

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that are stated, in their order; empty where the samples say them."""
        stated = [*self.files, *(self.shares or {}), *(self.patterns or {})]
        rest = [self.rest] if stated and self.rest not in (None, DROP) else []
        return tuple(dict.fromkeys([*stated, *filter(None, rest)]))

    def to_json(self) -> dict[str, Any]:
        """Return what `parse` reads, as JSON; unset options are left out."""
        found = {
            "split": None if self.chosen is None else ",".join(self.chosen),
            "split_file": dict(self.files) or None,
            "split_by": f"{self.way}:{self.argument}" if self.way else None,
            "split_rest": self.rest,
            "cut_sequences": self.cuts or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def words(text: str | Sequence[str]) -> list[str]:
    """Read names with commas."""
    parts = text.split(",") if isinstance(text, str) else text
    return list(dict.fromkeys(part for part in (str(part).strip() for part in parts) if part))


def check_name(name: str, option: str) -> str:
    """Return the name of a split, or refuse one that none can have, with a `UsageError`."""
    if not re.fullmatch(SPLIT, name) or len(name) > LONGEST:
        raise UsageError(
            f"{option} {name!r}: a split's name is of a to z, 0 to 9 and _, begins with a letter "
            f"or digit, and has at most {LONGEST} of them; for example train"
        )
    return name


def parse_files(given: Any) -> dict[str, str]:
    """Read ``train=lists/a.txt,val=lists/b.txt``, or a mapping; ``train.txt`` names its split.

    Raises
    ------
    UsageError
        When a file does not say whose list it is.
    """
    if given is None:
        return {}
    if isinstance(given, str | os.PathLike):
        given = words(os.fspath(given))
    if not isinstance(given, Mapping):
        pairs = [one.partition("=") if _is_pair(one) else ("", "=", one) for one in words(given)]
        given = [(name or _split_of_file(path), path) for name, _, path in pairs]
    else:
        given = list(given.items())
    names = [check_name(str(name).strip(), "--split-file") for name, _ in given]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"--split-file: two lists of {twice}; put them into one")
    return {name: absolute(os.fspath(path)) for name, (_, path) in zip(names, given, strict=True)}


def _lists(split: str | None) -> bool:
    return split is not None and "," in split


def _is_pair(text: str) -> bool:
    return bool(re.match(r"[A-Za-z0-9_]+=", text))


def _split_of_file(path: str) -> str:
    stem = re.split(r"[/\\]", path.partition("?")[0])[-1].partition(".")[0].lower()
    found = name_of_split(stem) or next(
        filter(None, map(name_of_split, re.findall(r"[a-z]+", stem))), None
    )
    if found is None:
        raise UsageError(
            f"--split-file {path}: of which split? Write NAME=FILE, for example train={path}"
        )
    return found


def _shares(text: str, argument: str) -> dict[str, float]:
    found = {}
    for name, value in _pairs(text, argument):
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            raise UsageError(f"--split-by {text}: {name}={value} is no share between 0 and 1")
        found[name] = share
    if math.fsum(found.values()) > 1 + 1e-9:
        raise UsageError(f"--split-by {text}: the shares are more than 1 together")
    return found


def _patterns(text: str, argument: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(filter(None, value.split("+"))) for name, value in _pairs(text, argument)}


def _pairs(text: str, argument: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in argument.split(",") if part.strip()]
    pairs = [(name.strip(), value.strip()) for name, _, value in parts]
    if not pairs or not all(name and value for name, value in pairs):
        raise UsageError(f"--split-by {text}: write SPLIT=VALUE with commas, as in {EXAMPLES}")
    for name, _ in pairs:
        check_name(name, "--split-by")
    if len({name for name, _ in pairs}) < len(pairs):
        raise UsageError(f"--split-by {text}: a split stands in it twice")
    return pairs
