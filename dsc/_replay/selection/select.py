"""Chooses codec and quality of a replay buffer from the first increment's images, without a sweep.

Candidates are judged at the number of exemplars a class that the whole scenario will leave them:
with c of C classes there, c / C of the budget is theirs. Test images are never seen: what the probe
tests on is held out of the training images. Equal arguments give equal selections, but for the
seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from dsc._replay.buffer.offered import check_labels
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.views.base import PixelView, View
from dsc._replay.learners.views.frozen import FrozenView
from dsc._replay.scenario.images import Images, LabelledImages
from dsc._replay.selection.candidates import (
    DEFAULT_CANDIDATES,
    EMBEDDING_CANDIDATES,
    parse_candidates,
)
from dsc._replay.selection.judge import (
    DEFAULT_RECIPE,
    FOLDS,
    CandidateFindings,
    Judge,
    SelectionSettings,
)
from dsc._replay.selection.proxies import (
    DEFAULT_BETA,
    DEFAULT_EPSILON,
    FROZEN_BETA,
    KEPT,
    drift_score,
    probe_scores,
    survivors,
    volume_score,
)
from dsc._replay.selection.result import CodecSelection, ScoredCandidate
from dsc._schemas.size import parse_bytes
from dsc.errors import UsageError

PROXIES = {
    "drift": ("pack", "network", "drift"),
    "probe": ("pack", "network", "drift", "probe"),
    "volume": ("pack", "network", "volume"),
}
"""The proxies, and the stages of the work that each needs."""
ROUNDS = 3


def select_codec(
    images: Images,
    labels: Any,
    budget: int | str,
    *,
    candidates: Sequence[str] | None = None,
    proxy: str | Sequence[str] = "drift",
    classes: int | None = None,
    count_decoder: bool = False,
    recipe: Recipe = DEFAULT_RECIPE,
    rounds: int = ROUNDS,
    beta: float | None = None,
    epsilon: float = DEFAULT_EPSILON,
    seed: int = 0,
    device: str = "cpu",
    features: Path | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> CodecSelection:
    """Select codec and quality for a buffer.

    Parameters
    ----------
    images
        Training images of the first increment's classes (or of all there are), (N, H, W, 3) uint8.
    labels
        Their classes, N integers.
    budget
        Of the buffer, for all classes of the scenario: bytes, or ``"500kB"``.
    candidates
        ``codec:quality``, or a lossless codec alone; on a frozen backbone also ``embedding:40``
        and mixtures, ``embedding:40+10%av1-small:20``. None for a ladder of them.
    proxy
        ``drift``, ``probe``, ``volume``, or several of them; the first one picks. What each is
        worth: docs/replay_select.md.
    classes
        Of the whole scenario; None for those given.
    count_decoder
        Whether a codec's weights count against the budget.
    recipe
        How networks are trained; `Recipe.steps` each. With a backbone, frozen, what is compared
        and what is trained on are its features.
    rounds
        Of the probe.
    beta
        Of the proxy drift: what a drift of one is worth, in e-folds of exemplars; None for 20, and
        for 2 on a frozen backbone.
    epsilon
        Of the proxy volume: how far the exemplars' volume may be from the originals'.
    features
        Directory for features of the backbone, as those of runs; None for a temporary one.
    report
        Is told (networks trained, at most so many).

    Raises
    ------
    UsageError
        When an argument makes no sense, there is one class only, a class has too few images to
        hold some out, or no candidate fits an exemplar of each class.
    UnknownCodecError
        When a candidate's codec is not known.
    """
    proxies = _proxies(proxy)
    _check(device, rounds)
    data = _data(images, labels)
    total = _total(data, classes)
    room = parse_bytes(budget, "budget")
    share = len(data.classes) / total
    parsed = parse_candidates(_usual(recipe) if candidates is None else candidates)
    if recipe.frozen_backbone is None and any(one.has_embeddings for one in parsed):
        raise UsageError("embeddings by which backbone? Name one, frozen, by --backbone")
    with TemporaryDirectory(prefix="dsc-features-") as passing:
        view = _view(recipe, Path(passing) if features is None else features)
        settings = SelectionSettings(room, share, count_decoder, recipe, seed, device, view)
        judge = Judge(data, parsed, settings, report)
        seen = _judged(judge, proxies, rounds)
    scores = _scores(judge, seen, proxies, _usual_beta(recipe) if beta is None else beta, epsilon)
    picks = {
        one: judge.candidates[max(found, key=lambda at: found[at])] for one, found in scores.items()
    }
    stages = {name: PROXIES[name] for name in proxies}
    everything = tuple({stage: None for names in stages.values() for stage in names})
    return CodecSelection(
        pick=picks[proxies[0]],
        picks=picks,
        budget=room,
        classes=total,
        first_classes=len(data.classes),
        first_budget=int(room * share),
        rows=_rows(judge, seen, scores),
        costs={name: judge.meter.total(names) for name, names in stages.items()},
        total=judge.meter.total(everything),
    )


def _usual(recipe: Recipe) -> tuple[str, ...]:
    return DEFAULT_CANDIDATES if recipe.frozen_backbone is None else EMBEDDING_CANDIDATES


def _usual_beta(recipe: Recipe) -> float:
    return DEFAULT_BETA if recipe.frozen_backbone is None else FROZEN_BETA


def _view(recipe: Recipe, folder: Path) -> View:
    backbone = recipe.frozen_backbone
    return PixelView() if backbone is None else FrozenView(backbone, recipe.backbone_side, folder)


def _check(device: str, rounds: int) -> None:
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"device {device}: there is no such device here; use cpu")
    if rounds < 1:
        raise UsageError(f"rounds={rounds}: the probe needs at least one")


def _total(data: LabelledImages, classes: int | None) -> int:
    """Return the classes of the whole scenario."""
    given = len(data.classes)
    total = given if classes is None else classes
    if total < given:
        raise UsageError(
            f"classes={total}, but the images given have {given}; classes= counts those of the "
            "whole scenario"
        )
    return total


def _proxies(proxy: str | Sequence[str]) -> tuple[str, ...]:
    names = (proxy,) if isinstance(proxy, str) else tuple(proxy)
    unknown = [name for name in names if name not in PROXIES]
    if unknown:
        raise UsageError(f"unknown proxy {', '.join(unknown)}; known: {', '.join(PROXIES)}")
    if not names:
        raise UsageError(f"no proxy; name some of {', '.join(PROXIES)}")
    return tuple(dict.fromkeys(names))


def _data(images: Images, labels: Any) -> LabelledImages:
    """Return the images with classes numbered from 0.

    There must be enough of them to choose by.
    """
    numbers, found = np.unique(check_labels(labels), return_inverse=True)
    names = tuple(str(number) for number in numbers.tolist())
    images = np.asarray(images)
    data = LabelledImages(images, found.astype(np.int64), ("",) * len(found), names)
    if len(names) < 2:
        raise UsageError(
            f"images of {len(names)} class; a network that tells classes apart needs at least two"
        )
    counts = np.bincount(data.labels)
    if counts.min() < FOLDS:
        few = int(counts.argmin())
        raise UsageError(
            f"class {names[few]} has {counts[few]} images; one in {FOLDS} is held out, so each "
            f"class needs at least {FOLDS}"
        )
    return data


def _judged(judge: Judge, proxies: Sequence[str], rounds: int) -> list[CandidateFindings]:
    """Look at all candidates; probe the best of them again and again."""
    probing = "probe" in proxies
    wanted = {"drift": probing or "drift" in proxies, "volume": "volume" in proxies}
    judge.expect(_networks(len(judge.candidates), rounds) if probing else 1)
    seen = [judge.look(at, **wanted, probe=probing) for at in range(len(judge.candidates))]
    if not any(one.fits for one in seen):
        best = max(range(len(seen)), key=lambda at: seen[at].exemplars)
        raise UsageError(
            f"no candidate fits an exemplar of each class: of {judge.candidates[best]}, "
            f"{seen[best].exemplars} fit in the part of the budget for these "
            f"{len(judge.data.classes)} classes, {judge.settings.first_budget} bytes. Raise the "
            "budget, or name candidates of lower quality"
        )
    going = [at for at, one in enumerate(seen) if one.fits]
    for number in range(1, rounds if probing else 1):
        scores = _probed(judge, seen)
        going = survivors({at: scores[at] for at in going})
        for at in going:
            judge.probe_again(at, number)
    return seen


def _networks(candidates: int, rounds: int) -> int:
    """Count the networks of a probe: one on the originals, and a round's each."""
    total, going = 1 + candidates, candidates
    for _ in range(1, rounds):
        going = min(going, max(2, going // KEPT))
        total += going
    return total


def _probed(judge: Judge, seen: Sequence[CandidateFindings]) -> dict[int, float]:
    drifts = {at: one.drift or 0.0 for at, one in enumerate(seen)}
    return probe_scores(judge.trials, {at: one.exemplars for at, one in enumerate(seen)}, drifts)


def _scores(
    judge: Judge,
    seen: Sequence[CandidateFindings],
    proxies: Sequence[str],
    beta: float,
    epsilon: float,
) -> dict[str, dict[int, float]]:
    """Score the candidates that fit by each proxy."""
    found: dict[str, dict[int, float]] = {}
    for name in proxies:
        if name == "probe":
            found[name] = _probed(judge, seen)
        elif name == "drift":
            found[name] = {
                at: drift_score(one.exemplars, one.drift, beta)
                for at, one in enumerate(seen)
                if one.drift is not None
            }
        else:
            found[name] = {
                at: volume_score(one.exemplars, one.volume_ratio, epsilon)
                for at, one in enumerate(seen)
                if one.volume_ratio is not None
            }
    return found


def _rows(
    judge: Judge, seen: Sequence[CandidateFindings], scores: Mapping[str, Mapping[int, float]]
) -> tuple[ScoredCandidate, ...]:
    ranks = {
        name: {at: rank for rank, at in enumerate(sorted(found, key=lambda at: -found[at]), 1)}
        for name, found in scores.items()
    }
    accuracy: dict[int, list[float]] = {}
    for trial in judge.trials:
        accuracy.setdefault(trial.candidate, []).append(trial.accuracy)
    return tuple(
        ScoredCandidate(
            candidate=judge.candidates[at],
            exemplars=one.exemplars,
            nbytes=one.nbytes,
            fits=one.fits,
            drift=one.drift,
            volume_ratio=one.volume_ratio,
            accuracy=float(np.mean(accuracy[at])) if at in accuracy else None,
            scores={name: found[at] for name, found in scores.items() if at in found},
            ranks={name: found[at] for name, found in ranks.items() if at in found},
        )
        for at, one in enumerate(seen)
    )
