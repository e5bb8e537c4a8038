"""Models of timm (PyTorch Image Models) as backbones: ``timm:NAME``.

Weights are timm's own pretrained ones, which it downloads and keeps; where the environment variable
``DSC_BACKBONES`` names a directory that holds ``NAME.safetensors`` or ``NAME.pth``, those. They are
known by the hash of the values themselves.
"""

import os
import re
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dsc._backbones.base import Layer
from dsc._backbones.staged import INPUT, LOGITS
from dsc._backbones.weights import hash_weights
from dsc._extras import needing
from dsc._schemas.extractor import EMBEDDING, Preprocessing
from dsc.errors import UsageError

WEIGHTS = "DSC_BACKBONES"
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")  # no path, and no repository: archives name models


class TimmBackbone:
    """A model of timm; see `dsc._backbones.base.Backbone`.

    Parameters
    ----------
    name
        With the prefix.
    model
        With its weights.

    Attributes
    ----------
    model
        The same, frozen.
    """

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.weights_sha256 = hash_weights(model.state_dict())
        self.model = model.eval().requires_grad_(False)
        config = model.pretrained_cfg
        height, width = config["input_size"][1:]
        self._fixed = (height, width) if config.get("fixed_input_size") else None
        self.preprocessing = Preprocessing(
            side=min(height, width),
            crop=config["crop_pct"],
            mean=tuple(255 * value for value in config["mean"]),
            std=tuple(255 * value for value in config["std"]),
        )
        self.embedding_size = int(getattr(model, "head_hidden_size", 0) or model.num_features)
        known = model.feature_info if hasattr(model, "forward_intermediates") else []
        self.layers = tuple(
            Layer(one["module"], one["num_chs"], one["reduction"])
            for one in getattr(known, "info", known)
        )

    def embed(self, pictures: Tensor) -> Tensor:
        """Return what the model's classifier sees, (B, N), of prepared pictures."""
        self._check(pictures)
        with torch.inference_mode():
            return cast(Tensor, Embedder(self.model)(pictures))

    def features(self, pictures: Tensor, layer: str) -> Tensor:
        """Return the feature maps (B, C, h, w) of prepared pictures at a layer."""
        names = [known.name for known in self.layers]
        if layer not in names:
            listed = ", ".join(names) or "none"
            raise UsageError(f"backbone {self.name} has no feature maps {layer!r}; it has {listed}")
        self._check(pictures)
        with torch.inference_mode():
            (found,) = self.model.forward_intermediates(
                pictures, indices=[names.index(layer)], intermediates_only=True, output_fmt="NCHW"
            )
            return cast(Tensor, found)

    def tail(self, layer: str, to: str) -> nn.Module:
        """Return all up to the embedding, or the classifier behind: models part there alone."""
        if (layer, to) == (INPUT, EMBEDDING):
            return Embedder(self.model)
        if (layer, to) == (EMBEDDING, LOGITS):
            return cast(nn.Module, self.model.get_classifier())
        raise UsageError(
            f"backbone {self.name} goes from {INPUT} to {EMBEDDING}, or on to {LOGITS} only, not "
            f"from {layer} to {to}"
        )

    def _check(self, pictures: Tensor) -> None:
        """Refuse a size that a model with one size for all does not take."""
        if self._fixed is not None and tuple(pictures.shape[2:]) != self._fixed:
            size = " x ".join(map(str, pictures.shape[:1:-1]))
            raise UsageError(
                f"backbone {self.name} takes pictures of {self._fixed[1]} x {self._fixed[0]} "
                f"alone, not {size}; leave --side out"
            )


class Embedder(nn.Module):
    """What of a model comes before its classifier."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the embeddings (B, N) of prepared pictures (B, 3, H, W)."""
        features = self.model.forward_features(pictures)
        return cast(Tensor, self.model.forward_head(features, pre_logits=True))


def timm_backbone(name: str) -> TimmBackbone:
    """Load a model of timm as a backbone.

    Parameters
    ----------
    name
        With the prefix.

    Raises
    ------
    UsageError
        When timm has no such model, or its weights cannot be had.
    MissingPackageError
        When timm is not installed.
    """
    with needing("timm", f"backbone {name}"):
        import timm
    model = name.partition(":")[2]
    if not _NAME.fullmatch(model) or not timm.is_model(model.partition(".")[0]):
        raise UsageError(f"no backbone {name!r}: timm {timm.__version__} has no model {model!r}")
    path = _own_weights(model)
    try:
        made = timm.create_model(model, pretrained=path is None)
        if path is not None:
            made.load_state_dict(_read_weights(path))
    except Exception as error:  # safetensors, pickle and a hub have errors of their own
        raise UsageError(
            f"backbone {name}: its weights cannot be had ({error}); put them into a directory as "
            f"{model}.safetensors, and name that by the environment variable {WEIGHTS}"
        ) from error
    return TimmBackbone(name, made)


def _own_weights(model: str) -> Path | None:
    """Return the file of a model's weights, where there is one here."""
    folder = os.environ.get(WEIGHTS)
    if not folder:
        return None
    files = (Path(folder) / f"{model}{suffix}" for suffix in (".safetensors", ".pth"))
    return next((path for path in files if path.is_file()), None)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".pth":
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    from safetensors.torch import load_file

    found: dict[str, Tensor] = load_file(path)
    return found
