"""Which frames of which video file an episode has.

Episodes that share a file lie in it one behind the other, so where one begins is a sum of lengths.
That holds where the file has as many frames as its episodes together; where it has others, frames
that no episode has lie in between, and an episode begins at the frame that is shown at the time
that ``meta/episodes`` gives, to a ten thousandth of a second as for lerobot, or nowhere. Each frame
that is taken is then held to its row's time: video and rows that do not run together are refused.
"""

import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._files.tree import FileTree
from dsc._schemas.coded_frame import CodedFrame
from dsc._sources.lerobot.episodes import Clip, Episode
from dsc._sources.lerobot.video import COPY, Packets, VideoFile
from dsc.errors import SampleError

OPEN_FILES = 8
TOLERANCE_S = 1e-4  # lerobot's


class Clips:
    """Reads frames of episodes; picklable, with decoders of its own in every process.

    Parameters
    ----------
    tree
        What the paths are below.
    episodes
        All of them, by number.
    frame_s
        Seconds a frame.
    """

    def __init__(self, tree: FileTree, episodes: Mapping[int, Episode], frame_s: float) -> None:
        self._tree, self._episodes, self._frame_s = tree, episodes, frame_s
        self._sharing: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for number, episode in episodes.items():
            for clip in episode.clips.values():
                self._sharing[clip.path].append((clip.start_s, number))
        for found in self._sharing.values():
            found.sort()
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._open: OrderedDict[str, VideoFile] = OrderedDict()
        self._firsts: dict[tuple[str, int], int] = {}

    def __getstate__(self) -> dict[str, Any]:
        own = ("_pid", "_lock", "_open", "_firsts")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def read(
        self, feature: str, episode: int, frame: int, time_s: float, is_depth: bool
    ) -> tuple[NDArray[Any], int]:
        """Decode a frame of an episode, and return it with the bytes of its packet.

        Parameters
        ----------
        time_s
            When its row says that it was taken, in seconds since the episode began.
        is_depth
            Whether 12-bit codes (H, W) are wanted, rather than colours (H, W, 3).

        Raises
        ------
        SampleError
            When it cannot be had, or is not shown when the row says; names file, episode and frame.
        """
        with self._found(feature, episode, frame, time_s) as (video, number):
            found = video.codes(number) if is_depth else video.rgb(number)
            return found, int(video.packets.sizes[number])

    def coded(self, feature: str, episode: int, frame: int, time_s: float) -> CodedFrame:
        """Return a frame of an episode as its file has it; see `VideoFile.coded` and `read`."""
        with self._found(feature, episode, frame, time_s) as (video, number):
            return video.coded(number)

    @contextmanager
    def _found(
        self, feature: str, episode: int, frame: int, time_s: float
    ) -> Iterator[tuple[VideoFile, int]]:
        """Give the file and the number there of a frame; errors then name the frame."""
        if self._pid != os.getpid():  # forked: the place in an open file is the parent's, too
            self._begin()
        clip = self._episodes[episode].clips[feature]
        with self._lock:
            try:
                video = self._opened(clip.path)
                first = self._first(video, clip, episode)
                self._check_time(video.packets, clip, first, frame, time_s)
                yield video, first + frame
            except SampleError as error:
                raise SampleError(f"episode {episode}, frame {frame}: {error}") from None

    def _opened(self, path: str) -> VideoFile:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if len(self._open) >= OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        local = self._tree.local
        source: Any = str(local / path) if local is not None else None
        where = self._tree.where(path)
        found = VideoFile(lambda: source or self._tree.open(path), where)
        self._open[path] = found
        return found

    def _first(self, video: VideoFile, clip: Clip, episode: int) -> int:
        """Return the number of an episode's first frame in its file."""
        if (clip.path, episode) not in self._firsts:
            self._firsts[clip.path, episode] = self._find_first(video.packets, clip, episode)
        return self._firsts[clip.path, episode]

    def _find_first(self, packets: Packets, clip: Clip, episode: int) -> int:
        where = self._tree.where(clip.path)
        sharing = [number for _, number in self._sharing[clip.path]]
        ends = list(accumulate(self._episodes[number].length for number in sharing))
        if ends[-1] == len(packets):
            first = ends[sharing.index(episode)] - self._episodes[episode].length
            begins = packets.seconds(first) - packets.seconds(0)
            if abs(begins - clip.start_s) < self._frame_s / 2:
                return first
            raise SampleError(
                f"{where}: the episode is to begin at its frame {first}, which is shown at "
                f"{begins:.4f} s, and meta/episodes says {clip.start_s:.4f} s: the lengths of the "
                f"episodes are not those of their videos; {COPY}"
            )
        near = np.abs(packets.shown * packets.tick_s - clip.start_s) < TOLERANCE_S
        found = np.flatnonzero(near)
        if len(found) == 1:
            return int(found[0])
        raise SampleError(
            f"{where}: it has {len(packets)} frames, its episodes have {ends[-1]}, and "
            f"{len(found) or 'none'} of its frames begin at {clip.start_s:.4f} s, where "
            f"meta/episodes says that the episode does; {COPY}"
        )

    def _check_time(
        self, packets: Packets, clip: Clip, first: int, frame: int, time_s: float
    ) -> None:
        number, where = first + frame, self._tree.where(clip.path)
        if number >= len(packets):
            raise SampleError(
                f"{where}: it ends after {len(packets)} frames, before this one (frame {number} of "
                f"the file); {COPY}"
            )
        shown = packets.seconds(number) - packets.seconds(first)
        if abs(shown - time_s) >= self._frame_s / 2:
            raise SampleError(
                f"{where}: frame {number} of the file is shown {shown:.4f} s into the episode, and "
                f"the row's time is {time_s:.4f} s: the video has a variable rate, or frames are "
                f"missing in it; {COPY} with one picture a row"
            )
