"""The whole way, on data sets nobody thought of: folder → archive → open → export.

Every lossless value comes back exactly, every lossy one near what it was, every key and name is
kept, and the sum of what is read, ignored and refused is everything that was there.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import dsc
from dsc._copies.export.run import export
from dsc._copies.export.target import MARK
from dsc._jobs.archive.compress import compress
from dsc._sources.registry import open_source
from dsc.errors import UsageError

Array = NDArray[Any]
HEIGHT, WIDTH = 16, 24
Make = Callable[[np.random.Generator], Array]


def smooth(rng: np.random.Generator, low: float, high: float) -> Array:
    """A tilted plane with some noise, (H, W) float64."""
    slope = rng.uniform(-1, 1, 2)
    plane = np.add.outer(np.linspace(0, slope[0], HEIGHT), np.linspace(0, slope[1], WIDTH))
    plane = (plane - plane.min()) / max(np.ptp(plane), 1e-6)
    return low + (high - low) * np.clip(plane + rng.normal(0, 0.005, plane.shape), 0, 1)


def photo(rng: np.random.Generator) -> Array:
    channels = [smooth(rng, 10, 240) for _ in range(3)]
    return (np.dstack(channels) + rng.integers(0, 8, (HEIGHT, WIDTH, 1))).astype(np.uint8)


def holes(array: Array, rng: np.random.Generator, value: float) -> Array:
    top, left = rng.integers(0, 8, 2)
    array[top : top + 5, left : left + 6] = value
    return array


def unit_vectors(rng: np.random.Generator) -> Array:
    vectors = np.dstack([smooth(rng, -0.6, 0.6), smooth(rng, -0.6, 0.6), np.ones((HEIGHT, WIDTH))])
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Kind:
    """One way to write a task, and what must come back.

    `near` compares what `dsc.open` gives with what was drawn; None where native arrays are equal.
    """

    ending: str
    make: Make
    near: Callable[[Array, Array], bool] | None = None
    options: dict[str, str] = field(default_factory=dict)


def near_depth(scale: float, nothing: Callable[[Array], Array]) -> Callable[[Array, Array], bool]:
    def near(found: Array, drawn: Array) -> bool:
        missing = nothing(drawn)
        same = bool((np.isnan(found) == missing).all())
        error = np.abs(found[~missing] / (drawn[~missing] * scale) - 1)
        return same and (not error.size or float(np.median(error)) < 0.05)

    return near


def near_normal(found: Array, drawn: Array) -> bool:
    missing = (drawn == drawn[..., :1]).all(-1)
    cosine = (found * (drawn.astype(float) - 127.5) / 127.5).sum(-1)[~missing]
    return bool((np.isnan(found).all(-1) == missing).all()) and float(np.median(cosine)) > 0.99


def near_picture(found: Array, drawn: Array) -> bool:
    drawn = drawn if drawn.ndim == found.ndim else np.repeat(drawn[..., None], 3, axis=2)
    return float(np.abs(found.astype(int) - drawn).mean()) < 12


def ids(dtype: str, top: int) -> Make:
    def make(rng: np.random.Generator) -> Array:
        return np.kron(rng.integers(0, top, (2, 3)), np.ones((8, 8), int)).astype(dtype)

    return make


KINDS: dict[str, list[Kind]] = {
    "rgb": [
        Kind(".png", photo, near_picture),
        Kind(".jpg", photo, near_picture),
        Kind(".ppm", photo, near_picture),
    ],
    "depth": [
        Kind(".png", lambda r: holes(smooth(r, 900, 4000), r, 0).astype(np.uint16),
             near_depth(0.001, lambda a: a == 0)),
        Kind(".png", lambda r: holes(smooth(r, 900, 4000), r, 65535).astype(np.uint16),
             near_depth(0.001, lambda a: a == 65535)),
        Kind(".npy", lambda r: holes(smooth(r, 0.9, 4), r, np.nan).astype(np.float32),
             near_depth(1, np.isnan)),
        Kind(".npy", lambda r: holes(smooth(r, 0.9, 4), r, -1).astype(">f8"),
             near_depth(1, lambda a: a < 0)),
        Kind(".npy", lambda r: np.asfortranarray(smooth(r, 900, 4000)).astype(np.int32),
             near_depth(0.001, lambda a: a == 0), {"depth_unit": "depth=mm"}),
        Kind(".pfm", lambda r: holes(smooth(r, 0.9, 4), r, np.inf).astype(np.float32),
             near_depth(1, np.isinf)),
        Kind(".npy", lambda r: smooth(r, 90, 400).astype(np.float16)[..., None],
             lambda f, d: near_depth(0.01, np.isnan)(f, d[..., 0]), {"file_unit": "depth=cm"}),
    ],
    "normals": [
        Kind(".png",
             lambda r: holes(np.rint(unit_vectors(r) * 127.5 + 127.5), r, 0).astype(np.uint8),
             near_normal),
        Kind(".png",
             lambda r: holes(np.rint(unit_vectors(r) * 127.5 + 127.5), r, 128).astype(np.uint8),
             near_normal),
    ],
    "gt": [
        Kind(".png", ids("uint8", 200)),
        Kind(".png", ids("uint16", 50000)),
        Kind(".npy", ids("int32", 1 << 20)),
        Kind(".npy", ids("uint32", 1 << 31)),
        Kind(".npy", ids("bool", 2)),
        Kind(".png", lambda r: np.dstack([ids("uint8", 255)(r) for _ in range(3)])),
    ],
    "disp": [
        Kind(".png", lambda r: holes(smooth(r, 500, 9000), r, 0).astype(np.uint16)),
        Kind(".pfm", lambda r: holes(smooth(r, 5, 90), r, np.inf).astype(np.float32)),
    ],
    "flow": [
        Kind(".npy", lambda r: r.normal(size=(HEIGHT, WIDTH, 2)).astype(np.float32)),
        Kind(".png", lambda r: r.integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)),
    ],
    "pose": [
        Kind(".txt", lambda r: r.normal(size=(4, 4))),
        Kind(".npy", lambda r: r.normal(size=(3, 4))),
    ],
    "confidence": [
        Kind(".npy", lambda r: r.random((HEIGHT, WIDTH)).astype(np.float16)),
        Kind(".png", ids("uint8", 3)),
    ],
}  # fmt: skip
STEMS = st.one_of(
    st.integers(0, 99999).map(str),
    st.integers(0, 99999).map("frame-{:06d}".format),
    st.from_regex(r"[0-9]{10}\.[0-9]{6}", fullmatch=True),
    st.text(
        st.characters(
            exclude_characters="/\0\\", exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cn")
        ),
        min_size=1,
        max_size=8,
    ),
)
LAYOUTS = ("{task}/{stem}{end}", "{task}/scene/{stem}{end}", "scene0/{task}/{stem}{end}",
           "train/{task}/{stem}{end}")  # fmt: skip
BESIDE = {
    "README.md": b"of the data set",
    ".DS_Store": b"\0",
    "__MACOSX/._1.png": b"\0",
    "rgb/Thumbs.db": b"\0",
    ".cache/1.png": b"hidden",
    "scene0/traj.dat": b"0 0 0",
    "notes.docx": b"PK",
}


@dataclass(frozen=True)
class Drawn:
    """A data set: kind by task, seeds and stems of samples, layout, and what lies beside."""

    kinds: dict[str, Kind]
    stems: list[str]
    layout: str
    beside: list[str]
    missing: frozenset[tuple[str, int]]
    seed: int

    def arrays(self) -> dict[tuple[str, int], Array]:
        rng = np.random.default_rng(self.seed)
        return {
            (task, at): kind.make(rng)
            for task, kind in self.kinds.items()
            for at in range(len(self.stems))
            if (task, at) not in self.missing
        }

    def path(self, task: str, at: int) -> str:
        return self.layout.format(task=task, stem=self.stems[at], end=self.kinds[task].ending)

    def options(self) -> dict[str, str]:
        return {n: v for kind in self.kinds.values() for n, v in kind.options.items()}


@st.composite
def datasets(draw: st.DrawFn) -> Drawn:
    tasks = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4, unique=True))
    tasks = sorted({"rgb", *tasks})
    stems = draw(st.lists(STEMS.filter(plain), min_size=1, max_size=3, unique_by=str.casefold))
    pairs = [(task, at) for task in tasks if task != "rgb" for at in range(1, len(stems))]
    return Drawn(
        {task: draw(st.sampled_from(KINDS[task])) for task in tasks},
        stems,
        draw(st.sampled_from(LAYOUTS)),
        draw(st.lists(st.sampled_from(sorted(BESIDE)), unique=True)),
        frozenset(draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []),
        draw(st.integers(0, 2**32)),
    )


def plain(stem: str) -> bool:
    """Leave out names that no file can have, or that walks pass over by rule."""
    usable = len(os.fsencode(stem)) < 200 and stem.strip(". ") == stem and stem
    return bool(usable) and not stem.startswith((".", "~")) and stem.lower() != "thumbs"


def write(root: Path, drawn: Drawn) -> dict[tuple[str, int], Array]:
    arrays = drawn.arrays()
    for (task, at), array in arrays.items():
        path = root / drawn.path(task, at)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file_of(array, path.suffix))
    for name in drawn.beside:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(BESIDE[name])
    return arrays


def file_of(array: Array, ending: str) -> bytes:
    if ending == ".npy":
        import io

        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()
    if ending == ".txt":
        return "\n".join(" ".join(map(repr, row)) for row in array.tolist()).encode()
    if ending == ".pfm":
        return b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + array[::-1].astype("<f4").tobytes()
    if ending == ".ppm":
        return b"P6\n%d %d\n255\n" % (WIDTH, HEIGHT) + array.tobytes()
    if ending == ".jpg":
        return bytes(imagecodecs.jpeg8_encode(array, level=95))
    return bytes(imagecodecs.png_encode(array))


@settings(
    deadline=None,
    max_examples=16,  # the same each time; more, at random, are for whoever looks for trouble
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(datasets())
def test_what_goes_in_comes_back(drawn: Drawn) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), drawn)


def check(folder: Path, drawn: Drawn) -> None:
    arrays = write(folder / "in", drawn)
    there = sum(len(names) for _, _, names in os.walk(folder / "in"))
    manifest = compress("folder", folder / "a", root=folder / "in", codec=None, **drawn.options())
    report = manifest.source_report
    assert report is not None
    read = sum(task.samples for task in report.tasks.values())
    assert read == len(arrays)
    assert read + sum(one.files for one in report.left_out) == there
    check_values(folder, drawn, arrays)
    check_names(folder, drawn, arrays)


def check_values(folder: Path, drawn: Drawn, arrays: dict[tuple[str, int], Array]) -> None:
    opened, native = dsc.open(folder / "a"), dsc.open(folder / "a", native=True)
    places = {opened.origin(index).name.rpartition("/")[2]: index for index in range(len(opened))}
    assert sorted(places) == sorted(drawn.stems)
    for task, kind in drawn.kinds.items():
        for at, stem in enumerate(drawn.stems):
            if (task, at) not in arrays:
                if any(name == task for name, _ in arrays):
                    assert opened[places[stem]][task] is None
                continue
            array = arrays[task, at]
            if kind.near is not None:
                assert kind.near(opened[places[stem]][task], array), (task, stem)
                continue
            found = native[places[stem]][task]
            np.testing.assert_array_equal(found, array.reshape(found.shape))


def check_names(folder: Path, drawn: Drawn, arrays: dict[tuple[str, int], Array]) -> None:
    export(folder / "a", None, folder / "out")
    wanted = {drawn.path(task, at).rpartition(".")[0] for task, at in arrays}
    found = {
        str(path.relative_to(folder / "out")).rpartition(".")[0]
        for path in (folder / "out").rglob("*")
        if path.is_file() and path.name != MARK
    }
    assert found == wanted


BROKEN = {
    "a format that is not read": ("depth/{stem}.zzz", b"\0\1\2"),
    "a picture that is not read": ("photos/{stem}.heic", b"\0ftypheic"),
    "a file of arrays that is not read": ("mats/{stem}.mat", b"MATLAB 5.0"),
}


@pytest.mark.parametrize(("what", "count"), zip(BROKEN, (1, 2, 3), strict=True))
def test_what_looks_like_a_task_and_cannot_be_read_stops_the_call(what: str, count: int) -> None:
    path, data = BROKEN[what]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "in")
        for at in range(count):
            for name, content in (
                (f"rgb/{at}.png", file_of(photo(np.random.default_rng(at)), ".png")),
                (path.format(stem=at), data),
            ):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
        task = path.partition("/")[0]
        with pytest.raises(UsageError, match=rf"(?s){task}.*--tasks rgb.*--ignore"):
            compress("folder", Path(folder, "a"), root=root)
        assert not Path(folder, "a").exists()
        for options in ({"tasks": "rgb"}, {"ignore": task}):
            manifest = compress("folder", Path(folder, "a"), root=root, overwrite=True, **options)
            assert [one.name for one in manifest.tasks] == ["rgb"]
            source = open_source("folder", str(root), **options)
            assert sum(one.files for one in source.report().left_out) == count
