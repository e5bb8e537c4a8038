"""The paper's shared latent: a group that every task sees, and one for each task alone.

Unlike `dsc.codecs.learned.shared_latent`, there is one hyper-latent over all channels, and the
tasks' latents are not conditioned on the shared one.
"""

from typing import ClassVar

from dsc.codecs.research.base import ResearchNetwork
from dsc.codecs.research.hyperprior import Layout
from dsc.schemas import Stream


class SharedLatent2023Network(ResearchNetwork):
    """See the module; `dsc.codecs.learned.network.Network` is the interface."""

    kind: ClassVar[str] = "shared-latent-2023"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[Layout, ...]:
        """Give one layout with a shared group and one for each task, all of one size."""
        part = latents // (len(modalities) + 1)
        groups = dict.fromkeys(("shared", *modalities), part)
        return (Layout(modalities, groups, {n: ("shared", n) for n in modalities}, "hyper"),)

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Give z, then the shared stream, then those of the tasks."""
        requires = ("hyper", "shared")
        tasks = (Stream(name=n, carries=(n,), requires=requires) for n in modalities)
        return (Stream(name="hyper"), Stream(name="shared", requires=("hyper",)), *tasks)


network = SharedLatent2023Network.make
