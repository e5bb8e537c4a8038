"""Packages of others as they lie where Python finds them, without an installation."""

import os
import subprocess
import sys
from pathlib import Path

from tests.places import ROOT


def declare(site: Path, package: str, entry_points: str) -> None:
    """Make a directory look as if a package were installed in it, without its modules."""
    info = site / f"{package.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def run(paths: list[Path], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with these directories on Python's path."""
    return subprocess.run(
        [sys.executable, "-m", "dsc", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))},
    )
