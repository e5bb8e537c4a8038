"""Where two options meet: transforms, missing tasks, damage, ranks, latents, devices, dtypes."""

import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import dsc
from dsc._schemas import Task, TaskKind
from dsc._schemas.task import DType
from dsc._stream.collate import INDEX, collate
from dsc._stream.tensors import to_tensors
from dsc.errors import CorruptArchiveError, MissingTaskError, UsageError

LACKS_DEPTH, EMPTY = 2, 4  # of the samples of `gaps`
SAMPLES = 6


def indices(stream: Any) -> list[int]:
    return [index for batch in stream for index in batch["__index__"].tolist()]


@pytest.fixture(scope="module", params=["rgb=jpeg,depth=png", "independent"])
def gaps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six samples: one lacks depth, one could not be read and was left out."""
    root = tmp_path_factory.mktemp("gaps")
    rng = np.random.default_rng(0)
    for name in ("rgb", "depth"):
        (root / "in" / name).mkdir(parents=True)
    for index in range(SAMPLES):
        rgb = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1)))
        depth = np.kron(rng.integers(500, 3000, (8, 8)), np.ones((8, 8)))
        Image.fromarray(rgb.astype(np.uint8)).save(root / "in" / "rgb" / f"{index}.png")
        if index != LACKS_DEPTH:
            Image.fromarray(depth.astype(np.uint16)).save(root / "in" / "depth" / f"{index}.png")
    (root / "in" / "rgb" / f"{EMPTY}.png").write_bytes(b"broken")
    dsc.compress(
        "folder", root / "a", root=root / "in", codec=request.param, on_error="skip", pack=2,
        shard_size=4,
    )  # fmt: skip
    return root / "a"


# ---- samples that lack tasks


def test_samples_that_were_left_out_of_the_archive_are_in_no_epoch(gaps: Path) -> None:
    stream = dsc.stream(gaps, "rgb", 2)
    assert indices(stream) == [0, 1, 2, 3, 5]
    assert (stream.samples, stream.left_out) == (5, 1)
    both = dsc.stream(gaps, "rgb,depth", 1)
    with pytest.raises(MissingTaskError, match=r"sample 2 \(2\) has no depth"):
        indices(both)
    assert indices(dsc.stream(gaps, "rgb,depth", 4, missing="skip")) == [0, 1, 3, 5]
    assert dsc.stream(gaps, "rgb,depth", 4, missing="skip").left_out == 2
    assert indices(dsc.stream(gaps, "rgb,depth", 4, missing="none")) == [0, 1, 2, 3, 5]
    assert indices(dsc.stream(gaps, "rgb", 2, decode="bytes")) == [0, 1, 2, 3, 5]


def test_their_places_are_the_same_in_every_kind_of_reading(gaps: Path) -> None:
    stream = dsc.stream(gaps, "rgb", 2, shuffle=True)
    whole = indices(stream)
    stream.set_epoch(0)
    assert indices(DataLoader(stream, batch_size=None, num_workers=2)) == whole
    assert sorted(whole) == [0, 1, 2, 3, 5]
    ranks = [indices(dsc.stream(gaps, "rgb", 2, rank=r, world=2, pad=False)) for r in range(2)]
    assert sorted(ranks[0] + ranks[1]) == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_missing_tasks_come_as_none_in_a_list(gaps: Path, device: str | None, workers: int) -> None:
    stream = dsc.stream(
        gaps, "rgb,depth", 3, missing="none", device=device, workers=workers, mixed_sizes="error"
    )
    opened, seen = dsc.open(gaps), []
    for batch in stream:
        for at, index in enumerate(batch["__index__"].tolist()):
            seen.append(index)
            wanted = opened[index]
            for name in ("rgb", "depth"):
                found = batch[name][at]
                array = wanted[name]
                if array is None:
                    assert found is None
                    continue
                assert found is not None
                if name == "rgb":
                    array = array.transpose(2, 0, 1)
                np.testing.assert_allclose(found.numpy(), array, atol=1.01, rtol=2e-3)
    assert seen == [0, 1, 2, 3, 5]
    stream.close()


def test_latents_that_differ_come_as_a_list(gaps: Path) -> None:
    if "independent" not in dsc.open(gaps).manifest.codecs[0].label:
        pytest.skip("these have no latents")
    batches = list(dsc.stream(gaps, "rgb,depth", 3, missing="none", decode="latents"))
    latents = [one for batch in batches for one in batch["latents"]]
    assert [sorted(one.streams) for one in latents] == [
        ["depth"] * (index != LACKS_DEPTH) + ["rgb"] for index in (0, 1, 2, 3, 5)
    ]
    only = list(dsc.stream(gaps, "depth", 5, missing="none", decode="latents"))
    assert [one is None for one in only[0]["latents"]] == [False, False, True, False, False]


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of two sizes under a learned codec."""
    root = tmp_path_factory.mktemp("sizes")
    (root / "in" / "rgb").mkdir(parents=True)
    for index, side in enumerate((32, 48, 32)):
        pixels = np.full((side, side, 3), 40 * index, np.uint8)
        Image.fromarray(pixels).save(root / "in" / "rgb" / f"{index}.png")
    dsc.compress("folder", root / "a", root=root / "in", codec="rgb=independent")
    return root / "a"


@pytest.mark.parametrize("missing", ["error", "none"])
def test_latents_of_several_sizes_are_refused_or_listed(sizes: Path, missing: str) -> None:
    for options in ({"device": "cpu"}, {"decode": "latents"}):
        given: dict[str, Any] = {"missing": missing, **options}
        message = "sample 1 is 48×48 pixels, sample 0 is 32×32; stream with mixed_sizes='list'"
        with pytest.raises(UsageError, match=message):
            next(iter(dsc.stream(sizes, "rgb", 3, **given)))
        batch = next(iter(dsc.stream(sizes, "rgb", 3, mixed_sizes="list", **given)))
        if "decode" in options:
            assert [one.size for one in batch["latents"]] == [(32, 32), (48, 48), (32, 32)]
            continue
        assert [tuple(one.shape[1:]) for one in batch["rgb"]] == [(32, 32), (48, 48), (32, 32)]
        for at, one in enumerate(batch["rgb"]):
            assert abs(float(one.float().mean()) - 40 * at) < 8


# ---- damage, on several ranks


def damaged_copy(archive: Path, out: Path, *samples: int) -> Path:
    """Copy an archive, with a byte of some samples' rgb flipped."""
    shutil.copytree(archive, out)
    for found in dsc.open(out, "rgb").payloads(samples):
        payload = bytes(found["rgb"] or b"")
        path = next(p for p in (out / "rgb").iterdir() if payload in p.read_bytes())
        data = path.read_bytes()
        at = data.index(payload) + len(payload) // 2
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    return out


@pytest.fixture
def hurt(gaps: Path, tmp_path: Path) -> Path:
    """Sample 0 of rgb is damaged."""
    return damaged_copy(gaps, tmp_path / "a", 0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("options", [{}, {"device": "cpu"}, {"decode": "latents"}], ids=str)
def test_ranks_stay_in_step_over_damage(hurt: Path, options: dict[str, Any], workers: int) -> None:
    if "latents" in options.values() and dsc.open(hurt).manifest.codecs[0].id != "independent":
        pytest.skip("these have no latents")
    for world in (1, 2):
        stream = dsc.stream(
            hurt, "rgb", 1, on_error="skip", rank=0, world=world, workers=workers, **options
        )
        batches = list(stream)
        values = batches[0].get("rgb", batches[0].get("latents"))
        assert len(values) == 1
        found = [index for batch in batches for index in batch["__index__"].tolist()]
        # with others waiting, the next batch comes in the place of the lost one
        assert found == ([1, 2, 3, 5] if world == 1 else [2, 2, 5])
        assert stream.report.repeated == world - 1
        assert stream.report.n_skipped == 1
        stream.close()


def test_a_batch_given_twice_is_not_changed_by_who_had_it(gaps: Path, tmp_path: Path) -> None:
    archive = damaged_copy(gaps, tmp_path / "a", 2)  # the second of rank 0
    first = dsc.open(gaps, "rgb")[0]["rgb"]
    assert first is not None
    for batch in dsc.stream(archive, "rgb", 1, on_error="skip", rank=0, world=2):
        if batch["__index__"].tolist() == [0]:
            np.testing.assert_array_equal(batch["rgb"][0].permute(1, 2, 0).numpy(), first)
            batch["rgb"].zero_()


def test_ranks_that_have_nothing_say_so(gaps: Path, tmp_path: Path) -> None:
    archive = damaged_copy(gaps, tmp_path / "a", 0, 2, 5)
    with pytest.raises(CorruptArchiveError, match="every sample of every batch of rank 0"):
        list(dsc.stream(archive, "rgb", 1, on_error="skip", rank=0, world=2))


# ---- transforms


@pytest.mark.parametrize("workers", [0, 1])
def test_a_transform_may_give_a_new_dict(gaps: Path, workers: int) -> None:
    def only_rgb(sample: dict[str, Any]) -> dict[str, Any]:
        return {"picture": sample["rgb"][:16, :16].astype(np.float32) / 255}

    for rank, world in ((0, 1), (1, 2)):
        stream = dsc.stream(
            gaps, "rgb", 2, transform=only_rgb, workers=workers, rank=rank, world=world
        )
        batches = list(stream)
        assert [set(batch) for batch in batches] == [{"picture", "__index__"}] * len(batches)
        assert stream.report.samples == sum(len(batch["picture"]) for batch in batches)
        stream.close()
    loader = DataLoader(dsc.stream(gaps, "rgb", 5, transform=only_rgb), batch_size=None)
    assert next(iter(loader))["__index__"].tolist() == [0, 1, 2, 3, 5]


def test_a_transform_finds_and_gives_aliases(views: Path) -> None:
    def named(sample: dict[str, Any]) -> dict[str, Any]:
        return {"depth": sample["depth"][:8, :8], "rgb": sample["rgb"][:8, :8]}

    batch = next(iter(dsc.stream(views, "rgb,depth", 4, transform=named)))
    assert batch["depth"].shape == (4, 8, 8)
    assert batch["rgb"].shape == (4, 3, 8, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda sample: None, r"gave NoneType for sample 0 \(0\): it must return a dict"),
        (lambda sample: sample["rgb"], "gave ndarray for sample"),
        (
            lambda sample: {"rgb": 1, f"odd_{sample['__index__'] % 2}": 1},
            "gave odd_0, odd_1 for only one of samples 0 and 1: .* the same names",
        ),
        (lambda sample: {"depth": sample["dept"]}, "no task 'dept' here; found: rgb"),
    ],
)
def test_a_wrong_transform_is_named_with_what_it_gave(gaps: Path, given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(dsc.stream(gaps, "rgb", 2, transform=given))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [KeyError, ConnectionError, EOFError, ValueError])
def test_an_error_of_a_transform_is_its_own(
    gaps: Path, kind: type[Exception], workers: int
) -> None:
    def fails(sample: dict[str, Any]) -> dict[str, Any]:
        raise kind("of the transform")

    stream = dsc.stream(gaps, "rgb", 2, transform=fails, on_error="skip", workers=workers)
    with pytest.raises(kind, match="of the transform") as caught:
        list(stream)
    assert not isinstance(caught.value, dsc.DscError)
    stream.close()


@pytest.mark.parametrize("kind", [KeyError, ImportError])
def test_a_fault_of_a_codec_is_no_damage(
    views: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    from dsc._codecs.classical.jpeg import JpegCodec

    def fails(*_: Any) -> Any:
        raise kind("of the codec")

    monkeypatch.setattr(JpegCodec, "decode_task_to", fails)
    for reading in (dsc.stream(views, "rgb", 2, on_error="skip"), dsc.open(views, "rgb")):
        with pytest.raises(kind, match="of the codec") as caught:
            list(reading)
        assert not isinstance(caught.value, dsc.DscError)


# ---- options that would do nothing


@pytest.mark.parametrize("options", [{"window": 8}, {"lanes": 2}])
def test_an_option_of_shuffling_is_refused_without(gaps: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"without shuffle=True.*give shuffle=True, or leave"):
        dsc.stream(gaps, "rgb", 2, **options)
    assert sorted(indices(dsc.stream(gaps, "rgb", 2, shuffle=True, **options))) == [0, 1, 2, 3, 5]


# ---- dtypes


def rows(task: Task, *arrays: Any) -> list[dict[str, Any]]:
    return [{task.name: array, INDEX: index} for index, array in enumerate(arrays)]


WIDER = {"uint16": torch.int32, "uint32": torch.int64, "uint64": torch.int64}


ONE_DTYPE = (  # or floats
    "depth", "normal", "text", "json", "bytes", "time", "feature", "embedding",
)  # fmt: skip


@pytest.mark.parametrize("kind", [k for k in TaskKind if k not in ONE_DTYPE])
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("listed", [False, True])
def test_every_dtype_reaches_torch_in_one_that_computes(
    kind: TaskKind, dtype: str, listed: bool
) -> None:
    kinds = {
        TaskKind.CLASS: (0, ()), TaskKind.SCALAR: (0, ()), TaskKind.VECTOR: (5, (5,)),
        TaskKind.FLOW: (2, (4, 6, 2)),
    }  # fmt: skip
    channels, shape = kinds.get(kind, (1, (4, 6)))
    axes: Any = {"shape": shape, "channels": 24} if kind is TaskKind.MATRIX else {}
    task = Task(**{"name": "t", "kind": kind, "dtype": dtype, "channels": channels} | axes)
    info: Any = np.iinfo(dtype) if "int" in dtype else np.finfo(dtype)
    top = min(int(info.max), np.iinfo(np.int64).max) if "int" in dtype else info.max
    arrays = [np.full(shape, value, dtype) for value in (0, top)]
    lists = frozenset({"t"} if listed else ())
    found = to_tensors(collate(rows(task, *arrays), {"t": task}, lists), lists)["t"]
    for tensor, array in zip(found, arrays, strict=True):
        wanted = array.transpose(2, 0, 1) if kind is TaskKind.FLOW else array
        assert tensor.shape == wanted.shape
        assert tensor.dtype == WIDER.get(dtype, getattr(torch, dtype))
        np.testing.assert_array_equal(tensor.numpy(), wanted)
        assert (tensor > 3).any() == (array > 3).any()
        assert torch.where(tensor == 0, 1, tensor).max() == max(array.max(), 1)


def test_what_int64_does_not_hold_is_refused() -> None:
    task = Task(name="ids", kind=TaskKind.LABEL, dtype="uint64")
    with pytest.raises(UsageError, match="ids: 18446744073709551615 is more than int64 holds"):
        collate(rows(task, np.full((2, 2), np.iinfo(np.uint64).max)), {"ids": task})


def test_what_a_transform_gives_may_be_of_any_numpy_kind() -> None:
    given = {
        "big": np.arange(4, dtype=">u2"), "flipped": np.arange(4.0)[::-1], "text": np.str_("a"),
        "texts": np.array(["a", "b"]), "number": np.uint16(7), "mask": np.array([True, False]),
        "objects": np.array([None, 1], object), "half": 0.5, "double": np.float64(0.5), INDEX: 0,
    }  # fmt: skip
    batch = to_tensors(collate([given, given | {INDEX: 1}], {}))
    assert batch["big"].tolist() == [[0, 1, 2, 3]] * 2
    assert batch["big"].dtype == torch.int32
    assert batch["flipped"].tolist() == [[3, 2, 1, 0]] * 2
    assert batch["number"].dtype == torch.int32
    assert batch["mask"].dtype == torch.bool
    assert (batch["half"].dtype, batch["double"].dtype) == (torch.float32, torch.float64)
    assert batch["text"] == ["a", "a"]
    assert [list(one) for one in batch["texts"]] == [["a", "b"]] * 2
    assert batch["objects"][0][0] is None
