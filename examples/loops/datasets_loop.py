"""With Hugging Face datasets: an Arrow table; crops and going on are the script's own work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from common import BATCH, CROP, EPOCHS, SEED, Run, metres, read
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def pairs(rgb: list[Path], depth: list[Path]) -> Iterator[dict[str, Any]]:
    """Yield what is stored of the samples."""
    for index, (one, other) in enumerate(zip(rgb, depth, strict=True)):
        yield {"rgb": one.read_bytes(), "depth": other.read_bytes(), "index": index}


class Crop:
    """A crop and a mirror of both tasks, by sample and epoch."""

    epoch = 0

    def __call__(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Decode samples, and cut them."""
        out: dict[str, list[Any]] = {"rgb": [], "depth": [], "index": rows["index"]}
        for png, counts, index in zip(rows["rgb"], rows["depth"], rows["index"], strict=True):
            rng = np.random.default_rng((SEED, self.epoch, index))
            rgb, depth = read(png), metres(read(counts))
            top, left = (rng.integers(0, n - CROP + 1) for n in depth.shape)
            box = slice(top, top + CROP), slice(left, left + CROP)
            rgb, depth = rgb[box], depth[box]
            if rng.random() < 0.5:
                rgb, depth = rgb[:, ::-1], depth[:, ::-1]
            out["rgb"].append(torch.from_numpy(rgb.transpose(2, 0, 1).copy()))
            out["depth"].append(torch.from_numpy(depth.copy()))
        return out


def main() -> None:
    """Write a table, and train."""
    run = Run.start()
    table = run.work / "table"
    if run.first and not table.exists():
        given = {"rgb": run.rgb, "depth": run.depth}
        cache = str(run.work / "cache")
        datasets.Dataset.from_generator(pairs, gen_kwargs=given, cache_dir=cache).save_to_disk(
            table
        )
    run.wait()
    crop = Crop()
    samples = datasets.load_from_disk(table).with_transform(crop)
    sampler = DistributedSampler(samples, run.world, run.rank, seed=SEED)
    loader = DataLoader(samples, BATCH, sampler=sampler)
    begun, skipped = run.saved or (0, 0)
    for epoch in range(begun, EPOCHS):
        crop.epoch = epoch  # does not reach workers that live on
        sampler.set_epoch(epoch)
        for step, batch in enumerate(loader):
            if epoch == begun and step < skipped:
                continue
            if run.train(batch["rgb"], batch["depth"], batch["index"]):
                run.save([epoch, step + 1])
    run.end()


if __name__ == "__main__":
    main()
