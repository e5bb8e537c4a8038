"""What a published layout looks like, as data: patterns of directories and names, and their tasks.

A `Form` is a list of `Rule`; the first that fits a file says its place. Patterns are of the whole
directory and of the whole name. Their named groups ``a``, ``b``, ``stem`` and the like fill the
rule's templates.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dsc._files.directories import join_path
from dsc._files.formats import can_read
from dsc._schemas.task import spelled
from dsc._sources.folder.layout import STRAY, FilePlace, Layout, Listing, SetAside, SharedPlace
from dsc._sources.meaning.decide import Stated
from dsc._sources.meaning.names import is_task_word, split_of

BELOW = r"(?:(?P<a>.+)/)?"  # whatever lies above the data set's own directories
PICTURES = r"(?i:png|jpe?g|webp|tiff?|jxl)"
LEAST_SHARE = 0.5
IN_GROUP = r"(?:(?P<sequence>.+)/)?"  # what tells the recording, before a frame's name


@dataclass(frozen=True)
class Rule:
    """Files of one form: which they are, their task, and their sample.

    Attributes
    ----------
    where, name
        Patterns of their directory and of their name, which they must match as a whole.
    task
        Name of their task, a template.
    group, stem
        Templates of what tells their sample; parts without value fall out of the group.
    """

    where: str
    name: str
    task: str
    group: str = "{a}/{b}"
    stem: str = "{stem}"


@dataclass(frozen=True)
class SharedRule:
    """Files of a whole recording or scene, one for all of its samples: which, and their task.

    Attributes
    ----------
    path
        Pattern of their whole path; its group ``a`` is the directory of the samples.
    task
        Name of their task, a template.
    """

    path: str
    task: str


@dataclass(frozen=True)
class LeftOutRule:
    """Files that are left out: whole paths that match, why, and the task that they look like."""

    path: str
    why: str
    task: str = ""


@dataclass(frozen=True)
class _DirectoryRule:
    """A rule for the files of one directory, with what the directory says.

    Attributes
    ----------
    known
        The groups of the directory's match.
    task, group
        The task and the group where the directory alone says them, None where names do.
    """

    rule: Rule
    known: Mapping[str, str]
    task: str | None
    group: str | None
    split: str


@dataclass(frozen=True)
class Form:
    """A published layout.

    Attributes
    ----------
    name
        What ``--layout`` calls it.
    why
        What it is recognised by, for people.
    hints
        Words, one of which some directory has: a quick test.
    mark
        Pattern that is found in at least one of its directories.
    rules
        Which files are what.
    needs
        Sets of tasks, one of which must be there.
    beside
        What is left out for a reason.
    shared
        What all samples of a recording or scene have in one file.
    known, pair, arrays, sequence, times
        See `dsc._sources.folder.layout.Layout`.
    also
        Tells from the whole listing whether it is this layout; asked when all else fits.
    """

    name: str
    why: str
    hints: tuple[str, ...]
    mark: str
    rules: tuple[Rule, ...]
    needs: tuple[frozenset[str], ...]
    beside: tuple[LeftOutRule, ...] = ()
    known: Mapping[str, Stated] = field(default_factory=dict)
    pair: Callable[[list[tuple[FilePlace, str]]], Iterable[tuple[FilePlace, str]]] | None = None
    arrays: tuple[str, ...] = ()
    also: Callable[[Listing], bool] | None = None
    shared: tuple[SharedRule, ...] = ()
    sequence: str = ""
    times: str = ""

    def __call__(self, listing: Listing) -> Layout | None:
        """Return the layout of these files, None when they are not laid out like that."""
        everything = "\n".join(listing)
        if not any(hint in everything for hint in self.hints):
            return None
        mark = re.compile(self.mark)
        if not any(mark.search(directory) for directory in listing):
            return None
        if self.also is not None and not self.also(listing):
            return None
        placer = FormPlacer(self)
        tasks: Counter[str] = Counter()
        strays = 0
        for directory, names in listing.items():
            for name in names:
                place = placer(directory, name)
                if isinstance(place, FilePlace):
                    tasks[place.task] += 1
                elif can_read(name) and (place is None or place.why == STRAY):
                    strays += 1
        placed = sum(tasks.values())
        fits = any(needed <= set(tasks) for needed in self.needs)
        if not fits or placed < LEAST_SHARE * (placed + strays):
            return None
        return Layout(
            self.name,
            placer,
            self.why,
            self.known,
            self.pair,
            self.arrays,
            self.sequence,
            self.times,
            placer.shared if self.shared else None,
        )


class FormPlacer:
    """Places files by the rules of a form; what a directory says is worked out once."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._found: dict[str, list[tuple[re.Pattern[str], Rule, re.Match[str]]]] = {}
        self._filled: dict[tuple[str, re.Pattern[str]], _DirectoryRule] = {}
        self._rules = [(re.compile(rule.where), re.compile(rule.name), rule) for rule in form.rules]

    @cached_property
    def _beside(self) -> list[tuple[re.Pattern[str], LeftOutRule]]:
        return [(re.compile(one.path), one) for one in self._form.beside]

    def __call__(self, directory: str, name: str) -> FilePlace | SetAside | None:
        """Return a file's place, or why it has none."""
        found = self._found.get(directory)
        if found is None:
            found = self._found[directory] = list(self._of(directory))
        for pattern, rule, where in found:
            match = pattern.fullmatch(name)
            if match is not None:
                filled = self._filled.get((directory, pattern))
                if filled is None:
                    filled = self._filled[directory, pattern] = _fill(pattern, rule, where)
                return _place(filled, match)
        return self._aside(directory, name)

    @cached_property
    def _shared(self) -> list[tuple[re.Pattern[str], SharedRule]]:
        return [(re.compile(one.path), one) for one in self._form.shared]

    def shared(self, directory: str, name: str) -> SharedPlace | None:
        """Return the place of a file that samples share; None for every other."""
        path = join_path(directory, name)
        for pattern, rule in self._shared:
            match = pattern.fullmatch(path)
            if match is not None:
                words = match.groupdict("")
                return SharedPlace(spelled(rule.task.format_map(words)), words.get("a", ""))
        return None

    def _of(self, directory: str) -> Iterable[tuple[re.Pattern[str], Rule, re.Match[str]]]:
        for where, name, rule in self._rules:
            match = where.fullmatch(directory)
            if match is not None:
                yield name, rule, match

    def _aside(self, directory: str, name: str) -> SetAside | None:
        path = join_path(directory, name)
        for pattern, reason in self._beside:
            if pattern.fullmatch(path):
                return SetAside(reason.why, reason.task)
        last = directory.rpartition("/")[2]
        if can_read(name) and is_task_word(last):
            return SetAside(STRAY, spelled(last))
        return None


def _fill(name: re.Pattern[str], rule: Rule, match: re.Match[str]) -> _DirectoryRule:
    known = {"a": "", "b": "", **{key: text or "" for key, text in match.groupdict().items()}}
    later = [f"{{{key}}}" for key in name.groupindex]
    fixed_task = not any(key in rule.task for key in later)
    fixed_group = not any(key in rule.group for key in later)
    group = _group(rule, known) if fixed_group else None
    return _DirectoryRule(
        rule,
        known,
        spelled(rule.task.format_map(known)) if fixed_task else None,
        group,
        split_of(group.split("/")) if group else "",
    )


def _group(rule: Rule, words: Mapping[str, str]) -> str:
    return "/".join(part for part in rule.group.format_map(words).split("/") if part)


def _place(one: _DirectoryRule, match: re.Match[str]) -> FilePlace | SetAside:
    words: Mapping[str, str] = {**one.known, **match.groupdict("")}
    task = spelled(one.rule.task.format_map(words)) if one.task is None else one.task
    if not task:
        return SetAside("its task has no name that can be spelled; rename the directory")
    stem = words["stem"] if one.rule.stem == "{stem}" else one.rule.stem.format_map(words)
    if one.group is not None:
        return FilePlace(task, one.group, stem, one.split)
    group = _group(one.rule, words)
    return FilePlace(task, group, stem, split_of(group.split("/")))


def needs(*tasks: str) -> frozenset[str]:
    """Name tasks that must all be there."""
    return frozenset(tasks)


def keep_all(path: str, why: str, task: str = "") -> LeftOutRule:
    """Spell a `LeftOutRule` whose pattern may begin in any directory."""
    return LeftOutRule(rf"(?:.*/)?{path}", why, task)
