"""Write what a quality means, codec by codec, where ``encoders.json`` does not say it yet.

    python -m tests.golden.make_encoders

A figure is the bytes and the root mean square error of three rendered views at a quality. Encoders
of other versions may differ by 2 % (`tests/codecs/test_same_everywhere.py`). What is there is never
replaced by this script: delete an entry to have it measured again, which says in the diff that a
quality means something else from now on.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from dsc._codecs.registry import make_codec
from dsc._schemas import Quality, Task
from dsc._sources.registry import open_source

PATH = Path(__file__).parent / "encoders.json"
VIEWS, SIDE = 3, 160
QUALITIES = (30, 60, 90)
LOSSY = ("av1", "av1-fast", "av1-small", "avif", "webp", "webp-bare", "jpeg", "jpeg-bare", "jxl")
MAPS = ("rgb", "depth_zbuffer", "normal")
LOSSLESS = ("png", "jxl-lossless", "exact")
LEARNED = ("independent", "layered")


def cases() -> Iterator[tuple[str, str, int]]:
    """Yield codec, task and quality of every figure."""
    for codec in LOSSY:
        for task in MAPS:
            for quality in QUALITIES:
                yield codec, task, quality
    for quality in QUALITIES:
        yield "normal-palette", "normal", quality
        for task in ("rgb", "depth_zbuffer"):
            yield LEARNED[0], task, quality
        for task in MAPS:
            yield LEARNED[1], task, quality
    yield "av1-small-restored", "rgb", 60
    for task in ("rgb", "depth_zbuffer"):
        yield "av1-layered", task, 60
    for codec in LOSSLESS:
        for task in (*MAPS, "segment_semantic"):
            yield codec, task, 100
    yield "label-scan", "segment_semantic", 100
    yield "label-context", "segment_semantic", 100
    yield "label-layered", "segment_semantic", 100


def name_of(case: tuple[str, str, int]) -> str:
    """Return the entry's name in the file."""
    return " ".join(map(str, case))


def measure(codec_id: str, task_name: str, quality: int) -> dict[str, float]:
    """Encode the views; give their bytes in all, and the error in native counts."""
    task, arrays = _views(task_name)
    codec = make_codec(codec_id, [task])
    streams = codec.encode_batch([{task.name: a} for a in arrays], Quality(default=quality))
    decoded = codec.decode_batch(streams, [task.name], SIDE * SIDE)
    squares = [
        np.square(back[task.name].astype(float) - array)[~task.invalid_mask(array)].ravel()
        for back, array in zip(decoded, arrays, strict=True)
    ]
    return {
        "bytes": sum(len(data) for one in streams for data in one.values()),
        "rms": round(float(np.sqrt(np.concatenate(squares).mean())), 4),
    }


@lru_cache(maxsize=8)
def _views(task_name: str) -> tuple[Task, tuple[np.ndarray, ...]]:
    source = open_source("sample", n=VIEWS, size=SIDE, seed=20)
    (task,) = (task for task in source.tasks if task.name == task_name)
    return task, tuple(source.read(k, [task_name]).arrays[task_name] for k in range(VIEWS))


def main() -> None:
    """Add the figures that are missing."""
    known = json.loads(PATH.read_text()) if PATH.exists() else {}
    for case in cases():
        if name_of(case) not in known:
            known[name_of(case)] = measure(*case)
            print(f"written {name_of(case)}: {known[name_of(case)]}")
    lines = [f"{json.dumps(name)}: {json.dumps(known[name])}" for name in sorted(known)]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
