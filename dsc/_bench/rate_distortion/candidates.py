"""The codecs that are compared: registered ones, codec files, and AVIF at its slow setting.

A candidate is written ``ID``, ``ID@FILE`` for a codec file other than the one that comes with dsc,
or ``LABEL=ID@FILE`` to show it under a name of its own.
"""

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from dsc._bench.environment import package_version
from dsc._codecs.base import Array, Codec, JointCodec, Sample
from dsc._codecs.registry import (
    AROUND,
    CODECS,
    OF_GROUPS,
    SAME_AS,
    codec_class,
    codec_names,
    is_codec,
)
from dsc._schemas import Quality, Stream, Task, TaskKind
from dsc.errors import CodecError, UnknownCodecError, UsageError

SLOW_AVIF = "avif-s4"
CLASSICAL = ("jpeg", "webp", "avif", SLOW_AVIF, "jxl")
LOSSLESS = ("png", "jxl-lossless", "exact")
DERIVED = "derived"  # stands for what `following` finds on each set
# the same scale of quality
_ALIKE = dict.fromkeys((SLOW_AVIF, "av1", "av1-psnr", "av1-fast", "normal-palette"), "avif")

USUAL_QUALITIES = (5, 20, 40, 60, 80, 95)
# Chosen so that the curves of one kind cover about the same distortions: each codec's scale is its
# own. Their ends on NYUv2, 7-Scenes and rendered views: 24 to 45 dB, AbsRel 2 to 0.1 %.
_QUALITIES: dict[TaskKind, dict[str, tuple[int, ...]]] = {
    TaskKind.IMAGE: {
        "jpeg": (5, 10, 20, 35, 50, 75),
        "webp": (1, 10, 30, 55, 80, 95),
        "avif": (10, 20, 35, 50, 65, 80),
        "jxl": (5, 20, 40, 60, 80, 92),
    },
    TaskKind.DEPTH: {
        "jpeg": (5, 10, 20, 40, 65, 90),
        "webp": (1, 10, 35, 65, 85, 95),
        "avif": (5, 15, 30, 45, 60, 80),
        "jxl": (1, 10, 20, 30, 40, 60),
    },
    TaskKind.NORMAL: {
        "jpeg": (20, 40, 60, 80, 90, 97),
        "webp": (1, 20, 50, 80, 90, 97),
        "avif": (1, 10, 20, 35, 50, 70),
        "jxl": (20, 40, 60, 80, 92, 97),
    },
}
_WRITTEN = re.compile(r"(?:(?P<label>[\w.+-]+)=)?(?P<id>[\w.-]+)(?:@(?P<file>.+))?")


class Coder(Protocol):
    """What is measured: a codec, or several that code tasks together."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that it codes, in order."""
        ...

    def streams(self) -> tuple[Stream, ...]:
        """Return the stream graph."""
        ...

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode, see `dsc._codecs.base.Codec`."""
        ...

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode, see `dsc._codecs.base.Codec`."""
        ...

    def weights(self) -> bytes | None:
        """Return the file of the weights; None when there are none."""
        ...


@dataclass(frozen=True)
class ComparedCodec:
    """A codec under comparison.

    Attributes
    ----------
    name
        Shown in tables; unique.
    codec
        Registry id, or ``avif-s4``.
    file
        Path of the codec file; None for the weights that come with dsc.
    """

    name: str
    codec: str
    file: str | None = None

    @property
    def is_classical(self) -> bool:
        """Whether it is one of the usual image formats, written as files."""
        return self.codec in (*CLASSICAL, *LOSSLESS)

    def groups(self, tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
        """Return the tasks that it codes: all in one group when jointly, else one group a task.

        Raises
        ------
        CodecError
            When a joint codec has no weights, or weights for none of these tasks.
        """
        kind: object = _class_of(self.codec)
        if not isinstance(kind, JointCodec):
            return [(task,) for task in tasks if self._can_code(task)]
        chosen = kind.supported(tasks)
        try:
            return [self.make(chosen).tasks] if chosen else []
        except CodecError:
            coded = tuple(task for task in chosen if self._can_code(task))
            if not coded:
                raise
            return [coded]

    def _can_code(self, task: Task) -> bool:
        try:
            self.make([task])
        except CodecError:
            return False
        return True

    def timed(self, tasks: Sequence[Task]) -> dict[str, list[Task]]:
        """Return the tasks whose times are taken together: those with loss, and the labels."""
        coded = [task for group in self.groups(tasks) for task in group]
        lossy = [task for task in coded if not task.is_exact]
        return {"lossy": lossy, "label": [task for task in coded if task not in lossy]}

    def make(self, tasks: Sequence[Task]) -> Coder:
        """Make the codec for these tasks."""
        kind = _class_of(self.codec)
        if not self.file:
            return kind.for_tasks(tasks)
        config = {"tasks": [task.model_dump(mode="json") for task in tasks]}
        return kind.from_config(config, self._weights())

    def qualities(self, group: Sequence[Task], asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the qualities that a group of tasks is coded at; one where nothing is lost."""
        if self.codec in LOSSLESS or all(task.is_exact for task in group):
            return (100,)
        if asked:
            return tuple(sorted(set(asked)))
        usual = _QUALITIES.get(group[0].kind, {})
        return usual.get(_ALIKE.get(self.codec, self.codec), USUAL_QUALITIES)

    def identity(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Say in JSON what decides its bytes: code, weights, tasks, library versions."""
        codec = self.make(tasks)
        weights = codec.weights()
        parts = ["dsc", "imagecodecs"] if weights is None else ["dsc", "imagecodecs", "torch"]
        return {
            "id": self.codec,
            "code": code_hash(type(codec)),
            "weights": None if weights is None else hashlib.sha256(weights).hexdigest(),
            "tasks": [task.model_dump(mode="json") for task in tasks],
            "versions": {part: package_version(part) for part in parts},
        }

    def _weights(self) -> bytes:
        try:
            return Path(self.file or "").read_bytes()
        except OSError as error:
            raise UsageError(f"codec {self.name}: cannot read {self.file}: {error}") from None


def parse_candidates(text: str) -> list[ComparedCodec]:
    """Read candidates with commas; see the module.

    Raises
    ------
    UsageError
        When one cannot be read, or two have the same name.
    UnknownCodecError
        When a codec is not registered.
    """
    found: list[ComparedCodec] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _WRITTEN.fullmatch(part)
        if match is None:
            raise UsageError(f"--codecs {part}: write ID, ID@FILE or LABEL=ID@FILE")
        codec, file = match["id"], match["file"]
        name = match["label"] or (f"{codec}@{Path(file).stem}" if file else codec)
        if name in [candidate.name for candidate in found]:
            raise UsageError(f"--codecs: {name} twice; give each a label: LABEL={part}")
        if file and codec in AROUND:
            raise UsageError(f"--codecs {part}: {codec} has no codec file; write {codec}")
        if codec != SLOW_AVIF and not is_codec(codec):
            known = ", ".join((*codec_names(), SLOW_AVIF))
            raise UnknownCodecError(f"--codecs {part}: unknown codec {codec!r}; known: {known}")
        found.append(ComparedCodec(name, codec, file))
    if not found:
        raise UsageError(f"--codecs {text!r} names no codec")
    return found


def default_candidates() -> list[ComparedCodec]:
    """Return all of dsc's own codecs, what follows, the usual image formats, and PNG for labels."""
    formats = (*CLASSICAL, "png")
    left_out = (*formats, *LOSSLESS, *SAME_AS, *OF_GROUPS, *AROUND)
    own = [name for name in CODECS if name not in left_out]
    return [ComparedCodec(name, name) for name in (*own, DERIVED, *formats)]


def _class_of(codec: str) -> type[Codec]:
    if codec == SLOW_AVIF:
        from dsc._codecs.classical.avif import SlowAvifCodec

        return SlowAvifCodec
    return codec_class(codec)


@lru_cache(maxsize=64)
def code_hash(kind: type[object]) -> str:
    """Hash the packages that a codec is made of, so that it is run again when they were edited."""
    own = [c for c in kind.__mro__ if c.__module__.startswith("dsc.")]
    root = Path(inspect.getfile(Codec)).parent
    folders = {Path(inspect.getfile(part)).parent for part in own} - {root}
    files = sorted({*root.glob("*.py"), *(p for folder in folders for p in folder.rglob("*.py"))})
    digest = hashlib.sha256()
    for path in files:
        if path.name != "registry.py":
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
