"""One latent that every task's decoder sees whole: the bound, as no task can be had alone."""

from typing import ClassVar

from dsc._schemas import Stream
from dsc._training.research.base import ResearchNetwork
from dsc._training.research.hyperprior import HyperpriorLayout


class MixedLatentNetwork(ResearchNetwork):
    """One latent, which all tasks are decoded from."""

    kind: ClassVar[str] = "mixed-latent"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[HyperpriorLayout, ...]:
        """Return one layout without groups."""
        sees = {name: ("mixed",) for name in modalities}
        return (HyperpriorLayout(modalities, {"mixed": latents}, sees, "mixed"),)

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Return one stream that carries everything."""
        return (Stream(name="mixed", carries=modalities),)


network = MixedLatentNetwork.make
