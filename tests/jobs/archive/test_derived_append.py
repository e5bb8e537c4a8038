"""Archives with tasks that follow grow, and get tasks that follow from those that they have."""

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._codecs.derived import rules
from dsc._schemas import required_streams
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import UsageError
from tests import sum_rule
from tests.sum_rule import child, image

COUNT = 10
KINDS = {"rgb": "image", "edges": "image"}


@pytest.fixture(autouse=True)
def _sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", {sum_rule.PLAIN_ID: sum_rule.PLAIN_WHERE})


def write(root: Path, numbers: Sequence[int], *tasks: str) -> Path:
    for name, make in (("rgb", image), ("edges", child)):
        for n in numbers if name in tasks else ():
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{n:02d}.png").write_bytes(imagecodecs.png_encode(make(n)))
    return root


def made(root: Path, numbers: Sequence[int], *tasks: str, **options: object) -> Path:
    data = write(root / "data", numbers, *tasks)
    kinds = {name: KINDS[name] for name in tasks}
    dsc.compress("folder", root / "a", root=data, kinds=kinds, pack=4, shard_size=8, **options)
    return root / "a"


def is_derived(root: Path) -> bool:
    return "derived" in {record.id for record in Archive.open(root).manifest.codecs}


def check(root: Path, numbers: Sequence[int]) -> None:
    assert not verify_archive(root)
    rows = dsc.open(root, native=True)
    assert len(rows) == len(numbers)
    for n, row in zip(numbers, rows, strict=True):
        assert np.abs(row["edges"].astype(float) - child(n)).mean() < 60
        assert np.abs(row["rgb"].astype(float) - image(n)).mean() < 9 if "rgb" in row else True


@pytest.mark.parametrize("with_parents", [True, False])
def test_a_new_task_follows_from_what_the_archive_decodes(
    tmp_path: Path, with_parents: bool
) -> None:
    root = made(tmp_path, range(COUNT), "rgb", codec=None if with_parents else "png")
    given = ("rgb", "edges") if with_parents else ("edges",)
    data = write(tmp_path / "more", range(COUNT), *given)
    kinds = {name: KINDS[name] for name in given}
    report = dsc.append(root, "folder", root=data, tasks="edges", kinds=kinds)
    assert report.tasks == ("edges",)
    assert is_derived(root)
    streams = Archive.open(root).manifest.streams
    assert set(required_streams(streams, ["edges"])) == {"rgb", "edges"}
    sizes = [len(one["edges"]) for one in dsc.open(root).payloads(range(COUNT))]
    assert max(sizes) < 100
    check(root, range(COUNT))
    dsc.fetch(root, ["edges"], tmp_path / "copy")
    check(tmp_path / "copy", range(COUNT))


def test_a_new_task_is_stored_where_only_lossy_parents_are_there(tmp_path: Path) -> None:
    root = made(tmp_path, range(COUNT), "rgb", quality=30)
    data = write(tmp_path / "more", range(COUNT), "edges")
    dsc.append(root, "folder", root=data, tasks="edges", kinds={"edges": "image"})
    assert not is_derived(root)
    check_edges = dsc.open(root, tasks=["edges"], native=True)
    assert len(check_edges) == COUNT


def test_never_and_what_is_asked_for_by_name_hold_for_a_new_task(tmp_path: Path) -> None:
    data = write(tmp_path / "more", range(COUNT), "rgb", "edges")
    for n, options in enumerate(({"derive": "never"}, {"codec": "edges=exact"})):
        root = made(tmp_path / str(n), range(COUNT), "rgb")
        dsc.append(root, "folder", root=data, tasks="edges", kinds=KINDS, **options)
        assert not is_derived(root)


def test_the_source_may_have_fewer_samples_and_a_run_may_be_stopped(tmp_path: Path) -> None:
    class StopError(Exception):
        """Stops an append after its first shard."""

    def stop(done: int, *_: object) -> None:
        if done >= 8:
            raise StopError

    data = write(tmp_path / "more", range(2, COUNT), "rgb", "edges")
    found = []
    for name in ("one", "two"):
        root = made(tmp_path / name, range(COUNT), "rgb")
        if name == "two":
            with pytest.raises(StopError):
                dsc.append(root, "folder", root=data, tasks="edges", kinds=KINDS, progress=stop)
        dsc.append(root, "folder", root=data, tasks="edges", kinds=KINDS)
        rows = dsc.open(root, tasks=["edges"], native=True)
        assert [n for n in range(COUNT) if rows[n]["edges"] is None] == [0, 1]
        found.append({p.name: p.read_bytes() for p in (root / "edges").iterdir()})
    assert found[0] == found[1]


def test_new_samples_that_lack_a_parent_are_stored(tmp_path: Path) -> None:
    root = made(tmp_path, range(COUNT), "rgb", "edges")
    assert is_derived(root)
    data = write(tmp_path / "more", range(COUNT, COUNT + 3), "edges")
    write(data, [COUNT], "rgb")
    dsc.append(root, "folder", root=data, kinds=KINDS, missing="none")
    rows = dsc.open(root, native=True)
    assert rows[COUNT + 1]["rgb"] is None
    for n in range(COUNT + 3):
        assert np.abs(rows[n]["edges"].astype(float) - child(n)).mean() < 60
    assert not verify_archive(root)


def test_a_parent_is_not_replaced(tmp_path: Path) -> None:
    root = made(tmp_path, range(COUNT), "rgb", "edges")
    before = Archive.open(root).manifest
    report = dsc.append(root, "folder", root=tmp_path / "data", tasks="rgb", kinds=KINDS)
    assert report.is_empty
    with pytest.raises(UsageError, match="the archive has rgb"):
        dsc.append(
            root, "folder", root=write(tmp_path / "more", [50], "rgb"), tasks="rgb",
            kinds={"rgb": "image"}, codec="png", missing="none",
        )  # fmt: skip
    assert Archive.open(root).manifest == before


def test_new_samples_go_to_a_copy_that_has_a_parents_stream_alone(tmp_path: Path) -> None:
    root = made(tmp_path, range(COUNT), "rgb", "edges")
    dsc.fetch(root, ["edges"], tmp_path / "copy")
    data = write(tmp_path / "more", [50], "rgb", "edges")
    dsc.append(tmp_path / "copy", "folder", root=data, kinds=KINDS)
    assert not verify_archive(tmp_path / "copy")
    assert dsc.open(tmp_path / "copy", native=True)[COUNT]["edges"] is not None
