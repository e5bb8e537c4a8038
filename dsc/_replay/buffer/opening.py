"""What is asked for when a replay buffer is made or opened, and whether it fits what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsc._codecs.base import Codec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._replay.buffer.meta import BufferMeta, SlotRecord
from dsc._replay.buffer.offered import IMAGE
from dsc._replay.buffer.slots import Encoding, make_codecs
from dsc._replay.policies.base import Policy
from dsc._replay.policies.registry import make_policy
from dsc._schemas import Quality, Task
from dsc._schemas.size import parse_bytes
from dsc.errors import StateMismatchError, UsageError

DEFAULT_POLICY, DEFAULT_CODEC, DEFAULT_QUALITY = "reservoir", "webp", 50


@dataclass(frozen=True)
class Options:
    """Options of `ReplayBuffer`; None where nothing was asked for."""

    budget: int | str | None
    policy: str | Policy | None
    seed: int | None
    tasks: Sequence[Task] | None
    count_decoder: bool | None


def new_meta(options: Options) -> BufferMeta:
    """Begin a buffer.

    Raises
    ------
    UsageError
        When there is no budget, or an option makes no sense.
    """
    if options.budget is None:
        raise UsageError("a new buffer needs budget=, for example ReplayBuffer(path, budget='5MB')")
    seed = options.seed or 0
    plain = options.tasks is None
    tasks = (IMAGE,) if options.tasks is None else tuple(options.tasks)
    names = [task.name for task in tasks if isinstance(task, Task)]
    if not tasks or len(set(names)) != len(tasks):
        raise UsageError(
            "tasks= takes Task values of different names, for example "
            "[Task(name='rgb', kind='image', dtype='uint8', channels=3)]"
        )
    return BufferMeta(
        budget=parse_bytes(options.budget, "budget"),
        count_decoder=bool(options.count_decoder),
        seed=seed,
        seeds=(seed,),
        policy=make_policy(options.policy or DEFAULT_POLICY).config(),
        tasks=tasks,
        plain=plain,
    )


def check_same(path: Path, meta: BufferMeta, options: Options) -> None:
    """Refuse options that differ from those of the buffer that is there.

    Raises
    ------
    StateMismatchError
        Naming both.
    """
    asked = {
        "budget": None if options.budget is None else parse_bytes(options.budget, "budget"),
        "policy": None if options.policy is None else make_policy(options.policy).config(),
        "seed": options.seed,
        "tasks": None if options.tasks is None else tuple(options.tasks),
        "count_decoder": options.count_decoder,
    }
    for name, value in asked.items():
        found = getattr(meta, name)
        if value is not None and value != found:
            hint = "; resize() changes it" if name == "budget" else ""
            raise StateMismatchError(
                f"{path}: {name}={_shown(value)}, but this buffer was made with {_shown(found)}"
                f"{hint}. Leave the option out, or start another buffer"
            )


def slot_to_write(
    meta: BufferMeta, codec: str | Codec | CodecSet | None, quality: int | str | Quality | None
) -> tuple[Encoding | None, SlotRecord]:
    """Choose with what new exemplars are encoded.

    Where only one of them is given, the other one stays, but another codec begins at the default
    quality.

    Returns
    -------
    The codecs, None where those of the slot are in the buffer with all they need; and the slot.
    """
    current = meta.current
    if codec is None and current is not None:
        return None, _at(current, quality, meta.tasks)
    codecs = make_codecs(DEFAULT_CODEC if codec is None else codec, meta.tasks)
    encoding = Encoding.of(codecs)
    if current is not None and current.streams == codecs.streams():
        if current.codecs == codecs.records() != encoding.records:
            return None, _at(current, quality, meta.tasks)  # an older version's, whole in the file
        if current.codecs == encoding.records:
            return encoding, _at(current, quality, meta.tasks)
    asked = quality_of(DEFAULT_QUALITY if quality is None else quality, meta.tasks)
    return encoding, encoding.slot(asked)


def _at(
    record: SlotRecord, quality: int | str | Quality | None, tasks: Sequence[Task]
) -> SlotRecord:
    if quality is None:
        return record
    return record.model_copy(update={"quality": quality_of(quality, tasks)})


def quality_of(quality: int | str | Quality, tasks: Sequence[Task]) -> Quality:
    """Read a quality: a number from 1 to 100, a text as for ``--quality``, or a value.

    Raises
    ------
    UsageError
        When it is none of these, or a target: a buffer's budget is bytes.
    """
    if not isinstance(quality, Quality):
        quality = Quality.parse(str(quality), [task.name for task in tasks])
    if quality.is_checked:
        raise UsageError("a replay buffer takes qualities, not targets or bounds of the error")
    return quality


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(getattr(item, "name", str(item)) for item in value)
    return str(value)
