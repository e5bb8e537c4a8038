"""Speed of a codec on one core: encoding all tasks, decoding each.

    python -m benchmarks.codec_speed --codec shared-latent

256-px rendered views, quality 60, from native arrays to bytes and back. The same figures, beside
quality, on any set of samples: `dsc bench rd`.
"""

import argparse

from dsc._bench.rate_distortion.candidates import parse_candidates
from dsc._bench.rate_distortion.datasets import source_set
from dsc._bench.rate_distortion.speed import measure_speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", default="shared-latent", help="as in `dsc bench rd --codecs`")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    data = source_set("sample", None, n=2)
    for candidate in parse_candidates(args.codec):
        group = [task for tasks in candidate.groups(data.schemas()) for task in tasks]
        found = measure_speed(data, candidate, group, quality=60, rounds=args.rounds)
        names = "+".join(task.name for task in group)
        print(f"{candidate.name}: encode {names} {found['encode_mpix_s']:.2f} MPix/s")
        for name, speed in found["decode_mpix_s"].items():
            kmac = found["decode_kmac_px"][name]
            print(f"  decode {name:28} {speed:6.2f} MPix/s"
                  + ("" if kmac is None else f", {kmac:.1f} kMAC a pixel"))  # fmt: skip


if __name__ == "__main__":
    main()
