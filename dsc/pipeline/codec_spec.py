"""Reads a ``--codec`` option: which codec codes which task.

The option is a codec id for every task that it can take, ``task=id`` for single tasks, or both:
``avif``, ``rgb=avif,depth=jxl``, ``shared-latent,label=png``. When no codec is named for all tasks,
rgb and depth go to `DEFAULT_CODEC`. What a codec for all tasks cannot take, and what is left, goes
to the classical codec that is best for its kind (`classical_codec`).
"""

from collections.abc import Sequence
from typing import Any

from dsc.codecs.base import Codec
from dsc.codecs.registry import codec_class
from dsc.errors import CodecError, UsageError
from dsc.schemas import Task, TaskKind, resolve_task

DEFAULT_CODEC = "shared-latent"
# Normals are left out: rendered normals are flat regions with sharp edges, which AVIF codes far
# better today (`python -m benchmarks.real_data --only rendered --codec shared-latent`).
DEFAULT_KINDS = (TaskKind.IMAGE, TaskKind.DEPTH)


def choose_codecs(spec: str | None, tasks: Sequence[Task]) -> dict[str, str]:
    """Choose a codec id for every task.

    Parameters
    ----------
    spec
        See the module; None or an empty text leaves all to the default.
    tasks
        The tasks to code, in order.

    Raises
    ------
    UsageError
        When the option names two codecs for all tasks, or one that codes none of them.
    UnknownCodecError, UnknownTaskError
        When it names a codec or task that is not there.
    """
    general, chosen = _parse_spec(spec or "", [task.name for task in tasks])
    rest = [task for task in tasks if task.name not in chosen]
    offered = [task for task in rest if general or task.kind in DEFAULT_KINDS]
    taken = {task.name for task in _takes(general or DEFAULT_CODEC, offered)}
    if general and rest and not taken:
        raise UsageError(
            f"--codec {spec}: {general} codes none of {', '.join(task.name for task in rest)}"
        )
    for task in rest:
        usual = general or DEFAULT_CODEC
        chosen[task.name] = usual if task.name in taken else classical_codec(task)
    return chosen


def classical_codec(task: Task) -> str:
    """Give the classical codec that is best for a task's kind."""
    if not task.is_map:
        return "vector"
    eight_bits = task.kind in (TaskKind.IMAGE, TaskKind.NORMAL) and task.dtype == "uint8"
    return "avif" if eight_bits else "jxl"


def _parse_spec(spec: str, available: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    general: str | None = None
    chosen: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in spec.split(","))):
        name, equals, codec_id = (piece.strip() for piece in part.rpartition("="))
        codec_class(codec_id)
        if equals:
            chosen[resolve_task(name, available)] = codec_id
        elif general is None:
            general = codec_id
        else:
            raise UsageError(
                f"--codec {spec}: both {general} and {codec_id} for all tasks; give one of them, "
                "and others as task=codec"
            )
    return general, chosen


def _takes(codec_id: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """List the tasks that a codec can code together."""
    kind: Any = codec_class(codec_id)
    if hasattr(kind, "supported"):  # joint codecs choose among the tasks; others judge each alone
        chosen: tuple[Task, ...] = kind.supported(tasks)
        return chosen
    return tuple(task for task in tasks if _can_code(kind, task))


def _can_code(kind: type[Codec], task: Task) -> bool:
    try:
        kind.for_tasks([task])
    except CodecError:
        return False
    return True
