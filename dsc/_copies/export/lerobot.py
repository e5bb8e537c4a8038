"""LeRobot, version 3.0: recordings as episodes, in Parquet and MP4, as the `lerobot` package reads.

Episodes are the archive's recordings, split by split; frames are numbered from 0 without gaps, and
their times are these numbers over the frames a second, which lerobot finds pictures by. Videos have
the settings of lerobot's own recorder, which is a second loss; PNG in Parquet has none. All is
written anew until ``meta/info.json``, the last file, is there; an export that has it is kept.
"""

import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsc._copies.export.lerobot_features import OWN, TOLD, Feature, features_of
from dsc._copies.export.lerobot_stats import Collector, Numbers
from dsc._copies.export.lerobot_video import AV1, Mp4Writer, parse_format
from dsc._copies.export.target import ExportJob, ExportReport
from dsc._schemas import SequencePlace, TaskKind
from dsc._schemas.size import parse_bytes
from dsc._sources.lerobot.info import DATA_PATH, INFO, VIDEO_PATH, fill
from dsc._sources.rows.arrow import HUGGINGFACE, arrow
from dsc.errors import UsageError

FILES = re.compile(r"(?:meta|data|videos)/.+")
DATA_SIZE, VIDEO_SIZE = "100MB", "200MB"  # lerobot's own
A_CHUNK = 1000
BATCH = 8
NS = 1_000_000_000
UNTOLD = "none"  # what the robot was told, where nobody says
STEADY = 0.25  # of a frame by which a time may differ from its number over the rate
OWN_FEATURES: dict[str, dict[str, Any]] = {
    name: {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    for name in OWN
}
PANDAS = json.dumps(  # lerobot reads the table by pandas, and texts as its index
    {
        "index_columns": [TOLD],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": kind,
                "numpy_type": stored,
                "metadata": None,
            }
            for name, kind, stored in (
                ("task_index", "int64", "int64"),
                (TOLD, "unicode", "object"),
            )
        ],
        "creator": {"library": "pyarrow", "version": "16"},
        "pandas_version": "2.0.0",
    }
)
EPISODES, TASKS, STATS = (
    "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet", "meta/stats.json",
)  # fmt: skip


@dataclass
class Episode:
    """A recording that becomes an episode.

    Attributes
    ----------
    samples
        Places in the dataset, in the order of frames.
    frames, times
        Their numbers and nanoseconds, as the archive has them.
    said
        What ``meta/episodes`` says of it, by column.
    """

    name: str
    split: str
    samples: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)


def write_lerobot(
    job: ExportJob,
    *,
    image_format: str = AV1,
    file_size: str | int | None = None,
    fps: float | None = None,
) -> ExportReport:
    """Write a LeRobot dataset.

    Parameters
    ----------
    image_format
        What images become: ``av1``, ``h264``, each with a crf if you like (``av1:30``), or ``png``,
        without loss. With ``png`` depth is PNG as well, else HEVC of 12-bit codes.
    file_size
        From which on a file gets no more episodes: 100MB of Parquet, 200MB of video.
    fps
        Frames a second; by default what the archive's times say.

    Raises
    ------
    UsageError
        When samples are of no recording, lack a task or differ in size, when LeRobot has no place
        for a task, or nothing says how many frames a second are.
    MissingPackageError
        When PyAV or pyarrow is not installed.
    """
    arrow()
    image = parse_format(image_format)
    sizes = {
        kind: parse_bytes(file_size or default, "--file-size")
        for kind, default in (("data", DATA_SIZE), ("video", VIDEO_SIZE))
    }
    episodes = _episodes(job)
    rate = _rate(job, episodes, fps)
    before = _info_of(job)
    first = job.dataset.batch([episodes[0].samples[0]])[0]
    _check_there(job, 0, first)
    features = features_of(
        job.manifest, job.dataset.tasks, first, image, before.get("features", {})
    )
    job.claim(
        FILES, image_format=image_format, file_size=file_size, fps=str(rate), tasks=job.task_names
    )
    if not job.overwrite and job.root.exists(INFO):
        kept = sum(bool(FILES.fullmatch(path)) for path in job.root.list())
        return ExportReport(job.dataset.tasks, 0, kept, dict.fromkeys(_names(job), 0))
    return _Writer(job, features, episodes, rate, sizes, before).run()


def _names(job: ExportJob) -> list[str]:
    return [task.name for task in job.dataset.tasks]


def _info_of(job: ExportJob) -> dict[str, Any]:
    """Return what ``meta/info.json`` said, where the archive came from LeRobot."""
    report = job.manifest.source_report
    texts = [one.text for one in report.whole_files if one.path == INFO] if report else []
    try:
        found = json.loads(texts[0]) if texts else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _episodes(job: ExportJob) -> list[Episode]:
    """Return the recordings, split by split, in the order of the archive."""
    found: dict[tuple[str, str], Episode] = {}
    for n, place in enumerate(_places(job)):
        if place is None:
            raise UsageError(
                f"--to lerobot: sample {job.archive.key(int(job.dataset.indices[n]))} is of no "
                "recording, and LeRobot has episodes; --sequence-by of dsc compress says what they "
                "are"
            )
        split = job.dataset.split_of(n)
        episode = found.setdefault((split, place.sequence), Episode(place.sequence, split))
        if episode.frames and place.frame <= episode.frames[-1]:
            raise UsageError(
                f"--to lerobot: {place.sequence} has frame {place.frame} behind frame "
                f"{episode.frames[-1]}; choose samples in their order"
            )
        episode.samples.append(n)
        episode.frames.append(place.frame)
        episode.times.append(place.time_ns)
    splits = list(dict.fromkeys(split for split, _ in found))
    in_order = sorted(found.values(), key=lambda episode: splits.index(episode.split))
    if not in_order:
        raise UsageError("--to lerobot: there is no sample")
    return in_order


def _places(job: ExportJob) -> Iterator[SequencePlace | None]:
    return (job.archive.place(int(index)) for index in job.dataset.indices)


def _rate(job: ExportJob, episodes: Sequence[Episode], fps: float | None) -> Fraction:
    """Return the frames a second: what is stated, what LeRobot said, or the middle of all gaps."""
    if fps is not None:
        if not 0 < fps < 100_000:
            raise UsageError(f"--fps {fps}: frames a second are above 0, for example 30")
        return Fraction(str(fps)).limit_denominator(1001)
    before = _info_of(job).get("fps")
    if isinstance(before, int | float) and before > 0:
        return Fraction(str(before))
    gaps = [
        (b - a) / (g - f)
        for one in episodes
        for a, b, f, g in zip(one.times, one.times[1:], one.frames, one.frames[1:], strict=False)
        if a is not None and b is not None and b > a
    ]
    if not gaps:
        raise UsageError(
            "--to lerobot: the archive's frames have no times, so nothing says how many there are "
            "a second; give --fps"
        )
    rate = NS / float(np.median(gaps))
    near = round(rate)
    whole = near > 0 and abs(rate - near) < 0.02 * near
    return Fraction(near) if whole else Fraction(rate).limit_denominator(1001)


def _check_there(job: ExportJob, n: int, sample: Mapping[str, NDArray[Any] | None]) -> None:
    lacking = [name for name in _names(job) if sample[name] is None]
    if lacking:
        raise UsageError(
            f"--to lerobot: sample {job.archive.key(int(job.dataset.indices[n]))} lacks "
            f"{', '.join(lacking)}, and LeRobot has every feature in each frame; leave the task "
            "out with --tasks, or such samples with --where"
        )


@dataclass
class _File:
    """A file that several episodes share: its number, its frames, and bytes of its rows."""

    number: int = 0
    frames: int = 0
    size: int = 0

    @property
    def at(self) -> dict[str, int]:
        return {"chunk_index": self.number // A_CHUNK, "file_index": self.number % A_CHUNK}


class _Writer:
    """Writes data, videos and, last, what ``meta/`` says of them."""

    def __init__(
        self,
        job: ExportJob,
        features: Sequence[Feature],
        episodes: Sequence[Episode],
        rate: Fraction,
        sizes: Mapping[str, int],
        before: Mapping[str, Any],
    ) -> None:
        self._job, self._features, self._episodes = job, features, episodes
        self._rate, self._sizes, self._before = rate, sizes, before
        self._columns = [feature for feature in features if feature.encoding is None]
        self._videos = [feature for feature in features if feature.encoding is not None]
        self._encodings = {f.name: f.encoding for f in features if f.encoding is not None}
        self._told: dict[str, int] = {}
        self._tell = next(
            (t.name for t in job.dataset.tasks if t.name == TOLD and t.kind is TaskKind.TEXT), None
        )
        self._stats: dict[str, Collector] = {}
        self._done, self.written = 0, 0

    def run(self) -> ExportReport:
        """Write all, and say what was written."""
        with tempfile.TemporaryDirectory(dir=_scratch(self._job), prefix=".part-") as scratch:
            at, file = 0, 0
            while at < len(self._episodes):
                at = self._write_file(Path(scratch), file, at)
                file += 1
        self._write_meta()
        return self._report()

    def _write_file(self, scratch: Path, number: int, first: int) -> int:
        """Write episodes into one file of rows and one of each video, until one is full."""
        from pyarrow import parquet

        file, at = _File(number), first
        paths = {"": fill(DATA_PATH[3], "", **file.at)}
        for feature in self._videos:
            paths[feature.name] = fill(VIDEO_PATH[3], "", video_key=feature.name, **file.at)
        parts = {name: scratch / f"{n}" for n, name in enumerate(paths)}
        with ExitStack() as open_files:
            rows = parquet.ParquetWriter(parts[""], self._schema(), compression="snappy")
            open_files.enter_context(rows)
            videos = {
                feature.name: open_files.enter_context(self._video(feature, parts[feature.name]))
                for feature in self._videos
            }
            while at < len(self._episodes):
                episode = self._episodes[at]
                self._begin(episode, at, file)
                table = self._write_episode(episode, videos)
                rows.write_table(table)
                file.frames += len(episode)
                at += 1
                file.size += table.nbytes
                most = max((video.size for video in videos.values()), default=0)
                if file.size >= self._sizes["data"] or most >= self._sizes["video"]:
                    break
        for name, path in paths.items():
            self._job.root.put(parts[name], path)
            self.written += 1
        return at

    def _video(self, feature: Feature, path: Path) -> Mp4Writer:
        height, width = feature.said["shape"][:2]
        return Mp4Writer(path, self._encodings[feature.name], height, width, self._rate)

    def _begin(self, episode: Episode, number: int, file: _File) -> None:
        """Say of an episode where it lies."""
        first = sum(len(one) for one in self._episodes[:number])
        at = file.at
        episode.said = {
            "episode_index": number,
            "length": len(episode),
            "data/chunk_index": at["chunk_index"],
            "data/file_index": at["file_index"],
            "dataset_from_index": first,
            "dataset_to_index": first + len(episode),
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for feature in self._videos:
            head = f"videos/{feature.name}"
            episode.said |= {
                f"{head}/chunk_index": at["chunk_index"],
                f"{head}/file_index": at["file_index"],
                f"{head}/from_timestamp": float(file.frames / self._rate),
                f"{head}/to_timestamp": float((file.frames + len(episode)) / self._rate),
            }

    def _write_episode(self, episode: Episode, videos: Mapping[str, Mp4Writer]) -> Any:
        """Write an episode's videos, and return its rows."""
        cells: dict[str, list[Any]] = {feature.name: [] for feature in self._columns}
        told: list[str] = []
        stats = {f.name: f.collector() for f in self._features if f.collector is not None}
        for start in range(0, len(episode), BATCH):
            own = episode.samples[start : start + BATCH]
            for n, sample in zip(own, self._job.dataset.batch(own), strict=True):
                _check_there(self._job, n, sample)
                told.append(sample[self._tell].tobytes().decode() if self._tell else UNTOLD)
                for feature in self._features:
                    array = sample[feature.task.name]
                    self._check_shape(feature, array, n)
                    if feature.name in stats:
                        stats[feature.name].add(feature.gathered(array))
                    if feature.name in videos:
                        videos[feature.name].add(feature.picture(array))
                    else:
                        cells[feature.name].append(feature.cell(array))
            self._done += len(own)
            self._job.progress(self._done, len(self._job.dataset))
        own_cells = self._own_cells(episode, told)
        for name, values in own_cells.items():
            numbers = Numbers()
            for value in values:
                numbers.add(np.asarray(value))
            stats[name] = numbers
        self._keep(episode, told, stats)
        pa = arrow()
        schema = self._schema()
        columns = {**cells, **own_cells}
        arrays = [pa.array(columns[one.name], one.type) for one in schema]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _check_shape(self, feature: Feature, array: NDArray[Any], n: int) -> None:
        shape = feature.said["shape"]
        fits = (
            [*array.shape[:2]] == shape[:2]
            if feature.task.is_map
            else feature.task.is_blob or ([*array.shape] or [1]) == shape
        )
        if not fits:
            key = self._job.archive.key(int(self._job.dataset.indices[n]))
            raise UsageError(
                f"--to lerobot: {feature.task.name} of sample {key} has the shape {array.shape}, "
                f"and the first one {tuple(shape)}; LeRobot has one shape a feature: leave the "
                "task out with --tasks, or such samples with --where"
            )

    def _own_cells(self, episode: Episode, told: Sequence[str]) -> dict[str, list[Any]]:
        first = episode.said["dataset_from_index"]
        count = len(episode)
        numbers = [self._told.setdefault(text, len(self._told)) for text in told]
        return {
            "timestamp": [float(np.float32(n / self._rate)) for n in range(count)],
            "frame_index": list(range(count)),
            "episode_index": [episode.said["episode_index"]] * count,
            "index": list(range(first, first + count)),
            "task_index": numbers,
        }

    def _keep(self, episode: Episode, told: Sequence[str], stats: Mapping[str, Collector]) -> None:
        """Keep what is said of an episode, and add its figures to those of all."""
        episode.said["tasks"] = list(dict.fromkeys(told))
        for name, collector in stats.items():
            for figure, value in collector.stats().items():
                episode.said[f"stats/{name}/{figure}"] = value
            if name in self._stats:
                self._stats[name].merge(collector)
            else:
                self._stats[name] = collector

    def _schema(self) -> Any:
        """Return the schema of rows, as `datasets` notes it."""
        pa = arrow()
        fields = [feature.column for feature in self._columns]
        noted = {feature.name: feature.noted for feature in self._columns}
        for name, said in OWN_FEATURES.items():
            fields.append(pa.field(name, getattr(pa, said["dtype"])()))
            noted[name] = {"_type": "Value", "dtype": said["dtype"]}
        features = json.dumps({"info": {"features": noted}})
        return pa.schema(fields, {HUGGINGFACE: features})

    # meta

    def _write_meta(self) -> None:
        """Write what is said of the whole; ``meta/info.json``, which makes it whole, last."""
        pa = arrow()
        names = list(dict.fromkeys(name for one in self._episodes for name in one.said))
        columns = {name: [one.said.get(name) for one in self._episodes] for name in names}
        self._write_table(EPISODES, pa.table({n: pa.array(v) for n, v in columns.items()}))
        texts = list(self._told)
        table = pa.table({"task_index": pa.array(range(len(texts)), pa.int64()), TOLD: texts})
        self._write_table(TASKS, table.replace_schema_metadata({"pandas": PANDAS}))
        stats = {name: collector.stats() for name, collector in self._stats.items()}
        self._write_json(STATS, stats)
        self._write_json(INFO, self._info())

    def _info(self) -> dict[str, Any]:
        rate = int(self._rate) if self._rate.denominator == 1 else float(self._rate)
        features: dict[str, Any] = {}
        for feature in self._features:
            said = dict(feature.said)
            if feature.encoding is not None:
                said["info"] = {**said["info"], "video.fps": rate}
            features[feature.name] = said
        kept = {name: self._before[name] for name in ("tools",) if name in self._before}
        return {
            "codebase_version": "v3.0",
            "robot_type": self._before.get("robot_type"),
            "total_episodes": len(self._episodes),
            "total_frames": sum(map(len, self._episodes)),
            "total_tasks": len(self._told),
            "chunks_size": A_CHUNK,
            "data_files_size_in_mb": max(1, self._sizes["data"] // 1_000_000),
            "video_files_size_in_mb": max(1, self._sizes["video"] // 1_000_000),
            "fps": rate,
            "splits": self._splits(),
            "data_path": DATA_PATH[3],
            "video_path": VIDEO_PATH[3] if self._videos else None,
            "features": {**features, **OWN_FEATURES},
            **kept,
        }

    def _splits(self) -> dict[str, str]:
        found: dict[str, list[int]] = {}
        for n, episode in enumerate(self._episodes):
            found.setdefault(episode.split, []).append(n)
        return {split: f"{own[0]}:{own[-1] + 1}" for split, own in found.items()}

    def _write_table(self, path: str, table: Any) -> None:
        from pyarrow import parquet

        buffer = io.BytesIO()
        parquet.write_table(table, buffer)
        self._job.root.write(path, buffer.getvalue())
        self.written += 1

    def _write_json(self, path: str, value: Any) -> None:
        self._job.root.write(path, json.dumps(value, indent=4).encode() + b"\n")
        self.written += 1

    def _report(self) -> ExportReport:
        n = len(self._episodes)
        notes = [f"{n} episode{'s' * (n > 1)}, {float(self._rate):g} frames a second"]
        gaps = [one for one in self._episodes if one.frames != list(range(len(one)))]
        if gaps:
            notes.append(
                f"{len(gaps)} episodes whose frames had other numbers, or gaps between them: "
                "frames are numbered 0, 1, 2, ..."
            )
        odd = [one.name for one in self._episodes if not self._is_steady(one)]
        if odd:
            notes.append(
                f"{len(odd)} episodes ({odd[0]}, ...) whose times are not those of a steady rate: "
                "a frame's time is its number over the frames a second"
            )
        for feature in self._features:
            if feature.codes is not None and feature.beyond:
                notes.append(
                    f"{feature.task.name}: {feature.beyond} frames have depth beyond "
                    f"{feature.codes.far_m:g} m, which is that there; --image-format png keeps it"
                )
        if self._videos:
            names = ", ".join(feature.task.name for feature in self._videos)
            notes.append(f"{names}: video, which is a second loss; --image-format png has none")
        if self._tell is None:
            notes.append(f"no text called {TOLD}: the robot was told {UNTOLD!r} in every episode")
        return ExportReport(
            self._job.dataset.tasks,
            self.written,
            0,
            dict.fromkeys(_names(self._job), 0),
            tuple(notes),
        )

    def _is_steady(self, episode: Episode) -> bool:
        """Tell whether times are those that LeRobot has for a frame's number."""
        begin = next((time for time in episode.times if time is not None), 0)
        first = episode.times.index(begin) if begin in episode.times else 0
        wanted = [(n - first) * NS / self._rate for n in range(len(episode))]
        return all(
            time is None or abs(time - begin - due) < STEADY * NS / self._rate
            for time, due in zip(episode.times, wanted, strict=True)
        )


def _scratch(job: ExportJob) -> Path | None:
    local = job.root.local
    if local is not None:
        local.mkdir(parents=True, exist_ok=True)
    return local
