"""The benchmark of class-incremental learning, on folders as people have them."""

from pathlib import Path

import pytest

from benchmarks import class_incremental
from benchmarks.class_incremental import Row
from tests.replay.class_pictures import make_pictures, write_folder
from tests.replay.tiny_backbone import TINY, register


def test_food101_is_one_command_for_those_who_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch)
    rows = {"few": {"ridge": Row("ridge"), "ER": Row("er", "4kB", "raw", {"epochs": 1})}}
    monkeypatch.setattr(class_incremental, "ROWS", rows)
    for part, seed in (("train", 0), ("val", 1)):
        for side in (24, 20):  # the second overwrites some: sizes differ
            pictures = make_pictures(21, per_class=3 if side == 24 else 2, side=side, seed=seed)
            write_folder(tmp_path / "data" / "food101" / part, pictures)
    words = ["--protocol", "food101-b11-10", "--data", str(tmp_path / "data"), "--seeds", "2"]
    words += ["--backbone", TINY, "--backbone-side", "16", "--processes", "0"]
    class_incremental.main([*words, "--out", str(tmp_path / "out")])
    table = capsys.readouterr().out
    assert "### Food-101, 11 classes, then 9 steps of 10" in table
    assert table.count("| ridge |") == table.count("| ER |") == 1
    assert (tmp_path / "out" / "food101-b11-10" / "table.md").read_text() in table
    assert (tmp_path / "out" / "food101-b11-10" / "accuracy-over-steps.png").stat().st_size
    assert len(list((tmp_path / "out" / "runs").glob("*.json"))) == 4


@pytest.mark.parametrize("name", list(class_incremental.PROTOCOLS))
def test_every_protocol_and_row_is_a_run_that_can_be(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    recipe = class_incremental.Recipe(backbone=TINY)
    rows = class_incremental.chosen(None)
    protocol = class_incremental.PROTOCOLS[name]
    runs = [row.run(protocol, tmp_path, recipe, seed=0) for row in rows.values()]
    assert len({run.id for run in runs}) == len(rows)


def test_unknown_rows_are_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match="there are exemplar-free, adapters, pictures"):
        class_incremental.chosen("best")
