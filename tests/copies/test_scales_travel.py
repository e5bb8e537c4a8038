"""Recordings in scales are written, copied, grown, exported and searched by every way there is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import dsc
from dsc._copies.fetch import fetch
from dsc._jobs.ray_data.datasource import open_plan, read_run
from dsc._jobs.ray_data.plan import ReadPlan
from dsc._schemas import Task, TaskKind
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc._stream.source import StreamSource
from dsc.errors import UsageError
from tests.cli.conftest import run_dsc
from tests.hub_server import hub
from tests.jobs.faults import tree
from tests.jobs.recordings import SCALED, Recordings, tree_codec
from tests.jobs.sources import DEPTH, LABEL, RGB
from tests.scaled_group_codec import SCALES, at_scale

__all__ = ["tree_codec"]

pytestmark = pytest.mark.usefixtures("tree_codec")
VECTOR = Task(name="looks", kind=TaskKind.VECTOR, dtype="float32", channels=6)
SIZES: dict[str, Any] = {"shard_size": 24, "pack": 12}
STREAMS = tuple(f"rgb.{scale}" for scale in range(SCALES))


@dataclass(frozen=True)
class Seen(Recordings):
    """Recordings with a vector for each frame; the first of a recording has that of frame 0."""

    name: ClassVar[str] = "seen"

    tasks: tuple[Task, ...] = (RGB, DEPTH, LABEL, VECTOR)

    def arrays(self, index: int) -> dict[str, Any]:
        place = self.place(index)
        seed = 0 if place is not None and place.frame == 0 else index
        vector = np.random.default_rng(seed).normal(size=6).astype(np.float32)
        return {**super().arrays(index), "looks": vector}


SOURCE = Seen()
N = len(SOURCE)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    dsc.compress(SOURCE, tmp_path / "archive", codec=SCALED, **SIZES)
    return tmp_path / "archive"


def check(found: Any, index: int, source: Seen = SOURCE, levels: int = SCALES) -> None:
    """Check that a sample's picture, and its label if it has one, are those of the source."""
    was = source.arrays(index)
    for task in ("rgb", "label"):
        array = found.get(task)
        assert (array is None) == (task not in was), (task, index)
        if array is not None:
            assert np.array_equal(array, at_scale(was[task], levels)), (task, index)


def check_all(root: Path | str, source: Seen = SOURCE, levels: int = SCALES) -> None:
    views = dsc.open(root, "rgb,label", native=True)
    assert len(views) == len(source)
    for index, one in enumerate(views):
        check(one, index, source, levels)


def test_workers_write_what_one_process_writes(archive: Path, tmp_path: Path) -> None:
    check_all(archive)
    dsc.compress(SOURCE, tmp_path / "many", codec=SCALED, workers=2, **SIZES)
    assert tree(tmp_path / "many") == tree(archive)


def test_sizes_that_dsc_chooses_are_whole_groups(tmp_path: Path) -> None:
    source = Seen(lengths=(100,), alone=0)
    dsc.compress(source, tmp_path / "archive", codec=SCALED)
    assert Archive.open(tmp_path / "archive").manifest.pack_size % 16 == 0
    check_all(tmp_path / "archive", source)


def test_it_is_verified_deeply(archive: Path) -> None:
    done = run_dsc("verify", archive, "--deep")
    assert done.code == 0, done.err + done.out


def test_it_is_pushed_grown_pushed_again_and_pulled(archive: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/scales"
    dsc.push(archive, url)
    assert verify_archive(url) == []
    grown = Seen(lengths=(21, 1, 18, 30), alone=0)
    source = Seen(lengths=(21, 1, 18), alone=0)
    dsc.compress(source, tmp_path / "small", codec=SCALED, **SIZES)
    dsc.push(tmp_path / "small", f"{url}-small")
    dsc.append(tmp_path / "small", grown)
    check_all(tmp_path / "small", grown)
    dsc.push(tmp_path / "small", f"{url}-small")
    dsc.pull(f"{url}-small", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(tmp_path / "small")
    dsc.push(archive, f"{url}-some", tasks="rgb")
    assert verify_archive(f"{url}-some") == []
    for index, one in enumerate(dsc.open(f"{url}-some", native=True, levels=1)):
        assert np.array_equal(one["rgb"], at_scale(SOURCE.arrays(index)["rgb"], 1))


def test_the_hub_holds_it(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(monkeypatch):
        dsc.push(archive, "hf://datasets/me/scales")
        fetch("hf://datasets/me/scales", "rgb,label", tmp_path / "coarse", levels=2)
        dsc.pull("hf://datasets/me/scales", tmp_path / "whole")
    check_all(tmp_path / "coarse", levels=2)
    assert tree(tmp_path / "whole") == tree(archive)


def test_a_coarse_copy_is_verified_exported_and_takes_no_more_samples(
    archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    fetch(archive, "rgb,label", out, levels=3)
    assert run_dsc("verify", out, "--deep").code == 0
    done = run_dsc("export", out, "--out", tmp_path / "files")
    assert done.code == 0, done.err
    with pytest.raises(UsageError, match=r"without the streams label\.3, rgb\.3|rgb\.3"):
        dsc.append(out, Seen(lengths=(21, 1, 30)))


@pytest.mark.parametrize("layout", ["files", "webdataset", "parquet"])
def test_every_export_has_every_frame(archive: Path, layout: str, tmp_path: Path) -> None:
    ran = run_dsc("export", archive, "--tasks", "rgb", "--to", layout, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    source = {"files": "folder", "parquet": "huggingface"}.get(layout, layout)
    root = f"{tmp_path / 'out'}/*.tar" if layout == "webdataset" else tmp_path / "out"
    again = tmp_path / "again"
    ran = run_dsc("compress", source, "--root", root, "--codec", "exact", "--out", again)
    assert ran.code == 0, ran.err
    opened = dsc.open(again, native=True)
    (name,) = (task.name for task in opened.tasks if "rgb" in task.name)
    found = [one[name] for one in opened]
    assert len(found) == N
    for index in range(N):
        assert any(np.array_equal(SOURCE.arrays(index)["rgb"], one) for one in found), index


@pytest.mark.parametrize("stream", [STREAMS[0], STREAMS[3]])
def test_webdataset_has_each_frame_once_from_the_tars_of_one_scale(
    archive: Path, stream: str
) -> None:
    wds = pytest.importorskip("webdataset")
    urls = sorted(map(str, (archive / stream).glob("*.tar")))
    stage = dsc.decode(archive, native=True)
    for stages in ([stage], [dsc.unpack, stage]):
        found = list(wds.WebDataset(urls, shardshuffle=False).compose(*stages))
        assert [one["__index__"] for one in found] == list(range(N))
        for one in found:
            assert np.array_equal(one["rgb"], SOURCE.arrays(one["__index__"])["rgb"])


@pytest.mark.parametrize("levels", [1, None])
def test_reading_for_ray_links_the_payloads_of_every_scale(
    archive: Path, levels: int | None
) -> None:
    pytest.importorskip("ray")
    source = StreamSource.open(archive, "rgb", missing=None, levels=levels)
    plan = ReadPlan.of(source, True, "pixels")
    tables = [table for run in plan.runs(2) for table in read_run(*open_plan(plan), run)]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == N
    for row in rows:
        was = SOURCE.arrays(row["__index__"])["rgb"]
        assert np.array_equal(np.asarray(row["rgb"]), at_scale(was, levels or SCALES))


def test_duplicates_and_neighbours_need_no_scale(archive: Path, tmp_path: Path) -> None:
    fetch(archive, "rgb,looks", tmp_path / "copy", levels="rgb=1")
    found = [dsc.open(root) for root in (archive, tmp_path / "copy")]
    whole, coarse = (views.duplicates(above=0.999) for views in found)
    assert [group.indices for group in whole.groups] == [group.indices for group in coarse.groups]
    assert len(whole.groups) == 1
    key = SOURCE.key(21)
    for views in found:
        assert views.nearest(key, 2).indices.tolist() == [0, 22]


def test_a_codec_that_is_loaded_decodes_what_the_archive_has(archive: Path) -> None:
    codec = dsc.load_codec(archive, ["rgb"])
    given = {n: bytes(data) for n, data in Archive.open(archive).payloads(0, STREAMS).items()}
    (found,) = codec.decode_batch([given], ["rgb"], 1 << 20)
    assert np.array_equal(found["rgb"], SOURCE.arrays(0)["rgb"])


def test_commands_show_it(archive: Path, tmp_path: Path) -> None:
    ran = run_dsc("view", archive, "--tasks", "rgb", "--out", tmp_path / "page.html", "-n", 5)
    assert ran.code == 0, ran.err
    assert run_dsc("info", archive, "--distortion").code in (0, 2)
    assert "rates" not in run_dsc("ls", archive, "--json").json()


def test_a_stream_of_bytes_gives_every_scale(archive: Path) -> None:
    for batch in dsc.stream(archive, "rgb", 8, decode="bytes", output="numpy"):
        for name in STREAMS:
            assert all(type(data) is bytes for data in batch[name])
