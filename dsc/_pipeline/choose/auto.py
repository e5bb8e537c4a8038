"""Chooses codecs by trying: ``--codec auto``, and the codec below a bound where none is named.

Every codec that can take a task is a candidate (`candidates`), and is measured on samples spread
over the dataset (`probe`), at equal distortion (`trial`). Its cost is all of its streams for its
tasks, prerequisites included, their entries in the packs, and its codec file, which the archive
holds once: for a small dataset a file of megabytes does not pay. The choice is the cheapest set of
candidates that covers every task once, found in a race (`race`). As the usual codec of each kind,
which says what distortion is equal, is a candidate, nobody stores more than with these, as far as
the tried samples tell.

Tasks that follow from others are not tried. What they follow from is coded by what decodes to the
same integers on every machine, for that is what they are computed from.

Below a bound without ``auto`` only the usual codec and JPEG XL are tried, on crops: what a bound
costs depends most on the quality below it, and where the bound is tight, on the codec.
"""

from collections.abc import Mapping, Sequence
from math import inf

from dsc._codecs.derived.ways import FoundRule
from dsc._codecs.registry import distinct_codecs
from dsc._pipeline.choose.candidates import CodecCandidate, list_candidates
from dsc._pipeline.choose.codec_spec import OF_RECORDINGS, classical_codec, default_codec
from dsc._pipeline.choose.derive import decodes_alike
from dsc._pipeline.choose.probe import Probe, Spread
from dsc._pipeline.choose.race import Race, TrialProgress, named
from dsc._pipeline.choose.recorded import is_recorded
from dsc._pipeline.choose.remembered import Budget, Memory
from dsc._pipeline.options import DEFAULT_MINUTES, DEFAULT_SAMPLES
from dsc._schemas import Access, Effort, Quality, Task
from dsc._schemas.choice import Choice
from dsc._sources.base import Source
from dsc.errors import UsageError

TIGHT = "jxl"  # keeps a bound by itself, or is without loss


def choose_by_trying(
    source: Source,
    tasks: Sequence[Task],
    quality: Quality,
    samples: int = DEFAULT_SAMPLES,
    minutes: float = DEFAULT_MINUTES,
    words: Sequence[str] = (),
    excluded: Sequence[str] = (),
    below: Sequence[str] = (),
    effort: Effort = Effort.DEFAULT,
    access: Access = Access.BALANCED,
    on_error: str = "fail",
    report: TrialProgress | None = None,
    follows: Mapping[str, FoundRule] | None = None,
) -> Choice:
    """Choose a codec for each task.

    Parameters
    ----------
    tasks
        The tasks to choose for.
    quality
        As it was asked: a quality, targets, bounds.
    samples
        How many samples to try on at most, spread evenly over the source.
    minutes
        When to end with the best so far; 0 for no limit.
    words
        Codec files to try beside the registered codecs.
    excluded
        Codecs that are not tried: joint ones that code other tasks already.
    below
        Names of bounded tasks that are to be coded by what is usual below a bound.
    effort, access
        At which all candidates are tried.
    on_error
        Whether a sample that cannot be read is an error (``fail``) or passed over.
    report
        See `TrialProgress`.
    follows
        By name, those of the tasks that follow from others, and how: they are not tried, and where
        a sample's map is none of the rule's, the usual codec of its kind stores it.

    Raises
    ------
    UsageError
        When the source is empty, or no codec can do what is asked for a task.
    SampleError
        When a sample cannot be read.
    """
    if samples < 1:
        raise UsageError(f"--auto-samples {samples}: at least 1")
    # a codec of another package is chosen by name only: whoever reads the archive will need it
    recorded = is_recorded(source)
    follows = {} if follows is None else follows
    derived = {t.name: default_codec(t, is_recorded=recorded) for t in tasks if t.name in follows}
    tasks = [task for task in tasks if task.name not in follows]
    if not tasks:
        return Choice(asked=quality, effort=effort, samples=samples, metric={}, reference={},
                      codecs=derived, quality={}, trials=(), follows=_told(follows))  # fmt: skip
    own = (*distinct_codecs(), *((OF_RECORDINGS,) if recorded else ()))
    tried = [word for word in (*words, *own) if word not in excluded]
    few = {task.name: usual_below(task, recorded) for task in tasks if task.name in below}
    candidates, refused = _kept_alike(list_candidates(tasks, quality, tried, few), follows)
    together = max((one.codecs().group_size for one in candidates), default=1) if recorded else 1
    _check_all_taken(tasks, candidates)
    race = Race(
        Probe(tuple(tasks), quality, Spread(source, tasks, samples, on_error, together)),
        len(source),
        candidates,
        Budget(60 * minutes or inf),
        report,
        is_quick=len(few) == len(tasks),
        memory=Memory(effort=effort, access=access),
        refused=refused,
    )
    best = race.run()
    choice = _choice(race, samples, {id(trial) for trial in best})
    codecs = {**choice.codecs, **derived}
    return choice.model_copy(update={"codecs": codecs, "follows": _told(follows)})


def usual_below(task: Task, is_recorded: bool = False) -> tuple[str, ...]:
    """Name the codecs that are tried below a bound where nobody asked for more."""
    usual = default_codec(task, is_recorded=True) if is_recorded else classical_codec(task)
    return tuple(dict.fromkeys((classical_codec(task), usual, TIGHT)))


def _kept_alike(
    candidates: Sequence[CodecCandidate], follows: Mapping[str, FoundRule]
) -> tuple[list[CodecCandidate], dict[str, str]]:
    """Leave out what decodes a task that others follow from differently elsewhere; say why."""
    kept, refused = [], {}
    for one in candidates:
        held = {
            child: task.name
            for child, rule in follows.items()
            for task in one.tasks
            if task.name in rule.inputs and not decodes_alike(task, one.word)
        }
        if not held:
            kept.append(one)
        elif len(one.tasks) == 1:
            children = ", ".join(held)
            refused[named(one)] = (
                f"{children} follow{'s' * (len(held) == 1)} from {one.names[0]}, which has to come "
                "back the same on every machine"
            )
    return kept, refused


def _told(follows: Mapping[str, FoundRule]) -> dict[str, str]:
    """Say what each task follows from, and by which rule."""
    return {name: f"{', '.join(rule.inputs)} by {rule.id}" for name, rule in follows.items()}


def _check_all_taken(tasks: Sequence[Task], candidates: Sequence[CodecCandidate]) -> None:
    for task in tasks:
        if not any(task in candidate.tasks for candidate in candidates):
            raise UsageError(
                f"--codec auto: no codec takes {task.name} ({task.kind.value}, {task.dtype}); "
                "leave the task out, or convert it to 8 or 16 bits"
            )


def _choice(race: Race, samples: int, chosen: set[int]) -> Choice:
    probe = race.probe
    trials = race.trials()
    best = [trial for trial in trials if id(trial) in chosen]
    codec_of = {name: trial.codec for trial in best for name in trial.tasks}
    return Choice(
        asked=probe.quality,
        effort=race.memory.effort,
        samples=samples,
        metric=probe.metrics(),
        reference=_reached(race),
        codecs={task.name: codec_of[task.name] for task in probe.tasks},
        quality={name: value for trial in best for name, value in trial.quality.items()},
        trials=tuple(
            trial.model_copy(update={"is_chosen": id(trial) in chosen}) for trial in trials
        ),
        refused=race.refused,
        is_cut_short=race.is_cut_short,
    )


def _reached(race: Race) -> Mapping[str, float]:
    """Return the distortion that every candidate had to reach, by task."""
    pieces = race.probe.pieces(race.stage)
    wanted = {
        task.name: race.references.of(task, pieces)
        for task in race.probe.tasks
        if race.probe.is_matched(task)
    }
    return {name: target.value for name, target in wanted.items() if target is not None}
