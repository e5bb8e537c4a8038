"""Recordings as files, in the layout of 7-Scenes, for tests."""

from pathlib import Path

from tests.sources.lookalikes import Drawer


def write_walk(
    root: Path, sequence: str, frames: range, *, first_without_depth: bool = False
) -> None:
    """Write the frames of a walk: rgb, depth and pose."""
    d = Drawer(root)
    for frame in frames:
        name = f"{sequence}/frame-{frame:06d}"
        d.rgb(f"{name}.color.png")
        if frame != frames[0] or not first_without_depth:
            d.counts(f"{name}.depth.png")
        d.matrix(f"{name}.pose.txt")
