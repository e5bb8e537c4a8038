"""Decides which codec codes which task, and how well: the one place where that is done.

What is asked (`dsc._pipeline.options.CodingOptions`) is read here, against the tasks of a source,
and becomes a `Coding`: every later step takes that value.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property

from dsc._codecs.derived.ways import FoundRule
from dsc._codecs.registry import LOSSLESS, OF_FILES
from dsc._pipeline.choose.auto import choose_by_trying
from dsc._pipeline.choose.codec_set import CodecSet, Standing
from dsc._pipeline.choose.codec_spec import Spec, choose_codecs, default_codec, is_joint
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.derive import (
    Derive,
    Known,
    ReadFirst,
    Samples,
    decodes_alike,
    find_rules,
    find_unlike,
    reader,
    saves_too_little,
)
from dsc._pipeline.choose.exactly import check_values, exact_codecs
from dsc._pipeline.choose.learn import with_learnt
from dsc._pipeline.choose.light import without_weights
from dsc._pipeline.choose.paying import rules_that_pay
from dsc._pipeline.choose.race import TrialProgress
from dsc._pipeline.choose.recorded import check_kept, check_recorded, is_recorded, predicted
from dsc._pipeline.options import CodingOptions
from dsc._schemas import (
    Access,
    Bound,
    BoundKind,
    CodecRecord,
    Effort,
    Quality,
    SourceReport,
    Target,
    Task,
    resolve_task,
)
from dsc._schemas.choice import Choice
from dsc._schemas.quality import DEFAULT_QUALITY
from dsc._sources.base import Source
from dsc.errors import CodecError, UnknownTaskError, UsageError

KEEP = "keep"
EXACTLY = Quality(default=100)  # of archives in which nothing is lost: it means nothing
OnChoice = Callable[[Choice], None]


def decide_coding(
    asked: CodingOptions,
    source: Source,
    tasks: Sequence[Task],
    report: SourceReport,
    *,
    earlier: Choice | None = None,
    known: Known | None = None,
    begun: Iterable[CodecRecord] | None = None,
    read: ReadFirst | None = None,
    on_error: str = "fail",
    on_choice: OnChoice | None = None,
    on_trial: TrialProgress | None = None,
) -> Coding:
    """Decide how tasks are coded.

    Parameters
    ----------
    source
        What codecs are tried on, where they are chosen by trying.
    tasks
        The tasks to code, in order (`coded_tasks`).
    report
        Of the source: says by how much depth is rounded when it is read.
    earlier
        A choice that an earlier run made; taken as it is if it was made for the same question.
    known
        Tasks that are there already, in an archive that gets these.
    begun
        The codecs of an earlier call that this one goes on with: their rules are taken, and what
        they know of samples.
    read
        Reads samples from which rules are found, and codecs learn; see `find_rules`.
    on_error
        Whether a sample to try on that cannot be read is an error (``fail``) or passed over.
    on_choice, on_trial
        Called with a choice by trying; on the way there, see `race.TrialProgress`.

    Raises
    ------
    UsageError
        When an option cannot be honoured.
    """
    question = _Question(asked, source, tuple(tasks), report, known, begun, read)
    if asked.exact:
        check_values(tasks, report)
    automatic = () if asked.exact else question.spec.automatic(tasks, tuple(question.bounds))
    if not automatic:
        return _by_words(question)
    return _by_trying(question, automatic, earlier, on_error, on_choice, on_trial)


@dataclass(frozen=True)
class _Question:
    """What is asked of which tasks, and where samples come from; see `decide_coding`."""

    asked: CodingOptions
    source: Source
    tasks: tuple[Task, ...]
    report: SourceReport
    known: Known | None
    begun: Iterable[CodecRecord] | None
    read: ReadFirst | None

    @cached_property
    def spec(self) -> Spec:
        return Spec.parse(self.asked.codec, [task.name for task in self.tasks])

    @cached_property
    def bounds(self) -> dict[str, Bound]:
        return _bounds(self.asked, self.tasks)

    @cached_property
    def effort(self) -> Effort:
        return Effort.parse(self.asked.effort)

    @cached_property
    def access(self) -> Access:
        return Access.parse(self.asked.access)

    @cached_property
    def is_recorded(self) -> bool:
        return is_recorded(self.source)

    @property
    def may_derive(self) -> bool:
        return Derive.parse(self.asked.derive) is not Derive.NEVER

    @property
    def is_new(self) -> bool:
        """Whether nothing is there yet whose rules were tried."""
        return self.known is None and self.begun is None

    def words(self) -> dict[str, str]:
        """Name the codecs that were asked for, and the usual ones of the other tasks."""
        if not self.asked.exact:
            return self.usual_words(self.tasks)
        words = exact_codecs(self.spec, self.source, self.tasks, self.effort, self.is_recorded)
        return without_weights(words, self.spec, self.source, self.tasks, self.effort, Quality())

    def usual_words(self, tasks: Sequence[Task]) -> dict[str, str]:
        """Name the codecs of some tasks, where values need not come back."""
        words = choose_codecs(self.spec, tasks, is_recorded=self.is_recorded)
        quality = Quality()
        with suppress(UsageError):  # which is told where all streams are known
            quality = asked_quality(self.asked, SourceReport(), tasks)
        return without_weights(words, self.spec, self.source, tasks, self.effort, quality)

    def rules(self, words: Mapping[str, str]) -> dict[str, FoundRule]:
        """Find which tasks follow from others; of those that something was asked for, none does."""
        if not self.may_derive:
            return {}
        promised = self._promised(words)
        return find_rules(
            self.source, self.tasks, words, promised, self.known, self.read, self.begun
        )

    def _promised(self, words: Mapping[str, str]) -> set[str]:
        """Name the tasks that are stored: something was asked for them, or files are kept."""
        quality = self.asked.quality
        targets = quality.targets if isinstance(quality, Quality) else {}
        searched = Target.parse(self.asked.target or "", self.tasks)
        kept = {name for name, word in words.items() if word in (*OF_FILES, KEEP)}
        return {*targets, *searched, *self.bounds, *self.spec.chosen, *kept}

    def codecs(self, words: Mapping[str, str], rules: Mapping[str, FoundRule]) -> CodecSet:
        """Make the codecs of all tasks, and refuse those that do not fit the source."""
        known = self.known
        given = None if known is None else Standing(known.tasks, known.streams)
        with self.explained():
            made = CodecSet.assigned(
                words, self.tasks, tuple(self.bounds), self.effort,
                access=self.access, rules=rules, given=given,
            )  # fmt: skip
        _check_fits(made, self.source, self.asked)
        return made

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say which option a codec was asked for by, where it cannot code a task."""
        try:
            yield
        except CodecError as error:
            raise UsageError(f"--codec {self.spec.text or 'unset'}: {error}") from None

    def paying(self, coding: Coding, rules: dict[str, FoundRule]) -> dict[str, FoundRule]:
        """Return the rules that save bytes; those of an earlier call have been tried."""
        if not self.is_new:
            return rules
        samples = Samples(len(self.source), self.read or reader(self.source, self._names))
        order = range(len(samples))
        far_first = (samples[place] for place in (*order[::2], *order[1::2]))
        return rules_that_pay(coding, rules, far_first)

    @property
    def _names(self) -> list[str]:
        return [task.name for task in self.tasks]

    def settled(
        self,
        coding: Coding,
        words: Mapping[str, str],
        rules: Mapping[str, FoundRule],
        kept: Mapping[str, FoundRule],
    ) -> Coding:
        """Return a coding with the rules that are kept, and codecs that know the samples."""
        codecs = coding.codec_set if kept == rules else self.codecs(words, kept)
        codecs = with_learnt(codecs, source=self.source, read=self.read, begun=self.begun)
        return replace(coding, codec_set=codecs, nearly=self._nearly(words, rules, kept))

    def _nearly(
        self,
        words: Mapping[str, str],
        rules: Mapping[str, FoundRule],
        kept: Mapping[str, FoundRule],
    ) -> dict[str, str]:
        """Say why tasks are stored that rules give: they do not pay, or may not be used."""
        if not self.is_new or not self.may_derive:
            return {}
        told = {name: saves_too_little(rule) for name, rule in rules.items() if name not in kept}
        promised = self._promised(words) | {*told}
        return told | find_unlike(self.source, self.tasks, words, promised, kept, self.read)


def _by_words(question: _Question) -> Coding:
    """Decide where each codec is named, or the usual one of its task's kind."""
    with question.explained():
        words = question.words()
        rules = question.rules(words)
    codecs = question.codecs(words, rules)
    shared = [stream.name for stream in codecs.streams() if not stream.carries]
    quality = asked_quality(question.asked, question.report, question.tasks, shared)
    _check_kept(question.spec, quality)
    coding = Coding(question.tasks, codecs, quality)
    return question.settled(coding, words, rules, question.paying(coding, rules))


def _by_trying(
    question: _Question,
    automatic: Sequence[Task],
    earlier: Choice | None,
    on_error: str,
    on_choice: OnChoice | None,
    on_trial: TrialProgress | None,
) -> Coding:
    """Decide where some tasks' codecs are left to trying."""
    asked, tasks = question.asked, question.tasks
    quality = asked_quality(asked, question.report, tasks)
    rest = [task for task in tasks if task not in automatic]
    words = question.usual_words(rest) if rest else {}
    usual = {t.name: default_codec(t, is_recorded=question.is_recorded) for t in automatic}
    rules = question.rules({**words, **usual})
    choice = _same_question(earlier, quality, question.effort, asked.tried, automatic)
    if choice is None:
        bounded = [task.name for task in tasks if task.is_map and task.name in question.bounds]
        choice = choose_by_trying(
            question.source,
            automatic,
            quality,
            asked.tried,
            asked.minutes,
            words=question.spec.extra,
            excluded=[word for word in dict.fromkeys(words.values()) if is_joint(word)],
            effort=question.effort,
            access=question.access,
            below=question.spec.below(bounded),
            on_error=on_error,
            report=on_trial,
            follows=rules,
        )
    chosen = {**words, **choice.codecs}
    rules = {name: rule for name, rule in rules.items() if _holds(rule, tasks, chosen)}
    coding = Coding(tasks, question.codecs(chosen, rules), quality.having(choice.quality), choice)
    kept = question.paying(coding, rules)
    told = {name: text for name, text in choice.follows.items() if name in kept}
    choice = choice.model_copy(update={"follows": told})
    coding = replace(question.settled(coding, chosen, rules, kept), choice=choice)
    if on_choice is not None:
        on_choice(choice)
    return coding


def _holds(rule: FoundRule, tasks: Sequence[Task], words: Mapping[str, str]) -> bool:
    """Tell whether what a rule takes is coded so that it is the same everywhere."""
    return all(decodes_alike(task, words[task.name]) for task in tasks if task.name in rule.inputs)


def _check_kept(spec: Spec, quality: Quality) -> None:
    """Refuse a promise about frames that are kept: nothing can be done for it.

    Raises
    ------
    UsageError
        When there is one.
    """
    kept = [name for name, word in spec.chosen.items() if word == KEEP]
    for option, named in (("--target", quality.targets), ("--max-error", quality.max_error)):
        both = [name for name in kept if name in named]
        if both:
            raise UsageError(
                f"{option} {both[0]}: its frames are kept as they are; give {both[0]} another codec"
            )


def _check_fits(codec_set: CodecSet, source: Source, asked: CodingOptions) -> None:
    """Refuse codecs of recordings without one, and an access to what is no recording.

    Raises
    ------
    UsageError
        When it is so.
    """
    check_recorded(codec_set, source)
    check_kept(codec_set, source)
    if asked.access is not None and not predicted(codec_set):
        names = ", ".join(dict.fromkeys(map(codec_set.codec_name, codec_set.tasks)))
        raise UsageError(
            f"--access {asked.access}: says what the frames of a recording are predicted from, and "
            f"none of the codecs here ({names}) predicts frames; leave it out"
        )


def asks_for_targets(asked: CodingOptions) -> bool:
    """Tell whether qualities will be searched, each sample's from where the last one's was."""
    targets = asked.quality.targets if isinstance(asked.quality, Quality) else {}
    return bool(targets or asked.target)


def coded_tasks(
    asked: CodingOptions, tasks: Sequence[Task], known: Sequence[str]
) -> tuple[Task, ...]:
    """Return the tasks as they are to be coded: one called a picture by name is no longer exact.

    What was only guessed to be ids is coded as ``--codec rgb=jpeg`` or ``--target rgb=38dB`` asks.

    Parameters
    ----------
    known
        Names of all tasks of the source.
    """
    words = Spec.parse(asked.codec, known).chosen
    lossy = {name for name, word in words.items() if word not in LOSSLESS}
    for part in (asked.target or "").split(","):
        name, equals, _ = part.partition("=")
        with suppress(UnknownTaskError):  # which is told where the target is read
            lossy |= {resolve_task(name.strip(), known)} if equals else set()
    return tuple(
        task.model_copy(update={"exact": False}) if task.name in lossy else task for task in tasks
    )


def asked_quality(
    asked: CodingOptions, report: SourceReport, tasks: Sequence[Task], streams: Sequence[str] = ()
) -> Quality:
    """Return the quality of each task that was asked for, with targets and bounds.

    A bound is a promise about the source's values, so what depth is rounded by is taken off it.

    Parameters
    ----------
    streams
        Names of streams that have a quality of their own, such as ``shared``.
    """
    if asked.exact:
        return EXACTLY
    names = [*(task.name for task in tasks), *streams]
    given = DEFAULT_QUALITY if asked.quality is None else asked.quality
    quality = given if isinstance(given, Quality) else Quality.parse(str(given), names)
    targets = {**quality.targets, **Target.parse(asked.target or "", tasks)}
    bounds = without_rounding(_bounds(asked, tasks), report)
    return quality.model_copy(update={"targets": targets, "max_error": bounds})


def _bounds(asked: CodingOptions, tasks: Sequence[Task]) -> dict[str, Bound]:
    """Return the bounds that the quality or ``--max-error`` asks for."""
    given = asked.quality.max_error if isinstance(asked.quality, Quality) else {}
    return {**given, **Bound.parse(asked.max_error or "", tasks)}


def without_rounding(bounds: Mapping[str, Bound], report: SourceReport) -> dict[str, Bound]:
    """Take what depth is rounded by, when it is read, off its bound.

    Raises
    ------
    UsageError
        When too little is left; the message gives the step that would do.
    """
    found = {}
    for name, bound in bounds.items():
        found[name] = bound
        task = report.tasks.get(name)
        if task is not None and task.rounding_m:
            found[name] = _narrower(name, bound, task.rounding_m, task.near_m)
    return found


def _narrower(name: str, bound: Bound, rounding_m: float, near_m: float) -> Bound:
    """Take a rounding off one bound; the nearest depth is where it is the largest share."""
    if bound.kind in (BoundKind.COUNTS, BoundKind.UNITS):
        return bound
    relative = bound.kind is BoundKind.RELATIVE
    lost = rounding_m * (1 + bound.value) / near_m if relative and near_m else rounding_m
    if lost > bound.value / 2:
        step_m = 2 * rounding_m * bound.value / (4 * lost)
        raise UsageError(
            f"--max-error {name}={bound}: depth is rounded by up to {rounding_m:g} m when it is "
            f"read, which takes more than half of it; store it in finer steps, with --depth-unit "
            f"{name}={step_m:.1g} or less"
        )
    return bound.model_copy(update={"value": bound.value - lost})


def _same_question(
    earlier: Choice | None, quality: Quality, effort: Effort, samples: int, tasks: Sequence[Task]
) -> Choice | None:
    """Return an earlier choice if it was made for the same question."""
    asked = (quality, effort, samples)
    if earlier is None or (earlier.asked, earlier.effort, earlier.samples) != asked:
        return None
    return earlier if set(earlier.codecs) == {task.name for task in tasks} else None
