"""Recordings are coded in groups, the same ones whoever makes a shard and however often."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._jobs.archive.compress import compress
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import IncompleteError, SampleError
from tests.jobs.faults import descendants, tree
from tests.jobs.recordings import TREE, Recordings, decoded, headers, tree_codec

__all__ = ["tree_codec"]

pytestmark = pytest.mark.usefixtures("tree_codec")
SIZES: dict[str, Any] = {"shard_size": 24, "pack": 12}
N = len(Recordings())


def write(out: Path, source: Recordings | None = None, **more: Any) -> dict[str, bytes]:
    compress(source or Recordings(), out, **({"codec": TREE} | SIZES | more))
    return tree(out)


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
