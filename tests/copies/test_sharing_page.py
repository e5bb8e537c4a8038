"""docs/sharing.md is true: its code runs, against a Hub on loopback."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from tests.hub_server import hub
from tests.places import ROOT

PAGE = ROOT / "docs" / "sharing.md"


def test_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("webdataset", "datasets", "torch"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    options = {"size": 32, "codec": "rgb=webp,depth=jxl", "shard_size": 4, "pack": 2}
    dsc.compress("sample", "views", sample=10, tasks="rgb,depth", **options)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    scope: dict[str, Any] = {}
    with hub(monkeypatch):
        dsc.push("views", "hf://datasets/me/views")
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), scope)
    reference = dsc.open("views")
    np.testing.assert_array_equal(scope["sample"]["depth_zbuffer"], reference[9]["depth"])
    assert scope["batch"]["depth"].shape == (2, 32, 32)
    first = next(iter(scope["samples"]))
    assert first["__key__"] == next(iter(reference.keys()))
    np.testing.assert_array_equal(first["depth_zbuffer"], reference[0]["depth"])


def test_the_hubs_own_loader_finds_a_task_by_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    options = {"size": 32, "codec": "rgb=webp,depth=jxl", "shard_size": 4, "pack": 2}
    dsc.compress("sample", tmp_path / "a", sample=6, tasks="rgb,depth", **options)
    with hub(monkeypatch):
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", constants.ENDPOINT)
        url = "hf://datasets/me/views"
        dsc.push(tmp_path / "a", url)
        packs = datasets.load_dataset(
            "me/views", "depth_zbuffer", split="train", streaming=True, cache_dir=str(tmp_path)
        )
        names = packs.column_names
        samples = packs.map(dsc.decode(url), batched=True, batch_size=1, remove_columns=names)
        found = list(samples)
    reference = dsc.open(tmp_path / "a")
    assert [sample["__key__"] for sample in found] == list(reference.keys())
    np.testing.assert_array_equal(found[5]["depth_zbuffer"], reference[5]["depth"])
