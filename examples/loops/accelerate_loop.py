"""With Accelerate: the stream finds its ranks by itself, and is saved with the rest."""

from accelerate import Accelerator
from common import BATCH, CROP, EPOCHS, SEED, STOPPED, Run

import dsc
from dsc.transforms import Compose, HorizontalFlip, RandomCrop


def main() -> None:
    """Compress the files, and train."""
    accelerator = Accelerator(cpu=True)
    run = Run.start()
    archive, checkpoint = run.work / "archive", run.work / "state"
    with accelerator.local_main_process_first():
        dsc.compress("taskonomy", archive, root=run.files, tasks="rgb,depth", codec="png")
    crop = Compose([RandomCrop(CROP), HorizontalFlip()])
    stream = dsc.stream(archive, "rgb,depth", BATCH, shuffle=True, seed=SEED, transform=crop)
    model, optimiser = accelerator.prepare(run.model, run.optimiser)  # but not the stream
    accelerator.register_for_checkpointing(stream, run)
    if checkpoint.exists():
        accelerator.load_state(checkpoint)
    while stream.epoch < EPOCHS:
        for batch in stream:
            depth = batch["depth"]
            error = model(batch["rgb"].float() / 255)[:, 0] - depth
            optimiser.zero_grad()
            accelerator.backward(error[~depth.isnan()].abs().mean())
            optimiser.step()
            run.step += 1
            run.log(batch["rgb"], batch["__index__"])
            if run.step == run.stop_at:
                accelerator.save_state(checkpoint)
                raise SystemExit(STOPPED)
    run.end()


if __name__ == "__main__":
    main()
