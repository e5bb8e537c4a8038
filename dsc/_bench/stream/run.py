"""``dsc bench stream``: measures part by part, and writes tables, plots and JSON.

Every part goes to ``parts.jsonl`` as soon as it is there, under a hash of what decides it (sizes,
machine, library versions, the code that is measured). Running again measures only what is missing;
rows that are compared with each other are always of one part, and so of one run.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dsc
from dsc._bench.environment import environment, package_version
from dsc._bench.store import Store
from dsc._bench.stream.faults import measure_faults
from dsc._bench.stream.rivals import PACKAGES
from dsc._bench.stream.scale import measure_scale
from dsc._bench.stream.sizes import Sizes
from dsc._bench.stream.speed import measure_gpu, measure_speed, pixel_entries, raw_entries
from dsc._bench.stream.traffic import measure_traffic
from dsc._bench.stream.workshop import Workshop
from dsc._storage.files.writable import check_folder
from dsc.errors import UsageError

PARTS = "parts.jsonl"
NAMES = ("traffic", "speed", "gpu", "scale", "faults")
MEASURED = ("pipeline/streaming", "pipeline/bench/stream", "storage", "codecs")
NEEDED = {"matplotlib": "matplotlib", "PIL": "pillow"}
BenchProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class StreamResult:
    """What was found.

    Attributes
    ----------
    parts
        Results by name of the part, in JSON.
    sizes
        How much was measured.
    environment
        Machine and versions.
    files
        What was written.
    """

    parts: Mapping[str, Any]
    sizes: Sizes
    environment: Mapping[str, Any]
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but the names of files."""
        return {
            "version": 1,
            "environment": dict(self.environment),
            "sizes": self.sizes.to_json(),
            "parts": dict(self.parts),
        }


def run_stream(
    sizes: Sizes,
    out: Path,
    only: Sequence[str] = NAMES,
    fresh: bool = False,
    progress: BenchProgress = lambda done, total: None,
    note: Callable[[str], None] = print,
) -> StreamResult:
    """Measure, and write ``stream.md``, ``stream.json`` and plots.

    Parameters
    ----------
    sizes
        How much is measured.
    out
        Directory for all of it, and for the views.
    only
        Which parts: of `NAMES`.
    fresh
        Whether earlier results are thrown away.
    progress
        Called with (done, total) parts.
    note
        Called with a line for people.

    Raises
    ------
    UsageError
        When a part is not known, or a package that is needed is not installed.
    """
    _check(only)
    check_folder(out, f"--out {out}")
    for line in rivals_missing():
        note(line)
    where = stream_environment()
    shop = Workshop(out, sizes, min(os.cpu_count() or 1, 8))
    makers = _makers(shop, only)
    store = Store(out / PARTS, fresh)
    code = code_hash()
    parts: dict[str, Any] = {}
    try:
        for name, make in makers.items():
            progress(len(parts), len(makers))
            identity = {
                "part": name,
                "sizes": sizes.to_json(),
                "environment": {k: v for k, v in where.items() if k != "load"},
                "code": code,
            }
            parts[name] = store.get_or_make(identity, make)
        progress(len(parts), len(makers))
    finally:
        shop.close()
    return _write(parts, sizes, where, out)


def _makers(shop: Workshop, only: Sequence[str]) -> dict[str, Callable[[], dict[str, Any]]]:
    """List the parts in order, with what measures them."""
    workers = max(min(os.cpu_count() or 1, 16), 1)
    raw, pixels = raw_entries(), {d: pixel_entries(d) for d in (False, True)}
    speed = {
        "raw": partial(measure_speed, shop, raw, raw[1].name),
        "rgb": partial(measure_speed, shop, pixels[False], pixels[False][0].name),
        "rgb+depth": partial(measure_speed, shop, pixels[True], pixels[True][0].name),
    }
    every: dict[str, dict[str, Callable[[], dict[str, Any]]]] = {
        "traffic": {"traffic": partial(measure_traffic, shop)},
        "speed": dict(speed),
        "gpu": {"gpu": partial(measure_gpu, shop, workers)},
        "scale": {f"scale-{n}": partial(measure_scale, shop, n) for n in shop.sizes.scale},
        "faults": {"faults": partial(measure_faults, shop)},
    }
    return {name: make for group in NAMES if group in only for name, make in every[group].items()}


def _check(only: Sequence[str]) -> None:
    unknown = [name for name in only if name not in NAMES]
    if unknown or not only:
        raise UsageError(f"parts {', '.join(unknown) or 'none'}: known are {', '.join(NAMES)}")
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"dsc bench stream needs {', '.join(missing)}; pip install {' '.join(missing)}"
        )


def rivals_missing() -> list[str]:
    """Say which libraries are left out because they are not installed."""
    absent = [package for package in PACKAGES.values() if package_version(package) is None]
    if not absent:
        return []
    return [
        f"left out, because not installed: {', '.join(absent)} (pip install {' '.join(absent)})"
    ]


def stream_environment() -> dict[str, Any]:
    """Say in JSON which machine and libraries this is, and how busy."""
    names = ("imagecodecs", "pillow", "fsspec", "aiohttp", "torchvision", *PACKAGES.values())
    found = environment()
    versions = {name: found["versions"].get(name) for name in ("dsc", "torch", "numpy", "dav1d")}
    versions |= {name: package_version(name) for name in names if name != "dsc"}
    return found | {"versions": versions, "load": os.getloadavg()[0]}


def code_hash() -> str:
    """Hash the code that is measured and that measures."""
    root, digest = Path(dsc.__file__).parent, hashlib.sha256()
    for folder in MEASURED:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _write(
    parts: Mapping[str, Any], sizes: Sizes, where: Mapping[str, Any], out: Path
) -> StreamResult:
    from dsc._bench.stream.plots import draw_all
    from dsc._bench.stream.tables import markdown

    out.mkdir(parents=True, exist_ok=True)
    result = StreamResult(parts, sizes, where)
    (out / "stream.json").write_text(json.dumps(result.to_json(), indent=1), encoding="utf-8")
    text = markdown(parts, sizes.to_json(), where)
    (out / "stream.md").write_text(text, encoding="utf-8")
    files = (out / "stream.md", out / "stream.json", *draw_all(parts, out))
    return StreamResult(parts, sizes, where, files)
