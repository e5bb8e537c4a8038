"""A run as somebody far away drives it: values in, values out, all of which can be pickled."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dsc._training.checkpoint import unpack
from dsc._training.config import TrainConfig
from dsc._training.evaluate import Figures, evaluate
from dsc._training.export import Export, export, make_card
from dsc._training.frozen import start_of
from dsc._training.loop import Advance, Trainer
from dsc.errors import UsageError


@dataclass(frozen=True)
class Machine:
    """Where and how a run is to be computed; changes nothing but speed and the last bits.

    Attributes
    ----------
    device
        ``auto``, ``cpu`` or ``cuda``.
    threads
        Threads of the network's arithmetic.
    loaders
        Threads that prepare batches.
    log_every
        Steps a row of the log.
    """

    device: str = "auto"
    threads: int = 1
    loaders: int = 1
    log_every: int = 50


@dataclass(frozen=True)
class About:
    """What a run is made of.

    Attributes
    ----------
    streams, tasks
        All that it may charge and code.
    parameters
        Numbers that are trained.
    done, steps
        Steps done, and steps of the run.
    device
        Where it computes.
    """

    streams: tuple[str, ...]
    tasks: tuple[str, ...]
    parameters: int
    done: int
    steps: int
    device: str


class Session:
    """One run, in this process.

    Parameters
    ----------
    config
        The run.
    state, start
        Checkpoint files to go on from, or to take the first weights from; where the decoder is
        frozen, `start` is a codec file.
    where
        The file of `state`, for messages.
    teacher
        Checkpoint file of the run's teacher.

    Raises
    ------
    UsageError
        When data, network or device cannot be had, or the data are not those of the checkpoint.
    """

    def __init__(
        self,
        config: TrainConfig,
        state: bytes | None,
        start: bytes | None,
        machine: Machine,
        where: str = "the checkpoint",
        teacher: bytes | None = None,
    ) -> None:
        torch.set_num_threads(machine.threads)
        self._trainer = Trainer(
            config,
            unpack(state, where) if state is not None else None,
            _start(config, start),
            find_device(machine.device),
            machine.loaders,
            machine.log_every,
            unpack(teacher, "--teacher") if teacher is not None else None,
        )

    def about(self) -> About:
        """Say what the run is made of."""
        trainer = self._trainer
        return About(
            tuple(trainer.network.required(trainer.modalities)),
            trainer.modalities,
            sum(p.numel() for p in trainer.network.parameters() if p.requires_grad),
            trainer.done,
            trainer.steps,
            str(trainer.device),
        )

    def advance(self, seconds: float, stop: Callable[[], bool] = bool) -> Advance:
        """See `Trainer.advance`."""
        return self._trainer.advance(seconds, stop)

    def checkpoint(self) -> bytes:
        """See `Trainer.checkpoint`."""
        return self._trainer.checkpoint()

    def skipped(self) -> dict[str, str]:
        """Return the samples that could not be trained on so far, with the reason."""
        return self._trainer.data.skipped

    def evaluate(self, qualities: Sequence[int]) -> list[Figures]:
        """Measure the averaged weights on held-out samples."""
        trainer = self._trainer
        network = trainer.average.network
        return evaluate(network, trainer.data, qualities, trainer.device, trainer.config.bfloat16)

    def card(self, figures: list[Figures]) -> dict[str, Any]:
        """Return what there is to know about the trained network."""
        trainer = self._trainer
        return make_card(
            trainer.config,
            trainer.data,
            self.about().parameters,
            trainer.done,
            trainer.seconds,
            figures,
        )

    def export(self, card: dict[str, Any]) -> Export:
        """Make and check the codec file of the averaged weights."""
        trainer = self._trainer
        facts = {key: json.dumps(value) for key, value in card.items() if key != "config"}
        return export(trainer.average.network, trainer.data, facts, trainer.codec)

    def close(self) -> None:
        """Stop the threads that prepare batches."""
        self._trainer.close()


def _start(config: TrainConfig, start: bytes | None) -> dict[str, Any] | None:
    if start is None:
        return None
    return start_of(start) if config.freeze_decoder else unpack(start, "--start")


def find_device(asked: str) -> str:
    """Return ``cpu`` or ``cuda`` for what was asked.

    Raises
    ------
    UsageError
        When there is no such device here.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {asked}: auto, cpu or cuda")
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise UsageError("--device cuda: torch finds no GPU here; take --device cpu")
    return "cuda" if there and asked != "cpu" else "cpu"
