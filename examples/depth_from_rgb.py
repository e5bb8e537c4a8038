"""Train depth from RGB on a streamed archive, beside the same network on the original PNGs.

    python examples/depth_from_rgb.py              a few minutes on two CPU cores
    python examples/depth_from_rgb.py --seeds 3    for the spread between seeds
    python examples/depth_from_rgb.py --quick      seconds, to see that it runs

It renders indoor views as PNG files, compresses them, and trains one network twice: from
``dsc.stream(archive)`` and from the files, with the same seeds, steps and order of samples. Both
are judged on the original files of other views. Model, optimiser and stream go into one checkpoint:
stop the program and run it again, and it goes on in mid-epoch with the samples not yet seen.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dsc
from dsc.sources import write_sample

Batch = dict[str, Tensor]


def main() -> None:
    """Render, compress, train on both, compare."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    work = options.work / f"{options.views}-views-of-{options.size}"
    train_files = rendered_files(work / "train", options.views, options.size, seed=0)
    val_files = rendered_files(work / "val", options.views // 4, options.size, seed=1)
    archive = work / "archive"
    dsc.compress("taskonomy", archive, root=train_files.root, tasks="rgb,depth")
    stored = sum(f.stat().st_size for f in archive.rglob("*") if f.is_file())
    files = train_files.size()
    print(f"{options.views} views: PNG {files / 1e6:.2f} MB, archive {stored / 1e6:.2f} MB")

    errors: dict[str, list[float]] = {"archive": [], "png": []}
    for seed in range(options.seeds):
        for name, found in errors.items():
            order: dict[str, Any] = {"batch_size": 16, "shuffle": True, "seed": seed}
            stream = dsc.stream(archive, ["rgb", "depth"], **order)
            batches = stream if name == "archive" else InOrder(train_files, archive, **order)
            begin = time.perf_counter()
            model = train(batches, options.steps, seed, work / f"{name}-{seed}.pt", options.stop_at)
            seconds = time.perf_counter() - begin
            found.append(absrel(model, val_files))
            print(f"seed {seed}, {name:7}: AbsRel {found[-1]:.4f} ({seconds:.0f} s)", flush=True)
    for name, found in errors.items():
        print(f"{name:7} AbsRel {np.mean(found):.4f} ± {np.std(found):.4f} over {len(found)} seeds")


def train(
    batches: Any, steps: int, seed: int, checkpoint: Path, stop_at: int | None = None
) -> nn.Module:
    """Train for some steps in all, from the checkpoint where there is one.

    Parameters
    ----------
    batches
        Gives one epoch each time it is iterated; has a `state_dict`, as a stream has.
    """
    torch.manual_seed(seed)
    model = DepthNetwork()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    step = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        batches.load_state_dict(saved["stream"])
        step = saved["step"]
        where = {k: saved["stream"][k] for k in ("epoch", "position", "samples")}
        print(f"{checkpoint.name}: go on at step {step}, {where}")
    while step < steps:
        for batch in batches:
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            loss = log_error(model(batch["rgb"]), batch["depth"]).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            if step % 50 == 0 or step in (steps, stop_at):
                parts = {"model": model, "optimiser": optimiser, "stream": batches}
                states = {name: part.state_dict() for name, part in parts.items()}
                torch.save(states | {"step": step}, checkpoint)
            if step == stop_at:
                raise SystemExit(f"stopped at step {step}; the same command goes on from there")
            if step == steps:
                break
    return model


class DepthNetwork(nn.Module):
    """A small U-Net from rgb uint8 (B, 3, H, W) to the logarithm of depth in metres (B, H, W)."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.entry = nn.Conv2d(3, widths[0], 7, stride=4, padding=3)
        self.down = nn.ModuleList(block(a, b, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(block(a + b, a) for a, b in reversed(pairs))
        self.exit = nn.Conv2d(widths[0], 1, 1)

    def forward(self, rgb: Tensor) -> Tensor:
        """Predict ln(metres), in quarter resolution and then interpolated."""
        kept = [self.entry(rgb.float() / 127.5 - 1)]
        for layer in self.down:
            kept.append(layer(kept[-1]))
        x = kept.pop()
        for layer in self.up:
            x = layer(torch.cat([F.interpolate(x, scale_factor=2), kept.pop()], dim=1))
        return F.interpolate(self.exit(x), scale_factor=4, mode="bilinear")[:, 0]


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Make two convolutions of 3×3."""
    layers: list[nn.Module] = []
    for channels, step in ((inputs, stride), (outputs, 1)):
        conv = nn.Conv2d(channels, outputs, 3, step, 1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def log_error(predicted: Tensor, depth_m: Tensor) -> Tensor:
    """Return the error in ln(metres) of the pixels that were measured; the others are NaN."""
    valid = ~depth_m.isnan()
    return predicted[valid] - depth_m[valid].log()


@torch.no_grad()
def absrel(model: nn.Module, files: "Files") -> float:
    """Return the mean of |predicted - true| / true over all pixels that have a depth."""
    model.eval()
    parts = [range(i, min(i + 25, len(files))) for i in range(0, len(files), 25)]
    errors = []
    for batch in (files.batch(part) for part in parts):
        errors.append(log_error(model(batch["rgb"]), batch["depth"]).exp().sub(1).abs())
    return float(torch.cat(errors).mean())


class Files:
    """PNG files in Taskonomy's layout, read by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rgb = sorted(root.glob("rgb/*/*.png"), key=view_number)
        self.depth = sorted(root.glob("depth_zbuffer/*/*.png"), key=view_number)

    def __len__(self) -> int:
        return len(self.rgb)

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(path.stat().st_size for path in (*self.rgb, *self.depth))

    def batch(self, indices: Iterable[int]) -> Batch:
        """Read some views: rgb uint8 (B, 3, H, W), depth float32 (B, H, W) in metres or NaN."""
        chosen = list(indices)
        rgb = np.stack([imagecodecs.imread(self.rgb[i]) for i in chosen])
        counts = np.stack([imagecodecs.imread(self.depth[i]) for i in chosen])
        depth = np.where(counts == 65535, np.nan, counts / np.float32(512)).astype(np.float32)
        return {"rgb": torch.from_numpy(rgb).permute(0, 3, 1, 2), "depth": torch.from_numpy(depth)}


class InOrder:
    """The files, in the order in which a stream of the archive gives its samples."""

    def __init__(self, files: Files, archive: Path, **order: Any) -> None:
        self.files = files
        self.order = dsc.stream(archive, ["rgb"], decode="bytes", **order)
        self.state_dict, self.load_state_dict = self.order.state_dict, self.order.load_state_dict

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.order:
            yield self.files.batch(batch["__index__"].tolist())


def rendered_files(root: Path, views: int, size: int, seed: int) -> Files:
    """Render views that are not there yet."""
    if len(Files(root)) < views:
        write_sample(root, views, size=size, seed=seed, workers=2 if views > 50 else 1)
    return Files(root)


def view_number(path: Path) -> int:
    """Return the number in ``point_12_view_0_domain_rgb.png``."""
    return int(path.name.split("_")[1])


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/depth_from_rgb"), help="where to")
    parser.add_argument("--views", type=int, default=400, help="to train on; a quarter to test")
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stop-at", type=int, help="stop after this step, to see how it goes on")
    parser.add_argument("--quick", action="store_true", help="16 views, 8 steps")
    options = parser.parse_args()
    if options.quick:
        options.views, options.size, options.steps = 16, 64, 8
    return options


if __name__ == "__main__":
    main()
