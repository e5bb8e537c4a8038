"""What choosing by trying, targets and bounds cost, and what they give away for it.

    python -m benchmarks.auto

- ``choices``: the race of ``--codec auto`` beside trying every codec on every sample at the
  smallest quality that matches the reference. Bytes a sample of both choices, measured alike;
  processor seconds; encodes.
- ``vga``: ``--codec auto`` on ten frames of 640×480, rgb and depth.
- ``below``: ``--max-error`` without a codec beside all codecs at every fourth quality.
- ``beside``: processor time of ``--target`` and ``--max-error`` beside plain compression at the
  qualities that they found, encodes a sample, and bytes beside the smallest quality that will do.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dsc._codecs.base import Sample
from dsc._codecs.registry import distinct_codecs
from dsc._pipeline.choose.auto import choose_by_trying, usual_below
from dsc._pipeline.choose.candidates import list_candidates
from dsc._pipeline.choose.codec_set import CodecSet, pixels_of
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.crops import Piece
from dsc._pipeline.choose.distortion import distortion
from dsc._pipeline.choose.probe import Probe, Spread
from dsc._pipeline.choose.race import Race
from dsc._pipeline.choose.remembered import Budget, Memory
from dsc._pipeline.choose.trial import Entry, References, Tried
from dsc._schemas import Bound, Quality, Target, Task
from dsc._sources.base import Source
from dsc._sources.registry import open_source
from dsc.errors import BitstreamError, CodecError

SETS: dict[str, tuple[str, str | None, dict[str, Any], tuple[str, ...]]] = {
    "nyuv2": ("nyuv2", "nyuv2", {"split": "test"}, ("rgb", "depth")),
    "7scenes": ("folder", "sevenscenes", {}, ("rgb", "depth")),
    "views": ("sample", None, {"n": 16}, ("rgb", "depth_zbuffer", "normal")),
    "kodak": ("folder", "kodak", {}, ("rgb",)),
}
BOUNDS = (("nyuv2", "1%"), ("7scenes", "1%"), ("7scenes", "0.5%"))
PROMISES = (
    ("nyuv2", "target", "rgb=38dB"), ("nyuv2", "target", "depth=0.5%"),
    ("nyuv2", "max_error", "depth=1%"), ("7scenes", "target", "rgb=36dB"),
    ("7scenes", "max_error", "depth=1%"),
)  # fmt: skip
FOREVER = Budget(float("inf"))


def opened(name: str, data: str) -> tuple[Source, list[Task]]:
    """Open a set; return it with the tasks that are coded."""
    source, root, options, names = SETS[name]
    found = open_source(source, root and str(Path(data) / root), **options)
    return found, [task for task in found.tasks if task.name in names]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what something gives, and the processor seconds that it took."""
    began_s = time.process_time()
    return work(), time.process_time() - began_s


def make_race(source: Source, tasks: Sequence[Task], quality: Quality, count: int) -> Race:
    probe = Probe(tuple(tasks), quality, Spread(source, tasks, count, "fail"))
    listed = list_candidates(tasks, quality, distinct_codecs())
    return Race(probe, len(source), listed, FOREVER)


def exhaustive(race: Race, pieces: Sequence[Piece]) -> list[Entry]:
    """Measure every candidate on every sample, at the smallest qualities that match."""
    memory = Memory()
    references = References(race.probe, memory)
    found = []
    for candidate in race.candidates:
        try:
            tried = Tried(candidate, race.probe, references, memory)
            found.append(tried.measure(pieces, is_crop=False, exactly=True))
        except (CodecError, BitstreamError):
            continue
    print(f"  every codec: {sum(memory.encodes.values())} encodes", end="; ")
    return found


def choices(data: str, count: int, names: Sequence[str]) -> None:
    """Print what the race chooses, and what trying everything would have chosen."""
    for name in names:
        source, tasks = opened(name, data)
        race = make_race(source, tasks, Quality(), count)
        best, race_s = timed(race.run)
        pieces = race.probe.pieces(count)
        other = make_race(source, tasks, Quality(), count)
        entries, all_s = timed(lambda race=other, pieces=pieces: exhaustive(race, pieces))
        cheapest = other.cover(entries, [task.name for task in tasks]) or []
        own = {(trial.codec, trial.tasks) for trial in best}
        mine = [e for e in entries if (e.trial.codec, e.trial.tasks) in own]
        sizes = [sum(map(other.cost, chosen)) for chosen in (mine, cheapest)]
        print(f"race: {sum(race.memory.encodes.values())}, ended on {race.stage} samples")
        for word, chosen, size, taken_s in (
            ("race", mine, sizes[0], race_s), ("every codec", cheapest, sizes[1], all_s),
        ):  # fmt: skip
            text = ", ".join(f"{' + '.join(e.trial.tasks)}={e.trial.codec}" for e in chosen)
            print(f"  {name:8} {word:12} {size:10,.0f} bytes a sample {taken_s:7.1f} s  {text}")
        print(f"  {name}: {sizes[0] / sizes[1]:.4f} of the bytes, {race_s / all_s:.3f} of the time")


class Part:
    """The first samples of a source."""

    def __init__(self, source: Source, count: int) -> None:
        self._source, self._count = source, count
        self.name, self.tasks = source.name, source.tasks
        self.key, self.read, self.describe = source.key, source.read, source.describe

    def __len__(self) -> int:
        return min(self._count, len(self._source))


def vga(data: str, count: int) -> None:
    """Print how long ``--codec auto`` takes on frames of 640×480."""
    source, tasks = opened("nyuv2", data)
    choice, taken_s = timed(lambda: choose_by_trying(Part(source, count), tasks, Quality()))
    print(f"--codec auto, {count} frames of 640×480, rgb + depth: {taken_s:.1f} s of one core,")
    print(f"  {dict(choice.codecs)}, cut short: {choice.is_cut_short}")


def below(data: str, count: int) -> None:
    """Print what is chosen below a bound, and what the long way finds."""
    for name, bound in BOUNDS:
        source, tasks = opened(name, data)
        (task,) = (task for task in tasks if task.name == "depth")
        asked = Quality(max_error=Bound.parse(f"depth={bound}", [task]))
        choice, quick_s = timed(
            lambda source=source, task=task, asked=asked: choose_by_trying(
                source, [task], asked, below=["depth"]
            )
        )
        samples = [one for (one,) in Spread(source, [task], count, "fail").first(count)]
        own = bounded_bytes(choice.codecs["depth"], choice.quality["depth"], task, asked, samples)
        began_s, found = time.process_time(), {}
        for candidate in list_candidates([task], asked, distinct_codecs()):
            for quality in range(4, 101, 4):
                found[candidate.word, quality] = bounded_bytes(
                    candidate.word, quality, task, asked, samples
                )
        word, quality = min(found, key=lambda key: found[key])
        least, long_s = found[word, quality], time.process_time() - began_s
        print(
            f"{name} depth={bound}: {choice.codecs['depth']} {choice.quality['depth']} in "
            f"{quick_s:.1f} s, {own:,.0f} bytes a sample; of all {len(found)}: {word} {quality} in "
            f"{long_s:.0f} s, {least:,.0f}: {own / least:.4f}"
        )


def bounded_bytes(
    word: str, quality: int, task: Task, asked: Quality, samples: Sequence[Sample]
) -> float:
    codecs = CodecSet.assigned({task.name: word}, [task], [task.name])
    coded = codecs.encode_batch(samples, asked.having({task.name: quality}))
    return sum(len(data) for one in coded for data in one.values()) / len(samples)


class Counted(CodecSet):
    """Counts the samples that it encodes."""

    encodes = 0

    def encode_groups(
        self, groups: Sequence[Sequence[Sample]], quality: Quality
    ) -> list[dict[str, bytes]]:
        """Encode and count."""
        self.encodes += sum(map(len, groups))
        return super().encode_groups(groups, quality)


def beside(name: str, kind: str, text: str, data: str, count: int, word: str | None) -> None:
    """Print how much more than plain compression a promise takes."""
    source, tasks = opened(name, data)
    (task,) = (task for task in tasks if text.startswith(f"{task.name}="))
    bounded = [task.name] if kind == "max_error" else []
    part = Part(source, count)
    samples = [part.read(index, [task.name]).arrays for index in range(len(part))]
    given: Any = Target.parse(text, tasks) if kind == "target" else Bound.parse(text, tasks)
    asked = Quality(**{"targets" if kind == "target" else kind: given})
    chosen, tuned_s = word or usual_below(task)[0], 0.0
    if bounded and not word:
        choice, tuned_s = timed(lambda: choose_by_trying(part, [task], asked, below=[task.name]))
        chosen, asked = choice.codecs[task.name], asked.having(choice.quality)
    codecs = Counted.assigned({task.name: chosen}, [task], bounded)
    groups = [[sample] for sample in samples]
    coded, taken_s = timed(lambda: Coding((task,), codecs, asked).encoder().encode(groups))
    plain = CodecSet.assigned({task.name: chosen}, [task])
    found = [Quality(default=one.reached[0][3]) for one in coded]
    _, plain_s = timed(lambda: [
        plain.encode_batch([sample], quality)
        for sample, quality in zip(samples, found, strict=True)
    ])  # fmt: skip
    size = sum(len(data) for one in coded for data in one.payloads.values())
    more = "" if bounded else f", bytes {size / least_bytes(plain, task, asked, samples):.4f}"
    print(
        f"{name} --{kind.replace('_', '-')} {text} by {chosen}: "
        f"{codecs.encodes / len(samples):.2f} encodes a sample, "
        f"{(taken_s + tuned_s) / plain_s:.2f} × plain (tuning {tuned_s / plain_s:.2f}){more}",
        flush=True,
    )


def least_bytes(codecs: CodecSet, task: Task, asked: Quality, samples: Sequence[Sample]) -> int:
    """Return the bytes of the smallest quality of each sample that meets the target."""
    target, total = asked.targets[task.name], 0
    for sample in samples:
        low, high, best = 1, 100, b""
        while low <= high:
            middle = (low + high) // 2
            (coded,) = codecs.encode_batch([sample], Quality(default=middle))
            decoded = codecs.decode_alone(coded, [task.name], pixels_of(sample))[task.name]
            if target.is_met(distortion(task, target.metric, sample[task.name], decoded)):
                best, high = coded[task.name], middle - 1
            else:
                low = middle + 1
        total += len(best)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=["choices", "vga", "below", "beside"])
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--samples", type=int, default=2, help="of choices and below")
    parser.add_argument("--frames", type=int, default=10, help="of vga and beside")
    parser.add_argument("--codec", help="of beside; default: the usual one")
    args = parser.parse_args()
    if "choices" in args.parts:
        choices(args.data, args.samples, args.sets.split(","))
    if "vga" in args.parts:
        vga(args.data, args.frames)
    if "below" in args.parts:
        below(args.data, args.samples)
    if "beside" in args.parts:
        for promise in PROMISES:
            beside(*promise, args.data, args.frames, args.codec)


if __name__ == "__main__":
    main()
