"""Recordings whose frames lie in scales: read coarse, and what damage of a scale leaves of them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from benchmarks.lost_payloads import damage, left
from dsc._bench.server import serve
from dsc._codecs import registry
from dsc._codecs.base import decoder_from
from dsc._codecs.residual.codec import ResidualCodec
from dsc._copies.fetch import fetch
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.read.summary import summarise
from dsc._schemas import Bound, BoundKind, Quality
from dsc._schemas.group import BESIDE, lanes_of, link_all
from dsc._schemas.levels import finer_levels, frame_layers, has_scales, levels_of, promises
from dsc._schemas.rate import rate_here
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.verify import verify_archive
from dsc.errors import BitstreamError, CorruptArchiveError, UsageError
from tests.cli.conftest import run_dsc
from tests.recordings import TASKS, Recordings
from tests.scaled_group_codec import SCALES, ScaledCodec, at_scale

LACKING = (5, 17, 61)
RECORDINGS = Recordings((40, 3, 21), LACKING, ScaledCodec)
PACK = 24
N = len(RECORDINGS)
RGB = tuple(f"rgb.{scale}" for scale in range(SCALES))
DAMAGE = (BitstreamError, CorruptArchiveError)


@pytest.fixture(autouse=True)
def _scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CODECS, ScaledCodec.id, "tests.scaled_group_codec:ScaledCodec")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    RECORDINGS.write(tmp_path / "archive", PACK)
    return tmp_path / "archive"


def check(found: Any, index: int, levels: dict[str, int]) -> None:
    """Check that a sample's tasks are what so many levels of them decode to."""
    expected = RECORDINGS.arrays(index)
    for task, count in levels.items():
        array = found[task]
        assert (array is None) == (task not in expected), (task, index)
        if array is not None:
            assert np.array_equal(array, at_scale(expected[task], count)), (task, index, count)


def group_of(index: int) -> range:
    start = index // PACK * PACK
    groups = RECORDINGS.groups(start, min(start + PACK, N))
    return next(group for group in groups if index in group)


def spoil(root: Path, index: int, stream: str) -> None:
    """Flip a bit of a payload."""
    archive = Archive.open(root)
    shard, pack, k = archive.locate(index)
    table = PackReader(archive).table(shard, stream, pack)
    path = root / archive.record(shard, stream).path
    data = bytearray(path.read_bytes())
    data[int(table.ends[k]) - 1] ^= 1
    path.write_bytes(data)


def test_scales_are_levels_of_every_frame_and_no_layers_of_frames(archive: Path) -> None:
    manifest = Archive.open(archive).manifest
    assert levels_of(manifest.streams, manifest.codecs, "rgb") == RGB
    assert finer_levels(manifest, ["rgb"]) == set(RGB[1:])
    assert rate_here(manifest.streams, manifest.codecs, "rgb") == 1
    names = [one.name for one in manifest.streams]
    assert promises(manifest, names) == {}
    assert promises(manifest, [name for name in names if name != "rgb.3"])
    opened = Archive.open(archive)
    assert opened.lacking("label") == len(LACKING)
    assert not opened.may_lack("rgb")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_level_has_all_frames(archive: Path, count: int) -> None:
    views = dsc.open(archive, native=True, levels={"rgb": count})
    assert len(views) == N
    for index, one in enumerate(views):
        check(one, index, {"rgb": count, "label": SCALES})
        assert np.array_equal(one["depth"], RECORDINGS.arrays(index)["depth"])
    order = np.random.default_rng(1).permutation(N).tolist()
    for index, one in zip(order[:20], views.batch(order[:20]), strict=True):
        check(one, index, {"rgb": count})
    assert {name for name in views.streams if name.startswith("rgb")} == set(RGB[:count])


@pytest.mark.parametrize("shuffle", [False, True, "group"])
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("count", [1, 3, None])
def test_streams_have_all_frames_at_every_level(
    archive: Path, count: int | None, threads: int, shuffle: bool | str
) -> None:
    stream = dsc.stream(
        archive, "rgb,label", 7, levels=count, native=True, missing="none", output="numpy",
        threads=threads, shuffle=shuffle,
    )  # fmt: skip
    seen = []
    for batch in stream:
        for at, index in enumerate(batch["__index__"].tolist()):
            levels = dict.fromkeys(("rgb", "label"), count or SCALES)
            check({name: batch[name][at] for name in levels}, index, levels)
            seen.append(index)
    assert sorted(seen) == list(range(N))


def test_a_sample_without_the_task_stays_at_every_level(archive: Path) -> None:
    for count in (1, 4):
        views = dsc.open(archive, "label", native=True, levels=count)
        assert [at for at, one in enumerate(views) if one["label"] is None] == list(LACKING)
        stream = dsc.stream(archive, "label", 7, levels=count, missing="skip", output="numpy")
        assert sum(len(batch["__index__"]) for batch in stream) == N - len(LACKING)


def test_in_order_every_payload_is_decoded_once(archive: Path) -> None:
    ScaledCodec.payloads_decoded = 0
    list(dsc.open(archive, "rgb", native=True, levels=2))
    assert ScaledCodec.payloads_decoded == 2 * N


def test_of_a_remote_archive_only_the_levels_are_read(archive: Path, tmp_path: Path) -> None:
    with serve(archive) as (url, traffic):
        views = dsc.open(url, "rgb", native=True, levels=2)
        for index in (13, 0, 63):
            check(views[index], index, {"rgb": 2})
        report = fetch(url, "rgb", tmp_path / "copy", levels="rgb=1")
        assert not [path for path in traffic.requests if "rgb.2" in path or "rgb.3" in path]
    assert report.streams == ("rgb.0",)


def test_a_coarse_copy_has_all_frames_and_is_refined(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    done = run_dsc("fetch", archive, "--tasks", "rgb,label", "--levels", "rgb=2", "--out", out)
    assert done.code == 0, done.err
    assert verify_archive(out) == []
    for index, one in enumerate(dsc.open(out, native=True)):
        check(one, index, {"rgb": 2, "label": SCALES})
    with pytest.raises(UsageError, match="there are 2 levels here"):
        dsc.open(out, levels="rgb=3")
    assert fetch(archive, "rgb,label", out).kept_bytes > 0
    for index, one in enumerate(dsc.open(out, native=True)):
        check(one, index, {"rgb": SCALES, "label": SCALES})


def test_info_says_what_each_level_costs(archive: Path) -> None:
    opened = Archive.open(archive)
    (row,) = (row for row in summarise(opened).rows if row.name == "rgb")
    stored = [opened.manifest.totals[name].stored_bytes for name in RGB]
    assert row.level_bytes == tuple(np.cumsum(stored).tolist())
    assert row.missing == 0
    shown = run_dsc("info", archive)
    assert "levels" in shown.out
    assert "rate 1/" not in shown.out


def test_scales_have_no_rate(archive: Path) -> None:
    with pytest.raises(UsageError, match="rgb is not coded as recordings are, in layers"):
        dsc.open(archive, "rgb", rate="1/4")


def levels_left(index: int, damaged: dict[int, int]) -> int:
    """Count the levels of a frame whose scales are damaged so: by frame the first that is."""
    before = range(group_of(index)[0], index + 1)
    return min((scale for at, scale in damaged.items() if at in before), default=SCALES)


@pytest.mark.parametrize(
    "damaged", [{5: 3}, {5: 1}, {8: 2}, {0: 1}, {5: 3, 9: 1}, {16: 2, 30: 3}, {41: 2}, {63: 3}]
)
def test_a_damaged_scale_makes_frames_coarser_up_to_the_next_key(
    archive: Path, damaged: dict[int, int]
) -> None:
    for index, scale in damaged.items():
        spoil(archive, index, f"rgb.{scale}")
    expected = {index: levels_left(index, damaged) for index in range(N)}
    assert len(set(expected.values())) > 1
    views = dsc.open(archive, "rgb,label", native=True, on_damage="coarser")
    for read in (views, (views[index] for index in range(N)), views.batch(range(N))):
        for index, one in enumerate(read):
            check(one, index, {"rgb": expected[index], "label": SCALES})
            left = expected[index]
            assert one["__coarser__"] == ({"rgb": left} if left < SCALES else {})
    plain = dsc.open(archive, "rgb", native=True)
    for index, left in expected.items():
        if left == SCALES:
            check(plain[index], index, {"rgb": left})
        else:
            with pytest.raises(DAMAGE, match=rf"rgb\.{left}"):
                plain[index]
    coarse = min(damaged.values())
    for index, one in enumerate(dsc.open(archive, "rgb", native=True, levels=coarse)):
        check(one, index, {"rgb": coarse})  # what is below needs none of it


@pytest.mark.parametrize("shuffle", [False, True, "group"])
@pytest.mark.parametrize("threads", [0, 2])
def test_streams_decode_what_is_left_of_damaged_scales(
    archive: Path, threads: int, shuffle: bool | str
) -> None:
    damaged = {5: 3, 9: 1, 41: 2}
    for index, scale in damaged.items():
        spoil(archive, index, f"rgb.{scale}")
    stream = dsc.stream(
        archive, "rgb,label", 7, native=True, missing="none", output="numpy", threads=threads,
        shuffle=shuffle, on_damage="coarser", mixed_sizes="list", cache_decoded="10MB",
    )  # fmt: skip
    seen = []
    for batch in (batch for _ in range(2) for batch in stream):  # the second epoch of the cache
        for at, index in enumerate(batch["__index__"].tolist()):
            left = levels_left(index, damaged)
            check({"rgb": batch["rgb"][at]}, index, {"rgb": left})
            check({"label": batch["label"][at]}, index, {"label": SCALES})
            assert batch["__coarser__"][at] == ({"rgb": left} if left < SCALES else {})
            seen.append(index)
    assert sorted(seen) == sorted([*range(N)] * 2)
    assert stream.report.n_skipped == 0
    assert stream.report.n_coarser == 2 * sum(levels_left(at, damaged) < SCALES for at in range(N))


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_scale_that_is_lost_leaves_all_frames_at_the_level_below(archive: Path, how: str) -> None:
    for path in (archive / "rgb.2").glob("*.tar"):
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:700])
    views = dsc.open(archive, "rgb", native=True, on_damage="coarser")
    for index, one in enumerate(views):
        check(one, index, {"rgb": 2})
        assert one["__coarser__"] == {"rgb": 2}
    stream = dsc.stream(archive, "rgb", 7, native=True, output="numpy", on_damage="coarser")
    assert sum(len(batch["__index__"]) for batch in stream) == N
    assert stream.report.n_coarser == N


def test_damage_of_the_coarsest_scale_costs_the_frames_that_need_it(archive: Path) -> None:
    spoil(archive, 9, "rgb.0")
    lost = {index for index in group_of(9) if index >= 9}
    views = dsc.open(archive, "rgb", native=True, on_damage="coarser")
    for index in range(N):
        if index in lost:
            with pytest.raises(DAMAGE, match=RECORDINGS.key(9)):
                views[index]
        else:
            check(views[index], index, {"rgb": SCALES})
    stream = dsc.stream(
        archive, "rgb", 7, native=True, output="numpy", on_damage="coarser", on_error="skip"
    )
    seen = {index for batch in stream for index in batch["__index__"].tolist()}
    assert seen == set(range(N)) - lost
    assert {one.index for one in stream.report.skipped} == lost


def test_the_nearest_frame_is_refused_and_what_stands_for_it_is_named(archive: Path) -> None:
    with pytest.raises(UsageError, match=r"frames of rgb lie in scales.*on_damage='coarser'"):
        dsc.open(archive, "rgb,depth", on_damage="nearest")
    with pytest.raises(UsageError, match=r"frames of rgb lie in scales.*on_damage='coarser'"):
        dsc.stream(archive, "rgb,depth", on_damage="nearest")
    assert dsc.open(archive, "depth", on_damage="nearest")[0]["depth"] is not None


@pytest.mark.parametrize("count", [1, None])
def test_windows_are_of_frames_at_a_level(archive: Path, count: int | None) -> None:
    views = dsc.open(archive, "rgb", native=True, levels=count, window=(-1, 0))
    stream = dsc.stream(
        archive, "rgb", 7, native=True, levels=count, window=(-1, 0), output="numpy"
    )  # fmt: skip
    found = {
        index: maps
        for batch in stream
        for index, maps in zip(batch["__index__"].tolist(), batch["rgb"], strict=True)
    }
    for index in (0, 1, 17, 41, 63):
        frames = (max(index - 1, 0), index) if index not in (40, 43) else (index, index)
        for at, frame in enumerate(frames):
            check({"rgb": views[index]["rgb"][at]}, frame, {"rgb": count or SCALES})
            check({"rgb": found[index][at]}, frame, {"rgb": count or SCALES})
    with pytest.raises(UsageError, match="goes with single frames"):
        dsc.open(archive, "rgb", window=(-1, 0), on_damage="coarser")


def test_a_bound_over_scales_is_one_more_level() -> None:
    (task,) = (task for task in TASKS if task.name == "rgb")
    codec = ResidualCodec(ScaledCodec([task]), ["rgb"])
    assert [stream.name for stream in codec.streams()] == [*RGB, "rgb.residual"]
    again = ResidualCodec.from_config(codec.config(), None)
    (record,) = CodecSet.of([again]).records()
    assert has_scales(record)
    assert frame_layers(record) == frame_layers(record, BESIDE) == ()
    bound = {"rgb": Bound(kind=BoundKind.COUNTS, value=1)}
    arrays = [{"rgb": RECORDINGS.arrays(index)["rgb"]} for index in range(5)]
    coded = again.encode_group(arrays, Quality(max_error=bound))
    linked = link_all(coded, lanes_of([record]))
    for levels in range(1, 6):
        found = decoder_from(again, record.streams[:levels]).decode_batch(linked, ["rgb"], 100)
        for one, whole in zip(found, arrays, strict=True):
            assert np.array_equal(one["rgb"], at_scale(whole["rgb"], min(levels, SCALES)))


def test_every_scale_is_verified(archive: Path) -> None:
    assert verify_archive(archive) == []
    spoil(archive, 9, "rgb.2")
    problems = verify_archive(archive)
    assert any("rgb.2" in one.path for one in problems)


def test_of_a_damaged_group_each_payload_is_still_decoded_once(archive: Path) -> None:
    spoil(archive, 5, "rgb.1")
    views = dsc.open(archive, "rgb", native=True, on_damage="coarser")
    ScaledCodec.payloads_decoded = 0
    views.batch(range(16))
    apart = 5 * SCALES + 16  # frames before the damaged one, and the coarsest scale of all
    begun = 5 * SCALES + 6  # before the damage was met
    assert ScaledCodec.payloads_decoded <= begun + apart


def test_with_a_tenth_of_the_finest_payloads_lost_every_frame_is_decoded(archive: Path) -> None:
    whole = Path(shutil.copytree(archive, archive.parent / "whole"))
    lost = damage(archive, ["rgb.3"], 0.1, 0)
    assert len(lost) == round(0.1 * N)
    found = left(whole, archive, "coarser")
    expected = [levels_left(index, {at: 3 for _, at in lost}) for index in range(N)]
    assert (found.gone, found.coarser, found.whole) == (0, expected.count(3), expected.count(4))
