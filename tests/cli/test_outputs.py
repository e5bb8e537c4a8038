"""Where nothing can be written, a command says so before it works; and any name will do."""

from pathlib import Path
from typing import Any

import pytest

from dsc._cli.printing.text import archive_name
from dsc._storage.files.writable import OutputFile, check_folder
from dsc.errors import UsageError
from tests.cli.conftest import Command

BENCH = ("bench", "rd", "--source", "sample", "--views", 1, "--samples", 1)
TRAIN = ("train", "independent", "--data", "sample:2", "--steps", 1)
REPLAY = ("replay", "run", "--data", "nowhere", "--increment", 2)


def no_work(*args: Any, **more: Any) -> Any:
    raise AssertionError("it has begun to work")


@pytest.mark.parametrize("below", ["file", "/proc/nowhere"])
@pytest.mark.parametrize("command", ["export", "fetch", "view", "bench", "train", "replay"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    dsc: Command, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: str, below: str,
) -> None:  # fmt: skip
    (tmp_path / "file").touch()
    for work in (
        "_copies.export.files._Writer",
        "_copies.bring.Copier",
        "_pipeline.view.view._Viewer",
        "_bench.rate_distortion.run.measure_all",
    ):
        monkeypatch.setattr(f"dsc.{work}", no_work)
    out = tmp_path / below / "out"
    words = {"bench": BENCH, "train": TRAIN, "replay": REPLAY}.get(command, (command, archive))
    ran = dsc(*words, "--out", out)
    assert ran.code == 2, ran.err
    assert f"--out {out}: " in ran.err
    assert "nothing can be written to" in ran.err or f"{tmp_path / 'file'} is a file" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_page_may_have_any_name(dsc: Command, archive: Path, tmp_path: Path) -> None:
    for name in ("Küche 部屋.html", "a:b.html", "-n.html", "x" * 200 + ".html"):
        ran = dsc("view", archive, "--out", tmp_path / "seiten" / name, "-n", 1, "--measure", 1)
        assert ran.code == 0, ran.err
        assert (tmp_path / "seiten" / name).read_text(encoding="utf-8").startswith("<!")
    assert len(list((tmp_path / "seiten").iterdir())) == 4


def test_a_page_without_a_name_is_called_after_its_archive(
    dsc: Command, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "中").symlink_to(archive)
    monkeypatch.chdir(tmp_path)
    assert dsc("view", "中/", "-n", 1, "--measure", 1).code == 0
    assert (tmp_path / "中.html").exists()
    assert archive_name("https://example.org/data/demo/?sig=a/b") == "demo"
    assert archive_name(".") == tmp_path.name


def test_what_is_no_file_is_refused_as_a_page(tmp_path: Path) -> None:
    for out, why in (
        (tmp_path, "is a directory"),
        (f"{tmp_path}/new/", "is a directory"),
        (tmp_path / f"{'ü' * 120}.html", "at most"),
        ("https://example.org/x.html", "HTTP cannot be written to"),
        ("memory://pages/é.html", "ASCII"),
    ):
        with pytest.raises(UsageError, match=why):
            OutputFile.find(out, "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_page_can_be_written_to_a_store() -> None:
    import fsspec

    OutputFile.find("memory://pages/x.html", "--out").write(b"<html>")
    assert fsspec.filesystem("memory").cat_file("/pages/x.html") == b"<html>"


def test_finding_out_leaves_nothing_behind(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", "--out a/b")
    assert list(tmp_path.iterdir()) == []


def test_files_are_not_exported_into_an_archive(dsc: Command, archive: Path) -> None:
    before = sorted(archive.rglob("*"))
    ran = dsc("export", archive, "--out", archive)
    assert ran.code == 2
    assert "an archive is there" in ran.err
    assert sorted(archive.rglob("*")) == before


def test_a_sheet_is_refused_before_the_buffer_is_decoded(dsc: Command, tmp_path: Path) -> None:
    ran = dsc("replay", "inspect", tmp_path / "memory.h5", "--sheet", tmp_path)
    assert ran.code == 2
    assert f"--sheet {tmp_path} is a directory" in ran.err
