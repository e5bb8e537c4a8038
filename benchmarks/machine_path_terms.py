"""What each term of a machine path's loss is worth: short trainings with one of them left out.

    python -m benchmarks.machine_path_terms --steps 100

Every row is a network of as many steps, of the same crops and the same first weights. KL and
agreement are of EfficientNet-Lite0's answers to the photographs that no path learned from, beside
its answers to the pictures that were never coded (see `benchmarks.machine_path`).
"""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.machine_path import PEOPLE, code, measured, psnr_db, see, show
from benchmarks.machine_path_weights import BACKBONE, examples_of, teacher_of
from dsc._backbones.registry import load_backbone
from dsc._bench.machine.classification import answers, compare
from dsc._bench.machine.datasets import photographs
from dsc._bench.machine.network import Network
from dsc._codecs.machine.paths import KIND
from dsc._codecs.restored.network import RestorationNetwork
from dsc._codecs.restored.weights import load_network, save_network
from dsc._training.models.machine_path import Terms, train

TERMS = {
    "all terms": Terms(),
    "no answer": Terms(answer=0),
    "no features": Terms(features=0),
    "no pixels": Terms(pixels=0),
    "pixels alone": Terms(answer=0, features=0, pixels=1),
}
QUALITIES = (15, 30, 60)
SEED = 0


def trained(data: Path, work: Path, steps: int) -> dict[str, RestorationNetwork]:
    """Train a network by each choice of terms, or read those that were trained."""
    examples = examples_of("cls", data, work, SEED)
    teacher = teacher_of("cls", data, work, SEED)
    networks = {}
    for name, terms in TERMS.items():
        kept = work / f"terms-{steps}-{name.replace(' ', '-')}.safetensors"
        if not kept.is_file():
            kept.write_bytes(
                save_network(train(examples, teacher, steps, SEED, terms=terms), {}, KIND)
            )
            print(f"{name}: trained", flush=True)
        networks[name] = load_network(kept.read_bytes(), KIND)
    return networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    parser.add_argument("--work", default="machine_path_work", help="where what is coded is kept")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, work = Path(args.data), Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    networks = trained(data, work, args.steps)
    backbone = load_backbone(BACKBONE)
    network = Network(backbone)
    pictures = measured(photographs(data / "natural", backbone, None))
    reference = answers(network, see(network, pictures.pictures, pictures.side))
    rows = []
    for quality in QUALITIES:
        coded = code(pictures, quality, work)
        for name, path in {PEOPLE: None, **networks}.items():
            restored = coded.along(path)
            found = compare(reference, answers(network, see(network, restored, pictures.side)), ())
            far = psnr_db(restored, pictures.pictures)
            rows.append(
                [coded.bpp, name, f"{100 * found['agreement']:.1f}", found["kl"], f"{far:.2f}"]
            )
    columns = ("bpp", "terms", "agreement %", "KL", "PSNR dB")
    show(f"{args.steps} steps, {len(pictures.pictures)} unseen photographs", columns, rows)


if __name__ == "__main__":
    main()
