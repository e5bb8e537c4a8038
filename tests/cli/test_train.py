"""``dsc train`` says what it does, goes on where it was, and refuses what cannot be done."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dsc._cli.train import progress_line
from dsc._cli.train_options import TrainOptions
from dsc._jobs.training.run import TrainProgress
from dsc._training.config import TrainConfig
from dsc._training.log import LogRow
from dsc._training.networks import NETWORKS
from tests.cli.conftest import Command, Ran
from tests.training.toy import write_views

QUICK = ("--steps", 4, "--batch", 2, "--crop", 64, "--log-every", 1, "--device", "cpu")


@pytest.fixture(autouse=True)
def toy_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "toy", "tests.training.toy:network")
    monkeypatch.setitem(NETWORKS, "exploding", "tests.training.toy:exploding")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_views(tmp_path_factory.mktemp("pictures"))


def says(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    for word in words:
        assert word in ran.err
    assert "Traceback" not in ran.err


def toy(dsc: Command, pictures: Path, out: Path, *words: Any) -> Ran:
    return dsc("train", "toy", "--data", pictures, *QUICK, "--out", out, *words)


def test_a_run_prints_progress_and_figures_and_goes_on(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    ran = toy(dsc, pictures, tmp_path / "out")
    assert ran.code == 0, ran.err
    for word in ("step 4 of 4", "loss", "rgb", "bpp", "dB", "samples/s"):
        assert word in ran.err
    assert "no codec file" in ran.out
    assert "quality" in ran.out
    again = toy(dsc, pictures, tmp_path / "out")
    assert again.code == 0
    says(toy(dsc, pictures, tmp_path / "out", "--lr", 0.1), 2, "lr: 0.001, now 0.1", "--overwrite")
    assert toy(dsc, pictures, tmp_path / "out", "--lr", 0.1, "--overwrite").code == 0


def test_json_is_one_object_with_all_figures(dsc: Command, pictures: Path, tmp_path: Path) -> None:
    value = toy(dsc, pictures, tmp_path, "--json", "--quality", 50).json()
    assert value["about"]["steps"] == 4
    assert value["figures"][0]["quality"] == 50
    assert value["codec"] is None
    assert Path(value["checkpoint"]).exists()


@pytest.mark.slow
def test_a_codec_of_our_own_ends_in_a_file_that_loads(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    from dsc._codecs.registry import codec_class
    from dsc._sources.registry import open_source

    ran = dsc(
        "train", "independent", "--model-size", "tiny", "--data", "sample:3,size=128", "--tasks",
        "depth", *QUICK, "--out", tmp_path, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    value = ran.json()
    assert value["check"]["samples"] > 0
    (task,) = [t for t in open_source("sample", n=1).tasks if t.kind == "depth"]
    made: Any = codec_class("independent")
    codec = made([task], Path(value["codec"]).read_bytes())
    assert codec.tasks == (task,)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["codec"]["bytes"] == Path(value["codec"]).stat().st_size


def test_two_data_sets_and_a_source_are_trained_on_together(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    words = ("--data", f"{pictures},share=3", "--source", "folder", "--root", pictures)
    ran = dsc("train", "toy", *words, *QUICK, "--out", tmp_path, "--json")
    assert ran.code == 0, ran.err
    card = json.loads((tmp_path / "card.json").read_text())
    assert [one["share"] for one in card["data"]] == [0.75, 0.25]


def test_a_diverged_run_ends_with_advice(dsc: Command, pictures: Path, tmp_path: Path) -> None:
    words = ("--steps", 60, "--batch", 2, "--crop", 64, "--device", "cpu", "--out", tmp_path)
    ran = dsc("train", "exploding", "--data", pictures, *words)
    says(ran, 1, "diverged at step 30", "checkpoint.pt", "--start", "--lr")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("--data",)),
        (("--root", "/x"), ("--source",)),
        (("--data", "sample:2", "--steps", 3, "--minutes", 2), ("--steps or --minutes",)),
        (("--data", "sample:2"), ("--steps or --minutes",)),
        (("--data", "sample:2", "--steps", 3, "--crop", 100), ("--crop 100", "multiple of 64")),
        (("--data", "sample:2", "--steps", 3, "--balance", "fair"), ("--balance fair",)),
        (("--data", "sample:2", "--steps", 3, "--average", "mean"), ("--average mean",)),
        (("--data", "sample:2", "--steps", 3, "--weights", "rgb=x"), ("--weights rgb=x",)),
        (("--data", "sample:2", "--steps", 3, "--weights", "rgb=-1"), ("rgb=-1",)),
        (("--data", "sample:2", "--steps", 3, "--weights", "flow=1"), ("flow",)),
        (("--data", "sample:2", "--steps", 3, "--tasks", "flow"), ("flow", "rgb")),
        (("--data", "sample:2", "--steps", 3, "--tasks", "class_scene"), ("class_scene",)),
        (("--data", "sample:2", "--steps", 3, "--start", "/nowhere"), ("--start /nowhere",)),
        (("--data", "/nowhere", "--steps", 3), ("/nowhere",)),
        (("--export-only",), ("train first",)),
    ],
)
def test_what_cannot_be_trained_is_refused(
    dsc: Command, tmp_path: Path, words: tuple[Any, ...], said: tuple[str, ...]
) -> None:
    says(dsc("train", "toy", *words, "--out", tmp_path / "out"), 2, *said)


def test_unknown_networks_and_fixed_rates_are_explained(dsc: Command, tmp_path: Path) -> None:
    ran = dsc("train", "magic", "--data", "sample:2", "--steps", 3, "--out", tmp_path)
    says(ran, 2, "magic", "chained", "mixed-latent")
    words = ("--data", "sample:2", "--steps", 3, "--out", tmp_path, "--lambda", 0.1)
    says(dsc("train", "toy", *words), 2, "--lambda", "--quality")


def test_skipped_samples_are_counted_and_listed(dsc: Command, tmp_path: Path) -> None:
    root = write_views(tmp_path / "views", count=5)
    (root / "depth" / "0001.png").write_bytes(b"no picture")
    ran = toy(dsc, root, tmp_path / "out")
    says(ran, 0, "1 samples could not be trained on", "0001")
    says(toy(dsc, root, tmp_path / "strict", "--on-error", "fail"), 1, "0001", "--on-error skip")


def test_a_progress_line_tells_rate_distortion_speed_and_time_left() -> None:
    row = LogRow(100, 0.5, {"shared": 0.1, "rgb": 0.31}, {"rgb": 31.2, "depth": float("nan")}, 1e-3)
    line = progress_line(TrainProgress(120, 500, 17.3, 95.0, row))
    assert line == (
        "step 120 of 500, loss 0.5, shared 0.1000 bpp, rgb 0.3100 bpp 31.20 dB, depth, "
        "17.3 samples/s, ETA 1 min 35 s"
    )


def test_defaults_of_options_are_those_of_a_configuration() -> None:
    options = {one.name: one.default for one in fields(TrainOptions)}
    options |= {"size": options["model_size"], "cache_mb": options["cache"]}
    for name, known in TrainConfig.model_fields.items():
        if name in options and name not in ("kind", "data", "weights", "task_dropout"):
            assert options[name] == known.default, name


def test_the_former_spelling_of_the_networks_size_works(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    first = toy(dsc, pictures, tmp_path, "--size", "tiny")
    assert first.code == 0, first.err
    assert toy(dsc, pictures, tmp_path, "--model-size", "tiny").code == 0
    says(toy(dsc, pictures, tmp_path, "--model-size", "fast"), 2, "size: tiny, now fast")
    assert "--size " not in dsc("train", "--help").out
