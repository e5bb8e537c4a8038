"""The work of a selection: packs candidates, compares features, trains and tests networks.

A candidate's images are held one candidate at a time, so memory does not grow with their number.
Networks are trained exactly as GDumb trains its own; the first one sees the originals, and its
features say what compression does to an image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsc._replay.buffer.kept import DEFAULT_CODEC, ExemplarCodec
from dsc._replay.buffer.slots import make_codecs
from dsc._replay.buffer.tasks import IMAGE
from dsc._replay.learners.base import Features, Recipe
from dsc._replay.learners.gdumb import GDumb
from dsc._replay.learners.memory import ExemplarMemory
from dsc._replay.learners.views.base import Rows, View
from dsc._replay.scenario.images import LabelledImages
from dsc._replay.scenario.scenario import Increment
from dsc._replay.selection.candidates import PackedExemplars, pack
from dsc._replay.selection.proxies import (
    DRIFT_SAMPLE,
    LabelledRows,
    Trial,
    drift,
    tried,
    volume_ratio,
)
from dsc._replay.selection.result import Meter

Rowed = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Which images, by row."""

DEFAULT_RECIPE = Recipe(network="resnet8-early", steps=150, batch=32, lr=0.1)
FOLDS = 5
"""One image in so many of each class is held out."""


@dataclass(frozen=True)
class SelectionSettings:
    """What all candidates share; see `dsc._replay.selection.select_codec`.

    Attributes
    ----------
    share
        Of the scenario's classes that are given, above 0 and at most 1.
    """

    budget: int
    share: float
    count_decoder: bool
    recipe: Recipe
    seed: int
    device: str
    view: View

    @property
    def first_budget(self) -> int:
        """The part of the budget that the classes given may take."""
        return int(self.budget * self.share)


@dataclass(frozen=True)
class CandidateFindings:
    """What was found out about a candidate; None for what was not asked."""

    exemplars: int
    nbytes: int
    fits: bool
    drift: float | None = None
    volume_ratio: float | None = None


class Judge:
    """Looks at candidates, and remembers all trials of the probe.

    Parameters
    ----------
    data
        The images given; at least `FOLDS` of each class.
    report
        Is told (networks trained, at most so many).

    Raises
    ------
    UnknownCodecError, UsageError
        When a candidate's codec is not known or codes no images.
    """

    def __init__(
        self,
        data: LabelledImages,
        candidates: Sequence[ExemplarCodec],
        settings: SelectionSettings,
        report: Callable[[int, int], None],
    ) -> None:
        for one in candidates:
            _check_codec(one)
        self.data, self.candidates, self.settings = data, tuple(candidates), settings
        self.meter, self.trials = Meter(), list[Trial]()
        self._folds = folds(data, settings.seed)
        with self.meter.stage("pack"):
            self._shown = LabelledRows(settings.view.of(data.images), data.labels)
        self._report, self._done, self._expected = report, 0, 0
        self._network: GDumb | None = None

    def expect(self, networks: int) -> None:
        """Say how many networks will be trained at most, for the report."""
        self._expected = networks
        self._report(0, networks)

    def look(self, at: int, *, drift: bool, volume: bool, probe: bool) -> CandidateFindings:
        """Pack a candidate and judge it by what is asked."""
        packed = self._packed(at, 0)
        found = CandidateFindings(len(packed), packed.nbytes, packed.fits)
        if not packed.fits:
            return found
        moved = self._drift(packed) if drift else None
        ratio = self._volume(packed) if volume else None
        if probe:
            self._try(at, packed, 0)
        return CandidateFindings(len(packed), packed.nbytes, True, moved, ratio)

    def probe_again(self, at: int, number: int) -> None:
        """Probe a candidate in a later round."""
        packed = self._packed(at, number)
        if packed.fits:
            self._try(at, packed, number)

    def _packed(self, at: int, number: int) -> PackedExemplars:
        settings = self.settings
        with self.meter.stage("pack" if number == 0 else "probe"):
            packed = pack(
                self.candidates[at], self.data.take(self._offered(number)), settings.budget,
                settings.count_decoder, settings.share, settings.seed + number, settings.view,
            )  # fmt: skip
        self.meter.count("pack" if number == 0 else "probe", encoded=len(packed))
        return packed

    def _offered(self, number: int) -> Rowed:
        return np.flatnonzero(self._folds != number % FOLDS)

    def _try(self, at: int, packed: PackedExemplars, number: int) -> None:
        held = self._shown.take(np.flatnonzero(self._folds == number % FOLDS))
        with self.meter.stage("probe"):
            learner = self._trained(packed, number)
            self.trials.append(tried(at, number, learner, held))
        recipe = self.settings.recipe
        self.meter.count("probe", forward=len(held), trained=recipe.steps * recipe.batch)

    def _drift(self, packed: PackedExemplars) -> float:
        some = np.unique(np.linspace(0, len(packed) - 1, DRIFT_SAMPLE).astype(np.int64))
        originals = self._shown.images[self._offered(0)[packed.rows[some]]]
        before = self._features("drift", originals)
        return drift(before, self._features("drift", packed.images[some]))

    def _volume(self, packed: PackedExemplars) -> float:
        before = self._features("volume", self._shown.images[self._offered(0)[packed.rows]])
        return volume_ratio(before, self._features("volume", packed.images), packed.targets)

    def _features(self, stage: str, images: Rows) -> Features:
        """Return features (N, D) before the head of the network that saw originals."""
        learner = self._network_of_originals()
        with self.meter.stage(stage):
            found = learner.evaluate(images, learner.network.features)
        self.meter.count(stage, forward=len(images))
        return found

    def _network_of_originals(self) -> GDumb:
        if self._network is None:
            with self.meter.stage("network"):
                self._network = self._trained(originals(self._shown.take(self._offered(0))), 0)
            recipe = self.settings.recipe
            self.meter.count("network", trained=recipe.steps * recipe.batch)
        return self._network

    def _trained(self, exemplars: PackedExemplars, number: int) -> GDumb:
        settings = self.settings
        made = trained(
            exemplars, self.data, settings.recipe, settings.seed + number, settings.device
        )
        self._done += 1
        self._report(min(self._done, self._expected), self._expected)
        return made


def _check_codec(candidate: ExemplarCodec) -> None:
    """Refuse what codes no images."""
    codecs = [] if candidate.has_embeddings else [candidate.codec]
    codecs += [] if candidate.pictures is None else [candidate.pictures.codec]
    for codec in codecs:
        if codec != DEFAULT_CODEC:
            make_codecs(codec, (IMAGE,))


def folds(data: LabelledImages, seed: int) -> Rowed:
    """Deal the images of each class to folds, at random."""
    draw = np.random.default_rng([seed, 0xF01D])
    folds = np.empty(len(data), np.int64)
    for label in range(len(data.classes)):
        rows = draw.permutation(np.flatnonzero(data.labels == label))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def trained(
    exemplars: ExemplarMemory, data: LabelledImages, recipe: Recipe, seed: int, device: str
) -> GDumb:
    """Train a network on exemplars alone.

    Parameters
    ----------
    data
        The images they were taken from: it tells classes and sizes.
    """
    side = min(data.images.shape[1:3])
    learner = GDumb(len(data.classes), side, recipe, seed, device)
    none = np.zeros(0, np.int64)
    increment = Increment(0, data.images[:0], none, none, 0, len(data.classes))
    learner.begin(increment, exemplars)
    learner.start()
    for number in range(learner.epochs()):
        learner.epoch(number)
    return learner


def originals(data: LabelledRows) -> PackedExemplars:
    """Return all images as exemplars that cost nothing."""
    rows = np.arange(len(data))
    return PackedExemplars(ExemplarCodec("raw", 50), data.images, data.labels, rows, 0, True)
