"""`dsc replay run` and `dsc replay inspect`: what they write, that they go on, what they refuse."""

import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from dsc._replay.buffer.buffer import ReplayBuffer
from tests.cli.conftest import Command
from tests.replay.class_pictures import make_pictures, write_folder
from tests.replay.tiny_backbone import TINY, register

QUICK = ("--epochs", 1, "--batch", 8, "--seeds", "0,1", "--budget", "2kB", "--increment", 2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(
        tmp_path_factory.mktemp("pictures"), make_pictures(classes=4, per_class=8, side=12)
    )


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    path, images = tmp_path / "memory.h5", make_pictures(classes=3, per_class=5, side=12)
    buffer = ReplayBuffer(path, "3kB", "webp", policy="class-balanced")
    buffer.add(images.images, images.labels)
    buffer.close()
    return path


def test_one_command_writes_results_and_compares_codecs(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--data", pictures, *QUICK, "--codec", "png,webp", "--quality", "20,60")
    ran = dsc("replay", "run", *words, "--out", out, "--json")
    assert ran.code == 0, ran.err
    found = ran.json()
    assert [row["arm"] for row in found["rows"]] == ["png", "webp-20", "webp-60"]
    assert found["baseline"] == "png"
    assert found["rows"][0]["difference"] is None
    assert isinstance(found["rows"][1]["difference"], float)
    assert {"results.csv", "steps.csv", "results.jsonl"} <= {
        Path(name).name for name in found["files"]
    }
    assert all(Path(name).stat().st_size for name in found["files"])
    assert len((out / "results.jsonl").read_text().splitlines()) == 6
    shown = dsc("replay", "run", *words, "--out", out)
    assert shown.code == 0, shown.err
    assert "last, less png" in shown.out


def test_a_stopped_command_goes_on_where_it_was(
    dsc: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("replay", "run", "--data", pictures, *QUICK, "--learner", "wa")
    whole = dsc(*words, "--out", tmp_path / "whole", "--json")
    add = ReplayBuffer.add
    offered: list[int] = []

    def stopping(self: ReplayBuffer, images: Any, labels: Any, **options: Any) -> None:
        offered.append(min(labels) // 2)  # the number of the increment
        if len(offered) == 4:  # the second increment of the second run
            raise KeyboardInterrupt
        add(self, images, labels, **options)

    monkeypatch.setattr(ReplayBuffer, "add", stopping)
    stopped = dsc(*words, "--out", tmp_path / "out")
    assert stopped.code == 130
    assert "run the same command again" in stopped.err
    ran = dsc(*words, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert offered == [0, 1, 0, 1, 1]
    assert ran.json()["rows"] == whole.json()["rows"]


@pytest.mark.ray
def test_workers_give_what_the_command_gives_alone(
    dsc: Command, ray_session: Any, pictures: Path, tmp_path: Path
) -> None:
    words = ("replay", "run", "--data", pictures, *QUICK, "--threads", 1, "--json")
    alone = dsc(*words, "--out", tmp_path / "alone")
    ran = dsc(*words, "--out", tmp_path / "out", "--workers", 2)
    assert ran.code == 0, ran.err
    assert ran.json()["rows"] == alone.json()["rows"]
    assert "2 of 2 runs (100 %)" in ran.err


@pytest.mark.ray
def test_a_run_that_fails_is_named_and_the_others_are_kept(
    dsc: Command, ray_session: Any, pictures: Path, tmp_path: Path
) -> None:
    words = ("--data", pictures, *QUICK, "--budget", "40,2kB", "--out", tmp_path, "--workers", 2)
    ran = dsc("replay", "run", *words)
    assert ran.code == 2
    assert "2 of 4 runs failed" in ran.err
    assert "er-ace, default-50, 40 bytes, seed 1" in ran.err
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2


def test_a_sweep_in_a_file_is_run_with_other_options(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({
        "data": {"place": str(pictures)}, "scenario": {"increment": 2}, "learners": ["er"],
        "budgets": ["1500"], "codecs": ["webp:30"], "seeds": [0], "recipe": {"epochs": 1},
    }))  # fmt: skip
    words = ("replay", "run", "--config", plan, "--out", tmp_path / "out", "--json")
    ran = dsc(*words, "--budget", "2kB", "--batch", 8, "--image-size", 10)
    assert ran.code == 0, ran.err
    sweep = ran.json()["sweep"]
    assert sweep["data"]["size"] == 10
    assert sweep["budgets"] == ["2kB"]
    assert (sweep["recipe"]["epochs"], sweep["recipe"]["batch"]) == (1, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--data"),
        (("--data", "PICTURES"), "--increment"),
        (("--data", "PICTURES", "--increment", 3), "no first step of 3"),
        (("--data", "nowhere", "--increment", 2), "nowhere"),
        (("--data", "PICTURES", "--increment", 2, "--budget", "40"), "leaves|smaller"),
        (("--data", "PICTURES", "--increment", 2, "--learner", "ewc"), "er-ace"),
        (("--data", "PICTURES", "--increment", 2, "--codec", "gif"), "gif"),
        (("--data", "PICTURES", "--increment", 2, "--policy", "best"), "best"),
        (("--data", "PICTURES", "--increment", 2, "--quality", "high"), "whole numbers"),
        (("--data", "PICTURES", "--increment", 2, "--network", "vgg"), "resnet8"),
        (("--data", "PICTURES", "--increment", 2, "--evaluate", "never"), "evaluate"),
        (("--data", "PICTURES", "--increment", 2, "--backbone", "vgg"), "efficientnet-lite0"),
        (("--data", "PICTURES", "--increment", 2, "--learner", "ridge"), "by --backbone"),
        (("--data", "PICTURES", "--increment", 2, "--tune", "full"), "by --backbone"),
        (("--data", "PICTURES", "--increment", 2, "--tune", "half"), "tune"),
        (
            ("--data", "PICTURES", "--increment", 2, "--network", "resnet8", "--backbone", "vgg"),
            "give one of them",
        ),
        (("--data", "PICTURES", "--increment", 2, "--device", "tpu"), "no such device"),
        (("--data", "PICTURES", "--increment", 2, "--gpus-per-run", 0.5), "--device cuda"),
        (("--data", "PICTURES", "--increment", 2, "--workers", 2, "--address", "auto"), "one of"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(
    dsc: Command, pictures: Path, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    given = [pictures if word == "PICTURES" else word for word in words]
    ran = dsc("replay", "run", *given, "--out", tmp_path / "out", "--epochs", 1)
    assert ran.code == 2, ran.err
    assert any(word in ran.err for word in message.split("|")), ran.err
    assert "fault of dsc" not in ran.err


def test_learners_on_a_backbone_share_its_features_and_need_no_budget_without_exemplars(
    dsc: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    words = ("--data", pictures, "--increment", 2, "--seeds", 0, "--backbone", TINY)
    words = (*words, "--backbone-side", 16, "--cache", tmp_path / "cache")
    ran = dsc("replay", "run", *words, "--learner", "ridge", "--out", tmp_path / "ridge", "--json")
    assert ran.code == 0, ran.err
    (row,) = ran.json()["rows"]
    assert (row["arm"], row["budget"], row["exemplars"]) == ("none", 0, 0)
    assert row["bytes"] > 0
    before = sorted((tmp_path / "cache").rglob("*.npy"))
    assert before
    both = ("--learner", "simple-cil,er", "--budget", "2kB,3kB", "--codec", "raw")
    ran = dsc("replay", "run", *words, *both, "--out", tmp_path / "both", "--json")
    assert ran.code == 0, ran.err
    assert [row["arm"] for row in ran.json()["rows"]] == ["none", "raw", "raw"]
    assert sorted((tmp_path / "cache").rglob("*.npy")) == before
    assert not (tmp_path / "both" / "features").exists()


def test_pictures_of_different_sizes_are_resized_for_a_backbone_and_refused_without(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    for side in (12, 20):
        write_folder(tmp_path / "mixed", make_pictures(classes=2, per_class=side, side=side))
    words = ("replay", "run", "--data", tmp_path / "mixed", "--increment", 1, "--seeds", 0)
    write_folder(tmp_path / "mixed", make_pictures(classes=2, per_class=12, side=12))
    refused = dsc(*words, "--budget", "2kB", "--epochs", 1, "--out", tmp_path / "refused")
    assert refused.code != 0
    assert "resize all" in refused.err
    backbone = ("--backbone", TINY, "--backbone-side", 16, "--learner", "ridge")
    ran = dsc(*words, *backbone, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err


def test_inspect_tells_classes_codecs_and_bytes_by_part(dsc: Command, memory: Path) -> None:
    ran = dsc("replay", "inspect", memory, "--json")
    assert ran.code == 0, ran.err
    found, opened = ran.json(), ReplayBuffer.open(memory)
    counts = np.bincount(opened.targets).tolist()
    assert found["classes"] == {str(label): count for label, count in enumerate(counts)}
    parts = sum(found[f"{part}_bytes"] for part in ("payload", "index", "state"))
    assert parts == found["nbytes"] == opened.nbytes <= found["budget_bytes"]
    assert sum(found["slots"].values()) == len(opened)
    shown = dsc("replay", "inspect", memory)
    assert shown.code == 0, shown.err
    assert "webp q50" in shown.out
    assert "payload" in shown.out


def test_inspect_writes_a_contact_sheet(dsc: Command, memory: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    assert dsc("replay", "inspect", memory, "--sheet", sheet).code == 0
    picture = imagecodecs.png_decode(sheet.read_bytes())
    first, _ = ReplayBuffer.open(memory)[int(np.argsort(ReplayBuffer.open(memory).targets)[0])]
    assert picture.shape[2] == 3
    assert (picture[2:14, 2:14] == first).all()


def test_inspect_names_what_is_no_buffer(dsc: Command, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(b"nothing")
    assert "other.h5" in dsc("replay", "inspect", other).err
    missing = dsc("replay", "inspect", tmp_path / "none.h5")
    assert missing.code == 2
    assert "none.h5" in missing.err


def test_the_former_spelling_of_the_image_size_works_unseen(
    dsc: Command, pictures: Path, tmp_path: Path
) -> None:
    words = ("--data", pictures, *QUICK, "--seeds", 0, "--size", 10, "--out", tmp_path, "--json")
    ran = dsc("replay", "run", *words)
    assert ran.code == 0, ran.err
    assert ran.json()["sweep"]["data"]["size"] == 10
    assert "--size" not in dsc("replay", "run", "--help").out.replace("--image-size", "")


def test_help_has_examples_for_both_commands(dsc: Command) -> None:
    for command in ("run", "inspect"):
        ran = dsc("replay", command, "--help")
        assert ran.code == 0
        assert f"dsc replay {command}" in ran.out
