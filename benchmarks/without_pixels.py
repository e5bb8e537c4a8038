"""A probe from embeddings alone beside the same from pixels: the code of the guide, on real data.

    python -m benchmarks.without_pixels

Runs what docs/training_without_pixels.md shows, over HTTP on loopback, on Tiny-ImageNet's 40 staged
classes: classes that no codec saw. Pictures of 64 pixels are enlarged to 128 for the network.
"""

import argparse
import os
import re
import zipfile
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import dsc
from dsc._bench.server import serve

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "training_without_pixels.md"
DATA = Path(os.environ.get("DSC_TEST_DATA", ROOT.parent / "shared" / "data"))
SPLITS = {"train": 30, "val": 15}  # pictures a class
SIDE = 128


def main() -> None:
    """Make the archive, serve it, run the guide."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quality", type=int, default=60, help="of pictures and embeddings")
    quality = parser.parse_args().quality
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        for split, count in SPLITS.items():
            unpack(DATA / "tiny_imagenet40" / f"{split}.zip", Path("pictures") / split, count)
        dsc.compress(
            "folder", "archive", root="pictures", embed="efficientnet-lite0", side=SIDE,
            quality=quality, pack=512,
        )  # fmt: skip
        blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        with serve("archive") as (url, _):
            scope: dict[str, object] = {"url": url}
            for block in blocks[:2]:
                exec(compile(block, str(PAGE), "exec"), scope)


def unpack(path: Path, folder: Path, count: int) -> None:
    """Take the first files of each class out of a zip of ``class/file``."""
    taken: Counter[str] = Counter()
    with zipfile.ZipFile(path) as file:
        for name in sorted(file.namelist()):
            kind, _, inner = name.strip("/").rpartition("/")
            if inner and not name.endswith("/") and taken[kind] < count:
                taken[kind] += 1
                file.extract(name, folder)


if __name__ == "__main__":
    main()
