"""What embeddings lose by the codec `embedding`, and what a step, classes and modes are worth.

    python -m benchmarks.embeddings

EfficientNet-Lite0's pooled vectors (1280 floats, 5,120 bytes): of photographs, under its own
classifier of 1,000 classes; of Tiny-ImageNet and CIFAR-100, under ridge regression; of NYUv2, by
how often the nearest other frame is of the same scene, taken as one less than ten frames away. The
codec learns from other data than it is tested on: for photographs from the other half of them and
NYUv2, for the others also from none of their classes (from NYUv2 and all photographs). Where half a
point matters, the photographs that are kept back (`feature_crops`) are seen `VIEWS` times each, and
intervals are over photographs. Bytes are payloads. Vectors are kept in `--cache`.
"""

import argparse
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsc._backbones.extract import extract, make_extractor
from dsc._backbones.registry import load_backbone
from dsc._bench.machine.datasets import UNKNOWN, class_numbers
from dsc._bench.machine.heads import Ridge
from dsc._bench.machine.network import Network
from dsc._codecs.embedding.codec import EmbeddingCodec
from dsc._codecs.embedding.learn import FORMS, prior_of
from dsc._pipeline.metrics import cosine_distance
from dsc._schemas import Task, TaskKind

Vectors = NDArray[np.float32]
LITE0 = "efficientnet-lite0"
NAME = "embedding"
QUALITIES = (20, 40, 50, 60, 65, 70, 80, 90, 100)
VIEWS = 20  # of a photograph: itself, and squares of at least `LEAST_SIDE` of the shorter side
LEAST_SIDE = 0.75
VIEWED = (50, 60, 65, 70)
MANY = 1_000_000  # vectors that an archive is taken to have, so that a file costs nothing
SCENE = 10  # frames
RIDGE = 0.01  # the penalty's weight


@dataclass(frozen=True)
class Labelled:
    """Vectors to train a head on, and to test it."""

    train: Vectors
    train_classes: NDArray[np.int64]
    test: Vectors
    test_classes: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--cache", default="build/embeddings", help="where vectors are kept")
    parser.add_argument("--samples", type=int, help="pictures of a set; all of them by default")
    args = parser.parse_args()
    data, cache = Path(args.data), Path(args.cache)
    sets = {
        name: load(cache, name, pictures, side, args.samples)
        for name, (pictures, side) in sources(data).items()
    }
    photographs(*sets["photographs"], sets["nyuv2"][0])
    views(
        *seen_often(cache, data), np.concatenate([sets["photographs"][0][1::2], sets["nyuv2"][0]])
    )
    seen = np.concatenate([sets["photographs"][0], sets["nyuv2"][0]])
    for title, name in (("Tiny-ImageNet, 40 classes", "tiny"), ("CIFAR-100", "cifar")):
        probes(title, labelled(sets[f"{name} train"], sets[f"{name} test"]), seen)
    scenes(*sets["nyuv2"], sets["photographs"][0], sets["tiny train"][0])
    forms(sets["tiny train"][0], sets["tiny test"][0])
    speed(sets["tiny train"][0], sets["tiny test"][0])


# ---- vectors


Pictures = Iterator[tuple[str, NDArray[np.uint8]]]


def sources(data: Path) -> dict[str, tuple[Pictures, int | None]]:
    """Return pictures by set, each with its name, and the side at which the network sees them."""
    tiny, cifar = data / "tiny_imagenet40", data / "cifar100"
    return {
        "photographs": (files(data / "natural"), None),
        "nyuv2": (files(data / "nyuv2/nyu_images"), None),
        "tiny train": (zipped(tiny / "train.zip"), 128),
        "tiny test": (zipped(tiny / "val.zip"), 128),
        "cifar train": (zipped(cifar / "train.zip"), 128),
        "cifar test": (zipped(cifar / "test.zip"), 128),
    }


def files(folder: Path) -> Pictures:
    """Yield pictures of a folder, in the order of the numbers that their names are, if any."""
    order = sorted(folder.iterdir(), key=lambda p: (int(p.stem) if p.stem.isdigit() else 0, p.name))
    for path in order:
        yield path.stem, np.asarray(Image.open(path).convert("RGB"))


def zipped(path: Path) -> Pictures:
    """Yield pictures of a zip, every other one."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith(("/", ".txt")))
        for name in names[::2]:
            yield name, np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))


def seen_often(cache: Path, data: Path) -> tuple[Vectors, list[str]]:
    """Return vectors of the photographs that are kept back, `VIEWS` of each, and their names."""
    usual = make_extractor(LITE0, "rgb")
    uncut = usual.model_copy(
        update={"preprocessing": usual.preprocessing.model_copy(update={"crop": 1.0})}
    )
    rng = np.random.default_rng(5)

    def drawn() -> Iterator[tuple[str, Vectors]]:
        for name, whole in list(files(data / "natural"))[::2]:
            yield name, extract(usual, whole)
            for _ in range(VIEWS - 1):
                yield name, extract(uncut, square(whole, rng))

    return kept(cache / "views.npz", drawn())


def square(whole: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a square of a picture, anywhere in it, mirrored now and then."""
    height, width = whole.shape[:2]
    side = round(min(height, width) * float(rng.uniform(LEAST_SIDE, 1)))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    part = whole[top : top + side, left : left + side]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 1 / 2 else part)


def load(
    cache: Path, name: str, pictures: Pictures, side: int | None, samples: int | None
) -> tuple[Vectors, list[str]]:
    """Return the vectors of pictures and their names, kept from an earlier run or computed."""
    extractor = make_extractor(LITE0, "rgb", side=side)
    found = ((key, extract(extractor, picture)) for key, picture in pictures)
    vectors, keys = kept(cache / f"{name.replace(' ', '_')}.npz", found)
    step = 1 if samples is None else max(1, len(keys) // samples)
    return vectors[::step], keys[::step]


def kept(path: Path, computed: Iterator[tuple[str, Vectors]]) -> tuple[Vectors, list[str]]:
    """Return the vectors and names of a file, which is written if it is not there."""
    if not path.is_file():
        found = list(computed)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, keys=[key for key, _ in found], vectors=[vector for _, vector in found])
    with np.load(path) as file:
        return file["vectors"], [str(key) for key in file["keys"]]


def labelled(train: tuple[Vectors, list[str]], test: tuple[Vectors, list[str]]) -> Labelled:
    """Return vectors with the classes that their folders are."""
    folders = [[key.split("/")[-2] for key in keys] for _, keys in (train, test)]
    numbers = {name: at for at, name in enumerate(sorted(set(folders[0])))}
    own = [np.array([numbers[name] for name in part]) for part in folders]
    return Labelled(train[0], own[0], test[0], own[1])


# ---- the codec


def learnt(vectors: Vectors, count: int = MANY) -> EmbeddingCodec:
    """Return the codec as an archive of `count` vectors like these has it."""
    task = Task(name=NAME, kind=TaskKind.EMBEDDING, dtype="float32", channels=vectors.shape[1])
    return EmbeddingCodec([task]).learning([{NAME: one} for one in vectors], count)


def coded(codec: EmbeddingCodec, vectors: Vectors, quality: int) -> tuple[float, Vectors]:
    """Return bytes a vector, and the vectors as they come back."""
    [task] = codec.tasks
    payloads = [codec.encode_task(task, one, quality) for one in vectors]
    back = np.array([codec.decode_task(task, one, 1) for one in payloads])
    return float(np.mean([len(one) for one in payloads])), back


def distance(vectors: Vectors, back: Vectors) -> float:
    """Return the mean cosine distance."""
    return float(np.mean([cosine_distance(*pair) for pair in zip(vectors, back, strict=True)]))


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


# ---- tables


def photographs(vectors: Vectors, keys: list[str], rooms: Vectors) -> None:
    """Print what the network's own classifier says, each half under a codec of the other."""
    network = Network(load_backbone(LITE0))
    classes = np.array(class_numbers(keys))
    order = np.random.default_rng(0).permutation(len(vectors))
    halves = [order[: len(order) // 2], order[len(order) // 2 :]]
    codecs = [learnt(np.concatenate([rooms, vectors[own]])) for own in halves]
    truth = answers(network, vectors)
    rows = [["as they are", "5,120", "", "", "", top1(truth, classes)]]
    for quality in QUALITIES:
        sizes, back = [], np.empty_like(vectors)
        for codec, own in zip(codecs, halves[::-1], strict=True):
            size, back[own] = coded(codec, vectors[own], quality)
            sizes.append(size * len(own))
        found = answers(network, back)
        agree = np.mean(truth.argmax(1) == found.argmax(1))
        rows.append(
            [f"quality {quality}", f"{sum(sizes) / len(vectors):.1f}",
             f"{distance(vectors, back):.4f}", f"{kl(truth, found):.4f}", f"{agree:.1%}",
             top1(found, classes)]
        )  # fmt: skip
    heads = ["photographs", "bytes", "cosine distance", "KL, nats", "same answer", "top-1 of 1,000"]
    table(f"{len(vectors)} photographs", heads, rows)


def views(vectors: Vectors, keys: list[str], seen: Vectors) -> None:
    """Print what the network's own classifier loses, and how sure that is."""
    network = Network(load_backbone(LITE0))
    classes = np.array(class_numbers(keys))
    truth = answers(network, vectors)
    codec, rows = learnt(seen), []
    for quality in VIEWED:
        size, back = coded(codec, vectors, quality)
        found = answers(network, back)
        lost = right(truth, classes) - right(found, classes)
        each = 100 * lost.reshape(-1, VIEWS).mean(1)
        within = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
        rows.append(
            [f"{quality}", f"{size:.1f}", f"{distance(vectors, back):.4f}",
             f"{kl(truth, found):.4f}", f"{np.mean(truth.argmax(1) == found.argmax(1)):.1%}",
             f"{each.mean():.2f} ± {within:.2f}"]
        )  # fmt: skip
    heads = [
        "quality",
        "bytes",
        "cosine distance",
        "KL, nats",
        "same answer",
        "points of top-1 lost",
    ]
    whole = right(truth, classes).mean()
    table(f"{len(vectors)} views of photographs kept back, {whole:.1%} of them right", heads, rows)


def right(found: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 where an answer is right, else 0."""
    return (found.argmax(1) == classes).astype(np.float64)


def kl(truth: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the mean divergence between answers, in nats."""
    return float(np.mean(np.sum(np.exp(truth) * (truth - found), axis=1)))


def answers(network: Network, vectors: Vectors) -> NDArray[np.float64]:
    """Return log-probabilities (N, 1000)."""
    logits = network.logits(vectors).astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    found: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return found


def top1(found: NDArray[np.float64], classes: NDArray[np.int64]) -> str:
    """Return the share of right answers, of those whose class is known."""
    known = classes != UNKNOWN
    return f"{np.mean(found.argmax(1)[known] == classes[known]):.1%}" if known.any() else "–"


def probes(title: str, data: Labelled, seen: Vectors) -> None:
    """Print the accuracy of ridge regression, under a codec of other data and of the set's own."""
    count = int(data.train_classes.max()) + 1
    whole = accuracy(data, data.train, data.test, count)
    rows = [["as they are", "5,120", "", whole, whole]]
    for name, codec in (("other data", learnt(seen)), ("its own", learnt(data.train))):
        for quality in (40, 50, 60, 65, 70):
            _, train = coded(codec, data.train, quality)
            size, test = coded(codec, data.test, quality)
            rows.append(
                [f"learnt from {name}, quality {quality}", f"{size:.1f}",
                 f"{distance(data.test, test):.4f}", accuracy(data, train, test, count),
                 accuracy(data, train, data.test, count)]
            )  # fmt: skip
    heads = [title, "bytes", "cosine distance", "both coded", "training vectors coded"]
    table(f"Ridge regression, {len(data.train)} and {len(data.test)} vectors", heads, rows)


def accuracy(data: Labelled, train: Vectors, test: Vectors, count: int) -> str:
    """Return the share of test vectors that a head is right on."""
    head = Ridge(train, data.train_classes, count, (RIDGE,))
    return f"{np.mean(head.classes(test) == data.test_classes):.1%}"


def scenes(vectors: Vectors, keys: list[str], *others: Vectors) -> None:
    """Print how often the nearest other frame is of the same scene."""
    frames = np.array([int(key) for key in keys])
    rows = [["as they are", "5,120", "", f"{same_scene(vectors, frames):.1%}"]]
    codec = learnt(np.concatenate(others))
    for quality in (40, 50, 60, 70):
        size, back = coded(codec, vectors, quality)
        found = f"{same_scene(back, frames):.1%}"
        rows.append([f"quality {quality}", f"{size:.1f}", f"{distance(vectors, back):.4f}", found])
    heads = ["NYUv2", "bytes", "cosine distance", "nearest is of the same scene"]
    table(f"Retrieval among {len(vectors)} frames", heads, rows)


def same_scene(vectors: Vectors, frames: NDArray[np.int64]) -> float:
    """Return the share of frames whose nearest other one, by cosine, is less than `SCENE` away."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -1)
    has_other = np.array([np.sum(np.abs(frames - one) < SCENE) > 1 for one in frames])
    near = np.abs(frames[alike.argmax(1)] - frames) < SCENE
    return float(np.mean(near[has_other]))


def forms(train: Vectors, test: Vectors) -> None:
    """Print what classes and modes save, and the bytes of their file."""
    [task] = learnt(train[:16]).tasks
    rows = []
    for classes, modes in (None, None), *FORMS:
        if classes is None or modes is None:
            codec, name = EmbeddingCodec([task]), "nothing learnt"
        else:
            prior = prior_of(train[:2048].astype(np.float64), MANY, classes, modes)
            codec = EmbeddingCodec([task], {} if prior is None else {NAME: prior})
            name = f"{classes} classes, {modes} modes"
        sizes = [coded(codec, test[::4], quality)[0] for quality in (50, 60, 80)]
        rows.append([name, *(f"{size:.1f}" for size in sizes), f"{len(codec.weights() or b''):,}"])
    heads = ["Tiny-ImageNet, bytes at quality", "50", "60", "80", "file"]
    table("What is learnt", heads, rows)


def speed(train: Vectors, test: Vectors) -> None:
    """Print vectors a second on one core, of processor time."""
    codec = learnt(train)
    [task] = codec.tasks
    payloads = [codec.encode_task(task, one, 60) for one in test]
    rows = [
        ["encode", rate(lambda: [codec.encode_task(task, one, 60) for one in test], len(test))],
        ["decode", rate(lambda: [codec.decode_task(task, one, 1) for one in payloads], len(test))],
    ]
    table("Quality 60, one core", ["", "vectors a second"], rows)


def rate(work: Callable[[], object], count: int) -> str:
    """Return how many of `count` things are done in a second."""
    begun = time.process_time()
    work()
    return f"{count / (time.process_time() - begun):,.0f}"


if __name__ == "__main__":
    main()
