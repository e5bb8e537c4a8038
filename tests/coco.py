"""A small data set in COCO's form, written to disk; for tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

INFO = {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017, "extra": None}
LICENSES = [{"url": "http://x", "id": 1, "name": "Attribution"}]
CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "vehicle", "id": 3, "name": "car – blau"},
]


def write(root: Path, files: Mapping[str, Any], indent: int | None = None) -> Path:
    """Write annotation files, by path, and every image and map that they speak of."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=indent, ensure_ascii=indent is None)
        target.write_text(text, encoding="utf-8")
        for number, image in enumerate(content["images"]):
            group = group_of(path)
            put(root / group / image["file_name"], image["height"], image["width"], number)
        for number, one in enumerate(content.get("annotations", ())):
            if "segments_info" in one:
                size = next(
                    (i["height"], i["width"])
                    for i in content["images"]
                    if i["id"] == one["image_id"]
                )
                put(target.with_suffix("") / one["file_name"], *size, number)
    return root


def group_of(path: str) -> str:
    """Return the directory of the images of an annotation file in these tests."""
    directory, _, name = path.rpartition("/")
    return name[:-5].rpartition("_")[2] if directory.startswith("annotations") else directory


def put(path: Path, height: int, width: int, seed: int) -> None:
    """Write a picture, unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    encode = imagecodecs.png_encode if path.suffix == ".png" else imagecodecs.jpeg8_encode
    path.write_bytes(encode(pixels))


def image(number: int, ending: str = "png", **more: Any) -> dict[str, Any]:
    """Return an entry of ``images``."""
    name = f"{number:012d}.{ending}"
    return {"license": 1, "file_name": name, "height": 12, "width": 16, "id": number, **more}


def instance(number: int, image_id: int, **more: Any) -> dict[str, Any]:
    """Return an annotation of an instance."""
    return {
        "segmentation": [[1.5, 2.25, 3.0, 4.1, 5.0, number % 7]],
        "area": number / 3,
        "iscrowd": number % 2,
        "image_id": image_id,
        "bbox": [1.0, 2.0, 3.5, 4.25],
        "category_id": 1,
        "id": number,
        **more,
    }


def content(images: list[Any], annotations: list[Any] | None, **more: Any) -> dict[str, Any]:
    """Return the content of an annotation file."""
    listed = {} if annotations is None else {"annotations": annotations}
    return {
        "info": INFO, "licenses": LICENSES, "images": images, **listed, "categories": CATEGORIES,
        **more,
    }  # fmt: skip


def usual(n: int = 5) -> dict[str, Any]:
    """Return files of two splits: instances and captions in two orders, panoptic, and a test."""
    found: dict[str, Any] = {}
    for split, first in (("train2017", 100), ("val2017", 200)):
        images = [image(first + k, url=f"http://flickr/{k}", flickr=None) for k in range(n)]
        crowd = {"segmentation": {"counts": "PYQ1<ü", "size": [12, 16]}}
        marks = [instance(k, first + (k * 3) % n) for k in range(2 * n)]
        marks.append(instance(9000, first, **crowd))
        words = [
            {"image_id": first + (n - 1 - k), "id": 7 * k, "caption": f'A "{k}" ü\n'}
            for k in range(n)
        ]
        panoptic = [
            {
                "segments_info": [{"id": 5 + k, "category_id": 3, "area": k, "bbox": [0, 0, 1, 1]}],
                "file_name": f"{first + k:012d}.png",
                "image_id": first + k,
            }
            for k in range(n)
        ]
        at = "annotations"
        found[f"{at}/instances_{split}.json"] = content(images, marks)
        found[f"{at}/captions_{split}.json"] = content(images[::-1], words)
        found[f"{at}/panoptic_{split}.json"] = content(images, panoptic)
    test = [image(300 + k) for k in range(2)]
    found["annotations/image_info_test2017.json"] = content(test, None)
    return found
