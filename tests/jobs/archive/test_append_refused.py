"""An append that cannot be right is refused before it changes anything, and so is a second one."""

import fcntl
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dsc._copies.fetch import fetch
from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Task
from dsc._storage.files.root import Root
from dsc._storage.format.sole_writer import sole_writer
from dsc._storage.read.verify import verify_archive
from dsc.errors import (
    ArchiveNotFoundError,
    CorruptArchiveError,
    PlanMismatchError,
    SampleError,
    UnknownTaskError,
    UsageError,
)
from tests.jobs.faults import tree
from tests.jobs.growing import SIZES, FewTasks, Later, add_label, add_samples, begin
from tests.jobs.sources import DEPTH, PixelSource


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    begin(out)
    return out


@pytest.fixture
def archive(whole: Path, tmp_path: Path) -> Path:
    """Ten samples of rgb and depth."""
    return Path(shutil.copytree(whole, tmp_path / "archive"))


def stop_after(shards: int) -> Any:
    """Return a progress callback that interrupts a run, as Ctrl-C would."""

    def progress(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"] == shards:
            raise KeyboardInterrupt

    return progress


class OtherUnit(PixelSource):
    """A source whose depth counts something else."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (super().tasks[0], DEPTH.model_copy(update={"unit_m": 0.25}))


class OtherSize(PixelSource):
    """A source whose label maps are larger than the archive's maps."""

    def arrays(self, index: int) -> dict[str, Any]:
        return {name: array.repeat(2, 0) for name, array in super().arrays(index).items()}


class NoLabels(PixelSource):
    """A source that says it has labels, and has none."""

    def arrays(self, index: int) -> dict[str, Any]:
        return {name: a for name, a in super().arrays(index).items() if name != "label"}


class SameKeys(PixelSource):
    """A source whose samples all have one key."""

    def key(self, index: int) -> str:
        super().key(index)
        return "view"


Case = tuple[PixelSource, dict[str, Any], type[Exception], str]
LABEL = {"tasks": "label"}
LATE = Later(n=40, first=30)
REFUSED: dict[str, Case] = {
    "old and new": (PixelSource(), {"tasks": "rgb,label"}, UsageError, r"label .* and again wi"),
    "unknown": (PixelSource(), {"tasks": "flow"}, UnknownTaskError, r"rgb, depth, .* depth, label"),
    "no task": (PixelSource(), {"tasks": " ,"}, UsageError, "name one of rgb, depth, label"),
    "lacking task": (FewTasks(), {}, UsageError, r"would lack depth; .*--missing none"),
    "fewer tasks asked for": (PixelSource(), {"tasks": "depth"}, UsageError, "would lack rgb"),
    "foreign tasks": (FewTasks(only=("label",)), {}, UsageError, "none of the archive's tasks"),
    "another unit": (OtherUnit(), {}, UsageError, r"unit_m 0.001 there and 0.25 .*--depth-unit"),
    "coding": (PixelSource(), {"quality": 9}, UsageError, r"--quality: .*named with --tasks"),
    "no such key": (LATE, LABEL, UsageError, r"like 'view_00000'.*like 'view_00030'"),
    "no such files": (NoLabels(n=12), LABEL, UsageError, "got the task label"),
    "another size": (OtherSize(n=12), LABEL, SampleError, r"16 × 12 .*depth 8 × 12"),
    "one key twice": (SameKeys(), {}, UsageError, "samples 0 and 1 both have the key 'view'"),
    "codec": (PixelSource(), LABEL | {"codec": "vector"}, UsageError, "vector codes none of label"),
    "split of a task": (PixelSource(), LABEL | {"split": "a"}, UsageError, "leave it out"),
    "no split": (PixelSource(), {"split": "No Split"}, UsageError, "a to z"),
    "missing": (PixelSource(), {"missing": "skip"}, UsageError, "error or none"),
    "on_error": (PixelSource(), {"on_error": "ignore"}, UsageError, "fail or skip"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused_untouched(archive: Path, case: str) -> None:
    source, given, error, words = REFUSED[case]
    before = tree(archive)
    with pytest.raises(error, match=words):
        append(archive, source, **given)
    assert tree(archive) == before
    assert not (archive / ".dsc").exists()


def test_a_place_without_an_archive_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HTTP cannot be written to"):
        add_samples("http://localhost:1/archive")
    with pytest.raises(ArchiveNotFoundError, match="dsc compress"):
        add_samples(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "begun", progress=stop_after(1))
    before = tree(tmp_path / "begun")
    with pytest.raises(ArchiveNotFoundError, match="is not finished"):
        add_samples(tmp_path / "begun")
    assert tree(tmp_path / "begun") == before


def test_several_splits_must_be_told_apart(archive: Path) -> None:
    add_samples(archive, 12, split="test")
    with pytest.raises(UsageError, match="splits test, train"):
        add_samples(archive, 14)
    assert add_samples(archive, 12).is_empty


def test_an_edited_card_is_not_overwritten(archive: Path) -> None:
    for name in ("README.md", "croissant.json"):
        kept = (archive / name).read_bytes()
        (archive / name).write_text("license: mine\n")
        before = tree(archive)
        with pytest.raises(UsageError, match=rf"{name} is not the file that dsc wrote"):
            add_samples(archive)
        assert tree(archive) == before
        (archive / name).write_bytes(kept)
    (archive / "README.md").unlink()
    add_samples(archive)
    assert verify_archive(archive) == []


def test_a_damaged_archive_is_not_grown(archive: Path) -> None:
    keys = archive / "keys" / "train-keys-000001.jsonl"
    keys.write_bytes(keys.read_bytes()[:-2])
    with pytest.raises(CorruptArchiveError, match="keys-000001"):
        add_samples(archive)


def test_of_two_at_a_time_the_second_is_refused(archive: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def second(done: int, total: int, info: dict[str, Any]) -> None:
        for add in (add_samples, add_label):
            with pytest.raises(UsageError, match="is writing to this archive") as caught:
                add(archive)
            refused.append(str(caught.value))

    add_samples(archive, progress=second)
    assert len(refused) > 4
    begin(tmp_path / "alone")
    add_samples(tmp_path / "alone")
    assert tree(archive) == tree(tmp_path / "alone")


def test_a_lock_has_one_holder_and_leaves_nothing(tmp_path: Path) -> None:
    inside = most = 0
    entered = []

    def enter() -> None:
        nonlocal inside, most
        for _ in range(60):
            try:
                with sole_writer(Root(tmp_path), "dsc append"):
                    inside += 1
                    most = max(most, inside)
                    entered.append(1)
                    inside -= 1
            except UsageError:
                continue

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(enter) for _ in range(4)]:
            done.result()
    assert most == 1
    assert len(entered) >= 60
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, []

    def too_late(held: int, how: int) -> None:
        if not removed:  # the last holder goes between our opening the file and our locking it
            removed.append(True)
            (tmp_path / ".dsc" / "lock").unlink()
        flock(held, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with (
        sole_writer(Root(tmp_path), "dsc append"),
        pytest.raises(UsageError, match="is writing to this archive"),
        sole_writer(Root(tmp_path), "dsc append"),
    ):
        pass
    assert removed


def test_an_append_with_other_arguments_is_not_mixed_into_a_begun_one(
    archive: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt, match="are done and kept"):
        add_samples(archive, 23, progress=stop_after(2))
    before = tree(archive)
    for add in (lambda: add_samples(archive, 30), lambda: add_label(archive)):
        with pytest.raises(PlanMismatchError, match=r"begun here(?s:.)*--restart"):
            add()
        assert tree(archive) == before
    assert verify_archive(archive) == []
    add_label(archive, restart=True)
    begin(tmp_path / "clean")
    add_label(tmp_path / "clean")
    assert tree(archive) == tree(tmp_path / "clean")


def test_a_plan_that_cannot_be_read_is_thrown_away_on_request(archive: Path) -> None:
    Root(archive).write(".dsc/plan.json", b"{}")
    with pytest.raises(CorruptArchiveError, match="--restart"):
        add_samples(archive)
    add_samples(archive, restart=True)
    assert verify_archive(archive) == []
    assert not (archive / ".dsc").exists()


@pytest.fixture
def remote(whole: Path) -> Any:
    """The archive where there are no locks."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, data in tree(whole).items():
        memory.pipe_file(f"/unlocked/{name}", data)
    yield "memory://unlocked"
    memory.rm("/unlocked", recursive=True)


@pytest.mark.parametrize("commits", [True, False], ids=["finishes", "only begins"])
def test_without_locks_who_was_overtaken_is_refused_and_nothing_is_lost(
    remote: str, commits: bool
) -> None:
    once: list[bool] = []

    def overtake(done: int, total: int, info: dict[str, Any]) -> None:
        if once or info["shards_done"] != 1:
            return
        once.append(True)
        with pytest.raises(PlanMismatchError, match="begun here"):
            add_label(remote)
        if commits:
            add_label(remote, restart=True)
        else:
            with pytest.raises(KeyboardInterrupt):
                add_label(remote, restart=True, progress=stop_after(1))

    with pytest.raises(PlanMismatchError, match=r"another run|has changed"):
        add_samples(remote, progress=overtake)
    assert verify_archive(remote) == []
    dataset = Dataset.open(remote)
    assert (len(dataset), dataset.manifest.generation) == (10, 2 if commits else 1)
    add_label(remote)
    add_samples(remote)
    assert len(Dataset.open(remote)) == 23
    assert verify_archive(remote) == []


def test_an_archive_that_changed_before_the_commit_is_left_as_it_is(
    archive: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(archive, tmp_path / "other"))
    add_label(other)

    def change(done: int, total: int, info: dict[str, Any]) -> None:
        if done == total and info["shards_done"] == info["shards_total"]:
            shutil.copytree(other, archive, dirs_exist_ok=True)

    with pytest.raises(PlanMismatchError, match=r"generation 2 now; .*same command again"):
        add_samples(archive, progress=change)
    assert Dataset.open(archive).manifest == Dataset.open(other).manifest
    assert verify_archive(archive) == []
    add_samples(archive)
    assert verify_archive(archive) == []


def test_a_manifest_that_changed_at_the_last_moment_is_not_replaced(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(archive, tmp_path / "other"))
    add_label(other)
    write = Root.write

    def overtake(self: Root, path: str, data: bytes) -> None:
        write(self, path, data)
        if path == "README.md":
            shutil.copytree(other, archive, dirs_exist_ok=True)

    monkeypatch.setattr(Root, "write", overtake)
    with pytest.raises(PlanMismatchError, match="generation 2 now"):
        add_samples(archive)
    assert (archive / "dsc.json").read_bytes() == (other / "dsc.json").read_bytes()


def test_compress_gives_an_archive_that_has_grown_back_as_it_is(archive: Path) -> None:
    add_samples(archive)
    add_label(archive)
    before = tree(archive)
    begin(archive)
    assert tree(archive) == before
    with pytest.raises(PlanMismatchError, match=r"quality.default: 60 -> 80(?s:.)*dsc append"):
        begin(archive, quality=80)
    with pytest.raises(PlanMismatchError, match="dsc append"):
        begin(archive, 23)
    assert tree(archive) == before


def test_compress_leaves_a_begun_append_alone(archive: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        add_samples(archive, progress=stop_after(1))
    before = tree(archive)
    begin(archive)
    assert tree(archive) == before


def test_overwriting_an_archive_that_has_grown_leaves_nothing_of_it(
    archive: Path, whole: Path
) -> None:
    add_samples(archive)
    with pytest.raises(KeyboardInterrupt):
        add_label(archive, progress=stop_after(1))
    begin(archive, overwrite=True)
    assert tree(archive) == tree(whole)


def test_a_copy_that_grows_is_an_archive_of_its_own(archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    fetch(archive, "depth", copy)
    append(copy, FewTasks(n=13, only=("depth",)))
    add_label(copy)
    assert verify_archive(copy) == []
    assert len(Dataset.open(copy)) == 13
    assert (copy / "README.md").exists()
    before = tree(copy)
    with pytest.raises(PlanMismatchError, match="another archive"):
        fetch(archive, "rgb", copy)  # it would take what was added away
    assert tree(copy) == before


def test_a_readme_of_ones_own_in_a_copy_is_not_overwritten(archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    fetch(archive, "depth", copy)
    (copy / "README.md").write_text("my notes")
    with pytest.raises(UsageError, match="move yours out"):
        add_label(copy)
    assert (copy / "README.md").read_text() == "my notes"


@pytest.mark.parametrize("tasks", ["rgb", "depth"])
def test_new_samples_cannot_be_coded_for_a_copy_of_half_a_codec(tmp_path: Path, tasks: str) -> None:
    given: dict[str, Any] = {"sample": 2, "size": 64}
    compress(
        "taskonomy", tmp_path / "a", tasks="rgb,depth", codec="shared-latent", **given, **SIZES
    )
    fetch(tmp_path / "a", tasks, tmp_path / "copy")
    with pytest.raises(UsageError, match=r"codes together.*copied from"):
        append(tmp_path / "copy", "taskonomy", sample=3, size=64, tasks=tasks)
    with pytest.raises(UsageError, match="a stream shared already"):
        append(tmp_path / "copy", "taskonomy", tasks="normals", codec="shared-latent", **given)
    assert verify_archive(tmp_path / "copy") == []
    append(tmp_path / "copy", "taskonomy", tasks="normals", **given)
    append(tmp_path / "a", "taskonomy", sample=3, size=64)
    assert len(Dataset.open(tmp_path / "a")) == 3


def test_the_command_to_go_on_is_one_that_works(tmp_path: Path) -> None:
    import shlex

    from typer.testing import CliRunner

    from dsc._cli import app

    out = tmp_path / "out of order"
    given: dict[str, Any] = {"size": 32, "codec": "png", "tasks": "rgb"}
    compress("taskonomy", out, sample=2, **given, **SIZES)
    with pytest.raises(KeyboardInterrupt) as caught:
        append(out, "taskonomy", sample=9, size=32, progress=stop_after(1))
    command = str(caught.value).partition("To go on: ")[2]
    assert command == f"dsc append {shlex.quote(str(out))} taskonomy --views 9 --size 32"
    assert CliRunner().invoke(app, shlex.split(command)[1:]).exit_code == 0
    assert len(Dataset.open(out)) == 9


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("duration[s]", "duration[ms]", False), ("duration[s]", "int64", False),
        ("duration[s]", "duration[s]", True), ("time64[us]", "time64[ns]", False),
        ("timestamp[s]", "timestamp[us]", True), ("within[s]", "within[us]", False),
    ],
)  # fmt: skip
def test_counts_of_two_units_are_not_mixed(
    first: str, second: str, is_same: bool, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(kind: str, keys: list[str]) -> str:
        types = {"int64": pa.int64(), "time64[us]": pa.time64("us"), "time64[ns]": pa.time64("ns")}
        unit = kind.rstrip("]").rpartition("[")[2]
        make = pa.timestamp if kind.startswith("timestamp") else pa.duration
        values = pa.array([1] * len(keys), types.get(kind) or make(unit))
        if kind.startswith("within"):
            values = pa.StructArray.from_arrays([values], ["took"])
        parquet.write_table(pa.table({"id": keys, "x": values}), tmp_path / "a.parquet")
        return str(tmp_path / "a.parquet")

    given: dict[str, Any] = {"key_column": "id"}
    compress("huggingface", tmp_path / "out", root=write(first, ["a", "b"]), **given)
    root = write(second, ["c"])
    if is_same:
        append(tmp_path / "out", "huggingface", root=root, **given)
        assert len(Dataset.open(tmp_path / "out")) == 3
        return
    with pytest.raises(UsageError, match=r"task x: .*counts|kind"):
        append(tmp_path / "out", "huggingface", root=root, **given)
    assert len(Dataset.open(tmp_path / "out")) == 2
