"""Class-incremental replay: the buffer, its policies, and experiments around it.

This module needs torch (``pip install 'dsc[torch]'``); `dsc.ReplayBuffer` alone does not.
"""

# ruff: noqa: E402 - torch is asked for first, so that the error says how to get it
from dsc._extras import need

need("torch", "dsc.replay")

from dsc._jobs.replay.sweep import sweep
from dsc._replay.buffer.adapt import adapt_encoder
from dsc._replay.buffer.buffer import ReplayBuffer
from dsc._replay.buffer.dataset import ExemplarDataset
from dsc._replay.buffer.snapshot import BufferReport
from dsc._replay.experiment.plan import RunConfig, Sweep
from dsc._replay.learners.base import Recipe
from dsc._replay.policies.base import (
    ClassBalanced,
    ExemplarTable,
    Policy,
    PolicyChoice,
    Reservoir,
)
from dsc._replay.policies.herding import Herding
from dsc._replay.policies.rate_adaptive import RateAdaptive
from dsc._replay.scenario.images import LabelledImages, load_images, load_split
from dsc._replay.selection import CodecSelection, select_codec

__all__ = [
    "BufferReport",
    "ClassBalanced",
    "CodecSelection",
    "ExemplarDataset",
    "ExemplarTable",
    "Herding",
    "LabelledImages",
    "Policy",
    "PolicyChoice",
    "RateAdaptive",
    "Recipe",
    "ReplayBuffer",
    "Reservoir",
    "RunConfig",
    "Sweep",
    "adapt_encoder",
    "load_images",
    "load_split",
    "select_codec",
    "sweep",
]
