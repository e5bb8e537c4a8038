"""What a learner is: it takes a scenario increment by increment, and tells classes apart.

A learner draws nothing from global generators: each epoch has its own, seeded by (seed, increment,
epoch). Its whole state is therefore what `state_dict` gives, and a run that was stopped between two
epochs goes on exactly as if it had not been. The buffer is any `ExemplarMemory`: a map-style data
set of (image, label) with labels and keys, as `ReplayBuffer` is. What a learner is shown of
pictures, a view says (`dsc._replay.learners.views`): pixels, or the features of a frozen backbone.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._replay.learners.memory import ExemplarMemory
from dsc._replay.learners.views.base import Rows
from dsc._replay.scenario.images import Labels
from dsc._replay.scenario.scenario import Increment
from dsc._schemas.base import Schema
from dsc._schemas.extractor import EMBEDDING
from dsc.errors import UsageError

Features = NDArray[np.float32]
_ALWAYS_WRITTEN = frozenset({
    "network", "epochs", "first_epochs", "steps", "batch", "lr", "momentum", "weight_decay",
    "temperature", "alpha", "beta", "cutmix",
})  # fmt: skip
AdapterPart = Literal[
    "shared", "specific", "distillation", "reassignment", "block-weights", "orthogonality"
]


class Recipe(Schema):
    """How a learner is trained; equal recipes on equal data give equal networks.

    Attributes
    ----------
    network
        ``resnet8``, ``resnet8-wide``, ``resnet8-early``, ``resnet18``, ``resnet20``, ``resnet32``;
        not looked at where there is a backbone.
    epochs, first_epochs
        Passes over the images of an increment, and of the first increment (None: the same).
    steps
        Steps of the optimiser for GDumb, which trains from the buffer alone.
    batch
        Images a step of the optimiser; learners that replay add as many exemplars.
    lr, momentum, weight_decay
        Of SGD; the rate falls to zero along a cosine, anew at each increment of the scenario.
    temperature
        Of distillation (iCaRL, WA).
    alpha, beta
        Weights of DER++'s two replay terms.
    cutmix
        Share of GDumb's batches whose images are mixed; 0.5 in its paper.
    backbone
        Name of a pretrained network, as `dsc.backbones.load_backbone` takes it; None for a network
        that is trained from scratch.
    backbone_side
        Pixels of the square that the backbone sees: a picture's shorter side is resized to it, and
        the middle cut out.
    tune
        ``frozen``: the learner is shown the backbone's features, which never change. ``full``: the
        backbone is trained with its head, end to end.
    random_features
        Of RanPAC; 10,000 in its paper. Time grows with their cube, memory with their square.
    rank, adapter_lr
        Of the low-rank adapters on a backbone, and Adam's learning rate for them; it falls as that
        of SGD does.
    without
        Parts that CL-LoRA is to do without: all ``shared`` or all ``specific`` adapters, the
        ``distillation`` of the shared ones or the ``reassignment`` of its gradient,
        ``block-weights`` or their ``orthogonality``.
    """

    network: str = "resnet8"
    epochs: int = 10
    first_epochs: int | None = None
    steps: int = 400
    batch: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    temperature: float = 2.0
    alpha: float = 0.3
    beta: float = 0.5
    cutmix: float = Field(default=0.0, ge=0, le=1)
    backbone: str | None = Field(default=None, min_length=1)
    backbone_side: int = Field(default=128, ge=8, le=8192)
    tune: Literal["frozen", "full"] = "frozen"
    random_features: int = Field(default=2000, ge=1)
    rank: int = Field(default=8, ge=1)
    adapter_lr: float = Field(default=1e-3, ge=0)
    without: tuple[AdapterPart, ...] = ()

    @property
    def frozen_backbone(self) -> str | None:
        """The backbone whose features the learner is shown; None where it is shown pixels."""
        return self.backbone if self.tune == "frozen" else None

    @model_serializer(mode="wrap")
    def _leave_out_what_came_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write younger fields only where they are used: older configurations keep their ids."""
        written: Mapping[str, Any] = write(self)
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {
            name: value
            for name, value in written.items()
            if name in _ALWAYS_WRITTEN or getattr(self, name) != defaults[name]
        }


def require_frozen_backbone(name: str, recipe: Recipe, use: str, because: str) -> None:
    """Refuse a recipe without a backbone, or one that trains all of it.

    Parameters
    ----------
    name
        Of the learner.
    use, because
        What it does with a backbone; and why that stays as it is.
    """
    if recipe.backbone is None:
        raise UsageError(
            f"learner {name} {use} a pretrained backbone: name one by --backbone, for example "
            "efficientnet-lite0"
        )
    if recipe.tune != "frozen":
        raise UsageError(f"learner {name} {because}: leave --tune {recipe.tune} out")


class Learner(ABC):
    """Takes increments one after the other, with a buffer beside it unless it is exemplar-free.

    Parameters
    ----------
    classes
        Classes of the whole scenario.
    side
        Shorter side of the images in pixels.
    recipe
        How it is trained.
    seed
        Of weights, order and augmentation.
    device
        Where it is trained.
    """

    name: ClassVar[str]
    policy: ClassVar[str] = "class-balanced"
    """The buffer's policy, unless another is asked for."""
    exemplar_free: ClassVar[bool] = False
    """Whether it keeps no exemplars: then there is no buffer, and no budget."""
    fills_first: ClassVar[bool] = False
    """Whether the buffer takes an increment's images in before the increment is trained."""
    from_buffer_alone: ClassVar[bool] = False
    """Whether an increment's network depends on nothing but the buffer of that increment."""
    reserves: ClassVar[bool] = False
    """Whether it keeps anything of the exemplars beside the buffer."""

    def __init__(
        self, classes: int, side: int, recipe: Recipe, seed: int, device: str = "cpu"
    ) -> None:
        self.classes, self.side = classes, side
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.increment_index = self.first = self.seen = 0

    @classmethod
    def shown_layer(cls, recipe: Recipe) -> str | None:
        """Return where the features of a backbone are taken that it is shown; None for pixels."""
        return EMBEDDING if recipe.frozen_backbone else None

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Refuse a recipe that this learner cannot follow.

        Raises
        ------
        UsageError
            When it cannot; the message says what to change.
        """
        if recipe.backbone is None and recipe.tune == "full":
            raise UsageError("--tune full trains a backbone: name one by --backbone")

    @abstractmethod
    def begin(self, increment: Increment, buffer: ExemplarMemory) -> None:
        """Set an increment and a buffer before the learner; its state stays as it is."""

    @abstractmethod
    def start(self) -> None:
        """Change the state as an increment begins; not called where an increment goes on."""

    @abstractmethod
    def epochs(self) -> int:
        """Return the number of epochs of the increment that was begun."""

    @abstractmethod
    def epoch(self, number: int) -> float:
        """Train one epoch; return its mean loss."""

    def end(self) -> None:  # noqa: B027 - most learners do nothing
        """Finish the training of an increment."""

    def remember(self, buffer: ExemplarMemory) -> None:  # noqa: B027 - most learners do nothing
        """Note what is to be kept of the exemplars, now that the buffer has the increment's."""

    @abstractmethod
    def predict(self, images: Rows) -> Labels:
        """Return the classes (N,) of images, among those seen."""

    @abstractmethod
    def features(self, images: Rows) -> Features:
        """Return features (N, D) of unit length, for herding and nearest means."""

    def reserve(self, exemplar_bytes: float, budget: int) -> int:
        """Return what of a budget the learner takes for itself, beside the buffer's images."""
        return 0

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps of the past beside the buffer; they count against the budget."""
        return 0

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes as it learns.

        Tensors, numbers, lists and dicts of them.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; `begin` follows, and `start` where an increment begins."""
