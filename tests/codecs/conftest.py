"""Fixtures of the codecs' tests."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.network.spec import KINDS
from tests.codecs.conditional_cases import network_of, view_planes
from tests.kernels import use_kernels


@pytest.fixture(params=["compiled", "twin"])
def both_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the compiled kernels, and with their twins in Python."""
    use_kernels(request.param, monkeypatch)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Hold torch to one thread, so that sums of floats come in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def planes() -> dict[str, Tensor]:
    return view_planes(4)


@pytest.fixture(scope="session")
def files(planes: dict[str, Tensor]) -> dict[str, bytes]:
    """A codec file of each kind, untrained."""
    return {kind: export_codec(network_of(kind, planes), {}) for kind in KINDS}
