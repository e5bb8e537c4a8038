"""A part of the frames of recordings: fetched, opened and streamed, and not one byte more."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._codecs import registry
from dsc._copies.fetch import fetch
from dsc._pipeline.read.summary import summarise
from dsc._schemas import CodecRecord, Stream
from dsc._schemas.rate import parse_rate, streams_at
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import MissingTaskError, UsageError
from tests.cli.conftest import run_dsc
from tests.group_codec import TreeCodec
from tests.recordings import Recordings

RECORDINGS = Recordings((40, 3, 21), lacking=())


@pytest.fixture(autouse=True)
def _tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.CODECS, TreeCodec.id, "tests.group_codec:TreeCodec")
    TreeCodec.frames_decoded = 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "archive"
    RECORDINGS.write(folder)
    return folder


def frames(step: int) -> list[int]:
    """List the samples of a rate: in each group of 16 every so many, from its first."""
    found = []
    for start in range(0, len(RECORDINGS), 24):
        for group in RECORDINGS.groups(start, min(start + 24, len(RECORDINGS))):
            found += list(group)[::step]
    return found


def tars(requests: dict[str, int]) -> set[str]:
    return {path.split("/")[0] for path in requests if path.endswith(".tar")}


@pytest.mark.parametrize(
    ("rate", "step", "layers"), [("1/16", 16, ["t0"]), (0.25, 4, ["t0", "t1"])]
)
def test_a_rate_is_fetched_and_nothing_else(
    archive: Path, tmp_path: Path, rate: str | float, step: int, layers: Sequence[str]
) -> None:
    with serve(archive) as (url, traffic):
        report = fetch(url, "rgb", tmp_path / "copy", rate=rate)
    streams = [f"rgb.{layer}" for layer in layers]
    assert report.streams == tuple(streams)
    assert tars(traffic.requests) == set(streams)
    found = Archive.open(archive)
    whole = sum(shard.streams[name].bytes for shard in found.shards for name in streams)
    sent = {path: n for path, n in traffic.sent.items() if path.endswith(".tar")}
    assert sum(sent.values()) == whole
    assert verify_archive(tmp_path / "copy") == []
    views = dsc.open(tmp_path / "copy", native=True)
    there = [index for index, one in enumerate(views) if one["rgb"] is not None]
    assert there == frames(step)
    for index in there:
        assert np.array_equal(views[index]["rgb"], RECORDINGS.arrays(index)["rgb"])


def test_what_a_copy_holds_says_its_rate(archive: Path, tmp_path: Path) -> None:
    fetch(archive, "rgb", tmp_path / "copy", rate="1/4")
    [row] = summarise(Archive.open(tmp_path / "copy")).rows
    assert row.codec.endswith(", rate 1/4")
    assert row.missing == len(RECORDINGS) - len(frames(4))
    whole = {row.name: row for row in summarise(Archive.open(archive)).rows}
    assert "rate" not in whole["rgb"].codec
    assert whole["rgb"].missing == whole["label"].missing == 0


def test_of_a_thin_copy_a_stream_skips_or_says_what_it_lacks(archive: Path, tmp_path: Path) -> None:
    fetch(archive, "rgb", tmp_path / "copy", rate="1/4")
    options = {"batch_size": 5, "output": "numpy", "native": True}
    with pytest.raises(MissingTaskError, match="missing='skip'"):
        list(dsc.stream(tmp_path / "copy", **options))
    for asked in ({"missing": "skip"}, {"rate": "1/4"}):
        stream = dsc.stream(tmp_path / "copy", **options, **asked)
        seen = [index for batch in stream for index in batch["__index__"].tolist()]
        assert seen == frames(4)
    assert len(dsc.open(tmp_path / "copy", rate="1/16")) == len(frames(16))
    with pytest.raises(UsageError, match="every 4th frame is here"):
        fetch(tmp_path / "copy", "rgb", tmp_path / "more", rate="1/2")


def test_more_layers_and_tasks_come_later(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    fetch(archive, "rgb", out, rate="1/16")
    report = fetch(archive, "label", out, rate="1/4")
    assert report.streams == ("rgb.t0", "label.t0", "label.t1")  # rgb stays as it is
    report = fetch(archive, "rgb", out, rate="1/4")
    assert report.streams == ("rgb.t0", "rgb.t1", "label.t0", "label.t1")
    assert report.kept_bytes > 0
    report = fetch(archive, "rgb", out)
    assert "rgb.t2" in report.streams
    assert fetch(archive, "rgb", out, rate="1/16").streams == report.streams
    for index, one in enumerate(dsc.open(out, "rgb", native=True)):
        assert np.array_equal(one["rgb"], RECORDINGS.arrays(index)["rgb"])
    assert verify_archive(out) == []


def test_a_task_without_layers_is_whole(archive: Path, tmp_path: Path) -> None:
    report = fetch(archive, "rgb,depth", tmp_path / "copy", rate="1/16")
    assert set(report.streams) == {"rgb.t0", "depth"}
    with pytest.raises(UsageError, match="depth is not coded as recordings are"):
        fetch(archive, "depth", tmp_path / "other", rate="1/16")
    one_layer = [CodecRecord(id="keep", config={"grouped": [["rgb"]]}, streams=("rgb",))]
    with pytest.raises(UsageError, match="rgb is not coded as recordings are"):
        streams_at([Stream(name="rgb", carries=("rgb",))], one_layer, ["rgb"], 16, "--rate")


def test_the_command_says_what_a_rate_leaves_out(archive: Path, tmp_path: Path) -> None:
    said = run_dsc("fetch", archive, "--rate", "1/16", "--out", tmp_path / "copy").out
    assert "at rate 1/16, samples of other frames lack tasks that lie in layers" in said
    assert "at rate" not in run_dsc("fetch", archive, "--out", tmp_path / "whole").out


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(("rate", "step"), [("1/16", 16), ("1/4", 4)])
def test_open_and_stream_read_the_frames_of_a_rate_only(
    archive: Path, rate: str, step: int, remote: bool
) -> None:
    with serve(archive) as (url, traffic):
        place = url if remote else archive
        views = dsc.open(place, rate=rate, native=True)
        assert views.indices.tolist() == frames(step)
        for index, one in zip(frames(step), views, strict=True):
            for name, array in RECORDINGS.arrays(index).items():
                assert np.array_equal(one[name], array)
        stream = dsc.stream(place, rate=rate, batch_size=3, native=True, output="numpy")
        seen = [index for batch in stream for index in batch["__index__"].tolist()]
        assert seen == frames(step)
        if remote:
            layers = {"t0"} if step == 16 else {"t0", "t1"}
            assert tars(traffic.requests) == {
                "depth", *(f"{task}.{layer}" for task in ("rgb", "label") for layer in layers)
            }  # fmt: skip


def test_one_task_alone_reads_its_own_bytes_only(archive: Path) -> None:
    for task, streams in (("depth", {"depth"}), ("label", {"label.t0", "label.t1", "label.t2"})):
        with serve(archive) as (url, traffic):
            list(dsc.open(url, task))
        assert tars(traffic.requests) == streams


@pytest.mark.parametrize("rate", ["1/3", "1/64", "2", "3/4", "often", "1/0", "0", None])
def test_a_rate_that_is_none_is_refused(archive: Path, rate: str) -> None:
    with pytest.raises(UsageError, match="rate"):
        dsc.open(archive, "rgb", rate=rate)


def test_rates_are_read_as_people_write_them() -> None:
    assert [parse_rate(one, "x") for one in ("1/4", 0.25, "0.0625", 1, "1")] == [4, 4, 16, 1, 1]
