"""Peak memory of `dsc compress` at two sizes of one dataset, each in a process of its own.

    python -m benchmarks.memory

Peak resident memory must not grow with the number of samples: the ratio should be close to 1.
"""

import argparse
import subprocess
import sys
import tempfile

CODE = """
import resource, sys, dsc
dsc.compress("taskonomy", sys.argv[1], sample=int(sys.argv[2]), tasks=["rgb", "depth"],
             shard_size=64, pack=16)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mib(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        out = subprocess.run(
            [sys.executable, "-c", CODE, f"{folder}/a", str(count)],
            capture_output=True,
            text=True,
            check=True,
        )
    return int(out.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=64)
    parser.add_argument("--times", type=int, default=10)
    args = parser.parse_args()
    small = peak_mib(args.views)
    print(f"{args.views:6} views: peak {small:7.0f} MiB")
    large = peak_mib(args.views * args.times)
    print(f"{args.views * args.times:6} views: peak {large:7.0f} MiB, ratio {large / small:.3f}")


if __name__ == "__main__":
    main()
