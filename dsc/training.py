"""Training a codec on your own data, here or on a Ray cluster."""

from dsc._jobs.training.train import train
from dsc._training.config import DataSpec, TrainConfig

__all__ = ["DataSpec", "TrainConfig", "train"]
