"""The source paper's experiment: which latent layout codes CLEVR-like scenes in the fewest bits.

    python -m benchmarks.paper_experiment --out out/paper

Trains every kind of network at three λ on the same rendered views: equal parameters, steps, seeds
and batches. The loss is R + λ · 255² · Σ MSE over the tasks, all tasks decoded (no uncertainty
weights, which would only move λ). Evaluated on test views with rounded latents: bits a pixel of
each stream, PSNR of each task's planes (peak 1; depth's are half its log), and L, the loss itself.

A kind is ranked by its BD-rate against mixed-latent, over the PSNR of the mean MSE of the tasks;
the ratio of L at each λ stands beside it. Finished runs are read from the output directory, so that
a run that was stopped goes on with the next one. Networks of variable rate are trained and measured
at the one quality whose own λ is nearest.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.paper_table import ANCHOR, ranking, table
from dsc._codecs.learned.network.trainable import Coded
from dsc._codecs.learned.planes import to_planes
from dsc._renderer.clevr import render_clevr
from dsc._sources.registry import open_source
from dsc._training.networks import make_network

PAPER = ("single-task", "disjoint-latent", "shared-latent-2023", "mixed-latent")
MODALITIES = {"rgb": "rgb", "depth": "depth_zbuffer", "normal": "normal"}
TASKS = {task.name: task for task in open_source("clevr", n=1).tasks}
WIDTHS = ("width_8", "latents", "shared_latents", "joint_width", "hyper_width", "hyper_latents")
WARM_UP = 50  # steps over which the learning rate rises
EVALUATED_AT_ONCE = 16

Views = dict[str, np.ndarray]


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    out = Path(args.out)
    (out / "runs").mkdir(parents=True, exist_ok=True)
    views = {} if args.collect else render_views(out, args)
    runs = []
    for lam in args.lambdas:
        for kind in args.kinds:
            path = out / "runs" / f"{kind}-{lam:g}.json"
            if path.is_file():
                run = json.loads(path.read_text())
            elif args.collect:
                continue
            else:
                run = train(kind, lam, views, args)
                path.write_text(json.dumps(run, indent=1) + "\n")
            runs.append(run)
            say(run)
    settings = {k: v for k, v in vars(args).items() if k not in ("out", "results", "collect")}
    report = {"settings": settings, "ranking": ranking(runs), "runs": runs}
    results = Path(args.results or out / "results.json")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(report, indent=1) + "\n")
    print(table(runs))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="out/paper_experiment", help="views, finished runs")
    parser.add_argument("--results", help="where the results go; default: within --out")
    parser.add_argument("--kinds", nargs="+", default=list(PAPER))
    parser.add_argument("--lambdas", nargs="+", type=float, default=[0.01, 0.001, 0.1])
    parser.add_argument("--size", default="fast")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=64, help="a multiple of 64")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--pixels", type=int, default=128, help="height and width of the views")
    parser.add_argument("--views", type=int, default=1500)
    parser.add_argument("--test-views", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="train without bfloat16")
    parser.add_argument(
        "--collect", action="store_true", help="report on finished runs; train none"
    )
    return parser.parse_args()


def render_views(out: Path, args: argparse.Namespace) -> Views:
    """Return (N, H, W[, 3]) native arrays by modality, the test views last; rendered once."""
    count = args.views + args.test_views
    path = out / f"views-{count}-{args.pixels}-{args.seed}.npz"
    if not path.is_file():
        rendered = [render_clevr(index, args.pixels, args.seed) for index in range(count)]
        stacked = {m: np.stack([view[name] for view in rendered]) for m, name in MODALITIES.items()}
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **stacked)  # type: ignore[arg-type]
        part.rename(path)
    with np.load(path) as found:
        return {modality: found[modality] for modality in MODALITIES}


def train(kind: str, lam: float, views: Views, args: argparse.Namespace) -> dict[str, Any]:
    """Train one network and measure it."""
    torch.manual_seed(args.seed)
    network = make(kind, lam, args)
    network.initialise(planes_of(views, range(min(256, args.views))))
    network = network.to(memory_format=torch.channels_last)
    quality = nearest_quality(network, lam)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, args.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rise_and_fall(step, args))
    began, losses = time.process_time(), []
    for indices, top, left in batches(args):
        crops = {m: views[m][:, top : top + args.crop, left : left + args.crop] for m in views}
        coded = code(network, planes_of(crops, indices), quality, not args.float32)
        loss = total(coded, lam).mean()
        if not torch.isfinite(loss):
            raise SystemExit(f"{kind}, lambda {lam:g}: loss {loss.item()} at step {len(losses)}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    seconds = time.process_time() - began
    curve = [float(np.mean(part)) for part in np.array_split(losses, min(20, len(losses)))]
    return {
        "kind": kind, "lambda": lam, "parameters": count(network),
        "quality": quality, "train_cpu_seconds": round(seconds, 1),
        **evaluate(network, lam, quality, views, args), "training_loss": rounded(curve),
    }  # fmt: skip


def make(kind: str, lam: float, args: argparse.Namespace) -> Any:
    """Make an untrained network.

    One that is not of the paper has as many parameters as the anchor, and its qualities 1 and 100
    are the smallest and the largest λ.
    """
    if kind in PAPER:
        return make_network(
            kind, tuple(MODALITIES), args.size, {"lambda": dict.fromkeys(MODALITIES, lam)}
        )
    wanted = count(make_network(ANCHOR, tuple(MODALITIES), args.size))
    spec = make_network(kind, tuple(MODALITIES), args.size).spec_json()
    spec = json.loads(json.dumps(spec))
    for sizes in spec["modalities"].values():
        sizes["lambda_range"] = [min(args.lambdas), max(args.lambdas)]
    low, high = 0.25, 4.0
    for _ in range(8):
        middle = (low * high) ** 0.5
        fits = count(make_network(kind, spec=scaled(spec, middle))) <= wanted
        low, high = (middle, high) if fits else (low, middle)
    return make_network(kind, spec=scaled(spec, low))


def count(network: Any) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def scaled(spec: Any, factor: float) -> Any:
    """Multiply the widths of a conditional network's spec, to multiples of four."""
    if not isinstance(spec, dict):
        return spec
    return {
        key: max(4, 4 * round(value * factor / 4)) if key in WIDTHS else scaled(value, factor)
        for key, value in spec.items()
    }


def rise_and_fall(step: int, args: argparse.Namespace) -> float:
    """Return the factor of the learning rate: a short rise, then half a cosine to zero."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return float(rise * 0.5 * (1 + np.cos(np.pi * min(1.0, step / args.steps))))


def nearest_quality(network: Any, lam: float) -> dict[str, int]:
    """Return, by task, the quality whose own λ is nearest; fixed-rate networks ignore it."""
    every = torch.arange(1, 101)
    return {
        task: int((network.weight(task, every).log() - np.log(lam)).abs().argmin()) + 1
        for task in MODALITIES
    }


def batches(args: argparse.Namespace) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield each step's views and the place of its crop.

    All views once, in a new order, again and again; the same for every network.
    """
    rng = np.random.Generator(np.random.PCG64(args.seed))
    order = np.zeros(0, np.int64)
    for _ in range(args.steps):
        if len(order) < args.batch:
            order = np.concatenate([order, rng.permutation(args.views)])
        top, left = rng.integers(args.pixels - args.crop + 1, size=2)
        yield order[: args.batch], int(top), int(left)
        order = order[args.batch :]


def planes_of(views: Views, indices: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
    found = {}
    for modality, name in MODALITIES.items():
        planes = [to_planes(TASKS[name], views[modality][index])[0] for index in indices]
        found[modality] = torch.from_numpy(np.stack(planes))
    return found


def code(network: Any, planes: dict[str, Tensor], quality: dict[str, int], bf16: bool) -> Coded:
    inputs = {m: x.contiguous(memory_format=torch.channels_last) for m, x in planes.items()}
    count = len(inputs["rgb"])
    qualities = {task: torch.full((count,), value) for task, value in quality.items()}
    coded: Coded = network.code(inputs, {}, tuple(inputs), qualities, bf16)
    return coded


def total(coded: Coded, lam: float) -> Tensor:
    """Return L (B,): bits a pixel plus λ · 255² · Σ MSE."""
    rate = torch.stack(list(coded.rate.values())).sum(0)
    return rate + lam * torch.stack(list(coded.distortion.values())).sum(0)


@torch.no_grad()
def evaluate(
    network: Any, lam: float, quality: dict[str, int], views: Views, args: argparse.Namespace
) -> dict[str, Any]:
    """Measure on the test views, in float32: mean rates, distortions and L."""
    network.eval()
    rates: dict[str, list[float]] = {}
    distortions: dict[str, list[float]] = {}
    test = range(args.views, args.views + args.test_views)
    for first in range(0, len(test), EVALUATED_AT_ONCE):
        coded = code(network, planes_of(views, test[first : first + EVALUATED_AT_ONCE]), quality,
                     bf16=False)  # fmt: skip
        for into, values in ((rates, coded.rate), (distortions, coded.distortion)):
            for name, value in values.items():
                into.setdefault(name, []).extend(value.tolist())
    rate = {name: float(np.mean(values)) for name, values in rates.items()}
    distortion = {name: float(np.mean(values)) for name, values in distortions.items()}
    alone = {task: sum(rate[s] for s in network.required((task,))) for task in MODALITIES}
    return {
        "bpp": sum(rate.values()),
        "stream_bpp": rate,
        "alone_bpp": alone,
        "mse_255": distortion,
        "psnr_db": {task: psnr(value) for task, value in distortion.items()},
        "mean_psnr_db": psnr(float(np.mean(list(distortion.values())))),
        "L": sum(rate.values()) + lam * sum(distortion.values()),
    }


def psnr(mse_255: float) -> float:
    return float(10 * np.log10(255.0**2 / mse_255))


def say(run: dict[str, Any]) -> None:
    print(f"{run['kind']}, lambda {run['lambda']:g}: {run['bpp']:.4f} bpp, "
          f"{run['mean_psnr_db']:.2f} dB, L {run['L']:.4f}, "
          f"{run['train_cpu_seconds']:.0f} s of CPU", flush=True)  # fmt: skip


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


if __name__ == "__main__":
    main()
