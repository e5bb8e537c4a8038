"""Views: each picture's features are computed once, depend on it alone, and damage is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsc._backbones.extract import extract
from dsc._backbones.registry import load_backbone
from dsc._replay.learners.views import frozen
from dsc._replay.learners.views.base import PixelView
from dsc._replay.learners.views.frozen import FrozenView
from dsc.errors import CorruptArchiveError, UsageError
from tests.replay.class_pictures import make_pictures
from tests.replay.tiny_backbone import TINY, WIDTH, register

PICTURES = make_pictures(classes=3, per_class=4, side=12).images


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    register(monkeypatch)
    yield
    load_backbone.cache_clear()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pictures whose features were computed."""
    found: list[Any] = []

    def counted(extractor: Any, picture: Any) -> Any:
        found.append(picture)
        return extract(extractor, picture)

    monkeypatch.setattr(frozen, "extract", counted)
    return found


def test_pixels_are_shown_as_they_are() -> None:
    assert PixelView().of(PICTURES) is PICTURES


def test_a_row_is_what_the_backbone_says_of_the_whole_picture(tmp_path: Path) -> None:
    view = FrozenView(TINY, 16, tmp_path)
    assert view.extractor.preprocessing.crop == 1
    rows = view.of(PICTURES)
    assert rows.dtype == np.float32
    assert rows.shape == (12, WIDTH)
    for row, picture in zip(rows, PICTURES, strict=True):
        assert (row == extract(view.extractor, picture)).all()


def test_a_picture_is_computed_once_whatever_order_and_process_it_comes_in(
    tmp_path: Path, computed: list[Any]
) -> None:
    view = FrozenView(TINY, 16, tmp_path)
    twice = view.of(np.concatenate([PICTURES[:5], PICTURES[:5]]))
    assert len(computed) == 5
    rest = view.of(PICTURES[::-1])
    assert len(computed) == 12
    again = FrozenView(TINY, 16, tmp_path).of(PICTURES)
    assert len(computed) == 12
    assert (again == rest[::-1]).all()
    assert (again[:5] == twice[:5]).all()
    assert (again[:5] == twice[5:]).all()


def test_pictures_below_the_stride_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"images of 3 x 12 pixels.* below 4: .*--image-size 16"):
        FrozenView(TINY, 16, tmp_path).of(PICTURES[:, :, :3])


def test_what_another_process_adds_is_found(tmp_path: Path, computed: list[Any]) -> None:
    first, second = FrozenView(TINY, 16, tmp_path), FrozenView(TINY, 16, tmp_path)
    first.of(PICTURES[:2])
    second.of(PICTURES[:4])
    first.of(PICTURES[:4])
    assert len(computed) == 4


def test_feature_maps_are_kept_as_float16(tmp_path: Path) -> None:
    view = FrozenView(TINY, 16, tmp_path, "stem")
    rows = view.of(PICTURES[:3])
    assert rows.dtype == np.float16
    assert rows.shape == (3, 8, 4, 4)
    assert (rows[2] == extract(view.extractor, PICTURES[2]).astype(np.float16)).all()


def test_features_that_float16_does_not_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = FrozenView(TINY, 16, tmp_path, "stem")
    monkeypatch.setattr(frozen, "extract", lambda *_: np.full(view.shape, 1e5, np.float32))
    with pytest.raises(UsageError, match=r"tiny, stem, .*float16 does not hold"):
        view.of(PICTURES[:1])


def test_other_weights_sides_and_layers_never_meet(
    tmp_path: Path, computed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = FrozenView(TINY, 16, tmp_path).of(PICTURES[:2])
    larger = FrozenView(TINY, 20, tmp_path).of(PICTURES[:2])
    FrozenView(TINY, 16, tmp_path, "stem").of(PICTURES[:2])
    register(monkeypatch, "other_weights")
    other = FrozenView(TINY, 16, tmp_path).of(PICTURES[:2])
    assert len(computed) == 8
    assert not np.allclose(one, larger)
    assert not np.allclose(one, other)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("size", [-1, 200])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, size: int) -> None:
    FrozenView(TINY, 16, tmp_path).of(PICTURES)
    (path,) = tmp_path.rglob("*.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data[:size] if size > 0 else data)
    with pytest.raises(CorruptArchiveError, match=rf"{path.name}: damaged.*remove it"):
        FrozenView(TINY, 16, tmp_path).of(PICTURES)
    path.unlink()
    FrozenView(TINY, 16, tmp_path).of(PICTURES)
