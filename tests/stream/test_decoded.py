"""Threads that decode, and arrays that are kept: the same batches, in less time."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dsc
from dsc._codecs.maps.base import ImageCodec
from dsc._pipeline.read.decoded_cache import OVERHEAD_BYTES, DecodedCache, Wanted
from dsc._storage.read.pack_reader import PackReader
from dsc._stream import collate as collating
from dsc._stream.decode_pool import DecodePool
from dsc.errors import BitstreamError, UsageError

TASKS = "rgb,depth,segment_semantic"
WAYS: dict[str, dict[str, Any]] = {
    "loop": {"threads": 0},
    "threads": {"threads": 3},
    "cached": {"threads": 0, "cache_decoded": "1GB"},
    "threads, cached": {"threads": 3, "cache_decoded": "1GB"},
    "a cache of some": {"threads": 2, "cache_decoded": 70_000},
    "workers, cached": {"workers": 2, "cache_decoded": "1GB"},
}
ASKED: dict[str, dict[str, Any]] = {
    "in order": {},
    "shuffled": {"shuffle": True, "seed": 3},
    "native": {"native": True, "shuffle": True},
    "numpy": {"output": "numpy"},
    "transformed": {"transform": lambda s: {n: a[:32] * 2 for n, a in s.items() if n[0] != "_"}},
}


def epochs(stream: Any, count: int = 2) -> list[list[dict[str, Any]]]:
    return [list(stream) for _ in range(count)]


def same(one: Any, other: Any) -> bool:
    """Whether batches are equal in keys, order, dtypes, memory layout and every bit."""
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, torch.Tensor):
        same_layout = one.dtype == other.dtype and one.stride() == other.stride()
        return same_layout and same(one.numpy(), other.numpy())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(
            one, other, equal_nan=one.dtype.kind == "f"
        )
    return bool(one == other)


@pytest.fixture(params=["views", "learned_views", "av1_views"])
def archive(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def av1_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight views by AV1, depth with holes."""
    root = tmp_path_factory.mktemp("holes")
    rng = np.random.default_rng(0)
    for name in ("rgb", "depth", "segment_semantic"):
        (root / "in" / name).mkdir(parents=True)
    import imagecodecs

    for index in range(8):
        smooth = rng.integers(0, 90, (6, 8)).repeat(8, 0).repeat(8, 1)
        depth = (900 + 9 * smooth).astype(np.uint16)
        depth[rng.random(depth.shape) < 0.1] = 0
        rgb = np.stack([smooth * 2, 200 - smooth, smooth], 2).astype(np.uint8)
        arrays = {"rgb": rgb, "depth": depth, "segment_semantic": (smooth % 5).astype(np.uint8)}
        for name, array in arrays.items():
            path = root / "in" / name / f"{index}.png"
            path.write_bytes(imagecodecs.png_encode(array))
    dsc.compress("folder", root / "a", root=root / "in", depth_unit=0.001, pack=2, shard_size=4,
                 codec="rgb=av1-fast,depth=av1-fast,segment_semantic=label-context")  # fmt: skip
    return root / "a"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that classical codecs decode, one entry a sample."""
    calls: list[str] = []
    plain = ImageCodec.decode_task_to

    def counting(self: Any, task: Any, *rest: Any) -> Any:
        calls.append(task.name)
        return plain(self, task, *rest)

    monkeypatch.setattr(ImageCodec, "decode_task_to", counting)
    return calls


@pytest.mark.parametrize("way", [name for name in WAYS if name != "loop"])
@pytest.mark.parametrize("asked", ASKED)
def test_batches_are_the_same_bit_for_bit(archive: Path, way: str, asked: str) -> None:
    if "workers" in way and asked == "transformed":
        pytest.skip("a lambda travels to no worker")
    options = {"batch_size": 3} | ASKED[asked]
    expected = epochs(dsc.stream(archive, TASKS, threads=0, **options))
    stream = dsc.stream(archive, TASKS, **options, **WAYS[way])
    assert same(epochs(stream), expected)
    stream.close()


def test_later_epochs_decode_nothing_and_read_nothing(
    views: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = PackReader.read
    monkeypatch.setattr(PackReader, "read", lambda *args: (reads.append(args[2]), read(*args))[1])
    stream = dsc.stream(views, TASKS, 5, shuffle=True, cache_decoded="1GB", memory=1)
    list(stream)
    first = len(decoded), len(reads)
    assert first[0] == 3 * stream.samples
    epochs(stream, 3)
    assert (len(decoded), len(reads)) == first
    pixels = 64 * 64 * stream.samples
    kept = 3 * pixels + 2 * pixels + pixels + 3 * stream.samples * OVERHEAD_BYTES
    assert stream.report.decoded == {
        "misses": first[0], "hits": 3 * first[0], "bytes": kept
    }  # fmt: skip


def test_a_cache_keeps_what_fits_and_no_more(views: Path, decoded: list[str]) -> None:
    one = 64 * 64 * 3 + OVERHEAD_BYTES
    stream = dsc.stream(views, "rgb", 4, shuffle=True, cache_decoded=5 * one + 10)
    epochs(stream, 3)
    assert stream.report.decoded["bytes"] == 5 * one
    assert len(decoded) == 3 * stream.samples - 2 * 5
    assert stream.report.decoded["hits"] == 2 * 5


def test_what_a_loop_does_to_a_batch_stays_in_the_batch(views: Path) -> None:
    for transform in (None, lambda s: {**s, "rgb": np.asarray(s["rgb"]).__imul__(0)}):
        options = {"batch_size": 4, "cache_decoded": "1GB", "native": True, "threads": 0}
        stream = dsc.stream(views, "rgb,depth", **options, transform=transform)
        first = [{n: v.clone() for n, v in batch.items()} for batch in stream]
        for batch in stream:
            batch["rgb"][...] = 9
            batch["depth"].zero_()
        assert same([dict(batch) for batch in stream], first)


def test_a_state_goes_on_with_other_threads_and_a_cache(views: Path) -> None:
    options = {"shuffle": True, "seed": 1}
    stream = dsc.stream(views, TASKS, 2, cache_decoded="1GB", threads=2, **options)
    list(stream)
    begun: list[int] = []
    for batch in stream:
        begun += batch["__index__"].tolist()
        if len(begun) == 4:
            break
    state = stream.state_dict()
    other = dsc.stream(views, TASKS, 3, cache_decoded=40_000, threads=1, **options)
    list(other)  # it has some of them already
    other.load_state_dict(state)
    rest = [index for batch in other for index in batch["__index__"].tolist()]
    assert len(begun) + len(rest) == stream.samples
    assert sorted(begun + rest) == list(range(stream.samples))


def test_samples_that_lack_a_task_are_kept_too(tmp_path: Path, decoded: list[str]) -> None:
    import imagecodecs

    for name in ("rgb", "depth"):
        (tmp_path / "in" / name).mkdir(parents=True)
    for index in range(4):
        rgb = np.full((8, 8, 3), index, np.uint8)
        (tmp_path / "in" / "rgb" / f"{index}.png").write_bytes(imagecodecs.png_encode(rgb))
        if index != 2:
            depth = np.full((8, 8), 500 + index, np.uint16)
            (tmp_path / "in" / "depth" / f"{index}.png").write_bytes(imagecodecs.png_encode(depth))
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in", codec="png", depth_unit=0.001)
    expected = epochs(dsc.stream(tmp_path / "a", None, 4, missing="none"))
    del decoded[:]
    stream = dsc.stream(tmp_path / "a", None, 4, missing="none", cache_decoded="1MB")
    assert same(epochs(stream), expected)
    assert expected[1][0]["depth"][2] is None
    assert decoded.count("depth") == 3
    assert decoded.count("rgb") == 4


def test_damage_is_told_in_every_epoch(views: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, seen = ImageCodec.decode_task_to, set()

    def failing(self: Any, task: Any, data: bytes, *rest: Any) -> Any:
        seen.add(data)
        if task.name == "depth_zbuffer" and data == bad[0]:
            raise ValueError("made to fail")
        return plain(self, task, data, *rest)

    bad = [bytes(dsc.open(views, "depth").payloads([5])[0]["depth_zbuffer"] or b"")]
    monkeypatch.setattr(ImageCodec, "decode_task_to", failing)
    stream = dsc.stream(views, "rgb,depth", 4, on_error="skip", cache_decoded="1GB", threads=2)
    for epoch in range(1, 4):
        assert [i for batch in stream for i in batch["__index__"].tolist()] == [
            i for i in range(12) if i != 5
        ]
        assert stream.report.n_skipped == epoch
    with pytest.raises(BitstreamError, match="made to fail"):
        list(dsc.stream(views, "rgb,depth", 4, cache_decoded="1GB", threads=2))


def test_what_was_begun_is_given_before_what_failed_after_it(
    views: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PackReader.read

    def failing(self: Any, shard: int, stream: str, packs: Any) -> Any:
        if shard == 1:
            raise OSError("the disk is gone")
        return read(self, shard, stream, packs)

    monkeypatch.setattr(PackReader, "read", failing)
    stream, found = dsc.stream(views, "rgb", 2, threads=2), []
    with pytest.raises(OSError, match="the disk is gone"):
        found.extend(index for batch in stream for index in batch["__index__"].tolist())
    assert found == [0, 1, 2, 3]
    assert stream.state_dict()["position"] == 4


def test_transforms_run_where_the_loop_runs_and_in_its_order(views: Path) -> None:
    seen: list[tuple[int, int]] = []

    def look(sample: Any) -> Any:
        seen.append((threading.get_ident(), sample["__index__"]))
        return sample

    for _ in dsc.stream(views, TASKS, 2, threads=3, transform=look):
        pass
    assert seen == [(threading.get_ident(), index) for index in range(12)]


def test_a_loop_that_is_left_leaves_no_work_behind(views: Path) -> None:
    stream = dsc.stream(views, TASKS, 1, threads=2)
    for _ in stream:
        break
    (pool,) = [stream._feed._pool]
    assert isinstance(pool, DecodePool)
    assert not pool._waiting
    assert len(list(stream)) == 12
    threads = list(pool._pool._threads)
    assert threads
    stream.close()
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("output", ["torch", "numpy"])
def test_decoders_write_into_the_batch(
    av1_views: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epochs(dsc.stream(av1_views, TASKS, 4, output=output))
    plain, wholes = collating._whole, []
    monkeypatch.setattr(collating, "_whole", lambda rows: wholes.append(plain(rows)) or wholes[-1])
    for options in ({"threads": 0}, {"threads": 2}, {"cache_decoded": "1GB"}):
        assert same(epochs(dsc.stream(av1_views, TASKS, 4, output=output, **options)), expected)
    assert len(wholes) == 3 * 2 * 2 * 3
    assert all(whole is not None for whole in wholes)


def test_rows_of_other_arrays_are_stacked() -> None:
    whole = np.arange(24).reshape(4, 2, 3)
    rows = list(whole)
    assert collating._whole(rows) is None  # a view: who else has its memory is not known
    own = whole.copy()
    assert collating._whole(list(own)) is own
    for values in (list(own)[::-1], list(own)[:3], [own[0]] * 4, [*own[:3], own[3].copy()], [3]):
        assert collating._whole(values) is None


def test_worker_processes_share_the_limit(views: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsc._stream import sample_stream

    class Info:
        num_workers = 4

    monkeypatch.setattr(sample_stream, "loader_worker", Info)
    feed = dsc.stream(views, "rgb", cache_decoded="1MB")._feed
    assert feed._cache is not None
    assert feed._cache.limit_bytes == 250_000
    assert feed._pool is None


def test_options_are_checked(views: Path) -> None:
    with pytest.raises(UsageError, match="cache_decoded='much'"):
        dsc.stream(views, cache_decoded="much")
    with pytest.raises(UsageError, match="threads=-1"):
        dsc.stream(views, threads=-1)


def test_a_cache_counts_what_it_holds_once() -> None:
    cache, array = DecodedCache(2_000), np.zeros(1_000, np.uint8)
    for _ in range(3):
        cache.put(Wanted(0, 1, "rgb"), array)
    cache.put(Wanted(0, 2, "rgb"), array)
    cache.put(Wanted(0, 2, "depth"), None)
    assert cache.used_bytes == 1_000 + 2 * OVERHEAD_BYTES
    assert cache.holds(0, 1, ["rgb"])
    assert not cache.holds(0, 2, ["rgb", "depth"])
    assert not cache.holds(1, 1, ["rgb"])
    assert dict(cache.take_counts()) == {"bytes": cache.used_bytes}
