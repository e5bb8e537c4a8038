"""Makes the codecs that a request asks for; where that is left to dsc, by trying, and only once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dsc._jobs.archive.output import Output
from dsc._jobs.archive.request import Request
from dsc._pipeline.choose.auto import Report, choose_by_trying
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import Spec, choose_codecs, is_joint
from dsc._schemas import Quality, Task
from dsc._schemas.choice import Choice
from dsc._sources.registry import Source
from dsc.errors import CodecError, UsageError

OnChoice = Callable[[Choice], None]


@dataclass(frozen=True)
class Coding:
    """How the tasks are coded: the codecs, the quality, and how the codecs were chosen."""

    codec_set: CodecSet
    quality: Quality
    choice: Choice | None = None


def choose_coding(
    request: Request,
    source: Source,
    tasks: Sequence[Task],
    output: Output,
    on_choice: OnChoice | None = None,
    report: Report | None = None,
) -> Coding:
    """Make the codecs of a request.

    A choice that an earlier run of the same request left at the output is taken as it is.

    Raises
    ------
    UsageError
        When an option cannot be honoured.
    """
    spec = Spec.parse(request.codec, [task.name for task in tasks])
    bounded = _bounded(request, tasks)
    automatic = spec.automatic(tasks, bounded)
    if not automatic:
        codec_set = CodecSet.from_spec(spec, tasks, bounded)
        shared = [stream.name for stream in codec_set.streams() if not stream.carries]
        return Coding(codec_set, request.choose_quality(tasks, shared))
    asked = request.choose_quality(tasks)
    rest = [task for task in tasks if task not in automatic]
    words = choose_codecs(spec, rest) if rest else {}
    choice = _stored(output, asked, request.auto_samples, automatic)
    if choice is None:
        choice = choose_by_trying(
            source,
            automatic,
            asked,
            request.auto_samples,
            spec.extra,
            [word for word in dict.fromkeys(words.values()) if is_joint(word)],
            request.on_error,
            report,
        )
    if on_choice is not None:
        on_choice(choice)
    try:
        codec_set = CodecSet.assigned({**words, **choice.codecs}, tasks, bounded)
    except CodecError as error:
        raise UsageError(f"--codec {spec.text or 'unset'}: {error}") from None
    return Coding(codec_set, asked.having(choice.quality), choice)


def _bounded(request: Request, tasks: Sequence[Task]) -> tuple[str, ...]:
    given = request.quality.max_error if isinstance(request.quality, Quality) else {}
    return tuple({**given, **request.bounds(tasks)})


def _stored(output: Output, asked: Quality, samples: int, tasks: Sequence[Task]) -> Choice | None:
    """Return the choice that lies at the output, if it was made for the same question."""
    found = output.manifest or output.plan
    choice = found.choice if found else None
    if choice is None or (choice.asked, choice.samples) != (asked, samples):
        return None
    return choice if set(choice.codecs) == {task.name for task in tasks} else None
