"""What determines a replay run, and the grid of runs that a sweep is.

Where a run is computed and written is not part of it. Equal configurations on equal data give
equal results on one kind of machine with one number of threads.
"""

import hashlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from dsc._backbones.registry import load_backbone
from dsc._codecs.registry import LOSSLESS
from dsc._replay.buffer.kept import ExemplarCodec, PictureShare
from dsc._replay.learners.base import Recipe
from dsc._replay.learners.registry import learner_class
from dsc._schemas.base import Schema
from dsc._schemas.size import parse_bytes
from dsc.errors import UsageError

NO_EXEMPLARS = "none"
USUAL_QUALITY = 50


class DataConfig(Schema):
    """The images of a run; see `dsc._replay.scenario.images.load_split` for the meanings."""

    place: str
    test: str | None = None
    classes: int | tuple[str, ...] | None = None
    per_class: int | None = None
    size: int | None = None


class ScenarioConfig(Schema):
    """The steps of a run; see `dsc._replay.scenario.scenario.ClassIncremental`.

    Attributes
    ----------
    order_seed
        Of the class order; None: the run's own seed.
    """

    increment: int = Field(ge=1)
    initial_increment: int | None = Field(default=None, ge=1)
    class_order: tuple[int, ...] | tuple[str, ...] | None = None
    order_seed: int | None = None


class RunConfig(Schema):
    """One run.

    Attributes
    ----------
    budget
        Bytes that may be kept of the past, everything counted; 0 for a learner that keeps no
        exemplars, whose sums have the size that they have.
    codec, quality
        How the buffer keeps exemplars; the quality is 1 to 100. ``default``: as its first images'
        size says; ``embedding``: the backbone's embeddings of them.
    pictures
        Of embeddings, what is kept as pictures instead.
    policy
        Which exemplars the buffer keeps; None for the learner's own policy.
    preprocess
        Whether new images and test images pass through the buffer's codec too, so that all that
        the network sees has been compressed alike ("Probing Image Compression for
        Class-Incremental Learning", Yang et al. 2024).
    herd_decoded
        Whether herding goes by the features of images as the buffer gives them back (MRDC, Wang
        et al., ICLR 2022), not by those of the originals.
    evaluate
        After ``every`` step, or after the ``last`` one.
    """

    data: DataConfig
    scenario: ScenarioConfig
    learner: str
    budget: int = Field(default=0, ge=0)
    codec: str = "webp"
    quality: int = Field(default=50, ge=1, le=100)
    pictures: PictureShare | None = None
    policy: str | None = None
    preprocess: bool = False
    herd_decoded: bool = False
    recipe: Recipe = Recipe()
    evaluate: Literal["every", "last"] = "every"
    seed: int = Field(default=0, ge=0)

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a share that there is not: older configurations keep their ids."""
        whole: dict[str, Any] = handler(self)
        return {k: v for k, v in whole.items() if k != "pictures" or v is not None}

    @property
    def kept(self) -> ExemplarCodec:
        """How exemplars are kept."""
        return ExemplarCodec(self.codec, self.quality, self.pictures)

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits that stand for this configuration."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def arm(self) -> str:
        """How exemplars are kept, in a word: ``webp-50``, ``webp-50+preprocess``, ``none``."""
        if not self.budget:
            return NO_EXEMPLARS
        codec = f"{self.codec}-{self.quality}" if self.codec not in LOSSLESS else self.codec
        codec += "" if self.pictures is None else f"+{self.pictures}".replace(":", "-")
        extras = {"preprocess": self.preprocess, "herd-decoded": self.herd_decoded}
        return "+".join([codec, *(name for name, wanted in extras.items() if wanted)])


class Sweep(Schema):
    """A grid of runs; what `RunConfig` calls x may be several here, called xs.

    A learner that keeps no exemplars is one run a seed, whatever the budgets and codecs are.

    Attributes
    ----------
    codecs
        Codecs, each with a quality after a colon where it takes one: ``webp:50``, ``raw``,
        ``embedding:40``, ``embedding:40+10%av1-small:20``.
    recipes
        Changes to `recipe` by learner.
    """

    data: DataConfig
    scenario: ScenarioConfig
    learners: tuple[str, ...] = Field(min_length=1)
    budgets: tuple[int | str, ...] = ()
    codecs: tuple[str, ...] = ("webp:50",)
    policy: str | None = None
    preprocess: bool = False
    herd_decoded: bool = False
    recipe: Recipe = Recipe()
    recipes: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    evaluate: Literal["every", "last"] = "every"
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)

    @classmethod
    def make(cls, **values: Any) -> Self:
        """Make a sweep of options.

        Raises
        ------
        UsageError
            When they are none; the message names the option and the value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(_first(error)) from None

    @classmethod
    def read(cls, path: str | Path, changes: Mapping[str, Any] | None = None) -> Self:
        """Read a sweep from a JSON file; `changes` replace what stands in it.

        Raises
        ------
        UsageError
            When there is no such file, or it is no sweep.
        """
        import json

        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise UsageError(f"{path}: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise UsageError(f"{path}: expected one object with data, scenario, learners, ...")
        changed = (changes or {}).get("recipe", {})
        if isinstance(values.get("recipes"), Mapping):  # a change holds for every learner
            values["recipes"] = {
                learner: {name: value for name, value in own.items() if name not in changed}
                for learner, own in values["recipes"].items()
            }
        for name, value in (changes or {}).items():
            both = isinstance(value, Mapping) and isinstance(values.get(name), Mapping)
            values[name] = {**values[name], **value} if both else value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError(f"{path}: {_first(error)}") from None

    def runs(self) -> list[RunConfig]:
        """Return the runs, all arms of one seed before the next seed.

        Raises
        ------
        UsageError
            When a learner or backbone is unknown, a recipe does not fit its learner, one that
            keeps exemplars has no budget, or a codec or size is not spelled as it should be.
        MissingPackageError
            When what a backbone needs is not installed.
        """
        memories = {name: self._memories(name) for name in self.learners}
        runs = [
            self._run(learner, *memory, seed)
            for seed in self.seeds
            for learner in self.learners
            for memory in memories[learner]
        ]
        for recipe, learner in {run.recipe: run.learner for run in runs}.items():
            learner_class(learner).check(recipe)
        for run in runs:
            _check_kept(run)
        for backbone in {run.recipe.backbone for run in runs} - {None}:
            load_backbone(backbone)
        return runs

    def _memories(self, learner: str) -> list[tuple[int, ExemplarCodec]]:
        """Return the budgets and codecs, by quality, that a learner is run with."""
        codecs = [ExemplarCodec.parse(text, USUAL_QUALITY) for text in self.codecs]
        budgets = [parse_bytes(budget, "budget") for budget in self.budgets]
        if learner_class(learner).exemplar_free:
            return [(0, ExemplarCodec("webp", USUAL_QUALITY))]
        if not budgets or not codecs:
            raise UsageError(
                f"learner {learner} keeps exemplars: give it a budget in bytes and a codec"
            )
        return list(product(budgets, codecs))

    def _run(self, learner: str, budget: int, kept: ExemplarCodec, seed: int) -> RunConfig:
        recipe = self.recipe.model_dump() | dict(self.recipes.get(learner, {}))
        try:
            return RunConfig(
                data=self.data, scenario=self.scenario, learner=learner, budget=budget,
                codec=kept.codec, quality=kept.quality, pictures=kept.pictures, policy=self.policy,
                preprocess=self.preprocess, herd_decoded=self.herd_decoded,
                recipe=Recipe.model_validate(recipe), evaluate=self.evaluate, seed=seed,
            )  # fmt: skip
        except ValidationError as error:
            raise UsageError(_first(error)) from None


def _check_kept(run: RunConfig) -> None:
    """Refuse embeddings where the learner is shown none, or none that stay what they are."""
    kept = run.kept
    if not run.budget or not kept.has_embeddings:
        return
    if run.recipe.frozen_backbone is None:
        raise UsageError(
            f"codec {kept}: exemplars that are embeddings are those of a frozen backbone; name one "
            "by --backbone, without --tune full"
        )
    if kept.pictures is not None and (run.preprocess or run.herd_decoded):
        raise UsageError(
            f"codec {kept}: of a mixture there is no one codec that all images could pass through; "
            "leave out --preprocess and --herd-decoded"
        )


def _first(error: ValidationError) -> str:
    one = error.errors()[0]
    place = ".".join(str(part) for part in one["loc"]) or "the whole"
    return f"{place}: {one['msg']} (got {str(one['input'])[:80]!r})"
