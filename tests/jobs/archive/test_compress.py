"""A compression ends with an archive, or says what is missing and goes on where it was."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dsc._codecs.base import Sample
from dsc._jobs.archive import local, output
from dsc._jobs.archive.compress import compress
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Encoder
from dsc._pipeline.choose.rate_control import Coded
from dsc._pipeline.read.dataset import Dataset
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import (
    CorruptArchiveError,
    IncompleteError,
    PlanMismatchError,
    SampleError,
    SourceNotFoundError,
    UnknownTaskError,
    UsageError,
)
from tests.jobs.faults import tree
from tests.jobs.sources import PixelSource, reads

GIVEN: dict[str, Any] = {"codec": "png", "shard_size": 4, "pack": 2}


@pytest.fixture
def reference(tmp_path: Path) -> dict[str, bytes]:
    compress(PixelSource(), tmp_path / "reference", **GIVEN)
    return tree(tmp_path / "reference")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.0)


def stop_after(shards: int) -> Any:
    """Return a progress callback that interrupts a run, as Ctrl-C would."""

    def progress(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == shards:
            raise KeyboardInterrupt

    return progress


def test_a_run_gives_an_intact_archive(tmp_path: Path) -> None:
    manifest = compress(PixelSource(), tmp_path / "out", **GIVEN)
    assert verify_archive(tmp_path / "out") == []
    assert manifest == Dataset.open(tmp_path / "out").manifest
    assert (manifest.splits, manifest.source) == ({"train": 23}, "pixels")


def test_two_runs_give_the_same_bytes(tmp_path: Path, reference: dict[str, bytes]) -> None:
    compress(PixelSource(), tmp_path / "again", **GIVEN)
    assert tree(tmp_path / "again") == reference


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(KeyboardInterrupt, match=r"2 of 6 shards are done and kept.*To go on"):
        compress(PixelSource(), out, progress=stop_after(2), **GIVEN)
    assert not (out / "dsc.json").exists()
    compress(PixelSource(log=log), out, **GIVEN)
    assert reads(log) == list(range(8, 23))
    assert tree(out) == reference


def test_a_finished_archive_is_given_back_at_once(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out, log = tmp_path / "reference", tmp_path / "log"
    manifest = compress(PixelSource(log=log), out, **GIVEN)
    assert manifest == Dataset.open(out).manifest
    # without sizes, those that are there are meant: nothing is probed
    assert compress(PixelSource(log=log), out, codec="png") == manifest
    assert reads(log) == []
    assert tree(out) == reference


def test_work_files_left_by_a_kill_after_the_commit_are_cleared(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out = tmp_path / "reference"
    Root(out).write(".dsc/records/train-000000.json", b"{}")
    compress(PixelSource(), out, **GIVEN)
    assert tree(out) == reference


@pytest.mark.parametrize("begun", [False, True])
def test_an_output_of_another_plan_is_refused_untouched(tmp_path: Path, begun: bool) -> None:
    out = tmp_path / "out"
    if begun:
        with pytest.raises(KeyboardInterrupt):
            compress(PixelSource(), out, progress=stop_after(1), **GIVEN)
    else:
        compress(PixelSource(), out, **GIVEN)
    before = tree(out)
    with pytest.raises(PlanMismatchError, match=r"quality.default: 60 -> 80") as caught:
        compress(PixelSource(), out, quality=80, **GIVEN)
    assert ("part of" in str(caught.value)) == begun
    assert tree(out) == before


def test_other_data_in_the_same_shape_is_another_plan(tmp_path: Path) -> None:
    compress(PixelSource(seed=0), tmp_path, **GIVEN)
    with pytest.raises(PlanMismatchError, match="known only by hash"):
        compress(PixelSource(seed=1), tmp_path, **GIVEN)


@pytest.mark.parametrize("begun", [False, True])
def test_overwrite_leaves_nothing_of_the_old_archive(
    tmp_path: Path, reference: dict[str, bytes], begun: bool
) -> None:
    out = tmp_path / "out"
    progress = stop_after(9) if begun else None
    try:
        compress(PixelSource(n=60, seed=3), out, split="old", progress=progress, **GIVEN)
    except KeyboardInterrupt:
        assert begun
    compress(PixelSource(), out, overwrite=True, **GIVEN)
    assert tree(out) == reference


def test_overwrite_keeps_the_old_archive_until_the_new_plan_stands(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out = tmp_path / "reference"
    everything = tuple(range(23))
    for source, error in (
        (PixelSource(n=0), UsageError),
        (PixelSource(damaged=everything), SampleError),
    ):
        with pytest.raises(error):
            compress(source, out, codec="png", overwrite=True)
    with pytest.raises(SourceNotFoundError):
        compress("folder", out, root=tmp_path / "nowhere", overwrite=True)
    assert tree(out) == reference


def test_overwrite_removes_the_manifest_before_anything_else(
    tmp_path: Path, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "reference"
    removed: list[str] = []
    original = Root.remove

    def note(self: Root, path: str) -> None:
        removed.append(path)
        original(self, path)

    monkeypatch.setattr(Root, "remove", note)
    compress(PixelSource(seed=1), out, overwrite=True, **GIVEN)
    assert removed[0] == "dsc.json"


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / ".hidden").write_text("does not count")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"thesis\.txt"):
            compress(PixelSource(), tmp_path, overwrite=overwrite, **GIVEN)
    assert sorted(tree(tmp_path)) == [".hidden", "thesis.txt"]


@pytest.mark.parametrize("out", ["http://localhost:1/archive", "file"])
def test_an_output_that_cannot_be_written_is_bad_usage(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--out"):
        compress(PixelSource(), out if "://" in out else tmp_path / out, **GIVEN)


def test_a_damaged_manifest_or_plan_is_not_taken_for_none(tmp_path: Path) -> None:
    for name in ("dsc.json", ".dsc/plan.json"):
        out = tmp_path / name.replace("/", "_")
        Root(out).write(name, b'{"format_version": 1}')
        with pytest.raises(CorruptArchiveError, match="json"):
            compress(PixelSource(), out, **GIVEN)
        compress(PixelSource(), out, overwrite=True, **GIVEN)
        assert verify_archive(out) == []


def test_leftovers_of_a_killed_writer_are_swept(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compress(PixelSource(), out, progress=stop_after(1), **GIVEN)
    left = out / "rgb" / f"train-rgb-000005.tar.{'0f' * 16}.part"
    left.write_bytes(b"half a shard")
    seen: list[bool] = []
    compress(PixelSource(), out, progress=lambda n, *_: n and seen.append(left.exists()), **GIVEN)
    assert seen
    assert not any(seen)
    assert tree(out) == reference


def test_a_damaged_sample_costs_its_shard_only_and_can_be_skipped_later(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(IncompleteError) as caught:
        compress(PixelSource(damaged=(5, 21)), out, **GIVEN)
    message = str(caught.value)
    for words in (
        "2 of 6 shards",
        "train 1: ",
        "view_00005",
        "train 5: ",
        "truncated PNG",
        "4 of 6",
    ):
        assert words in message
    manifest = compress(PixelSource(damaged=(5, 21), log=log), out, on_error="skip", **GIVEN)
    assert reads(log) == [4, 5, 6, 7, 20, 21, 22]
    assert manifest.n_failed == 2
    assert verify_archive(out) == []
    assert set(Dataset.open(out)["view_00005"].values()) == {None}


def test_a_repaired_sample_completes_a_failed_run(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    with pytest.raises(IncompleteError):
        compress(PixelSource(damaged=(5,)), tmp_path / "out", **GIVEN)
    compress(PixelSource(), tmp_path / "out", **GIVEN)
    assert tree(tmp_path / "out") == reference


def test_a_passing_network_error_is_tried_again(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    (tmp_path / "marks").mkdir()
    # each shard of two meets two errors, fewer than it is tried again
    compress(PixelSource(flaky=tmp_path / "marks"), tmp_path / "out", **(GIVEN | {"shard_size": 2}))
    assert verify_archive(tmp_path / "out") == []


def test_a_lasting_network_error_is_given_up_and_named(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    source = PixelSource(flaky=tmp_path / "marks")
    with pytest.raises(IncompleteError, match=r"train 0: view_0000.: the network went away"):
        compress(source, tmp_path / "out", **(GIVEN | {"shard_size": 7}))
    # every attempt came one sample further: four in this run, the other three in the next
    manifest = compress(source, tmp_path / "out", **(GIVEN | {"shard_size": 7}))
    assert manifest.n_failed == 0


def test_samples_done_never_exceed_the_total_and_end_there(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    for index in range(23):
        if index != 9:  # this one fails once, after the first batch of its shard was counted
            (marks / PixelSource().key(index)).touch()
    told: list[tuple[int, int, dict[str, Any]]] = []
    compress(
        PixelSource(flaky=marks),
        tmp_path / "out",
        codec="png",
        shard_size=12,
        pack=4,
        progress=lambda *args: told.append(args),
    )
    done = [count for count, _, _ in told]
    assert list(dict.fromkeys(done)) == [0, 8, 12, 20, 23]
    assert {total for _, total, _ in told} == {23}
    assert told[-1][2]["shards_done"] == told[-1][2]["shards_total"] == 2
    assert told[-1][2]["payload_bytes"] > 0


def test_resumed_shards_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compress(PixelSource(), tmp_path, progress=stop_after(2), **GIVEN)
    told: list[dict[str, Any]] = []
    compress(PixelSource(), tmp_path, progress=lambda *args: told.append(args[2]), **GIVEN)
    assert told[-1]["shards_resumed"] == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("filler_kib", [140, 200])
def test_a_full_disk_is_named_and_loses_nothing(
    tmp_path: Path, small_disk: Path, reference: dict[str, bytes], filler_kib: int
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(filler_kib << 10))
    out = small_disk / "out"
    with pytest.raises(IncompleteError, match=r"disk is full.*shards are done and kept") as caught:
        compress(PixelSource(), out, **GIVEN)
    assert str(out) in str(caught.value)
    assert not [path for path in tree(out) if path.endswith(".part")]
    done = len(list((out / ".dsc/records").glob("*.json")))
    assert f"{done} of 6" in str(caught.value)
    filler.unlink()
    log = tmp_path / "log"
    compress(PixelSource(log=log), out, **GIVEN)
    assert reads(log) == list(range(4 * done, 23))
    assert tree(out) == reference


def test_a_full_disk_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def full(*args: object) -> None:
        calls.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local, "encode_shard", full)
    with pytest.raises(IncompleteError, match="the disk is full"):
        compress(PixelSource(), tmp_path, **GIVEN)
    assert calls == [1]


def test_a_bug_stops_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def bug(*args: object) -> None:
        calls.append(1)
        raise TypeError("a bug")

    monkeypatch.setattr(local, "encode_shard", bug)
    with pytest.raises(TypeError):
        compress(PixelSource(), tmp_path, **GIVEN)
    assert calls == [1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"on_error": "ignore"}, "fail or skip"),
        ({"workers": -1}, "--workers -1"),
        ({"workers": 2, "address": "auto"}, "one of them"),
        ({"quality": "rgb=0"}, "1 to 100"),
        ({"sample": 3}, "takes no sample"),
        ({"depth_unit": 0.1}, "takes no depth_unit"),
        ({"tasks": []}, "no task"),
    ],
)
def test_arguments_that_cannot_be_honoured_are_bad_usage(
    tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        compress(PixelSource(), tmp_path, **(GIVEN | given))
    assert tree(tmp_path) == {}


def test_an_unknown_task_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownTaskError, match="rgb, depth, label"):
        compress(PixelSource(), tmp_path, tasks="rgb,normal", codec="png")


def test_views_are_rendered_when_there_is_no_data(tmp_path: Path) -> None:
    given = {"sample": 3, "size": 32, "codec": "png", "tasks": ["depth", "rgb"]}
    manifest = compress("taskonomy", tmp_path, **given)  # type: ignore[arg-type]
    assert [task.name for task in manifest.tasks] == ["depth_zbuffer", "rgb"]
    assert len(Dataset.open(tmp_path)) == 3
    with pytest.raises(UsageError, match="renders"):
        compress("nyuv2", tmp_path, sample=3)


def test_the_command_to_go_on_is_one_that_works(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        compress(
            "taskonomy",
            tmp_path / "an archive",
            sample=8,
            size=32,
            tasks=["rgb", "depth"],
            codec="png",
            quality="rgb=50",
            shard_size=2,
            on_error="skip",
            overwrite=True,
            progress=stop_after(1),
        )
    command = str(caught.value).partition("To go on: ")[2]
    for words in (
        f"dsc compress taskonomy --out '{tmp_path}/an archive'",
        "--tasks rgb,depth --views 8 --size 32",
        "--codec png --quality rgb=50 --shard-size 2 --on-error skip",
    ):
        assert words in command
    assert "--overwrite" not in command
    words = shlex.split(command)[1:]
    subprocess.run([sys.executable, "-m", "dsc", *words], check=True, capture_output=True)
    assert verify_archive(tmp_path / "an archive") == []


def test_an_output_may_be_any_fsspec_url(tmp_path: Path, reference: dict[str, bytes]) -> None:
    url = f"memory://{tmp_path.name}-{os.getpid()}"
    compress(PixelSource(), url, **GIVEN)
    root = Root(url)
    assert {path: root.read(path) for path in root.list()} == reference
    assert len(Dataset.open(url)) == 23


def test_a_relative_output_means_the_same_to_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert output.open_output("out", overwrite=False).root.url == str(tmp_path / "out")
    assert compress(PixelSource(), "out", **GIVEN)
    assert (tmp_path / "out/dsc.json").exists()


@pytest.mark.parametrize("split", ["_x", "Train", ""])
def test_a_split_that_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, split: str
) -> None:
    log = tmp_path / "log"
    with pytest.raises(UsageError, match=f"--split '{split}'"):
        compress(PixelSource(log=log), tmp_path / "out", split=split, **GIVEN)
    assert reads(log) == []
    assert not (tmp_path / "out").exists()


def test_progress_begins_with_the_work_and_tells_what_was_there(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, info: dict[str, Any]) -> None:
        told.append((done, info["samples_resumed"]))

    with pytest.raises(KeyboardInterrupt):
        compress(PixelSource(), tmp_path, progress=stop_after(2), **GIVEN)
    compress(PixelSource(), tmp_path, progress=progress, **GIVEN)
    assert list(dict.fromkeys(told))[:3] == [(0, 0), (4, 4), (8, 8)]
    later = told[told.index((8, 8)) :]
    assert later[1] == (8, 8)  # here the work begins
    assert {kept for _, kept in later} == {8}


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the index of every sample that is encoded, as often as it is."""
    index_of = {PixelSource().arrays(i)["rgb"].tobytes(): i for i in range(23)}
    found: list[int] = []
    encode = Encoder.encode

    def counted(self: Encoder, groups: Sequence[Sequence[Sample]]) -> list[Coded]:
        found.extend(index_of[one["rgb"].tobytes()] for group in groups for one in group)
        return encode(self, groups)

    monkeypatch.setattr(Encoder, "encode", counted)
    return found


WAYS: dict[str, dict[str, Any]] = {
    "quality": {},
    "target": {"tasks": "rgb,depth", "codec": "rgb=jxl,depth=png", "target": "rgb=25dB"},
    "bound": {"tasks": "rgb,depth", "codec": "png,depth=jxl", "max_error": "depth=5%"},
    "skip": {"on_error": "skip"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [1, 3, 6, 23])
def test_no_sample_is_read_or_encoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, n: int
) -> None:
    log, given = tmp_path / "log", {"codec": "png"} | WAYS[way]
    encoded = counting(monkeypatch)
    compress(PixelSource(n=n, log=log), tmp_path / "a", **given)
    assert sorted(reads(log)) == list(range(n))
    assert sorted(encoded) == list(range(n))
    chosen = Archive.open(tmp_path / "a").manifest
    given |= {"shard_size": chosen.shard_size, "pack": chosen.pack_size}
    log.unlink()
    compress(PixelSource(n=n, log=log), tmp_path / "b", **given)
    assert sorted(reads(log)) == list(range(n))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_probed_samples_that_are_skipped_are_listed_as_any_others(tmp_path: Path) -> None:
    log = tmp_path / "log"
    source = PixelSource(log=log, damaged=(8, 9), misshapen=(14,))
    manifest = compress(source, tmp_path / "a", codec="png", on_error="skip")
    assert manifest.n_failed == 3
    often = {index for index, times in Counter(reads(log)).items() if times > 1}
    assert often == {8, 14}  # looked at, and then found out by the probe
    sizes = {"shard_size": manifest.shard_size, "pack": manifest.pack_size}
    compress(source, tmp_path / "b", codec="png", on_error="skip", **sizes)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_samples_that_sizes_are_chosen_by_are_counted_as_they_are_encoded(tmp_path: Path) -> None:
    told: list[int] = []
    compress(PixelSource(), tmp_path, codec="png", progress=lambda done, *_: told.append(done))
    assert list(dict.fromkeys(told))[:5] == [0, 1, 2, 3, 4]
    assert told == sorted(told)
    assert told[-1] == 23


@pytest.mark.parametrize(
    ("faults", "says"),
    [({"damaged": (8,)}, "truncated PNG"), ({"misshapen": (20,)}, "task rgb: shape")],
)
def test_faults_of_the_first_samples_are_told_before_a_codec_is_made_or_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: dict[str, Any], says: str
) -> None:
    for name in ("from_spec", "assigned"):
        monkeypatch.setattr(CodecSet, name, lambda *_, **__: pytest.fail("a codec was made"))
    for codec in ("png", "auto"):
        with pytest.raises(SampleError, match=rf"{says}.*--on-error skip"):
            compress(PixelSource(**faults), tmp_path / "out", codec=codec)
    assert not (tmp_path / "out").exists()


def test_a_look_at_samples_reads_what_is_encoded_first_and_no_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(SampleError):
        compress(PixelSource(log=log, damaged=(20,)), tmp_path / "a", codec="png")
    assert reads(log) == [2, 8, 14, 20]
    log.unlink()
    with pytest.raises(SampleError):
        compress(PixelSource(log=log, damaged=(0,)), tmp_path / "b", **GIVEN)
    assert reads(log) == [0]
