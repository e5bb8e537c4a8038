"""What the loops of this directory share: files, a small network, checkpoints and a log.

Each loop trains depth from rgb on random crops of both, on one rank or several, and goes on in
mid-epoch after it was stopped. What differs, and is counted by ``python -m benchmarks.loop_lines``,
is how samples come to it. The log says which crop of which sample each rank saw.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Self

import imagecodecs
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dsc.sources import write_sample

VIEWS, SIZE = 16, 48
CROP, BATCH, EPOCHS, SEED = 32, 4, 2, 5
STOPPED = 3  # exit status of a loop that was stopped


class Run:
    """One rank of a training: the model, and what is saved of it.

    Attributes
    ----------
    files
        A directory of views, in Taskonomy's layout; `rgb` and `depth` list their files.
    saved
        What `save` was given by the run that was stopped; None at the beginning.
    """

    def __init__(self, work: Path, stop_at: int | None) -> None:
        self.work, self.stop_at = work, stop_at
        self.rank, self.world = (
            int(os.environ.get(name, few)) for name, few in (("RANK", "0"), ("WORLD_SIZE", "1"))
        )
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("gloo")
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.step, self.saved = 0, None
        model = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 1, 1))
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        self._model, self._checkpoint = model, work / "checkpoint.pt"
        if self._checkpoint.exists():
            found = torch.load(self._checkpoint, weights_only=True)
            model.load_state_dict(found["model"])
            self.optimiser.load_state_dict(found["optimiser"])
            self.step, self.saved = found["step"], found["data"]
        self.model: nn.Module = DistributedDataParallel(model) if self.world > 1 else model
        self.files = work / "files"
        if self.first and not self.files.exists():
            write_sample(self.files, VIEWS, size=SIZE)
        self.wait()

    @classmethod
    def start(cls) -> Self:
        """Begin, or go on, as the command line says."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--work", type=Path, required=True, help="where to")
        parser.add_argument("--stop-at", type=int, help="stop after this step, in mid-epoch")
        options = parser.parse_args()
        return cls(options.work, options.stop_at)

    @property
    def first(self) -> bool:
        """Whether this rank makes what all use."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            dist.barrier()

    @property
    def rgb(self) -> list[Path]:
        """Files of pictures, uint8 (H, W, 3)."""
        return sorted(self.files.glob("rgb/*/*.png"))

    @property
    def depth(self) -> list[Path]:
        """Files of depth, uint16 (H, W): counts of 1/512 m, 65535 where nothing was measured."""
        return sorted(self.files.glob("depth_zbuffer/*/*.png"))

    def train(self, rgb: Tensor, depth: Tensor, which: Any) -> bool:
        """Take a step, and tell whether the run is to be saved and stopped after it.

        Parameters
        ----------
        rgb, depth
            uint8 (B, 3, H, W); float32 (B, H, W), metres, NaN where nothing was measured.
        which
            Numbers of the samples, for the log.
        """
        error = self.model(rgb.float() / 255)[:, 0] - depth
        loss = error[~depth.isnan()].abs().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        self.log(rgb, which)
        return self.step == self.stop_at

    def log(self, rgb: Tensor, which: Any) -> None:
        """Write which samples a step had, and a hash of each crop."""
        crops = [hashlib.sha256(one.contiguous().numpy().tobytes()).hexdigest()[:8] for one in rgb]
        line = {"step": self.step, "which": [int(one) for one in which], "crops": crops}
        with (self.work / f"log-{self.rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self, data: Any) -> None:
        """Write a checkpoint, with where the samples stand; stop if that was asked for."""
        if self.first:
            module = getattr(self.model, "module", self.model)
            state = {"model": module.state_dict(), "optimiser": self.optimiser.state_dict()}
            torch.save(state | {"step": self.step, "data": data}, self._checkpoint)
        self.wait()
        if self.step == self.stop_at:
            raise SystemExit(STOPPED)

    def state_dict(self) -> dict[str, int]:
        """Return the step."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a step."""
        self.step = state["step"]

    def end(self) -> None:
        """Say how it went."""
        if self.first:
            print(f"{self.step} steps on {self.world} ranks")
        if self.world > 1:
            dist.destroy_process_group()


def metres(counts: Any) -> Any:
    """Return depth in metres, float32 (H, W), of a file's counts."""
    return np.where(counts == 65535, np.nan, counts / np.float32(512)).astype(np.float32)


def read(data: bytes) -> Any:
    """Return the pixels of a PNG file."""
    return imagecodecs.png_decode(data)
