"""Every training test may make the toy networks by name."""

from pathlib import Path

import pytest

from dsc._training.networks import NETWORKS
from tests.training.toy import write_views


@pytest.fixture(autouse=True)
def toy_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "toy", "tests.training.toy:network")
    monkeypatch.setitem(NETWORKS, "exploding", "tests.training.toy:exploding")


@pytest.fixture(scope="session")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_views(tmp_path_factory.mktemp("views"))
