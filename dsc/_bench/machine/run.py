"""``dsc bench machine``: measures point by point, and writes tables, plots and ``machine.json``.

Each point goes to ``points.jsonl`` as soon as it is there, and what the network saw to ``seen``,
both under hashes of what decides them, so that a run that was stopped goes on.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dsc._backbones.registry import load_backbone
from dsc._bench.environment import environment, package_version
from dsc._bench.machine.carriers import Carrier, Uncompressed, carriers_of
from dsc._bench.machine.classification import answers, compare
from dsc._bench.machine.datasets import (
    CLASSIFICATION,
    PROBES,
    TASKS,
    own_set,
    sets_of,
)
from dsc._bench.machine.dense import DENSE, DenseHeads
from dsc._bench.machine.heads import Schedule
from dsc._bench.machine.network import Network
from dsc._bench.machine.operations import network_mmac, reader_mmac
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.machine.plots import draw
from dsc._bench.machine.probes import embeddings_of, measure_probe
from dsc._bench.machine.seen import Seen, SeenCache
from dsc._bench.machine.tables import markdown
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._bench.store import Store
from dsc._sources.base import Source
from dsc._storage.files.writable import check_folder
from dsc._threads import single_thread
from dsc.errors import UsageError

POINTS, SEEN = "points.jsonl", "seen"
QUICK_QUALITIES = (15, 60)
QUICK_SCHEDULE = Schedule(epochs=12, batch=4)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MachineOptions:
    """What is measured.

    Attributes
    ----------
    tasks
        Of `TASKS`.
    codecs
        What pictures are stored by.
    data
        Folder of the staged sets.
    source
        A user's own data instead.
    qualities
        Of all codecs; None for each one's usual ones.
    samples
        Pictures of each part of a set at most; None for all.
    seeds
        How many heads are trained for each figure of a dense task.
    retrain
        Whether dense heads are trained again with what was stored.
    quick
        64 small rendered pictures, two qualities, short training.
    backbone, layer
        The network, and where in it features are stored; None for the last layer of stride 16.
    fresh
        Whether earlier results are thrown away.
    """

    tasks: Sequence[str]
    codecs: Sequence[ComparedCodec]
    data: Path
    source: Source | None = None
    qualities: Sequence[int] | None = None
    samples: int | None = None
    seeds: int = 1
    retrain: bool = True
    quick: bool = False
    backbone: str = "efficientnet-lite0"
    layer: str | None = None
    fresh: bool = False

    @property
    def schedule(self) -> Schedule:
        """How heads are trained."""
        return QUICK_SCHEDULE if self.quick else Schedule()

    @property
    def asked(self) -> Sequence[int] | None:
        """The qualities of all codecs."""
        return QUICK_QUALITIES if self.quick and not self.qualities else self.qualities


@dataclass(frozen=True)
class MachineResult:
    """What was found.

    Attributes
    ----------
    parts
        One a task and set: ``task``, ``data``, ``pictures``, ``operations``, ``rows``.
    environment
        Machine, versions, network.
    files
        What was written.
    """

    parts: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but the names of files."""
        return {"version": 1, "environment": dict(self.environment), "parts": list(self.parts)}


def check_tasks(names: Sequence[str]) -> None:
    """Refuse tasks that there are none of.

    Raises
    ------
    UsageError
        When one is unknown, or there is none.
    """
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise UsageError(f"--tasks: no {', '.join(unknown) or 'task'}; known: {', '.join(TASKS)}")


def run_machine(
    options: MachineOptions,
    out: Path,
    progress: Progress = lambda done, total: None,
    note: Callable[[str], None] = lambda line: None,
) -> MachineResult:
    """Measure what is not there yet, derive tables, write.

    Parameters
    ----------
    out
        Directory for ``machine.md``, ``machine.json``, plots, ``points.jsonl`` and ``seen``.
    progress
        Called with (done, total) points.
    note
        Called with a line for each task that is left out.

    Raises
    ------
    UsageError
        When a task, codec or layer is unknown, or no task has data.
    MissingPackageError
        When the backbone's package is not installed.
    """
    check_folder(out, f"--out {out}")
    check_tasks(options.tasks)
    network = Network(load_backbone(options.backbone), options.layer)
    carriers = carriers_of(options.codecs, network)
    if options.fresh:
        shutil.rmtree(out / SEEN, ignore_errors=True)
    store, cache = Store(out / POINTS, options.fresh), SeenCache(out / SEEN, network)
    with single_thread():
        benches = [
            _Bench(task, data, network, carriers, options, cache)
            for task, data in _sets(options, network, note)
        ]
        if not benches:
            raise UsageError(f"no data for {', '.join(options.tasks)}; say where with --data")
        parts = list(_measured(benches, store, progress))
    return _write(MachineResult(parts, _environment(network)), out)


def _measured(
    benches: Sequence["_Bench"], store: Store, progress: Progress
) -> Iterator[dict[str, Any]]:
    total = sum(bench.count for bench in benches)
    done = 0
    for bench in benches:
        rows: dict[str, dict[str, Any]] = {}
        for carrier, quality in bench.todo():
            point = store.get_or_make(
                bench.identity(carrier, quality),
                lambda c=carrier, q=quality: bench.point(c, q),  # type: ignore[misc]  # noqa: B023
            )
            row = rows.setdefault(carrier.name, {"name": carrier.name, "enters": carrier.enters})
            row.setdefault("points", []).append(point)
            done += 1
            progress(done, total)
        yield bench.described() | {"rows": list(rows.values())}


def _sets(
    options: MachineOptions, network: Network, note: Callable[[str], None]
) -> Iterator[tuple[str, PictureSet]]:
    for task in options.tasks:
        if task == CLASSIFICATION and not network.classifies:
            note(f"{task}: {network.backbone.name} has no classifier, left out")
            continue
        try:
            found = _sets_of(task, options, network)
        except UsageError as error:
            if options.source is None:
                raise
            note(f"{task}: {error}; left out")
            continue
        if not found:
            note(f"{task}: no data at {options.data}, left out")
        for data in found:
            yield task, data


def _sets_of(task: str, options: MachineOptions, network: Network) -> list[PictureSet]:
    if options.source is not None:
        return [own_set(task, options.source, network.backbone, options.samples)]
    return list(sets_of(task, options.data, network.backbone, options.samples, options.quick))


class _Bench:
    """One task on one set."""

    def __init__(
        self,
        task: str,
        data: PictureSet,
        network: Network,
        carriers: Sequence[Carrier],
        options: MachineOptions,
        cache: SeenCache,
    ) -> None:
        self._task, self._data, self._network = task, data, network
        self._options, self._cache = options, cache
        self._carriers = carriers

    def todo(self) -> Iterator[tuple[Carrier, int]]:
        """Yield what is measured."""
        for carrier in self._carriers:
            for quality in carrier.qualities(self._options.asked):
                yield carrier, quality

    @property
    def count(self) -> int:
        """How many points there are."""
        return sum(1 for _ in self.todo())

    def identity(self, carrier: Carrier, quality: int) -> dict[str, Any]:
        """Say in JSON what decides a point."""
        found: dict[str, Any] = {
            "task": self._task,
            "seen": dict(self._cache.identity(carrier, quality, self._data)),
            "truth": self._data.truth_digest,
            "torch": package_version("torch"),
        }
        if self._task in DENSE:
            found["heads"] = asdict(self._options.schedule) | {"seeds": self._options.seeds}
            found["retrain"] = self._options.retrain
        return found

    def point(self, carrier: Carrier, quality: int) -> dict[str, Any]:
        """Measure a point."""
        seen = self._cache.get(carrier, quality, self._data)
        sizes = seen.payload_bytes[self._data.train :]
        return {
            "quality": quality,
            "bytes": float(sizes.mean()),
            "bpp": float(8 * sizes.sum() / self._data.pixels),
            "encode_ms": 1000 * seen.encode_s,
            "read_ms": 1000 * seen.read_s,
            "metrics": self._metrics(carrier, seen),
        }

    def described(self) -> dict[str, Any]:
        """Say in JSON what was measured on what."""
        data = self._data
        picture = data.pictures[-1]
        parts = network_mmac(self._network, picture, data.side)
        layer = self._network.layer.name
        readers = {one.enters: reader_mmac(parts, one.enters, layer) for one in self._carriers}
        return {
            "task": self._task,
            "data": data.name,
            "title": data.title,
            "pictures": len(data.pictures) - data.train,
            "train": data.train,
            "size": "{1}×{0}".format(*picture.shape),
            "source_bpp": data.source_bpp,
            "seeds": self._options.seeds,
            "operations": {"network": parts, "reader": readers},
        }

    def _metrics(self, carrier: Carrier, seen: Seen) -> dict[str, Any]:
        if self._task == CLASSIFICATION:
            measured = replace(
                seen,
                values=seen.values[self._data.train :],
                payload_bytes=seen.payload_bytes[self._data.train :],
            )
            found = answers(self._network, measured)
            return dict(compare(self._answers, found, self._data.measured_truth()))
        if self._task == PROBES:
            found = embeddings_of(self._network, seen)
            return dict(measure_probe(self._data, self._embeddings, found))
        again = self._options.retrain and not isinstance(carrier, Uncompressed)
        return self._heads.measure(seen, range(self._options.seeds), again)

    @cached_property
    def _heads(self) -> DenseHeads:
        schedule = self._options.schedule
        return DenseHeads(self._task, self._network, self._data, lambda: self._reference, schedule)

    @cached_property
    def _reference(self) -> Seen:
        return self._cache.get(Uncompressed(), 100, self._data)

    @cached_property
    def _answers(self) -> Array:
        seen = self._reference
        return answers(self._network, replace(seen, values=seen.values[self._data.train :]))

    @cached_property
    def _embeddings(self) -> Array:
        return np.asarray(embeddings_of(self._network, self._reference))


def _environment(network: Network) -> dict[str, Any]:
    backbone = network.backbone
    return environment() | {
        "backbone": backbone.name,
        "weights_sha256": backbone.weights_sha256,
        "layer": network.layer.name,
    }


def _write(result: MachineResult, out: Path) -> MachineResult:
    out.mkdir(parents=True, exist_ok=True)
    text, data = out / "machine.md", out / "machine.json"
    text.write_text(markdown(result.parts, result.environment), encoding="utf-8")
    data.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    return replace(result, files=(text, data, *draw(result.parts, out)))
