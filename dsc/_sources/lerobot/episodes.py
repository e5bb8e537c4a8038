"""The episodes of a LeRobot dataset: how long each is, and in which files it lies.

Version 2 has one line of ``meta/episodes.jsonl`` and one file of rows and one video a camera for
each; version 3 has rows of ``meta/episodes/``, and files that many episodes share.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsc._files.directories import join_path
from dsc._files.tree import FileTree
from dsc._sources.keys import natural_order
from dsc._sources.lerobot.info import Info, fill
from dsc._sources.rows.find import RowFile
from dsc._sources.rows.groups import GroupReader
from dsc.errors import UsageError

EPISODES, EPISODE_LINES = "meta/episodes", "meta/episodes.jsonl"
TASKS, TASK_LINES = "meta/tasks.parquet", "meta/tasks.jsonl"
PANDAS_INDEX = "__index_level_0__"


@dataclass(frozen=True)
class Clip:
    """Where a video of an episode lies: a file, and when the episode begins in it, in seconds."""

    path: str
    start_s: float = 0.0


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes
    ----------
    index
        Its number, from 0.
    length
        How many frames it has.
    data
        The file of its rows.
    clips
        Where its videos lie, by feature.
    """

    index: int
    length: int
    data: str
    clips: Mapping[str, Clip] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the recording is called."""
        return sequence_name(self.index)


def sequence_name(episode: int) -> str:
    """Return what the recording of an episode is called: ``episode_000012``."""
    return f"episode_{episode:06d}"


def read_episodes(tree: FileTree, info: Info, videos: Sequence[str]) -> dict[int, Episode]:
    """Read the list of episodes.

    Parameters
    ----------
    videos
        Names of the features that are videos and wanted.

    Returns
    -------
    dict
        By number, rising.

    Raises
    ------
    UsageError
        When the list is missing, damaged, has an episode twice, or fewer than info.json says.
    """
    found = _lines(tree, info, videos) if info.version == 2 else _rows(tree, info, videos)
    where = tree.where(EPISODE_LINES if info.version == 2 else EPISODES)
    episodes: dict[int, Episode] = {}
    for episode in found:
        if episode.index in episodes:
            raise UsageError(f"{where}: episode {episode.index} is there twice; leave one line")
        episodes[episode.index] = episode
    if info.episodes is not None and len(episodes) != info.episodes:
        raise UsageError(
            f"{where}: {len(episodes)} episodes, and meta/info.json says {info.episodes}; the copy "
            "is not whole: copy meta/ again"
        )
    return dict(sorted(episodes.items()))


def read_tasks(tree: FileTree, info: Info) -> dict[int, str]:
    """Read what people told the robot to do, by the number that rows have of it.

    Raises
    ------
    UsageError
        When the list is missing or damaged.
    """
    if info.version == 2:
        lines = _json_lines(tree, TASK_LINES)
        return {_whole(line, "task_index", tree, TASK_LINES): str(line["task"]) for line in lines}
    where = tree.where(TASKS)
    try:
        tree.read_part(TASKS, 0, 1)
    except FileNotFoundError:
        raise UsageError(f"{where}: not there; copy meta/ of the data set again") from None
    reader = _reader(tree, [TASKS])
    names = reader.schemas[0].names if reader.schemas else []
    texts = [name for name in ("task", PANDAS_INDEX) if name in names]
    if "task_index" not in names or not texts:
        raise UsageError(f"{where}: no columns task and task_index; copy it again")
    found: dict[int, str] = {}
    for at in range(len(reader.groups)):
        columns = reader.arrays(at, ["task_index", texts[0]])
        numbers, names_of = (columns[name].to_pylist() for name in ("task_index", texts[0]))
        found.update(zip(map(int, numbers), map(str, names_of), strict=True))
    return found


def _lines(tree: FileTree, info: Info, videos: Sequence[str]) -> Iterable[Episode]:
    for line in _json_lines(tree, EPISODE_LINES):
        index = _whole(line, "episode_index", tree, EPISODE_LINES)
        length = _whole(line, "length", tree, EPISODE_LINES)
        at = {"episode_chunk": index // info.chunk_size, "episode_index": index}
        where = tree.where("meta/info.json")
        clips = {name: Clip(fill(info.video_path, where, video_key=name, **at)) for name in videos}
        yield Episode(index, length, fill(info.data_path, where, **at), clips)


def _json_lines(tree: FileTree, path: str) -> list[Any]:
    where = tree.where(path)
    try:
        lines = tree.read(path).decode().splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError:
        raise UsageError(f"{where}: not there; copy meta/ of the data set again") from None
    except ValueError as error:
        raise UsageError(f"{where}: no lines of JSON ({error}); copy it again") from None


def _whole(line: Any, name: str, tree: FileTree, path: str) -> int:
    value = line.get(name) if isinstance(line, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{tree.where(path)}: {name} {value}; a whole number expected")
    return value


def _rows(tree: FileTree, info: Info, videos: Sequence[str]) -> Iterable[Episode]:
    paths = sorted(
        (join_path(f"{EPISODES}/{at}".rstrip("/"), name) for at, name in _below(tree, EPISODES)),
        key=natural_order,
    )
    if not paths:
        raise UsageError(f"{tree.where(EPISODES)}: no Parquet there; copy meta/ again")
    own = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    parts = ("chunk_index", "file_index", "from_timestamp")
    wanted = [*own, *(f"videos/{name}/{part}" for name in videos for part in parts)]
    reader = _reader(tree, paths)
    for at, group in enumerate(reader.groups):
        where = tree.where(paths[group.file])
        missing = [name for name in wanted if name not in reader.schemas[group.file].names]
        if missing:
            raise UsageError(f"{where}: no column {missing[0]}; copy meta/ of the data set again")
        columns = {name: array.to_pylist() for name, array in reader.arrays(at, wanted).items()}
        for row in range(group.rows):
            yield _episode(info, videos, {name: columns[name][row] for name in wanted}, where)


def _episode(info: Info, videos: Sequence[str], row: Mapping[str, Any], where: str) -> Episode:
    empty = [name for name, value in row.items() if value is None]
    if empty:
        raise UsageError(
            f"{where}: episode {row['episode_index']} has no {empty[0]}; copy meta/ of the data "
            "set again"
        )
    clips = {
        name: Clip(
            fill(
                info.video_path,
                where,
                video_key=name,
                chunk_index=int(row[f"videos/{name}/chunk_index"]),
                file_index=int(row[f"videos/{name}/file_index"]),
            ),
            float(row[f"videos/{name}/from_timestamp"]),
        )
        for name in videos
    }
    at = {part: int(row[f"data/{part}"]) for part in ("chunk_index", "file_index")}
    data = fill(info.data_path, where, **at)
    return Episode(int(row["episode_index"]), int(row["length"]), data, clips)


def _below(tree: FileTree, directory: str) -> Iterable[tuple[str, str]]:
    for at, names in tree.below(directory).walk([]):
        for name in names:
            if name.endswith(".parquet"):
                yield at, name


def _reader(tree: FileTree, paths: Sequence[str]) -> GroupReader:
    return GroupReader(tree, [RowFile(path) for path in paths])
