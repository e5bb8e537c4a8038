"""Levels of tasks: coarse versions opened, streamed and fetched, and not one byte of the finer."""

import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._codecs import registry
from dsc._copies.fetch import fetch
from dsc._pipeline.read.summary import summarise
from dsc._schemas.levels import parse_levels
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import CorruptArchiveError, UnknownTaskError, UsageError
from tests.cli.conftest import run_dsc
from tests.group_codec import TreeCodec
from tests.places import ROOT
from tests.recordings import Recordings


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Depth within a bound, and pictures without; compressed as a user would."""
    folder = tmp_path_factory.mktemp("levels") / "archive"
    call = "compress taskonomy --views 5 --tasks rgb,depth --codec av1 --quality 15"
    done = run_dsc(*call.split(), "--max-error", "depth=0.1%", "--out", folder)
    assert done.code == 0, done.err
    return folder


def depths(place: Path, **options: object) -> list[np.ndarray]:
    return [one["depth"] for one in dsc.open(place, "depth", native=True, **options)]


def test_the_first_level_is_the_map_without_its_correction(archive: Path) -> None:
    coarse, fine = depths(archive, levels="depth=1"), depths(archive)
    assert not all(map(np.array_equal, coarse, fine))
    for one, other in zip(coarse, fine, strict=True):
        assert one.shape == other.shape
        assert abs(one.astype(int) - other).mean() < 0.2 * other.mean()
    assert all(map(np.array_equal, depths(archive, levels={"depth": 2}), fine))
    assert all(map(np.array_equal, depths(archive, levels=1), coarse))


def test_what_is_read_coarse_has_no_bound(archive: Path) -> None:
    whole, coarse = dsc.open(archive), dsc.open(archive, levels=1)
    assert set(whole.manifest.quality.max_error) == {"depth_zbuffer"}
    assert not coarse.manifest.quality.max_error
    assert not coarse.manifest.reached


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_streams_read_levels(archive: Path, output: str) -> None:
    stream = dsc.stream(archive, "depth", levels=1, native=True, output=output, batch_size=2)
    found = [np.asarray(one) for batch in stream for one in batch["depth"]]
    assert all(map(np.array_equal, found, depths(archive, levels=1)))


def test_only_the_first_level_is_fetched(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    with serve(archive) as (url, traffic):
        report = fetch(url, "depth", out, levels="depth=1")
    assert report.streams == ("depth_zbuffer",)
    assert not [path for path in traffic.requests if "residual" in path]
    assert verify_archive(out) == []
    assert all(map(np.array_equal, depths(out), depths(archive, levels=1)))
    manifest = Archive.open(out).manifest
    assert not manifest.quality.max_error
    assert not manifest.reached
    report = fetch(archive, "depth", out)
    assert report.kept_bytes > 0
    assert all(map(np.array_equal, depths(out), depths(archive)))
    assert Archive.open(out).manifest.quality.max_error
    assert fetch(archive, "depth", out, levels=1).streams == report.streams  # nothing is lost


def test_a_coarse_copy_takes_no_more_samples_and_says_why(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    fetch(archive, "depth", out, levels=1)
    done = run_dsc("append", out, "taskonomy", "--views", 7)
    assert done.code == 2
    assert "without the streams depth_zbuffer.residual" in done.err


def test_a_coarse_copy_is_exported_and_opened_at_its_level(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    fetch(archive, "depth", out, levels=1)
    done = run_dsc("export", out, "--out", tmp_path / "files")
    assert done.code == 0, done.err
    assert all(map(np.array_equal, depths(out, levels=1), depths(out)))
    with pytest.raises(UsageError, match="there are 1 levels here"):
        depths(out, levels="depth=2")


def test_levels_of_recordings_are_their_layers_of_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.CODECS, TreeCodec.id, "tests.group_codec:TreeCodec")
    Recordings((40, 3, 21)).write(tmp_path / "archive")
    for count, rate in ((1, "1/16"), (2, "1/4"), (3, 1)):
        levels = dsc.open(tmp_path / "archive", "rgb", native=True, levels=count)
        frames = dsc.open(tmp_path / "archive", "rgb", native=True, rate=rate)
        assert levels.streams == frames.streams
        assert levels.indices.tolist() == frames.indices.tolist()
        for one, other in zip(levels, frames, strict=True):
            assert np.array_equal(one["rgb"], other["rgb"])
    fetched = fetch(tmp_path / "archive", "rgb", tmp_path / "copy", levels="rgb=2")
    assert fetched.streams == ("rgb.t0", "rgb.t1")


def damaged(archive: Path, place: Path, stream: str, shift: int) -> Path:
    """Copy an archive, with one bit of a stream flipped, so far from the end of its payloads."""
    shutil.copytree(archive, place)
    (tar,) = place.glob(f"{stream}/*.tar")
    data = bytearray(tar.read_bytes())
    with tarfile.open(tar) as opened:
        member = opened.getmembers()[0]
    data[member.offset_data + member.size - shift] ^= 1
    tar.write_bytes(data)
    return place


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_a_damaged_level_leaves_the_coarser_one(archive: Path, tmp_path: Path, output: str) -> None:
    coarse, fine = depths(archive, levels=1), depths(archive)
    place = damaged(archive, tmp_path / "bad", "depth_zbuffer.residual", 9)
    with pytest.raises(CorruptArchiveError):
        depths(place)
    views = dsc.open(place, "rgb,depth", native=True, on_damage="coarser")
    assert [one["__coarser__"] for one in views] == [{}] * 4 + [{"depth_zbuffer": 1}]
    assert all(map(np.array_equal, [one["depth"] for one in views], [*fine[:4], coarse[4]]))
    options = {"native": True, "output": output, "batch_size": 3, "on_damage": "coarser"}
    stream = dsc.stream(place, "rgb,depth", **options)
    batches = list(stream)
    assert [one for batch in batches for one in batch["__coarser__"]] == [{}] * 4 + [
        {"depth_zbuffer": 1}
    ]
    found = [np.asarray(one) for batch in batches for one in batch["depth"]]
    assert all(map(np.array_equal, found, [*fine[:4], coarse[4]]))
    assert stream.report.n_coarser == 1
    assert stream.report.n_skipped == 0


def test_a_stream_that_is_gone_leaves_the_coarser_one(archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "bad")
    for path in (tmp_path / "bad").glob("depth_zbuffer.residual/*.tar"):
        path.unlink()
    views = dsc.open(tmp_path / "bad", "depth", native=True, on_damage="coarser")
    coarse = depths(archive, levels=1)
    assert all(map(np.array_equal, [one["depth"] for one in views], coarse))


def test_damage_of_the_coarsest_level_is_an_error(archive: Path, tmp_path: Path) -> None:
    place = damaged(archive, tmp_path / "bad", "depth_zbuffer", 9)
    with pytest.raises(CorruptArchiveError):
        depths(place, on_damage="coarser")
    stream = dsc.stream(place, "depth", on_damage="coarser", on_error="skip", output="numpy")
    assert sum(len(batch["__index__"]) for batch in stream) == 4
    assert stream.report.n_skipped == 1


def test_info_says_what_each_level_costs(archive: Path) -> None:
    rows = {row.name: row for row in summarise(Archive.open(archive)).rows}
    assert rows["rgb"].level_bytes == ()
    coarse, fine = rows["depth_zbuffer"].level_bytes
    assert 0 < coarse < fine == rows["depth_zbuffer"].alone_bytes
    shown = run_dsc("info", archive)
    assert "levels" in shown.out
    told = run_dsc("info", archive, "--json").json()
    found = next(row for row in told["rows"] if row["name"] == "depth_zbuffer")
    assert found["level_bytes"] == [coarse, fine]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ("rgb=1", "rgb=1: rgb, coded by av1, has no levels"),
        ("depth=3", "of depth_zbuffer there are 2 levels here"),
        ("depth=0", "'0' is no number of levels"),
        ("depth", "'depth' is no number of levels"),
        (0, "'0' is no number of levels"),
        ("", "name tasks and how many levels"),
    ],
)
def test_levels_that_cannot_be_read_are_refused(
    archive: Path, levels: str | int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        dsc.open(archive, levels=levels)


def test_levels_of_a_task_that_is_not_read_are_refused(archive: Path) -> None:
    with pytest.raises(UnknownTaskError, match="no task 'depth' here"):
        dsc.open(archive, "rgb", levels="depth=1")


def test_the_command_line_says_what_it_cannot_do(archive: Path, tmp_path: Path) -> None:
    done = run_dsc("fetch", archive, "--levels", "rgb=1", "--out", tmp_path / "copy")
    assert done.code == 2
    assert "--levels rgb=1: rgb, coded by av1, has no levels" in done.err


def test_levels_are_read_from_text_and_mappings() -> None:
    assert parse_levels("rgb=1, depth=2", "levels") == {"rgb": 1, "depth": 2}
    assert parse_levels(2, "levels") == parse_levels("2", "levels") == {"": 2}
    assert parse_levels("1,depth=2", "levels") == {"": 1, "depth": 2}
    assert parse_levels({"rgb": 3}, "levels") == {"rgb": 3}
    for twice in ("rgb=1,rgb=2", "1,2", "rgb=1, rgb=1"):
        with pytest.raises(UsageError, match="named twice"):
            parse_levels(twice, "levels")


def test_the_page_runs(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").symlink_to(archive)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "coarse_first.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "coarse_first.md", "exec"), {})
