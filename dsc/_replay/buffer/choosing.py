"""With which codecs new exemplars are encoded: as asked for, by the first images, as learnt.

A buffer that was opened without a word for its images has a `CodecWish` until images are offered;
their size decides, once, and the file remembers. A codec that a word names and that can learn of
samples does so from the first call of `add` that offers enough of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsc._codecs.base import Codec, LearningCodec
from dsc._codecs.registry import is_codec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import Spec, can_code, choose_codecs, takes
from dsc._replay.buffer.format import BufferMeta, CodecWish, SlotRecord
from dsc._replay.buffer.offered import OfferedSamples
from dsc._replay.buffer.slots import Encoding, make_codecs
from dsc._replay.buffer.tasks import is_picture
from dsc._schemas import Quality, Task
from dsc.errors import UsageError

DEFAULT_QUALITY = 50
SMALL_CODEC, LARGE_CODEC = "av1-small", "webp"
SMALL_SIDE = 256
"""Pixels of the shorter side up to which images are small."""
ENOUGH = 256
"""Samples of one call from which codecs learn."""
TRIED = 64
"""Samples that are encoded to see how many exemplars a budget holds."""

CodecLike = str | Codec | CodecSet
QualityLike = int | str | Quality


@dataclass(frozen=True)
class Choice:
    """What new exemplars are encoded with.

    Attributes
    ----------
    meta
        The buffer's record that says so.
    encoding
        The codecs; None where the buffer has all it needs of them.
    """

    meta: BufferMeta
    encoding: Encoding | None = None


def choose(meta: BufferMeta, codec: CodecLike | None, quality: QualityLike | None) -> Choice:
    """Choose codecs and quality as asked for.

    Where only one of them is given, the other one stays, but another codec begins at the default
    quality. Images that no word is for wait for the first ones that are offered.

    Raises
    ------
    UsageError, UnknownCodecError, UnknownTaskError
        When a codec or quality makes no sense.
    """
    tasks = meta.tasks
    if codec is None and (meta.current is not None or meta.wish is not None):
        return Choice(_at(meta, quality))
    if codec is not None and not isinstance(codec, str):
        return _taken(meta, make_codecs(codec, tasks), quality, learns=False)
    waiting = unnamed(codec, tasks)
    if waiting and meta.current is None:
        _check_readable(codec, waiting, tasks)
        wish = CodecWish(codec=codec, quality=_asked(quality, tasks))
        return Choice(meta.model_copy(update={"wish": wish}))
    words = {task.name: _word(meta.slot_to_fill, task) for task in waiting}
    return _taken(meta, make_codecs(spelled(codec, words), tasks), quality, learns=True)


def choose_by(meta: BufferMeta, offered: OfferedSamples) -> Choice:
    """Choose the codecs of a buffer that waits, by the images that it is offered first."""
    if meta.current is not None or meta.wish is None:
        return Choice(meta)
    tasks, wish = meta.tasks, meta.wish
    words = {task.name: usual_word(task, offered) for task in unnamed(wish.codec, tasks)}
    codecs = make_codecs(spelled(wish.codec, words), tasks)
    return _chosen(meta, Encoding.of(codecs), wish.quality, True)


def learnt(meta: BufferMeta, codecs: CodecSet, offered: OfferedSamples, room: int) -> Choice:
    """Let the codecs in use learn of samples, where they can and there are enough of them.

    Parameters
    ----------
    codecs
        Those in use.
    offered
        The samples.
    room
        Bytes that exemplars may take, by which what is learnt must pay for its own.
    """
    if not meta.learns or len(offered) < ENOUGH:
        return Choice(meta)
    quality = meta.slot_to_fill.quality
    held = _held(codecs, offered, quality, room)

    def learning(codec: Codec, streams: Sequence[str]) -> Codec:
        if not isinstance(codec, LearningCodec):
            return codec
        own = np.flatnonzero(np.any([offered.present[t.name] for t in codec.tasks], axis=0))
        if not len(own):
            return codec
        most = min(codec.learns_from, len(own))
        some = own[np.linspace(0, len(own) - 1, most).astype(np.int64)]
        samples = [offered.sample(at) for at in some.tolist()]
        return codec.learning(samples, held * len(own) // len(offered))

    return _chosen(meta, Encoding.of(codecs.changed(learning)), quality, False)


def unnamed(codec: str | None, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """List the tasks of pictures that a ``--codec`` option has no word for.

    Raises
    ------
    UnknownCodecError, UnknownTaskError, UsageError
        When the option cannot be read.
    """
    spec = Spec.parse(codec, [task.name for task in tasks])
    open_ = [task for task in tasks if is_picture(task) and task.name not in spec.chosen]
    taken = takes(spec.general, open_) if spec.general else ()
    known = (SMALL_CODEC, LARGE_CODEC)
    return tuple(t for t in open_ if t not in taken and any(can_code(one, [t]) for one in known))


def _check_readable(codec: str | None, waiting: Sequence[Task], tasks: Sequence[Task]) -> None:
    """Check all of an option that can be checked before there are images."""
    choose_codecs(codec, tasks, is_packed=False)
    make_codecs(spelled(codec, {task.name: LARGE_CODEC for task in waiting}), tasks)


def spelled(codec: str | None, words: Mapping[str, str]) -> str:
    """Add words for some tasks to a ``--codec`` option."""
    return ",".join([*filter(None, [codec]), *(f"{task}={word}" for task, word in words.items())])


def usual_word(task: Task, offered: OfferedSamples) -> str:
    """Return the codec that keeps images of this size best.

    At 32 and 64 pixels it was the one whose exemplars train best at equal bytes; up to 224 it takes
    two thirds of the other one's bytes at equal PSNR (docs/benchmarks.md).
    """
    there = np.flatnonzero(offered.present[task.name]).tolist()
    arrays: Any = offered.arrays[task.name]
    sides = [min(np.shape(arrays[at])[:2]) for at in there]
    small = bool(sides) and float(np.median(sides)) <= SMALL_SIDE
    return SMALL_CODEC if small and can_code(SMALL_CODEC, [task]) else LARGE_CODEC


def quality_of(quality: QualityLike, tasks: Sequence[Task]) -> Quality:
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


def _asked(quality: QualityLike | None, tasks: Sequence[Task]) -> Quality:
    return quality_of(DEFAULT_QUALITY if quality is None else quality, tasks)


def _taken(meta: BufferMeta, codecs: CodecSet, quality: QualityLike | None, learns: bool) -> Choice:
    """Go on with the codecs in use where they are these, else begin with these."""
    current = meta.current
    if current is not None and learns and _goes_on(current, codecs):
        return Choice(_at(meta, quality))
    encoding = Encoding.of(codecs)
    if current is not None and current.streams == codecs.streams():
        if current.codecs == codecs.records() != encoding.records:
            return Choice(_at(meta, quality))  # an older version's, whole in the file
        if current.codecs == encoding.records:
            return Choice(_at(meta, quality), encoding)
    return _chosen(meta, encoding, _asked(quality, meta.tasks), learns)


def _at(meta: BufferMeta, quality: QualityLike | None) -> BufferMeta:
    """Return a buffer's record with another quality of what is encoded from now on."""
    if quality is None:
        return meta
    asked: dict[str, Any] = {"quality": quality_of(quality, meta.tasks)}
    if meta.current is None:
        wish = meta.wish or CodecWish(**asked)
        return meta.model_copy(update={"wish": wish.model_copy(update=asked)})
    return meta.model_copy(update={"current": meta.current.model_copy(update=asked)})


def _chosen(meta: BufferMeta, encoding: Encoding, quality: Quality, learns: bool) -> Choice:
    codecs = encoding.codecs
    able = [isinstance(codecs.codec(slot), LearningCodec) for slot in range(len(encoding.records))]
    changes = {
        "current": encoding.slot(quality),
        "encoders": meta.encoders | encoding.encoders,
        "wish": None,
        "learns": learns and any(able),
    }
    return Choice(meta.model_copy(update=changes), encoding)


def _goes_on(current: SlotRecord, codecs: CodecSet) -> bool:
    """Tell whether codecs that were named are those in use, but for what these have learnt."""
    if current.streams != codecs.streams() or len(current.codecs) != len(codecs.records()):
        return False
    pairs = enumerate(zip(current.codecs, codecs.records(), strict=True))
    same = [
        there == named or (there.id == named.id and isinstance(codecs.codec(slot), LearningCodec))
        for slot, (there, named) in pairs
    ]
    return all(same)


def _word(current: SlotRecord, task: Task) -> str:
    """Name the codec in use for a task.

    Raises
    ------
    UsageError
        When no word names it.
    """
    streams = {stream.name for stream in current.streams if task.name in stream.carries}
    found = next(record.id for record in current.codecs if streams & set(record.streams))
    if not is_codec(found):
        raise UsageError(f"this buffer codes {task.name} by {found}; say {task.name}=CODEC, too")
    return found


def _held(codecs: CodecSet, offered: OfferedSamples, quality: Quality, room: int) -> int:
    """Return about how many exemplars a number of bytes holds."""
    some = np.unique(np.linspace(0, len(offered) - 1, TRIED).astype(np.int64))
    coded = codecs.encode_batch([offered.sample(at) for at in some.tolist()], quality)
    sizes = [sum(map(len, streams.values())) for streams in coded]
    return int(room // max(float(np.mean(sizes)), 1.0))
