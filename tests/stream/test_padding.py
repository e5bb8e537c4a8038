"""Maps of several sizes in one batch, with masks of where they are."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dsc
from dsc._schemas import Task, TaskKind
from dsc._stream.collate import collate
from dsc._stream.padding import MASK, padded
from dsc.errors import UsageError

SIZES = ((24, 40), (32, 32), (40, 24), (16, 16), (24, 40))


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five samples of several sizes."""
    root = tmp_path_factory.mktemp("sizes")
    rng = np.random.default_rng(0)
    for number, (h, w) in enumerate(SIZES):
        files = {
            "rgb": rng.integers(0, 256, (h, w, 3), np.uint8),
            "depth": rng.integers(1, 5000, (h, w), np.uint16),
            "labels": rng.integers(0, 9, (h, w), np.uint8),
        }
        for name, array in files.items():
            (root / "files" / name).mkdir(parents=True, exist_ok=True)
            imagecodecs.imwrite(root / "files" / name / f"{number}.png", array)
    dsc.compress(
        "folder", root / "a", root=root / "files",
        depth_unit={"depth": 0.001}, kinds={"labels": "label"},
        codec="rgb=png,depth=png,labels=png",
    )  # fmt: skip
    return root / "a"


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"threads": 2}, {"cache_decoded": "9MB"}])
def test_maps_are_in_the_corner_and_the_rest_is_nothing(
    sizes: Path, options: dict[str, Any]
) -> None:
    opened = dsc.open(sizes)
    seen = 0
    for batch in dsc.stream(sizes, batch_size=3, mixed_sizes="pad", shuffle=True, **options):
        nothing = {"rgb": 0, "depth": np.nan, "labels": 255}
        for name, value in nothing.items():
            given = batch[name].permute(0, 2, 3, 1) if batch[name].ndim == 4 else batch[name]
            mask = batch[MASK].numpy()
            assert mask.dtype == bool
            assert mask.shape == given.shape[:3]
            for at, index in enumerate(batch["__index__"].tolist()):
                wanted = opened[index][name]
                h, w = wanted.shape[:2]
                np.testing.assert_array_equal(given[at, :h, :w].numpy(), wanted)
                assert mask[at, :h, :w].all()
                assert mask[at].sum() == h * w
                rest = given[at].numpy()[~mask[at]]
                np.testing.assert_array_equal(rest, np.full_like(rest, value))
        assert batch["rgb"].is_contiguous(memory_format=torch.channels_last)
        seen += len(batch["__index__"])
    assert seen == len(SIZES)


def test_arrays_and_native_values_are_padded_too(sizes: Path) -> None:
    stream = dsc.stream(sizes, batch_size=5, mixed_sizes="pad", output="numpy", native=True)
    (batch,) = list(stream)
    assert batch["rgb"].shape == (5, 40, 40, 3)
    assert batch["depth"].dtype == np.uint16
    assert (batch["depth"][~batch[MASK]] == 0).all()


def test_a_transform_may_make_sizes(sizes: Path) -> None:
    def half(sample: dict[str, Any]) -> dict[str, Any]:
        return {"rgb": sample["rgb"][::2], "mean": sample["rgb"].mean()}

    batch = next(iter(dsc.stream(sizes, "rgb", 3, mixed_sizes="pad", transform=half)))
    assert batch["rgb"].shape == (3, 3, 20, 40)
    assert batch[MASK].shape == (3, 20, 40)


def test_maps_of_another_size_have_masks_of_their_own(sizes: Path) -> None:
    def small(sample: dict[str, Any]) -> dict[str, Any]:
        return sample | {"depth": sample["depth"][::2, ::2]}

    batch = next(iter(dsc.stream(sizes, None, 2, mixed_sizes="pad", transform=small)))
    assert batch[MASK].shape == (2, 32, 40)
    assert batch["__mask_depth__"].shape == (2, 16, 20)
    assert torch.equal(batch["__mask_depth__"], ~batch["depth"].isnan())


def test_one_size_has_a_mask_too(sizes: Path) -> None:
    batch = next(iter(dsc.stream(sizes, "rgb,labels", 1, mixed_sizes="pad")))
    assert batch[MASK].all()
    assert set(batch) == {"rgb", "labels", MASK, "__index__"}


def test_without_a_policy_sizes_are_an_error_that_names_it(sizes: Path) -> None:
    with pytest.raises(UsageError, match=r"mixed_sizes='pad' or 'list'"):
        next(iter(dsc.stream(sizes, "rgb", 3)))


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5),
    kind=st.sampled_from(["image", "label", "depth", "flow"]),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32"]),
    for_torch=st.booleans(),
)
def test_any_map_is_padded(
    shapes: list[tuple[int, int]], kind: str, dtype: str, for_torch: bool
) -> None:
    task = Task(name="m", kind=TaskKind(kind), dtype=dtype)
    maps = [np.ones(shape, dtype) for shape in shapes]
    samples = [{"m": one, "__index__": number} for number, one in enumerate(maps)]
    batch = collate(padded(samples, {"m": task}), {"m": task}, for_torch=for_torch)
    whole = tuple(np.max(shapes, axis=0).tolist())
    assert batch["m"].shape == batch[MASK].shape == (len(shapes), *whole)
    assert [int(mask.sum()) for mask in batch[MASK]] == [h * w for h, w in shapes]
    np.testing.assert_array_equal(batch["m"] == 1, batch[MASK])
