"""Takes codecs without weights for few samples, where a codec's file would cost more than it saves.

Only codecs that nobody asked for by name are replaced, only by codecs that give the same values
back, and only where samples at fixed places of the source say so: equal data gives equal bytes.
"""

from collections.abc import Mapping, Sequence

from dsc._codecs.base import Sample, at_effort
from dsc._pipeline.choose.codec_spec import Spec, can_code, make
from dsc._schemas import Effort, Quality, Task
from dsc._sources.base import Source, read_sample
from dsc.errors import CodecError, SampleError

MOST = 4096  # samples; with more, a file costs less than a few bytes a sample
LOOKED_AT = 4
HEAVY = {"label-context": ("exact", "jxl")}  # codecs with weights, and what may stand for them


def without_weights(
    words: Mapping[str, str], spec: Spec, source: Source, tasks: Sequence[Task], effort: Effort
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
    """
    found = dict(words)
    if not 0 < len(source) <= MOST:
        return found
    for heavy, others in HEAVY.items():
        own = [task for task in tasks if words.get(task.name) == heavy]
        if not own or spec.general == heavy or heavy in spec.chosen.values():
            continue
        samples = some_samples(source, own)
        weights = len(make(heavy, own).weights() or b"")
        best = {task.name: _lightest(task, others, samples, effort) for task in own}
        light = sum(size for _, size in best.values())
        if light * len(source) < weights + len(source) * sum(
            mean_bytes(heavy, task, samples, effort) for task in own
        ):
            found |= {name: word for name, (word, _) in best.items()}
    return found


def some_samples(source: Source, tasks: Sequence[Task]) -> list[Sample]:
    """Read samples in the middles of equal parts; those that cannot be read are told later."""
    count = min(LOOKED_AT, len(source))
    found = []
    for part in range(count):
        index = (2 * part + 1) * len(source) // (2 * count)
        try:
            found.append(read_sample(source, index, [task.name for task in tasks]).arrays)
        except SampleError:
            continue
    return found


def _lightest(
    task: Task, words: Sequence[str], samples: Sequence[Sample], effort: Effort
) -> tuple[str, float]:
    able = [word for word in words if can_code(word, [task])]
    sizes = {word: mean_bytes(word, task, samples, effort) for word in able}
    word = min(sizes, key=lambda word: sizes[word], default="")
    return word, sizes.get(word, float("inf"))


def mean_bytes(word: str, task: Task, samples: Sequence[Sample], effort: Effort) -> float:
    """Return the mean bytes of a task's bitstreams; infinity where one cannot be coded."""
    own = [{task.name: one[task.name]} for one in samples if task.name in one]
    if not own:
        return float("inf")
    try:
        coded = at_effort(make(word, [task]), effort).encode_batch(own, Quality())
    except CodecError:
        return float("inf")
    return sum(len(payload) for one in coded for payload in one.values()) / len(samples)
