"""With webdataset: a file of each task in tars; crops and going on are the script's own work."""

from typing import Any

import numpy as np
import webdataset as wds
from common import BATCH, CROP, EPOCHS, SEED, Run, metres, read
from torch.utils.data import DataLoader

SHARDS = 4


def write(run: Run) -> None:
    """Write the files into tars: as many of each as ranks can share."""
    pairs = list(zip(run.rgb, run.depth, strict=True))
    for shard in range(SHARDS):
        with wds.TarWriter(str(run.work / f"{shard}.tar")) as tar:
            for index in range(shard, len(pairs), SHARDS):
                rgb, depth = pairs[index]
                data = {"rgb.png": rgb.read_bytes(), "depth.png": depth.read_bytes()}
                tar.write({"__key__": f"{index:06d}"} | data)


class Crop:
    """A crop and a mirror of both tasks, by sample and epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, sample: dict[str, Any]) -> tuple[Any, Any, int]:
        """Decode a sample, and cut it."""
        index = int(sample["__key__"])
        rng = np.random.default_rng((SEED, self.epoch, index))
        rgb, depth = read(sample["rgb.png"]), metres(read(sample["depth.png"]))
        top, left = (rng.integers(0, n - CROP + 1) for n in depth.shape)
        box = slice(top, top + CROP), slice(left, left + CROP)
        rgb, depth = rgb[box], depth[box]
        if rng.random() < 0.5:
            rgb, depth = rgb[:, ::-1], depth[:, ::-1]
        return rgb.transpose(2, 0, 1).copy(), depth.copy(), index


def main() -> None:
    """Write tars, and train."""
    run = Run.start()
    if run.first and run.step == 0:
        write(run)
    run.wait()
    urls = [str(run.work / f"{shard}.tar") for shard in range(SHARDS)]
    begun, skipped = run.saved or (0, 0)
    for epoch in range(begun, EPOCHS):
        seen = skipped if epoch == begun else 0
        samples = wds.WebDataset(
            urls, nodesplitter=wds.split_by_node, shardshuffle=False, empty_check=False
        )
        order = wds.detshuffle(bufsize=64, initial=64, seed=SEED, epoch=epoch - 1)
        samples = samples.compose(order).slice(seen * BATCH, None).map(Crop(epoch))
        loader = DataLoader(samples.batched(BATCH), batch_size=None)
        for step, (rgb, depth, which) in enumerate(loader, seen):
            if run.train(rgb, depth, which):
                run.save([epoch, step + 1])
    run.end()


if __name__ == "__main__":
    main()
