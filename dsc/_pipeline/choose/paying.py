"""Leaves out rules that save nothing: what is stored anyway should require no other task.

A rule may give the values of the source and not those that are coded: edges of depth whose last
bits are lost, a map whose own picture takes fewer bytes than what the rule lacks. Such a task would
cost its parents wherever it is read alone. So a few samples are coded as they will be, and beside
them stored; a task that saves much on the first of them needs no second one.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from dsc._codecs.base import Sample
from dsc._codecs.derived.codec import DerivedCodec, DerivedForm
from dsc._codecs.derived.ways import FoundRule
from dsc._pipeline.choose.coding import Coding
from dsc._threads import single_thread
from dsc.errors import CodecError

LOOKED_AT = 4  # samples of a task
CLEAR, PAYS = 0.5, 0.95  # of the bytes of the stored task: needs no further sample; is worth it


def rules_that_pay(
    coding: Coding, rules: Mapping[str, FoundRule], samples: Iterable[Sample]
) -> dict[str, FoundRule]:
    """Return the rules that save bytes, and those that no sample tells of.

    Parameters
    ----------
    coding
        Codes all tasks, those that follow by their rules.
    samples
        Native arrays of some samples, by task; read as long as a rule is undecided.
    """
    idle = {name: _Sizes() for name in rules}
    for sample in samples if idle else ():
        with suppress(CodecError):  # of a sample that is told of when it is encoded
            _look_at(coding, rules, sample, idle)
        idle = {name: sizes for name, sizes in idle.items() if not sizes.is_clear}
        if all(sizes.samples >= LOOKED_AT for sizes in idle.values()):
            break
    return {name: rule for name, rule in rules.items() if name not in idle or idle[name].pays}


class _Sizes:
    """Bytes of a task as it is coded, and stored."""

    def __init__(self) -> None:
        self.samples = self.coded = self.stored = 0

    def add(self, coded: int, stored: int) -> None:
        self.samples, self.coded = self.samples + 1, self.coded + coded
        self.stored += stored

    @property
    def is_clear(self) -> bool:
        return self.samples > 0 and self.coded <= CLEAR * self.stored

    @property
    def pays(self) -> bool:
        return not self.samples or self.coded <= PAYS * self.stored


def _look_at(
    coding: Coding, rules: Mapping[str, FoundRule], sample: Sample, sizes: Mapping[str, _Sizes]
) -> None:
    """Code the undecided tasks of a sample that has all that they follow from."""
    codecs = coding.codec_set
    own = [
        name
        for name in sizes
        if name in sample
        and sizes[name].samples < LOOKED_AT
        and all(parent in sample for parent in rules[name].inputs)
    ]
    if not own:
        return
    slots = {codecs.slot_of(task) for name in own for task in (name, *rules[name].inputs)}
    part = {name: array for name, array in sample.items() if codecs.slot_of(name) in slots}
    (coded,) = coding.encoder().encode([[part]])
    for name in own:
        payload, codec = coded.payloads[name], codecs.codec(codecs.slot_of(name))
        stored = payload
        if isinstance(codec, DerivedCodec) and payload[:1] != bytes([DerivedForm.STORED]):
            with single_thread():
                stored = codec.encode_batch([{name: sample[name]}], coding.quality)[0][name]
        sizes[name].add(len(payload), len(stored))
