"""What a picture costs CL-LoRA once it has learnt T tasks, beside one pass of the frozen network.

    python -m benchmarks.adapter_inference

The early part is computed once and the late part once for each task. Multiplications are counted
layer by layer; times are medians of CPU seconds on one thread, both in bfloat16, rounds of all
numbers of tasks interleaved. Adapters are random: what they have learnt costs nothing.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dsc._backbones.registry import load_backbone
from dsc._backbones.staged import INPUT
from dsc._replay.learners.batches import generator
from dsc._replay.learners.cl_lora.low_rank import LowRankAdapters
from dsc._replay.learners.cl_lora.network import AT_ONCE, AdaptedNetwork
from dsc._replay.learners.cl_lora.task import TaskAdapters
from dsc._replay.learners.cl_lora.trunk import PRECISION
from dsc._replay.learners.cl_lora.trunks import make_trunk, shown_layer
from dsc._schemas.extractor import EMBEDDING

CPU = torch.device("cpu")
CLASSES, RANK = 10, 8


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--side", type=int, default=128, help="pixels of a picture")
    parser.add_argument("--tasks", default="1,2,5,10,20", help="numbers of tasks, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    numbers = [int(word) for word in arguments.tasks.split(",")]
    backbone, layer = load_backbone(arguments.backbone), shown_layer(arguments.backbone)
    front = backbone.tail(INPUT, str(layer))
    pictures = torch.randn(AT_ONCE, 3, arguments.side, arguments.side, generator=generator(0))
    with torch.no_grad():
        whole = multiplications(backbone.tail(INPUT, EMBEDDING), pictures[:1])
        network = adapted(arguments.backbone, arguments.side, max(numbers))
        once = multiplications(front, pictures[:1])
        maps = front(pictures)
        early = multiplications(lambda x: early_part(network, x), maps[:1])
        late = multiplications(lambda x: network.scores(x.numpy()), maps[:1]) - early
    print(
        f"{arguments.backbone} at {arguments.side} pixels: {whole / 1e6:.1f} million "
        f"multiplications, {100 * (once + early) / whole:.1f} % of them shared by all tasks"
    )
    seconds = times(front, backbone.tail(INPUT, EMBEDDING), network, pictures, numbers, arguments)
    print("| tasks | multiplications | CPU time | bar: 1 + 0.3 T |\n| --- | --- | --- | --- |")
    for number in numbers:
        counted = (once + early + late * number / max(numbers)) / whole
        ratio = seconds[number] / seconds[0]
        print(f"| {number} | {counted:.2f} | {ratio:.2f} | {1 + 0.3 * number:.2f} |")


def adapted(backbone: str, side: int, tasks: int) -> AdaptedNetwork:
    """Make a network of random adapters."""
    trunk = make_trunk(backbone, side, CPU)
    draw = generator(1)
    shared = LowRankAdapters(trunk.early.sites, RANK, draw, trains_down=False)
    network = AdaptedNetwork(trunk, shared)
    for number in range(tasks):
        own = LowRankAdapters(trunk.late.sites, RANK, draw, trains_down=True)
        task = TaskAdapters(own, CLASSES * number, CLASSES, trunk.feature_size)
        nn.init.normal_(task.means, generator=draw)
        network.tasks.append(task)
    for up in [*shared.up, *(up for task in network.tasks for up in task.adapters.up)]:
        nn.init.normal_(up, std=0.01, generator=draw)
    return network


def early_part(network: AdaptedNetwork, maps: Tensor) -> Tensor:
    """Compute what all tasks share."""
    early = network.trunk.early
    return early(network.trunk.prepare(maps.numpy()), early.weights(network.shared.changes()))


def multiplications(function: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Count the multiplications of convolutions as `function` is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function(x)
    operations = counter.get_flop_counts()["Global"]
    found = [count for name, count in operations.items() if "convolution" in str(name)]
    return sum(found) // 2


def times(
    front: nn.Module,
    whole: nn.Module,
    network: AdaptedNetwork,
    pictures: Tensor,
    numbers: Sequence[int],
    arguments: argparse.Namespace,
) -> dict[int, float]:
    """Return the median CPU seconds for each number of tasks; 0 is the frozen network."""
    import copy

    layout = torch.channels_last
    frozen, shown = (
        copy.deepcopy(one).to(PRECISION).to(memory_format=layout) for one in (whole, front)
    )
    x = pictures.to(PRECISION).contiguous(memory_format=layout)
    tasks = list(network.tasks)
    found: dict[int, list[float]] = {number: [] for number in (0, *numbers)}
    for _ in range(arguments.rounds + 1):
        for number, seconds in found.items():
            network.tasks = tasks[:number]
            begun = time.process_time()
            with torch.no_grad():
                if number:
                    network.scores(shown(x).half().numpy())
                else:
                    frozen(x)
            seconds.append(time.process_time() - begun)
    return {number: statistics.median(seconds[1:]) for number, seconds in found.items()}


if __name__ == "__main__":
    main()
