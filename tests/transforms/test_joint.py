"""All tasks of a sample move together, and what they say stays true."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dsc
from dsc._schemas import Task, TaskKind
from dsc._schemas.sample import Sample
from dsc.errors import UsageError
from dsc.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    HorizontalFlip,
    Meaning,
    Pad,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    VerticalFlip,
    generator,
)
from tests.transforms.scenes import MEANING, check_camera, check_together, scene

ALL = {
    "crop": [RandomCrop((20, 30))],
    "middle": [CenterCrop(24)],
    "mirror": [HorizontalFlip(1.0)],
    "upside down": [VerticalFlip(1.0)],
    "smaller": [Resize((20, 28))],
    "larger": [Resize((80, 70))],
    "shorter side": [Resize(30)],
    "resized crop": [RandomResizedCrop((24, 32), scale=(0.3, 0.9))],
    "pad": [Pad((64, 64), where="center"), CenterCrop((40, 50))],
    "all": [RandomResizedCrop((30, 40), scale=(0.5, 1)), HorizontalFlip(), VerticalFlip(),
            ColorJitter(0.3, 0.3, 0.3, 0.1), RandomCrop(24)],
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("center", [0.0, 0.5])
def test_camera_normals_and_pixels_stay_true(name: str, center: float) -> None:
    from dataclasses import replace

    old = scene(center=center)
    transform = Compose(ALL[name], meaning=replace(MEANING, pixel_center=center))
    for seed in range(4):
        new = transform(old, generator(seed, 0, 7))
        check_together(new, old)
        if name != "all":  # colours of rays
            exact = "crop" in name.split() or name in ("middle", "mirror", "upside down", "pad")
            exact = exact and "resized" not in name
            check_camera(new, center, 1e-3 if exact else 0.15)  # averages of areas lie beside
    for key, value in scene(center=center).items():
        np.testing.assert_array_equal(old[key], value)  # nothing was changed in place


@settings(max_examples=30, deadline=None)
@given(
    h=st.integers(8, 40), w=st.integers(8, 40), seed=st.integers(0, 1 << 40),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)), first=st.booleans(),
)  # fmt: skip
def test_any_size_moves_together(
    h: int, w: int, seed: int, size: tuple[int, int], first: bool
) -> None:
    old = scene(h, w)
    parts: list[Any] = [RandomResizedCrop(size), HorizontalFlip(), VerticalFlip(), Pad(size)]
    new = Compose(parts if first else parts[::-1], meaning=MEANING)(old, generator(seed, 0, 0))
    assert new["depth"].shape[0] >= size[0]
    check_together(new, old)


def test_disparity_and_flow_are_in_the_new_pixels() -> None:
    old = scene()
    small = Resize((20, 56), meaning=MEANING)(old)
    place = small["place"][..., 0], small["place"][..., 1]
    np.testing.assert_allclose(small["disparity"], old["disparity"][place])
    np.testing.assert_allclose(small["flow"], old["flow"][place] * [1, 0.5], rtol=1e-6)
    narrow = Resize((40, 28), meaning=MEANING)(old)
    place = narrow["place"][..., 0], narrow["place"][..., 1]
    np.testing.assert_allclose(narrow["disparity"], old["disparity"][place] / 2)
    mirrored = HorizontalFlip(1, meaning=MEANING)(old, generator(0, 0, 0))
    np.testing.assert_array_equal(mirrored["disparity"], old["disparity"][:, ::-1])
    np.testing.assert_array_equal(mirrored["flow"], old["flow"][:, ::-1] * [-1, 1])


def test_unknown_flow_stays_unknown_and_flow_in_counts_is_refused() -> None:
    task = Task(name="flow", kind=TaskKind.FLOW, dtype="float32", channels=2)
    flow = np.full((4, 6, 2), 1.6e9, np.float32)
    found = Resize((2, 3))(Sample.of({"flow": flow}, {"flow": task}))
    assert (found["flow"] >= 1e9).all()
    counts = Sample.of({"flow": np.zeros((4, 6, 3), np.uint16)}, {"flow": task})
    assert CenterCrop(2)(counts)["flow"].shape == (2, 2, 3)
    with pytest.raises(UsageError, match=r"flow is flow of uint16 .*leave=\['flow'\]"):
        Resize(2)(counts)


def native(name: str, kind: TaskKind, value: Any, invalid: tuple[int, ...] = ()) -> Sample:
    channels = 3 if value.ndim == 3 else 1
    task = Task(name=name, kind=kind, dtype=str(value.dtype), channels=channels, invalid=invalid)
    return Sample.of({name: value}, {name: task})


def test_native_values_are_made_right_too() -> None:
    rng = np.random.default_rng(0)
    normal = rng.integers(0, 256, (6, 8, 3), np.uint8)
    normal[2, 3] = 128
    found = HorizontalFlip(1)(native("n", TaskKind.NORMAL, normal, (128,)), rng)["n"]
    wanted = normal[:, ::-1].copy()
    wanted[..., 0] = 255 - wanted[..., 0]
    wanted[2, 4] = 128  # nothing measured
    np.testing.assert_array_equal(found, wanted)
    disparity = np.array([[0, 10], [30, 65535]], np.uint16)
    found = Resize((2, 4))(native("d", TaskKind.DISPARITY, disparity, (0,)))["d"]
    np.testing.assert_array_equal(found[:, ::2], [[0, 20], [60, 65535]])
    depth = Pad(3)(native("z", TaskKind.DEPTH, disparity, (7,)))["z"]
    assert depth[2, 2] == 7


@pytest.mark.parametrize(
    ("kind", "dtype", "invalid", "wanted"),
    [
        ("label", "uint8", (), 255), ("label", "uint16", (), 65535), ("label", "int32", (), -1),
        ("label", "uint8", (0,), 0), ("depth", "float32", (), np.nan), ("array", "int16", (), 0),
        ("image", "uint8", (), 0), ("normal", "float32", (5,), np.nan),
    ],
)  # fmt: skip
def test_what_is_added_is_nothing(kind: str, dtype: str, invalid: Any, wanted: float) -> None:
    value = np.ones((2, 2), dtype)
    found = Pad((2, 4))(native("v", TaskKind(kind), value, invalid))["v"]
    np.testing.assert_array_equal(found[:, 2:], np.full((2, 2), wanted, dtype))
    np.testing.assert_array_equal(found[:, :2], value)


def test_pad_to_a_multiple_and_with_a_colour() -> None:
    sample = native("rgb", TaskKind.IMAGE, np.zeros((5, 9, 3), np.uint8))
    found = Pad(multiple=4, fill=77)(sample)["rgb"]
    assert found.shape == (8, 12, 3)
    assert (found[5:] == 77).all()


def test_images_get_smaller_as_pillow_does_it() -> None:
    image = pytest.importorskip("PIL.Image")
    rgb = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    for size in ((12, 17), (80, 31), (37, 20), (1, 1)):
        found = Resize(size)(native("rgb", TaskKind.IMAGE, rgb))["rgb"]
        wanted = image.fromarray(rgb).resize(size[::-1], image.Resampling.BILINEAR)
        assert np.abs(found.astype(int) - np.asarray(wanted)).max() <= 1


def test_images_of_ids_take_the_nearest_pixel() -> None:
    task = Task(name="ids", kind=TaskKind.IMAGE, dtype="uint16", channels=1, exact=True)
    ids = np.random.default_rng(0).integers(0, 60000, (9, 9), np.uint16)
    sample = Sample.of({"ids": ids}, {"ids": task})
    assert set(Resize(20)(sample)["ids"].ravel()) <= set(ids.ravel())
    np.testing.assert_array_equal(ColorJitter(0.5)(sample, generator(0, 0, 0))["ids"], ids)


def test_maps_of_several_sizes_need_one_size() -> None:
    sample = scene() | {"depth": np.ones((20, 28), np.float32)}
    with pytest.raises(UsageError, match="sample 7: depth is 20×28 and rgb is 40×56; make them"):
        RandomCrop(8, meaning=MEANING)(sample, generator(0, 0, 0))
    made = Resize((20, 28), meaning=MEANING)(sample)
    assert made["rgb"].shape[:2] == made["depth"].shape == (20, 28)
    np.testing.assert_allclose(np.diag(made["intrinsics"]), [25, 31.25, 1])


def test_what_cannot_be_made_right_is_refused() -> None:
    rng = generator(0, 0, 0)
    old = scene()
    unknown = old | {"mask": np.zeros((40, 56), bool)}
    with pytest.raises(UsageError, match=r"mask: an array of 40×56 of no known kind.*'mask'"):
        HorizontalFlip(1, meaning=MEANING)(unknown, rng)
    posed = old | {"pose": np.eye(4)}
    with pytest.raises(UsageError, match=r"sample 7: pose has 4×4 numbers.*leave=\['pose'\]"):
        HorizontalFlip(1, meaning=MEANING)(posed, rng)
    assert RandomCrop(8, meaning=MEANING)(posed, rng)["pose"] is posed["pose"]
    left = Meaning(kinds=MEANING.kinds, leave=["pose"])
    assert HorizontalFlip(1, meaning=left)(posed, rng)["pose"] is posed["pose"]
    no_camera = old | {"intrinsics": np.arange(9.0).reshape(3, 3)}
    with pytest.raises(UsageError, match="sample 7: intrinsics is no matrix of intrinsics"):
        CenterCrop(8, meaning=MEANING)(no_camera)
    with pytest.raises(UsageError, match="RandomCrop: sample 7 is 40×56, less than 64×64: put Pad"):
        RandomCrop(64, meaning=MEANING)(old, rng)
    with pytest.raises(UsageError, match="CenterCrop: the sample has no map; it has caption"):
        CenterCrop(4)({"caption": "x"})


def test_intrinsics_by_other_names_and_as_vectors() -> None:
    sample = {"rgb": np.zeros((8, 8, 3), np.uint8), "lens": np.array([4, 5, 3.5, 3.5], np.float32)}
    meaning = Meaning(kinds={"rgb": "image"}, intrinsics=["lens"])
    found = Resize((4, 16), meaning=meaning)(sample)["lens"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [8, 2.5, 7.5, 1.5])
    whole = np.eye(4)
    whole[:3, :3] = [[4, 0, 3], [0, 5, 3], [0, 0, 1]]
    found = CenterCrop(4, meaning=meaning)({"rgb": sample["rgb"], "intrinsics": whole})
    np.testing.assert_allclose(found["intrinsics"][:2, 2], 1)
    color = {"rgb": sample["rgb"], "color_intrinsics": whole}
    found = CenterCrop(4, meaning=Meaning(kinds={"rgb": "image"}))(color)
    np.testing.assert_allclose(found["color_intrinsics"][:2, 2], 1)
    flat = {"rgb": sample["rgb"], "k": whole[:3, :3].ravel().astype(np.float32)}
    found = CenterCrop(4, meaning=meaning)(flat)["k"]  # as sources flatten them
    np.testing.assert_allclose(found, [4, 0, 1, 0, 5, 1, 0, 0, 1])
    mirror = HorizontalFlip(1, meaning=Meaning(kinds={"rgb": "image"}))
    with pytest.raises(UsageError, match="cam_pose has 7 numbers"):
        mirror(sample | {"cam_pose": np.zeros(7)}, generator(0, 0, 0))
    with pytest.raises(UsageError, match=r"lens is \(5,\): intrinsics are"):
        CenterCrop(4, meaning=meaning)({"rgb": sample["rgb"], "lens": np.zeros(5)})


def test_colours_change_and_nothing_else() -> None:
    old = scene()
    jitter = ColorJitter(
        0.4, 0.4, 0.4, 0.2, meaning=Meaning(kinds={"ray": "array", "place": "array"})
    )
    new = jitter(old, generator(1, 0, 0))
    assert (new["rgb"] != old["rgb"]).mean() > 0.9
    assert new["rgb"].dtype == np.uint8
    for name in old.keys() - {"rgb"}:
        assert new[name] is old[name]
    same = ColorJitter()(Sample.of({"rgb": old["rgb"]}, old.tasks), generator(1, 0, 0))
    np.testing.assert_array_equal(same["rgb"], old["rgb"])


def test_colours_are_torchvisions_up_to_what_is_cut_off() -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    import torch

    from dsc._transforms.color import jittered

    rgb = np.random.default_rng(0).integers(90, 160, (8, 9, 3), np.uint8)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    wanted = functional.adjust_brightness(tensor, 1.2)
    wanted = functional.adjust_contrast(wanted, 0.7)
    wanted = functional.adjust_saturation(wanted, 1.1).permute(1, 2, 0).numpy()
    found = jittered(rgb, 1.2, 0.7, 1.1, 0)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 3
    gray = jittered(rgb[..., 0], 1.2, 0.7, 5, 0.3)
    wanted = functional.adjust_contrast(functional.adjust_brightness(tensor[:1], 1.2), 0.7)
    assert np.abs(gray.astype(int) - wanted[0].numpy().astype(int)).max() <= 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), r"RandomCrop\(0\): height and width"),
        (lambda: CenterCrop((3, 4, 5)), r"CenterCrop\(\(3, 4, 5\)\)"),
        (lambda: Resize("8"), r"Resize\('8'\)"),
        (lambda: HorizontalFlip(2), "p=2: a probability"),
        (lambda: Pad(multiple=0), "multiple=0"),
        (lambda: ColorJitter(hue=0.6), "hue=0.6: 0 to 0.5"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 0.2)), r"scale=\(0.5, 0.2\)"),
        (lambda: Meaning(kinds={"a": "pose"}), "a='pose': one of image"),
        (lambda: Meaning(leave="pose"), "leave='pose': a list"),
        (lambda: Meaning(pixel_center=1), "pixel_center=1"),
        (lambda: Compose([3]), "3 is no transform"),
    ],
)
def test_wrong_words_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_compose_takes_functions_and_keeps_what_tasks_mean() -> None:
    def forget(sample: Any) -> dict[str, Any]:
        return {"depth": sample["depth"], "intrinsics": sample["intrinsics"]}

    transform = Compose([forget, RandomCrop(8)])
    new = transform(scene(), generator(0, 0, 0))
    assert new["depth"].shape == (8, 8)
    assert pickle.loads(pickle.dumps(Compose([RandomCrop(8)]))) == Compose([RandomCrop(8)])
    with pytest.raises(UsageError, match="gave ndarray: it must return a dict"):
        Compose([lambda sample: sample["depth"]])(scene(), generator(0, 0, 0))


def test_intrinsics_and_poses_of_an_archive(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    camera = np.array([[50, 0, 23.5], [0, 50, 15.5], [0, 0, 1]], np.float32)
    with h5py.File(tmp_path / "views.h5", "w") as file:
        file["rgb"] = rng.integers(0, 256, (3, 32, 48, 3), np.uint8)
        file["intrinsics"] = np.tile(camera, (3, 1, 1))
        file["pose"] = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    kinds = {"rgb": "image"}
    dsc.compress("hdf5", tmp_path / "a", root=tmp_path / "views.h5", kinds=kinds, codec="rgb=png")
    leave = Meaning(leave=["pose"])
    middle = Compose([CenterCrop((16, 24)), HorizontalFlip(1)], meaning=leave)
    batch = next(iter(dsc.stream(tmp_path / "a", None, 3, transform=middle)))
    found = batch["intrinsics"].reshape(3, 3, 3).numpy()
    np.testing.assert_allclose(found, np.tile([[50, 0, 11.5], [0, 50, 7.5], [0, 0, 1]], (3, 1, 1)))
    with pytest.raises(UsageError, match=r"HorizontalFlip: sample 0: pose has .* numbers"):
        next(iter(dsc.stream(tmp_path / "a", None, 3, transform=HorizontalFlip(1))))


def test_a_stream_crops_jointly(tmp_path: Path) -> None:
    dsc.compress("taskonomy", tmp_path / "a", sample=6, tasks="rgb,depth,normals", size=48)
    transform = Compose([RandomResizedCrop(32), HorizontalFlip(), ColorJitter(0.2)])
    order: dict[str, Any] = {"batch_size": 3, "shuffle": True, "transform": transform}
    one, two = (list(dsc.stream(tmp_path / "a", workers=n, **order)) for n in (0, 2))
    for ours, theirs in zip(one, two, strict=True):
        assert ours["rgb"].shape == (3, 3, 32, 32)
        for name, value in ours.items():
            np.testing.assert_array_equal(value.numpy(), theirs[name].numpy())
    sample = dsc.open(tmp_path / "a")[2]
    assert transform(sample, generator(0, 0, 2))["normals"].shape == (32, 32, 3)
