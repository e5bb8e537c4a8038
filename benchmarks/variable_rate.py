"""What one variable-rate model costs beside three fixed-rate ones.

    python -m benchmarks.variable_rate --out out/rates --steps 3000 --more 1500

Trains `independent` on rendered views for `--steps` at all qualities; from its weights, it is
trained for `--more` steps at all qualities, and three times at one quality alone, on the same
batches. On held-out views, the bits of the variable model at the distortion that a fixed one
reaches (on its curve over neighbouring qualities, log rate over log distortion) are divided by the
fixed one's. A run that was stopped goes on.
"""

import copy
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.family import SINGLE, TASKS, arguments, figures, interpolate, prepare, train

FIXED = (20, 50, 80)
NEAR = (-15, -10, -5, 0, 5, 10, 15)  # qualities of the variable model's curve around a fixed one


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--more", type=int, default=1500, help="steps of the second part")
    args = parser.parse_args()
    views, held = prepare(args)
    first = train(SINGLE, views, args, name="first").train()
    more = copy.copy(args)
    more.steps, more.lr, more.seed = args.more, args.lr / 2, args.seed + 1
    variable = train(SINGLE, views, more, name="variable", start=first)
    curve = figures(variable, held, sorted({q + d for q in FIXED for d in NEAR}))
    points = {}
    for quality in FIXED:
        fixed = train(SINGLE, views, more, name=f"fixed-{quality}", start=first, fixed=quality)
        points[quality] = figures(fixed, held, [quality])[0]
    found = {"variable": curve, "fixed": points}
    Path(args.out, "figures.json").write_text(json.dumps(found, indent=1))
    print("\nBits of the variable-rate model over a fixed-rate one at equal distortion:\n")
    print(
        "| quality | "
        + " | ".join(TASKS)
        + " | all reached |\n| --- |"
        + " --- |" * (len(TASKS) + 1)
    )
    for quality, point in points.items():
        rows = [row for row in curve if abs(row["quality"] - quality) <= max(NEAR)]
        bits = {task: bits_at(rows, task, point["distortion"][task]) for task in TASKS}
        reached = [task for task in TASKS if bits[task] is not None]
        cells = [cell(bits[task], [point["bpp"][task]]) for task in TASKS]
        total = sum(bits[task] or 0.0 for task in reached)
        cells.append(cell(total, [point["bpp"][task] for task in reached]))
        print(f"| {quality} | " + " | ".join(cells) + " |")


def bits_at(rows: Sequence[dict[str, Any]], task: str, distortion: float) -> float | None:
    """Return a task's bits on a curve; None where the curve does not reach the distortion."""
    logs = sorted((math.log(row["distortion"][task]), math.log(row["bpp"][task])) for row in rows)
    rate = interpolate(logs, math.log(distortion))
    return None if rate is None else math.exp(rate)


def cell(bits: float | None, fixed: Sequence[float]) -> str:
    return "not reached" if bits is None else f"{bits / sum(fixed):.3f}"


if __name__ == "__main__":
    main()
