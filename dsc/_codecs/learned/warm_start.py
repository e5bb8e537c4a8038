"""Starts a new network from a trained one: what fits is copied, what is new starts silent.

Blocks that the trained network lacks stay the identity (`GatedBlock.project` is zero). A network
with a shared stream can start one without: the shared latent is linear in a task's features but
for its joint part, so the task's own latent can stand in for it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from dsc._codecs.coding.integer import BIAS_UNIT, IntegerConv
from dsc._codecs.learned.coding import ConditionalNetwork
from dsc._codecs.learned.conditional import ConditionalModel
from dsc._codecs.learned.klt import refined_order
from dsc._codecs.learned.spec import SHARED, ModelSpec
from dsc._codecs.learned.weights import read_metadata

FAINT = 0.5  # a row of `private` below this norm is carried by the shared latent instead


@dataclass(frozen=True)
class Trained:
    """Weights of a trained network as training holds them, and its sizes.

    Attributes
    ----------
    spec
        The sizes.
    state
        Its `state_dict`; from a codec file, the priors of ẑ are missing.
    """

    spec: ModelSpec
    state: Mapping[str, Tensor]


def load_trained(path: Path) -> Trained:
    """Read a codec file (``.safetensors``) or a training checkpoint (``.pt``).

    A checkpoint is a mapping with the averaged weights under ``average`` (or, where nothing is
    averaged, the weights under ``network``) and the sizes under ``spec``; without sizes it is the
    first version's.

    Raises
    ------
    BitstreamError
        When a codec file is none.
    """
    if path.suffix == ".pt":
        saved = torch.load(path, weights_only=True, map_location="cpu")
        given = saved.get("spec")
        state = saved.get("average") or saved["network"]
        return Trained(ModelSpec.from_json(given) if given else ModelSpec(), state)
    data = path.read_bytes()
    spec = ModelSpec.from_json(json.loads(read_metadata(data)["model"]))
    state = {
        name: tensor.float()
        for name, tensor in safetensors.torch.load(data).items()
        if not name.startswith("tables.")
    }
    for name, layer in ConditionalModel(spec).named_modules():
        if isinstance(layer, IntegerConv):
            unit = 2.0**-layer.shift
            state[f"{name}.weight"] = state[f"{name}.weight"] * unit
            state[f"{name}.bias"] = state[f"{name}.bias"] * (unit / BIAS_UNIT)
    return Trained(spec, state)


@torch.no_grad()
def warm_start(network: ConditionalNetwork, trained: Trained) -> list[str]:
    """Copy what fits of a trained network; give the names of what did not fit.

    Call it after `network.initialise`, which starts the rest.
    """
    own = dict(network.state_dict())
    source = _adapted(network.spec, trained)
    missed = []
    for name, tensor in own.items():
        found = source.get(name)
        if found is not None and found.shape == tensor.shape:
            tensor.copy_(found)
        elif name.endswith((".mix.weight", ".entry.weight")) and found is not None:
            _copy_columns(tensor, found, first=".mix." in name)
        elif ".project." not in name:
            missed.append(name)
    return missed


def _copy_columns(tensor: Tensor, found: Tensor, first: bool) -> None:
    """Copy the inputs that both layers have: the first ones, or the last; others become zero."""
    if tensor.shape[0] != found.shape[0]:
        return
    count = min(tensor.shape[1], found.shape[1])
    tensor.zero_()
    if first:
        tensor[:, :count] = found[:, :count]
    else:
        tensor[:, -count:] = found[:, -count:]


def _adapted(spec: ModelSpec, trained: Trained) -> dict[str, Tensor]:
    """Rewrite the trained weights for the new network's graph and its refinements."""
    state = dict(trained.state)
    unshared = trained.spec.is_joint and not spec.is_joint
    for name in spec.modalities:
        if name not in trained.spec.modalities:
            continue
        if unshared:
            _without_shared(state, trained.spec, name)
        refined = [given.modalities[name].refine[1] > 0 for given in (spec, trained.spec)]
        if refined == [True, False]:
            order = refined_order(spec.modalities[name].channels)
            for part in ("weight", "bias"):
                key = f"synthesis.{name}.exit.{part}"
                state[key] = state[key][order]
    if unshared:
        state = {key: t for key, t in state.items() if f".{SHARED}." not in key}
    return state


def _without_shared(state: dict[str, Tensor], spec: ModelSpec, name: str) -> None:
    """Let a task's own latent carry what it took from the shared one.

    With features f: y_s = A f, y = P f, and synthesis begins with E_s y_s + E y. Where P has faint
    rows it becomes the identity, and synthesis E_s A + E P; else P stays, and synthesis becomes
    E + E_s A P⁻¹.
    """
    start = 0
    for other, m in spec.modalities.items():
        if other == name:
            break
        start += m.latents
    width = spec.modalities[name].latents
    a = state["to_shared.weight"][:, start : start + width, 0, 0]
    p = state[f"private.{name}.weight"][:, :, 0, 0]
    entry = state[f"synthesis.{name}.entry.weight"][:, :, 0, 0]
    shared, own = entry[:, : spec.shared_latents], entry[:, spec.shared_latents :]
    norms = p.norm(dim=1)
    if norms.min() < FAINT:
        state[f"private.{name}.weight"] = torch.eye(width)[:, :, None, None]
        state[f"private.{name}.bias"] = torch.zeros(width)
        merged = shared @ a + own @ p
        gain = state.pop(f"gain.{name}.log_gain").clone()
        strong = norms >= FAINT
        if strong.any():  # else the new network's own start is the better one
            gain[:, ~strong] = gain[:, strong].mean(dim=1, keepdim=True)
            state[f"gain.{name}.log_gain"] = gain
    else:
        merged = own + shared @ a @ torch.linalg.inv(p.double()).float()
    state[f"synthesis.{name}.entry.weight"] = merged[:, :, None, None]
    for key in ("context_spread", "context_mix"):  # they read the shared latent
        for part in ("weight", "bias"):
            state.pop(f"entropy.{name}.synthesis.{key}.{part}", None)
