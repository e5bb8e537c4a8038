"""Datasets of the ``lerobot`` package, versions 2.0 to 3.0: ``lerobot``.

A sample is a frame of an episode, and an episode a recording.

| what a frame has | task |
| --- | --- |
| video | image; of depth, depth in 16-bit counts of a millimetre |
| ``image`` in Parquet | image or depth |
| state, action and other lists of numbers | matrix; one number: scalar |
| ``task_index`` | text, ``task``: what the robot was told |
| other text, annotations | text, json |

``episode_index``, ``frame_index`` and ``index`` say where a frame stands, which its place does.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._extras import need
from dsc._files.directories import join_path
from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree
from dsc._schemas import (
    LeftOut,
    Origin,
    SequencePlace,
    SourceReport,
    Task,
    TaskKind,
    WholeFile,
)
from dsc._schemas.coded_frame import CodedFrame
from dsc._schemas.task import spelled
from dsc._sources.base import SourceSample, find_task
from dsc._sources.keys import natural_order
from dsc._sources.lerobot.cameras import Camera, camera_of
from dsc._sources.lerobot.clips import Clips
from dsc._sources.lerobot.episodes import Episode, read_episodes, read_tasks, sequence_name
from dsc._sources.lerobot.frames import EPISODE, FRAME, INDEX, TASK, Frames, read_frames
from dsc._sources.lerobot.info import INFO, Feature, Info, read_info
from dsc._sources.meaning.decide import DEPTH_UNIT_M, Meaning
from dsc._sources.meaning.options import (
    TaskOptions,
    check_named,
    known_split,
    unwanted,
    wanted_tasks,
)
from dsc._sources.meaning.units import FileUnit, unit_of
from dsc._sources.report import fingerprint, task_report
from dsc._sources.rows.arrow import Known, arrow, features_of, plain_type, spell_column
from dsc._sources.rows.cells import Column
from dsc._sources.rows.find import RowFile
from dsc._sources.rows.forms import FormFinder, Given
from dsc._sources.rows.groups import GroupReader
from dsc._sources.rows.look import look_at
from dsc._sources.rows.options import RowOptions
from dsc._sources.rows.source import Arrangement, RowSource, loader, schema_of
from dsc.errors import SampleError, UsageError

HEADS = ("observation.images.", "observation.")  # which say nothing that tells features apart
PLACES = {
    EPISODE: "the sample's sequence",
    FRAME: "the sample's frame",
    INDEX: "the sample's place among all",
    TASK: "the task `task` is what it stands for",
}
TOLD = "task"  # name of the task that is what people told the robot to do
COLOURS = "colours of video are as PyAV's rgb24 has them"


@dataclass(frozen=True)
class Recordings:
    """What a LeRobot dataset says of its episodes and frames.

    Attributes
    ----------
    told
        What the robot was told, by `task_index`.
    """

    info: Info
    episodes: Mapping[int, Episode]
    frames: Frames
    told: Mapping[int, str]

    def place(self, row: int) -> SequencePlace:
        """Return where a row stands."""
        frames, time_ns = self.frames, self.frames.time_ns(row, self.info.fps)
        return SequencePlace(
            sequence_name(int(frames.episode[row])), int(frames.frame[row]), time_ns
        )

    def told_at(self, row: int) -> str:
        """Return what the robot was told in a row."""
        return "" if self.frames.task is None else self.told[int(self.frames.task[row])]

    def digest(self) -> str:
        """Return a text that differs where files, episodes or texts do."""
        own = [(e.index, e.length, e.data, sorted(e.clips.items())) for e in self.episodes.values()]
        return f"{self.info} {own} {sorted(self.told.items())}"


class LeRobotSource(RowSource):
    """The frames of a LeRobot dataset; see `dsc._sources.base.Source`.

    Parameters
    ----------
    root, tree, rows, columns, valid, arranged, options, left_out, notes
        What `RowSource` takes: of all that lies in Parquet.
    recordings
        Which row is which frame.
    cameras
        The videos that are tasks, by task.
    told
        What is said of the task that is what the robot was told; None where it is none.
    tasks
        Names of all tasks, in order.
    """

    name: ClassVar[str] = "lerobot"
    follows_paths: ClassVar[bool] = False

    def __init__(
        self,
        root: str,
        tree: FileTree,
        rows: GroupReader,
        columns: Sequence[Column],
        valid: Mapping[str, NDArray[np.bool_]],
        arranged: Arrangement,
        options: Mapping[str, Any],
        left_out: Sequence[LeftOut],
        notes: Sequence[str],
        recordings: Recordings,
        cameras: Mapping[str, Camera],
        told: Meaning | None,
        tasks: Sequence[str],
    ) -> None:
        super().__init__(root, tree, rows, columns, valid, arranged, options, left_out, notes)
        self._recordings, self._cameras = recordings, dict(cameras)
        self._clips = Clips(tree, recordings.episodes, float(1 / recordings.info.fps))
        self._meanings = {name: camera.meaning for name, camera in cameras.items()}
        if told is not None:
            self._meanings[told.task.name] = told
        own = {name: meaning.task for name, meaning in self._meanings.items()}
        found = {**self._tasks, **own}
        self._tasks = {name: found[name] for name in tasks}

    @classmethod
    def open(
        cls,
        root: str,
        depth_unit: object = None,
        kinds: object = None,
        file_unit: object = None,
        invalid: object = None,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
        split: str | None = None,
        fields: object = None,
    ) -> Self:
        """Open a directory that has ``meta/info.json``, or the URL of one.

        Parameters
        ----------
        root
            The directory, or a URL: ``hf://datasets/USER/NAME``.
        depth_unit
            Metres a count of depth; 1/1000 by default.
        kinds, file_unit, invalid
            As `folder` takes them, of what lies in Parquet.
        tasks, ignore
            The tasks that are wanted, and those that are not.
        split
            One of the splits; all by default.
        fields
            Features by task, ``{"rgb": "observation.images.top"}``: only these are tasks.

        Raises
        ------
        SourceNotFoundError
            When no LeRobot dataset lies there.
        UsageError
            When it is not whole, says what cannot be, or an option cannot be honoured.
        SampleError
            When a file of rows is damaged.
        """
        options = RowOptions.parse(
            depth_unit, kinds, file_unit, invalid, None, tasks, ignore, split, fields
        )
        tree = FileTree(root)
        tree.require_root("lerobot", root)
        info = read_info(tree)
        names = _task_names(info, options)
        wanted = wanted_tasks(options.tasks, list(names.values()))
        check_named(options.tasks, list(names.values()))
        chosen = {feature: task for feature, task in names.items() if task in wanted}
        videos = [name for name in chosen if info.is_video(name)]
        if videos:
            need("av", "reading video (MP4)")
        features = [name for name in info.features if info.is_video(name)]
        episodes = read_episodes(tree, info, features)
        rows = GroupReader(tree, _data_files(tree, episodes))
        frames = read_frames(rows, episodes, info.fps)
        told = read_tasks(tree, info) if TASK in chosen else {}
        if TASK in chosen:
            _check_told(rows, frames, told)
        own = [name for name in chosen if name not in videos and name != TASK]
        columns, valid = _columns(tree, rows, {n: chosen[n] for n in own}, info, options.tasks)
        left_out = _left_out(tree, rows, episodes, info, names, wanted, options)
        return cls(
            root if "://" in root else tree.url,
            tree,
            rows,
            columns,
            valid,
            _arrange(frames, info, options.split),
            options.to_json(),
            left_out,
            [*info.notes, *_notes(info, frames)],
            Recordings(info, episodes, frames, told),
            {chosen[n]: _camera(tree, info.features[n], chosen[n], options.tasks) for n in videos},
            _told_meaning(chosen[TASK]) if TASK in chosen else None,
            list(chosen.values()),
        )

    def key(self, index: int) -> str:
        """Return the key of a frame: its episode, and its number there."""
        place = self.place(index)
        return f"{place.sequence}__{place.frame:06d}"

    def place(self, index: int) -> SequencePlace:
        """Return a frame's episode, its number there, and its time since the episode began."""
        return self._recordings.place(self._arranged.row(self._check(index)))

    def origin(self, index: int) -> Origin:
        """Say what a frame is called: its episode, and its number there."""
        place = self.place(index)
        return Origin(name=f"{place.sequence}/{place.frame:06d}")

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Read these tasks (full names) of one frame; one that it lacks is left out.

        Raises
        ------
        UnknownTaskError
            When the source has no such task.
        SampleError
            When a file is missing, damaged or cut, a frame is not where its row says, or a value
            is not what its task holds; names file, episode and frame.
        OSError
            When the file system or network fails: the frame may be whole, so try again.
        """
        key, row = self.key(index), self._arranged.row(index)
        for name in tasks:
            find_task(self._tasks, name)
        sample = super().read(index, [name for name in tasks if name in self._columns])
        arrays, sizes = dict(sample.arrays), dict(sample.source_bytes)
        for name in tasks:
            if name in self._cameras:
                arrays[name], sizes[name] = self._picture(row, name, key)
            elif name in self._meanings:
                arrays[name] = self._tasks[name].to_native(self._recordings.told_at(row))
                sizes[name] = arrays[name].nbytes
        in_order = {name: arrays[name] for name in tasks if name in arrays}
        return SourceSample(key, in_order, {name: sizes[name] for name in in_order})

    def coded(self, index: int, task: str) -> CodedFrame:
        """Return a frame as its video has it; see `dsc._sources.base.CodedSource`."""
        key, row = self.key(index), self._arranged.row(index)
        camera, frames = self._cameras.get(task), self._recordings.frames
        if camera is None or camera.counts is not None:
            what = "depth, whose codes mean metres only here" if camera else "no video"
            raise SampleError(
                f"sample {key}, task {task}: {what}, so it cannot be kept; leave the codec to dsc"
            )
        seconds = frames.seconds(row, self._recordings.info.fps)
        episode, frame = int(frames.episode[row]), int(frames.frame[row])
        try:
            return self._clips.coded(camera.feature.name, episode, frame, seconds)
        except SampleError as error:
            raise SampleError(f"sample {key}, task {task}: {error}") from None

    def _picture(self, row: int, task: str, key: str) -> tuple[NDArray[Any], int]:
        camera, frames = self._cameras[task], self._recordings.frames
        seconds = frames.seconds(row, self._recordings.info.fps)
        episode, frame = int(frames.episode[row]), int(frames.frame[row])
        name, is_depth = camera.feature.name, camera.counts is not None
        try:
            found, size = self._clips.read(name, episode, frame, seconds, is_depth)
        except SampleError as error:
            raise SampleError(f"sample {key}, task {task}: {error}") from None
        return (found if camera.counts is None else camera.counts[found]), size

    def _check_sizes(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Let cameras differ in size: each looks at something else."""

    def lacks(self, index: int, tasks: Sequence[str]) -> tuple[str, ...]:
        """List which of these tasks a frame lacks, without reading it."""
        return super().lacks(index, [name for name in tasks if name in self._columns])

    def check(self, tasks: Sequence[str]) -> None:
        """Look whether every video of these tasks is there, where that is quick.

        Raises
        ------
        SampleError
            Naming the first that is missing, and how many are.
        """
        if self._tree.local is None:
            return
        features = [self._cameras[name].feature.name for name in tasks if name in self._cameras]
        episodes = sorted(self._recordings.episodes.items(), reverse=True)
        paths = {
            episode.clips[name].path: number for number, episode in episodes for name in features
        }
        missing = [path for path in paths if not os.path.isfile(self._tree.local / path)]
        if missing:
            first = min(missing, key=natural_order)
            more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
            raise SampleError(
                f"{self._tree.where(first)}: no such file, and it holds episode {paths[first]}"
                f"{more}; copy videos/ again, or leave the task out with --tasks"
            )

    def report(self) -> SourceReport:
        """Say what was found, decided and left out."""
        found = super().report()
        tasks = dict(found.tasks)
        pa = arrow()
        file_kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        for name, meaning in self._meanings.items():
            own = task_report(meaning, len(self))
            if name in self._cameras:
                field = pa.field(self._cameras[name].feature.name, file_kind)
                column = spell_column(Known(field, {"_type": "Image"}))
                own = own.model_copy(update={"column": column})
            tasks[name] = own
        info = WholeFile(path=INFO, task="", text=self._recordings.info.text, samples=len(self))
        own_tasks = {name: tasks[name] for name in self._tasks}
        return found.model_copy(update={"tasks": own_tasks, "whole_files": (info,)})

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        content = f"{self._rows.digest()} {self._arranged.digest()} {self._recordings.digest()}"
        return {
            "name": self.name,
            "root": self._root,
            "options": self._options,
            "fingerprint": fingerprint(self.tasks, content),
        }


def _columns(
    tree: FileTree,
    rows: GroupReader,
    tasks: Mapping[str, str],
    info: Info,
    options: TaskOptions,
) -> tuple[list[Column], dict[str, NDArray[np.bool_]]]:
    """Return what columns are, and of those that rows lack, which rows have a value."""
    schema, _ = schema_of(rows, tree)
    features = features_of(schema)
    absent = [name for name in tasks if name not in schema.names]
    if absent:
        raise UsageError(
            f"{tree.url}: meta/info.json has a feature {absent[0]}, and data/ no such column; "
            f"copy data/ again, or --ignore {tasks[absent[0]]}"
        )
    given, valid = [], {}
    for name, task in tasks.items():
        field = schema.field(name)
        facts = look_at(rows, name, plain_type(field.type))
        given.append(Given(name, task, field, features.get(name), facts))
        if facts.valid is not None:
            valid[name] = facts.valid
    known = _known_of_images(options, [info.features[name] for name in tasks], tasks)
    return FormFinder(rows, known, loader(tree, follows=False)).columns(given), valid


def _camera(tree: FileTree, feature: Feature, name: str, options: TaskOptions) -> Camera:
    kind = (options.kinds or {}).get(name)
    if kind is not None:
        raise UsageError(f"--kinds {name}={kind}: {feature.name} is a video, whose kind is known")
    where = f"{tree.where(INFO)}: feature {feature.name}"
    return camera_of(feature, name, unit_of(options.depth_unit, name) or DEPTH_UNIT_M, where)


def _told_meaning(name: str) -> Meaning:
    text = Task(name=name, kind=TaskKind.TEXT, dtype="uint8")
    return Meaning(text, "what the robot was told", (), "task_index")


def _left_out(
    tree: FileTree,
    rows: GroupReader,
    episodes: Mapping[int, Episode],
    info: Info,
    names: Mapping[str, str],
    wanted: Sequence[str],
    options: RowOptions,
) -> list[LeftOut]:
    """List what lies there and is not read: columns, files, and tasks that nobody asked for."""
    rest, left = PassedOver(), list[LeftOut]()
    known = {episode.data for episode in episodes.values()}
    known |= {clip.path for episode in episodes.values() for clip in episode.clips.values()}
    for at, files in tree.walk(left):
        for path in (join_path(at, name) for name in files):
            if path not in known and not path.startswith("meta/"):
                rest.add_file(path, "no file of an episode")
    for column in dict.fromkeys(name for schema in rows.schemas for name in schema.names):
        if column in PLACES:
            left.append(LeftOut(what=f"column {column}", reason=PLACES[column]))
        elif column not in names:
            why = "not in --fields" if column in info.features else "meta/info.json has it not"
            left.append(LeftOut(what=f"column {column}", reason=why))
    counts = dict.fromkeys(names.values(), len(rows))
    return [*left, *rest.left_out(), *unwanted(counts, wanted, options.tasks)]


def _task_names(info: Info, options: RowOptions) -> dict[str, str]:
    """Return the task of each feature that is one, in order, and of `task_index`.

    ``observation.images.top`` is ``top``, as long as no other feature is called so.
    """
    columns = [name for name in info.features if name not in PLACES or name == TASK]
    if options.fields is not None:
        return options.task_names(columns, _short_names)
    return _short_names(columns)


def _short_names(columns: Sequence[str]) -> dict[str, str]:
    short = {name: TOLD if name == TASK else spelled(_without_head(name)) for name in columns}
    found: dict[str, str] = {}
    for at, (name, word) in enumerate(short.items()):
        alone = word and list(short.values()).count(word) == 1
        base = word if alone or name == TASK else spelled(name) or f"feature_{at}"
        task, n = base[:44], 2
        while task in found.values():
            task, n = f"{base[:44]}_{n}", n + 1
        found[name] = task
    return found


def _without_head(name: str) -> str:
    head = next((head for head in HEADS if name.startswith(head) and name != head), "")
    return name[len(head) :]


def _data_files(tree: FileTree, episodes: Mapping[int, Episode]) -> list[RowFile]:
    paths = list(dict.fromkeys(episode.data for episode in episodes.values()))
    if tree.local is not None:
        missing = [path for path in paths if not os.path.isfile(tree.local / path)]
        if missing:
            raise UsageError(
                f"{tree.where(missing[0])}: no such file, and {len(missing)} of {len(paths)} files "
                "of rows are missing; copy data/ again"
            )
    if not paths:
        raise UsageError(f"{tree.url}: it has no episode")
    return [RowFile(path) for path in paths]


def _known_of_images(
    options: TaskOptions, features: Sequence[Feature], tasks: Mapping[str, str]
) -> TaskOptions:
    """Put what is said of pictures in Parquet beside what the user states."""
    kinds, units = dict[str, str](), dict[str, FileUnit]()
    for feature in features:
        if feature.dtype == "image":
            kinds[tasks[feature.name]] = "depth" if feature.is_depth else "image"
        unit = feature.details.get("depth_unit")
        if feature.is_depth and unit in ("m", "mm"):
            units[tasks[feature.name]] = FileUnit.parse(unit)
    return replace(
        options,
        kinds={**kinds, **(options.kinds or {})},
        file_unit={**units, **(options.file_unit or {})},
    )


def _arrange(frames: Frames, info: Info, split: str | None) -> Arrangement:
    """Put rows in order, split by split; those of no split come last."""
    count, parts, sizes = len(frames.episode), [], dict[str, int]()
    rest = np.ones(count, bool)
    for name, (start, stop) in info.splits.items():
        own = (frames.episode >= start) & (frames.episode < stop)
        if own.any():
            parts.append(np.flatnonzero(own))
            sizes[spelled(name) or "split"] = int(own.sum())
            rest &= ~own
    if not parts:
        return _chosen(Arrangement(None, count, {}), split)
    if rest.any():
        parts.append(np.flatnonzero(rest))
        sizes[""] = int(rest.sum())
    order = np.concatenate(parts)
    in_order = bool(np.all(np.diff(order) > 0))
    return _chosen(Arrangement(None if in_order else order, count, sizes), split)


def _chosen(arranged: Arrangement, split: str | None) -> Arrangement:
    if split is None or not arranged.splits:
        return arranged
    return arranged.of_split(known_split(split, arranged.splits))


def _notes(info: Info, frames: Frames) -> list[str]:
    steady = "frame_index / fps" if frames.is_steady else "timestamp, rounded to microseconds"
    fps = info.fps
    rate = str(fps) if fps.denominator == 1 else f"{float(fps):.6g}"
    found = [f"LeRobot {info.spelt}, {rate} frames a second; times are {steady}"]
    if any(feature.is_video for feature in info.features.values()):
        found.append(COLOURS)
    return found


def _check_told(rows: GroupReader, frames: Frames, told: Mapping[int, str]) -> None:
    if frames.task is None:
        raise UsageError(
            f"{rows.tree.url}: data/ has no column {TASK}; copy it again, or --ignore task"
        )
    unknown = np.flatnonzero(~np.isin(frames.task, list(told)))
    if len(unknown):
        row = int(unknown[0])
        raise UsageError(
            f"{rows.where(row)}: task_index {frames.task[row]}, which meta/tasks does not list; "
            "copy meta/ again, or --ignore task"
        )
