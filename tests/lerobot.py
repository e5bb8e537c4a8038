"""Small LeRobot datasets, made as `lerobot` lays them out: for tests, with PyAV and pyarrow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

LENGTHS = (13, 7, 16)
SIZE = (48, 64)  # height, width
FPS = 10
TOP, WRIST, DEPTH, PNG = (
    "observation.images.top", "observation.images.wrist", "observation.images.depth",
    "observation.image",
)  # fmt: skip
TEXTS = ("pick up the cube", "put it back – gently")
NEAR, FAR, SHIFT = 0.01, 10.0, 3.5


def picture(episode: int, frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth picture whose brightness tells episode and frame."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    level = 20 + 70 * episode + 4 * frame
    waves = 8 * np.sin(x / 9 + frame / 3) + 8 * np.cos(y / 7)
    return np.clip(level + waves[..., None] + [0, 6, 12], 0, 255).astype(np.uint8)


def depth_m(episode: int, frame: int) -> np.ndarray:
    """Depth in metres, 0 where there is none."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    found = 0.5 + 0.3 * episode + 0.02 * frame + x / width + y / height
    found[(x + y + frame) % 11 == 0] = 0.0
    return found


def depth_codes(metres: np.ndarray) -> np.ndarray:
    low, high = np.log(NEAR + SHIFT), np.log(FAR + SHIFT)
    norm = (np.log(metres + SHIFT) - low) / (high - low)
    return np.rint(norm * 4095).clip(0, 4095).astype(np.uint16)


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    rate: int | Fraction = FPS,
    stamps: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
    **options: Any,
) -> None:
    """Write frames (H, W, 3) uint8, or (H, W) 12-bit codes, as an MP4."""
    import av

    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        spelt = {name.replace("_", "-"): str(value) for name, value in options.items()}
        stream = out.add_stream(codec, rate=rate, options=spelt)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = pix_fmt, 1
        for n, array in enumerate(frames):
            form = "gray12le" if array.ndim == 2 else "rgb24"
            frame = av.VideoFrame.from_ndarray(array, format=form)
            frame.pts = n if stamps is None else stamps[n]
            frame.time_base = Fraction(1) / Fraction(rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


@dataclass
class Made:
    """What a dataset is made of.

    Attributes
    ----------
    video
        Options of `write_video` for the cameras.
    per_file
        How many episodes share a file, in version 3.
    notes
        Whether frames have a text that the first of an episode lacks.
    """

    version: str = "v3.0"
    lengths: Sequence[int] = LENGTHS
    cameras: Sequence[str] = (TOP,)
    depth: bool = False
    images: bool = False
    notes: bool = False
    splits: Mapping[str, str] | None = None
    video: Mapping[str, Any] = field(default_factory=lambda: {"g": 4, "bf": 2, "crf": 12})
    per_file: int = 2
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def size(self, camera: str) -> tuple[int, int]:
        return self.sizes.get(camera, SIZE)


def make(root: Path, made: Made | None = None) -> str:
    """Write a dataset below a directory, and return its path."""
    made = made or Made()
    root.mkdir(parents=True, exist_ok=True)
    _write_info(root, made)
    if made.version == "v3.0":
        _write_3(root, made)
    else:
        _write_2(root, made)
    return str(root)


def _features(made: Made) -> dict[str, Any]:
    one = {"shape": [1], "names": None}
    found: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "next.done": {"dtype": "bool", **one},
        "timestamp": {"dtype": "float32", **one},
        **{
            name: {"dtype": "int64", **one}
            for name in ("frame_index", "episode_index", "index", "task_index")
        },
    }
    names = ["height", "width", "channels"]
    for camera in made.cameras:
        info = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.fps": FPS}
        shape = [*made.size(camera), 3]
        found[camera] = {"dtype": "video", "shape": shape, "names": names, "info": info}
    if made.depth:
        info = {
            "is_depth_map": True,
            "video.codec": "hevc",
            "video.pix_fmt": "gray12le",
            "video.depth_min": NEAR,
            "video.depth_max": FAR,
            "video.shift": SHIFT,
            "video.use_log": True,
            "depth_unit": "mm",
        }
        found[DEPTH] = {"dtype": "video", "shape": [*SIZE, 1], "names": names, "info": info}
    if made.notes:
        found["note"] = {"dtype": "string", **one}
    if made.images:
        found[PNG] = {"dtype": "image", "shape": [*SIZE, 3], "names": names}
    return found


def _write_info(root: Path, made: Made) -> None:
    is_3 = made.version == "v3.0"
    info = {
        "codebase_version": made.version,
        "robot_type": "so100",
        "total_episodes": len(made.lengths),
        "total_frames": sum(made.lengths),
        "total_tasks": len(TEXTS),
        "chunks_size": 1000 if is_3 else 2,
        "fps": FPS,
        "splits": made.splits or {"train": f"0:{len(made.lengths)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if is_3
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if is_3
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": _features(made),
    }
    (root / "meta").mkdir(exist_ok=True)
    (root / "meta/info.json").write_text(json.dumps(info, indent=4))
    (root / "meta/stats.json").write_text("{}")


def rows(made: Made, episodes: Sequence[int]) -> Any:
    """Make the table of episodes' rows."""
    import pyarrow as pa

    frames = [(e, f) for e in episodes for f in range(made.lengths[e])]
    starts = np.cumsum([0, *made.lengths])
    state = [[e + f / 8, e - f / 4, f] for e, f in frames]
    columns: dict[str, Any] = {
        "observation.state": pa.array(state, pa.list_(pa.float32(), 3)),
        "action": pa.array([[f, e] for e, f in frames], pa.list_(pa.float32(), 2)),
        "next.done": pa.array([f == made.lengths[e] - 1 for e, f in frames]),
        "timestamp": pa.array([f / FPS for _, f in frames], pa.float32()),
        "frame_index": pa.array([f for _, f in frames], pa.int64()),
        "episode_index": pa.array([e for e, _ in frames], pa.int64()),
        "index": pa.array([int(starts[e]) + f for e, f in frames], pa.int64()),
        "task_index": pa.array([e % 2 for e, _ in frames], pa.int64()),
    }
    if made.notes:
        columns["note"] = pa.array([f"frame {f}" if f else None for _, f in frames])
    if made.images:
        files = [{"bytes": _png(picture(e, f)), "path": f"frame-{f:06d}.png"} for e, f in frames]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns[PNG] = pa.array(files, kind)
    return pa.table(columns)


def _png(array: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(array))


def _write_table(table: Any, path: Path) -> None:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


def _write_videos(
    root: Path, made: Made, template: str, episodes: Sequence[int], **at: Any
) -> None:
    frames = [(e, f) for e in episodes for f in range(made.lengths[e])]
    for camera in made.cameras:
        size = made.size(camera)
        shown = [picture(e, f, size) for e, f in frames]
        write_video(root / template.format(video_key=camera, **at), shown, **made.video)
    if made.depth:
        codes = [depth_codes(depth_m(e, f)) for e, f in frames]
        path = root / template.format(video_key=DEPTH, **at)
        lossless: dict[str, Any] = {"x265_params": "lossless=1:log-level=none", "g": 2}
        write_video(path, codes, "libx265", pix_fmt="gray12le", **lossless)


def _write_3(root: Path, made: Made) -> None:
    import pyarrow as pa

    features = [*made.cameras, *([DEPTH] if made.depth else [])]
    starts = np.cumsum([0, *made.lengths]).tolist()
    table: dict[str, list[Any]] = {}
    numbers = list(range(len(made.lengths)))
    for file, first in enumerate(range(0, len(numbers), made.per_file)):
        own = numbers[first : first + made.per_file]
        _write_table(rows(made, own), root / f"data/chunk-000/file-{file:03d}.parquet")
        template = "videos/{video_key}/chunk-000/file-{file_index:03d}.mp4"
        _write_videos(root, made, template, own, file_index=file)
        for episode in own:
            row: dict[str, Any] = {
                "episode_index": episode,
                "tasks": [TEXTS[episode % 2]],
                "length": made.lengths[episode],
                "data/chunk_index": 0,
                "data/file_index": file,
                "dataset_from_index": starts[episode],
                "dataset_to_index": starts[episode + 1],
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
            for name in features:
                begin = (starts[episode] - starts[first]) / FPS
                row[f"videos/{name}/chunk_index"] = 0
                row[f"videos/{name}/file_index"] = file
                row[f"videos/{name}/from_timestamp"] = begin
                row[f"videos/{name}/to_timestamp"] = begin + made.lengths[episode] / FPS
            for name, value in row.items():
                table.setdefault(name, []).append(value)
    _write_table(pa.table(table), root / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": list(TEXTS)})
    _write_table(tasks, root / "meta/tasks.parquet")


def _write_2(root: Path, made: Made) -> None:
    def lines(found: Sequence[Any]) -> str:
        return "".join(json.dumps(one) + "\n" for one in found)

    episodes = [
        {"episode_index": e, "tasks": [TEXTS[e % 2]], "length": length}
        for e, length in enumerate(made.lengths)
    ]
    (root / "meta/episodes.jsonl").write_text(lines(episodes))
    tasks = [{"task_index": n, "task": text} for n, text in enumerate(TEXTS)]
    (root / "meta/tasks.jsonl").write_text(lines(tasks))
    for episode in range(len(made.lengths)):
        at = {"episode_chunk": episode // 2, "episode_index": episode}
        path = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        _write_table(rows(made, [episode]), root / path.format(**at))
        template = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        _write_videos(root, made, template, [episode], **at)
