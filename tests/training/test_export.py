"""A codec file is loaded and used before it is handed out, and its bits are held to account."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsc._codecs.learned.codec_file import read_metadata
from dsc._codecs.learned.network import differentiable as coding
from dsc._codecs.learned.network.differentiable import estimated_bits
from dsc._training.data.batches import TrainingData
from dsc._training.evaluate import held_out
from dsc._training.export import BitCheck, can_export, export
from dsc._training.loop import Trainer
from dsc.errors import ExportError
from tests.training.toy import save, toy_config, write_views


@pytest.fixture(scope="module", params=["independent", "layered"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    root = write_views(tmp_path_factory.mktemp("views"), count=3, side=160)
    depth = np.full((160, 160), 1500, np.uint16)
    depth[10:60, 30:90] = 0
    save(root, "depth", 1, depth)  # the one that is held out
    config = toy_config(root, kind=request.param, size="tiny", steps=20, average="none")
    trainer = Trainer(config)
    trainer.advance(1e9)
    trainer.close()
    assert trainer.data.pools[0].held_out == [1]
    return trainer


def test_the_file_holds_the_card_and_the_network_stays_as_it_was(trained: Trainer) -> None:
    before = copy.deepcopy(trained.network.state_dict())
    made = export(trained.network, trained.data, {"steps": "20"})
    assert "20" in read_metadata(made.weights)["card"]
    assert made.check.samples == 2
    assert made.check.real_bytes > 100
    after = trained.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert trained.network.training


def test_bits_beyond_the_estimate_are_an_error(
    trained: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def understated(*given: Any) -> dict[str, torch.Tensor]:
        return {name: bits / 3 for name, bits in estimated_bits(*given).items()}

    monkeypatch.setattr(coding, "estimated_bits", understated)
    with pytest.raises(ExportError, match="exceed the estimated ones by"):
        export(trained.network, trained.data, {})


@pytest.mark.parametrize(("real", "ok"), [(900, True), (1009, True), (1011, False)])
def test_one_percent_is_allowed(real: float, ok: bool) -> None:
    assert BitCheck(4, 1000, real).ok is ok


def test_networks_for_comparison_make_no_file() -> None:
    assert can_export("chained")
    assert not any(can_export(kind) for kind in ("mixed-latent", "single-task", "toy"))


def test_held_out_samples_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    root = write_views(tmp_path, count=3, side=160)
    (root / "depth" / "0001.png").unlink()
    data = TrainingData(toy_config(root), loaders=0)
    assert data.pools[0].held_out == [1]
    assert held_out(data.pools[0], 50) == []
