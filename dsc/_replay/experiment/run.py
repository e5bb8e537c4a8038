"""Runs a learner through a scenario with a buffer beside it; stops and goes on exactly.

A run is a function of its configuration and data. Between two epochs its state is in one
checkpoint: network, optimiser, what the learner keeps, and the accuracies so far. The buffer is one
file for each number of increments that it has taken in: taking one in makes a new file, and the old
one goes only when a checkpoint has named the new. So whenever a run is killed, what it finds is
the state of one moment, and the results are those of a run that was not killed.
"""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.offered import Images as Offered
from dsc._replay.buffer.tasks import task_of
from dsc._replay.experiment.checkpoint import IncrementRow, RunProgress, load, save
from dsc._replay.experiment.log import Observer
from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.result import ResultRow, accuracy_of_step, measures
from dsc._replay.learners.base import Features, Learner, Recipe
from dsc._replay.learners.memory import NoExemplars, ViewedExemplars
from dsc._replay.learners.pretrained import weights_sha256
from dsc._replay.learners.registry import learner_class
from dsc._replay.learners.views.base import PixelView, Rows, View
from dsc._replay.learners.views.frozen import FrozenView
from dsc._replay.scenario.images import Images, LabelledImages, Labels
from dsc._replay.scenario.scenario import ClassIncremental, Increment
from dsc._schemas.extractor import EMBEDDING
from dsc._storage.files.atomic import part_name, rename
from dsc.errors import UsageError

CHECKPOINT_EVERY_S = 20.0
PROBED, PROBE_BUDGET = 64, 1 << 40
FEATURES = "features"
Tell = Callable[[str], None]
Memory = ReplayBuffer | NoExemplars


@dataclass(frozen=True)
class RunPlace:
    """Where and how a run is computed; none of it changes the results on one kind of device.

    Attributes
    ----------
    work
        Directory of the run's own, for checkpoint and buffer.
    device
        ``cpu`` or ``cuda``.
    checkpoint_every_s
        Seconds between checkpoints within an increment; there is one after each in any case.
    tell
        Is told how far the run is, in a line.
    observer
        Is told losses and measurements.
    features
        Directory for features of frozen backbones, which runs may share; None: one in `work`.
    """

    work: Path
    device: str = "cpu"
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    tell: Tell = lambda line: None
    observer: Observer = field(default_factory=Observer)
    features: Path | None = None


def run(
    config: RunConfig, train: LabelledImages, test: LabelledImages, place: RunPlace
) -> ResultRow:
    """Compute one run, or what is left of it.

    Parameters
    ----------
    train, test
        The images; `load_split` of ``config.data``.

    Returns
    -------
    dict
        Of JSON values: the configuration, `accuracy` (steps, steps) in percent with null where
        nothing was measured, `average_incremental_accuracy`, `last_accuracy`, `forgetting`,
        `backward_transfer`, and `steps`, a row each with exemplars and bytes; `weights_sha256` of
        the backbone where there is one.

    Raises
    ------
    UsageError
        When the configuration does not fit the data, or what was begun has other data.
    """
    place.work.mkdir(parents=True, exist_ok=True)
    with _deterministic():
        return _Run(config, train, test, place).finish()


def buffer_path(work: Path, increments: int) -> Path:
    """Name the file of a run's buffer that has taken `increments` increments in."""
    return work / f"buffer-{increments}.h5"


def data_sha256(*sets: LabelledImages) -> str:
    """Hash images, labels and class names."""
    digest = hashlib.sha256()
    for one in sets:
        for array in (one.images, one.labels):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(json.dumps(one.classes).encode())
    return digest.hexdigest()


class _Run:
    """The state of a run as it goes."""

    def __init__(
        self, config: RunConfig, train: LabelledImages, test: LabelledImages, place: RunPlace
    ) -> None:
        self.config, self.place = config, place
        plan = config.scenario
        seed = config.seed if plan.order_seed is None else plan.order_seed
        self.increments = ClassIncremental(
            train, plan.increment, plan.initial_increment, plan.class_order, seed
        )
        self.tests = self.increments.over(test)
        self._tests_shown: dict[int, Increment] = {}
        self.data = data_sha256(train, test)
        self.weights = weights_sha256(config.recipe)
        side = min(train.images.shape[1:3])
        made = learner_class(config.learner)
        made.check(config.recipe)
        self.view = _view(config.recipe, made.shown_layer(config.recipe), place)
        self.embeds = _embeds(config, self.view, place)
        self.embedded = None if self.embeds is None else task_of(self.embeds.extractor)
        self.learner: Learner = made(
            len(train.classes), side, config.recipe, config.seed, place.device
        )
        self.policy = config.policy or self.learner.policy
        self.budget = config.budget - self._reserved()
        self.done = RunProgress()
        self.began_s = self.saved_s = time.monotonic()

    def finish(self) -> ResultRow:
        """Take all increments that are left."""
        self._load()
        self.place.observer.begin(self.done.increment, self._epochs())
        for index in range(self.done.increment, len(self.increments)):
            self._take(self.increments[index])
        self.done.seconds += time.monotonic() - self.began_s
        return self._result()

    def _take(self, increment: Increment) -> None:
        """Train an increment, or what is left of it; fill the buffer; measure."""
        learner = self.learner
        filled = self._filled(increment) if learner.fills_first else None
        shown = replace(increment, images=self._shown(increment.images))
        before = self._buffer(increment.index) if filled is None else filled
        learner.begin(shown, ViewedExemplars(before, self.view))
        if self.done.epoch == 0:
            learner.start()
        measured = self.config.evaluate == "every" or increment.index == len(self.increments) - 1
        epochs = learner.epochs() if measured or not learner.from_buffer_alone else 0
        for number in range(self.done.epoch, epochs):
            loss = learner.epoch(number)
            self.place.tell(
                f"step {increment.index + 1} of {len(self.increments)}, "
                f"epoch {number + 1} of {epochs}"
                + ("" if math.isnan(loss) else f", loss {loss:.3f}")
            )
            self.done.epoch = number + 1
            self.place.observer.epoch(self._epochs(), loss)
            if time.monotonic() - self.saved_s >= self.place.checkpoint_every_s:
                self._save()
        learner.end()
        buffer = self._filled(increment) if filled is None else filled
        learner.remember(ViewedExemplars(buffer, self.view))
        self.done.rows.append(self._measure(increment, buffer, measured) | {"epochs": epochs})
        seen = accuracy_of_step(self.done.rows, self._tests)
        self.place.observer.increment(self.done.rows[-1], seen)
        self.done.increment, self.done.epoch = increment.index + 1, 0
        self._save()
        self._path(increment.index).unlink(missing_ok=True)

    def _measure(self, increment: Increment, buffer: Memory, measured: bool) -> IncrementRow:
        accuracies = []
        for index in range(increment.index + 1 if measured else 0):
            held = self._held(index)
            right = self.learner.predict(held.images) == held.labels
            accuracies.append(100 * float(right.mean()))
        return {
            "step": increment.index,
            "seen": increment.seen,
            "accuracies": accuracies,
            "exemplars": len(buffer),
            "buffer_bytes": int(buffer.nbytes),
            "learner_bytes": self.learner.nbytes,
            "bytes": int(buffer.nbytes) + self.learner.nbytes,
            "bytes_with_decoder": int(buffer.nbytes_with_decoder) + self.learner.nbytes,
        }

    def _held(self, index: int) -> Increment:
        """Return the test images of an increment as the network is to see them."""
        if index not in self._tests_shown:
            held = self.tests[index]
            self._tests_shown[index] = replace(held, images=self._shown(held.images))
        return self._tests_shown[index]

    def _shown(self, images: Images) -> Rows:
        """Return images as the learner is to see them."""
        return self._through_codec(images) if self.config.preprocess else self.view.of(images)

    def _through_codec(self, images: Images) -> Rows:
        """Return images as the learner would see what the buffer gives back."""
        path = part_name(self.place.work / "codec.h5")
        try:
            with closing(self._open(path, PROBE_BUDGET)) as buffer:
                if self.embeds is not None:
                    return np.stack(buffer.through_codec(self.embeds.of(images))[0])
                return self.view.of(np.stack(buffer.through_codec(images)[0]))
        finally:
            path.unlink(missing_ok=True)

    def _offered(self, images: Images) -> Offered | Mapping[str, Offered]:
        """Return what the buffer is offered of images."""
        embeddings = images if self.embeds is None else self.embeds.of(images)
        return self.config.kept.offered(images, embeddings)

    def _path(self, increments: int) -> Path:
        return buffer_path(self.place.work, increments)

    def _buffer(self, increments: int) -> Memory:
        """Open the buffer that has taken `increments` increments in; one of none has nothing."""
        if not increments or self.learner.exemplar_free:
            return NoExemplars()
        return ReplayBuffer.open(self._path(increments))

    def _filled(self, increment: Increment) -> Memory:
        """Make the buffer that has this increment too, beside the one that has not."""
        if self.learner.exemplar_free:
            return NoExemplars()
        part = part_name(self._path(increment.index + 1))
        if increment.index:
            shutil.copyfile(self._path(increment.index), part)
        features = self._herding_features(increment.images) if self.policy == "herding" else None
        keys = _short_keys(increment.rows) if self.learner.reserves else None
        try:
            with closing(self._open(part, self.budget)) as buffer:
                offered = self._offered(increment.images)
                buffer.add(offered, increment.labels, keys=keys, features=features)
            rename(part, self._path(increment.index + 1))
        finally:
            part.unlink(missing_ok=True)
        return ReplayBuffer.open(self._path(increment.index + 1))

    def _herding_features(self, images: Images) -> Features:
        decoded = self.config.herd_decoded or self.config.preprocess
        return self.learner.features(
            self._through_codec(images) if decoded else self.view.of(images)
        )

    def _open(self, path: Path, budget: int) -> ReplayBuffer:
        return self.config.kept.open(
            path, budget, self.embedded, policy=self.policy, seed=self.config.seed
        )

    def _reserved(self) -> int:
        """Return what the learner needs of the budget.

        At the size of the first increment's exemplars.
        """
        if not self.learner.reserves:
            return 0
        increment = self.increments[0]
        some = np.unique(np.linspace(0, len(increment.rows) - 1, PROBED).astype(np.int64))
        images, labels = increment.images[some], increment.labels[some]
        path = part_name(self.place.work / "probe.h5")
        try:
            with closing(self._open(path, PROBE_BUDGET)) as buffer:
                features = np.zeros((len(some), 1), np.float32)
                keys = _short_keys(increment.rows[some])
                buffer.add(self._offered(images), labels, keys=keys, features=features)
                mean = buffer.nbytes / len(buffer)
        finally:
            path.unlink(missing_ok=True)
        return self.learner.reserve(mean, self.config.budget)

    def _epochs(self) -> int:
        """Count the epochs of all increments."""
        before = [int(row.get("epochs", 0)) for row in self.done.rows]
        return sum(before) + self.done.epoch

    def _save(self) -> None:
        self.place.observer.flush()
        now = time.monotonic()
        self.done.seconds, self.began_s = self.done.seconds + now - self.began_s, now
        state = self.learner.state_dict()
        save(self.place.work, self.config, self.data, self.weights, self.done, state)
        self.saved_s = now

    def _load(self) -> None:
        found = load(self.place.work, self.config, self.data, self.weights, self.learner.device)
        if found is not None:
            self.done, state = found
            self.learner.load_state_dict(state)

    @property
    def _tests(self) -> list[int]:
        return [len(increment.labels) for increment in self.tests]

    def _result(self) -> ResultRow:
        return {
            "id": self.config.id,
            "config": self.config.model_dump(mode="json"),
            "data_sha256": self.data,
            **({} if self.weights is None else {"weights_sha256": self.weights}),
            "class_order": list(self.increments.classes),
            "seconds": round(self.done.seconds, 2),
            **measures(self.done.rows, self._tests),
        }


def _view(recipe: Recipe, layer: str | None, place: RunPlace) -> View:
    """Return what a run's learner is shown of pictures."""
    if recipe.frozen_backbone is None or layer is None:
        return PixelView()
    folder = place.work / FEATURES if place.features is None else place.features
    return FrozenView(recipe.frozen_backbone, recipe.backbone_side, folder, layer)


def _embeds(config: RunConfig, view: View, place: RunPlace) -> FrozenView | None:
    """Return what makes the embeddings that the buffer keeps; None where it keeps none."""
    if not config.budget or not config.kept.has_embeddings:
        return None
    if isinstance(view, FrozenView) and view.extractor.layer == EMBEDDING:
        return view
    found = _view(config.recipe, EMBEDDING, place)
    if not isinstance(found, FrozenView):
        raise UsageError(f"codec {config.kept}: embeddings of a frozen backbone; name one")
    return found


def _short_keys(rows: Labels) -> list[str]:
    """Name images by their rows in few characters: names count against the budget."""
    return [np.base_repr(row, 36) for row in rows]


def _deterministic() -> AbstractContextManager[None]:
    flags: Any = torch.backends.cudnn.flags
    made: AbstractContextManager[None] = flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=True
    )
    return made
