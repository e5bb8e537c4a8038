"""A file that will not do is named before the first sample is coded, wherever it lies."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dsc._jobs.archive.compress import compress
from dsc.errors import SampleError

RNG = np.random.default_rng(3)
COUNT = 12
BAD = 7  # not one that is probed for evidence


def photo(height: int = 16, width: int = 24, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels)).astype(np.uint8)


def dataset(root: Path) -> Path:
    for at in range(COUNT):
        put(root / f"rgb/{at}.png", photo())
        put(root / f"depth/{at}.png", RNG.integers(500, 4000, (16, 24)).astype(np.uint16))
    return root


def put(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(array))


def pages(path: Path) -> None:
    path.unlink()
    frames = [Image.fromarray(photo()) for _ in range(3)]
    frames[0].save(path.with_suffix(".tif"), save_all=True, append_images=frames[1:])


def turned(path: Path) -> None:
    path.unlink()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photo()).save(path.with_suffix(".jpg"), exif=exif)


SPOILERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another size": (lambda p: put(p, photo(20, 24)), "differ in size"),
    "alpha": (lambda p: put(p, photo(channels=4)), "--alpha"),
    "16 bits": (lambda p: put(p, photo().astype(np.uint16)), "uint16 values"),
    "pages": (pages, "3 pages"),
    "lying on its side": (turned, "differ in size"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "not a picture": (lambda p: p.write_bytes(b"<html>404</html>"), "begins with"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:300]), "cut|incomplete|too early"),
}


@pytest.mark.parametrize("what", SPOILERS)
def test_one_bad_file_stops_the_call_before_work(what: str, tmp_path: Path) -> None:
    spoil, message = SPOILERS[what]
    root = dataset(tmp_path / "in")
    spoil(root / f"rgb/{BAD}.png")
    with pytest.raises(SampleError, match=rf"(?s)sample {BAD}.*({message})"):
        compress("folder", tmp_path / "out", root=root, codec="png")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.tar"))
    manifest = compress("folder", tmp_path / "out", root=root, codec="png", tasks="depth")
    assert manifest.splits == {"train": COUNT}


def test_skipped_samples_are_listed(tmp_path: Path) -> None:
    root = dataset(tmp_path / "in")
    put(root / f"rgb/{BAD}.png", photo(20, 24))
    manifest = compress("folder", tmp_path / "out", root=root, codec="png", on_error="skip")
    assert manifest.n_failed == 1


def test_gray_among_colours_is_no_fault(tmp_path: Path) -> None:
    root = dataset(tmp_path / "in")
    put(root / f"rgb/{BAD}.png", np.ascontiguousarray(photo()[..., 0]))
    assert compress("folder", tmp_path / "out", root=root, codec="png").n_failed == 0
