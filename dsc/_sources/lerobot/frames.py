"""Which row is which frame of which episode, and when it was taken.

LeRobot numbers the frames of an episode 0, 1, 2, ... and its videos have a picture for each, so
rows with gaps or repeats would be given the pictures of others: they are refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._sources.lerobot.episodes import Episode
from dsc._sources.rows.groups import GroupReader
from dsc.errors import UsageError

EPISODE, FRAME, TIME, TASK, INDEX = (
    "episode_index", "frame_index", "timestamp", "task_index", "index",
)  # fmt: skip
NS = 1_000_000_000
CLOCK_NS = 1000  # what times of a clock are rounded to: they are stored as float32 seconds


@dataclass(frozen=True)
class Frames:
    """The rows of all files, in their order.

    Attributes
    ----------
    episode, frame
        Of each row: (N,) int64.
    time_s
        Seconds since the episode began, as the rows say; None where they do not.
    task
        Number of what the robot was told, (N,) int64; None where rows do not say it.
    is_steady
        Whether each frame's time is its number over the frames a second; else a clock's.
    """

    episode: NDArray[np.int64]
    frame: NDArray[np.int64]
    time_s: NDArray[np.float64] | None
    task: NDArray[np.int64] | None
    is_steady: bool

    def time_ns(self, row: int, fps: Fraction) -> int:
        """Return when a frame was taken: nanoseconds since the episode began.

        Its number over the frames a second, rounded; where a clock said otherwise, that clock's
        time, rounded to microseconds.
        """
        if self.is_steady or self.time_s is None:
            return round(Fraction(int(self.frame[row]) * NS) / fps)
        return round(float(self.time_s[row]) * (NS // CLOCK_NS)) * CLOCK_NS

    def seconds(self, row: int, fps: Fraction) -> float:
        """Return when a frame was taken, in seconds since the episode began."""
        if self.time_s is None:
            return float(Fraction(int(self.frame[row])) / fps)
        return float(self.time_s[row])


def read_frames(rows: GroupReader, episodes: Mapping[int, Episode], fps: Fraction) -> Frames:
    """Read which row is which frame, and check that episodes are whole.

    Raises
    ------
    UsageError
        When a column is missing, an episode is in parts, not whole or not listed, frames have gaps
        or repeats, or times run backward.
    SampleError
        When a file is damaged.
    """
    names = {name for schema in rows.schemas for name in schema.names}
    episode = _column(rows, EPISODE, np.int64)
    frame = _column(rows, FRAME, np.int64)
    time_s = _column(rows, TIME, np.float64) if TIME in names else None
    task = _column(rows, TASK, np.int64) if TASK in names else None
    starts = np.flatnonzero(np.diff(episode, prepend=-1))
    lengths = np.diff(starts, append=len(episode))
    seen: set[int] = set()
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        number = int(episode[start])
        if number in seen:
            raise UsageError(f"{rows.where(start)}: episode {number} goes on behind another")
        seen.add(number)
        _check_whole(rows, number, start, length, episodes)
    missing = [number for number in episodes if number not in seen]
    if missing:
        raise UsageError(
            f"{rows.tree.url}: no rows of episode {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; copy data/ again"
        )
    wanted = np.arange(len(frame)) - np.repeat(starts, lengths)
    odd = np.flatnonzero(frame != wanted)
    if len(odd):
        row = int(odd[0])
        raise UsageError(
            f"{rows.where(row)}: episode {episode[row]} has frame {frame[row]} where frame "
            f"{wanted[row]} comes; LeRobot numbers frames without gaps and repeats, and videos "
            "have a picture for each: write the rows again with their numbers"
        )
    return Frames(episode, frame, time_s, task, _is_steady(rows, episode, frame, time_s, fps))


def _check_whole(
    rows: GroupReader, number: int, start: int, length: int, episodes: Mapping[int, Episode]
) -> None:
    known = episodes.get(number)
    if known is None:
        raise UsageError(
            f"{rows.where(start)}: episode {number}, which meta/episodes does not list; copy "
            "meta/ again"
        )
    if known.length != length:
        raise UsageError(
            f"{rows.where(start)}: episode {number} has {length} rows, and meta/episodes says "
            f"{known.length} frames; the copy is not whole: copy data/ and meta/ again"
        )


def _column(rows: GroupReader, name: str, dtype: Any) -> NDArray[Any]:
    parts = []
    for group, array in rows.scan(name):
        if array is None or array.null_count:
            what = "no such column" if array is None else "a row without a value"
            raise UsageError(f"{rows.where(group.first)}, column {name}: {what}; no LeRobot data")
        parts.append(np.asarray(array.to_numpy(zero_copy_only=False)).astype(dtype))
    found: NDArray[Any] = np.concatenate(parts) if parts else np.empty(0, dtype)
    return found


def _is_steady(
    rows: GroupReader,
    episode: NDArray[np.int64],
    frame: NDArray[np.int64],
    time_s: NDArray[np.float64] | None,
    fps: Fraction,
) -> bool:
    if time_s is None or not len(time_s):
        return True
    if np.all(np.abs(time_s - frame / float(fps)) < 0.25 / float(fps)):
        return True
    odd = np.flatnonzero((np.diff(time_s) <= 0) & (np.diff(episode) == 0)) + 1
    if len(odd) or not np.all(np.isfinite(time_s)):
        row = int(odd[0]) if len(odd) else int(np.flatnonzero(~np.isfinite(time_s))[0])
        raise UsageError(
            f"{rows.where(row)}: episode {episode[row]}, frame {frame[row]}: its timestamp "
            f"{time_s[row]:g} s does not come behind that of the frame before; write the column "
            "timestamp again, for example as frame_index / fps"
        )
    return False
