"""With dsc: the crops are those of the sample and epoch, the state is exact on any ranks."""

from common import BATCH, CROP, EPOCHS, SEED, Run

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
    stream = dsc.stream(archive, "rgb,depth", BATCH, shuffle=True, seed=SEED, transform=crop)
    if run.saved:
        stream.load_state_dict(run.saved)
    while stream.epoch < EPOCHS:
        for batch in stream:
            if run.train(batch["rgb"], batch["depth"], batch["__index__"]):
                run.save(stream.state_dict())
    run.end()


if __name__ == "__main__":
    main()
