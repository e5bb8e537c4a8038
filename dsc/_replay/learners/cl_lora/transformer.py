"""Adapters on the queries and values of a vision transformer of timm, as in the paper.

The first half of the blocks is shared by all tasks. Nothing of a picture is left unadapted, so the
learner is shown pixels.
"""

import copy
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from dsc._backbones.pictures import prepare
from dsc._backbones.timm_models import TimmBackbone
from dsc._replay.learners.cl_lora.low_rank import Site, site
from dsc._replay.learners.cl_lora.trunk import AdaptedPart, Trunk
from dsc._replay.learners.views.base import Rows
from dsc.errors import UsageError


def transformer_trunk(backbone: TimmBackbone, side: int, device: torch.device) -> Trunk:
    """Part a vision transformer behind the first half of its blocks.

    Parameters
    ----------
    side
        Pixels of the square that it sees.

    Raises
    ------
    UsageError
        When the backbone is no transformer with queries, keys and values in one weight.
    """
    model: Any = backbone.model
    blocks = getattr(model, "blocks", ())
    if not all(hasattr(block, "attn") and hasattr(block.attn, "qkv") for block in blocks):
        blocks = ()
    if len(blocks) < 2:
        raise UsageError(
            f"backbone {backbone.name}: adapters sit on efficientnet-lite0, or on a vision "
            "transformer of timm with two or more blocks that have a weight 'attn.qkv'"
        )
    half = len(blocks) // 2
    early, late = _Tokens(model, half), _Embedding(model, half)
    pooled = AdaptedPart(_Embedding(model, len(blocks)), (), device)
    seen = backbone.preprocessing.model_copy(update={"side": side, "crop": 1.0})

    def prepare_pictures(pictures: Rows) -> Tensor:
        return prepare(list(pictures), seen, stride=1).to(device)

    return Trunk(
        prepare_pictures,
        AdaptedPart(early, _sites(early), device),
        partial(pooled, weights={}),
        AdaptedPart(late, _sites(late), device),
        backbone.embedding_size,
    )


class _Tokens(nn.Module):
    """A vision transformer up to one of its blocks: pictures (B, 3, H, W) to tokens (B, N, D)."""

    def __init__(self, model: Any, blocks: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.blocks = self.model.blocks[:blocks]

    def forward(self, pictures: Tensor) -> Tensor:
        model = self.model
        tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(pictures))))
        return cast(Tensor, model.blocks(tokens))


class _Embedding(nn.Module):
    """The rest of it: tokens (B, N, D) to what the classifier sees, (B, D)."""

    def __init__(self, model: Any, blocks: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.blocks = self.model.blocks[blocks:]

    def forward(self, tokens: Tensor) -> Tensor:
        model = self.model
        features = model.norm(model.blocks(tokens))
        return cast(Tensor, model.forward_head(features, pre_logits=True))


def _sites(part: nn.Module) -> list[Site]:
    """List the queries and the values of a part's blocks, from its input on."""
    sites = []
    for name, module in part.named_modules():
        if hasattr(module, "qkv"):
            weight = module.qkv.weight
            size = len(weight) // 3
            named = f"{name}.qkv.weight"
            sites += [site(named, weight, at * size, size) for at in (0, 2)]
    return sites
