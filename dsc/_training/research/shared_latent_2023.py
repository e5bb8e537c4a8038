"""The paper's shared latent: a group that every task sees, and one for each task alone.

Unlike `dsc._codecs.learned.codec`, there is one hyper-latent over all channels, and the
tasks' latents are not conditioned on the shared one.
"""

from typing import ClassVar

from dsc._schemas import Stream
from dsc._training.research.base import ResearchNetwork
from dsc._training.research.hyperprior import HyperpriorLayout


class SharedLatent2023Network(ResearchNetwork):
    """A shared group of latents, and one a task."""

    kind: ClassVar[str] = "shared-latent-2023"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[HyperpriorLayout, ...]:
        """Return one layout with a shared group and one for each task, all of one size."""
        part = latents // (len(modalities) + 1)
        groups = dict.fromkeys(("shared", *modalities), part)
        return (
            HyperpriorLayout(modalities, groups, {n: ("shared", n) for n in modalities}, "hyper"),
        )

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Return z, then the shared stream, then those of the tasks."""
        requires = ("hyper", "shared")
        tasks = (Stream(name=n, carries=(n,), requires=requires) for n in modalities)
        return (Stream(name="hyper"), Stream(name="shared", requires=("hyper",)), *tasks)


network = SharedLatent2023Network.make
