"""With `dsc.open` as a map-style dataset: torch's own loader and sampler on random access."""

from common import BATCH, CROP, EPOCHS, SEED, Run
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import dsc
from dsc.transforms import Compose, HorizontalFlip, RandomCrop


def main() -> None:
    """Compress the files, and train."""
    run = Run.start()
    archive = run.work / "archive"
    if run.first:
        dsc.compress("taskonomy", archive, root=run.files, tasks="rgb,depth", codec="png")
    run.wait()
    crop = Compose([RandomCrop(CROP), HorizontalFlip()])
    samples = dsc.open(archive, "rgb,depth", transform=crop, seed=SEED)
    sampler = DistributedSampler(samples, run.world, run.rank, seed=SEED)
    loader = DataLoader(samples, BATCH, sampler=sampler, num_workers=1)
    begun, skipped = run.saved or (0, 0)
    for epoch in range(begun, EPOCHS):
        samples.set_epoch(epoch)
        sampler.set_epoch(epoch)
        for step, batch in enumerate(loader):
            if epoch == begun and step < skipped:
                continue
            rgb = batch["rgb"].permute(0, 3, 1, 2)
            if run.train(rgb, batch["depth_zbuffer"], batch["__index__"]):
                run.save([epoch, step + 1])
    run.end()


if __name__ == "__main__":
    main()
