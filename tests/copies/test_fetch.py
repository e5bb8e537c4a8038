"""A fetch takes the asked tasks' bytes and no others, checks them, and goes on where it stopped."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dsc
from dsc._bench.server import Traffic, serve
from dsc._cli import app
from dsc._copies.contents import restrict
from dsc._copies.fetch import fetch
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.verify import verify_deep
from dsc._schemas import CodecRecord, Manifest, ShardRecord, Stream
from dsc._storage.files.retry import ATTEMPTS
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import (
    ArchiveNotFoundError,
    CorruptArchiveError,
    IncompleteError,
    PlanMismatchError,
    UnknownTaskError,
    UsageError,
)
from tests.archives import build_archive
from tests.jobs.sources import PixelSource

SMALL_FILES = ("dsc.json", "shards.jsonl")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fetch") / "archive"
    compress(PixelSource(n=23), out, codec="png", shard_size=8, pack=3)
    return out


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two streams of one 3 MB tar each, and a codec file that does not come with dsc."""
    out = tmp_path_factory.mktemp("fetch") / "large"
    build_archive(out, n=300, shard_size=300, pack_size=50, sizes=(8_000, 12_000))
    return out


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def tar_of(root: Path, stream: str) -> Path:
    return root / stream / f"train-{stream}-000000.tar"


def test_only_the_asked_tasks_bytes_cross_the_network_once(archive: Path, tmp_path: Path) -> None:
    with serve(archive) as (url, traffic):
        report = fetch(url, ["depth"], tmp_path / "d")
    manifest = Archive.open(archive).manifest
    for path, sent in traffic.sent.items():
        assert path.split("/")[0] in ("depth", "keys", *SMALL_FILES)
        assert sent == (archive / path).stat().st_size
    small = sum((archive / name).stat().st_size for name in SMALL_FILES)
    keys = traffic.total("keys/")
    assert traffic.total() - small - keys == sum(
        shard.streams["depth"].bytes for shard in Archive.open(archive).shards
    )
    assert report.fetched_bytes == traffic.total() - small
    assert not any(path.endswith(".idx") for path in traffic.requests)
    assert report.manifest.plan_sha256 == manifest.plan_sha256
    assert report.manifest.generation == manifest.generation


def test_a_copy_is_an_archive_with_the_same_samples(archive: Path, tmp_path: Path) -> None:
    fetch(archive, "depth,label", tmp_path / "d")
    assert verify_archive(tmp_path / "d") == []
    assert verify_deep(str(tmp_path / "d")) == []
    whole, copy = dsc.open(archive, native=True), dsc.open(tmp_path / "d", native=True)
    assert list(copy.keys()) == list(whole.keys())
    assert [task.name for task in copy.tasks] == ["depth", "label"]
    for index in (0, 7, 22):
        for name in ("depth", "label"):
            np.testing.assert_array_equal(copy[index][name], whole[index][name])
    with pytest.raises(UnknownTaskError, match="rgb"):
        dsc.open(tmp_path / "d", ["rgb"])


def test_files_of_a_copy_are_those_of_the_archive(archive: Path, tmp_path: Path) -> None:
    fetch(archive, ["depth"], tmp_path / "d")
    whole, copy = files_of(archive), files_of(tmp_path / "d")
    differ = {name for name in copy if copy[name] != whole[name]}
    assert differ == set(SMALL_FILES)


def test_more_tasks_are_added_and_what_is_there_is_kept(archive: Path, tmp_path: Path) -> None:
    fetch(archive, ["depth"], tmp_path / "d")
    with serve(archive) as (url, traffic):
        report = fetch(url, ["rgb"], tmp_path / "d")
    assert report.tasks == ("rgb", "depth")
    assert traffic.total("depth/") == 0
    assert traffic.total("keys/") == 0
    assert verify_archive(tmp_path / "d") == []


def test_the_order_of_fetches_does_not_matter(archive: Path, tmp_path: Path) -> None:
    fetch(archive, ["depth"], tmp_path / "a")
    fetch(archive, ["rgb"], tmp_path / "a")
    fetch(archive, ["rgb", "depth"], tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_copy_can_be_fetched_from_again(archive: Path, tmp_path: Path) -> None:
    fetch(archive, ["depth", "label"], tmp_path / "a")
    fetch(tmp_path / "a", ["label"], tmp_path / "b")
    assert verify_archive(tmp_path / "b") == []
    assert verify_deep(str(tmp_path / "b")) == []


def test_required_streams_and_their_codec_come_along_and_slots_stay() -> None:
    streams = (
        Stream(name="label", carries=("label",)),
        Stream(name="shared"),
        Stream(name="rgb", carries=("rgb",), requires=("shared",)),
        Stream(name="depth", carries=("depth",), requires=("shared",)),
    )
    hashes = ["0" * 64, "1" * 64]
    codecs = (
        CodecRecord(id="png", streams=("label",), weights_sha256=hashes[0]),
        CodecRecord(id="joint", streams=("shared", "rgb", "depth"), weights_sha256=hashes[1]),
    )
    example = build_example()
    files = [{"path": f"codecs/{h}.safetensors", "bytes": 1, "sha256": h} for h in hashes]
    manifest = Manifest.model_validate(
        example.model_dump()
        | {"streams": streams, "codecs": codecs, "files": files}
        | {"totals": {stream.name: {} for stream in streams}}
    )
    found, shards = restrict(manifest, (), ["depth"])
    assert [stream.name for stream in found.streams] == ["shared", "depth"]
    assert [codec.id for codec in found.codecs] == ["png", "joint"]
    assert [codec.streams for codec in found.codecs] == [(), ("shared", "depth")]
    assert [codec.weights_sha256 for codec in found.codecs] == [None, hashes[1]]
    assert [file.sha256 for file in found.files] == [hashes[1]]
    assert set(found.totals) == {"shared", "depth"}
    assert shards == ()


def build_example() -> Manifest:
    return Manifest(
        created_by="dsc test", plan_sha256="a" * 64, source="test", tasks=(), streams=(), codecs=(),
        quality={}, pack_size=1, shard_size=1, max_pixels=1, splits={}, totals={}, source_bytes={},
        files=(),
    )  # fmt: skip


@pytest.mark.slow
def test_shared_latent_weights_that_came_with_dsc_are_not_downloaded(tmp_path: Path) -> None:
    codec = "shared-latent"
    compress("taskonomy", tmp_path / "a", sample=2, tasks="rgb,depth", size=32, codec=codec)
    with serve(tmp_path / "a") as (url, traffic):
        report = fetch(url, ["depth"], tmp_path / "d")
    assert report.streams == ("shared", "depth_zbuffer")
    assert traffic.total("codecs/") == 0
    assert traffic.total("rgb/") == 0
    assert report.shipped_bytes == (next((tmp_path / "a" / "codecs").iterdir())).stat().st_size
    assert verify_archive(tmp_path / "d") == []
    depth_m = dsc.open(tmp_path / "d")[1]["depth"]
    np.testing.assert_array_equal(depth_m, dsc.open(tmp_path / "a")[1]["depth"])


def test_foreign_weights_are_downloaded_and_checked(large: Path, tmp_path: Path) -> None:
    report = fetch(large, ["rgb"], tmp_path / "d")
    assert report.shipped_bytes == 0
    assert len(list((tmp_path / "d" / "codecs").iterdir())) == 1
    fetch(large, ["depth"], tmp_path / "e")
    assert not (tmp_path / "e" / "codecs").exists()


@pytest.mark.usefixtures("quick_retries")
def test_a_broken_connection_is_taken_up_at_the_byte_where_it_broke(
    large: Path, tmp_path: Path
) -> None:
    with serve(large) as (url, traffic):
        fetch_with_cuts(url, traffic, tmp_path / "d", cuts=3)
    assert verify_archive(tmp_path / "d") == []
    path = "depth/train-depth-000000.tar"
    # how much of a dead socket's bytes arrive is up to the system; what arrived is not asked again
    starts = traffic.starts[path]
    assert starts == sorted(starts)
    assert starts[-1] > 0
    assert traffic.requests[path] >= 4


def fetch_with_cuts(url: str, traffic: Traffic, out: Path, cuts: int) -> None:
    """Fetch; the connection breaks in the middle of each of the first answers for the big tar."""
    armed = []

    def arm(done: int, total: int) -> None:
        if not armed and done:
            armed.append(True)
            traffic.cut_next = cuts

    fetch(url, ["depth"], out, progress=arm)


@pytest.mark.usefixtures("quick_retries")
def test_a_dead_server_is_a_clear_error_and_the_next_run_goes_on(
    large: Path, tmp_path: Path
) -> None:
    out, size = tmp_path / "d", tar_of(large, "depth").stat().st_size
    with serve(large) as (url, traffic):
        with pytest.raises(IncompleteError, match="run the same command again") as raised:
            die_in_the_middle(url, traffic, out)
        assert "depth/train-depth-000000.tar" in str(raised.value)
        part = tar_of(out, "depth").with_suffix(".tar.part")
        held = part.stat().st_size
        assert 0 < held < size
        assert not (out / "dsc.json").exists()
        traffic.dead_after_bytes = None
        traffic.sent.clear()
        report = fetch(url, ["depth"], out)
    assert traffic.sent["depth/train-depth-000000.tar"] == size - held
    assert report.kept_bytes >= held
    assert verify_archive(out) == []
    assert not list(out.rglob("*.part"))


def die_in_the_middle(url: str, traffic: Traffic, out: Path) -> None:
    def arm(done: int, total: int) -> None:
        if done and traffic.dead_after_bytes is None:
            traffic.cut_next = 1
            traffic.dead_after_bytes = traffic.total() + 1

    fetch(url, ["depth"], out, progress=arm)


@pytest.mark.usefixtures("quick_retries")
def test_the_command_tells_of_a_lost_network_and_exits_1(large: Path, tmp_path: Path) -> None:
    with serve(large) as (url, traffic):
        traffic.dead_after_bytes = sum((large / name).stat().st_size for name in SMALL_FILES)
        words = ["fetch", url, "--tasks", "depth", "--out", str(tmp_path / "d")]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert "connection was lost" in result.stderr
        assert "same command" in result.stderr
        assert "Traceback" not in result.stderr
        traffic.dead_after_bytes = None
        assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.usefixtures("quick_retries")
def test_a_server_without_ranges_serves_too(large: Path, tmp_path: Path) -> None:
    with serve(large) as (url, traffic):
        traffic.ranges = False
        fetch(url, ["depth"], tmp_path / "d")
        assert traffic.requests["depth/train-depth-000000.tar"] == 1
        fetch_with_cuts(url, traffic, tmp_path / "e", cuts=1)
    assert verify_archive(tmp_path / "d") == []
    assert verify_archive(tmp_path / "e") == []


@pytest.mark.usefixtures("quick_retries")
def test_a_server_without_ranges_that_always_cuts_ends_a_fetch(large: Path, tmp_path: Path) -> None:
    path = "depth/train-depth-000000.tar"
    with serve(large) as (url, traffic):
        traffic.ranges, traffic.cut_next, traffic.only = False, 10_000, path
        with pytest.raises(IncompleteError, match=r"sends whole files only.*a new byte") as raised:
            fetch(url, ["depth"], tmp_path / "d")
        assert f"{url}/{path}" in str(raised.value)
        # a connection that is reset may lose bytes that another one then brings, which is new to us
        assert 1 + ATTEMPTS <= traffic.requests[path] <= 3 * ATTEMPTS
        traffic.cut_next = 0
        report = fetch(url, ["depth"], tmp_path / "d")  # what had arrived is passed over
    assert 0 < report.fetched_bytes < traffic.sent[path]
    assert verify_archive(tmp_path / "d") == []


@pytest.mark.usefixtures("quick_retries")
def test_a_signature_that_expires_in_mid_fetch_is_said_and_a_new_one_goes_on(
    large: Path, tmp_path: Path
) -> None:
    path = "depth/train-depth-000000.tar"
    with serve(large) as (url, traffic):
        traffic.signature, traffic.cut_next, traffic.only = "sig=old", 1, path

        def expire(done: int, total: int) -> None:
            traffic.signature = "sig=new" if traffic.sent[path] else traffic.signature

        with pytest.raises(PermissionError, match="signature") as raised:
            fetch(f"{url}/?sig=old", ["depth"], tmp_path / "d", progress=expire)
        assert "old" not in str(raised.value)
        assert traffic.requests[path] == 2  # a refusal is final
        fetch(f"{url}?sig=new", ["depth"], tmp_path / "d")
    assert verify_archive(tmp_path / "d") == []
    assert not any(b"sig=" in data for data in files_of(tmp_path / "d").values())


def test_a_part_of_another_file_is_thrown_away(archive: Path, tmp_path: Path) -> None:
    part = tar_of(tmp_path / "d", "depth").with_suffix(".tar.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 700)
    fetch(archive, ["depth"], tmp_path / "d")
    assert verify_archive(tmp_path / "d") == []


def test_damaged_files_in_the_directory_are_replaced(archive: Path, tmp_path: Path) -> None:
    fetch(archive, ["depth"], tmp_path / "d")
    tar = tar_of(tmp_path / "d", "depth")
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    tar.with_name(f"{tar.name}.idx").unlink()
    fetch(archive, ["depth"], tmp_path / "d")
    assert verify_archive(tmp_path / "d") == []


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("remote", [False, True])
def test_damage_where_the_archive_lies_is_not_copied(
    archive: Path, tmp_path: Path, damage: str, remote: bool
) -> None:
    broken = Path(shutil.copytree(archive, tmp_path / "broken"))
    tar = tar_of(broken, "depth")
    data = tar.read_bytes()
    if damage == "gone":
        tar.unlink()
    else:
        tar.write_bytes(data[:-512] if damage == "cut" else data[:600] + b"!" + data[601:])
    with serve(broken) as (url, _), pytest.raises(CorruptArchiveError, match=tar.name):
        fetch(url if remote else broken, ["depth"], tmp_path / "d")
    assert not (tmp_path / "d" / "dsc.json").exists()
    assert not tar_of(tmp_path / "d", "depth").exists()


def test_another_archive_in_the_directory_is_refused(
    archive: Path, large: Path, tmp_path: Path
) -> None:
    fetch(archive, ["depth"], tmp_path / "d")
    before = files_of(tmp_path / "d")
    with pytest.raises(PlanMismatchError, match="another archive"):
        fetch(large, ["depth"], tmp_path / "d")
    assert files_of(tmp_path / "d") == before


def test_calls_that_cannot_be_honoured_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the archive itself"):
        fetch(archive, ["depth"], archive)
    with pytest.raises(UsageError, match="local directory"):
        fetch(archive, ["depth"], "s3://bucket/copy")
    with pytest.raises(UsageError, match="name one of rgb"):
        fetch(archive, "", tmp_path / "d")
    with pytest.raises(UnknownTaskError, match="flow"):
        fetch(archive, ["flow"], tmp_path / "d")
    with pytest.raises(ArchiveNotFoundError):
        fetch(tmp_path, ["depth"], tmp_path / "d")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="give a directory"):
        fetch(archive, ["depth"], tmp_path / "file")


def test_any_fsspec_url_will_do(archive: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, data in files_of(archive).items():
        memory.pipe_file(f"/fetched/{name}", data)
    try:
        fetch("memory://fetched", ["label"], tmp_path / "d")
    finally:
        memory.rm("/fetched", recursive=True)
    assert verify_archive(tmp_path / "d") == []


def test_progress_counts_bytes_up_to_all_of_them(archive: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    fetch(
        archive, ["depth"], tmp_path / "d", progress=lambda done, total: seen.append((done, total))
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1


def test_failed_samples_stay_listed(tmp_path: Path) -> None:
    compress(PixelSource(n=9, damaged=(4,)), tmp_path / "a", codec="png", on_error="skip")
    fetch(tmp_path / "a", ["depth"], tmp_path / "d")
    copy = Archive.open(tmp_path / "d")
    assert copy.manifest.n_failed == 1
    assert [f.key for shard in copy.shards for f in shard.failed] == [
        Archive.open(tmp_path / "a").key(4)
    ]


def test_the_manifest_of_a_copy_is_sealed(archive: Path, tmp_path: Path) -> None:
    fetch(archive, ["depth"], tmp_path / "d")
    lines = (tmp_path / "d" / "shards.jsonl").read_bytes()
    manifest = json.loads((tmp_path / "d" / "dsc.json").read_bytes())
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    assert listed == {"shards.jsonl": hashlib.sha256(lines).hexdigest()}
    for line in lines.splitlines():
        assert set(ShardRecord.from_json(line).streams) == {"depth"}


def test_a_copy_that_has_grown_by_itself_is_not_fetched_into(tmp_path: Path) -> None:
    options = {"size": 32, "codec": "rgb=jpeg,depth=png"}
    dsc.compress("taskonomy", tmp_path / "a", sample=4, tasks="rgb,depth", **options)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    dsc.append(tmp_path / "copy", "taskonomy", sample=6, size=32)
    with pytest.raises(PlanMismatchError, match=r"grown by itself \(generation 2\)"):
        dsc.fetch(tmp_path / "a", "rgb", tmp_path / "copy")
    assert len(dsc.open(tmp_path / "copy")) == 6


def test_of_two_fetches_to_one_directory_the_second_is_told(archive: Path, tmp_path: Path) -> None:
    told: list[str] = []

    def second(done: int, total: int) -> None:
        with pytest.raises(UsageError, match=r"dsc fetch .* is writing") as caught:
            fetch(archive, None, tmp_path / "copy")
        told.append(str(caught.value))

    fetch(archive, None, tmp_path / "copy", progress=second)
    assert told
    assert verify_archive(tmp_path / "copy") == []
    assert not (tmp_path / "copy" / ".dsc").exists()
