"""Training a codec on your own data, here or on a Ray cluster."""

# ruff: noqa: E402 - torch is asked for first, so that the error says how to get it
from dsc._extras import need

need("torch", "dsc.training")

from dsc._jobs.training.run import Pace, TrainReport
from dsc._jobs.training.train import train
from dsc._training.config import DataSpec, TrainConfig
from dsc._training.session import Machine

__all__ = ["DataSpec", "Machine", "Pace", "TrainConfig", "TrainReport", "train"]
