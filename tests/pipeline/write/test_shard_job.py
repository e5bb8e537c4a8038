"""One shard, one job: the same bytes however often it runs, and done only when its record says."""

import json
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.options import ShardingOptions
from dsc._pipeline.write import samples
from dsc._pipeline.write.commit import commit
from dsc._pipeline.write.leftovers import remove_leftovers, strangers
from dsc._pipeline.write.plan import Plan, make_plan
from dsc._pipeline.write.samples import BATCH_SAMPLES
from dsc._pipeline.write.shard_job import (
    PLAN,
    JobRecord,
    check_record,
    encode_shard,
    record_path,
)
from dsc._schemas import Quality
from dsc._sources.registry import SourceSample
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import IncompleteError, PlanMismatchError, SampleError
from tests.jobs.faults import tree
from tests.jobs.sources import DEPTH, LABEL, RGB, PixelSource, reads

TASKS = (RGB, DEPTH, LABEL)
CODECS = CodecSet.from_spec("png", TASKS)
CODING = Coding(TASKS, CODECS, Quality())
PLANNED = make_plan(PixelSource(), CODING, ShardingOptions(shard_size=8, pack=3)).plan


def begin(path: Path, plan: Plan = PLANNED) -> Root:
    root = Root(path)
    root.write(PLAN, plan.to_json().encode())
    return root


def encode(root: Root, n: int, source: PixelSource | None = None, **options: str) -> JobRecord:
    return encode_shard(PLANNED, root, n, source or PixelSource(), CODING, **options)


def test_a_shard_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        root = begin(tmp_path / name)
        for n in order:
            encode(root, n)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    source = PixelSource(log=tmp_path / "log")
    root = begin(tmp_path / "out")
    first, second = encode(root, 1, source), encode(root, 1, source)
    assert first == second
    assert reads(tmp_path / "log") == list(range(8, 16))


def test_memory_holds_one_batch_of_samples(tmp_path: Path) -> None:
    alive: list[weakref.ref[object]] = []
    most = 0

    class Watched(PixelSource):
        def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
            nonlocal most
            sample = super().read(index, tasks)
            alive[:] = [found for found in alive if found() is not None]
            alive.append(weakref.ref(sample.arrays["rgb"]))
            most = max(most, len(alive))
            return sample

    plan = make_plan(Watched(n=200), CODING, ShardingOptions(shard_size=200, pack=16)).plan
    encode_shard(plan, begin(tmp_path, plan), 0, Watched(n=200), CODING)
    assert BATCH_SAMPLES <= most <= BATCH_SAMPLES + 1


def test_large_samples_make_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    monkeypatch.setattr(samples, "BATCH_BYTES", 3 * 8 * 12 * 5)
    encode_shard(PLANNED, begin(tmp_path / "a"), 0, PixelSource(), CODING, advance=batches.append)
    assert sum(batches) == 8
    assert max(batches) <= 4
    monkeypatch.undo()
    encode(begin(tmp_path / "b"), 0)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize("broken", ["damaged", "misshapen"])
def test_a_sample_that_fails_stops_its_shard_and_leaves_nothing(
    tmp_path: Path, broken: str
) -> None:
    source = PixelSource(**{broken: (9,)})  # type: ignore[arg-type]
    root = begin(tmp_path)
    with pytest.raises(SampleError, match=r"view_00009.*--on-error skip"):
        encode(root, 1, source)
    assert root.list() == [PLAN]
    assert check_record(PLANNED, root, 1) is None


@pytest.mark.parametrize("broken", ["damaged", "misshapen"])
def test_a_skipped_sample_keeps_key_and_index_and_is_listed(tmp_path: Path, broken: str) -> None:
    source = PixelSource(**{broken: (9, 12)})  # type: ignore[arg-type]
    root = begin(tmp_path)
    record = encode(root, 1, source, on_error="skip")
    assert [failed.key for failed in record.shard.failed] == ["view_00009", "view_00012"]
    assert all("view_000" in failed.error for failed in record.shard.failed)
    manifest = commit(PLANNED, root, [encode(root, 0), record, encode(root, 2)], CODECS)
    assert manifest.n_failed == 2
    archive = Archive.open(tmp_path)
    assert archive.key(9) == "view_00009"
    assert set(archive.payloads(9, ["rgb", "depth", "label"]).values()) == {None}
    whole = begin(tmp_path / "whole")
    commit(PLANNED, whole, [encode(whole, n) for n in range(3)], CODECS)
    other = Archive.open(tmp_path / "whole")
    for index in (8, 10, 11, 13, 15):  # the neighbours, in batch and pack, are not touched
        both = [a.payloads(index, ["rgb", "depth", "label"]) for a in (archive, other)]
        assert both[0] == both[1]


def test_a_network_error_is_not_a_failed_sample(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    source = PixelSource(flaky=tmp_path / "marks")
    with pytest.raises(ConnectionResetError):
        encode(begin(tmp_path / "out"), 0, source, on_error="skip")


def test_a_record_says_what_was_read(tmp_path: Path) -> None:
    record = encode(begin(tmp_path), 1)
    shard = record.shard
    assert (shard.n, shard.first_index, shard.samples) == (1, 8, 8)
    assert record.max_pixels == 8 * 12
    assert shard.source_bytes == {"rgb": 8 * 288, "depth": 8 * 192, "label": 7 * 96}
    assert shard.streams["label"].n_missing == 1


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = os.replace

    def note(part: Path, target: Path) -> None:
        written.append(target.relative_to(tmp_path).as_posix())
        replace(part, target)

    monkeypatch.setattr(os, "replace", note)
    encode(begin(tmp_path), 0)
    assert written[-1] == record_path(PLANNED, 0)
    assert len(written) == 2 + 2 * 3 + 1  # plan, keys, record; tar and idx a stream


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tar gone": ("rgb/train-rgb-000001.tar", Path.unlink),
    "tar cut": ("depth/train-depth-000001.tar", cut),
    "tar flipped": ("label/train-label-000001.tar", flip),
    "idx gone": ("rgb/train-rgb-000001.tar.idx", Path.unlink),
    "idx cut": ("rgb/train-rgb-000001.tar.idx", cut),
    "keys flipped": ("keys/train-keys-000001.jsonl", flip),
    "record gone": (".dsc/records/train-000001.json", Path.unlink),
    "record cut": (".dsc/records/train-000001.json", cut),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_shard_that_does_not_check_out_is_made_again(tmp_path: Path, damage: str) -> None:
    root = begin(tmp_path)
    encode(root, 1)
    whole = tree(tmp_path)
    path, harm = DAMAGE[damage]
    harm(tmp_path / path)
    assert check_record(PLANNED, root, 1) is None
    encode(root, 1)
    assert tree(tmp_path) == whole


def test_a_record_of_another_plan_or_shard_counts_for_nothing(tmp_path: Path) -> None:
    root = begin(tmp_path)
    encode(root, 1)
    record = root.read(record_path(PLANNED, 1))
    root.write(record_path(PLANNED, 0), record)
    assert check_record(PLANNED, root, 0) is None
    other = json.loads(record) | {"plan_sha256": "0" * 64}
    root.write(record_path(PLANNED, 1), json.dumps(other).encode())
    assert check_record(PLANNED, root, 1) is None


def test_a_worker_does_not_write_into_what_another_run_has_taken(tmp_path: Path) -> None:
    other = PLANNED.model_copy(update={"quality": Quality(default=1)})
    root = begin(tmp_path, other)
    with pytest.raises(PlanMismatchError, match="another run"):
        encode(root, 0)
    assert root.list() == [PLAN]


def test_a_commit_needs_every_shard_as_recorded(tmp_path: Path) -> None:
    root = begin(tmp_path)
    records = [encode(root, n) for n in range(3)]
    with pytest.raises(IncompleteError, match=r"1 of 3 .*train 1"):
        commit(PLANNED, root, [records[0], records[2]], CODECS)
    cut(tmp_path / "depth/train-depth-000002.tar")
    with pytest.raises(IncompleteError, match=r"1 of 3 .*train 2"):
        commit(PLANNED, root, records, CODECS)
    assert not (tmp_path / "dsc.json").exists()


def test_a_committed_archive_is_whole_and_holds_nothing_else(tmp_path: Path) -> None:
    root = begin(tmp_path)
    records = [encode(root, n) for n in range(3)]
    left = tmp_path / f"rgb/train-rgb-000009.tar.{'a' * 32}.part"
    stale = tmp_path / "rgb/train-rgb-000009.tar"
    for path in (left, stale):
        path.write_bytes(b"of an earlier run")
    manifest = commit(PLANNED, root, records[::-1], CODECS)
    assert verify_archive(tmp_path) == []
    assert not (tmp_path / ".dsc").exists()
    assert (manifest.splits, manifest.n_failed, manifest.max_pixels) == ({"train": 23}, 0, 96)
    tars = sorted((tmp_path / "depth").glob("*.tar*"))
    assert manifest.totals["depth"].stored_bytes == sum(p.stat().st_size for p in tars)
    assert "depth" in (tmp_path / "README.md").read_text()


def test_removing_leftovers_spares_what_is_not_ours(tmp_path: Path) -> None:
    root = Root(tmp_path)
    mine = ["notes.txt", "rgb/photo.png", "rgb/train-depth-000000.tar", "a.part", ".hidden"]
    ours = [
        "rgb/train-rgb-000000.tar",
        "keys/train-keys-000000.jsonl",
        "dsc.json",
        ".dsc/plan.json",
    ]
    part = f"rgb/x.tar.{'0' * 32}.part"
    for path in (*mine, *ours, part):
        root.write(path, b"")
    remove_leftovers(root, only_parts=True)
    assert sorted(root.list()) == sorted([*mine, *ours])
    remove_leftovers(root)
    assert sorted(root.list()) == sorted(mine)
    assert strangers(root) == sorted(set(mine) - {".hidden"})
