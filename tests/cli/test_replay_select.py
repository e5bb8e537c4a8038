"""`dsc replay select`: its table, its JSON, the command it ends with, and what it refuses."""

import shlex
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from dsc._cli.replay import replay
from dsc._replay import selection
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.scenario.images import load_split
from tests.cli.conftest import Command
from tests.replay.class_pictures import make_pictures, write_folder

QUICK = ("--steps", 3, "--rounds", 1, "--threads", 1)
CODECS = "png,webp:40,jpeg-bare:10"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(
        tmp_path_factory.mktemp("some pictures"), make_pictures(classes=4, per_class=14, side=12)
    )


def test_it_ends_with_the_command_that_uses_its_pick(
    dsc: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--data", pictures, "--increment", 2, "--budget", "3kB", "--codec", CODECS)
    words += ("--network", "resnet8-early")
    ran = dsc("replay", "select", *words, *QUICK, "--proxy", "probe", "--json")
    assert ran.code == 0, ran.err
    found = ran.json()
    assert (found["classes"], found["first_classes"], found["first_budget"]) == (4, 2, 1500)
    assert [row["candidate"] for row in found["candidates"]] == CODECS.split(",")
    best = min(found["candidates"], key=lambda row: row["ranks"].get("probe", 99))
    assert found["pick"] == found["picks"]["probe"] == best["candidate"]
    assert found["costs"]["probe"]["trained"] == 4 * 3 * 32
    monkeypatch.chdir(tmp_path)
    first, *then = shlex.split(found["next"]["run"])
    assert first == "dsc"
    assert "--network resnet8-early --threads 1 " in found["next"]["run"]
    assert f"--codec {found['pick']} " in found["next"]["run"]
    learnt = dsc(*then, "--learner", "gdumb", "--steps", 2, "--seeds", "0", "--json")
    assert learnt.code == 0, learnt.err
    buffer = eval(found["next"]["python"], {"ReplayBuffer": ReplayBuffer})
    buffer.close()


def test_people_get_a_table_of_candidates_and_costs(dsc: Command, pictures: Path) -> None:
    words = ("--data", pictures, "--budget", "1kB", "--codec", "raw,webp:40,jpeg-bare:10")
    ran = dsc("replay", "select", *words, *QUICK, "--proxy", "drift,volume,probe")
    assert ran.code == 0, ran.err
    for word in ("jpeg-bare:10", "not one a class", "drift rank", "volume rank", "probe rank",
                 "held out", "trained on", "pick: jpeg-bare:10", "--increment N"):  # fmt: skip
        assert word in ran.out


def test_it_sees_the_first_steps_training_images_alone(
    dsc: Command, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def stop(images: Any, labels: Any, budget: Any, **options: Any) -> None:
        seen.update(options, images=images, labels=labels)
        raise KeyboardInterrupt

    monkeypatch.setattr(selection, "select_codec", stop)
    words = ("--data", pictures, "--increment", 2, "--seed", 1, "--order-seed", 5)
    dsc("replay", "select", *words, "--beta", 3, "--network", "resnet8", "--count-decoder")
    train, test = load_split(pictures)
    order = np.random.RandomState(5).permutation(4)
    first = np.isin(train.labels, order[:2])
    assert (seen["images"] == train.images[first]).all()
    held = {image.tobytes() for image in test.images}
    assert held.isdisjoint(image.tobytes() for image in seen["images"])
    assert (seen["classes"], seen["seed"], seen["beta"]) == (4, 1, 3)
    assert (seen["recipe"].network, seen["count_decoder"]) == ("resnet8", True)
    assert "candidates" not in seen


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "which images"),
        (("--data", "nowhere"), "nowhere"),
        (("--data", "PICTURES", "--increment", 3), "no first step of 3 and then steps of 3"),
        (("--data", "PICTURES", "--increment", 1), "1 class"),
        (("--data", "PICTURES", "--codec", "h266:1"), "h266"),
        (("--data", "PICTURES", "--codec", "webp"), "at which quality"),
        (("--data", "PICTURES", "--proxy", "luck"), "unknown proxy luck"),
        (("--data", "PICTURES", "--budget", "300", "--codec", "raw,png"), "no candidate fits"),
        (("--data", "PICTURES", "--budget", "1kB,2kB"), "write bytes or a size"),
        (("--data", "PICTURES", "--device", "tpu"), "no such device"),
        (("--data", "PICTURES", "--network", "vgg"), "unknown network"),
    ],
)
def test_wrong_options_say_what_to_do(
    dsc: Command, pictures: Path, words: tuple[Any, ...], says: str
) -> None:
    given = [pictures if word == "PICTURES" else word for word in words]
    ran = dsc("replay", "select", *given, *QUICK)
    assert ran.code == 2
    assert says in ran.err


def test_the_options_are_those_of_the_api() -> None:
    from dsc._replay.selection.judge import DEFAULT_RECIPE
    from dsc._replay.selection.proxies import DEFAULT_BETA, DEFAULT_EPSILON

    command = cast(TyperGroup, get_command(replay)).commands["select"]
    text = " ".join(getattr(one, "help", None) or "" for one in command.params)
    for name, default in (
        ("log N that a drift of 1 is worth", f"{DEFAULT_BETA:g}"),
        ("how far from 1 its ratio may be", f"{DEFAULT_EPSILON:g}"),
        ("Optimiser steps of each network", str(DEFAULT_RECIPE.steps)),
    ):
        assert f"{name}. Default: {default}." in text


def test_a_codec_file_may_lie_below_a_directory_with_a_colon() -> None:
    from dsc._cli.replay.run import _codecs
    from dsc._replay.buffer.kept import split_quality

    path = "/a:b/my.safetensors"
    assert split_quality(f"{path}:40") == (path, "40")
    assert split_quality(path) == (path, "")
    assert split_quality("webp:50") == ("webp", "50")
    assert split_quality("raw") == split_quality("raw:") == ("raw", "")
    assert _codecs(f"{path},webp:10", "20,30") == [f"{path}:20", f"{path}:30", "webp:10"]


def test_a_codec_that_loses_nothing_is_not_run_at_several_qualities() -> None:
    from dsc._cli.replay.run import _codecs

    found = _codecs("raw,exact,webp", "20,30")
    assert found == ["raw", "exact", "webp:20", "webp:30"]
