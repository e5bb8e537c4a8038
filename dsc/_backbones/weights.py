"""The hash by which weights are known."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def hash_weights(state: Mapping[str, Tensor]) -> str:
    """Hash a network's weights, as ``state_dict`` gives them: SHA-256, lower-case hexadecimal.

    It takes names, dtypes, shapes and values, in the order of the names, so it is the same whatever
    file they were read from.
    """
    digest = hashlib.sha256()
    for name, values in sorted(state.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        flat = values.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
