"""Streams that packs compress, read in every way that others are: they give what was put in."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsc._bench.server import Traffic, serve
from dsc._schemas import Stream, Task
from dsc._schemas.manifest import format_version_of
from dsc._storage.cache.pack_cache import PackCache
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_manifest
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackId, PackReader, salvage
from dsc._storage.read.samples import SamplePlace, SampleReader
from dsc._storage.read.unpack import unpack
from dsc._storage.read.verify import verify_archive
from dsc.errors import CorruptArchiveError, CorruptPackError
from tests.compressed import PACK, SHARD, STREAMS, N, build, payload


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    build(root)
    return root


@pytest.fixture
def served(built: Path) -> Iterator[tuple[str, Traffic]]:
    with serve(built) as (url, traffic):
        yield url, traffic


def as_bytes(found: dict[str, Any]) -> dict[str, bytes | None]:
    return {name: None if p is None else bytes(p) for name, p in found.items()}


def expected(index: int) -> dict[str, bytes | None]:
    return {name: payload(name, index) for name in STREAMS}


def place(archive: Archive, index: int) -> SamplePlace:
    return SamplePlace(*archive.locate(index))


def test_the_archive_is_intact_of_version_2_and_has_few_members(built: Path) -> None:
    assert verify_archive(built) == []
    archive = Archive.open(built)
    assert archive.manifest.format_version == 2
    members = {name: archive.n_members(0, name) for name in STREAMS}
    assert members == {"caption": 3, "pose": 1, "sound": 10}
    assert [archive.is_column(name) for name in STREAMS] == [False, True, False]
    sizes = archive.manifest.totals
    raw = sum(len(payload("pose", index) or b"") for index in range(N))
    assert sizes["pose"].payload_bytes < 0.5 * raw
    for index in range(N):
        assert as_bytes(archive.payloads(index, STREAMS)) == expected(index)


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_every_way_to_read_gives_the_same(
    built: Path, served: tuple[str, Traffic], tmp_path: Path, remote: bool, cached: bool
) -> None:
    archive = Archive.open(served[0] if remote else built)
    reader = PackReader(archive, PackCache(tmp_path, 1 << 20) if cached else None)
    ids = [PackId(s, n, p) for s in range(3) for n in STREAMS for p in range(archive.n_packs(s))]
    for found in (reader.read_many(ids), reader.read_many(reversed(ids))):
        for one, pack in found.items():
            first, count = archive.span(one[0], one[2])
            assert pack.first_index == first
            wanted = [payload(one[1], index) for index in range(first, first + count)]
            assert [p if p is None else bytes(p) for p in pack.payloads] == wanted
            assert reader.missing(*one).tolist() == [p is None for p in wanted]
    samples = SampleReader(PackReader(archive), STREAMS)
    for index in [5, 90, 6, 41, 40, 0, 96]:
        [one] = samples.read([place(archive, index)])
        assert as_bytes(one) == expected(index)
    many = samples.read([place(archive, index) for index in range(N)], in_order=True)
    assert [as_bytes(one) for one in many] == [expected(index) for index in range(N)]


def test_one_sample_takes_one_request_once_the_index_is_known(served: tuple[str, Traffic]) -> None:
    url, traffic = served
    archive = Archive.open(url)
    for stream, index in (("pose", 0), ("caption", 1)):  # one member a shard needs no index
        path = f"{stream}/train-{stream}-000001.tar"
        samples = SampleReader(PackReader(archive), [stream])
        traffic.requests.clear()
        samples.read([place(archive, 50)])
        assert (traffic.requests[path], traffic.requests[f"{path}.idx"]) == (1, index)
        samples.read([place(archive, 51)])
        dictionary = index  # the caption's, once an archive
        assert sum(traffic.requests.values()) == 1 + index + dictionary


def test_reading_on_does_not_decompress_again(built: Path, monkeypatch: Any) -> None:
    reader = PackReader(Archive.open(built))
    calls = []
    unwrap = Archive.unwrap_joined
    monkeypatch.setattr(Archive, "unwrap_joined", lambda *a: (calls.append(a), unwrap(*a))[1])
    for pack in range(10):
        reader.read(0, "pose", [pack])
    assert len(calls) == 1


def test_what_is_kept_of_a_member_is_its_own(built: Path) -> None:
    reader = PackReader(Archive.open(built))
    [pack] = reader.read(0, "pose", [3])
    assert pack.payloads[0] is not None
    assert len(pack.payloads[0].obj) == PACK * 128


def test_an_index_that_is_gone_is_made_again(built: Path, tmp_path: Path) -> None:
    build(tmp_path)
    for file in tmp_path.rglob("*.idx"):
        file.unlink()
    archive = Archive.open(tmp_path)
    for index in (0, 39, 40, 96):
        assert as_bytes(archive.payloads(index, STREAMS)) == expected(index)
    assert verify_archive(tmp_path) == []


@pytest.mark.parametrize("stream", STREAMS)
def test_damage_is_named_and_what_can_be_told_apart_is_saved(stream: str, tmp_path: Path) -> None:
    build(tmp_path)
    path = tmp_path / stream / f"train-{stream}-000000.tar"
    data = bytearray(path.read_bytes())
    data[512 + 32 + 12 * PACK + 3] ^= 1  # in the first payload, or in the block
    path.write_bytes(bytes(data))
    [problem] = verify_archive(tmp_path)
    assert problem.path == str(path.relative_to(tmp_path))
    reader = PackReader(Archive.open(tmp_path))
    with pytest.raises(CorruptPackError, match="pack 0"):
        reader.read(0, stream, [0])
    if stream == "sound":
        found = salvage(reader, 0, stream, 0).payloads
        assert isinstance(found[0], CorruptPackError)
        assert [p if p is None else bytes(p) for p in found[1:]] == [  # type: ignore[arg-type]
            payload(stream, index) for index in range(1, PACK)
        ]
    else:
        with pytest.raises(CorruptPackError):
            salvage(reader, 0, stream, 0)


def test_packs_that_are_no_multiple_are_refused(tmp_path: Path) -> None:
    manifest = build(tmp_path)
    odd = manifest.streams[0].model_copy(update={"pack_size": PACK + 1})
    forged = manifest.model_copy(update={"streams": (odd, *manifest.streams[1:])})
    write_manifest(Root(tmp_path), forged)
    with pytest.raises(CorruptArchiveError, match="no multiple of 4"):
        Archive.open(tmp_path)


def test_stock_webdataset_reads_it_with_and_without_the_archive_around(
    built: Path, tmp_path: Path
) -> None:
    def samples(url: str) -> Iterator[dict[str, Any]]:
        archive = Archive.open(built)
        for name in STREAMS:
            record = archive.record(0, name)
            for number in range(archive.n_members(0, name)):
                start, end = archive.member_extent(0, name, number)
                data = (built / record.path).read_bytes()[start:end]
                size = int(data[124:135], 8)
                yield {"__key__": "k", "__url__": f"{url}/{record.path}",
                       f"{name}.pack": data[512 : 512 + size]}  # fmt: skip

    for found in (
        list(unpack(samples(str(built)))),
        list(unpack(samples("elsewhere"), archive=str(built))),
    ):
        for name in STREAMS:
            own = {one["__index__"]: one[name] for one in found if name in one}
            assert own == {index: payload(name, index) for index in range(SHARD)}
    with pytest.raises(CorruptPackError, match="dictionary"):
        list(unpack(samples(str(tmp_path / "a"))))


def test_a_manifest_without_any_of_it_is_spelled_as_before() -> None:
    plain = Stream(name="rgb", carries=("rgb",))
    assert json.loads(plain.to_json()) == {"carries": ["rgb"], "name": "rgb", "requires": []}
    assert format_version_of([Task(name="rgb", kind="image", dtype="uint8")], [plain]) == 1
    assert struct.calcsize("<4sHHIIQII") == 32
