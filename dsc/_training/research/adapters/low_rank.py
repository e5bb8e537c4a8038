"""Low-rank adaptation of linear layers and 1×1 convolutions: W x + U D x.

D is random and U zero at first (Hu et al., "LoRA", ICLR 2022, section 4.1): with both zero, nothing
would ever move.
"""

from typing import cast

from torch import Tensor, nn

from dsc._training.research.adapters.parallel import M, Parallel, branches_of, with_parts
from dsc.errors import UsageError


class LowRank(nn.Module):
    """U D of one layer, without biases.

    Parameters
    ----------
    layer
        A linear layer or a 1×1 convolution.
    rank
        Rows of D.

    Raises
    ------
    UsageError
        When the rank is not between 1 and the layer's own.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape[:2]
        if not 1 <= rank <= min(inputs, outputs):
            raise UsageError(
                f"rank {rank}: a layer of {inputs} to {outputs} has 1 to {min(inputs, outputs)}"
            )
        self.down, self.up = (
            nn.Linear(*sizes, bias=False)
            if isinstance(layer, nn.Linear)
            else nn.Conv2d(*sizes, 1, bias=False)
            for sizes in ((inputs, rank), (rank, outputs))
        )
        nn.init.normal_(self.down.weight, std=inputs**-0.5)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map what the layer takes to what it gives."""
        mapped: Tensor = self.up(self.down(x))
        return mapped


def low_rank(module: M, rank: int) -> M:
    """Return a module whose linear layers and 1×1 convolutions have a low-rank branch each.

    Everything else is shared with `module`, which stays as it is.

    Raises
    ------
    UsageError
        When it has no such layer, or one of a lower rank.
    """
    adapted = _adapted(module, rank)
    if not branches_of(adapted):
        raise UsageError(f"{type(module).__name__} has no linear layer and no 1×1 convolution")
    return cast(M, adapted)


def _adapted(module: nn.Module, rank: int) -> nn.Module:
    if _is_pointwise(module):
        return Parallel(module, LowRank(cast(nn.Conv2d, module), rank))
    return with_parts(
        module, {name: _adapted(part, rank) for name, part in module.named_children()}
    )


def _is_pointwise(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) == module.stride and module.groups == 1
    return isinstance(module, nn.Linear)
