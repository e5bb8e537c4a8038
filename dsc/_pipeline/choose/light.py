"""Takes codecs without weights for few samples, where a codec's file would cost more than it saves.

Only codecs that nobody asked for by name are replaced, by codecs that give the same values back, or
values about as far off at the same quality, and only where samples at fixed places of the source
say so: equal data gives equal bytes. The heavy codecs have one file, which an archive holds once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan

from dsc._codecs.base import Sample, at_effort
from dsc._pipeline.choose.codec_spec import Spec, can_code, make
from dsc._schemas import Effort, Quality, Task
from dsc._schemas.quality import DEFAULT_QUALITY
from dsc._sources.base import Source, read_sample
from dsc.errors import CodecError, SampleError

MOST = 4096  # samples; with more, a file costs less than a few bytes a sample
LOOKED_AT = 4
# codecs with weights, and what may stand for them
HEAVY = {"label-context": ("label-scan", "exact", "jxl"), "normal-palette": ("av1",)}
# a codec that takes up to half a second to tell what it saves of a sample: it is not looked at for
# fewer samples, nor where the file is more than so many bytes a pixel, of which it saves a third
SLOW, FEWEST, MOST_SAVED = "normal-palette", 64, 1 / 32


@dataclass(frozen=True)
class _Scales:
    """What codecs are weighed by.

    Attributes
    ----------
    source
        All samples that there will be.
    samples
        Some of them.
    """

    source: Source
    samples: Sequence[Sample]
    effort: Effort
    quality: Quality

    def saved(
        self, tasks: Sequence[Task], words: Mapping[str, str]
    ) -> dict[str, tuple[str, float]]:
        """Return by task the lightest other codec, and the bytes that its own saves in all."""
        found = {}
        for task in tasks:
            own = self._mean(words[task.name], task)
            able = [word for word in HEAVY[words[task.name]] if can_code(word, [task])]
            sizes = {word: self._mean(word, task) for word in able}
            word = min(sizes, key=lambda word: sizes[word], default=words[task.name])
            saved = (sizes.get(word, inf) - own) * len(self.source)
            found[task.name] = word, 0.0 if isnan(saved) else saved  # of no sample: as it is
        return found

    def most_saved(self, tasks: Sequence[Task]) -> float:
        """Return the bytes that codecs of normals save in all at most, or about as many."""
        arrays = [one[task.name] for one in self.samples for task in tasks if task.name in one]
        pixels = sum(int(array.shape[0] * array.shape[1]) for array in arrays)
        return pixels * MOST_SAVED * len(self.source) / max(len(self.samples), 1)

    def _mean(self, word: str, task: Task) -> float:
        return mean_bytes(word, task, self.samples, self.effort, self.quality.of(task.name))


def without_weights(
    words: Mapping[str, str],
    spec: Spec,
    source: Source,
    tasks: Sequence[Task],
    effort: Effort,
    quality: Quality,
) -> dict[str, str]:
    """Return the codec of each task, those with weights replaced where that is fewer bytes in all.

    Parameters
    ----------
    words
        The codec of each task, as chosen so far.
    spec
        What was asked for by name.
    source
        All samples that there will be.
    quality
        Of each task, as asked.
    """
    own = [task for task in tasks if words.get(task.name) in HEAVY]
    is_named = any(word in HEAVY for word in (spec.general, *spec.chosen.values()))
    if not own or is_named or not 0 < len(source) <= MOST:
        return dict(words)
    weights = len(make(words[own[0].name], own[:1]).weights() or b"")
    slow = [task for task in own if words[task.name] == SLOW]
    quick = [task for task in own if task not in slow]
    looked_at = own if len(source) >= FEWEST else quick
    scales = _Scales(source, some_samples(source, looked_at), effort, quality)
    found = scales.saved(quick, words)
    if 0 < weights - _total(found) <= scales.most_saved(slow):
        found |= scales.saved(slow, words)
    if _total(found) >= weights:  # the file is there, and each task has what is best with it
        lighter = {name: word for name, (word, saved) in found.items() if saved < 0}
    else:
        lighter = {task.name: HEAVY[SLOW][0] for task in slow}
        lighter |= {name: word for name, (word, _) in found.items()}
    return {**words, **lighter}


def _total(found: Mapping[str, tuple[str, float]]) -> float:
    return sum(saved for _, saved in found.values() if saved > 0)


def some_samples(source: Source, tasks: Sequence[Task]) -> list[Sample]:
    """Read samples in the middles of equal parts; those that cannot be read are told later."""
    count = min(LOOKED_AT, len(source)) if tasks else 0
    found = []
    for part in range(count):
        index = (2 * part + 1) * len(source) // (2 * count)
        try:
            found.append(read_sample(source, index, [task.name for task in tasks]).arrays)
        except SampleError:
            continue
    return found


def mean_bytes(
    word: str,
    task: Task,
    samples: Sequence[Sample],
    effort: Effort,
    quality: int = DEFAULT_QUALITY,
) -> float:
    """Return the mean bytes of a task's bitstreams; infinity where one cannot be coded."""
    own = [{task.name: one[task.name]} for one in samples if task.name in one]
    if not own:
        return inf
    try:
        codec = at_effort(make(word, [task]), effort)
        coded = codec.encode_batch(own, Quality(default=quality))
    except CodecError:
        return inf
    return sum(len(payload) for one in coded for payload in one.values()) / len(samples)
