"""What is left of pictures when payloads are lost: whole, coarser, of a frame beside, or gone.

    python -m benchmarks.lost_payloads [--share 0.1] [--codecs NAME ...]

Each codec's archive is of the same frames of the 7-Scenes clip (DSC_TEST_DATA, or of a recording
that is rendered where it is not there). A bit is flipped in a share of the payloads of some
streams: of the finest alone, then of all. Frames are read with ``on_damage="coarser"``, and of
codecs without levels of each frame with ``"nearest"``; those that cannot be decoded count as gone.
PSNR is against what the intact archive decodes to, over all frames that are decoded, smaller ones
enlarged pixel by pixel; ``whole`` are exact.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dsc
from dsc._bench.markdown import markdown_table
from dsc._codecs.base import Array
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc.errors import BitstreamError, CorruptArchiveError
from tests.places import DATA

CLIP = DATA / "sevenscenes_clip"
CODECS = ("av1-layered", "av1-seq", "layered", "layered-seq")
BY_FRAMES = ("av1-seq",)  # levels that are layers of frames: a frame beside stands for a lost one
TASK = "rgb"


@dataclass
class Left:
    """What was decoded of an archive that is damaged.

    Attributes
    ----------
    whole, coarser, gone
        Frames: as they were; from fewer levels, or another frame; not at all.
    mean_square
        Mean squared error of the frames that are decoded, in counts.
    """

    whole: int = 0
    coarser: int = 0
    gone: int = 0
    mean_square: float = 0.0


def main() -> None:
    """Damage an archive of each codec, and print what is left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codecs", nargs="+", default=CODECS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for codec in options.codecs:
            whole = Path(work, codec)
            compress(whole, codec)
            streams = [s.name for s in Archive.open(whole).manifest.streams if TASK in s.carries]
            for lost in (streams[-1:], streams):
                place = Path(shutil.copytree(whole, Path(work, "damaged")))
                count = len(damage(place, lost, options.share, options.seed))
                found = left(whole, place, "nearest" if codec in BY_FRAMES else "coarser")
                rows.append([codec, ", ".join(lost), str(count), *shown(found)])
                shutil.rmtree(place)
    print(f"{options.share:.0%} of the payloads lost\n")
    print(markdown_table(HEAD, rows))


HEAD = (
    "codec",
    "damaged streams",
    "payloads",
    "frames whole",
    "coarser, or beside",
    "gone",
    "PSNR, dB",
)


def compress(out: Path, codec: str) -> None:
    """Make an archive of the pictures of a recording."""
    if CLIP.is_dir():
        dsc.compress("folder", out, root=str(CLIP), tasks=TASK, codec=codec)
    else:
        dsc.compress("rendered", out, tasks=TASK, codec=codec, frames=64, camera="walk", size=640)


def damage(root: Path, streams: Sequence[str], share: float, seed: int) -> list[tuple[str, int]]:
    """Flip a bit of the last byte of a random share of the payloads of some streams.

    Parameters
    ----------
    share
        Of all payloads of these streams, 0 to 1; the number is rounded.

    Returns
    -------
    list of tuple
        Stream and index of the sample of each payload that was damaged.
    """
    archive = Archive.open(root)
    reader = PackReader(archive)
    there: list[tuple[str, int, Path, int]] = []
    for stream in streams:
        for shard, record in enumerate(archive.shards):
            path, first = root / record.streams[stream].path, archive.start(shard)
            for pack in range(archive.n_packs(shard)):
                table = reader.table(shard, stream, pack)
                start = first + pack * archive.manifest.pack_size
                there += [
                    (stream, start + k, path, int(table.ends[k]) - 1)
                    for k in np.flatnonzero(~np.asarray(table.missing)).tolist()
                ]
    chosen = np.random.default_rng(seed).permutation(len(there))[: round(share * len(there))]
    for number in chosen.tolist():
        _, _, path, at = there[number]
        with path.open("r+b") as file:
            file.seek(at)
            old = file.read(1)[0]
            file.seek(at)
            file.write(bytes([old ^ 1]))
    return [there[number][:2] for number in chosen.tolist()]


def left(whole: Path, damaged: Path, on_damage: str) -> Left:
    """Read every frame of an archive that is damaged, and compare it with the intact one."""
    found, errors = Left(), list[float]()
    views = dsc.open(damaged, TASK, on_damage=on_damage)
    for index, was in enumerate(dsc.open(whole, TASK)):
        try:
            one = views[index]
        except (BitstreamError, CorruptArchiveError):
            found.gone += 1
            continue
        made_good = bool(one[f"__{on_damage}__"])
        found.coarser += made_good
        found.whole += not made_good
        errors.append(mean_square_error(was[TASK], one[TASK]))
    found.mean_square = float(np.mean(errors)) if errors else float("nan")
    return found


def mean_square_error(was: Array, found: Array) -> float:
    """Return the mean squared error of a picture, enlarged where it is smaller."""
    step = -(-was.shape[0] // found.shape[0])
    large = found.repeat(step, axis=0).repeat(step, axis=1)[: was.shape[0], : was.shape[1]]
    return float(np.mean((large.astype(float) - was) ** 2))


def shown(found: Left) -> list[str]:
    """Return the cells of what is left."""
    exact = not found.mean_square
    psnr = "exact" if exact else f"{10 * np.log10(255**2 / found.mean_square):.1f}"
    return [str(found.whole), str(found.coarser), str(found.gone), psnr]


if __name__ == "__main__":
    main()
