"""A plan says everything that determines the bytes, and says what differs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.options import ShardingOptions
from dsc._pipeline.write.plan import (
    Plan,
    Run,
    check_same_plan,
    check_split,
    differences,
    make_plan,
)
from dsc._pipeline.write.samples import CodedSample, Probed
from dsc._pipeline.write.sizes import (
    MAX_PACK,
    MAX_SHARD,
    PACK_BYTES,
    WIDE_PACK,
    WIDE_PACK_BYTES,
    choose_pack_size,
    choose_shard_size,
    code_here,
    first_indices,
    probe_indices,
    stream_sizes,
)
from dsc._schemas import Effort, Quality
from dsc.errors import PlanMismatchError, SampleError, UsageError
from tests.jobs.sources import DEPTH, LABEL, RGB, PixelSource

TASKS = (RGB, DEPTH, LABEL)
CODECS = CodecSet.from_spec("png", TASKS)
CODING = Coding(TASKS, CODECS, Quality())


def plan_of(
    source: PixelSource = PixelSource(),  # noqa: B008
    quality: Quality = Quality(),  # noqa: B008
    shard_size: int | None = 8,
    pack: int | None = 4,
    **more: Any,
) -> Plan:
    coding = Coding(TASKS, CODECS, quality)
    return make_plan(source, coding, ShardingOptions(shard_size=shard_size, pack=pack), **more).plan


@given(st.integers(1, 5000), st.integers(1, 700))
def test_shards_hold_every_sample_exactly_once(samples: int, shard_size: int) -> None:
    plan = plan_of().model_copy(update={"samples": samples, "shard_size": shard_size})
    held = [index for n in range(plan.shards) for index in plan.range(n)]
    assert held == list(range(samples))
    assert all(0 < len(plan.range(n)) <= shard_size for n in range(plan.shards))
    with pytest.raises(IndexError):
        plan.range(plan.shards)


@given(st.floats(1, 1e9))
def test_packs_hold_128_samples_or_stay_below_256_kib(stream_bytes: float) -> None:
    pack = choose_pack_size(stream_bytes)
    assert pack & (pack - 1) == 0
    assert 1 <= pack <= MAX_PACK
    assert pack == 1 or pack * stream_bytes <= (PACK_BYTES if pack > WIDE_PACK else WIDE_PACK_BYTES)
    assert pack in (MAX_PACK, WIDE_PACK) or pack * stream_bytes >= 64 << 10


@given(st.integers(1, 10_000_000), st.lists(st.floats(0, 1e9), min_size=1, max_size=9))
def test_shards_are_bounded_and_data_makes_several(samples: int, sizes: list[float]) -> None:
    shard = choose_shard_size(samples, {f"s{at}": size for at, size in enumerate(sizes)})
    assert 1 <= shard <= MAX_SHARD
    assert shard == 1 or shard * max(sizes) <= 128 << 20
    tars = len(sizes) * 2600
    if samples * sum(sizes) > 400 * tars:
        assert samples < 3 or samples / shard > 2
    elif samples * sum(sizes) < 200 * tars:
        assert shard >= min(samples, MAX_SHARD) or shard * max(sizes) > 64 << 20


@given(st.integers(1, 10_000))
def test_probes_are_spread_over_the_source(samples: int) -> None:
    indices = probe_indices(samples)
    assert len(set(indices)) == len(indices) == min(4, samples)
    assert all(0 <= index < samples for index in indices)
    assert samples < 8 or (indices[0] < samples / 4 and indices[-1] >= 3 * samples / 4)


def test_the_same_plan_has_the_same_hash() -> None:
    assert plan_of().sha256 == plan_of().sha256
    assert Plan.from_json(plan_of().to_json()) == plan_of()
    # what only decides whether a run succeeds is not part of the plan
    assert plan_of(on_error="skip").sha256 == plan_of(on_error="fail").sha256


def test_a_changed_plan_keeps_nothing_of_the_old_ones_hash_and_shards() -> None:
    plan = plan_of(PixelSource(n=16))
    assert plan.shards == 2
    changed = plan.model_copy(update={"samples": 17, "created_by": "dsc 9"})
    fresh = Plan.from_json(changed.to_json())
    assert (changed.sha256, changed.shards) == (fresh.sha256, 3)
    assert changed.sha256 != plan.sha256
    assert plan.model_copy(update={"encoder": {"jxl": "9"}}).sha256 == plan.sha256
    warned = plan.model_copy(update={"noise": {"rgb": "noise"}})
    assert warned.sha256 == plan.sha256
    assert Plan.from_json(warned.to_json()).noise == {"rgb": "noise"}
    check_same_plan(warned, plan, "here")
    assert "noise" not in plan.to_json()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"quality": Quality(default=61)}, "quality.default: 60 -> 61"),
        ({"quality": Quality(tasks={"rgb": 9})}, "quality.tasks.rgb: null -> 9"),
        ({"shard_size": 9}, "shard_size: 8 -> 9"),
        ({"pack": 2}, "pack_size: 4 -> 2"),
        ({"split": "test"}, 'split: "train" -> "test"'),
        ({"source": PixelSource(n=24)}, "samples: 23 -> 24"),
        ({"source": PixelSource(seed=1)}, "source.options.seed: 0 -> 1"),
    ],
)
def test_another_plan_is_refused_and_says_what_differs(
    changed: dict[str, object], says: str
) -> None:
    old, new = plan_of(), plan_of(**changed)  # type: ignore[arg-type]
    assert old.sha256 != new.sha256
    assert says in differences(new, old)
    with pytest.raises(PlanMismatchError) as caught:
        check_same_plan(new, old, "/archives/views")
    assert says in str(caught.value)
    assert "/archives/views" in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_an_effort_that_no_configuration_says_is_named() -> None:
    best, fast = (
        make_plan(
            PixelSource(),
            Coding(TASKS, CodecSet.from_spec("png", TASKS, effort=effort), Quality()),
            ShardingOptions(shard_size=8, pack=4),
        ).plan
        for effort in (Effort.BEST, Effort.FAST)
    )
    assert 'codecs.png.config.effort: "best" -> "fast"' in differences(fast, best)


def test_another_codec_or_version_is_named() -> None:
    coding = Coding(TASKS, CodecSet.from_spec("png,rgb=jxl", TASKS), Quality())
    other = make_plan(PixelSource(), coding, ShardingOptions(shard_size=8, pack=4)).plan
    assert any(
        line.startswith("codecs: ") and "jxl" in line for line in differences(other, plan_of())
    )
    older = plan_of().model_copy(update={"created_by": "dsc 0.0.1"})
    assert any("dsc 0.0.1" in line for line in differences(plan_of(), older))


def test_sizes_are_chosen_from_the_data_when_nobody_says() -> None:
    plan = plan_of(PixelSource(n=1000), shard_size=None, pack=None)
    assert (plan.shard_size, plan.pack_size) == (1024, 512)  # tiny bitstreams: all in one shard
    assert plan == plan_of(PixelSource(n=1000), shard_size=None, pack=None)


def test_a_pack_is_never_larger_than_its_shard() -> None:
    assert plan_of(shard_size=3, pack=64).pack_size == 3
    plan = plan_of(shard_size=None, pack=64)
    assert (plan.shard_size, plan.pack_size) == (64, 64)  # what was asked for is what one gets


def test_given_sizes_cost_no_probe() -> None:
    plan_of(code=lambda *_: pytest.fail("probed"))


def test_a_damaged_probe_is_an_error_or_passed_over() -> None:
    source = PixelSource(n=16, damaged=(2,), misshapen=(6,))
    with pytest.raises(SampleError, match=r"view_00002.*--on-error skip"):
        plan_of(source, pack=None)
    skipped = plan_of(source, pack=None, on_error="skip")
    assert skipped.pack_size == plan_of(PixelSource(n=16), pack=None).pack_size
    hopeless = PixelSource(n=16, damaged=tuple(range(16)))
    assert plan_of(hopeless, shard_size=None, pack=None, on_error="skip").pack_size >= 1


@pytest.mark.parametrize(
    "changed", [{"shard_size": 0}, {"pack": 0}, {"pack": 1 << 21}, {"split": "Train set"}]
)
def test_sizes_out_of_range_are_bad_usage(changed: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan_of(**changed)  # type: ignore[arg-type]


def test_an_empty_source_is_bad_usage() -> None:
    with pytest.raises(UsageError, match="no sample"):
        plan_of(PixelSource(n=0))


def test_the_probe_measures_the_largest_stream() -> None:
    expected = [
        len(CODECS.encode_batch([PixelSource().arrays(index)], Quality())[0]["rgb"])
        for index in probe_indices(23)
    ]
    probed = Probed()
    groups = [range(index, index + 1) for index in probe_indices(23)]
    code_here(PixelSource(), CODING, "fail", groups, probed, lambda _: None)
    assert list(probed.coded) == probe_indices(23)
    sizes = stream_sizes(list(probed.coded.values()))
    assert sizes["rgb"] == max(sizes.values()) == pytest.approx(np.mean(expected))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 9))
def test_samples_that_are_searched_for_the_plan_are_the_first_of_the_first_shard(
    samples: int, first_split: int, given_size: int
) -> None:
    indices = first_indices(samples, min(first_split, samples), given_size or None)
    first = min(first_split, samples, given_size or 1 << (-(-samples // 4) - 1).bit_length())
    assert indices == list(range(min(4, first)))
    assert indices


def test_a_shard_takes_of_what_was_searched_all_or_nothing() -> None:
    def alone(indices: range) -> list[range]:
        return [range(index, index + 1) for index in indices]

    coded = {
        group.start: CodedSample(group.start, f"view_{group.start:05d}", group=group)
        for group in alone(range(3))
    }
    searched, plain = Probed({}, coded, {"rgb": 40}), Probed({}, coded)
    assert searched.within(alone(range(4))) == searched
    for indices in (range(2), range(1, 4), range(2, 8), range(4, 8)):
        assert searched.within(alone(indices)) == Probed()
    assert list(plain.within(alone(range(2))).coded) == [0, 1]


@pytest.mark.parametrize("first", [3, 8])
def test_a_sample_is_found_in_its_shard(first: int) -> None:
    plan = plan_of(PixelSource(n=23))
    runs = (Run(split="a", samples=first, shard_size=2), Run(split="b", samples=20, shard_size=7))
    plan.__dict__["runs"] = runs
    for n in range(plan.shards):
        assert {plan.shard_of(index) for index in plan.range(n)} == {n}
    with pytest.raises(IndexError):
        plan.shard_of(first + 20)


@pytest.mark.parametrize("name", ["", "_x", "X", "a-b", "é", "a b", "train\n", "a" * 65, "\u0663"])
def test_a_name_that_no_split_can_have_is_refused_by_the_rule_of_the_format(name: str) -> None:
    with pytest.raises(UsageError, match="--split"):
        check_split(name)


@pytest.mark.parametrize("name", ["train", "0", "2_x", "a" * 64])
def test_a_name_that_is_let_through_fits_into_a_plan(name: str) -> None:
    check_split(name)
    assert Run(split=name, samples=1, shard_size=1).split == name
