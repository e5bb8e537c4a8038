"""With litdata: chunks of its own; the crops are the script's own work."""

from pathlib import Path
from typing import Any

import litdata
import numpy as np
from common import BATCH, CROP, EPOCHS, SEED, Run, metres, read


def pair(numbered: tuple[int, Path, Path]) -> dict[str, Any]:
    """Return what is stored of a sample."""
    index, rgb, depth = numbered
    return {"rgb": rgb.read_bytes(), "depth": depth.read_bytes(), "index": index}


class Crops(litdata.StreamingDataset):
    """Samples with a crop and a mirror of both tasks, by sample and epoch."""

    def __getitem__(self, at: Any) -> dict[str, Any]:
        """Decode a sample, and cut it."""
        sample = super().__getitem__(at)
        rng = np.random.default_rng((SEED, self.current_epoch, sample["index"]))
        rgb, depth = read(sample["rgb"]), metres(read(sample["depth"]))
        top, left = (rng.integers(0, n - CROP + 1) for n in depth.shape)
        box = slice(top, top + CROP), slice(left, left + CROP)
        rgb, depth = rgb[box], depth[box]
        if rng.random() < 0.5:
            rgb, depth = rgb[:, ::-1], depth[:, ::-1]
        rgb = rgb.transpose(2, 0, 1).copy()
        return {"rgb": rgb, "depth": depth.copy(), "index": sample["index"]}


def main() -> None:
    """Write chunks, and train."""
    run = Run.start()
    chunks = run.work / "chunks"
    if run.first and not chunks.exists():
        numbered = list(zip(range(len(run.rgb)), run.rgb, run.depth, strict=True))
        litdata.optimize(
            fn=pair, inputs=numbered, output_dir=str(chunks), chunk_size=4, num_workers=1
        )
    run.wait()
    samples = Crops(str(chunks), shuffle=True, seed=SEED, drop_last=False)
    loader = litdata.StreamingDataLoader(samples, batch_size=BATCH)
    begun = 0
    if run.saved:
        begun = run.saved["epoch"]
        loader.load_state_dict(run.saved["loader"])
    for epoch in range(begun, EPOCHS):
        for batch in loader:
            if run.train(batch["rgb"], batch["depth"], batch["index"]):
                run.save({"epoch": epoch, "loader": loader.state_dict()})
    run.end()


if __name__ == "__main__":
    main()
