"""Loads one codec, by its name or out of an archive: ``dsc.load_codec``."""

import os
from collections.abc import Sequence

from dsc._codecs.base import Codec
from dsc._codecs.registry import codec_names, is_codec, make_codec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Task, resolve_task, resolve_tasks
from dsc._storage.read.archive import Archive
from dsc.errors import ArchiveNotFoundError, UnknownCodecError, UsageError


def load_codec(name: str | os.PathLike[str], tasks: Sequence[str | Task] | None = None) -> Codec:
    """Load a codec.

    Parameters
    ----------
    name
        A registered codec (``shared-latent``, ``jxl``, ...), with the weights that come with dsc;
        or the path or URL of an archive, with the codec and weights it was written with.
    tasks
        What the codec is to code. For a registered codec: `Task` objects, or names, which then mean
        Taskonomy's encodings. For an archive: names of its tasks, all coded by one codec; None
        for all.

    Returns
    -------
    Codec
        With `encode_batch` and `decode_batch`; a learned one also with `unpack_latents` and
        `synthesize`.

    Raises
    ------
    UnknownCodecError
        When `name` is neither.
    UsageError
        When no tasks are given, or those of an archive are coded by several codecs.
    CodecError
        When the codec cannot code a task.
    """
    text = os.fspath(name)
    if is_codec(text):
        return make_codec(text, _tasks_of(text, tasks))
    try:
        archive = Archive.open(text)
    except ArchiveNotFoundError:
        raise UnknownCodecError(
            f"{text!r} is neither a codec ({', '.join(codec_names())}) nor an archive"
        ) from None
    return _codec_of(archive, tasks)


def _tasks_of(name: str, tasks: Sequence[str | Task] | None) -> list[Task]:
    from dsc._sources.taskonomy import DOMAINS

    if not tasks:
        raise UsageError(f'say what {name} is to code, for example tasks=["rgb", "depth"]')
    return [
        task if isinstance(task, Task) else DOMAINS[resolve_task(task, list(DOMAINS))]
        for task in tasks
    ]


def _codec_of(archive: Archive, tasks: Sequence[str | Task] | None) -> Codec:
    names = None if tasks is None else [t.name if isinstance(t, Task) else t for t in tasks]
    wanted = resolve_tasks(names, [task.name for task in archive.manifest.tasks])
    codecs = CodecSet.from_archive(archive)
    by_slot: dict[int, list[str]] = {}
    for stream in archive.manifest.streams:
        for task in stream.carries:
            if task in wanted:
                by_slot.setdefault(codecs.slots[stream.name], []).append(task)
    if len(by_slot) != 1:
        ids = archive.manifest.codecs
        found = "; ".join(f"{ids[slot].id}: {', '.join(own)}" for slot, own in by_slot.items())
        raise UsageError(
            f"{archive.root.url}: these tasks have several codecs ({found}); name tasks of one"
        )
    return codecs.codec(next(iter(by_slot)))
