"""Recordings, rendered when they are read: the source ``rendered``, for a machine without data.

Each recording is a sequence of frames, thirty a second, of a room of its own: by a camera that
walks through it (``--camera walk``), goes around its middle (``orbit``), or stands still while
things move (``fixed``). Depth, normals, labels, poses and intrinsics are exact. Any frame is
rendered by itself, the same whichever were rendered before, and however many are asked for.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

from numpy.typing import NDArray

from dsc._renderer.paths import CAMERAS, CameraKind
from dsc._renderer.recording import DEPTH_UNIT_M, FRAMES_PER_S, Recording
from dsc._renderer.solids import SEMANTIC_CLASSES
from dsc._schemas import SequencePlace, Task, TaskKind
from dsc._sources.base import SourceSample, find_task
from dsc._sources.meaning.decode import fit_to_task
from dsc._sources.rendered.further import further_tasks, is_further
from dsc._sources.rendered.sample import LARGEST, as_file
from dsc._sources.taskonomy import DOMAINS
from dsc.errors import UsageError

FRAMES = 64
WIDTH = 320
SMALLEST = 16
LOUDEST = 64.0  # noise that still leaves a picture
_SECOND_NS = 1_000_000_000
_KEPT = 2  # recordings whose light is kept, as readers go from one to the next

DEPTH = Task(
    name="depth",
    kind=TaskKind.DEPTH,
    dtype="uint16",
    unit_m=DEPTH_UNIT_M,
    valid_range=(1, 65535),
    invalid=(0,),
)
TASKS = (
    DOMAINS["rgb"],
    DEPTH,
    DOMAINS["normal"],
    Task(
        name="label",
        kind=TaskKind.LABEL,
        dtype="uint8",
        valid_range=(0, len(SEMANTIC_CLASSES) - 1),
        classes=SEMANTIC_CLASSES,
    ),
    Task(name="pose", kind=TaskKind.MATRIX, dtype="float32", shape=(4, 4)),
    Task(name="intrinsics", kind=TaskKind.MATRIX, dtype="float32", shape=(3, 3)),
)


class RecordingSource:
    """Recordings, rendered when read; see `dsc._sources.base.Source`."""

    name: ClassVar[str] = "rendered"

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._frames: int = options["frames"]
        self._width: int = options["size"]
        further = further_tasks(options.get("tasks"), TASKS, DEPTH)
        self._tasks = {task.name: task for task in (*TASKS, *further)}
        self._recordings: dict[int, Recording] = {}

    @classmethod
    def open(
        cls,
        frames: int = FRAMES,
        sequences: int = 1,
        camera: str = "walk",
        size: int = WIDTH,
        noise: float = 0.0,
        seed: int = 0,
        movers: int | None = None,
        tasks: Sequence[str] | str | None = None,
    ) -> Self:
        """Return recordings.

        Parameters
        ----------
        frames
            Frames of each recording.
        sequences
            Number of recordings.
        camera
            ``walk``, ``orbit`` or ``fixed``.
        size
            Width in pixels; the height is three quarters of it.
        noise
            Standard deviation of the noise of rgb, in counts; the same frame has the same noise.
        movers
            How many things move; None for three before a fixed camera, and else none.
        tasks
            Names or aliases of tasks that are wanted. The usual ones are there in any case, those
            of `FURTHER_TASKS` where they are named here.

        Raises
        ------
        UsageError
            When an option is out of range.
        """
        for name, value in (("frames", frames), ("sequences", sequences)):
            if int(value) < 1:
                raise UsageError(f"--{name} {value}: at least 1, as in --{name} 64")
        if camera not in CAMERAS:
            raise UsageError(f"--camera {camera}: {', '.join(CAMERAS[:-1])} or {CAMERAS[-1]}")
        if not SMALLEST <= int(size) <= LARGEST:
            raise UsageError(f"--size {size}: recordings are {SMALLEST} to {LARGEST} pixels wide")
        if not 0 <= float(noise) <= LOUDEST:
            raise UsageError(f"--noise {noise}: 0 to {LOUDEST:g} counts of 255")
        if movers is not None and not 0 <= int(movers) <= 32:
            raise UsageError(f"movers={movers}: 0 to 32 things that move")
        options = {
            "frames": int(frames), "sequences": int(sequences), "camera": camera,
            "size": int(size), "noise": float(noise), "seed": int(seed),
            "movers": None if movers is None else int(movers),
        }  # fmt: skip
        further = [task.name for task in further_tasks(tasks, TASKS, DEPTH)]
        return cls({**options, "tasks": further} if further else options)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The rendered tasks: the usual ones, then those that were asked for."""
        return tuple(self._tasks.values())

    def __len__(self) -> int:
        """Return the number of frames of all recordings."""
        return self._frames * int(self._options["sequences"])

    def key(self, index: int) -> str:
        """Return the key of a frame, such as ``walk-000_frame-000012``."""
        place = self.place(index)
        return f"{place.sequence}_frame-{place.frame:06d}"

    def place(self, index: int) -> SequencePlace:
        """Return the recording that a frame is of, its number there, and its time."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number, frame = divmod(index, self._frames)
        name = f"{self._options['camera']}-{number:03d}"
        return SequencePlace(name, frame, frame * _SECOND_NS // FRAMES_PER_S)

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Render a frame; its bytes are those of PNG files, and of matrices as they are.

        Raises
        ------
        UnknownTaskError
            When a task is not rendered.
        """
        key = self.key(index)
        chosen = [find_task(self._tasks, name) for name in tasks]
        frame = self._render(index, [task.name for task in chosen if is_further(task)])
        arrays = {task.name: fit_to_task(frame[task.name], task, key) for task in chosen}
        sizes = {
            task.name: len(as_file(arrays[task.name])) if task.is_map else frame[task.name].nbytes
            for task in chosen
        }
        return SourceSample(key, arrays, sizes)

    def describe(self) -> dict[str, Any]:
        """Return the JSON from which `source_from_description` makes the same source again."""
        return {"name": self.name, "root": None, "options": dict(self._options)}

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what can be found again."""
        return {**self.__dict__, "_recordings": {}}

    def _render(self, index: int, further: Sequence[str]) -> dict[str, NDArray[Any]]:
        number, frame = divmod(index, self._frames)
        width, noise = self._width, float(self._options["noise"])
        recording = self._recording(number)
        return recording.render(frame, width, max(width * 3 // 4, 1), noise, further)

    def _recording(self, number: int) -> Recording:
        found = self._recordings.get(number)
        if found is None:
            options = self._options
            kind = cast(CameraKind, options["camera"])
            found = Recording(kind, number, options["seed"], options["movers"])
            kept = list(self._recordings.items())[-_KEPT + 1 :]
            self._recordings = {**dict(kept), number: found}
        return found
