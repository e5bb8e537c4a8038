"""Layers with a branch beside them, in modules that share everything else."""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Parallel(nn.Module):
    """A module and a branch that takes the same; what they give is added.

    Parameters
    ----------
    base
        What is shared and frozen.
    branch
        What is a task's own; it starts at zero.
    """

    def __init__(self, base: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.base, self.branch = base, branch

    def forward(self, x: Tensor) -> Tensor:
        """Add what both make of x."""
        added: Tensor = self.base(x) + self.branch(x)
        return added


def with_parts(module: M, parts: Mapping[str, nn.Module]) -> M:
    """Return a module that shares everything with another, but for some of its parts.

    The other one stays as it is. What both share are the very tensors, not copies.

    Parameters
    ----------
    parts
        By dotted name, as `named_modules` has it.
    """
    own = copy.copy(module)
    own._modules = dict(module._modules)  # the copy is shallow: this too would be shared
    for name, part in parts.items():
        first, _, rest = name.partition(".")
        inner = cast(nn.Module, own._modules[first])
        own._modules[first] = with_parts(inner, {rest: part}) if rest else part
    return own


def branches_of(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return all branches in a module."""
    return tuple(part.branch for part in module.modules() if isinstance(part, Parallel))


def base_digest(module: nn.Module) -> str:
    """Return a hash of all parameters and buffers but the branches'.

    With branches or without, the same base has the same hash.
    """
    found = hashlib.sha256()
    for name, value in sorted(_base_tensors(module), key=lambda one: one[0]):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _base_tensors(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(module, Parallel):
        yield from _base_tensors(module.base, prefix)
        return
    for name, value in (*module._parameters.items(), *module._buffers.items()):
        if value is not None:
            yield prefix + name, value
    for name, child in module.named_children():
        yield from _base_tensors(child, f"{prefix}{name}.")
