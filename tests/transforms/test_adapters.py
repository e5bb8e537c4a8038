"""Foreign transforms move all tasks together, by one draw, and what they say stays true."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dsc
from dsc._transforms.coordinates import Reading, coordinates
from dsc.errors import UsageError
from dsc.transforms import Albumentations, Compose, Meaning, Seeded, Torchvision, generator
from tests.transforms.scenes import (
    MEANING,
    check_camera,
    check_together,
    scene,
    turn_of,
    well_inside,
)

UNTURNED = Meaning(kinds=MEANING.kinds)


def torchvision(name: str) -> Any:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    smooth = v2.InterpolationMode.BILINEAR
    return {
        "crop": lambda: v2.RandomCrop((20, 30)),
        "mirror": lambda: v2.RandomHorizontalFlip(1.0),
        "upside down": lambda: v2.RandomVerticalFlip(1.0),
        "resize": lambda: v2.Resize((30, 28), antialias=False),
        "larger": lambda: v2.Resize((80, 84)),
        "resized crop": lambda: v2.RandomResizedCrop((30, 24), scale=(0.2, 0.9), antialias=False),
        "turn": lambda: v2.RandomRotation(180, smooth),
        "expand": lambda: v2.RandomRotation((30, 60), smooth, expand=True),
        "affine": lambda: v2.RandomAffine(20, (0.1, 0.1), (0.7, 1.2), 10, smooth),
        "pad": lambda: v2.Pad((3, 4, 5, 6)),
        "all": lambda: v2.Compose([v2.RandomResizedCrop((30, 40)), v2.RandomHorizontalFlip(),
                                   v2.RandomApply([v2.GaussianBlur(3)]), v2.Pad(2)]),
    }[name]()  # fmt: skip


def albumentations(name: str) -> Any:
    A = pytest.importorskip("albumentations")  # noqa: N806 - its own habit
    return {
        "crop": lambda: A.RandomCrop(20, 30),
        "mirror": lambda: A.HorizontalFlip(p=1),
        "upside down": lambda: A.VerticalFlip(p=1),
        "resize": lambda: A.Resize(30, 28),
        "larger": lambda: A.Resize(80, 84),
        "resized crop": lambda: A.RandomResizedCrop((30, 24), scale=(0.2, 0.9)),
        "turn": lambda: A.Compose([A.Rotate(180, p=1)]),
        "expand": lambda: A.Affine(rotate=(30, 60), fit_output=True, p=1),
        "affine": lambda: A.Affine(scale=(0.7, 1.2), rotate=20, shear=10, p=1),
        "pad": lambda: A.Pad((3, 4, 5, 6)),
        "all": lambda: A.Compose([A.RandomResizedCrop((30, 40)), A.HorizontalFlip(), A.D4(),
                                  A.GaussianBlur(), A.PadIfNeeded(50, 50, border_mode=0)]),
    }[name]()  # fmt: skip


NAMES = ("crop", "mirror", "upside down", "resize", "larger", "resized crop", "turn", "expand",
         "affine", "pad", "all")  # fmt: skip
EXACT = ("crop", "mirror", "upside down", "pad")
MAKERS = {
    "torchvision": (Torchvision, torchvision),
    "albumentations": (Albumentations, albumentations),
}


@pytest.mark.parametrize("library", MAKERS)
@pytest.mark.parametrize("name", NAMES)
def test_camera_normals_and_pixels_stay_true(library: str, name: str) -> None:
    adapter, make = MAKERS[library]
    transform = adapter(make(name), meaning=MEANING)
    old = scene()
    for seed in range(4):
        new = transform(old, generator(seed, 0, 7))
        assert new["rgb"].shape[:2] == new["depth"].shape == new["segment"].shape
        check_together(new, old)
        if name != "all":
            check_camera(new, 0.0, 1e-3 if name in EXACT else 0.1)
    for key, value in scene().items():
        np.testing.assert_array_equal(old[key], value)


@pytest.mark.parametrize("library", MAKERS)
def test_images_and_maps_show_the_same_place(library: str) -> None:
    """The image is a ramp: interpolated, it is at most half a pixel from the picked map's."""
    adapter, make = MAKERS[library]
    ramp = np.stack(np.mgrid[:40, :56], axis=-1).astype(np.float32)
    old = scene() | {"ray": np.append(ramp, np.zeros((40, 56, 1), np.float32), axis=2)}
    for name in ("resize", "larger", "resized crop", "turn"):
        new = adapter(make(name), meaning=MEANING)(old, generator(3, 0, 7))
        inside = (slice(4, -4), slice(4, -4))
        seen = well_inside(new)[inside]
        off = np.abs(new["ray"][..., :2] - new["place"])[inside][seen]
        # half a pixel, and what one new pixel covers of old ones is averaged
        assert off.max() < 1.05, name
        assert off.mean() < 0.4, name


@pytest.mark.parametrize("library", MAKERS)
def test_draws_are_the_samples_own(library: str) -> None:
    adapter, make = MAKERS[library]
    transform = adapter(make("all"), meaning=MEANING)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    one, two, other = (transform(scene(), generator(0, e, 7))["place"] for e in (0, 0, 1))
    again = pickle.loads(pickle.dumps(transform))(scene(), generator(0, 0, 7))["place"]
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, again)
    assert one.shape != other.shape or (one != other).any()
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]
    np.testing.assert_array_equal(before[2], after[2])


def test_colours_leave_maps_alone() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    A = pytest.importorskip("albumentations")  # noqa: N806
    meaning = Meaning(kinds={"ray": "array", "place": "array"})
    colours = v2.Compose(
        [v2.ColorJitter(0.5, 0.5, 0.5, 0.2), v2.ToDtype(torch.float32, scale=True)]
    )
    old = scene()
    for transform in (
        Torchvision(colours, meaning=meaning),
        Albumentations(A.ColorJitter(p=1), meaning=meaning),
    ):
        new = transform(old, generator(0, 0, 0))
        assert new["rgb"].shape == old["rgb"].shape
        assert (new["rgb"] != old["rgb"]).any()
        for name in old.keys() - {"rgb"}:
            assert new[name] is old[name]
    assert new["rgb"].dtype == np.uint8


@pytest.mark.parametrize("library", MAKERS)
def test_what_bends_moves_labels_and_depth_and_is_refused_for_normals(library: str) -> None:
    if library == "torchvision":
        v2 = pytest.importorskip("torchvision.transforms.v2")
        bent: Any = Torchvision(v2.ElasticTransform(40.0, 4.0), meaning=UNTURNED)
        perspective: Any = Torchvision(v2.RandomPerspective(0.6, p=1), meaning=UNTURNED)
    else:
        A = pytest.importorskip("albumentations")  # noqa: N806
        bent = Albumentations(A.ElasticTransform(30, 4, p=1), meaning=UNTURNED)
        perspective = Albumentations(A.Perspective((0.2, 0.3), p=1), meaning=UNTURNED)
    whole = scene()
    kept = ("rgb", "depth", "segment", "place", "caption", "class", "__index__")
    plain = type(whole).of({name: whole[name] for name in kept}, whole.tasks)
    for transform in (bent, perspective):
        new = transform(plain, generator(0, 0, 7))
        y, x = new["place"][..., 0], new["place"][..., 1]
        seen = ~np.isnan(new["depth"])
        assert seen.sum() > 400
        np.testing.assert_array_equal(new["depth"][seen], plain["depth"][y, x][seen])
        with pytest.raises(UsageError, match=r"sample 7: .*no one linear map.*normal, along_x"):
            transform(whole, generator(0, 0, 7))


def test_turned_normals_need_to_say_where_up_is() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    turn = v2.RandomRotation((90, 90))
    with pytest.raises(UsageError, match="turns normals: say Meaning"):
        Torchvision(turn, meaning=UNTURNED)(scene(40, 40), generator(0, 0, 0))
    down = Torchvision(turn, meaning=MEANING)(scene(40, 40), generator(0, 0, 0))
    up = Meaning(kinds=MEANING.kinds, normals_y="up")
    upward = Torchvision(turn, meaning=up)(scene(40, 40), generator(0, 0, 0))
    np.testing.assert_allclose(turn_of(down), -turn_of(upward), atol=1e-6)
    check_camera(down, off=0.1)


def test_reflected_borders_are_no_linear_map() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    pad = Torchvision(v2.Pad(6, padding_mode="reflect"), meaning=UNTURNED)
    with pytest.raises(UsageError, match="reflects at a border"):
        pad(scene(), generator(0, 0, 0))


def test_a_transform_that_gives_something_else_is_refused() -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(UsageError, match="gave list for a dict of rgb, ray, __coordinates__"):
        Torchvision(list, meaning=MEANING)(scene(), generator(0, 0, 0))
    with pytest.raises(UsageError, match="gave rgb for a dict"):
        Torchvision(lambda given: {"rgb": given["rgb"]}, meaning=MEANING)(
            scene(), generator(0, 0, 0)
        )


@pytest.mark.parametrize("library", MAKERS)
def test_samples_without_images_move_too(library: str) -> None:
    adapter, make = MAKERS[library]
    whole = scene()
    only = type(whole).of({"depth": whole["depth"], "segment": whole["segment"]}, whole.tasks)
    new = adapter(make("resized crop"))(only, generator(0, 0, 0))
    assert new["depth"].shape == new["segment"].shape == (30, 24)


def test_holes_are_nothing() -> None:
    A = pytest.importorskip("albumentations")  # noqa: N806
    dropout = A.CoarseDropout((1, 1), (10, 10), (10, 10), fill=0, fill_mask=0, p=1)
    new = Albumentations(dropout, meaning=UNTURNED)(scene(), generator(0, 0, 0))
    assert (new["segment"] == 9).sum() == 100
    assert np.isnan(new["depth"][new["segment"] == 9]).all()


def test_a_crop_is_read_exactly() -> None:
    grid = coordinates(480, 640)
    for box in ((slice(7, 400), slice(13, 600)), (slice(None, None, -1), slice(100, 103))):
        reading = Reading.of(grid[box], 480, 640)
        assert reading.matrix is not None
        assert (reading.matrix == np.rint(reading.matrix)).all()
    assert Reading.of(grid[:1, :50], 480, 640).matrix is None


def rolled(sample: Any) -> Any:
    shift = random.randrange(50) + np.random.randint(50) + int(torch.randint(50, ()))
    return {"rgb": np.roll(sample["rgb"], shift, axis=1), "shift": shift}


def test_global_generators_are_seeded_by_sample(tmp_path: Path) -> None:
    dsc.compress("taskonomy", tmp_path / "a", sample=8, tasks="rgb", size=32, codec="rgb=jpeg")

    def shifts(**options: Any) -> dict[int, int]:
        stream = dsc.stream(tmp_path / "a", None, 3, transform=Seeded(rolled), **options)
        found = {}
        for batch in stream:
            found |= dict(zip(batch["__index__"].tolist(), batch["shift"].tolist(), strict=True))
        return found

    wanted = shifts()
    assert len(set(wanted.values())) > 4
    random.seed(1)
    assert shifts() == shifts(workers=2) == shifts(shuffle=True, workers=1) == wanted


@pytest.mark.parametrize("library", MAKERS)
def test_a_stream_draws_the_same_with_workers(library: str, tmp_path: Path) -> None:
    adapter, make = MAKERS[library]
    dsc.compress("taskonomy", tmp_path / "a", sample=6, tasks="rgb,depth,normals", size=48)
    transform = Compose([adapter(make("mirror")), adapter(make("resized crop"))])
    order: dict[str, Any] = {"batch_size": 3, "shuffle": True, "transform": transform}
    one, two = (list(dsc.stream(tmp_path / "a", workers=n, **order)) for n in (0, 2))
    for ours, theirs in zip(one, two, strict=True):
        assert ours["depth"].shape == (3, 30, 24)
        for name, value in ours.items():
            np.testing.assert_array_equal(value.numpy(), theirs[name].numpy())
