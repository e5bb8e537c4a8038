"""One latent that every task's decoder sees whole: the bound, as no task can be had alone."""

from typing import ClassVar

from dsc.codecs.research.base import ResearchNetwork
from dsc.codecs.research.hyperprior import Layout
from dsc.schemas import Stream


class MixedLatentNetwork(ResearchNetwork):
    """See the module; `dsc.codecs.learned.network.Network` is the interface."""

    kind: ClassVar[str] = "mixed-latent"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[Layout, ...]:
        """Give one layout without groups."""
        sees = {name: ("mixed",) for name in modalities}
        return (Layout(modalities, {"mixed": latents}, sees, "mixed"),)

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Give one stream that carries everything."""
        return (Stream(name="mixed", carries=modalities),)


network = MixedLatentNetwork.make
