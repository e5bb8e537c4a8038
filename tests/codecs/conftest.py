"""Fixtures of the conditional networks' tests."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.network.spec import KINDS
from tests.codecs.conditional_cases import network_of, view_planes


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
