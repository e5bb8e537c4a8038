"""A log reads as if the run had never been interrupted."""

import csv
from pathlib import Path

from dsc._training.evaluate import Figures
from dsc._training.log import FIGURES, LOG, Log, LogRow


def row(step: int, loss: float) -> LogRow:
    return LogRow(step, loss, {"rgb": 0.5, "depth": float("nan")}, {"rgb": 30.0}, 1e-3)


def write(out: Path, done: int, steps: range, loss: float) -> None:
    with Log(out, ["rgb", "depth"], ["rgb"], done) as log:
        for step in steps:
            log.row(row(step, loss), 8.0, 1.0)
            log.figures(step, [Figures("views", 50, 4, {"rgb": loss}, {"rgb": 31.0})])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_that_a_resumed_run_repeats_are_dropped(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 6), 2.5)
    write(tmp_path, 3, range(4, 7), 1.5)
    for name, column in ((LOG, "loss"), (FIGURES, "bpp")):
        rows = read(tmp_path / name)
        assert [int(one["step"]) for one in rows] == [1, 2, 3, 4, 5, 6]
        assert [one[column] for one in rows] == ["2.5"] * 3 + ["1.5"] * 3


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 6), 2.5)
    write(tmp_path, 0, range(1, 3), 1.5)
    assert len(read(tmp_path / LOG)) == len(read(tmp_path / FIGURES)) == 2


def test_a_row_cut_by_a_crash_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4), 2.5)
    path = tmp_path / LOG
    path.write_text(path.read_text()[:-9])
    write(tmp_path, 3, range(4, 5), 1.5)
    assert [one["step"] for one in read(path)] == ["1", "2", "4"]


def test_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 2), 2.5)
    (one,) = read(tmp_path / LOG)
    assert one["bpp_depth"] == ""
    assert one["bpp_rgb"] == "0.5"
