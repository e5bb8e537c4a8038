"""What a batch holds: the same values as `dsc.open`, in a trainer's shapes; policies; mixtures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dsc
from dsc.errors import MissingTaskError, UnknownTaskError, UsageError
from tests.archives import build_archive


def indices(stream: Any) -> list[int]:
    return [index for batch in stream for index in batch["__index__"].tolist()]


def test_a_batch_holds_what_open_gives_in_a_trainers_shapes(views: Path) -> None:
    opened = dsc.open(views)
    seen = 0
    for batch in dsc.stream(views, batch_size=5, shuffle=True):
        assert batch["rgb"].dtype == torch.uint8
        assert batch["rgb"].shape[1:] == (3, 64, 64)
        assert batch["rgb"].is_contiguous(memory_format=torch.channels_last)
        assert batch["depth"].dtype == torch.float32
        for at, index in enumerate(batch["__index__"].tolist()):
            sample = opened[index]
            rgb = batch["rgb"][at].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(rgb, sample["rgb"])
            np.testing.assert_array_equal(batch["depth"][at].numpy(), sample["depth"])
            label = batch["segment_semantic"][at].numpy()
            np.testing.assert_array_equal(label, sample["segment_semantic"])
            seen += 1
    assert seen == len(opened)


@pytest.mark.parametrize("workers", [0, 1])
def test_arrays_are_those_of_open_stacked(views: Path, workers: int) -> None:
    opened = dsc.open(views)
    stream = dsc.stream(views, batch_size=5, shuffle=True, output="numpy", workers=workers)
    seen = 0
    for batch in stream:
        assert all(type(value) is np.ndarray for value in batch.values())
        for at, index in enumerate(batch["__index__"].tolist()):
            for name, array in opened[index].items():
                assert batch[name].dtype == array.dtype
                np.testing.assert_array_equal(batch[name][at], array)
            seen += 1
    assert seen == len(opened)
    native = next(iter(dsc.stream(views, "depth", 4, native=True, output="numpy")))["depth"]
    assert native.dtype == np.uint16
    (place,) = next(iter(dsc.stream(views, "depth", 1, decode="bytes", output="numpy")))[
        "__index__"
    ]
    assert place == 0


def test_what_a_transform_gives_as_tensors_comes_as_arrays(views: Path) -> None:
    def half(sample: dict[str, Any]) -> dict[str, Any]:
        return {"rgb": torch.from_numpy(sample["rgb"][::2]), "mean": float(sample["rgb"].mean())}

    batch = next(iter(dsc.stream(views, "rgb", 3, transform=half, output="numpy")))
    assert (type(batch["rgb"]), batch["rgb"].shape) == (np.ndarray, (3, 32, 64, 3))
    assert batch["mean"].dtype == np.float64


def test_native_gives_the_integers_of_the_source(views: Path) -> None:
    batch = next(iter(dsc.stream(views, "depth", 4, native=True)))
    assert batch["depth"].dtype == torch.uint16
    wanted = dsc.open(views, "depth", native=True)[3]["depth"]
    np.testing.assert_array_equal(batch["depth"][3].numpy(), wanted)


def test_bytes_are_the_bitstreams(views: Path) -> None:
    payloads = dsc.open(views, "rgb").payloads(range(12))
    for batch in dsc.stream(views, "rgb", 5, decode="bytes", shuffle=True):
        assert set(batch) == {"rgb", "__index__"}
        for index, data in zip(batch["__index__"].tolist(), batch["rgb"], strict=True):
            assert data == payloads[index]["rgb"]


def test_latents_are_those_that_the_codec_unpacks(learned_views: Path) -> None:
    codec: Any = dsc.load_codec(learned_views, ["rgb", "depth"])
    payloads = dsc.open(learned_views, "rgb,depth").payloads(range(6))
    batch = next(iter(dsc.stream(learned_views, None, 4, decode="latents", shuffle=True)))
    for at, index in enumerate(batch["__index__"].tolist()):
        streams = {name: bytes(data) for name, data in payloads[index].items() if data is not None}
        wanted = codec.unpack_latents(streams, ["rgb", "depth_zbuffer"], 64 * 64)
        for name, latent in wanted.streams.items():
            found = batch["latents"].streams[name]
            np.testing.assert_array_equal(found.symbols[at].numpy(), latent.symbols)
            np.testing.assert_array_equal(found.mean[at].numpy(), latent.mean)
    assert batch["segment_semantic"].shape == (4, 64, 64)  # it has no latents, so it is decoded


def test_synthesis_on_a_device_gives_what_decoding_gives(learned_views: Path) -> None:
    plain = {int(i): at for batch in dsc.stream(learned_views, None, 6)
             for at, i in enumerate(batch["__index__"])}  # fmt: skip
    wanted = next(iter(dsc.stream(learned_views, None, 6)))
    found = next(iter(dsc.stream(learned_views, None, 6, device="cpu", workers=1)))
    assert list(found) == list(wanted)
    assert list(plain) == found["__index__"].tolist()
    difference = (found["rgb"].int() - wanted["rgb"].int()).abs().max()
    assert int(difference) <= 1
    torch.testing.assert_close(found["depth"], wanted["depth"], rtol=2e-3, atol=2e-3)
    assert torch.equal(found["segment_semantic"], wanted["segment_semantic"])


def test_latents_of_a_classical_codec_are_refused_with_advice(views: Path) -> None:
    with pytest.raises(UsageError, match=r"jpeg.*--codec independent"):
        dsc.stream(views, "rgb", decode="latents")


def test_a_transform_sees_arrays_and_may_give_anything(views: Path) -> None:
    def crop(sample: dict[str, Any]) -> dict[str, Any]:
        return {
            "rgb": sample["rgb"][:32, :48],
            "mean_depth_m": float(np.nanmean(sample["depth_zbuffer"])),
            "name": f"view {sample['__index__']}",
            "__index__": sample["__index__"],
        }

    batch = next(iter(dsc.stream(views, "rgb,depth", 4, transform=crop)))
    assert batch["rgb"].shape == (4, 3, 32, 48)
    assert batch["mean_depth_m"].shape == (4,)
    assert batch["name"] == [f"view {index}" for index in batch["__index__"].tolist()]


@pytest.fixture(scope="module")
def holes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("holes") / "a"
    build_archive(root, 40, 16, 4)  # every seventh sample, from 3 on, has no depth
    return root


LACKING = set(range(3, 40, 7))


def test_a_missing_task_is_an_error_that_names_the_sample(holes: Path) -> None:
    with pytest.raises(MissingTaskError, match=r"sample view_00003 \(3\) has no depth"):
        indices(dsc.stream(holes, "rgb,depth", 4, decode="bytes"))


def test_missing_samples_are_no_part_of_an_epoch_when_skipped(holes: Path) -> None:
    stream = dsc.stream(holes, "rgb,depth", 4, decode="bytes", missing="skip", shuffle=True)
    assert stream.samples == 40 - len(LACKING)
    batches = [batch["__index__"].tolist() for batch in stream]
    assert sorted(i for batch in batches for i in batch) == sorted(set(range(40)) - LACKING)
    assert [len(batch) for batch in batches[:-1]] == [4] * (len(batches) - 1)
    assert indices(dsc.stream(holes, "rgb", 4, decode="bytes", missing="skip")) == [*range(40)]


def test_missing_tasks_come_as_none_when_asked_for(holes: Path) -> None:
    stream = dsc.stream(holes, "rgb,depth", 4, decode="bytes", missing="none")
    found = {
        index: data
        for batch in stream
        for index, data in zip(batch["__index__"].tolist(), batch["depth"], strict=True)
    }
    assert {index for index, data in found.items() if data is None} == LACKING


def test_maps_of_several_sizes_are_refused_or_listed(tmp_path: Path) -> None:
    from PIL import Image

    for at, side in enumerate((32, 48, 32)):
        (tmp_path / "in" / "rgb").mkdir(parents=True, exist_ok=True)
        pixels = np.full((side, side, 3), at * 40, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / "rgb" / f"{at}.png")
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "in", codec="rgb=png")
    with pytest.raises(UsageError, match=r"rgb: sample 1 is 48×48×3, sample 0 is 32×32×3; .*list"):
        next(iter(dsc.stream(tmp_path / "a", batch_size=3)))
    batch = next(iter(dsc.stream(tmp_path / "a", batch_size=3, mixed_sizes="list")))
    assert [tuple(image.shape) for image in batch["rgb"]] == [(3, 32, 32), (3, 48, 48), (3, 32, 32)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decode": "jpeg"}, "decode='jpeg': one of pixels, latents, bytes"),
        ({"batch_size": 0}, "batch_size=0: at least 1"),
        ({"rank": 3, "world": 2}, "rank=3, world=2"),
        ({"rank": 1}, "give both or neither"),
        ({"split": "test"}, "no split 'test'; found: train"),
        ({"prefetch": "much"}, "prefetch='much': write bytes or a size"),
        ({"workers": -1}, "workers=-1"),
        ({"missing": "ignore"}, "missing='ignore': one of error, skip, none"),
        ({"lanes": 0}, "lanes=0: at least 1"),
        ({"output": "jax"}, "output='jax': one of torch, numpy"),
        ({"output": "numpy", "device": "cpu"}, "device='cpu' gives tensors"),
        ({"output": "numpy", "decode": "latents"}, "decode='latents' gives tensors"),
    ],
)
def test_a_wrong_option_is_named_with_what_it_may_be(
    views: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        dsc.stream(views, "rgb", **options)


def test_a_task_that_is_not_there_is_an_error_that_lists_those_that_are(views: Path) -> None:
    with pytest.raises(UnknownTaskError, match="no task 'normals' here; found: rgb, depth_zbuffer"):
        dsc.stream(views, "normals")


@pytest.mark.parametrize("url", ["pipe:cat /etc/passwd", "reference://x", "zip://a::http://b/c"])
def test_urls_that_run_commands_are_refused(url: str) -> None:
    with pytest.raises(dsc.DscError, match="such URLs are not opened"):
        dsc.stream(url)


def test_archives_are_mixed_by_weight_without_repeats(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 64, 16, 4)
    build_archive(tmp_path / "b", 64, 16, 4)
    weights = {str(tmp_path / "a"): 3, str(tmp_path / "b"): 1}
    stream = dsc.stream(weights, "rgb", 8, decode="bytes", shuffle=True)
    payloads = [dsc.open(tmp_path / name, "rgb").payloads(range(64)) for name in "ab"]
    drawn: list[tuple[int, int]] = []
    for batch in stream:
        places = zip(batch["__archive__"].tolist(), batch["__index__"].tolist(), strict=True)
        for (archive, index), data in zip(places, batch["rgb"], strict=True):
            assert data == payloads[archive][index]["rgb"]
            drawn.append((archive, index))
    assert len(drawn) == 128
    from_b = [index for archive, index in drawn if archive == 1]
    assert len(set(from_b)) == len(from_b) == 32
    assert {index for archive, index in drawn[:96] if archive == 0} == set(range(64))


def test_a_mixture_goes_on_from_its_state(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 30, 16, 4)
    build_archive(tmp_path / "b", 20, 16, 4)
    weights = {tmp_path / "a": 0.5, tmp_path / "b": 0.5}
    whole = [(b["__archive__"].tolist(), b["__index__"].tolist()) for b in dsc.stream(
        weights, "rgb", 4, decode="bytes", shuffle=True)]  # fmt: skip
    begun = dsc.stream(weights, "rgb", 4, decode="bytes", shuffle=True)
    for _, _ in zip(range(5), begun, strict=False):
        pass
    other = dsc.stream(weights, "rgb", 4, decode="bytes", shuffle=True, seed=5)
    other.load_state_dict(begun.state_dict())
    rest = [(b["__archive__"].tolist(), b["__index__"].tolist()) for b in other]
    assert rest == whole[5:]


def test_archives_whose_tasks_differ_do_not_mix(views: Path, holes: Path) -> None:
    with pytest.raises(UsageError, match="does not mix with"):
        dsc.stream({views: 1, holes: 1}, "depth")
