"""Fixtures for all tests: the real datasets, and one real Ray for the whole run."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.places import DATA

# tests note nothing in the home of whoever runs them, nor find what was noted there
os.environ["DSC_STATE"] = "off"

# a machine that is busy with something else must not fail a test
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# a shell starts background jobs deaf to Ctrl-C, and so would be every process that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests pytest-xdist keeps together: those of a file, and those that share a Ray."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        shares_ray = "ray_session" in getattr(item, "fixturenames", ())
        group = "ray" if shares_ray else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The directory of real datasets: ``DSC_TEST_DATA``, else ``../shared/data``."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}; set DSC_TEST_DATA to a directory that has them")
    return DATA


@pytest.fixture(scope="session")
def ray_session() -> Iterator[Any]:
    """A real Ray on this machine with two slots, started once and stopped at the end."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'dsc[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield ray
    ray.shutdown()
