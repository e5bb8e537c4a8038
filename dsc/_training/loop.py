"""The training loop: a state that steps forward, and that a checkpoint restores exactly.

Nothing is written here. Whoever drives a `Trainer` (`dsc._jobs.training.train`) asks it to advance
for some seconds, takes the rows for the logs, and asks for a checkpoint when one is due; that works
alike in this process and on a worker far away.

A step depends on the state before it, the configuration and its number: batches are drawn from
(seed, step), and so is the seed of the noise that stands for quantisation. Checkpoints therefore
need no state of a random generator, and a resumed run repeats an uninterrupted one bit by bit (on
the same device, with as many threads).
"""

import copy
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dsc._codecs.learned.encoder_alone import encoder_network
from dsc._codecs.learned.network.trainable import Coded
from dsc._training.average import WeightAverage
from dsc._training.checkpoint import pack
from dsc._training.config import TrainConfig
from dsc._training.data.batches import Batch, TrainingData
from dsc._training.divergence import DivergenceWatch
from dsc._training.frozen import codec_of, codec_state
from dsc._training.guidance import Guidance
from dsc._training.log import LogRow, Meter
from dsc._training.networks import load_weights, make_network
from dsc._training.objective import Losses, Objective, weigh
from dsc._training.schedule import guidance_share, lr_share, steps_within
from dsc.errors import UsageError

GRADIENT_NORM = 1.0
KLT_CROPS = 192
TRIED = 12  # steps that are timed before a run of so many minutes


@dataclass(frozen=True)
class Advance:
    """What became of a call of `Trainer.advance`.

    Attributes
    ----------
    done, steps
        Steps done, and steps of the run.
    rows
        Rows that were completed.
    samples, seconds
        Crops coded in this call, and how long it took.
    good
        Whether a checkpoint of this state is worth keeping.
    """

    done: int
    steps: int
    rows: list[LogRow] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0
    good: bool = True

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.done >= self.steps


class Trainer:
    """One run.

    Parameters
    ----------
    config
        The run.
    state
        A checkpoint (`dsc._training.checkpoint.load`) to go on from.
    start
        Checkpoint whose averaged weights are the start of a new run; or, to train the encoder of a
        codec file alone, what `dsc._training.frozen.start_of` gives.
    device
        ``cpu`` or ``cuda``.
    loaders
        Threads that prepare batches.
    log_every
        Steps a row.
    teacher
        Checkpoint of the teacher that guides the run, where the configuration has one.

    Attributes
    ----------
    codec
        The codec file whose decoder is frozen; None where everything is trained.

    Raises
    ------
    UsageError
        When the data or the network cannot be had.
    """

    def __init__(
        self,
        config: TrainConfig,
        state: Mapping[str, Any] | None = None,
        start: Mapping[str, Any] | None = None,
        device: str = "cpu",
        loaders: int = 1,
        log_every: int = 50,
        teacher: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.device, self._log_every = config, torch.device(device), log_every
        self.data = TrainingData(config, loaders)
        torch.manual_seed(config.seed)
        origin = state or start
        modalities = self.data.modalities if origin is None else tuple(origin["modalities"])
        lambdas = {name: x for name, x in config.lambdas.items() if name in modalities}
        spec = origin["spec"] if origin is not None else {"lambda": lambdas} if lambdas else None
        self.codec = codec_of(origin)
        if self.codec is not None:
            self.network: Any = encoder_network(self.codec)
        else:
            self.network = make_network(config.kind, modalities, config.size, spec=spec)
        if config.prefix_share is not None:
            self.network.prefix_share = config.prefix_share
        self.modalities = modalities
        unknown = [name for name in self.data.modalities if name not in modalities]
        if unknown:
            raise UsageError(
                f"the data have {', '.join(unknown)}, the network started from codes "
                f"{', '.join(modalities)}; leave tasks out with --tasks"
            )
        self._initialise(state, start)
        self.network.to(self.device, memory_format=torch.channels_last)
        self.network.train()
        self.guidance = self._guidance(teacher)
        self._batches: Iterator[Batch] | None = None
        self.steps = config.steps or 0
        self._prepare()
        if state is not None:
            if state["data"] != self.data.fingerprints:
                raise UsageError(
                    "the data are not what they were when this run began: samples were added, "
                    "removed or renamed; restore them, or begin anew with --overwrite"
                )
            self._restore(state)
        elif not self.steps:
            self.steps = self._steps_of_minutes(float(config.minutes or 1.0))

    def _prepare(self) -> None:
        """Make all that a run begins with, for the weights that the network has now."""
        config = self.config
        self.done, self.seconds = 0, 0.0
        self._parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.objective = Objective(config.balance, self.modalities).to(self.device)
        groups = [{"params": self._parameters, "lr": config.lr}, *self.objective.groups(config.lr)]
        self._peaks = [group["lr"] for group in groups]
        self._optimiser = torch.optim.Adam(groups, lr=config.lr)
        self.average = WeightAverage(config.average, self.network)
        self._meter = Meter(self.network.required(self.modalities), self.modalities)
        self._watch = DivergenceWatch()
        if self.guidance is not None:
            self.guidance.begin()

    def _initialise(self, state: Mapping[str, Any] | None, start: Mapping[str, Any] | None) -> None:
        if state is not None or self.codec is not None:
            return  # restored below, or loaded with the codec file
        if start is not None:
            load_weights(self.network, start["average"] or start["network"])
        elif self.config.init == "klt":
            self.network.initialise(self.data.crops(KLT_CROPS, self.config.seed))

    def _guidance(self, teacher: Mapping[str, Any] | None) -> Guidance | None:
        if teacher is None:
            return None
        self.network.prefix_share = 0.0  # a sample that is cut cannot look like a whole one
        return Guidance(teacher, self.network, self.modalities, self.device)

    def advance(self, seconds: float, stop: Callable[[], bool] = bool) -> Advance:
        """Do steps for about so many seconds, or until the run is over or `stop` says so.

        Raises
        ------
        DivergedError
            When the loss has left all bounds; the state is then of no use.
        SampleError
            When the data cannot be used.
        """
        began, samples, rows = time.monotonic(), 0, []
        while self.done < self.steps and not stop():
            samples += self._step(self._next_batch())
            if self.done % self._log_every == 0 or self.done == self.steps:
                rows.append(self._meter.row(self.done, self._lr(self.done - 1)))
            if time.monotonic() - began >= seconds:
                break
        took = time.monotonic() - began
        self.seconds += took
        return Advance(self.done, self.steps, rows, samples, took, self._watch.good)

    def _next_batch(self) -> Batch:
        if self._batches is None:
            self._batches = self.data.batches(self.done, self.steps)
        return next(self._batches)

    def _lr(self, step: int) -> float:
        return self.config.lr * lr_share(step, self.steps)

    def _step(self, batch: Batch) -> int:
        step = self.done
        batch = batch.to(self.device)
        share = lr_share(step, self.steps)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share
        losses, coded = self._code(batch, step)
        self._optimiser.zero_grad(set_to_none=True)
        self.objective.backward(losses, self._parameters)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, GRADIENT_NORM)
        self._watch.check(step, float(losses.total.detach()), float(norm))
        self._optimiser.step()
        if self.objective.codes_twice:
            with torch.no_grad():
                after, _ = self._code(batch, step)
            self.objective.observe(losses, after, share)
        self.done += 1
        self.average.update(self.done)
        self._meter.add(losses, coded)
        return batch.count

    def _code(self, batch: Batch, step: int) -> tuple[Losses, Coded]:
        torch.manual_seed((self.config.seed << 32) + step + 1)
        coded: Coded = self.network.code(
            batch.inputs, batch.valid, batch.wanted, batch.quality, self.config.bfloat16
        )
        losses = weigh(coded, self.network, batch.quality, self.config.weights)
        if self.guidance is not None:
            share = guidance_share(step, self.steps)
            guidance = self.guidance(batch, coded, losses, self.config, share)
            losses = replace(losses, guidance=guidance)
        return losses, coded

    def _steps_of_minutes(self, minutes: float) -> int:
        """Time a few steps, undo them, and give the steps that fit."""
        self.steps = TRIED
        kept = copy.deepcopy(self.network.state_dict())
        began = time.monotonic()
        for step in range(TRIED):
            self.data.batch(step, TRIED)
        drawn = time.monotonic()
        batches = [self.data.batch(step, TRIED) for step in range(TRIED)]
        again = time.monotonic()
        self._step(batches[0])  # the first one also warms up caches and kernels
        warm = time.monotonic()
        for batch in batches[1:]:
            self._step(batch)
        step_s = (time.monotonic() - warm) / (TRIED - 1)
        reads = sum(pool.samples.reads for pool in self.data.pools)
        read_s = max(0.0, (drawn - began) - (again - drawn)) / max(reads, 1)
        self.network.load_state_dict(kept)
        self._prepare()
        samples = sum(len(pool.trained) for pool in self.data.pools)
        return steps_within(minutes, step_s, read_s * samples)

    def close(self) -> None:
        """Stop the threads that prepare batches."""
        if isinstance(self._batches, Generator):
            self._batches.close()
        self._batches = None

    def checkpoint(self) -> bytes:
        """Return all that a run needs to go on as if it had never stopped."""
        return pack(
            {
                "config": self.config.to_json(),
                "data": self.data.fingerprints,
                "spec": self.network.spec_json(),
                "modalities": list(self.modalities),
                "steps": self.steps,
                "done": self.done,
                "seconds": self.seconds,
                "network": self.network.state_dict(),
                "average": self.average.state(),
                "optimiser": self._optimiser.state_dict(),
                "objective": self.objective.state(),
                "meter": self._meter.state(),
                "watch": self._watch.state(),
            }
            | codec_state(self.codec)
            | ({} if self.guidance is None else {"guidance": self.guidance.state()})
        )

    def _restore(self, state: Mapping[str, Any]) -> None:
        load_weights(self.network, state["network"])
        self.average.restore(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.objective.restore(state["objective"])
        self._meter.restore(state["meter"])
        self._watch.restore(state["watch"])
        if self.guidance is not None:
            self.guidance.restore(state["guidance"])
        self.steps, self.done, self.seconds = state["steps"], state["done"], state["seconds"]
