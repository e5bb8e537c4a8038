"""Machine paths: tasks that are read of another task's stream, corrected for what a network sees.

Nobody writes them: they are asked for when an archive is read, as ``rgb:cls``, or with the share
of the correction, as ``rgb:cls:0.5``. What comes is the task ``rgb_cls``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from dsc._schemas.stream import Stream
from dsc.errors import UsageError

PATHS = {"cls": "classification", "seg": "segmentation"}
"""The paths that there are: by name, what the networks do that a path serves."""
CODECS = ("av1", "av1-fast", "av1-psnr", "avif")
"""Whose pictures they correct: bitstreams that say how coarsely they were quantised."""
SEPARATOR = ":"
WHOLE = 64  # parts that a strength is rounded to, so that it is exact in any arithmetic


@dataclass(frozen=True)
class MachinePath:
    """A second reconstruction of a task's bitstreams.

    Attributes
    ----------
    task
        The task whose stream is read.
    path
        For which kind of network, e.g. ``cls``.
    strength
        Share of the correction, 0 (what people see) to 1.
    """

    task: str
    path: str
    strength: float = 1.0

    @property
    def name(self) -> str:
        """The task's name in samples and batches."""
        return f"{self.task}_{self.path}"

    @property
    def parts(self) -> int:
        """The strength in 64ths."""
        return round(self.strength * WHOLE)

    def __str__(self) -> str:
        asked = f"{self.task}{SEPARATOR}{self.path}"
        return asked if self.strength == 1 else f"{asked}{SEPARATOR}{self.strength:g}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user asks for.

        Raises
        ------
        UsageError
            When it is not ``TASK:PATH`` or ``TASK:PATH:STRENGTH``, with a strength from 0 to 1.
        """
        task, path, *more = (part.strip() for part in text.split(SEPARATOR))
        try:
            strength = float(more[0]) if more else 1.0
        except ValueError:
            strength = -1.0
        if not task or not path or len(more) > 1 or not 0 <= strength <= 1:
            raise UsageError(
                f"task {text!r}: a machine path is TASK:PATH, such as rgb:cls, or "
                "TASK:PATH:STRENGTH with a strength from 0 to 1, such as rgb:cls:0.5"
            )
        return cls(task, path, strength)


def carrying(stream: Stream, paths: Sequence[MachinePath]) -> Stream:
    """Return a stream that carries the machine paths of its tasks too."""
    own = tuple(path.name for path in paths if path.task in stream.carries)
    return stream.model_copy(update={"carries": (*stream.carries, *own)}) if own else stream


def words_of(tasks: Sequence[str] | str | None) -> list[str] | None:
    """Return the names that are asked for, as a sequence or text with commas; None: all tasks."""
    if tasks is None:
        return None
    words = tasks.split(",") if isinstance(tasks, str) else tasks
    return [word.strip() for word in words if word.strip()]


def stored_words(tasks: Sequence[str] | str | None) -> list[str] | None:
    """Return the names that are asked for, the tasks of machine paths in their place."""
    words = words_of(tasks)
    if words is None:
        return None
    return [MachinePath.parse(word).task if SEPARATOR in word else word for word in words]
