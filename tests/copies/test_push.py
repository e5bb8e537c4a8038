"""A push brings an archive to a store whole or not at all, sends nothing twice, and goes on."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import dsc
from dsc._copies.pull import pull
from dsc._copies.push import push
from dsc._storage.files.root import Root
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import hash_file, verify_archive
from dsc.errors import ArchiveNotFoundError, CorruptArchiveError, PlanMismatchError, UsageError
from tests.archives import build_archive
from tests.real_servers import s3


class FaultyFileSystem(MemoryFileSystem):
    """A store in memory that fails on request, in the middle of a file, and counts."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    sent: ClassVar[list[str]] = []
    read: ClassVar[list[str]] = []
    fail_after: ClassVar[int | None] = None
    cuts: ClassVar[int] = 0
    after: ClassVar[Callable[[], None] | None] = None  # called when something has changed

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("faulty://").strip("/")

    def put_file(self, lpath: str, rpath: str, callback: Any = None, **more: Any) -> None:
        data = Path(lpath).read_bytes()
        callback.set_size(len(data))
        callback.relative_update(len(data) // 2)
        self._take(rpath, data)
        callback.relative_update(len(data) - len(data) // 2)

    def pipe_file(self, path: str, value: bytes, **more: Any) -> None:
        self._take(path, value)

    def _take(self, path: str, data: bytes) -> None:
        cls = type(self)
        if cls.fail_after is not None and len(cls.sent) >= cls.fail_after:
            super().pipe_file(path, data[: len(data) // 2])
            raise ConnectionError("the line is dead")
        if cls.cuts:
            cls.cuts -= 1
            data = data[:-1]
        super().pipe_file(path, data)
        cls.sent.append(path.rpartition("/")[2])
        if cls.after is not None:
            cls.after()

    def rm_file(self, path: str) -> None:
        super().rm_file(path)
        if type(self).after is not None:
            type(self).after()

    def cat_file(self, path: str, *range_: Any, **more: Any) -> bytes:
        type(self).read.append(path.rpartition("/")[2])
        return super().cat_file(path, *range_, **more)


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyFileSystem]]:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    yield FaultyFileSystem
    for one in (FaultyFileSystem.store, FaultyFileSystem.sent, FaultyFileSystem.read):
        one.clear()
    FaultyFileSystem.fail_after, FaultyFileSystem.cuts = None, 0
    FaultyFileSystem.after = None


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    build_archive(tmp_path / "a")
    return tmp_path / "a"


URL = "faulty://bucket/views"


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def stored() -> dict[str, bytes]:
    root = Root(URL)
    return {path: root.read(path) for path in root.list()}


def test_what_was_pushed_is_pulled_byte_for_byte(archive: Path, tmp_path: Path) -> None:
    report = push(archive, URL)
    assert stored() == files_of(archive)
    assert report.copied_bytes == sum(map(len, files_of(archive).values()))
    assert FaultyFileSystem.sent[-1] == "dsc.json"
    assert verify_archive(URL) == []
    pull(URL, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(archive)
    assert verify_archive(tmp_path / "b") == []


def test_a_directory_is_pushed_to_like_a_store(archive: Path, tmp_path: Path) -> None:
    push(archive, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(archive)
    again = push(archive, f"file://{tmp_path}/b")
    assert again.copied_bytes == 0


def test_what_is_there_is_not_sent_again(archive: Path) -> None:
    push(archive, URL)
    FaultyFileSystem.sent.clear()
    report = push(archive, URL)
    assert FaultyFileSystem.sent == []
    assert report.copied_bytes == 0
    assert report.kept_bytes > 20_000


def test_a_push_that_dies_leaves_no_archive_and_the_next_goes_on(archive: Path) -> None:
    FaultyFileSystem.fail_after = 9
    with pytest.raises(OSError, match="run the same command again") as caught:
        push(archive, URL)
    assert "the line is dead" in str(caught.value)
    with pytest.raises(ArchiveNotFoundError):
        Archive.open(URL)
    assert any(len(data) < len(files_of(archive)[path]) for path, data in stored().items())
    first = list(FaultyFileSystem.sent)
    assert len(first) == 9
    FaultyFileSystem.fail_after = None
    push(archive, URL)
    assert stored() == files_of(archive)
    assert len(set(FaultyFileSystem.sent)) == len(FaultyFileSystem.sent)  # none twice


@pytest.mark.parametrize("at", range(0, 18, 3))
def test_at_every_moment_there_is_no_archive_or_a_whole_one(archive: Path, at: int) -> None:
    FaultyFileSystem.fail_after = at
    with pytest.raises(OSError, match="dead"):
        push(archive, URL)
    with pytest.raises((ArchiveNotFoundError, CorruptArchiveError)):
        Archive.open(URL)
    FaultyFileSystem.fail_after = None
    push(archive, URL)
    assert verify_archive(URL) == []


def test_a_file_that_arrives_cut_is_sent_again(archive: Path) -> None:
    FaultyFileSystem.cuts = 2
    push(archive, URL)
    assert stored() == files_of(archive)


def test_progress_counts_each_byte_once_also_of_what_is_sent_again(archive: Path) -> None:
    FaultyFileSystem.cuts = 5
    told: list[tuple[int, int]] = []
    report = push(archive, URL, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, report.copied_bytes)
    assert told[-1] == (report.copied_bytes, report.copied_bytes)
    assert max(done for done, _ in told) == report.copied_bytes
    told.clear()
    push(archive, URL, progress=lambda done, total: told.append((done, total)))
    assert told == [(report.copied_bytes, report.copied_bytes)]


def test_a_file_of_the_right_size_and_wrong_bytes_is_replaced(archive: Path) -> None:
    push(archive, URL)
    path = "rgb/train-rgb-000000.tar"
    data = Root(URL).read(path)
    Root(URL).write(path, data[:-1] + b"x")
    FaultyFileSystem.sent.clear()
    push(archive, URL)
    assert FaultyFileSystem.sent == ["train-rgb-000000.tar"]
    assert stored() == files_of(archive)


def test_damage_here_is_not_sent(archive: Path) -> None:
    tar = archive / "rgb" / "train-rgb-000001.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptArchiveError, match=r"train-rgb-000001\.tar.*dsc verify"):
        push(archive, URL)
    assert "train-rgb-000001.tar" not in FaultyFileSystem.sent
    assert "dsc.json" not in FaultyFileSystem.sent
    tar.write_bytes(b"x")
    FaultyFileSystem.sent.clear()
    with pytest.raises(CorruptArchiveError, match="has 1 bytes"):
        push(archive, URL)
    assert FaultyFileSystem.sent == []


def test_a_dry_run_tells_the_bytes_and_sends_nothing(archive: Path, tmp_path: Path) -> None:
    report = push(archive, URL, dry_run=True)
    assert report.dry_run
    assert FaultyFileSystem.sent == []
    assert push(archive, URL).copied_bytes == report.copied_bytes
    assert pull(URL, tmp_path / "b", dry_run=True).copied_bytes > 0
    assert not (tmp_path / "b").exists()


# ---- what is there already


def other(tmp_path: Path) -> Path:
    if not (tmp_path / "other").exists():
        build_archive(tmp_path / "other", n=11)
        text = (tmp_path / "other" / "dsc.json").read_bytes()
        manifest = Archive.open(tmp_path / "other").manifest
        made = manifest.model_copy(update={"plan_sha256": "b" * 64}).sealed().to_file_bytes()
        assert made != text
        (tmp_path / "other" / "dsc.json").write_bytes(made)
    return tmp_path / "other"


@pytest.mark.parametrize("to", ["store", "directory"])
def test_another_archive_is_replaced_on_request_only(
    archive: Path, tmp_path: Path, to: str
) -> None:
    place = URL if to == "store" else str(tmp_path / "b")
    push(other(tmp_path), place)
    with pytest.raises(PlanMismatchError, match="another archive"):
        push(archive, place)
    assert verify_archive(place) == []
    push(archive, place, overwrite=True)
    assert verify_archive(place) == []
    assert Archive.open(place).manifest == Archive.open(archive).manifest


def test_an_old_manifest_never_names_new_files(archive: Path, tmp_path: Path) -> None:
    push(other(tmp_path), URL)
    FaultyFileSystem.sent.clear()
    FaultyFileSystem.fail_after = 2
    with pytest.raises(OSError, match="dead"):
        push(archive, URL, overwrite=True)
    with pytest.raises(ArchiveNotFoundError):
        Archive.open(URL)
    FaultyFileSystem.fail_after = None
    build_archive(tmp_path / "small", n=3)
    with pytest.raises(UsageError, match="part of another archive"):
        push(tmp_path / "small", URL)
    push(archive, URL, overwrite=True)
    assert verify_archive(URL) == []


def test_other_files_are_in_the_way(archive: Path) -> None:
    Root(URL).write("thesis.tex", b"three years")
    with pytest.raises(UsageError, match=r"not of an archive \(thesis\.tex\)"):
        push(archive, URL)
    assert stored() == {"thesis.tex": b"three years"}


def test_an_archive_that_is_being_made_is_in_the_way(archive: Path) -> None:
    Root(URL).write(".dsc/plan.json", b"{}")
    with pytest.raises(UsageError, match="being made"):
        push(archive, URL)


def test_somebody_who_pushes_meanwhile_is_not_overwritten(archive: Path, tmp_path: Path) -> None:
    written: list[bytes] = []

    def meanwhile(done: int, total: int) -> None:
        if not written and done:
            written.append((other(tmp_path) / "dsc.json").read_bytes())
            Root(URL).write("dsc.json", written[0])

    with pytest.raises(PlanMismatchError, match="has changed while"):
        push(archive, URL, progress=meanwhile)
    assert Root(URL).read("dsc.json") == written[0]


def test_an_edited_card_stays_and_is_told(archive: Path, tmp_path: Path) -> None:
    push(archive, URL)
    Root(URL).write("README.md", b"# Mine\nlicence: cc0\n")
    report = push(archive, URL)
    assert "README.md at the target was edited and is kept" in report.notes[0]
    assert Root(URL).read("README.md").startswith(b"# Mine")
    report = pull(URL, tmp_path / "b")
    assert "goes along as it is" in report.notes[0]
    assert (tmp_path / "b" / "README.md").read_bytes().startswith(b"# Mine")
    push(archive, URL, overwrite=True)
    assert stored() == files_of(archive)


# ---- growth and tasks


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An archive, and the same after an append."""
    folder = tmp_path_factory.mktemp("grown")
    options = {"size": 32, "codec": "rgb=jpeg,depth=png"}
    dsc.compress("taskonomy", folder / "old", sample=4, tasks="rgb,depth", **options)
    shutil.copytree(folder / "old", folder / "new")
    dsc.append(folder / "new", "taskonomy", sample=6, size=32)
    return folder / "old", folder / "new"


def test_a_grown_archive_sends_what_is_new_and_readers_go_on(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = grown
    push(old, URL)
    reader = dsc.open(URL)
    before = {path for path in stored()}
    FaultyFileSystem.sent.clear()
    push(new, URL)
    sent = set(FaultyFileSystem.sent)
    changed = {"README.md", "croissant.json", "dsc.json"}
    fresh = {Path(p).name for p in files_of(new)} - {Path(p).name for p in before}
    assert sent == fresh | changed
    assert len(reader) == 4
    assert reader[3]["rgb"].shape == (32, 32, 3)
    assert stored() == files_of(new)
    assert verify_archive(URL) == []
    pull(URL, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(new)
    dsc.append(tmp_path / "b", "taskonomy", sample=7, size=32)  # a pulled archive grows, too
    push(tmp_path / "b", URL)
    assert len(dsc.open(URL)) == 7


@pytest.mark.parametrize("before", ["nothing", "old", "some tasks", "another"])
def test_whoever_looks_at_any_moment_finds_all_that_the_manifest_names(
    grown: tuple[Path, Path], tmp_path: Path, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = grown
    if before == "old":
        push(old, URL)
    elif before == "some tasks":
        push(new, URL, tasks="depth")
    elif before == "another":
        push(other(tmp_path), URL)
    seen: list[str] = []
    lock = threading.Lock()

    def look() -> None:
        with lock:
            try:
                archive = Archive.open(URL)
            except ArchiveNotFoundError:
                seen.append("nothing")
                return
            seen.append(archive.manifest.sha256)
            shards = [file for s in archive.shards for file in (s.keys, *s.streams.values())]
            for record in (*archive.manifest.files, *shards):
                if record.path not in ("README.md", "croissant.json"):
                    assert hash_file(archive.root, record) == record.sha256, record.path

    monkeypatch.setattr(FaultyFileSystem, "after", staticmethod(look))
    push(new, URL, overwrite=before == "another")
    monkeypatch.setattr(FaultyFileSystem, "after", None)
    states = list(dict.fromkeys(seen))
    final = Archive.open(new).manifest.sha256
    assert states[-1] == final
    assert ("nothing" in states) == (before != "old")
    assert len(states) == (3 if before == "some tasks" else 2)
    assert stored() == files_of(new)


def test_an_older_generation_does_not_replace_a_newer_one(grown: tuple[Path, Path]) -> None:
    old, new = grown
    push(new, URL)
    with pytest.raises(PlanMismatchError, match="nothing older is put in its place"):
        push(old, URL)


def test_a_pull_into_an_older_copy_brings_what_is_new(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = grown
    pull(old, tmp_path / "b")
    pull(new, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(new)


def test_some_tasks_are_pushed_as_a_fetch_would_copy_them(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    _, new = grown
    push(new, URL, tasks="depth")
    dsc.fetch(new, "depth", tmp_path / "copy")
    assert stored() == files_of(tmp_path / "copy")
    push(new, URL, tasks="rgb")  # more are added
    assert [task.name for task in Archive.open(URL).manifest.tasks] == ["rgb", "depth_zbuffer"]
    assert verify_archive(URL) == []
    push(new, URL)  # and become the archive itself
    assert stored() == files_of(new)
    push(new, URL, tasks="depth")  # of which nothing is taken away
    assert stored() == files_of(new)


def test_a_fetch_into_the_archive_itself_takes_nothing_away(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = grown
    pull(old, tmp_path / "b")
    dsc.fetch(new, "depth", tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(new)


def test_a_copy_of_some_tasks_never_takes_the_place_of_more(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    _, new = grown
    dsc.fetch(new, None, tmp_path / "all")
    dsc.fetch(new, "depth", tmp_path / "depth")
    push(new, URL)
    for copy, why in (("all", "is the whole archive"), ("depth", "has rgb, which this one lacks")):
        with pytest.raises(PlanMismatchError, match=why):
            push(tmp_path / copy, URL)
    with pytest.raises(PlanMismatchError, match="has rgb, which this one lacks"):
        dsc.fetch(tmp_path / "depth", None, tmp_path / "all")
    assert stored() == files_of(new)


def test_calls_that_cannot_be_honoured_are_refused(archive: Path, tmp_path: Path) -> None:
    push(archive, URL)
    with pytest.raises(UsageError, match="archive of this machine"):
        push(URL, "memory://elsewhere")
    with pytest.raises(UsageError, match="HTTP cannot be written to"):
        push(archive, "https://example.org/a")
    with pytest.raises(UsageError, match="the archive itself"):
        push(archive, archive)
    with pytest.raises(UsageError, match="is made public"):
        push(archive, "s3://bucket/a", public=True)
    with pytest.raises(UsageError, match="local directory"):
        pull(URL, "memory://elsewhere")
    with pytest.raises(ArchiveNotFoundError):
        push(tmp_path / "nowhere", URL)


def test_passwords_stand_in_no_message(archive: Path) -> None:
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
        push(archive, "sftp://me:secret@127.0.0.1:1/views")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Root("sftp://me:secret@host/views"))


def test_s3_tells_by_its_checksums_what_is_there(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3(monkeypatch) as bucket:
        push(archive, f"{bucket}/views")
        read: list[str] = []
        monkeypatch.setattr(
            "dsc._copies.stores.hash_file", lambda root, record: read.append(record.path)
        )
        report = push(archive, f"{bucket}/views")
        assert report.copied_bytes == 0
        assert read == []
        monkeypatch.undo()
    with s3(monkeypatch) as bucket:
        push(archive, f"{bucket}/views")
        pull(f"{bucket}/views", tmp_path / "b")
        assert files_of(tmp_path / "b") == files_of(archive)
        assert verify_archive(f"{bucket}/views") == []
