"""Makes the batches of a run: of the training samples for every step, and of those held out.

Batches depend on the configuration and on the step only. They are prepared by threads ahead of the
network: cutting crops is NumPy's work, most of it outside Python's lock. Every data set holds out a
few samples, evenly spread, that no step sees.

A data set larger than its part of the cache is visited in a window: its samples in a random order,
of which a moving stretch is in memory and every sample is cut `REUSE` times before it leaves.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dsc._schemas import Task, resolve_task
from dsc._sources.registry import Source
from dsc._training.config import TrainConfig
from dsc._training.data.datasets import MODALITIES, choose_tasks, fingerprints, open_data
from dsc._training.data.draw import Draw, draw_step
from dsc._training.data.samples import Planes, Samples, crop
from dsc.errors import SampleError, UnknownTaskError, UsageError

HELD_OUT = 16  # samples of a data set that are not trained on, at most
HELD_OUT_EVERY = 10  # of small data sets, at most one in so many
REUSE = 16
AHEAD = 2  # batches that a loader thread prepares before they are asked for


@dataclass(frozen=True)
class Batch:
    """What one step codes; see `dsc._codecs.learned.network.trainable.Network.code`.

    Attributes
    ----------
    inputs, valid, wanted, quality
        As the network takes them.
    """

    inputs: dict[str, Tensor]
    valid: dict[str, Tensor]
    wanted: tuple[str, ...]
    quality: dict[str, Tensor]

    @property
    def count(self) -> int:
        """Samples in it."""
        return len(next(iter(self.inputs.values())))

    def to(self, device: torch.device) -> "Batch":
        """Move it to a device, planes in channels_last order."""
        layout = torch.channels_last
        return Batch(
            {k: x.to(device, memory_format=layout) for k, x in self.inputs.items()},
            {k: x.to(device, memory_format=layout) for k, x in self.valid.items()},
            self.wanted,
            {k: q.to(device) for k, q in self.quality.items()},
        )


class Pool:
    """One data set: which samples are trained on, which are held out, and in what order."""

    def __init__(self, samples: Samples, share: float, where: str, seed: int) -> None:
        self.samples, self.share, self.where, self._seed = samples, share, where, seed
        self._orders: dict[int, list[int]] = {}
        count = len(samples.source)
        if not count:
            raise UsageError(f"--data {where}: there is no sample")
        kept = min(HELD_OUT, count // HELD_OUT_EVERY) or int(count > 1)
        spread = [int((i + 0.5) * count / kept) for i in range(kept)]
        # a single sample has to serve for both
        self.held_out = spread or [0]
        self.trained = [i for i in range(count) if i not in set(spread)]

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it has, in the networks' order."""
        return tuple(self.samples.tasks)

    @cached_property
    def window(self) -> int:
        """How many samples are in memory at a time; from the size of the first good one."""
        first = next((x for i in self.trained if (x := self.samples.get(i)) is not None), None)
        if first is None:
            raise self.nothing()
        return max(1, min(len(self.trained), self.samples.limit // first.nbytes))

    def pick(self, position: float, cuts: float) -> Planes:
        """Return a sample of the window; one that cannot be trained on gives way to the next.

        Parameters
        ----------
        position
            In [0, 1): which of the window.
        cuts
            Crops cut so far: the window has moved on by one for every `REUSE` of them.
        """
        count = len(self.trained)
        start = int(cuts / REUSE) if self.window < count else 0
        place = start + int(position * self.window)
        for tried in range(count):
            lap, at = divmod(place + tried, count)
            found = self.samples.get(self.trained[self._order(lap)[at]])
            if found is not None:
                return found
        raise self.nothing()

    def _order(self, lap: int) -> Sequence[int]:
        count = len(self.trained)
        if self.window == count:
            return range(count)
        if lap not in self._orders:
            rng = np.random.default_rng([self._seed, lap, count])
            recent = {k: order for k, order in self._orders.items() if k >= lap - 2}
            self._orders = recent | {lap: rng.permutation(count).tolist()}
        return self._orders[lap]

    def nothing(self) -> SampleError:
        """Say that no sample can be trained on, and why."""
        reason = next(iter(self.samples.bad.values()), "there is none")
        return SampleError(f"--data {self.where}: no sample can be trained on, because: {reason}")


class TrainingData:
    """The data sets of a run; see the module.

    Parameters
    ----------
    config
        The run.
    loaders
        Threads that prepare batches; 0 prepares them when they are asked for.

    Raises
    ------
    UsageError
        When a data set cannot be opened or has nothing to train on, or a task is in none of them.
    """

    def __init__(self, config: TrainConfig, loaders: int = 1) -> None:
        self.config, self._loaders = config, loaders
        sources = [open_data(spec) for spec in config.data]
        self.fingerprints = fingerprints(sources)
        _check_tasks(config.tasks, sources)
        total = sum(spec.share for spec in config.data)
        self.pools = []
        for spec, source in zip(config.data, sources, strict=True):
            tasks = choose_tasks(source, config.tasks, spec)
            memory = int(config.cache_mb * 1e6 * spec.share / total)
            samples = Samples(source, tasks, spec.border, memory, config.on_error)
            self.pools.append(Pool(samples, spec.share / total, str(spec), config.seed))
        found = {name for pool in self.pools for name in pool.modalities}
        self.modalities = tuple(name for name in MODALITIES if name in found)

    @property
    def tasks(self) -> dict[str, Task]:
        """One task for each modality, of the first data set that has it."""
        found: dict[str, Task] = {}
        for pool in self.pools:
            found = pool.samples.tasks | found
        return {name: found[name] for name in self.modalities}

    @property
    def skipped(self) -> dict[str, str]:
        """Samples that could not be trained on so far, with the reason."""
        return {
            f"{pool.where} sample {pool.samples.source.key(index)}": why
            for pool in self.pools
            for index, why in pool.samples.bad.items()
        }

    def batch(self, step: int, steps: int) -> Batch:
        """Return the batch of a step, the same whenever it is asked for."""
        shares = [pool.share for pool in self.pools]
        draw = draw_step(self.config, step, steps, shares, [pool.modalities for pool in self.pools])
        pool = self.pools[draw.pool]
        cuts = step * self.config.batch * pool.share
        return _cut(draw, [pool.pick(float(at), cuts) for at in draw.samples])

    def batches(self, start: int, steps: int) -> Iterator[Batch]:
        """Yield the batches of the steps from `start` on, prepared ahead."""
        if not self._loaders:
            yield from (self.batch(step, steps) for step in range(start, steps))
            return
        ahead = self._loaders * AHEAD
        with ThreadPoolExecutor(self._loaders, thread_name_prefix="batches") as threads:
            waiting: dict[int, Future[Batch]] = {}
            try:
                for step in range(start, steps):
                    for early in range(step, min(step + ahead, steps)):
                        if early not in waiting:
                            waiting[early] = threads.submit(self.batch, early, steps)
                    yield waiting.pop(step).result()
            finally:
                for future in waiting.values():
                    future.cancel()

    def crops(self, count: int, seed: int) -> dict[str, Tensor]:
        """Return training crops (N, c, crop, crop) by modality, to initialise a network from.

        Crop i of every modality is of the same place as long as one data set has all of them:
        those of the data sets with most modalities come first.
        """
        side = self.config.crop
        rng = np.random.default_rng([seed, 1 << 32])
        found: dict[str, list[Tensor]] = {name: [] for name in self.modalities}
        for pool in sorted(self.pools, key=lambda pool: -len(pool.modalities)):
            for _ in range(max(1, round(count * pool.share))):
                planes = pool.pick(float(rng.random()), 0)
                place = (float(rng.random()), float(rng.random()))
                values, _ = crop(planes, place, side, bool(rng.random() < 0.5), False)
                for name, value in values.items():
                    found[name].append(torch.from_numpy(value))
        return {name: torch.stack(crops) for name, crops in found.items()}


def _check_tasks(names: Sequence[str] | None, sources: Sequence[Source]) -> None:
    available = list(dict.fromkeys(task.name for source in sources for task in source.tasks))
    for name in names or ():
        try:
            resolve_task(name, available)
        except UnknownTaskError as error:
            raise UnknownTaskError(f"--tasks {name}: {error}") from None


def _cut(draw: Draw, chosen: Sequence[Planes]) -> Batch:
    values: dict[str, list[Tensor]] = {name: [] for name in draw.inputs}
    weights: dict[str, list[Tensor]] = {name: [] for name in draw.inputs}
    for planes, place, flip in zip(chosen, draw.places, draw.flips, strict=True):
        wanted = Planes(
            {name: planes.values[name] for name in draw.inputs},
            {name: valid for name, valid in planes.valid.items() if name in draw.inputs},
        )
        at = (float(place[0]), float(place[1]))
        found, weight = crop(wanted, at, draw.side, draw.half, bool(flip))
        for name, value in found.items():
            values[name].append(torch.from_numpy(value))
            blank = np.ones((1, draw.side, draw.side), np.float32)
            weights[name].append(torch.from_numpy(weight.get(name, blank)))
    stacked = {name: torch.stack(rows) for name, rows in weights.items()}
    return Batch(
        {name: torch.stack(rows) for name, rows in values.items()},
        {name: weight for name, weight in stacked.items() if weight.min() < 1},
        draw.wanted,
        {name: torch.from_numpy(quality) for name, quality in draw.quality.items()},
    )
