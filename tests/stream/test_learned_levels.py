"""Archives of the codec `layered`: first scales read, copied, left by damage, on both ways."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._codecs.base import decoder_from
from dsc._codecs.learned.layered.spec import SCALES
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import CorruptArchiveError, UsageError
from tests.codecs.layered_cases import layered_file

TASKS = ("rgb", "depth_zbuffer")
N = 6


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered views in two scales-first tasks, three packs."""
    folder = tmp_path_factory.mktemp("layered")
    (folder / "tiny.safetensors").write_bytes(layered_file())
    dsc.compress(
        "taskonomy", folder / "a", sample=N, tasks="rgb,depth", size=64, shard_size=6, pack=2,
        codec=str(folder / "tiny.safetensors"),
    )  # fmt: skip
    return folder / "a"


def expected(archive: Path, index: int, levels: dict[str, int]) -> dict[str, np.ndarray]:
    """What so many scales of a sample's tasks decode to, as the source has it."""
    opened = Archive.open(archive)
    codec = CodecSet.from_archive(opened).codec(0)
    names = [f"{task}.{scale}" for task, count in levels.items() for scale in range(count)]
    shard, pack, k = opened.locate(index)
    reader = PackReader(opened)
    payloads = {
        name: bytes(reader.read(shard, name, [pack])[0].payloads[k] or b"") for name in names
    }
    return decoder_from(codec, names).decode_batch([payloads], list(levels), 64 * 64)[0]


def streamed(archive: Path, **options: Any) -> list[Any]:
    """All samples, in order."""
    batches = dsc.stream(archive, TASKS, batch_size=3, shuffle=False, native=True, **options)
    return [(batch, row) for batch in batches for row in range(len(batch["__index__"]))]


def value(batch: Any, name: str, row: int) -> np.ndarray:
    """A sample's array, channels last."""
    array = np.asarray(batch[name][row])
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("levels", [{"rgb": 1}, {"rgb": 3, "depth_zbuffer": 2}, {}])
def test_levels_of_a_learned_codec_are_read_on_either_way_to_pixels(
    archive: Path, levels: dict[str, int], device: str | None
) -> None:
    option = {"levels": levels} if levels else {}
    counts = dict.fromkeys(TASKS, SCALES) | levels
    for batch, row in streamed(archive, device=device, **option):
        want = expected(archive, int(batch["__index__"][row]), counts)
        for task in TASKS:
            difference = value(batch, task, row).astype(int) - want[task]
            assert np.abs(difference).max() <= (task != "rgb")  # depth: see `planes`


def test_a_copy_of_some_levels_has_the_pixels_of_those(archive: Path, tmp_path: Path) -> None:
    dsc.fetch(archive, None, tmp_path / "copy", levels="rgb=2,depth=1")
    copy = dsc.open(tmp_path / "copy", native=True)
    for index in range(N):
        want = expected(archive, index, {"rgb": 2, "depth_zbuffer": 1})
        assert all(np.array_equal(copy[index][task], want[task]) for task in TASKS)
    with pytest.raises(UsageError, match="there are 2 levels here"):
        dsc.open(tmp_path / "copy", levels="rgb=3")


def spoil(archive: Path, index: int, stream: str) -> None:
    """Flip bits of a payload."""
    opened = Archive.open(archive)
    shard, pack, k = opened.locate(index)
    table = PackReader(opened).table(shard, stream, pack)
    path = archive / opened.record(shard, stream).path
    data = bytearray(path.read_bytes())
    data[int(table.ends[k]) - 1] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_damage_of_a_middle_scale_leaves_the_coarser_ones(
    archive: Path, tmp_path: Path, device: str | None
) -> None:
    shutil.copytree(archive, tmp_path / "a")
    spoil(tmp_path / "a", 1, "rgb.2")
    spoil(tmp_path / "a", 4, "depth_zbuffer.1")
    left = {1: {"rgb": 2}, 4: {"depth_zbuffer": 1}}
    found = streamed(tmp_path / "a", device=device, on_damage="coarser")
    assert [int(batch["__index__"][row]) for batch, row in found] == list(range(N))
    for index, (batch, row) in enumerate(found):
        assert batch["__coarser__"][row] == left.get(index, {})
        counts = dict.fromkeys(TASKS, SCALES) | left.get(index, {})
        want = expected(archive, index, counts)
        for task in TASKS:
            difference = value(batch, task, row).astype(int) - want[task]
            assert np.abs(difference).max() <= (task != "rgb")
    with pytest.raises(CorruptArchiveError, match=r"rgb\.2"):
        streamed(tmp_path / "a", device=device)


def test_a_damaged_coarsest_scale_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "a")
    spoil(tmp_path / "a", 1, "rgb.0")
    with pytest.raises(CorruptArchiveError, match=r"rgb\.0"):
        dsc.open(tmp_path / "a", on_damage="coarser")[1]
