"""Recordings whose files are named by time stamps, which differ between the cameras of a frame.

Depth (and what else there is) is joined to the colour frame nearest in time, within 20 ms, each one
to one: the pairs that TUM's ``associate.py`` makes. The sample has the colour frame's name. A frame
that has no partner stays a sample that lacks the other task.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from dsc._files.formats import can_read
from dsc._sources.folder.layout import FilePlace, Listing
from dsc._sources.folder.published.form import (
    BELOW,
    IN_GROUP,
    PICTURES,
    Form,
    Rule,
    keep_all,
    needs,
)
from dsc._sources.meaning.decide import Stated

NEAREST_S = 0.02
_STAMP = r"(?P<stem>\d{9,10}\.\d{1,9}|\d{13}|\d{16}|\d{19})"
_STAMPED = re.compile(_STAMP + r"\.\w+")
_UNITS = {13: 1e-3, 16: 1e-6, 19: 1e-9}  # digits of a stamp that is a whole number, and its unit
_BY_TIME = IN_GROUP + _STAMP.replace("stem", "time")
_TUM = re.compile(r"(^|/)rgbd_(dataset|bonn)_")

_RULES = (
    Rule(BELOW + r"(?P<task>rgb|colou?r|images?)", rf"{_STAMP}\.{PICTURES}", "rgb", "{a}"),
    Rule(BELOW + r"(?P<task>[^/]+)", rf"{_STAMP}\.(?:{PICTURES}|npy|exr|pfm)", "{task}", "{a}"),
)
_BESIDE = (
    keep_all(r"(?:rgb|depth|associations?|associated|assoc)\.txt", "lists the frames"),
    keep_all(r"(?:groundtruth|accelerometer|imu)\.txt", "one track for a whole recording"),
)


def associate(first: Iterable[str], second: Iterable[str]) -> list[tuple[str, str]]:
    """Join time stamps to the nearest ones, at most `NEAREST_S` apart, each used once.

    The closest pairs are made first, as in TUM's ``associate.py``.
    """
    early = sorted((seconds(stamp), stamp) for stamp in set(first))
    late = sorted((seconds(stamp), stamp) for stamp in set(second))
    times = [time for time, _ in late]
    near = [
        (round(abs(time - other), 9), stamp != twin, stamp, twin)
        for time, stamp in early
        for other, twin in late[
            bisect_left(times, time - NEAREST_S) : bisect_right(times, time + NEAREST_S)
        ]
    ]
    left, right, pairs = set[str](), set[str](), []
    for distance, _, stamp, twin in sorted(near):
        if distance < NEAREST_S and stamp not in left and twin not in right:
            left.add(stamp)
            right.add(twin)
            pairs.append((stamp, twin))
    return sorted(pairs)


def seconds(stamp: str) -> float:
    """Read a time stamp; a whole number is of milli-, micro- or nanoseconds by its length."""
    return float(stamp) * _UNITS.get(len(stamp) if stamp.isdigit() else 0, 1.0)


def join_by_time(placed: list[tuple[FilePlace, str]]) -> list[tuple[FilePlace, str]]:
    """Return all files the stem of the colour frame that is nearest; see the module."""
    stems: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place, _ in placed:
        stems[place.group][place.task].append(place.stem)
    partner: dict[tuple[str, str, str], str] = {}
    for group, tasks in stems.items():
        for task, own in tasks.items():
            if task != "rgb":
                for frame, stem in associate(tasks.get("rgb", ()), own):
                    partner[group, task, stem] = frame
    return [
        (replace(place, stem=partner.get((place.group, place.task, place.stem), place.stem)), path)
        for place, path in placed
    ]


def _is_tum(listing: Listing) -> bool:
    """Tell whether the directories or the lists beside them are those of TUM RGB-D."""
    for directory, names in listing.items():
        if _TUM.search(directory) or {"rgb.txt", "depth.txt", "groundtruth.txt"} <= {*names}:
            return True
    return False


def _all_stamped(listing: Listing) -> bool:
    """Tell whether no file beside those named by their time is called anything else."""
    for names in listing.values():
        stamped = [_STAMPED.fullmatch(name) is not None for name in names if can_read(name)]
        if any(stamped) and not all(stamped):
            return False
    return True


TUM = Form(
    name="tum-rgbd",
    why="rgb/<seconds>.png and depth/<seconds>.png at 1/5000 m, joined by time",
    hints=("rgb",),
    mark=r"(^|/)rgb$",
    rules=_RULES,
    needs=(needs("rgb", "depth"),),
    beside=_BESIDE,
    known={"depth": Stated(kind="depth", unit_m=1 / 5000, invalid=(0,))},
    pair=join_by_time,
    also=_is_tum,
    sequence=_BY_TIME,
)

TIME_STAMPS = Form(
    name="time-stamps",
    why="files named by their time in several directories, joined by time",
    hints=("rgb", "color", "colour", "image"),
    mark=r"(^|/)(rgb|colou?r|images?)$",
    rules=_RULES,
    needs=(needs("rgb", "depth"),),
    beside=_BESIDE,
    pair=join_by_time,
    also=_all_stamped,
    sequence=_BY_TIME,
)

STAMPS = (TUM, TIME_STAMPS)
