"""Where figures come from: processor and versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dsc._codecs.classical import dav1d

LIBRARIES = ("dsc", "imagecodecs", "torch", "numpy", "bjontegaard")


def environment() -> dict[str, Any]:
    """Say in JSON which machine and libraries this is."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: package_version(name) for name in LIBRARIES}
        | {"dav1d": dav1d.version()},
    }


def cpu_model() -> str:
    """Name the processor as well as the system can."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def package_version(name: str) -> str | None:
    """Return the version of an installed package; None when there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
