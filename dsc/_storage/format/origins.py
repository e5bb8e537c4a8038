"""Where samples came from, in a shard's keys file: the fields `source`, `patterns` and `files`.

Frames of a recording have their place in it: ``seq`` its name, ``frame`` its number, ``t`` integer
nanoseconds where the source knows them; `SequencePlace`.

A line's ``source`` is the sample's name in the source, left out where it is the key. The first line
has ``patterns``: by task, what makes the path of its file from a name, ``{dir}`` being what is
before the last slash and ``{name}`` what is behind it. A file that the pattern does not give stands
in ``files`` of its line, and a task that the sample lacks is null there. Where files lie in an
order, as in a tar, the first line has the usual one as ``order``, and a sample that has another has
``own_order``.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dsc._schemas.sequence import SequencePlace
from dsc._schemas.source import Origin
from dsc.errors import CorruptArchiveError

DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def write_lines(
    keys: Sequence[str],
    origins: Sequence[Origin | None],
    places: Sequence[SequencePlace | None] | None = None,
) -> bytes:
    """Spell a keys file: one JSON object a line.

    Parameters
    ----------
    keys, origins, places
        Of a shard's samples; None where the source does not know.
    """
    places = places or [None] * len(keys)
    known = [origin for origin in origins if origin is not None]
    patterns = common_patterns(known)
    order = _common_order(known)
    lines = []
    for number, (key, origin, place) in enumerate(zip(keys, origins, places, strict=True)):
        line: dict[str, Any] = {"key": key}
        if place is not None:
            line |= {"seq": place.sequence, "frame": place.frame}
            line |= {} if place.time_ns is None else {"t": place.time_ns}
        if origin is not None:
            line |= {"source": origin.name} if origin.name != key else {}
            line |= {"files": odd} if (odd := _odd_files(origin, patterns)) else {}
        if number == 0 and patterns:
            line["patterns"] = patterns
        if number == 0 and order:
            line["order"] = order
        if origin is not None and origin.order != _ordered(order, origin.files):
            line["own_order"] = origin.order
        lines.append(_spell(line) + b"\n")
    return b"".join(lines)


def read_lines(data: bytes, where: str) -> list[Origin]:
    """Read what `write_lines` wrote; of archives without it, names are keys.

    Raises
    ------
    CorruptArchiveError
        When a line is something else.
    """
    found: list[Origin] = []
    patterns: Mapping[str, str] = {}
    order: Sequence[str] = ()
    try:
        for line in map(json.loads, data.splitlines()):
            patterns = line.get("patterns", patterns)
            name = line.get("source", line["key"])
            files = {task: expand(pattern, name) for task, pattern in patterns.items()}
            files |= line.get("files", {})
            there = {task: path for task, path in files.items() if path is not None}
            order = line.get("order", order)
            own = line.get("own_order")
            found.append(Origin(name=name, files=there, order=own or _ordered(order, there)))
    except DAMAGED as error:
        raise CorruptArchiveError(f"{where}: a line says no origin ({error})") from None
    return found


def read_names(data: bytes, where: str) -> list[str]:
    """Read the names alone; see `read_lines`."""
    try:
        found = [line.get("source", line["key"]) for line in map(json.loads, data.splitlines())]
    except DAMAGED as error:
        raise CorruptArchiveError(f"{where}: a line says no origin ({error})") from None
    if not all(isinstance(name, str) for name in found):
        raise CorruptArchiveError(f"{where}: a line's source is no text")
    return found


def read_places(data: bytes, where: str) -> list[SequencePlace | None]:
    """Read where samples stand in recordings; None for those that are of none.

    Raises
    ------
    CorruptArchiveError
        When a line says something else.
    """
    if b'"seq"' not in data:
        return [None] * data.count(b"\n")
    try:
        return [_place_of(line) for line in map(json.loads, data.splitlines())]
    except DAMAGED as error:
        raise CorruptArchiveError(f"{where}: a line says no place ({error})") from None


def _place_of(line: Mapping[str, Any]) -> SequencePlace | None:
    if "seq" not in line:
        return None
    place = SequencePlace(line["seq"], line["frame"], line.get("t"))
    kinds = type(place.sequence), type(place.frame), type(place.time_ns)
    if kinds not in ((str, int, int), (str, int, type(None))) or place.frame < 0:
        raise ValueError(f"{tuple(place)} is no sequence, frame and time")
    return place


def expand(pattern: str, name: str) -> str:
    """Return the path that a pattern makes of a sample's name."""
    directory, _, stem = name.rpartition("/")
    return pattern.replace("{name}", stem).replace("{dir}", directory)


def pattern_of(path: str, name: str) -> str | None:
    """Return the pattern that makes a path of a sample's name; None where none does."""
    directory, _, stem = name.rpartition("/")
    if "{" in path or "{" in name or not stem:
        return None
    head, found, tail = path.rpartition(stem)
    pattern = f"{head}{{name}}{tail}" if found else path
    if directory:
        pattern = pattern.replace(directory, "{dir}", 1)
    return pattern if found and expand(pattern, name) == path else None


def common_patterns(origins: Sequence[Origin]) -> dict[str, str]:
    """Return each task's most frequent pattern.

    A file that most samples share has a pattern without ``{name}``.
    """
    counts: dict[str, Counter[str]] = {}
    shared: dict[str, Counter[str]] = {}
    for origin in origins:
        directory = origin.name.rpartition("/")[0]
        for task, path in origin.files.items():
            pattern = pattern_of(path, origin.name)
            if pattern is not None:
                counts.setdefault(task, Counter())[pattern] += 1
            elif "{" not in path + origin.name:
                below = path.replace(directory, "{dir}", 1) if directory else path
                shared.setdefault(task, Counter())[below] += 1
    for task, found in shared.items():
        pattern, count = found.most_common(1)[0]
        if 2 * count > sum(found.values()) + sum(counts.get(task, Counter()).values()) > 1:
            counts[task] = Counter({pattern: count})
    return {task: min(c, key=lambda one: (-c[one], one)) for task, c in sorted(counts.items())}


def _common_order(origins: Sequence[Origin]) -> tuple[str, ...]:
    """Return the order in which most samples have their files, with what others have behind."""
    counts = Counter(origin.order for origin in origins if origin.order)
    if not counts:
        return ()
    frequent = sorted(counts, key=lambda order: (-counts[order], order))
    return tuple(dict.fromkeys(task for order in frequent for task in order))


def _ordered(order: Sequence[str], files: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(task for task in order if task in files)


def _odd_files(origin: Origin, patterns: Mapping[str, str]) -> dict[str, str | None]:
    odd: dict[str, str | None] = {
        task: path
        for task, path in sorted(origin.files.items())
        if task not in patterns or expand(patterns[task], origin.name) != path
    }
    return odd | {task: None for task in patterns if task not in origin.files}


def _spell(line: Mapping[str, Any]) -> bytes:
    r"""Write UTF-8 as it is, so that people find names; names that are none become ``\\udce9``."""
    try:
        return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(line, separators=(",", ":")).encode()
