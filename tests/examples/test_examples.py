"""The examples run as a newcomer runs them, and do what they say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import dsc
from tests.places import ROOT

EXAMPLES = ROOT / "examples"


def run(name: str, *options: str, work: Path, **environment: str) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, "--work", str(work), *options],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1", **environment},
    )
    return done.stdout


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_depth_from_rgb_compares_the_archive_with_the_files(tmp_path: Path) -> None:
    out = run("depth_from_rgb", work=tmp_path)
    sizes = re.search(r"PNG ([\d.]+) MB, archive ([\d.]+) MB", out)
    assert sizes is not None
    assert float(sizes[2]) < float(sizes[1])
    for name in ("archive", "png"):
        found = re.search(rf"^{name} +AbsRel (\d\.\d+) ± 0.0000 over 1 seeds", out, re.MULTILINE)
        assert found is not None
        assert 0 < float(found[1]) < 2


def test_depth_from_rgb_goes_on_in_mid_epoch_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """Stopped after 2 of 5 steps, before the epoch's third: the weights are an unbroken run's."""
    example = load("depth_from_rgb")
    dsc.compress("sample", tmp_path / "a", sample=40, size=32, tasks="rgb,depth", codec="png")

    def trained(checkpoint: str, stop_at: int | None = None) -> dict[str, Any]:
        stream = dsc.stream(tmp_path / "a", "rgb,depth", batch_size=16, shuffle=True, seed=3)
        model = example.train(stream, 5, 0, tmp_path / checkpoint, stop_at)
        return dict(model.state_dict())

    torch.set_num_threads(1)
    unbroken = trained("one.pt")
    with pytest.raises(SystemExit, match="stopped at step 2"):
        trained("two.pt", stop_at=2)
    state = torch.load(tmp_path / "two.pt", weights_only=True)["stream"]
    assert (state["epoch"], state["position"]) == (0, 32)
    resumed = trained("two.pt")
    assert all(torch.equal(value, resumed[name]) for name, value in unbroken.items())


def test_the_files_come_in_the_order_of_the_stream_and_are_its_pixels(tmp_path: Path) -> None:
    example = load("depth_from_rgb")
    files = example.rendered_files(tmp_path / "png", 12, 32, seed=0)
    dsc.compress("taskonomy", tmp_path / "a", root=files.root, tasks="rgb,depth", codec="png")
    order: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 1}
    stream = dsc.stream(tmp_path / "a", ["rgb", "depth"], **order)
    for ours, theirs in zip(example.InOrder(files, tmp_path / "a", **order), stream, strict=True):
        assert torch.equal(ours["rgb"], theirs["rgb"])
        assert torch.equal(ours["depth"].nan_to_num(), theirs["depth"].nan_to_num())


@pytest.mark.slow
def test_train_on_latents_compares_latents_with_pixels(tmp_path: Path) -> None:
    check_latents(run("train_on_latents", work=tmp_path))


@pytest.mark.slow
@pytest.mark.data
def test_train_on_latents_takes_images_by_class(tmp_path: Path, data_root: Path) -> None:
    images = data_root / "tiny_imagenet40"
    if not images.is_dir():
        pytest.skip(f"no {images}")
    environment = {"DSC_TEST_DATA": str(data_root)}
    check_latents(run("train_on_latents", "--every", "100", work=tmp_path, **environment))


def check_latents(out: str) -> None:
    parameters = {}
    for decode in ("latents", "pixels"):
        line = re.search(rf"^{decode} *: accuracy ([\d.]+)% \(([\d.]+) M parameters\)", out, re.M)
        assert line is not None
        assert 0 <= float(line[1]) <= 100
        parameters[decode] = float(line[2])
    assert 0.8 < parameters["latents"] / parameters["pixels"] < 1.25
