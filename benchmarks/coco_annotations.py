"""Sizes of COCO's annotations in an archive, beside the files that they came from.

    python -m benchmarks.coco_annotations

The files are made here, after the numbers of val2017: images in no order, 7 instances an image,
listed by category, with polygons of two decimals, and five captions. Random polygons and words are
harder to compress than real ones, so the absolute sizes say little; the ratios do. What comes back
by ``dsc export --to coco`` is compared with what went in.
"""

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import imagecodecs

import dsc
from dsc._copies.export.run import export

INSTANCES, CAPTIONS, CATEGORIES, WORDS = 7, 5, 80, 3000
TASKS = ("image_info", "instances", "instances_order", "captions", "captions_order")


def make_files(images: int) -> dict[str, Any]:
    """Return the annotation files of so many images, by path."""
    rng = random.Random(0)
    words = ["".join(rng.choices("aeioubcdlmnrst", k=rng.randint(2, 9))) for _ in range(WORDS)]
    ids = rng.sample(range(600_000), images)
    entries = [
        {
            "license": rng.randint(1, 6), "file_name": f"{id_:012d}.jpg",
            "coco_url": f"http://images.cocodataset.org/val2017/{id_:012d}.jpg",
            "height": rng.choice((480, 427, 640)), "width": rng.choice((640, 500)),
            "date_captured": f"2013-11-{rng.randint(10, 28)} {rng.randint(10, 23)}:02:52",
            "flickr_url": f"http://farm{rng.randint(1, 9)}.staticflickr.com/{rng.randint(0, 9999)}/"
            f"{rng.randint(10**9, 10**10)}_{rng.randbytes(5).hex()}_z.jpg",
            "id": id_,
        }
        for id_ in ids
    ]  # fmt: skip
    marks = [instance(rng, rng.choice(ids), number) for number in range(INSTANCES * images)]
    marks.sort(key=lambda one: one["category_id"])
    texts = [
        {"image_id": id_, "id": number, "caption": caption(rng, words)}
        for number, id_ in enumerate(rng.choices(ids, k=CAPTIONS * images))
    ]
    head = {"info": {"year": 2017, "version": "1.0"}, "licenses": [{"id": 1, "name": "CC"}]}
    names = [{"id": k, "name": f"category {k}"} for k in range(CATEGORIES)]
    return {
        "annotations/instances_val2017.json": head
        | {"images": entries, "annotations": marks, "categories": names},
        "annotations/captions_val2017.json": head
        | {"images": rng.sample(entries, images), "annotations": texts},
    }


def instance(rng: random.Random, image_id: int, number: int) -> dict[str, Any]:
    """Return an instance whose polygon walks around a place."""
    x, y = rng.uniform(20, 600), rng.uniform(20, 400)
    polygon = []
    for _ in range(rng.randint(8, 40)):
        x, y = x + rng.gauss(0, 6), y + rng.gauss(0, 6)
        polygon += [round(x, 2), round(y, 2)]
    return {
        "segmentation": [polygon], "area": round(rng.uniform(50, 50_000), 4), "iscrowd": 0,
        "image_id": image_id, "bbox": [round(rng.uniform(0, 400), 2) for _ in range(4)],
        "category_id": rng.randrange(CATEGORIES), "id": 900_000 + number * 7,
    }  # fmt: skip


def caption(rng: random.Random, words: list[str]) -> str:
    """Return a sentence of words, the first of the list more often."""
    count = rng.randint(7, 14)
    return " ".join(words[int(rng.paretovariate(0.8)) % WORDS] for _ in range(count)) + "."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    args = parser.parse_args()
    files = make_files(args.images)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        texts = {}
        for path, content in files.items():
            target = root / "in" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            texts[path] = json.dumps(content).encode()
            target.write_bytes(texts[path])
        began = time.perf_counter()
        manifest = dsc.compress("coco", root / "a", root=root / "in", tasks=list(TASKS))
        took = time.perf_counter() - began
        export(root / "a", None, root / "out", to="coco")
        for path, content in files.items():
            assert json.loads((root / "out" / path).read_bytes()) == content, path
        stored = sum(p.stat().st_size for p in (root / "a").rglob("*") if p.is_file())
        whole = b"".join(texts.values())
        plain = len(whole)
        print(f"{args.images} images, {plain:,} bytes of annotation files; packed in {took:.1f} s")
        for name, size in (
            ("gzip -6 of the files", sum(len(gzip.compress(t, 6)) for t in texts.values())),
            (
                "zstd -19 of the files",
                sum(len(imagecodecs.zstd_encode(t, 19)) for t in texts.values()),
            ),
            ("the archive, everything", stored),
            *((f"  {n}", manifest.totals[n].stored_bytes) for n in TASKS if n in manifest.totals),
        ):
            print(f"{name:26} {size:12,} {size / plain:7.3f}")
    print("the files come back equal, in their order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
