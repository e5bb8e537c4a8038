"""What the exemplars of a buffer hold: pictures, embeddings by a backbone, one or the other."""

from collections.abc import Sequence
from pathlib import Path

from dsc._schemas import Extractor, Task, TaskKind
from dsc.errors import StateMismatchError, UsageError

IMAGE = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
"""The task of a buffer that holds plain images."""

EMBEDDED = "embedding"
"""Name of the task of a buffer that holds embeddings."""

Side = int | str | None


def embedding_task(backbone: str, side: Side = None) -> Task:
    """Return the task of the embeddings that a backbone, as it is here, computes of pictures.

    Parameters
    ----------
    backbone
        Its name.
    side
        Pixels of the square that the whole shorter side of a picture is resized to, as
        ``--backbone-side`` of ``dsc replay run``; None for what it was trained with.

    Raises
    ------
    UsageError
        When there is no such backbone, or the side is smaller than its stride.
    MissingPackageError
        When what it needs is not installed.
    """
    from dsc._backbones.extract import make_extractor  # brings torch

    extractor = make_extractor(backbone, IMAGE.name, side=side)
    if side is not None:
        seen = extractor.preprocessing.model_copy(update={"crop": 1.0})
        extractor = extractor.model_copy(update={"preprocessing": seen})
    return task_of(extractor)


def task_of(extractor: Extractor) -> Task:
    """Return the task of the embeddings that an extractor computes of a buffer's pictures.

    Raises
    ------
    UsageError
        When the backbone here has other weights.
    """
    from dsc._backbones.extract import shape_of  # brings torch

    extractor = extractor.model_copy(update={"of": IMAGE.name})
    (size,) = shape_of(extractor)
    return Task(
        name=EMBEDDED, kind=TaskKind.EMBEDDING, dtype="float32", channels=size, extractor=extractor
    )


def is_picture(task: Task) -> bool:
    """Tell whether a task is pictures of 8 bits that may lose."""
    return task.kind is TaskKind.IMAGE and task.dtype == "uint8" and not task.is_exact


def new_tasks(
    tasks: Sequence[Task] | None, backbone: str | None, side: Side, pictures: float | None
) -> tuple[tuple[Task, ...], bool]:
    """Return what exemplars of a new buffer hold, and whether each is one bare array.

    Raises
    ------
    UsageError
        When the options do not go together.
    """
    if pictures is not None and not 0 < pictures < 1:
        raise UsageError(
            f"pictures={pictures}: the share of samples that are kept as pictures, above 0 and "
            "below 1; leave it out for embeddings alone, and backbone= for pictures alone"
        )
    if tasks is None:
        if backbone is None:
            _check_alone(side, pictures)
            return (IMAGE,), True
        embedded = embedding_task(backbone, side)
        if pictures is None:
            return (embedded,), True
        return (IMAGE, embedded), False
    names = [task.name for task in tasks if isinstance(task, Task)]
    if not tasks or len(set(names)) != len(tasks):
        raise UsageError(
            "tasks= takes Task values of different names, for example "
            "[Task(name='rgb', kind='image', dtype='uint8', channels=3)]"
        )
    if backbone is not None:
        raise UsageError("give backbone= or tasks=: a task names its backbone by extractor=")
    if pictures is not None:
        mixed(tasks)
    return tuple(tasks), False


def mixed(tasks: Sequence[Task]) -> tuple[Task, Task]:
    """Return pictures and embeddings, of which an exemplar has one.

    Raises
    ------
    UsageError
        When the tasks are not these two.
    """
    pictures = [task for task in tasks if is_picture(task)]
    embeddings = [task for task in tasks if task.kind is TaskKind.EMBEDDING]
    if len(tasks) != 2 or not pictures or not embeddings:
        listed = ", ".join(f"{task.name} ({task.kind.value})" for task in tasks)
        raise UsageError(
            f"pictures= is for buffers of one task of 8-bit images and one of embeddings, not of "
            f"{listed}"
        )
    return pictures[0], embeddings[0]


def check_backbone(path: Path, tasks: Sequence[Task], backbone: str | None, side: Side) -> None:
    """Check that the embeddings of a buffer that is there are by this very backbone.

    Raises
    ------
    StateMismatchError
        When they are by another one, by other weights of it, or of pictures of another size.
    """
    if backbone is None:
        if side is not None:
            raise UsageError(f"side={side} is of a backbone's pictures; give backbone=, too")
        return
    found = next((task.extractor for task in tasks if task.extractor is not None), None)
    if found is None:
        raise StateMismatchError(
            f"{path}: backbone={backbone}, but no backbone computed what this buffer holds "
            f"({', '.join(task.name for task in tasks)}); start another buffer"
        )
    asked = embedding_task(backbone, side).extractor
    if asked is not None and _known(asked, side) != _known(found, side):
        raise StateMismatchError(
            f"{path}: its embeddings are by {found}, weights {found.weights_sha256}; asked for is "
            f"{asked}, weights {asked.weights_sha256}. Vectors of two networks do not compare: "
            "open it with its own, or start another buffer"
        )


def _known(extractor: Extractor, side: Side) -> tuple[object, ...]:
    """Return what makes numbers comparable; the pictures' size where one is asked for."""
    known: tuple[object, ...] = (extractor.backbone, extractor.weights_sha256, extractor.layer)
    return known if side is None else (*known, extractor.preprocessing)


def _check_alone(side: Side, pictures: float | None) -> None:
    if side is not None or pictures is not None:
        name = "side" if side is not None else "pictures"
        raise UsageError(
            f"{name}= is of buffers that hold embeddings; name whose, for example "
            "backbone='efficientnet-lite0'"
        )
