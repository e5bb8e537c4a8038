"""Train the shared-latent codec: ``python -m dsc.pipeline.train --help``.

Training data are procedural views (rgb, depth, normal), NYUv2's train split (rgb, depth) and
photographs (rgb). A batch comes from one of them. Training resumes from its checkpoint, stops
after the given minutes, and writes weights that `dsc.codecs.learned.export` turns into a codec.
"""

import argparse
import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsc.codecs.learned.modality import to_planes
from dsc.codecs.learned.model import SHARED, ModelSpec, SharedLatentModel
from dsc.codecs.learned.training import initialise_klt, step
from dsc.schemas import Task, TaskKind

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
NYU_DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint8", unit_m=1 / 25.5)
VIEW_DEPTH = Task(
    name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
)

RARE_NORMAL = 0.6  # AVIF is far ahead on normals, so most of the time goes to the other tasks

Views = list[dict[str, NDArray[Any]]]
Batch = tuple[dict[str, Tensor], dict[str, Tensor]]


class Pool:
    """Views of one data set in memory, and random crops of them as planes."""

    def __init__(self, views: Views, tasks: Mapping[str, Task], share: float) -> None:
        self.views, self.tasks, self.share = views, tasks, share

    def batch(self, rng: np.random.Generator, count: int, size: int) -> Batch:
        """Crop (count, c, size, size) planes; half of the crops at half resolution when it fits."""
        planes: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        valid: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        half = rng.random() < 0.5
        for _ in range(count):
            view = self.views[rng.integers(len(self.views))]
            height, width = next(iter(view.values())).shape[:2]
            factor = 2 if half and min(height, width) >= 2 * size else 1
            top = rng.integers(height - factor * size + 1)
            left = rng.integers(width - factor * size + 1)
            flip = rng.random() < 0.5 and "normal" not in view
            for name, task in self.tasks.items():
                crop = view[name][top : top + factor * size, left : left + factor * size]
                x, invalid, _ = to_planes(task, crop[:, ::-1] if flip else crop)
                ok = np.ones((1, *x.shape[1:]), np.float32)
                if invalid is not None:
                    ok[0] -= invalid
                if factor == 2:
                    x, ok = _halve(x), np.floor(_halve(ok))
                planes[name].append(torch.from_numpy(x))
                valid[name].append(torch.from_numpy(ok))
        stacked = {name: torch.stack(rows) for name, rows in planes.items()}
        weights = {name: torch.stack(rows) for name, rows in valid.items()}
        return stacked, {name: w for name, w in weights.items() if w.min() < 1}


def _halve(x: NDArray[np.float32]) -> NDArray[np.float32]:
    total = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    mean: NDArray[np.float32] = total * np.float32(0.25)
    return mean


def load_pools(data: Path, views: Path | None) -> list[Pool]:
    """Read the training sets that are there into memory."""
    import imagecodecs

    pools = []
    if views is not None:
        found: Views = []
        for path in sorted(views.glob("*.npz")):
            with np.load(path) as block:
                rows = zip(block["rgb"], block["depth_zbuffer"], block["normal"], strict=True)
            found += [{"rgb": a, "depth": b, "normal": c} for a, b, c in rows]
        pools.append(Pool(found, {"rgb": RGB, "depth": VIEW_DEPTH, "normal": NORMAL}, 0.45))
    nyu = data / "nyuv2"
    if nyu.is_dir():
        frames: Views = []
        for name in (nyu / "train.txt").read_text().split():
            stem = Path(name).stem
            rgb = imagecodecs.imread(str(nyu / "nyu_images" / f"{stem}.jpg"))
            depth = imagecodecs.imread(str(nyu / "nyu_depths" / f"{stem}.png"))
            frames.append({"rgb": rgb[8:-8, 8:-8], "depth": depth[8:-8, 8:-8]})
        pools.append(Pool(frames, {"rgb": RGB, "depth": NYU_DEPTH}, 0.33))
    photographs = sorted((data / "natural").glob("*.JPEG"))
    if photographs:
        images: Views = [{"rgb": imagecodecs.imread(str(path))} for path in photographs]
        pools.append(Pool([v for v in images if v["rgb"].ndim == 3], {"rgb": RGB}, 0.22))
    return pools


def choose_tasks(rng: np.random.Generator, tasks: Sequence[str]) -> list[str]:
    """Draw which tasks a step codes: all of them, one of them, or any other subset."""
    draw = rng.random()
    if draw < 0.35 or len(tasks) == 1:
        return list(tasks)
    if draw < 0.85:
        return [tasks[int(rng.integers(len(tasks)))]]
    subset = [task for task in tasks if rng.random() < 0.5]
    return subset or [tasks[int(rng.integers(len(tasks)))]]


def train(args: argparse.Namespace) -> None:
    """Train until the minutes are over; write ``checkpoint.pt`` and ``log.csv`` in `args.out`."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    pools = load_pools(Path(args.data), Path(args.views) if args.views else None)
    model, average, optimiser, done = _start(out / "checkpoint.pt", pools, rng, args.lr)
    model = model.to(memory_format=torch.channels_last)
    shares = np.array([pool.share for pool in pools])
    start, steps_at_start = time.monotonic(), done
    log = csv.writer((out / "log.csv").open("a", buffering=1))
    running: dict[str, float] = {}
    while (elapsed := (time.monotonic() - start) / 60) < args.minutes:
        progress = elapsed / args.minutes
        rate = args.lr * min(1.0, (done + 1) / 200) * (0.02 + 0.98 * _cosine(progress))
        for group in optimiser.param_groups:
            group["lr"] = rate
        pool = pools[rng.choice(len(pools), p=shares / shares.sum())]
        big = rng.random() < (0.3 if progress > 0.6 else 0.0)
        inputs, valid = pool.batch(rng, 2 if big else args.batch, 256 if big else 128)
        inputs, wanted = _drop(rng, inputs)
        result = step(model, inputs, valid, wanted, _qualities(rng, inputs), args.bfloat16)
        optimiser.zero_grad(set_to_none=True)
        result.loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        done += 1
        _update_average(average, model, min(0.999, done / (done + 10)))
        _track(running, result.loss.item(), result.rate_bpp, result.mse)
        if done % 200 == 0:
            row = {key: round(value, 5) for key, value in running.items()}
            log.writerow([done, round(elapsed, 2), row])
            speed = (done - steps_at_start) / max(elapsed * 60, 1e-9)
            print(f"{done} {elapsed:.1f} min {speed:.2f} steps/s {row}", flush=True)
        if done % 1000 == 0:
            _save(out / "checkpoint.pt", model, average, optimiser, done)
    _save(out / "checkpoint.pt", model, average, optimiser, done)


def _start(
    checkpoint: Path, pools: Sequence[Pool], rng: np.random.Generator, lr: float
) -> tuple[SharedLatentModel, SharedLatentModel, torch.optim.Optimizer, int]:
    """Give model, its moving average, optimiser and steps done: from a checkpoint or afresh."""
    model = SharedLatentModel(ModelSpec())
    average = SharedLatentModel(ModelSpec()).requires_grad_(False)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        return model, average, optimiser, int(state["step"])
    planes = {}
    for name in model.spec.modalities:
        having = [pool for pool in pools if name in pool.tasks]
        if not having:
            raise SystemExit(f"no training data has {name}; render views (--views) or give --data")
        planes[name] = torch.cat([pool.batch(rng, 256, 128)[0][name] for pool in having])
    initialise_klt(model, planes)
    average.load_state_dict(model.state_dict())
    return model, average, optimiser, 0


def export(checkpoint: Path, target: Path) -> None:
    """Write the averaged weights of a checkpoint as a codec file."""
    from dsc.codecs.learned.weights import export_codec

    state = torch.load(checkpoint, weights_only=True)
    model = SharedLatentModel(ModelSpec())
    model.load_state_dict(state["average"])
    target.write_bytes(export_codec(model, {"steps": str(state["step"])}))


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def _drop(
    rng: np.random.Generator, inputs: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Drop input tasks now and then, and choose which of those left are coded."""
    if "normal" in inputs and rng.random() < RARE_NORMAL:
        inputs = {name: x for name, x in inputs.items() if name != "normal"}
    names = list(inputs)
    if len(names) > 1 and rng.random() < 0.35:
        keep = choose_tasks(rng, names)
        inputs = {name: inputs[name] for name in keep}
    return inputs, choose_tasks(rng, list(inputs))


def _qualities(rng: np.random.Generator, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Draw a quality a sample; half of the time one for all tasks."""
    count = len(next(iter(inputs.values())))
    common = rng.integers(1, 101, count)
    apart = rng.random() < 0.5
    return {
        name: torch.from_numpy(rng.integers(1, 101, count) if apart else common) for name in inputs
    }


@torch.no_grad()
def _update_average(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)


def _track(
    running: dict[str, float], loss: float, rates: Mapping[str, float], mse: Mapping[str, float]
) -> None:
    values = {"loss": loss} | {f"bpp_{name}": rate for name, rate in rates.items()}
    values |= {f"db_{name}": -10 * math.log10(max(error, 1e-12)) for name, error in mse.items()}
    if SHARED in rates:
        values[f"bpp_shared_with_{'+'.join(mse)}"] = rates[SHARED]
    for key, value in values.items():
        running[key] = running.get(key, value) * 0.98 + value * 0.02


def _save(
    path: Path, model: torch.nn.Module, average: torch.nn.Module, optimiser: Any, done: int
) -> None:
    part = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "average": average.state_dict(),
                "optimiser": optimiser.state_dict(), "step": done}, part)  # fmt: skip
    part.replace(path)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data", help="folder of nyuv2/ and natural/")
    parser.add_argument("--views", help="folder of rendered views (.npz), see render_pool.py")
    parser.add_argument("--out", required=True, help="folder for checkpoint and log")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--export", help="write the checkpoint as a codec file here, do not train")
    args = parser.parse_args()
    if args.export:
        export(Path(args.out) / "checkpoint.pt", Path(args.export))
    else:
        train(args)


if __name__ == "__main__":
    main()
