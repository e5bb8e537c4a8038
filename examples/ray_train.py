"""Train depth from RGB with Ray Train on an archive, and go on exactly when a worker is killed.

    python examples/ray_train.py ARCHIVE --storage RUNS --workers 2
    python examples/ray_train.py ARCHIVE --storage RUNS --workers 2 --kill-after 10

Every few batches, the model, the optimiser and the stream's state (a few integers) go into one
checkpoint. When a worker dies, Ray Train starts all workers again from the last one: no sample
after it is lost or repeated, and the losses are those of a run that nobody disturbed. The same
command with the same ``--name`` goes on with a run that ended, on another number of workers too.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from torch import Tensor, nn

import dsc


def train(config: dict[str, Any]) -> None:
    """Train on one worker; Ray Train calls this on all of them."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    torch.manual_seed(config["seed"])
    model = ray.train.torch.prepare_model(make_network())
    optimiser = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    stream = dsc.stream(
        config["url"],
        ["rgb", "depth"],
        batch_size=config["batch_size"] // world,
        shuffle=True,
        seed=config["seed"],
        rank=rank,
        world=world,
        device=str(device),
    )
    step = restore(model, optimiser, stream, device)
    log = open_log(config, rank, step)
    reported = step
    while (epoch := stream.epoch) < config["epochs"] and step < config["steps"]:
        for batch in stream:
            loss = loss_of(model(batch["rgb"]), batch["depth"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            write_log(log, step=step, epoch=epoch, loss=loss.item(), batch=batch)
            if step % config["checkpoint_every"] == 0:
                save(model, optimiser, stream, {"step": step, "epoch": epoch, "loss": loss.item()})
                reported = step
            if step == config["kill_after"] and rank == world - 1:
                die_once(config)
            if step >= config["steps"]:
                break
    if reported < step:
        save(model, optimiser, stream, {"step": step, "epoch": epoch, "loss": loss.item()})


def make_network() -> nn.Module:
    """Make a network from (B, 3, H, W) in [0, 255] to log depth (B, H, W), depth in metres."""
    return nn.Sequential(
        Normalise(),
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 16, 3, padding=1),
        nn.PixelShuffle(4),
        nn.Flatten(1, 2),
    )


class Normalise(nn.Module):
    """Bytes to numbers about zero."""

    def forward(self, rgb: Tensor) -> Tensor:
        """Scale (B, 3, H, W)."""
        return rgb.float() / 127.5 - 1


def loss_of(log_depth: Tensor, depth_m: Tensor) -> Tensor:
    """Return the mean error of log depth over the pixels where depth was measured."""
    valid = depth_m > 0  # NaN, where nothing was measured, is not
    return (log_depth[valid] - depth_m[valid].log()).abs().mean()


def save(
    model: nn.Module, optimiser: torch.optim.Optimizer, stream: Any, metrics: dict[str, Any]
) -> None:
    """Report metrics with a checkpoint; every worker must call it, the first one writes."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if ray.train.get_context().get_world_rank() == 0:
            state = {
                "model": unwrapped(model).state_dict(),
                "optimiser": optimiser.state_dict(),
                "stream": stream.state_dict(),  # counts what all workers have seen
                "step": metrics["step"],
            }
            torch.save(state, Path(folder, "state.pt"))
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(metrics, checkpoint=checkpoint)


def restore(
    model: nn.Module, optimiser: torch.optim.Optimizer, stream: Any, device: torch.device
) -> int:
    """Load the last checkpoint, if there is one; give the number of steps that it has seen."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder, "state.pt"), map_location=device, weights_only=True)
    unwrapped(model).load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    stream.load_state_dict(state["stream"])
    return int(state["step"])


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network itself, so that a checkpoint fits any number of workers."""
    inner = getattr(model, "module", model)
    return inner if isinstance(inner, nn.Module) else model


def open_log(config: dict[str, Any], rank: int, step: int) -> Any:
    """Open the file of what this worker does from a step on; None where nobody asked for it."""
    if config["log"] is None:
        return None
    folder = Path(config["log"])
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"from-{step:06d}-rank-{rank}.jsonl").open("a", buffering=1)


def write_log(log: Any, step: int, epoch: int, loss: float, batch: Any) -> None:
    """Write one step: number, epoch, loss and the indices of its samples."""
    if log is not None:
        samples = batch["__index__"].tolist()
        entry = {"step": step, "epoch": epoch, "loss": loss, "samples": samples}
        log.write(json.dumps(entry) + "\n")


def die_once(config: dict[str, Any]) -> None:
    """Kill this worker as a failing machine would, without a word; once a run."""
    mark = Path(config["storage"], config["name"], "killed")
    if mark.exists():
        return
    # Ray takes note of a checkpoint within two seconds; this demonstration is faster than that
    ray.train.get_all_reported_checkpoints(ray.train.CheckpointConsistencyMode.COMMITTED)
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def fit(
    url: str | os.PathLike[str],
    storage: str | os.PathLike[str],
    *,
    name: str = "depth-from-rgb",
    workers: int = 2,
    gpu: bool = False,
    epochs: int = 2,
    steps: int | None = None,
    batch_size: int = 16,
    checkpoint_every: int = 5,
    max_failures: int = 3,
    kill_after: int = 0,
    log: str | os.PathLike[str] | None = None,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> Any:
    """Run the training; the options are the command line's.

    Returns
    -------
    ray.train.Result
        ``metrics`` of the last report, ``metrics_dataframe`` of all that came with a checkpoint.
    """
    if batch_size % workers:
        raise ValueError(f"batch size {batch_size} is for all {workers} workers: give a multiple")
    url = os.fspath(url)
    trainer = ray.train.torch.TorchTrainer(
        train,
        train_loop_config={
            "url": url if "://" in url else str(Path(url).absolute()),  # workers run elsewhere
            "storage": str(Path(storage).absolute()),
            "name": name,
            "epochs": epochs,
            "steps": sys.maxsize if steps is None else steps,
            "batch_size": batch_size,
            "checkpoint_every": checkpoint_every,
            "kill_after": kill_after,
            "log": None if log is None else str(Path(log).absolute()),
            "learning_rate": learning_rate,
            "seed": seed,
        },
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=gpu),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=str(Path(storage).absolute()),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    return trainer.fit()


def main() -> None:
    """Parse the command line, train, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="path or URL of an archive with the tasks rgb and depth")
    parser.add_argument("--storage", required=True, help="directory for checkpoints")
    parser.add_argument("--name", default="depth-from-rgb", help="name of the run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="one GPU a worker")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="stop there, be it in the middle of an epoch")
    parser.add_argument("--batch-size", type=int, default=16, help="samples a step, of all workers")
    parser.add_argument("--checkpoint-every", type=int, default=5, help="steps")
    parser.add_argument("--max-failures", type=int, default=3, help="restarts before giving up")
    parser.add_argument("--kill-after", type=int, default=0, help="kill a worker at this step")
    parser.add_argument("--log", help="directory for each step's loss and sample indices")
    options = vars(parser.parse_args())
    result = fit(options.pop("url"), options.pop("storage"), **options)
    print(result.metrics_dataframe.to_string(index=False))
    print(f"checkpoints: {result.path}")


if __name__ == "__main__":
    main()
