"""Recordings are coded in groups, the same ones whoever makes a shard and however often."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.metrics import psnr_db
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.summary import summarise
from dsc._schemas import SequencePlace
from dsc._schemas.group import lanes_of
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import IncompleteError, SampleError, UsageError
from tests.group_codec import TreeCodec
from tests.jobs.faults import descendants, tree
from tests.jobs.recordings import TREE, Recordings, Rough, decoded, headers, tree_codec
from tests.jobs.sources import LABEL, RGB, PixelSource

__all__ = ["tree_codec"]

pytestmark = pytest.mark.usefixtures("tree_codec")
SIZES: dict[str, Any] = {"shard_size": 24, "pack": 12}
N = len(Recordings())


def write(out: Path, source: Recordings | None = None, **more: Any) -> dict[str, bytes]:
    compress(source or Recordings(), out, **({"codec": TREE} | SIZES | more))
    return tree(out)


def places(out: Path) -> list[SequencePlace]:
    archive = Archive.open(out)
    found = [archive.place(index) for index in range(len(archive))]
    return [place for place in found if place is not None]


def check(out: Path, source: Recordings, lost: Sequence[int] = ()) -> None:
    """Check that what was written is what the source has."""
    for task in ("rgb", "label"):
        for index, array in enumerate(decoded(out, task)):
            there = {} if index in lost else source.arrays(index)
            assert (array is None) == (task not in there)
            assert array is None or np.array_equal(array, there[task])
    assert verify_archive(out) == []


def test_groups_begin_with_packs_and_with_sequences(tmp_path: Path) -> None:
    write(tmp_path)
    check(tmp_path, Recordings())
    found = headers(tmp_path, "rgb")
    groups = [head.n for head in found if head is not None and head.at == 0]
    # packs begin at 0, 12, 24 and 36; sequences at 0, 21 and 22; from 40 on there is none
    assert groups == [12, 9, 1, 2, 12, 4, 1, 1, 1]
    assert all(head is None for n, head in enumerate(headers(tmp_path, "label")) if n % 5 == 2)


@pytest.mark.parametrize("sizes", [SIZES, {}, {"shard_size": 16}, {"pack": 5}])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_write_what_one_process_writes(
    tmp_path: Path, workers: int, sizes: dict[str, Any]
) -> None:
    one = write(tmp_path / "one", **({"shard_size": None, "pack": None} | sizes))
    log = tmp_path / "log"
    more = {"shard_size": None, "pack": None} | sizes
    many = write(tmp_path / "many", Recordings(log=log), workers=workers, **more)
    assert many == one
    assert sorted(map(int, log.read_text().split())) == list(range(N))  # and reads nothing twice
    check(tmp_path / "many", Recordings())


def test_sizes_that_dsc_chooses_are_whole_groups(tmp_path: Path) -> None:
    source = Recordings(lengths=(200,), alone=0)
    write(tmp_path, source, shard_size=None, pack=None)
    manifest = Archive.open(tmp_path).manifest
    assert manifest.pack_size % 16 == 0
    assert manifest.shard_size % 16 == 0
    assert {head.n for head in headers(tmp_path, "rgb") if head is not None} == {16, 8}
    check(tmp_path, source)


def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == 1:
            raise KeyboardInterrupt

    expected = write(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", progress=stop)
    assert write(tmp_path / "out", workers=2) == expected


def test_workers_that_are_killed_change_no_byte(tmp_path: Path) -> None:
    expected = write(tmp_path / "whole", Recordings(lengths=(400,)))
    before, ended = set(descendants(os.getpid())), threading.Event()

    def kill() -> None:
        for _ in range(3):
            ended.wait(0.6)
            for pid in (set(descendants(os.getpid())) - before) if not ended.is_set() else ():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                break

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = write(tmp_path / "out", Recordings(lengths=(400,)), workers=2)
    finally:
        ended.set()
        killer.join()
    assert found == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_sample_is_found_and_the_rest_of_its_group_is_coded(
    tmp_path: Path, workers: int
) -> None:
    source = Recordings(damaged=(3,), misshapen=(5, 21, 30))
    with pytest.raises(IncompleteError, match=r"frame_00003.*truncated PNG"):
        write(tmp_path / "out", source, workers=workers)
    write(tmp_path / "out", source, workers=workers, on_error="skip")
    assert [one.key for shard in Archive.open(tmp_path / "out").shards for one in shard.failed] == [
        "frame_00003",
        "frame_00005",
        "frame_00021",
        "frame_00030",
    ]
    check(tmp_path / "out", Recordings(), lost=(3, 5, 21, 30))
    first = headers(tmp_path / "out", "rgb")[4]
    assert first is not None
    assert (first.n, first.at) == (12, 4)  # those that failed keep their places


def test_an_error_names_the_sample_that_does_not_fit_its_group(tmp_path: Path) -> None:
    source = Recordings(resized=(7, 8))
    with pytest.raises((SampleError, IncompleteError), match=r"frame_00007.*differs in a group"):
        write(tmp_path / "out", source)
    write(tmp_path / "out", source, on_error="skip")
    check(tmp_path / "out", source, lost=(7, 8))


def test_a_sequence_whose_first_frames_failed_is_coded_without_them(tmp_path: Path) -> None:
    source = Recordings(damaged=tuple(range(9)))
    write(tmp_path, source, on_error="skip")
    check(tmp_path, source, lost=range(9))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_target_is_reached_by_the_mean_over_each_group(tmp_path: Path, workers: int) -> None:
    asked: dict[str, Any] = {"codec": TREE.replace(TreeCodec.id, Rough.id, 1), "target": "rgb=40dB"}
    write(tmp_path / "out", workers=workers, **asked)
    (reached,) = Archive.open(tmp_path / "out").manifest.reached
    assert reached.samples == N
    assert reached.mean is not None
    assert reached.worst is not None
    assert reached.mean >= 40 > reached.worst  # a frame may be worse than its group
    means: dict[int, list[float]] = {}
    for index, head in enumerate(headers(tmp_path / "out", "rgb")):
        assert head is not None
        original = Recordings().arrays(index)["rgb"]
        found = Dataset.open(tmp_path / "out", ["rgb"], native=True)[index]["rgb"]
        means.setdefault(index - head.at, []).append(psnr_db(original, found, 255))
    assert all(np.mean(values) >= 40 for values in means.values())
    assert tree(tmp_path / "out") == write(tmp_path / "again", **asked)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bound_holds_over_frames_that_are_coded_together(tmp_path: Path, workers: int) -> None:
    asked = {"codec": TREE.replace(TreeCodec.id, Rough.id, 1), "max_error": "rgb=2", "quality": 20}
    write(tmp_path, workers=workers, **asked)
    archive = Archive.open(tmp_path)
    assert lanes_of(archive.manifest.codecs)[0] == ("rgb.t0", "rgb.t1", "rgb.t2")
    residuals = {s.name: s.requires for s in archive.manifest.streams if "residual" in s.name}
    assert residuals == {
        "rgb.residual.t0": ("rgb.t0",),
        "rgb.residual.t1": ("rgb.t0", "rgb.t1"),
        "rgb.residual.t2": ("rgb.t0", "rgb.t1", "rgb.t2"),
    }
    data = Dataset.open(tmp_path, ["rgb"], native=True)
    for index in range(N):
        error = data[index]["rgb"].astype(int) - Recordings().arrays(index)["rgb"]
        assert abs(error).max() <= 2
    assert verify_archive(tmp_path) == []


def test_a_codec_of_recordings_needs_a_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--codec rgb=tree-of-differences: .*--sequence-by"):
        write(tmp_path, Recordings(lengths=(), alone=5))
    with pytest.raises(UsageError, match=r"--codec rgb=av1-seq: .*--sequence-by"):
        compress(PixelSource(n=4), tmp_path, codec="rgb=av1-seq")


def test_recordings_have_a_usual_codec_of_their_own_unless_another_is_named(tmp_path: Path) -> None:
    source = Recordings(lengths=(4,), alone=0)
    words = {None: "av1-seq", "av1": "av1", "rgb=av1": "av1", "depth=av1": "av1-seq"}
    for number, (word, expected) in enumerate(words.items()):
        compress(source, tmp_path / str(number), codec=word)
        codecs = Archive.open(tmp_path / str(number)).manifest.codecs
        (own,) = (codec for codec in codecs if any(s.startswith("rgb") for s in codec.streams))
        assert own.id == expected
    compress(PixelSource(n=4), tmp_path / "stills")
    assert "av1-seq" not in {one.id for one in Archive.open(tmp_path / "stills").manifest.codecs}


def test_access_stands_in_the_archive_and_is_refused_where_nothing_knows_it(tmp_path: Path) -> None:
    source = Recordings(lengths=(9,), alone=0)
    for access in ("tree", "balanced"):
        compress(source, tmp_path / access, tasks="rgb", access=access)
        (codec,) = Archive.open(tmp_path / access).manifest.codecs
        assert codec.config.get("access", "balanced") == access
    with pytest.raises(UsageError, match="--access star: tree, balanced are known"):
        compress(source, tmp_path / "x", access="star")
    with pytest.raises(UsageError, match=r"--access tree: .*\(png\) predicts frames"):
        compress(source, tmp_path / "x", codec="png", access="tree")


def test_codecs_of_recordings_are_tried_on_frames_in_a_row(tmp_path: Path) -> None:
    found: list[Any] = []
    compress(
        Recordings(lengths=(40, 24), alone=0, tasks=(LABEL,)),
        tmp_path,
        codec="auto",
        on_choice=found.append,
    )
    (choice,) = found
    tried = {trial.codec: trial for trial in choice.trials}
    assert tried[TreeCodec.id].samples % 16 == 0
    assert tried[TreeCodec.id].samples == tried["png"].samples


def test_an_append_goes_on_with_a_sequence_in_new_groups(tmp_path: Path) -> None:
    whole = Recordings(lengths=(30,), alone=0)
    write(tmp_path, Recordings(lengths=(20,), alone=0))
    append(tmp_path, whole)
    check(tmp_path, whole)
    assert [place.frame for place in places(tmp_path)] == list(range(0, 60, 2))
    groups = [head.n for head in headers(tmp_path, "rgb") if head is not None and head.at == 0]
    assert groups == [12, 8, 10]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_task_is_added_in_the_groups_of_the_archives_own_places(
    tmp_path: Path, workers: int
) -> None:
    source = Recordings()
    write(tmp_path, Recordings(tasks=(RGB,)), codec="png")
    append(tmp_path, source, tasks="label", codec=f"label={TreeCodec.id}", workers=workers)
    heads = enumerate(headers(tmp_path, "label"))
    groups = {(index - head.at, head.n) for index, head in heads if head is not None}
    expected = [(0, 12), (12, 9), (21, 1), (22, 2), (24, 12), (36, 4), (40, 1), (41, 1)]
    assert sorted(groups) == expected
    for index, array in enumerate(decoded(tmp_path, "label")):
        there = source.arrays(index)
        assert (array is None) == ("label" not in there)
        assert array is None or np.array_equal(array, there["label"])


def test_a_task_of_recordings_is_not_added_to_an_archive_without_any(tmp_path: Path) -> None:
    write(tmp_path, Recordings(lengths=(), alone=5, tasks=(RGB,)), codec="png")
    with pytest.raises(UsageError, match="--sequence-by"):
        append(tmp_path, Recordings(), tasks="label", codec=f"label={TreeCodec.id}")


def test_a_rendered_recording_takes_the_whole_way(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"frames": 20, "camera": "walk", "size": 64, "tasks": "rgb,depth,label"}
    compress("rendered", tmp_path / "one", effort="fast", **asked)
    compress("rendered", tmp_path / "two", effort="fast", workers=2, **asked)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    archive = Archive.open(tmp_path / "one")
    codecs = {stream: one.id for one in archive.manifest.codecs for stream in one.streams}
    assert codecs["rgb.t0"] == codecs["depth.t2"] == "av1-seq"
    assert {"libaom", "libavif"} <= set(archive.manifest.encoder)
    assert {row.name: row.missing for row in summarise(archive).rows} == {
        "rgb": 0, "depth": 0, "label": 0,
    }  # fmt: skip
    assert verify_archive(tmp_path / "one") == []
    data = Dataset.open(tmp_path / "one", native=True)
    source = open_source("rendered", frames=20, camera="walk", size=64)
    for index in (0, 7, 16, 19):
        original, found = source.read(index, ["rgb", "depth"]).arrays, data[index]
        assert psnr_db(original["rgb"], found["rgb"], 255) > 30
        assert np.array_equal(original["depth"] == 0, found["depth"] == 0)


def test_a_bound_without_a_codec_tries_stills_beside_frames_in_groups(tmp_path: Path) -> None:
    options = {"frames": 4, "size": 64, "tasks": "depth", "max_error": "depth=1%"}
    compress("rendered", tmp_path, **options)
    streams = [stream.name for stream in Archive.open(tmp_path).manifest.streams]
    assert streams in (
        ["depth", "depth.residual"],
        [*(f"depth.t{n}" for n in range(3)), *(f"depth.residual.t{n}" for n in range(3))],
    )
    assert verify_archive(tmp_path) == []
