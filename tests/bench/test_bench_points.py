"""Points: bits of real bitstreams, counted alone, own and together; what is kept on disk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dsc._bench.rate_distortion import points
from dsc._bench.rate_distortion.candidates import (
    ComparedCodec,
    default_candidates,
    parse_candidates,
)
from dsc._bench.rate_distortion.datasets import CHUNK, BenchSet, named_sets, source_set
from dsc._bench.rate_distortion.points import Job, make_point, measure_job
from dsc._bench.store import Store
from dsc._codecs.registry import make_codec
from dsc._pipeline.metrics import psnr_db
from dsc._schemas import Quality
from dsc.errors import CodecError, SampleError, UnknownCodecError, UsageError

JOINT = ("rgb", "depth_zbuffer", "normal")


@pytest.fixture(scope="module")
def views() -> BenchSet:
    return source_set("sample", None, n=3, size=64)


def job(data: BenchSet, codec: str, tasks: tuple[str, ...], quality: int = 60) -> Job:
    return Job(data, ComparedCodec(codec, codec), tasks, quality, data.indices)


def test_bits_are_those_of_the_bitstreams_and_distortion_that_of_what_is_read_back(
    views: BenchSet,
) -> None:
    asked = job(views, "jpeg", ("rgb",), 50)
    point = make_point(asked, [measure_job(asked)])
    codec = make_codec("jpeg", asked.schemas())
    samples = [{"rgb": views.read(index)["rgb"]} for index in views.indices]
    streams = codec.encode_batch(samples, Quality(default=50))
    decoded = codec.decode_batch(streams, ["rgb"], 64 * 64)
    assert point.stream_bytes == {"rgb": sum(len(s["rgb"]) for s in streams)}
    assert point.alone_bpp["rgb"] == 8 * point.stream_bytes["rgb"] / (3 * 64 * 64)
    wanted = [psnr_db(s["rgb"], d["rgb"]) for s, d in zip(samples, decoded, strict=True)]
    assert point.metrics["rgb"]["psnr_db"] == pytest.approx(np.mean(wanted))


def test_a_joint_codecs_prerequisites_count_in_full_alone_and_once_together(
    views: BenchSet,
) -> None:
    asked = job(views, "shared-latent", JOINT)
    point = make_point(asked, [measure_job(asked)])
    pixels = 3 * 64 * 64
    shared = 8 * point.stream_bytes["shared"] / pixels
    assert shared > 0
    for task in JOINT:
        assert point.own_bpp[task] == 8 * point.stream_bytes[task] / pixels
        assert point.alone_bpp[task] == pytest.approx(point.own_bpp[task] + shared)
        assert point.together_bpp([task]) == pytest.approx(point.alone_bpp[task])
    pair = point.own_bpp["rgb"] + point.own_bpp["normal"] + shared
    assert point.together_bpp(["rgb", "normal"]) == pytest.approx(pair)
    assert point.together_bpp(JOINT) == pytest.approx(8 * sum(point.stream_bytes.values()) / pixels)


def test_parts_of_a_set_add_up_to_the_whole(views: BenchSet) -> None:
    whole = job(views, "webp", ("depth_zbuffer",), 40)
    parts = [measure_job(replace(whole, indices=part)) for part in ((0, 1), (2,))]
    together, once = make_point(whole, parts), make_point(whole, [measure_job(whole)])
    assert together.stream_bytes == once.stream_bytes
    assert together.samples == once.samples == 3
    for name, value in once.metrics["depth_zbuffer"].items():
        assert together.metrics["depth_zbuffer"][name] == pytest.approx(value)


def test_a_codec_that_fails_is_named_with_set_sample_and_quality(
    views: BenchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(make_codec("jpeg", asked.schemas()), name)

        def encode_batch(self, samples: object, quality: object) -> object:
            raise CodecError("no such table")

    asked = job(views, "jpeg", ("rgb",), 50)
    monkeypatch.setattr(points, "_made", lambda candidate, tasks: Broken())
    with pytest.raises(SampleError, match="jpeg on sample, sample 0, quality 50: no such table"):
        measure_job(asked)


def test_lossless_codecs_and_labels_are_measured_once(views: BenchSet) -> None:
    label = [task for task in views.schemas() if task.name == "segment_semantic"]
    rgb = [task for task in views.schemas() if task.name == "rgb"]
    assert ComparedCodec("jxl", "jxl").qualities(label, (10, 90)) == (100,)
    assert ComparedCodec("png", "png").qualities(rgb, (10, 90)) == (100,)
    assert ComparedCodec("jpeg", "jpeg").qualities(rgb, (90, 10, 10)) == (10, 90)
    assert len(ComparedCodec("jpeg", "jpeg").qualities(rgb, None)) == 6


def test_slow_avif_is_smaller_at_equal_quality_and_read_by_avif(views: BenchSet) -> None:
    rgb = [task for task in views.schemas() if task.name == "rgb"]
    sample = {"rgb": views.read(0)["rgb"]}
    (slow,) = (
        ComparedCodec("avif-s4", "avif-s4").make(rgb).encode_batch([sample], Quality(default=40))
    )
    (usual,) = make_codec("avif", rgb).encode_batch([sample], Quality(default=40))
    assert slow != usual
    (decoded,) = make_codec("avif", rgb).decode_batch([slow], ["rgb"], 64 * 64)
    assert psnr_db(sample["rgb"], decoded["rgb"]) > 25


def test_candidates_are_read_as_written_and_bad_ones_refused() -> None:
    found = parse_candidates("jpeg, chained@run/a.safetensors,mine=chained@run/b.safetensors")
    assert found == [
        ComparedCodec("jpeg", "jpeg"),
        ComparedCodec("chained@a", "chained", "run/a.safetensors"),
        ComparedCodec("mine", "chained", "run/b.safetensors"),
    ]
    with pytest.raises(UnknownCodecError, match="jpeg2000"):
        parse_candidates("jpeg2000")
    with pytest.raises(UsageError, match="twice"):
        parse_candidates("jpeg,jpeg")
    assert "avif-s4" in [candidate.name for candidate in default_candidates()]
    assert "derived" in [candidate.name for candidate in default_candidates()]
    assert "residual" not in [candidate.name for candidate in default_candidates()]


def test_a_result_is_found_again_only_while_nothing_that_decides_it_changes(
    views: BenchSet, tmp_path: Path
) -> None:
    store, asked = Store(tmp_path / "points.jsonl"), job(views, "jpeg", ("rgb",), 50)
    value = measure_job(asked)
    store.put(asked.identity(), value)
    again = Store(tmp_path / "points.jsonl")
    assert again.get(asked.identity()) == json.loads(json.dumps(value))
    others = source_set("sample", None, n=3, size=64, seed=1)
    for changed in (
        replace(asked, quality=51),
        replace(asked, indices=(0, 1)),
        replace(asked, candidate=ComparedCodec("jpeg", "webp")),
        replace(asked, ms_ssim=True),
        replace(asked, data=others),
    ):
        assert again.get(changed.identity()) is None
    more = source_set("sample", None, n=4, size=64)
    assert again.get(replace(asked, data=more).identity()) is not None  # the same three views


def test_a_line_cut_off_by_a_crash_is_measured_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    store = Store(path)
    store.put({"q": 1}, {"bits": 1})
    store.put({"q": 2}, {"bits": 2})
    path.write_bytes(path.read_bytes()[:-5])
    again = Store(path)
    assert again.get({"q": 1}) == {"bits": 1}
    assert again.get({"q": 2}) is None
    again.put({"q": 2}, {"bits": 2})
    assert Store(path).get({"q": 2}) == {"bits": 2}
    assert Store(path, fresh=True).get({"q": 1}) is None


def test_sets_that_are_not_there_are_left_out_with_a_line(tmp_path: Path) -> None:
    found, absent = named_sets(["nyuv2", "kodak", "views"], tmp_path, 4, 2)
    assert [data.name for data in found] == ["views"]
    assert len(absent) == 2
    assert str(tmp_path / "nyuv2") in absent[0]
    with pytest.raises(UsageError, match="imagenet"):
        named_sets(["imagenet"], tmp_path, 4, 2)


def test_samples_are_evenly_spread_and_cut_into_chunks() -> None:
    data = source_set("sample", None, "rgb", 20, n=100, size=16)
    assert data.indices == tuple(range(0, 100, 5))
    assert data.tasks == ("rgb",)
    assert [len(chunk) for chunk in data.chunks()] == [CHUNK, CHUNK, 20 - 2 * CHUNK]


@pytest.mark.data
def test_the_named_sets_open_on_real_data(data_root: Path) -> None:
    found, absent = named_sets(["nyuv2", "7scenes", "taskonomy", "kodak"], data_root, 1, 0)
    assert not absent
    tasks = {data.name: data.tasks for data in found}
    assert tasks["nyuv2"] == ("rgb", "depth", "label")
    assert tasks["7scenes"] == ("rgb", "depth")
    assert tasks["kodak"] == ("rgb",)
    for data in found:
        arrays = data.read(data.indices[0])
        assert set(arrays) == set(data.tasks)
