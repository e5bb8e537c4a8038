"""Makes the weights of `layered` that come with dsc out of training runs, one for some modalities.

    dsc train layered --tasks rgb --data nyuv2:DIR,share=2 --data folder:PHOTOGRAPHS,share=4 \
        --data sample:600 --batch 6 --model-size fast --no-large-crops --steps 6000 --out rgb
    dsc train layered --tasks depth,normal --data nyuv2:DIR --data sample:600,share=2 \
        --batch 6 --model-size fast --no-large-crops --steps 3000 --out geometry
    python -m benchmarks.layered_weights rgb geometry --out layered.safetensors

No modality's network knows of another's, so they can be trained apart. PHOTOGRAPHS are every second
one of `natural/`, but for those of classes of Tiny-ImageNet-40: `--photographs DIR` links them.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from dsc._codecs.learned.codec_file import export_codec
from dsc._codecs.learned.layered.differentiable import LayeredNetwork, layered
from dsc._training.checkpoint import unpack


def link_photographs(data: Path, folder: Path) -> int:
    """Link the photographs that are trained on; return how many there are."""
    lines = (data / "tiny_imagenet40" / "classes.txt").read_text().splitlines()
    learned = {line.split("\t")[0] for line in lines}
    folder.mkdir(parents=True)
    chosen = [
        path
        for path in sorted((data / "natural").glob("*.JPEG"))[0::2]
        if path.name.split("_")[0] not in learned
    ]
    for path in chosen:
        (folder / path.name).symlink_to(path.resolve())
    return len(chosen)


def merged(runs: list[Path]) -> tuple[LayeredNetwork, dict[str, str]]:
    """Put the networks of runs together, each with its modalities; and the facts about each."""
    networks, facts = [], {}
    for run in runs:
        state: dict[str, Any] = unpack((run / "checkpoint.pt").read_bytes(), str(run))
        network = layered((), "fast", state["spec"])
        network.load_state_dict(state["average"] or state["network"])
        networks.append(network)
        config = json.loads(state["config"])
        kept = ("data", "batch", "crop", "lr", "seed", "prefix_share")
        told = {"steps": state["steps"], "seconds": round(state["seconds"])}
        told |= {name: config[name] for name in kept}
        facts[" and ".join(network.spec.modalities)] = json.dumps(told)
    first = networks[0].spec
    modalities = {name: m for one in networks for name, m in one.spec.modalities.items()}
    whole = LayeredNetwork(replace(first, modalities=modalities))
    weights = {name: value for one in networks for name, value in one.state_dict().items()}
    whole.load_state_dict(weights)
    return whole.eval(), facts


def without_places(card: dict[str, str]) -> dict[str, str]:
    """Leave out of a card where the data lay."""
    found = {}
    for name, text in card.items():
        told = json.loads(text)
        told["data"] = [
            {"layout": one["layout"], "share": one["share"], "options": one["options"]}
            for one in told["data"]
        ]
        found[name] = json.dumps(told)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--data", default=os.environ.get("DSC_TEST_DATA", "../shared/data"))
    args = parser.parse_args()
    if args.photographs is not None:
        print(f"{link_photographs(Path(args.data), args.photographs)} photographs")
    if args.out is not None:
        network, card = merged(args.runs)
        args.out.write_bytes(export_codec(network, without_places(card)))


if __name__ == "__main__":
    main()
