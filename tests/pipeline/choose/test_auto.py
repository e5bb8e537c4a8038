"""``--codec auto`` takes what is cheapest at equal distortion, says why, and does not ask twice."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

import dsc
from dsc._cli.printing.choice import show_choice
from dsc._codecs import registry
from dsc._pipeline.choose import decide
from dsc._pipeline.choose.auto import choose_by_trying
from dsc._pipeline.choose.candidates import list_candidates
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import (
    Spec,
    choose_codecs,
    classical_codec,
    codec_id_of,
    default_codec,
)
from dsc._pipeline.choose.crops import CROP_PIXELS, crop
from dsc._pipeline.choose.probe import Probe, Spread
from dsc._pipeline.choose.race import UNTRIED, Race, is_beaten
from dsc._pipeline.choose.remembered import Budget, Memory
from dsc._pipeline.choose.trial import Tried
from dsc._pipeline.metrics import measure
from dsc._pipeline.options import CodingOptions
from dsc._schemas import Bound, Quality, Stream, Target, Task
from dsc._schemas.choice import Choice, Trial
from dsc._sources.base import SourceSample, report_of
from dsc._storage.read.verify import verify_archive
from dsc.errors import SampleError, UnknownCodecError, UsageError
from tests.cli.conftest import run_dsc
from tests.jobs.faults import tree
from tests.pipeline.choose.test_rate_control import DEPTH, LABEL, RGB, TASKS, Views

CLASSICAL = ("png", "webp", "avif", "av1", "jxl", "vector", "plain")
MAPS = (RGB, DEPTH, LABEL)


class JointCodec:
    """Codes rgb and depth exactly in one byte, with what the two have in common in a stream."""

    id: ClassVar[str] = "joint"
    shared_bytes: ClassVar[int] = 10
    weight: ClassVar[int] = 100

    kept: ClassVar[dict[bytes, np.ndarray]] = {}

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        return cls(tasks)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        return cls([Task.model_validate(task) for task in config["tasks"]])

    @staticmethod
    def supported(tasks: Sequence[Task]) -> tuple[Task, ...]:
        return tuple(task for task in tasks if task.name in ("rgb", "depth"))

    def config(self) -> dict[str, Any]:
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def weights(self) -> bytes:
        return bytes(self.weight)

    def streams(self) -> tuple[Stream, ...]:
        own = (Stream(name=t.name, carries=(t.name,), requires=("shared",)) for t in self.tasks)
        return (Stream(name="shared"), *own)

    def encode_batch(self, samples: Any, quality: Quality) -> list[dict[str, bytes]]:
        found = []
        for sample in samples:
            streams = {"shared": bytes(self.shared_bytes)}
            for name, array in sample.items():
                key = len(self.kept).to_bytes(4, "little")
                self.kept[key] = array
                streams[name] = key
            found.append(streams)
        return found

    def decode_batch(self, streams: Any, tasks: Any, max_pixels: int) -> list[dict[str, Any]]:
        return [{t: self.kept[s[t]].copy() for t in tasks if t in s} for s in streams]


@pytest.fixture(autouse=True)
def _few_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick ones only: every registered codec is a candidate."""
    usual = (*CLASSICAL, "label-context", "normal-palette", "residual")
    few = {name: registry.CODECS[name] for name in usual}
    monkeypatch.setattr(registry, "CODECS", few)


def add_joint(monkeypatch: pytest.MonkeyPatch, shared_bytes: int, weight: int) -> None:
    monkeypatch.setattr(JointCodec, "shared_bytes", shared_bytes)
    monkeypatch.setattr(JointCodec, "weight", weight)
    monkeypatch.setitem(registry.CODECS, "joint", f"{__name__}:JointCodec")


def choose(tasks: Sequence[Task] = MAPS, n: int = 6, **given: Any) -> Choice:
    quality = given.pop("quality", Quality())
    return choose_by_trying(Views(n=n), tasks, quality, given.pop("samples", 3), **given)


def test_the_choice_is_never_larger_than_the_best_classical_codec_at_no_less_quality() -> None:
    source, asked = Views(n=6), Quality(default=50, tasks={"depth": 30})
    choice = choose_by_trying(source, MAPS, asked, 6)
    chosen = CodecSet.assigned(choice.codecs, MAPS)
    usual = CodecSet.assigned({task.name: classical_codec(task) for task in MAPS}, MAPS)
    samples = [source.read(i, [t.name for t in MAPS]).arrays for i in range(6)]
    mine, theirs = (
        chosen.encode_batch(samples, asked.having(choice.quality)),
        usual.encode_batch(samples, asked),
    )
    for task in MAPS:
        assert sum(len(s[task.name]) for s in mine) <= sum(len(s[task.name]) for s in theirs)
        if task is LABEL:
            continue
        values = [
            np.mean(
                [
                    measure(task, a[task.name], c.decode_alone(p, [task.name], 1 << 20)[task.name])[
                        task.metrics[0]
                    ]
                    for a, p in zip(samples, coded, strict=True)
                ]
            )
            for c, coded in ((chosen, mine), (usual, theirs))
        ]
        assert values[1] == pytest.approx(choice.reference[task.name])
        better = values[0] - values[1] if task is RGB else values[1] - values[0]
        assert better >= -1e-9


def test_every_candidate_is_as_good_as_the_reference_and_the_cheapest_one_wins() -> None:
    choice = choose()
    whole = [trial for trial in choice.trials if trial.samples == 3]
    for name in ("rgb", "depth"):
        rows = [trial for trial in whole if trial.tasks == (name,)]
        assert len(rows) >= 1
        assert min(rows, key=lambda t: t.sample_bytes).is_chosen
        for trial in rows:
            if name == "rgb" and name in trial.distortion:
                assert trial.distortion[name] >= choice.reference[name] - 1e-9
            elif name in trial.distortion:
                assert trial.distortion[name] <= choice.reference[name] + 1e-9
    assert classical_codec(RGB) in {trial.codec for trial in whole}
    assert {trial.codec for trial in choice.trials if trial.tasks == ("label",)} >= {"png", "jxl"}
    decode_mpix_s = [t.decode_mpix_s for t in choice.trials if t.tasks == ("label",)]
    assert all(0 < speed < 1_000 for speed in decode_mpix_s)  # maps are decoded, too


def test_a_joint_codec_is_taken_where_all_its_streams_and_its_file_pay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_joint(monkeypatch, shared_bytes=10, weight=100)
    found = choose()
    assert (found.codecs["rgb"], found.codecs["depth"]) == ("joint", "joint")
    assert any(t.is_chosen and t.tasks == ("rgb", "depth") for t in found.trials)
    add_joint(monkeypatch, shared_bytes=100_000, weight=100)
    assert "joint" not in choose().codecs.values()  # what it requires counts
    add_joint(monkeypatch, shared_bytes=10, weight=1_000_000)
    assert "joint" not in choose().codecs.values()  # and its file, in a dataset of six samples
    assert choose_by_trying(Views(n=20_000), MAPS, Quality(), 3).codecs["rgb"] == "joint"


def test_a_joint_codec_may_take_one_task_and_another_codec_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_joint(monkeypatch, shared_bytes=10, weight=100)
    listed = list_candidates(MAPS, Quality(), tuple(registry.CODECS))
    joint = [tuple(t.name for t in c.tasks) for c in listed if c.word == "joint"]
    assert joint == [("rgb", "depth"), ("rgb",), ("depth",)]
    assert not [c for c in listed if c.word == "residual"]


def test_a_codec_that_changes_labels_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Liar(registry.codec_class("png")):  # type: ignore[misc]
        id = "liar"

        def encode_task(self, task: Task, array: np.ndarray, quality: int) -> bytes:
            return bytes(super().encode_task(task, np.zeros_like(array), quality))

    monkeypatch.setattr(f"{__name__}.Liar", Liar, raising=False)
    monkeypatch.setitem(registry.CODECS, "liar", f"{__name__}:Liar")
    choice = choose([LABEL])
    assert choice.codecs["label"] != "liar"
    assert "liar" not in {trial.codec for trial in choice.trials}


def test_targets_and_bounds_take_the_place_of_the_reference() -> None:
    quality = Quality(
        targets=Target.parse("rgb=29dB", MAPS), max_error=Bound.parse("depth=1%", MAPS)
    )
    choice = choose(quality=quality)
    assert not choice.reference
    assert set(choice.quality) == {"depth"}  # the quality below the bound; rgb has one a sample
    for trial in choice.trials:
        if trial.tasks == ("rgb",) and "rgb" in trial.distortion:
            assert trial.distortion["rgb"] >= 29
        if trial.tasks == ("depth",) and "depth" in trial.distortion:
            assert trial.distortion["depth"] <= 0.01


def test_the_quality_below_a_bound_is_the_one_that_is_cheapest() -> None:
    bound = Bound.parse("depth=1%", MAPS)
    choice = choose([DEPTH], quality=Quality(max_error=bound))
    word, found = choice.codecs["depth"], choice.quality["depth"]
    codecs = CodecSet.assigned({"depth": word}, [DEPTH], ["depth"])
    groups = Spread(Views(n=6), [DEPTH], 3, "fail").first(3)

    def size(quality: int) -> int:
        asked = Quality(tasks={"depth": quality}, max_error=bound)
        return sum(len(d) for s in codecs.encode_groups(groups, asked) for d in s.values())

    around = [min(max(found + step, 1), 100) for step in (-24, -12, 12, 24)]
    assert size(found) <= 1.01 * min(map(size, around))
    fixed = Quality(tasks={"depth": 33}, max_error=bound)
    assert choose([DEPTH], quality=fixed).quality["depth"] == 33  # asked for is asked for


def test_odd_samples_do_not_stop_the_choice() -> None:
    source = Views(n=4, empty=(0, 1), constant=(2,), tiny=(3,))
    assert set(choose_by_trying(source, MAPS, Quality(), 4).codecs) == {"rgb", "depth", "label"}
    nothing = choose_by_trying(Views(n=2, empty=(0, 1)), [DEPTH], Quality(), 2)
    assert set(nothing.codecs) == {"depth"}


def test_samples_are_spread_and_those_that_cannot_be_read_are_named_or_passed_over() -> None:
    class Damaged(Views):
        def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
            if index == 1:
                raise SampleError("view_001: truncated PNG")
            return super().read(index, tasks)

    assert len(Spread(Views(n=200), [RGB], 9, "fail").first(99)) == 9
    with pytest.raises(SampleError, match=r"view_001.*--on-error skip"):
        Spread(Damaged(n=3), [RGB], 3, "fail").first(3)
    assert len(Spread(Damaged(n=3), [RGB], 3, "skip").first(3)) == 2
    with pytest.raises(UsageError, match="no sample"):
        Spread(Views(n=0), [RGB], 3, "skip")
    with pytest.raises(UsageError, match="none of the samples"):
        Spread(Damaged(n=2), [RGB], 1, "skip").first(1)
    with pytest.raises(UsageError, match="--auto-samples 0"):
        choose_by_trying(Views(), [RGB], Quality(), 0)


def test_a_target_that_nothing_reaches_says_so_codec_by_codec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Quality(targets=Target.parse("depth=0.000001%", MAPS))
    few = ("webp", "vector")
    monkeypatch.setattr("dsc._pipeline.choose.auto.distinct_codecs", lambda: few)
    with pytest.raises(UsageError, match=r"no codec does(.|\n)*depth by webp.*reaches"):
        choose_by_trying(Views(), [DEPTH], asked, 2)


def test_floats_with_nan_find_no_codec() -> None:
    class Heights(Views):
        def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
            array = np.full((8, 8), np.nan, np.float32)
            return SourceSample(self.key(index), {"height": array}, {"height": array.nbytes})

    height = DEPTH.model_copy(update={"dtype": "float32", "name": "height"})
    with pytest.raises(UsageError, match=r"no codec .*height.*float32"):
        choose_by_trying(Heights(tasks=(height,)), [height], Quality(), 2)


# ---- the race


def race(n: int = 6, tasks: Sequence[Task] = MAPS, seconds: float = np.inf, **given: Any) -> Race:
    quality = given.pop("quality", Quality())
    source = given.pop("source", Views(n=n))
    probe = Probe(tuple(tasks), quality, Spread(source, tasks, n, "fail"))
    listed = list_candidates(tasks, quality, tuple(registry.CODECS))
    return Race(probe, n, listed, Budget(seconds), **given)


def test_no_sample_is_encoded_twice_at_one_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    held: list[Any] = []
    plain = registry.codec_class("av1").encode_batch

    def encode(self: Any, samples: Any, quality: Quality) -> Any:
        held.append(samples)  # so that an address is never used again
        seen.extend((n, id(a), quality.of(n)) for one in samples for n, a in one.items())
        return plain(self, samples, quality)

    monkeypatch.setattr(registry.codec_class("av1"), "encode_batch", encode)
    held_race = race(tasks=[RGB, DEPTH])
    held_race.run()
    assert len(seen) == len(set(seen))
    assert {name for name, _, _ in seen} == {"rgb", "depth"}


def test_what_is_below_another_codec_is_encoded_once() -> None:
    memory = Memory()
    sample = {"depth": Views().read(0, ["depth"]).arrays["depth"]}
    asked = Quality(max_error=Bound.parse("depth=1%", MAPS))
    (plain,) = CodecSet.assigned({"depth": "av1"}, [DEPTH], make_codec=memory.make).encode_batch(
        [sample], asked
    )
    bounded = CodecSet.assigned({"depth": "av1"}, [DEPTH], ["depth"], make_codec=memory.make)
    (both,) = bounded.encode_batch([sample], asked)
    assert memory.encodes == {"av1": 1}
    assert both["depth"] == plain["depth"]
    direct = CodecSet.assigned({"depth": "av1"}, [DEPTH], ["depth"])
    assert direct.encode_batch([sample], asked) == [both]


def test_normals_as_labels_begin_with_the_picture_that_av1_has_made() -> None:
    memory, (normal,) = Memory(), [task for task in TASKS if task.name == "normal"]
    sample = {"normal": Views().read(0, ["normal"]).arrays["normal"]}
    for word in ("av1", "normal-palette"):
        codecs = CodecSet.assigned({"normal": word}, [normal], make_codec=memory.make)
        found = codecs.encode_batch([sample], Quality())
        assert found == CodecSet.assigned({"normal": word}, [normal]).encode_batch(
            [sample], Quality()
        )
    assert memory.encodes == {"av1": 1, "normal-palette": 1}


def test_a_time_that_is_over_ends_the_race_with_the_best_so_far_and_says_so() -> None:
    choice = choose(minutes=1e-9)
    assert choice.is_cut_short
    usual = {task.name: (classical_codec(task), default_codec(task)) for task in MAPS}
    assert all(word in usual[name] for name, word in choice.codecs.items())
    assert set(choice.refused.values()) == {UNTRIED}
    assert Choice.from_json(choice.to_json()) == choice.stored()
    assert not choose(minutes=0).is_cut_short
    assert choose(minutes=0).stored() == choose(minutes=9).stored()


def test_the_time_may_be_over_after_a_whole_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    short = race(n=6, source=LargeViews(n=6))
    stages: list[int] = []
    tried = Race._try_all

    def stop(self: Race, live: Any, stage: int, may_stop: bool) -> Any:
        stages.append(stage)
        if stage == 2:
            self.budget = Budget(0.0)
        return tried(self, live, stage, may_stop)

    monkeypatch.setattr(Race, "_try_all", stop)
    best = short.run()
    assert short.is_cut_short
    assert stages == [0, 1, 2]
    assert short.stage == 1
    assert {name for trial in best for name in trial.tasks} == {"rgb", "depth", "label"}


def test_the_time_may_be_over_within_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured of it counts for nothing: rows and choice are of the last whole stage."""
    tried, measured = Race._try_all, Tried.measure
    whole: dict[str, int] = {}

    def stop(self: Race, live: Any, stage: int, may_stop: bool) -> Any:
        def once(one: Tried, pieces: Any, **given: Any) -> Any:
            found = measured(one, pieces, **given)
            whole[one.candidate.word] = stage
            if stage == 2:
                self.budget = Budget(0.0)
            return found

        monkeypatch.setattr(Tried, "measure", once)
        return tried(self, live, stage, may_stop)

    monkeypatch.setattr(Race, "_try_all", stop)
    choice = choose_by_trying(LargeViews(n=6), MAPS, Quality(), 6)
    assert choice.is_cut_short
    assert 2 in whole.values()
    assert set(choice.codecs) == {"rgb", "depth", "label"}
    chosen = [trial for trial in choice.trials if trial.is_chosen]
    assert {name for trial in chosen for name in trial.tasks} == {"rgb", "depth", "label"}
    assert {trial.samples for trial in choice.trials if not trial.is_crop} == {1}


class LargeViews(Views):
    """Views that are larger than the crops that codecs are tried on."""

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        found = super().read(index, tasks)
        arrays = {name: array.repeat(8, 0).repeat(8, 1) for name, array in found.arrays.items()}
        return SourceSample(found.key, arrays, found.source_bytes)


def test_large_samples_are_tried_on_crops_and_losers_are_dropped_there() -> None:
    found = race(n=6, source=LargeViews(n=6))
    found.run()
    assert found.probe.stages == (0, 1, 2, 4, 6)
    by_word = {trial.codec: trial for trial in found.trials() if trial.tasks == ("label",)}
    assert by_word["png"].is_crop
    assert not by_word["jxl"].is_crop  # the usual one is measured to the end
    assert "is_crop" in by_word["png"].to_json()
    assert "is_crop" not in by_word["jxl"].to_json()
    assert found.memory.encodes["png"] <= 4 * 3
    sample = LargeViews().read(0, ["rgb", "depth"]).arrays
    piece = crop([sample])
    [part] = piece.samples
    assert part["rgb"].shape[:2] == part["depth"].shape
    assert part["depth"].size <= CROP_PIXELS
    assert piece.scale * part["depth"].size == sample["depth"].size
    assert crop(piece.samples).scale == 1


@pytest.mark.parametrize(
    ("ratios", "is_crop", "beaten"),
    [
        ([0.5], True, True), ([0.1], True, False), ([0.1], False, False), ([0.2], False, True),
        ([0.04] * 8, False, True), ([0.04, -0.2, 0.3, 0.05], False, False),
        ([-0.01] * 16, False, False), ([0.001] * 32, False, True), ([], False, False),
    ],
)  # fmt: skip
def test_who_is_clearly_beaten_is_out(ratios: list[float], is_crop: bool, beaten: bool) -> None:
    assert is_beaten(np.array(ratios), is_crop) is beaten


def test_a_race_tells_how_far_it_is_and_what_time_is_left() -> None:
    told: list[tuple[int, int, float]] = []
    choose(report=lambda *args: told.append(args), minutes=5)
    assert [done for done, _, _ in told] == list(range(1, len(told) + 1))
    assert all(done <= total and 0 < left <= 300 for done, total, left in told)
    assert told[-1][0] == told[-1][1]


# ---- in an archive


def test_the_archive_holds_the_decision_and_a_resumed_run_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"codec": "auto", "auto_samples": 3, "shard_size": 2, "pack": 2}

    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == 1:
            raise KeyboardInterrupt

    told: list[Choice] = []
    manifest = dsc.compress(
        Views(), tmp_path / "a", tasks="rgb,label", on_choice=told.append, **asked
    )
    assert manifest.choice == told[0].stored()
    assert told[0].trials[0].encode_mpix_s is not None
    assert "mpix" not in (tmp_path / "a" / "dsc.json").read_text()  # a speed is no property of data
    assert manifest.quality.tasks == manifest.choice.quality
    with pytest.raises(KeyboardInterrupt):
        dsc.compress(Views(), tmp_path / "b", tasks="rgb,label", progress=stop, **asked)
    monkeypatch.setattr(decide, "choose_by_trying", lambda *_: pytest.fail("tried again"))
    assert dsc.compress(Views(), tmp_path / "b", tasks="rgb,label", **asked) == manifest
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert dsc.compress(Views(), tmp_path / "a", tasks="rgb,label", **asked) == manifest
    assert verify_archive(tmp_path / "a") == []


def test_a_choice_of_an_earlier_version_keeps_its_bytes() -> None:
    text = (
        '{"asked":{"default":60,"tasks":{}},"codecs":{"rgb":"av1"},"metric":{"rgb":"psnr_db"},'
        '"quality":{"rgb":60},"reference":{"rgb":39.1},"refused":{},"samples":2,"trials":[{"codec":'
        '"av1","distortion":{"rgb":39.1},"is_chosen":true,"quality":{"rgb":60},"sample_bytes":8877'
        '.0,"samples":2,"tasks":["rgb"],"weights_bytes":0}]}'
    )
    assert Choice.from_json(text).to_json() == text


def test_a_bound_that_an_earlier_version_began_by_a_race_is_finished_as_it_was_begun() -> None:
    asked = CodingOptions(max_error="depth=1%", auto_samples=2)
    source = Views()
    report = report_of(source)
    raced = choose_by_trying(
        source, [DEPTH], decide.asked_quality(asked, report, [DEPTH]), 2
    ).model_copy(update={"codecs": {"depth": "webp"}, "quality": {"depth": 33}})
    coding = decide.decide_coding(asked, source, [DEPTH], report, earlier=raced)
    assert coding.choice == raced
    assert coding.codec_set.codec_name("depth") == "webp + residual"
    assert coding.quality.of("depth") == 33


def test_another_question_is_another_plan(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"codec": "auto", "auto_samples": 2, "shard_size": 5, "pack": 5}
    dsc.compress(Views(), tmp_path / "a", tasks="label", **asked)
    with pytest.raises(UsageError, match="choice: what --codec auto was asked"):
        dsc.compress(Views(), tmp_path / "a", tasks="label", **{**asked, "auto_samples": 3})


def test_a_bound_without_a_codec_is_coded_by_what_is_cheapest_below_it(tmp_path: Path) -> None:
    manifest = dsc.compress(
        Views(), tmp_path / "a", tasks="depth", max_error="depth=1%", auto_samples=2
    )
    assert manifest.choice is not None
    assert {trial.codec for trial in manifest.choice.trials} == {"av1", "jxl"}
    assert [s.name for s in manifest.streams] == ["depth", "depth.residual"]
    plain = dsc.compress(
        Views(), tmp_path / "b", tasks="depth", max_error="depth=1%", codec="depth=jxl"
    )
    assert plain.choice is None
    assert sum(t.payload_bytes for t in manifest.totals.values()) <= sum(
        t.payload_bytes for t in plain.totals.values()
    )


def test_the_command_line_shows_what_it_decided_from(tmp_path: Path) -> None:
    words = ("--views", 4, "--size", 32, "--codec", "auto", "--auto-samples", 2, "--target")
    out = tmp_path / "a"
    ran = run_dsc("compress", "taskonomy", *words, "rgb=30dB", "--out", out)
    assert ran.code == 0, ran.err
    assert "chosen: rgb=" in ran.out
    assert "MPix/s" in ran.out
    assert "30.00 dB" in ran.out
    assert "chosen: depth_zbuffer=av1" in run_dsc("info", out).out
    ran = run_dsc("compress", "taskonomy", *words, "rgb=30dB", "--out", out, "--json")
    value = json.loads(ran.out)
    assert value["choice"]["codecs"]["rgb"] in CLASSICAL
    assert value["reached"][0]["worst"] >= 30
    assert "--target" in run_dsc("compress", "--help").out


def test_rows_stand_with_those_measured_on_the_same_samples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Crops scaled up look cheaper than whole samples, and are no better."""
    rows = {
        "avif": {"sample_bytes": 90, "samples": 4, "is_crop": True},
        "webp": {"sample_bytes": 95, "samples": 2},
        "av1": {"sample_bytes": 100, "samples": 4, "is_chosen": True},
        "jxl": {"sample_bytes": 130, "samples": 4},
    }
    trials = [Trial(tasks=("rgb",), codec=word, **row) for word, row in rows.items()]
    label = Trial(tasks=("label",), codec="png", sample_bytes=9, samples=4, is_chosen=True)
    choice = Choice(asked=Quality(), samples=4, metric={}, reference={}, quality={},
                    codecs={"rgb": "av1", "label": "png"}, trials=(label, *trials))  # fmt: skip
    show_choice(choice)
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if "exact" in line]
    assert [line[1] for line in lines] == ["png", "av1", "jxl", "webp", "avif"]
    on = [" ".join(line[line.index("B") + 1 :]) for line in lines]
    assert on[1:] == ["4 samples chosen", "4 samples", "2 samples", "crops of 4 samples"]
    said = "were dropped early, and compare only with rows on the same samples"
    assert f"rows on fewer samples, or on crops, {said}" in out
    show_choice(choice.model_copy(update={"trials": (label, *trials[2:])}))
    out = capsys.readouterr().out
    assert "chosen: rgb=av1" in out
    assert "dropped early" not in out


# ---- the option


def test_auto_may_be_for_all_tasks_or_for_some() -> None:
    names = [task.name for task in TASKS]
    for text, bounded, wanted in (
        ("auto", (), names),
        ("auto,label=png", (), ["rgb", "depth", "normal"]),
        ("depth=auto", (), ["depth"]),
        ("png,depth=auto", (), ["depth"]),
        (None, ("depth",), ["depth"]),
        ("avif", ("depth",), []),
        ("depth=jxl", ("depth",), []),
        ("auto", ("depth",), names),
    ):
        found = Spec.parse(text, names).automatic(TASKS, bounded)
        assert [task.name for task in found] == wanted, text


def shipped(name: str = "shared-latent") -> str:
    return str(files("dsc._codecs") / "weights" / f"{name}.safetensors")


def test_a_codec_file_stands_for_the_codec_that_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = "dsc._codecs.learned.codec:SharedLatentCodec"
    monkeypatch.setitem(registry.CODECS, "shared-latent", latent)
    path = shipped()
    assert codec_id_of(path) == "shared-latent"
    assert choose_codecs(f"rgb={path},png", MAPS) == {"rgb": path, "depth": "png", "label": "png"}
    found = choose_codecs(path, MAPS)
    assert (found["rgb"], found["depth"], found["label"]) == (path, path, "label-context")
    codecs = CodecSet.from_spec(path, MAPS)
    assert codecs.weight_files()[0] == Path(path).read_bytes()
    assert codecs.records()[0].id == "shared-latent"
    assert Spec.parse(f"auto+{path}", ["rgb"]).extra == (path,)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "no such file"),
        (b"", "not a codec file"),
        (b"\xff" * 64, "not a codec file"),
        (b"\x02\0\0\0\0\0\0\0{}", "no codec known"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a codec file"),
    ],
)
def test_a_file_that_is_no_codec_is_bad_usage(
    tmp_path: Path, data: bytes | None, words: str
) -> None:
    path = tmp_path / "my.safetensors"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UnknownCodecError, match=words):
        choose_codecs(str(path), MAPS)
