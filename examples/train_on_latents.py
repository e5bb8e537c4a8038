"""Train a classifier on integer latents, without synthesis, beside one on the decoded pixels.

    python examples/train_on_latents.py --data DIR    DIR/train.zip and DIR/val.zip: images by class
    python examples/train_on_latents.py               rendered views, where there are no data
    python examples/train_on_latents.py --quick       seconds, to see that it runs

Both classifiers see the same archive in the same order for as many steps, have about as many
parameters, and no augmentation: latents can hardly be flipped or cropped. ``decode="latents"``
stops after entropy decoding; `dsc.LatentEmbedding` makes features of the integers.
"""

import argparse
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dsc

QUALITY = "90"


def main() -> None:
    """Compress, train on both, compare."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    make = rendered_archive if options.data is None else image_archive
    train_url, val_url = (make(options, split) for split in ("train", "val"))
    label = "class_scene" if options.data is None else "class_label"
    tasks = ["rgb", label]
    classes = len(next(t for t in dsc.open(train_url).manifest.tasks if t.name == label).classes)

    print(f"{classes} classes: chance is {1 / classes:.1%}")
    for decode in ("latents", "pixels"):
        torch.manual_seed(options.seed)
        model = LatentClassifier(train_url, classes) if decode == "latents" else pixels(classes)
        stream = dsc.stream(
            train_url, tasks, 64, shuffle=True, seed=options.seed, decode=decode, drop_last=True
        )
        spent = train(model, decode, label, stream, options.epochs * len(stream))
        accuracy = evaluate(model, decode, label, dsc.stream(val_url, tasks, 128, decode=decode))
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        print(
            f"{decode:7}: accuracy {accuracy:.1%} ({count / 1e6:.2f} M parameters), decoding "
            f"{spent['decoding']:.0f} s, network {spent['network']:.0f} s",
            flush=True,
        )


class LatentClassifier(nn.Module):
    """Class scores from a `LatentBatch`: embedding at 1/16, then convolutions at 1/8 and 1/16."""

    def __init__(self, url: str, classes: int) -> None:
        super().__init__()
        self.embed = dsc.LatentEmbedding(dsc.load_codec(url, ["rgb"]), ["rgb"], channels=256)
        self.body = nn.Sequential(
            nn.Dropout2d(0.1), nn.PixelShuffle(2), Block(64, 96), Block(96, 160, stride=2)
        )
        self.head = head(160, classes)

    def forward(self, latents: Any) -> Tensor:
        """Return scores (B, classes)."""
        scores: Tensor = self.head(self.body(self.embed(latents)))
        return scores


class Scale(nn.Module):
    """Bring uint8 to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Map uint8 to float32."""
        return x.float() / 127.5 - 1


def pixels(classes: int) -> nn.Module:
    """Make a residual network that goes from 1/2 to 1/16."""
    stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
    body = (Block(32, 48, stride=2), Block(48, 96, stride=2), Block(96, 160, stride=2))
    return nn.Sequential(Scale(), stem, *body, head(160, classes))


class Block(nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 3, stride, 1),
            nn.BatchNorm2d(outputs), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1),
        )  # fmt: skip
        self.skip = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        out: Tensor = self.skip(x) + self.body(x)
        return out


def head(channels: int, classes: int) -> nn.Sequential:
    """Make the classifier on top of features (B, channels, h, w)."""
    pool = (nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*pool, nn.Dropout(0.2), nn.Linear(channels, classes))


def train(model: nn.Module, decode: str, label: str, stream: Any, steps: int) -> dict[str, float]:
    """Train for some steps; give the seconds spent on decoding and in the network."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    spent = {"decoding": 0.0, "network": 0.0}
    begin = time.perf_counter()
    for inputs, labels in endless(stream, decode, label):
        spent["decoding"] += (ready := time.perf_counter()) - begin
        loss = F.cross_entropy(model(inputs), labels, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        spent["network"] += (begin := time.perf_counter()) - ready
        if (steps := steps - 1) == 0:
            break
    return spent


def endless(stream: Any, decode: str, label: str) -> Iterator[tuple[Any, Tensor]]:
    """Return inputs and labels, epoch after epoch."""
    while True:
        for batch in stream:
            yield split_batch(batch, decode, label)


def split_batch(batch: Any, decode: str, label: str) -> tuple[Any, Tensor]:
    """Return the model's inputs, and class numbers (B,); a rendered view has probabilities."""
    labels = batch[label]
    inputs = batch["latents"] if decode == "latents" else batch["rgb"]
    return inputs, labels if labels.ndim == 1 else labels.argmax(dim=1)


@torch.no_grad()
def evaluate(model: nn.Module, decode: str, label: str, stream: Any) -> float:
    """Return the accuracy over a whole archive."""
    model.eval()
    hits = []
    for batch in stream:
        inputs, labels = split_batch(batch, decode, label)
        hits.append(model(inputs).argmax(dim=1) == labels)
    return float(torch.cat(hits).float().mean())


def image_archive(options: argparse.Namespace, split: str) -> str:
    """Compress the images of a zip file, one directory a class."""
    source, url = options.work / split, options.work / f"{split}.dsc"
    if not source.exists():
        with zipfile.ZipFile(options.data / f"{split}.zip") as archive:
            chosen = archive.namelist()[:: options.every]
            archive.extractall(source, chosen)
    dsc.compress(
        "folder", url, root=source, layout="classes", codec="rgb=independent", quality=QUALITY
    )
    return str(url)


def rendered_archive(options: argparse.Namespace, split: str) -> str:
    """Render views and compress them; the class is what room it is."""
    views, seed = (options.views, 0) if split == "train" else (options.views // 4, 1)
    url = options.work / f"{split}-{views}-views.dsc"
    dsc.compress(
        "sample", url, sample=views, tasks="rgb,class_scene", codec="rgb=independent",
        quality=QUALITY, size=64, seed=seed,
    )  # fmt: skip
    return str(url)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="directory of train.zip and val.zip")
    parser.add_argument("--work", type=Path, default=Path("runs/train_on_latents"))
    parser.add_argument("--epochs", type=int, help="default: 6, of rendered views 20")
    parser.add_argument("--views", type=int, default=1000, help="to render, without --data")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of --data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few samples, one epoch")
    options = parser.parse_args()
    root = os.environ.get("DSC_TEST_DATA")
    if options.data is None and root and (Path(root) / "tiny_imagenet40").is_dir():
        options.data = Path(root) / "tiny_imagenet40"
    if options.epochs is None:
        options.epochs = 20 if options.data is None else 6
    if options.quick:
        options.epochs, options.views, options.every = 1, 64, max(options.every, 50)
    options.work = options.work / ("views" if options.data is None else options.data.name)
    return options


if __name__ == "__main__":
    main()
