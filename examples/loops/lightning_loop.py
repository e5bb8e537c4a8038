"""With Lightning: the stream is the loader, and its state is in Lightning's checkpoint."""

from typing import Any

import lightning
import torch
from common import BATCH, CROP, EPOCHS, SEED, STOPPED, Run
from lightning.pytorch.callbacks import ModelCheckpoint

import dsc
from dsc.transforms import Compose, HorizontalFlip, RandomCrop


class Depth(lightning.LightningModule):
    """The network of the other loops."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.network = run, run.model

    def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
        """Return the loss of a batch."""
        depth = batch["depth"]
        error = self.network(batch["rgb"].float() / 255)[:, 0] - depth
        self.run.step = self.global_step + 1
        self.run.log(batch["rgb"], batch["__index__"])
        return error[~depth.isnan()].abs().mean()

    def on_train_batch_start(self, *_: Any) -> None:
        """Stop, where that was asked for, as if the machine had."""
        if self.global_step == self.run.stop_at:
            raise SystemExit(STOPPED)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return self.run.optimiser


def main() -> None:
    """Compress the files, and train."""
    run = Run.start()
    archive, last = run.work / "archive", run.work / "last.ckpt"
    dsc.compress("taskonomy", archive, root=run.files, tasks="rgb,depth", codec="png")
    crop = Compose([RandomCrop(CROP), HorizontalFlip()])
    stream = dsc.stream(archive, "rgb,depth", BATCH, shuffle=True, seed=SEED, transform=crop)
    checkpoints = ModelCheckpoint(
        run.work, "last", every_n_train_steps=1, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=EPOCHS, callbacks=[checkpoints], logger=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=run.work,
    )  # fmt: skip
    trainer.fit(Depth(run), stream, ckpt_path=last if last.exists() else None, weights_only=False)
    run.end()


if __name__ == "__main__":
    main()
