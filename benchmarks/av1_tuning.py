"""AV1 for the eye and AV1 by squared error: `av1-psnr` beside `av1`, by PSNR and by MS-SSIM.

    python -m benchmarks.av1_tuning

BD-rate (PCHIP on log rate) of RGB over five qualities; MS-SSIM as -10 log10(1 - MS-SSIM). Frames of
NYUv2's test split without their border, quarters of Kodak photographs, rendered views. Three
minutes of one core.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import bjontegaard
import imagecodecs
import numpy as np

from dsc.codecs.registry import make_codec
from dsc.pipeline.metrics import ms_ssim, psnr_db
from dsc.pipeline.sources import open_source
from dsc.schemas import Quality, Task, TaskKind

QUALITIES = (25, 40, 55, 70, 85)
CODECS = ("av1", "av1-psnr")
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
KODAK = (1, 5, 9, 15, 20, 23)
BORDER = 8


def pictures(data: Path, count: int) -> dict[str, list[np.ndarray]]:
    """Give the pictures (H, W, 3) by set; sets that are not there are left out."""
    found = {}
    if (data / "nyuv2").is_dir():
        frames = open_source("nyuv2", root=str(data / "nyuv2"), split="test")
        places = np.linspace(5, len(frames) - 1, count).astype(int)
        found["NYUv2 test"] = [
            frames.read(int(at), ("rgb",)).arrays["rgb"][BORDER:-BORDER, BORDER:-BORDER]
            for at in places
        ]
    if (data / "kodak").is_dir():
        files = [data / "kodak" / f"{number:02d}.png" for number in KODAK[:count]]
        whole = [imagecodecs.png_decode(file.read_bytes()) for file in files]
        found["Kodak, quarters"] = [picture[:384, :512] for picture in whole]
    views = open_source("sample", n=count)
    found["rendered views"] = [views.read(at, ("rgb",)).arrays["rgb"] for at in range(count)]
    return {name: [np.ascontiguousarray(p) for p in group] for name, group in found.items()}


def curve(codec_id: str, group: Sequence[np.ndarray]) -> np.ndarray:
    """Give mean bytes, PSNR and MS-SSIM in dB by quality, (qualities, 3)."""
    codec = make_codec(codec_id, [RGB])
    rows = []
    for quality in QUALITIES:
        sent = codec.encode_batch([{"rgb": p} for p in group], Quality(default=quality))
        back = codec.decode_batch(sent, ["rgb"], max(p[..., 0].size for p in group))
        pairs = [(p, b["rgb"]) for p, b in zip(group, back, strict=True)]
        similar = np.mean([ms_ssim(p, b) for p, b in pairs])
        size = np.mean([len(streams["rgb"]) for streams in sent])
        rows.append((size, np.mean([psnr_db(p, b) for p, b in pairs]), -10 * np.log10(1 - similar)))
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--count", type=int, default=6, help="pictures a set")
    args = parser.parse_args()
    print("av1-psnr beside av1, bits at equal quality:\n")
    print("| data | by PSNR | by MS-SSIM |\n| --- | --- | --- |")
    for name, group in pictures(Path(args.data), args.count).items():
        anchor, other = (curve(codec_id, group) for codec_id in CODECS)
        rates = [
            bjontegaard.bd_rate(
                anchor[:, 0], anchor[:, by], other[:, 0], other[:, by],
                method="pchip", require_matching_points=False, min_overlap=0,
            )
            for by in (1, 2)
        ]  # fmt: skip
        print(f"| {name} | {rates[0]:+.1f} % | {rates[1]:+.1f} % |", flush=True)


if __name__ == "__main__":
    main()
