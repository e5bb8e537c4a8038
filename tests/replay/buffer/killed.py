"""Kills an updating process at random moments and checks what is left; prints one line of JSON.

    python -m tests.replay.buffer.killed FOLDER [KIND [KILLS]]

A child adds task after task to a buffer and says so after each. It is killed with SIGKILL after a
random time. The file must then be, byte for byte, the buffer after as many updates as the child
told of, or after one more; the next child goes on from it.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dsc._replay.buffer.buffer import ReplayBuffer
from tests.replay.kinds import KINDS, PICTURES, Kind

UPDATES = 12
LEARNT_AT = 3  # the update that is large enough to learn from


def options(kind: Kind) -> dict[str, Any]:
    return {"budget": "30kB", "policy": "class-balanced", "seed": 1, **kind.options}


def update(buffer: ReplayBuffer, kind: Kind, number: int) -> None:
    count = 300 if number == LEARNT_AT else 60
    buffer.add(kind.samples(count, 16, number), np.arange(count) % 3 + 3 * number)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def uninterrupted(path: Path, kind: Kind) -> tuple[list[str], float]:
    """Return the hash of the file after every update, and how long an update takes."""
    found, began = [digest(path)], time.monotonic()
    with ReplayBuffer(path, **options(kind)) as buffer:
        found.append(digest(path))
        for number in range(UPDATES):
            update(buffer, kind, number)
            found.append(digest(path))
    return found, (time.monotonic() - began) / UPDATES


def child(path: Path, kind: Kind, told: int) -> None:
    with ReplayBuffer(path, **options(kind)) as buffer:
        os.write(told, b".")
        for number in range(buffer.generation, UPDATES):
            update(buffer, kind, number)
            os.write(told, b".")


def killed_after(path: Path, kind: Kind, seconds: float) -> int:
    """Let a child work for a while; give how often it told of an update."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        child(path, kind, writing)
        os._exit(0)
    os.close(writing)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    told = b""
    while piece := os.read(reading, 64):
        told += piece
    os.close(reading)
    return len(told)


def main(folder: Path, kind: Kind, kills: int) -> None:
    expected, update_s = uninterrupted(folder / "whole.h5", kind)
    path, rng = folder / "killed.h5", random.Random(0)
    counts = {"kills": 0, "old": 0, "new": 0, "lost": 0, "part_left": 0, "rounds": 0}
    state = 0
    for _ in range(kills):
        told = killed_after(path, kind, rng.uniform(0, 3 * update_s))
        found = digest(path)
        # A child first tells that it has the buffer, which it makes where there is none.
        least = max(state, 1) + told - 1 if told else state
        counts["kills"] += 1
        counts["part_left"] += (folder / ".killed.h5.part").exists()
        if found == expected[least]:
            counts["old"] += 1
            state = least
        elif least + 1 < len(expected) and found == expected[least + 1]:
            counts["new"] += 1
            state = least + 1
        else:
            counts["lost"] += 1
            break
        if state:
            reader = ReplayBuffer.open(path)
            reader.__getitems__(range(len(reader)))
            if reader.nbytes > reader.budget:
                counts["lost"] += 1
        if state == len(expected) - 1:
            path.unlink()
            counts["rounds"] += 1
            state = 0
    print(json.dumps(counts))


if __name__ == "__main__":
    named = {kind.name: kind for kind in KINDS}
    wanted = dict(enumerate(sys.argv[2:]))
    main(Path(sys.argv[1]), named[wanted.get(0, PICTURES.name)], int(wanted.get(1, 20)))
