"""Archives to stream: of raw bytes, in several shapes, and a real one."""

from pathlib import Path

import pytest

import dsc
from tests.archives import build_archive

SHAPES = ((1, 8, 3), (2, 1, 1), (23, 8, 3), (24, 8, 4), (61, 16, 5))  # samples, a shard, a pack


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Archives of raw bytes, one of each shape."""
    folder = tmp_path_factory.mktemp("shapes")
    for number, (samples, shard, pack) in enumerate(SHAPES):
        build_archive(folder / str(number), samples, shard, pack)
    return [folder / str(number) for number in range(len(SHAPES))]


@pytest.fixture(scope="session")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve rendered views of three tasks, in three shards of two packs."""
    out = tmp_path_factory.mktemp("views") / "a"
    dsc.compress(
        "taskonomy", out, sample=12, tasks="rgb,depth,segment_semantic", size=64, shard_size=4,
        pack=2, codec="rgb=jpeg,depth=png,segment_semantic=png",
    )  # fmt: skip
    return out


@pytest.fixture(scope="session")
def learned_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered views under a learned codec, with label maps beside."""
    out = tmp_path_factory.mktemp("learned") / "a"
    dsc.compress(
        "taskonomy", out, sample=6, tasks="rgb,depth,segment_semantic", size=64, shard_size=6,
        pack=2, codec="rgb=independent,depth=independent,segment_semantic=png",
    )  # fmt: skip
    return out
