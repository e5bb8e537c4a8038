"""The candidate `derived`: tasks that follow from others, coded with what they follow from.

Which tasks follow is found on the set's samples, as ``dsc compress`` finds it. What they follow
from is coded by the usual codec of its kind, at the same quality. So a task's own bits are what it
adds to these, and its bits alone hold them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from dsc._bench.environment import package_version
from dsc._bench.rate_distortion.candidates import DERIVED, ComparedCodec, code_hash
from dsc._bench.rate_distortion.datasets import BenchSet
from dsc._codecs.base import Array, Sample
from dsc._codecs.derived.rules import rule_of
from dsc._codecs.derived.ways import FoundRule
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import choose_codecs
from dsc._pipeline.choose.derive import find_rules
from dsc._schemas import Quality, Stream, Task


@dataclass(frozen=True)
class NotedRule:
    """How a task follows from others: the rule's id, what it takes, its parameters as JSON."""

    task: str
    rule: str
    inputs: tuple[str, ...]
    params: str

    def made(self, tasks: Mapping[str, Task]) -> FoundRule:
        """Make the rule."""
        inputs = [tasks[name] for name in self.inputs]
        return rule_of(self.rule, tasks[self.task], inputs, json.loads(self.params))


@dataclass(frozen=True)
class FollowingTasks(ComparedCodec):
    """The candidate on one set.

    Attributes
    ----------
    rules
        What follows there.
    """

    rules: tuple[NotedRule, ...] = ()

    @classmethod
    def found(cls, name: str, data: BenchSet) -> Self:
        """Find what follows on a set."""
        tasks = data.schemas()
        rules = find_rules(data.opened(), tasks, choose_codecs(None, tasks), ())
        return cls(name, DERIVED, rules=tuple(_noted(task, rule) for task, rule in rules.items()))

    def groups(self, tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
        """Return what follows and what it follows from, in one group; none where nothing does."""
        names = {name for rule in self._there(tasks) for name in (rule.task, *rule.inputs)}
        return [tuple(task for task in tasks if task.name in names)] if names else []

    def timed(self, tasks: Sequence[Task]) -> dict[str, list[Task]]:
        """Return the tasks whose times are taken: all together."""
        return {"lossy": [task for group in self.groups(tasks) for task in group]}

    def make(self, tasks: Sequence[Task]) -> "Together":
        """Make the codecs of these tasks."""
        known = {task.name: task for task in tasks}
        rules = {rule.task: rule.made(known) for rule in self._there(tasks)}
        words = choose_codecs(None, tasks)
        return Together(tuple(tasks), CodecSet.assigned(words, tasks, rules=rules))

    def identity(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Say in JSON what decides its bytes."""
        codecs = self.make(tasks).codecs
        made = [codecs.codec(slot) for slot in range(len(codecs.records()))]
        return {
            "id": self.codec,
            "rules": [asdict(rule) for rule in self.rules],
            "codecs": [
                {"id": one.id, "config": one.config(), "code": code_hash(type(one))} for one in made
            ],
            "tasks": [task.model_dump(mode="json") for task in tasks],
            "versions": {part: package_version(part) for part in ("dsc", "imagecodecs")},
        }

    def _there(self, tasks: Sequence[Task]) -> list[NotedRule]:
        names = {task.name for task in tasks}
        return [rule for rule in self.rules if names.issuperset((rule.task, *rule.inputs))]


@dataclass(frozen=True)
class Together:
    """Several codecs as one, which has no weights of its own."""

    tasks: tuple[Task, ...]
    codecs: CodecSet

    def streams(self) -> tuple[Stream, ...]:
        """Return the streams of all."""
        return self.codecs.streams()

    def encode_batch(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode, each task after those that it follows from."""
        return self.codecs.encode_batch(samples, quality)

    def decode_batch(
        self, streams: Sequence[Mapping[str, bytes]], tasks: Sequence[str], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode, each task after those that it follows from."""
        return self.codecs.decode_batch(streams, tasks, max_pixels)

    def weights(self) -> bytes | None:
        """Return None."""
        return None


def on_set(candidates: Sequence[ComparedCodec], data: BenchSet) -> tuple[ComparedCodec, ...]:
    """Return candidates as they are on a set: `derived` is what follows there."""
    return tuple(
        FollowingTasks.found(one.name, data) if one.codec == DERIVED else one for one in candidates
    )


def _noted(task: str, rule: FoundRule) -> NotedRule:
    return NotedRule(task, rule.id, tuple(rule.inputs), json.dumps(rule.params(), sort_keys=True))
