"""Each sample reaches its target by hardly more than it takes, or is refused with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import dsc
from dsc._codecs.base import Array
from dsc._codecs.maps.base import TaskCodec
from dsc._copies.fetch import fetch
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.distortion import distortion, margin_db
from dsc._pipeline.choose.quality_search import SLACK_DB, QualitySearch
from dsc._pipeline.choose.rate_control import RateControl
from dsc._pipeline.metrics import measure
from dsc._pipeline.read.verify import verify_deep
from dsc._schemas import Bound, Metric, Quality, Stream, Target, Task, TaskKind
from dsc._schemas.reached import Reached, merge_reached
from dsc._sources.base import SourceSample
from dsc._storage.read.verify import verify_archive
from dsc.errors import CodecError, IncompleteError, UnknownTaskError, UsageError
from tests.codecs.conformance import make_sample

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0, 65535))
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")
FLOAT = Task(name="height", kind=TaskKind.DEPTH, dtype="float32", unit_m=1.0)
TASKS = (RGB, DEPTH, NORMAL, LABEL)
WORDS = {"rgb": "webp", "depth": "avif", "normal": "webp", "label": "png"}


@dataclass(frozen=True)
class Views:
    """Made-up views; the ones listed are odd: all-invalid depth, constant, of one pixel."""

    name: ClassVar[str] = "views"
    n: int = 5
    empty: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()
    tiny: tuple[int, ...] = ()
    tasks: tuple[Task, ...] = TASKS

    def __len__(self) -> int:
        return self.n

    def key(self, index: int) -> str:
        return f"view_{index:03d}"

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        size = (1, 1) if index in self.tiny else (40, 56)
        arrays = make_sample(self.tasks, size, index)
        if index in self.empty:
            arrays["depth"][...] = 65535
        if index in self.constant:
            for array in arrays.values():
                array[...] = 100
        arrays = {name: array for name, array in arrays.items() if name in tasks}
        return SourceSample(self.key(index), arrays, {n: a.nbytes for n, a in arrays.items()})

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "options": {"n": self.n}}


def targets(text: str, tasks: Sequence[Task] = TASKS) -> Quality:
    return Quality(targets=Target.parse(text, tasks))


def test_each_sample_reaches_its_target_and_hardly_exceeds_it_or_one_less_misses_it() -> None:
    quality = targets("rgb=29dB,depth=0.4%,normal=2deg")
    codecs = CodecSet.assigned(WORDS, TASKS)
    control = RateControl(codecs, TASKS, quality)
    for seed in range(3):
        sample = make_sample(TASKS, (40, 56), seed)
        [coded] = control.encode([sample])
        decoded = codecs.decode_alone(coded.payloads, list(sample), 1 << 20)
        assert np.array_equal(decoded["label"], sample["label"])
        assert [name for name, *_ in coded.reached] == ["rgb", "normal", "depth"]
        for name, metric, value, used in coded.reached:
            task = next(task for task in TASKS if task.name == name)
            found = measure(task, sample[name], decoded[name])[metric]
            assert found == pytest.approx(value)
            assert quality.targets[name].is_met(found)
            lower = quality.having({name: used - 1})
            (less,) = codecs.encode_batch([sample], lower)
            worse = codecs.decode_alone(less, [name], 1 << 20)[name]
            misses = not quality.targets[name].is_met(measure(task, sample[name], worse)[metric])
            assert used == 1 or misses or margin_db(quality.targets[name], found) <= SLACK_DB


class Counted(CodecSet):
    """Counts the samples that it encodes."""

    encodes = 0

    def encode_groups(self, groups: Any, quality: Quality) -> list[dict[str, bytes]]:
        type(self).encodes += sum(map(len, groups))
        return super().encode_groups(groups, quality)


def test_a_search_takes_few_encodes_once_it_has_seen_some_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codecs = Counted.assigned({"rgb": "avif"}, [RGB])
    control = RateControl(codecs, [RGB], targets("rgb=29dB"))
    counts = []
    for seed in range(16):
        monkeypatch.setattr(Counted, "encodes", 0)
        control.encode([make_sample([RGB], (64, 64), seed)])
        counts.append(Counted.encodes)
    assert max(counts) <= 8
    assert np.mean(counts[4:]) <= 3
    plain = RateControl(codecs, [RGB], Quality())
    monkeypatch.setattr(Counted, "encodes", 0)
    plain.encode([make_sample([RGB], (64, 64), 0)])
    assert Counted.encodes == 1


def test_a_large_first_sample_is_searched_on_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels: list[int] = []

    class Sized(CodecSet):
        def encode_groups(self, groups: Any, quality: Quality) -> list[dict[str, bytes]]:
            samples = [sample for group in groups for sample in group]
            pixels.extend(sample["rgb"].shape[0] * sample["rgb"].shape[1] for sample in samples)
            return super().encode_groups(groups, quality)

    codecs = Sized.assigned({"rgb": "webp"}, [RGB])
    control = RateControl(codecs, [RGB], targets("rgb=29dB"))
    whole = 480 * 640
    for seed in range(2):
        pixels.clear()
        control.encode([make_sample([RGB], (480, 640), seed)])
        assert (min(pixels) < whole / 8) == (seed == 0)
        assert sum(pixels) <= 3.5 * whole


def test_a_bound_alone_takes_one_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = Counted.assigned({"depth": "avif"}, [DEPTH], ["depth"])
    asked = Quality(max_error=Bound.parse("depth=1%", [DEPTH]))
    control = RateControl(codecs, [DEPTH], asked)
    monkeypatch.setattr(Counted, "encodes", 0)
    for seed in range(3):
        control.encode([make_sample([DEPTH], (40, 56), seed)])
    assert Counted.encodes == 3


def test_a_target_beside_a_bound_does_not_leave_all_to_the_residual() -> None:
    bound = Quality(default=70, max_error=Bound.parse("depth=1%", [DEPTH]))
    both = bound.model_copy(update={"targets": targets("depth=2%").targets})
    codecs = CodecSet.assigned({"depth": "avif"}, (DEPTH,), ("depth",))
    alone, beside = RateControl(codecs, (DEPTH,), bound), RateControl(codecs, (DEPTH,), both)
    for index in range(3):
        sample = {"depth": make_sample((DEPTH,), (40, 56), index)["depth"]}
        assert beside.encode([sample])[0].payloads == alone.encode([sample])[0].payloads


def test_the_same_samples_in_the_same_order_give_the_same_bytes() -> None:
    quality = targets("rgb=28dB,depth=1cm")
    samples = [make_sample(TASKS, (24, 40), seed) for seed in range(4)]
    codecs = CodecSet.assigned(WORDS, TASKS)
    groups = [[sample] for sample in samples]
    runs = [list(map(RateControl(codecs, TASKS, quality).encode, groups)) for _ in range(2)]
    assert runs[0] == runs[1]


class Chain(TaskCodec):
    """The second task is decoded well only if the first one is: its quality is the smaller one."""

    id: ClassVar[str] = "chain"
    trials: ClassVar[list[dict[str, int]]] = []

    def refusal(self, task: Task) -> str | None:
        return None

    def streams(self) -> tuple[Stream, ...]:
        first, second = (task.name for task in self.tasks)
        return (
            Stream(name=first, carries=(first,)),
            Stream(name=second, carries=(second,), requires=(first,)),
        )

    def encode_batch(self, samples: Any, quality: Quality) -> list[dict[str, bytes]]:
        first, second = (task.name for task in self.tasks)
        own = {first: quality.of(first), second: min(quality.of(first), quality.of(second))}
        self.trials.append({name: quality.of(name) for name in own})
        return [
            {
                name: bytes([own[name]]) + sample[name].astype("<u2").tobytes()
                + bytes(sample[name].shape)
                for name in own
            }
            for sample in samples
        ]  # fmt: skip

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        return b""

    def decode_task(self, task: Task, data: bytes, max_pixels: int) -> Array:
        height, width = data[-2:]
        array = np.frombuffer(data[1:-2], "<u2").reshape(height, width)
        return (array + 100 - data[0]).astype(np.uint16)  # off by a count for each quality missed


FAR, NEAR = (
    Task(name=name, kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001) for name in ("far", "near")
)


def test_tasks_of_a_chain_are_searched_in_order_and_both_hold() -> None:
    codecs = CodecSet.of([Chain([FAR, NEAR])])
    assert [part.tasks for part in codecs.components()] == [("far", "near")]
    sample = {name: np.full((4, 5), 1000, np.uint16) for name in ("near", "far")}
    quality = targets("far=20.5mm,near=10mm", [FAR, NEAR])
    with pytest.raises(CodecError, match=r"near.*0\.01 m.*0\.02 m at quality 100"):
        # far needs no more than 80, and near cannot be better than far: it must be said so
        RateControl(codecs, [FAR, NEAR], quality).encode([sample])
    quality = targets("far=20.5mm,near=30.5mm", [FAR, NEAR])
    [coded] = RateControl(codecs, [FAR, NEAR], quality).encode([sample])
    assert {name: used for name, _, _, used in coded.reached} == {"far": 80, "near": 70}


class Rival(Chain):
    """The better the second task, the worse the first one gets."""

    id: ClassVar[str] = "rival"

    def encode_batch(self, samples: Any, quality: Quality) -> list[dict[str, bytes]]:
        near, far = quality.of("near"), quality.of("far")
        (coded,) = super().encode_batch(samples, quality.having({"far": 100, "near": near}))
        coded["far"] = bytes([max(far - near // 10, 1)]) + coded["far"][1:]
        return [coded]


def test_a_task_that_another_one_made_worse_is_raised_again() -> None:
    codecs = CodecSet.of([Rival([FAR, NEAR])])
    sample = {name: np.full((4, 5), 1000, np.uint16) for name in ("near", "far")}
    quality = targets("far=20.5mm,near=20.5mm", [FAR, NEAR]).having({"far": 50, "near": 20})
    [coded] = RateControl(codecs, [FAR, NEAR], quality).encode([sample])
    values = {name: value for name, _, value, _ in coded.reached}
    assert max(values.values()) <= 0.0205
    assert {name: used for name, _, _, used in coded.reached} == {"far": 88, "near": 80}


def test_unconnected_tasks_are_searched_apart() -> None:
    codecs = CodecSet.assigned(WORDS, TASKS)
    assert sorted(part.tasks for part in codecs.components()) == [
        ("depth",), ("label",), ("normal",), ("rgb",),
    ]  # fmt: skip


# ---- what is odd


@pytest.mark.parametrize("word", ["avif", "webp", "jxl"])
def test_odd_samples_reach_their_targets(word: str, tmp_path: Path) -> None:
    source = Views(n=4, empty=(1,), constant=(2,), tiny=(3,))
    asked = "rgb=28dB,depth=1%"
    words = f"{word},label=png"
    manifest = dsc.compress(source, tmp_path / "a", codec=words, target=asked, max_error="depth=3%")
    assert verify_archive(tmp_path / "a") + verify_deep(str(tmp_path / "a")) == []
    rows = {(one.task, one.metric): one for one in manifest.reached}
    assert rows["depth", "absrel"].samples == 3  # the empty one has nothing to measure
    assert rows["depth", "max_error"].samples == 4
    assert rows["rgb", "psnr_db"].samples == 4
    archive = dsc.open(tmp_path / "a", native=True)
    for index in range(4):
        original = source.read(index, ["depth"]).arrays["depth"]
        decoded = archive[index]["depth"]
        assert np.array_equal(DEPTH.invalid_mask(original), DEPTH.invalid_mask(decoded))
        valid = ~DEPTH.invalid_mask(original)
        error = np.abs(original[valid].astype(float) - decoded[valid])
        assert (error <= 0.03 * original[valid]).all()


@pytest.mark.slow
def test_a_large_image_reaches_its_target_and_its_bound() -> None:
    y, x = np.mgrid[:3000, :4000].astype(np.uint16)
    depth = (1000 + y + x // 2 + 40 * ((x // 500 + y // 500) % 2)).astype(np.uint16)
    depth[100:300, 200:900] = 0
    codecs = CodecSet.assigned({"depth": "jxl"}, [DEPTH], ["depth"])
    quality = targets("depth=1%").model_copy(update={"max_error": Bound.parse("depth=2%", [DEPTH])})
    [coded] = RateControl(codecs, [DEPTH], quality).encode([{"depth": depth}])
    values = {metric: value for _, metric, value, _ in coded.reached}
    assert values["absrel"] <= 0.01
    assert values["max_error"] <= 0.02


def test_a_target_out_of_reach_names_the_sample_and_the_best_there_is(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError) as caught:
        dsc.compress(
            Views(), tmp_path / "a", tasks="depth", codec="webp", target="depth=0.0001%",
            shard_size=5, pack=5,
        )  # fmt: skip
    for words in ("view_000", "depth", "0.0001 %", "webp reaches 0.", "quality 100", "--codec"):
        assert words in str(caught.value)
    with pytest.raises(dsc.DscError, match="view_000"):  # the first samples tell it at once
        dsc.compress(Views(), tmp_path / "b", tasks="depth", codec="webp", target="depth=0.0001%")


def test_a_sample_that_misses_its_target_can_be_left_out_and_is_counted(tmp_path: Path) -> None:
    manifest = dsc.compress(
        Views(n=3, constant=(1,)), tmp_path / "a", tasks="depth", codec="webp",
        target="depth=0.0001%", on_error="skip", shard_size=3, pack=3,
    )  # fmt: skip
    assert manifest.n_failed == 2
    assert manifest.reached[0].samples == 1


# ---- what the archive says


def test_the_manifest_says_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    source = Views()
    asked: dict[str, Any] = {"codec": "webp,label=png", "target": "rgb=29dB", "pack": 2}
    manifest = dsc.compress(source, tmp_path / "a", shard_size=2, max_error="depth=1%", **asked)
    rows = {one.task: one for one in manifest.reached}
    values = [
        measure(RGB, source.read(i, ["rgb"]).arrays["rgb"], sample["rgb"])["psnr_db"]
        for i, sample in enumerate(dsc.open(tmp_path / "a", native=True))
    ]
    assert rows["rgb"].mean == pytest.approx(np.mean(values))
    assert rows["rgb"].worst == pytest.approx(min(values))
    assert rows["rgb"].worst_key == source.key(int(np.argmin(values)))
    assert rows["rgb"].asked == "29.00 dB"
    assert rows["depth"].metric == "max_error"
    assert 0.009 < (rows["depth"].worst or 0) <= 0.01
    assert manifest.quality.targets["rgb"].value == 29
    assert [s.name for s in manifest.streams if "depth" in s.carries] == ["depth", "depth.residual"]


def test_a_target_is_part_of_the_plan_and_workers_and_resuming_change_nothing(
    tmp_path: Path,
) -> None:
    asked: dict[str, Any] = {"codec": "webp,label=png", "shard_size": 2, "pack": 2}

    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == 1:
            raise KeyboardInterrupt

    first = dsc.compress(Views(), tmp_path / "a", target="rgb=29dB", **asked)
    with pytest.raises(KeyboardInterrupt):
        dsc.compress(Views(), tmp_path / "b", target="rgb=29dB", progress=stop, **asked)
    assert dsc.compress(Views(), tmp_path / "b", target="rgb=29dB", **asked) == first
    with pytest.raises(UsageError, match=r"quality\.targets\.rgb\.value: 29\.0 -> 30\.0"):
        dsc.compress(Views(), tmp_path / "a", target="rgb=30dB", **asked)


def test_a_bounded_task_is_fetched_with_its_residual_and_others_without(tmp_path: Path) -> None:
    dsc.compress(Views(), tmp_path / "a", codec="webp,label=png", max_error="depth=1%")
    whole = dsc.open(tmp_path / "a", native=True)
    fetched = fetch(tmp_path / "a", "depth", tmp_path / "b")
    assert fetched.streams == ("depth", "depth.residual")
    assert fetch(tmp_path / "a", "rgb", tmp_path / "c").streams == ("rgb",)
    copy = dsc.open(tmp_path / "b", native=True)
    assert np.array_equal(copy[3]["depth"], whole[3]["depth"])
    assert verify_archive(tmp_path / "b") + verify_deep(str(tmp_path / "b")) == []
    assert dsc.open(tmp_path / "c")[0]["rgb"] is not None


def test_an_archive_without_targets_has_the_bytes_that_it_always_had() -> None:
    assert set(Quality().model_dump()) == {"default", "tasks"}
    assert Quality().to_json() == '{"default":60,"tasks":{}}'
    asked = targets("rgb=38dB")
    assert Quality.from_json(asked.to_json()) == asked


# ---- what is asked


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("rgb=38dB", Metric.PSNR, 38), ("rgb=0.98 MS-SSIM", Metric.MS_SSIM, 0.98),
        ("depth=.5%", Metric.ABSREL, 0.005), ("depth=2cm", Metric.RMSE, 0.02),
        ("normals=1deg", Metric.ANGLE, 1), ("normal=1.5°", Metric.ANGLE, 1.5),
    ],
)  # fmt: skip
def test_targets_have_units_and_aliases(text: str, metric: Metric, value: float) -> None:
    (target,) = Target.parse(text, TASKS).values()
    assert target.metric is metric
    assert target.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("rgb=38", UsageError, "dB, msssim"),
        ("rgb=38%", UsageError, "dB, msssim"),
        ("depth=1deg", UsageError, "%, m, cm, mm"),
        ("depth=-1%", UsageError, "depth=0.5%"),
        ("label=1%", UsageError, "lossless"),
        ("flow=1%", UnknownTaskError, "rgb, depth"),
        ("38dB", UsageError, "rgb=38dB"),
        ("rgb=0dB", UsageError, "cannot be reached"),
        ("rgb=1.2msssim", UsageError, "cannot be reached"),
    ],
)
def test_a_target_that_makes_no_sense_is_bad_usage(
    text: str, error: type[UsageError], words: str
) -> None:
    with pytest.raises(error, match=words):
        Target.parse(text, TASKS)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("depth=1", UsageError, "%, m, cm, mm, counts"),
        ("rgb=1%", UsageError, "counts or no unit"),
        ("rgb=1.5", UsageError, "whole number"),
        ("depth=100%", UsageError, "below 100 %"),
        ("label=1", UsageError, "lossless"),
        ("height=1%", UsageError, "float32"),
        ("flow=1%", UnknownTaskError, "height"),
    ],
)
def test_a_bound_that_makes_no_sense_is_bad_usage(
    text: str, error: type[UsageError], words: str
) -> None:
    with pytest.raises(error, match=words):
        Bound.parse(text, (*TASKS, FLOAT))


def test_a_bound_on_images_needs_a_codec_of_integers() -> None:
    with pytest.raises(UsageError, match="--codec rgb=avif"):
        CodecSet.from_spec("rgb=shared-latent", [RGB], ["rgb"])


def test_floats_with_nan_are_refused_by_name() -> None:
    sample = {"height": np.full((8, 8), np.nan, np.float32)}
    with pytest.raises(UsageError, match=r"height.*float32.*exact"):
        CodecSet.from_spec("height=jxl", [FLOAT])
    codecs = CodecSet.assigned({"depth": "jxl"}, [DEPTH])
    with pytest.raises(CodecError, match="float32"):
        RateControl(codecs, [DEPTH], targets("depth=1%")).encode([{"depth": sample["height"]}])


def test_streams_that_tasks_share_have_a_quality_of_their_own() -> None:
    found = Quality.parse("50,shared=70,depth=80", ["rgb", "depth", "shared"])
    assert (found.own("shared"), found.own("rgb"), found.of("depth")) == (70, None, 80)
    with pytest.raises(UnknownTaskError, match="rgb, depth"):
        Quality.parse("shared=70", ["rgb", "depth"])


def test_psnr_counts_valid_pixels_only() -> None:
    holed = RGB.model_copy(update={"invalid": (255,)})
    original = make_sample([RGB], (16, 16))["rgb"]
    original[:8] = 255
    decoded = original.copy()
    decoded[:8] = 0
    assert distortion(holed, Metric.PSNR, original, decoded) == np.inf
    decoded[8:] ^= 1
    assert distortion(holed, Metric.PSNR, original, decoded) == pytest.approx(48.13, abs=0.01)
    assert np.isnan(distortion(holed, Metric.PSNR, np.full_like(original, 255), decoded))


def test_what_parts_reached_adds_up() -> None:
    blank = Reached(task="rgb", asked="38.00 dB", metric="psnr_db")
    values = [39.0, 38.5, np.inf, np.nan, 41.0]
    whole = blank
    parts: list[list[Reached]] = []
    for key, value in enumerate(values):
        whole = whole.with_sample(str(key), value, 50 + key)
        parts.append([blank.with_sample(str(key), value, 50 + key)])
    assert merge_reached(parts) == (whole,)
    assert (whole.samples, whole.exact, whole.worst, whole.worst_key) == (4, 1, 38.5, "1")
    assert whole.mean == pytest.approx(np.mean([39, 38.5, 41]))
    assert (whole.quality_min, whole.quality_max) == (50, 54)


def test_the_mean_over_many_samples_is_what_a_choice_matches() -> None:
    codecs = CodecSet.assigned({"rgb": "webp"}, [RGB])
    samples = [make_sample([RGB], (24, 32), seed) for seed in range(3)]
    by_name: Mapping[str, Task] = {"rgb": RGB}
    result = QualitySearch(codecs, by_name, targets("rgb=30dB"), [[s] for s in samples]).run(
        Quality()
    )
    values = [
        measure(RGB, s["rgb"], codecs.decode_alone(p, ["rgb"], 1 << 20)["rgb"])["psnr_db"]
        for s, p in zip(samples, result.payloads, strict=True)
    ]
    assert np.mean(values) == pytest.approx(result.distortion["rgb"])
    assert np.mean(values) >= 30
