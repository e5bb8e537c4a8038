"""The codec family: what each stream graph saves together and costs alone.

    python -m benchmarks.family --out out/family --steps 2000

Trains `independent`, `shared-latent` and `chained` on the same batches of rendered views (rendered
once; indoor views, or CLEVR-like ones with ``--source clevr``), with the same subsets of tasks
wanted at each step, and resumes where it stopped. `independent` is the single-task codec of each
task: no parameter is shared. On held-out views, all tasks are coded; a subset costs the streams
that it requires, in estimated bits of rounded symbols. The table divides that by what single-task
codecs need for the same distortion, found on their rate-distortion curves (log rate over log
distortion). With ``--float``, `independent` is trained once more with entropy networks in plain
floating point, to see what the integers cost.
"""

import argparse
import json
import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsc._codecs.learned.planes import to_planes
from dsc._coding.integer import set_exact
from dsc._schemas import Task, TaskKind
from dsc._sources.registry import open_source
from dsc._training.networks import make_network

SINGLE = "independent"
KINDS = (SINGLE, "shared-latent", "chained")
TASKS = {
    "rgb": Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3),
    "depth": Task(
        name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=1 / 512, invalid=(65535,)
    ),
    "normal": Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,)),
}
VIEW_NAMES = ("rgb", "depth_zbuffer", "normal")  # as TASKS
SEED = 0  # of the renderer
QUALITIES = (5, 20, 35, 50, 65, 80)
SUBSETS = [names for n in (1, 2, 3) for names in combinations(TASKS, n)]
Planes = dict[str, Tensor]


def read_views(source: str, count: int, cache: Path) -> Planes:
    """Render views, or read those rendered before, as planes (N, c, H, W) in half precision."""
    if not cache.exists():
        views = open_source(source, n=count, seed=SEED)
        rows: dict[str, list[Tensor]] = {name: [] for name in TASKS}
        for at in range(count):
            arrays = views.read(at, VIEW_NAMES).arrays
            for (name, task), stored in zip(TASKS.items(), VIEW_NAMES, strict=True):
                rows[name].append(torch.from_numpy(to_planes(task, arrays[stored])[0]).half())
        torch.save({name: torch.stack(found) for name, found in rows.items()}, cache)
    found: Planes = torch.load(cache, weights_only=True)
    return found


def batch_of(views: Planes, seed: int, step: int, count: int, crop: int) -> tuple[Any, ...]:
    """Return crops, wanted tasks and qualities of a step; they depend on seed and step alone."""
    rng = np.random.default_rng((seed, step))
    number, _, height, width = views["rgb"].shape
    which = rng.integers(number, size=count)
    top, left = rng.integers(height - crop + 1), rng.integers(width - crop + 1)
    inputs = {n: x[which, :, top : top + crop, left : left + crop] for n, x in views.items()}
    inputs = {n: x.float().contiguous(memory_format=torch.channels_last) for n, x in inputs.items()}
    names = list(TASKS)
    draw = rng.random()
    wanted = names if draw < 0.5 else [names[int(rng.integers(3))]]
    common = torch.from_numpy(rng.integers(1, 101, count))
    apart = rng.random() < 0.5
    quality = {n: torch.from_numpy(rng.integers(1, 101, count)) if apart else common for n in names}
    return inputs, wanted, quality


def train(
    kind: str, views: Planes, args: argparse.Namespace, exact: bool = True,
    name: str | None = None, start: Any = None, fixed: int | None = None,
) -> Any:  # fmt: skip
    """Train one network up to `args.steps`, from its checkpoint where there is one.

    Parameters
    ----------
    exact
        Whether the entropy networks compute in integers.
    name
        Of the checkpoint, if not the kind.
    start
        A network whose weights it begins with, if not those of the KLT.
    fixed
        The one quality to train at; None for all of them.
    """
    name = name or f"{kind}{'' if exact else '-float'}"
    path = Path(args.out) / f"{name}.pt"
    torch.manual_seed(args.seed)
    network = make_network(kind, list(TASKS), args.size)
    set_exact(network, exact)
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=args.lr)
    parts = by_task(network)
    done = 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        done = saved["step"]
    elif start is not None:
        network.load_state_dict(start.state_dict())
    else:
        crops = [batch_of(views, args.seed, args.steps + n, 32, args.crop)[0] for n in range(8)]
        network.initialise({name: torch.cat([crop[name] for crop in crops]) for name in TASKS})
    for step in range(done, args.steps):
        inputs, wanted, quality = batch_of(views, args.seed, step, args.batch, args.crop)
        if fixed is not None:
            quality = {task: torch.full_like(q, fixed) for task, q in quality.items()}
        torch.manual_seed(args.seed * 1_000_003 + step)
        cosine = 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for group in optimiser.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * cosine)
        coded = network.code(inputs, {}, wanted, quality, not args.float32)
        loss = sum(coded.rate.values()) + sum(
            network.weight(task, quality[task]) * d for task, d in coded.distortion.items()
        )
        optimiser.zero_grad(set_to_none=True)
        loss.mean().backward()
        for part in parts:
            torch.nn.utils.clip_grad_norm_(part, 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0 or step + 1 == args.steps:
            torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(),
                        "step": step + 1}, path)  # fmt: skip
            print(f"{name}: {step + 1} steps, loss {loss.mean().item():.3f}", flush=True)
    return network.eval()


def by_task(network: Any) -> list[list[Any]]:
    """Part the parameters, so that no task's gradients are clipped because of another's."""
    found: dict[str, list[Any]] = {}
    for name, parameter in network.named_parameters():
        task = next((word for word in name.split(".") if word in TASKS), "shared")
        found.setdefault(task, []).append(parameter)
    return list(found.values())


@torch.no_grad()
def figures(
    network: Any, views: Planes, qualities: Sequence[int] = QUALITIES
) -> list[dict[str, Any]]:
    """Return bpp by stream and distortion by task at each quality, over all held-out views."""
    rows = []
    for value in qualities:
        parts = []
        for at in range(0, len(views["rgb"]), 8):
            part = {name: x[at : at + 8].float() for name, x in views.items()}
            quality = {name: torch.full((len(part["rgb"]),), value) for name in part}
            parts.append(network.code(part, {}, list(TASKS), quality))
        rows.append({
            "quality": value,
            "bpp": {n: float(torch.cat([p.rate[n] for p in parts]).mean()) for n in parts[0].rate},
            "distortion": {
                n: float(torch.cat([p.distortion[n] for p in parts]).mean()) for n in TASKS
            },
        })  # fmt: skip
    return rows


def ratio(
    rows: Sequence[dict[str, Any]], single: Sequence[dict[str, Any]], network: Any,
    subset: Sequence[str],
) -> float | None:  # fmt: skip
    """Return bits of a subset over the sum of single-task ones at equal distortion, mean over q.

    Qualities whose distortion no single-task codec was measured at do not count; None if none does.
    """
    curves = {
        task: sorted((math.log(r["distortion"][task]), math.log(r["bpp"][task])) for r in single)
        for task in subset
    }
    found = []
    for row in rows:
        rates = [interpolate(curves[t], math.log(row["distortion"][t])) for t in subset]
        if all(rate is not None for rate in rates):
            mine = sum(row["bpp"][stream] for stream in network.required(subset))
            alone = sum(math.exp(rate) for rate in rates if rate is not None)
            found.append(math.log(mine / alone))
    return math.exp(sum(found) / len(found)) if found else None


def interpolate(curve: Sequence[tuple[float, float]], x: float) -> float | None:
    """Go along straight lines between points; None beyond them, where nothing was measured."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * (x - x0) / max(x1 - x0, 1e-12)
    return None


def cell(value: float | None) -> str:
    """Write a ratio."""
    return "not measured" if value is None else f"{value:.3f}"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Make a parser of what every run here takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--views", type=int, default=200, help="how many views to render")
    parser.add_argument("--source", default="sample", choices=("sample", "clevr"))
    parser.add_argument("--out", required=True, help="folder of checkpoints and figures")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--size",
        default="fast",
        help="fast or base; tiny has too few latents to compare at equal distortion",
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--held-out", type=int, default=24, help="views that are not trained on")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float32", action="store_true", help="train without bfloat16")
    return parser


def prepare(args: argparse.Namespace) -> tuple[Planes, Planes]:
    """Return the views to train on and those held out, rendered or read."""
    torch.set_num_threads(1)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    views = read_views(args.source, args.views, Path(args.out, "views.pt"))
    held = {name: x[-args.held_out :] for name, x in views.items()}
    return {name: x[: -args.held_out] for name, x in views.items()}, held


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--float", action="store_true", help="also train without integers")
    args = parser.parse_args()
    views, held = prepare(args)
    networks = {kind: train(kind, views, args) for kind in args.kinds}
    everything = {kind: figures(network, held) for kind, network in networks.items()}
    Path(args.out, "figures.json").write_text(json.dumps(everything, indent=1))
    print("\n| kind | quality | bpp by stream | distortion (255² MSE) |\n| --- | --- | --- | --- |")
    for kind, rows in everything.items():
        for row in rows:
            bpp, error = (
                ", ".join(f"{n} {v:.4f}" for n, v in row[key].items())
                for key in ("bpp", "distortion")
            )
            print(f"| {kind} | {row['quality']} | {bpp} | {error} |")
    print(
        "\nBits of what a subset requires over the sum of single-task codecs, equal distortion:\n"
    )
    joint = [kind for kind in args.kinds if kind != SINGLE]
    print("| subset | " + " | ".join(joint) + " |\n| --- |" + " --- |" * len(joint))
    for subset in SUBSETS:
        cells = [
            cell(ratio(everything[kind], everything[SINGLE], networks[kind], subset))
            for kind in joint
        ]
        print(f"| {' + '.join(subset)} | " + " | ".join(cells) + " |")
    if args.float:
        network = train(SINGLE, views, args, exact=False)
        plain = figures(network, held)
        for task in TASKS:
            cost = ratio(everything[SINGLE], plain, network, [task])
            print(f"{task}: bits with integer entropy networks over float ones {cell(cost)}")


if __name__ == "__main__":
    main()
