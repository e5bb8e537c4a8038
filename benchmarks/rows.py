"""Parquet of real data beside the archive made of it, and what reading its rows in order decodes.

    DSC_TEST_DATA=../shared/data python -m benchmarks.rows

7-Scenes: JPEG, 16-bit depth as PNG and poses as lists; CIFAR-100: PNG, class and file name, as the
Hub has such data: row groups of 100, compressed with snappy. `exact` keeps every pixel.
"""

import argparse
import os
import pickle
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import dsc
from dsc._sources.registry import open_source

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROW_GROUP = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24, help="of 7-Scenes")
    parser.add_argument("--rows", type=int, default=500, help="of CIFAR-100")
    args = parser.parse_args()
    data = Path(os.environ["DSC_TEST_DATA"])
    sets = {"7-Scenes": seven_scenes(data, args.frames), "CIFAR-100": cifar(data, args.rows)}
    print("| data | rows | Parquet | archive | ratio | exact | ratio | row groups decoded |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, columns in sets.items():
        with tempfile.TemporaryDirectory() as scratch:
            print(line(name, pa.table(columns), Path(scratch)), flush=True)


def line(name: str, table: Any, scratch: Path) -> str:
    """Measure one data set."""
    path = scratch / "train.parquet"
    parquet.write_table(table, path, row_group_size=ROW_GROUP)
    size = path.stat().st_size
    archives = []
    for quality in (None, "whole"):
        codec = "jxl-lossless" if quality else None
        exact = {"image", "depth"} & set(table.column_names)
        codec = codec and ",".join(f"{one}={codec}" for one in sorted(exact))
        out = scratch / f"out-{quality}"
        dsc.compress("huggingface", out, root=str(path), codec=codec)
        archives.append(sum(file.stat().st_size for file in out.rglob("*") if file.is_file()))
    groups = -(-table.num_rows // ROW_GROUP) * table.num_columns
    cells = [size, archives[0], archives[0] / size, archives[1], archives[1] / size]
    spelt = [f"{one / 1e6:.2f} MB" if one > 10 else f"{one:.2f}" for one in cells]
    decoded = f"{decoded_in_order(path)} of {groups}"
    return f"| {name} | {table.num_rows} | {' | '.join(spelt)} | {decoded} |"


def decoded_in_order(path: Path) -> int:
    """Return how many columns of row groups are decoded to read all rows once, in order."""
    opened = open_source("huggingface", str(path))
    source: Any = pickle.loads(pickle.dumps(opened))  # with nothing kept
    names = [task.name for task in source.tasks]
    before = source._rows.counts.decoded
    for index in range(len(source)):
        source.read(index, names)
    return int(source._rows.counts.decoded - before)


def seven_scenes(data: Path, count: int) -> dict[str, Any]:
    """Return the columns of a recording."""
    root = data / "sevenscenes"
    frames = sorted(root.glob("*.color.jpg"))[:count]
    poses = [np.loadtxt(str(f).replace(".color.jpg", ".pose.txt")).tolist() for f in frames]
    depths = [Path(str(f).replace(".color.jpg", ".depth.png")) for f in frames]
    return {
        "image": pa.array([cell(path.read_bytes(), path.name) for path in frames], FILE),
        "depth": pa.array([cell(path.read_bytes(), path.name) for path in depths], FILE),
        "pose": pa.array(poses, pa.list_(pa.list_(pa.float64()))),
        "frame": [path.name for path in frames],
    }


def cifar(data: Path, rows: int) -> dict[str, Any]:
    """Return the columns of small images with classes."""
    with zipfile.ZipFile(data / "cifar100" / "test.zip") as packed:
        names = [name for name in packed.namelist() if name.endswith(".png")][:rows]
        cells = [cell(packed.read(name), name.rpartition("/")[2]) for name in names]
    classes = [name.split("/")[-2] for name in names]
    numbers = {name: n for n, name in enumerate(sorted(set(classes)))}
    return {
        "image": pa.array(cells, FILE),
        "fine_label": pa.array([numbers[name] for name in classes], pa.int64()),
        "class_name": classes,
    }


def cell(data: bytes, path: str) -> dict[str, Any]:
    """Return a file as a cell."""
    return {"bytes": data, "path": path}


if __name__ == "__main__":
    main()
