"""One analysis, a group of latents a task: what tasks have in common is coded once for each."""

from typing import ClassVar

from dsc._schemas import Stream
from dsc._training.research.base import ResearchNetwork
from dsc._training.research.hyperprior import HyperpriorLayout


class DisjointLatentNetwork(ResearchNetwork):
    """One analysis, and a group of latents a task."""

    kind: ClassVar[str] = "disjoint-latent"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[HyperpriorLayout, ...]:
        """Return one layout with a group for each task."""
        part = latents // len(modalities)
        groups = dict.fromkeys(modalities, part)
        return (
            HyperpriorLayout(modalities, groups, {name: (name,) for name in modalities}, "hyper"),
        )

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Return z, which every task requires, and a stream for each task."""
        tasks = (Stream(name=n, carries=(n,), requires=("hyper",)) for n in modalities)
        return (Stream(name="hyper"), *tasks)


network = DisjointLatentNetwork.make
