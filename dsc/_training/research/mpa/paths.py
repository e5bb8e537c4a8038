"""Main path and side paths of a block, and the split of positions between them.

Everything here works on tokens (B, H, W, C): a vector for each position of the picture.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._training.research.mpa.levels import at_level
from dsc.errors import UsageError

EXPANSION = 2  # of the main path's hidden layer, times its channels
SHIFT_UNIT = 100.0  # the scores' learned shift is kept in parts of this, so that it moves fast
LIKELIEST = 0.99  # what a split begins with where all positions shall go one way


class Mlp(nn.Module):
    """A normalised two-layer perceptron, the main path of a block."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, hidden)
        self.project = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        mapped: Tensor = self.project(F.gelu(self.expand(self.norm(x))))
        return mapped


class PerceptronPath(Mlp):
    """A side path with a perceptron of its own.

    It starts as the main path's hidden units of the largest weights: with as many units as that
    has, as the main path itself.
    """

    def __init__(self, main: Mlp, hidden: int) -> None:
        super().__init__(main.expand.in_features, hidden)
        weight = main.expand.weight.norm(dim=1) * main.project.weight.norm(dim=0)
        kept = weight.topk(hidden).indices.sort().values
        with torch.no_grad():
            self.norm.load_state_dict(main.norm.state_dict())
            self.expand.weight.copy_(main.expand.weight[kept])
            self.expand.bias.copy_(main.expand.bias[kept])
            self.project.weight.copy_(main.project.weight[:, kept])
            self.project.bias.copy_(main.project.bias)

    def along(self, x: Tensor, main: Mlp) -> Tensor:
        """Map (..., C) to the same shape; the main path is not used."""
        del main
        mapped: Tensor = self(x)
        return mapped


class LowRankPath(nn.Module):
    """A side path that is the main path with low-rank updates of its two layers.

    Hu et al., "LoRA: Low-rank adaptation of large language models" (ICLR 2022), with α = 1: each
    update is Up Down / r, Down random and Up zero at first, so that it starts as the main path.
    """

    def __init__(self, main: Mlp, rank: int) -> None:
        super().__init__()
        channels, hidden = main.expand.in_features, main.expand.out_features
        self.expand = _low_rank(channels, hidden, rank)
        self.project = _low_rank(hidden, channels, rank)
        self.scale = 1.0 / rank

    def along(self, x: Tensor, main: Mlp) -> Tensor:
        """Map (..., C) to the same shape, with the main path's weights."""
        x = main.norm(x)
        hidden = F.gelu(main.expand(x) + self.scale * self.expand(x))
        mapped: Tensor = main.project(hidden) + self.scale * self.project(hidden)
        return mapped


def _low_rank(inputs: int, outputs: int, rank: int) -> nn.Sequential:
    up = nn.Linear(rank, outputs, bias=False)
    nn.init.zeros_(up.weight)
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), up)


SidePath = PerceptronPath | LowRankPath
HIDDEN = {"bottleneck": 0.5, "inverted": EXPANSION}  # units of a side path, times its channels


def side_path(kind: str, main: Mlp) -> SidePath:
    """Make a side path that starts from a main path.

    Parameters
    ----------
    kind
        ``bottleneck`` (C → C/2 → C), ``inverted`` (C → 2C → C) or ``lora-R`` with a rank R.

    Raises
    ------
    UsageError
        When there is no such kind.
    """
    if rank := re.fullmatch(r"lora-([1-9]\d*)", kind):
        return LowRankPath(main, int(rank[1]))
    if kind not in HIDDEN:
        raise UsageError(f"side path {kind!r}: one of {', '.join(HIDDEN)}, or lora-RANK")
    return PerceptronPath(main, int(HIDDEN[kind] * main.expand.in_features))


class Predictor(nn.Module):
    """Scores positions by what is there and by what the picture is like on the average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entry = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels // 4))
        self.mix = nn.Linear(channels // 4, channels // 16)
        self.exit = nn.Linear(channels // 16, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, H, W) of tokens (B, H, W, C)."""
        x = F.gelu(self.entry(x))
        local, other = x.chunk(2, dim=-1)
        everywhere = other.mean(dim=(1, 2), keepdim=True).expand_as(other)
        x = F.gelu(self.mix(torch.cat([local, everywhere], dim=-1)))
        scores: Tensor = self.exit(x).squeeze(-1)
        return scores


class Split(nn.Module):
    """Sends positions the main way (1) or the side way (0).

    In evaluation the best-scored positions of each picture go the main way, exactly so many as the
    fraction says. In training each is drawn, by a hard Gumbel-sigmoid with straight-through
    gradients (Jang et al., "Categorical reparameterization with Gumbel-softmax", ICLR 2017); how
    many go the main way is learned by `ratio_loss`, as a shift of the scores at each level.

    Parameters
    ----------
    fractions
        The fraction that goes the main way by level, (8,), from which the shift starts.
    """

    def __init__(self, channels: int, fractions: Tensor) -> None:
        super().__init__()
        self.predictor = Predictor(channels)
        likely = fractions.clamp(1 - LIKELIEST, LIKELIEST)
        self.shift = nn.Parameter(torch.logit(likely) / SHIFT_UNIT)

    def forward(self, x: Tensor, position: Tensor, fraction: Tensor) -> Tensor:
        """Return a mask (B, H, W, 1) of zeros and ones.

        Parameters
        ----------
        x
            Tokens (B, H, W, C).
        position
            Level or slider, 1 to 8, (B,).
        fraction
            The part that shall go the main way, (B,).
        """
        scores = self.predictor(x)
        if not self.training:
            return split_by_score(scores, fraction)[..., None].to(x.dtype)
        shift = SHIFT_UNIT * at_level(self.shift, position)
        return gumbel_sigmoid(scores + shift[:, None, None])[..., None]


def split_by_score(scores: Tensor, fraction: Tensor) -> Tensor:
    """Return where the best scores are: round(fraction · H W) positions of each picture.

    Parameters
    ----------
    scores
        (B, H, W). Of equal ones the earlier position is taken first.
    fraction
        In [0, 1], (B,).

    Returns
    -------
    Tensor
        (B, H, W) bool.
    """
    flat = scores.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    count = (fraction * flat.shape[1]).round()
    return (rank < count[:, None]).view_as(scores)


def gumbel_sigmoid(logits: Tensor) -> Tensor:
    """Draw zeros and ones, of probability sigmoid(logits); gradients are those of the soft ones."""
    uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid(logits + torch.logit(uniform))
    return soft + ((soft > 0.5).to(soft.dtype) - soft).detach()


def ratio_loss(masks: list[Tensor], fraction: Tensor) -> Tensor:
    """Return the squared difference of what went the main way and what should have, over masks.

    Parameters
    ----------
    masks
        Of each stage, (B, H, W, 1).
    fraction
        (B,).
    """
    went = torch.stack([mask.mean(dim=(1, 2, 3)) for mask in masks])
    return (went - fraction).square().mean()
