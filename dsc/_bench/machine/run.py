"""``dsc bench machine``: measures point by point, and writes tables, plots and ``machine.json``.

Each point goes to ``points.jsonl`` as soon as it is there, and what the network saw to ``seen``,
both under hashes of what decides them, so that a run that was stopped goes on.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dsc._backbones.registry import load_backbone
from dsc._bench.environment import environment
from dsc._bench.machine.contenders import carriers_of
from dsc._bench.machine.datasets import (
    CLASSIFICATION,
    own_set,
    sets_of,
)
from dsc._bench.machine.measuring import TaskBench
from dsc._bench.machine.network import Network
from dsc._bench.machine.options import MachineOptions, check_tasks
from dsc._bench.machine.pictures import PictureSet
from dsc._bench.machine.plots import draw
from dsc._bench.machine.seen import SeenCache
from dsc._bench.machine.tables import markdown
from dsc._bench.store import Store
from dsc._storage.files.writable import check_folder
from dsc._threads import single_thread
from dsc.errors import UsageError

POINTS, SEEN = "points.jsonl", "seen"
Progress = Callable[[int, int], None]


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
            TaskBench(task, data, network, carriers, options, cache, store)
            for task, data in _sets(options, network, note)
        ]
        if not benches:
            raise UsageError(f"no data for {', '.join(options.tasks)}; say where with --data")
        parts = list(_measured(benches, progress))
    return _write(MachineResult(parts, _environment(network)), out)


def _measured(benches: Sequence[TaskBench], progress: Progress) -> Iterator[dict[str, Any]]:
    total, done = sum(bench.count for bench in benches), 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    for bench in benches:
        rows = [bench.row(carrier, step) for carrier in bench.carriers]
        yield bench.described() | {"rows": rows}


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
