"""Batches as tensors: a batch's arrays are wrapped, without a copy."""

from typing import Any

import torch

from dsc._stream.collate import StreamBatch, is_numeric


def to_tensors(batch: StreamBatch, lists: frozenset[str] = frozenset()) -> StreamBatch:
    """Return a batch whose arrays are tensors.

    Parameters
    ----------
    batch
        What `collate` made for torch.
    lists
        Names whose values are lists of arrays.
    """
    return StreamBatch(
        (name, [_tensor(one) for one in value] if name in lists else _tensor(value))
        for name, value in batch.items()
    )


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in a dtype that torch computes with; the same where it does already."""
    wider = {torch.uint16: torch.int32, torch.uint32: torch.int64}.get(tensor.dtype)
    return tensor if wider is None else tensor.to(wider)


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if is_numeric(value) else value
