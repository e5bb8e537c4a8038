"""Whether samples are frames of recordings, which is what codecs of groups are for."""

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._sources.base import CodedSource, Source, coded_of, place_of
from dsc.errors import SampleError, UsageError

LOOKED_AT = 256  # neighbours, spread over a source
ASKED = 4  # frames, spread over a source


def is_recorded(source: Source) -> bool:
    """Tell whether some sample of a source follows another one in a recording."""
    pairs = len(source) - 1
    count = min(pairs, LOOKED_AT)
    return any(_follows(source, part * pairs // count) for part in range(count))


def _follows(source: Source, index: int) -> bool:
    one, other = place_of(source, index), place_of(source, index + 1)
    return one is not None and other is not None and one.sequence == other.sequence


def predicted(codecs: CodecSet) -> list[str]:
    """Name the tasks whose frames are to be predicted from one another."""
    grouped = [name for name in codecs.tasks if codecs.is_grouped(codecs.slot_of(name))]
    return [name for name in grouped if name not in codecs.kept]


def check_recorded(codecs: CodecSet, source: Source) -> None:
    """Refuse codecs of groups for samples that are no recordings.

    Raises
    ------
    UsageError
        Naming codec and tasks, and how recordings are told.
    """
    names = predicted(codecs)
    if not names or is_recorded(source):
        return
    task, word = names[0], codecs.codec_name(names[0])
    raise UsageError(
        f"--codec {task}={word}: {word} codes the frames of recordings together, and no sample "
        "here is known to follow another one in a recording; say with --sequence-by which samples "
        f"are of one, or leave {task} to the usual codec"
    )


def check_kept(codecs: CodecSet, source: Source) -> None:
    """Refuse to keep frames of a source of which no frame can be kept.

    Raises
    ------
    UsageError
        Saying why not.
    """
    for task in sorted(codecs.kept):
        refusals = _refusals(source, task)
        if all(refusals):
            raise UsageError(f"--codec {task}={codecs.codec_name(task)}: {refusals[0]}")


def are_kept(source: Source, task: str) -> bool:
    """Tell whether some frames of a source, spread over it, can all be kept as they are coded."""
    return isinstance(source, CodedSource) and not any(_refusals(source, task))


def _refusals(source: Source, task: str) -> list[str]:
    spread = [part * len(source) // ASKED for part in range(ASKED)]
    return [_refusal_to_keep(source, index, task) for index in spread]


def _refusal_to_keep(source: Source, index: int, task: str) -> str:
    """Say why a frame cannot be kept; nothing where it can."""
    try:
        coded_of(source, index, task)
    except SampleError as error:
        return str(error)
    return ""
