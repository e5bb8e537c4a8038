"""What a Ray worker does for a sweep: makes sure that it is at the right place, computes one run.

The token is a file that the sweep writes into its directory before the first task: a worker that
does not find it is on a machine that does not share the directory, and would compute for nobody.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from dsc._pipeline.write.plan import created_by
from dsc._replay.experiment.plan import RunConfig
from dsc._replay.experiment.result import ResultRow
from dsc._replay.experiment.sweep import compute
from dsc.errors import WrongPlaceError


@dataclass(frozen=True)
class Workplace:
    """Where and how workers compute; it travels by pickle.

    Attributes
    ----------
    out
        The sweep's directory, absolute.
    cwd
        The directory from which relative paths of configurations are meant.
    device, threads, checkpoint_every_s, gpus, features
        As `dsc._jobs.replay.sweep.sweep` has them.
    token
        Name of the file that a worker must see in `out`.
    version
        The dsc that a worker must run.
    """

    out: Path
    cwd: Path
    device: str
    threads: int
    checkpoint_every_s: float
    gpus: float
    features: Path | None = None
    token: str = ""
    version: str = ""


@contextmanager
def token_in(out: Path) -> Iterator[str]:
    """Write a token into a directory for as long as the block runs; return its name."""
    path = out / f".shared-{secrets.token_hex(8)}"
    path.write_bytes(b"")
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)


def compute_on_worker(place: Workplace, config: RunConfig) -> ResultRow:
    """Compute one run, or go on with it.

    Raises
    ------
    WrongPlaceError
        When this machine does not share the sweep's directory, has no GPU, or another dsc.
    RunClaimedError
        When another sweep computes the run.
    """
    _check(place)
    torch.set_num_threads(place.threads)
    with chdir(place.cwd) if place.cwd.is_dir() else nullcontext():
        return compute(
            config,
            place.out,
            device=place.device,
            features=place.features,
            checkpoint_every_s=place.checkpoint_every_s,
            wait=False,
        )


def _check(place: Workplace) -> None:
    node = os.uname().nodename
    if created_by() != place.version:
        raise WrongPlaceError(
            f"a worker on {node} runs {created_by()}, the sweep {place.version}; install the same "
            "version on every machine"
        )
    if not (place.out / place.token).exists():
        raise WrongPlaceError(
            f"a worker on {node} does not see {place.out} as the sweep does; give an --out on a "
            "file system that all machines share, under the same path"
        )
    if place.device == "cuda" and not torch.cuda.is_available():
        raise WrongPlaceError(
            f"a worker on {node} has no GPU that torch can use; install torch with CUDA there, or "
            "use --device cpu"
        )
