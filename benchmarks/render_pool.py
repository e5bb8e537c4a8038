"""Render training views into .npz blocks of 100, for `python -m dsc.pipeline.train --views`.

    python -m benchmarks.render_pool --out runs/views --count 1400

The first index is 100000, far from the small indexes that tests and figures use.
"""

import argparse
from pathlib import Path

import numpy as np

from dsc.pipeline.sources.render import render_view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=1400)
    parser.add_argument("--first", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for block in range(0, args.count, 100):
        views = [
            render_view(args.first + i, args.size)
            for i in range(block, min(block + 100, args.count))
        ]
        names = ("rgb", "depth_zbuffer", "normal")
        np.savez(
            out / f"{block // 100:04d}.npz",
            **{name: np.stack([view[name] for view in views]) for name in names},
        )
        print(f"{block + len(views)} / {args.count}", flush=True)


if __name__ == "__main__":
    main()
