"""One codec a modality, which knows of no other: what the multi-task kinds are measured by."""

from typing import ClassVar

from dsc._schemas import Stream
from dsc._training.research.base import ResearchNetwork
from dsc._training.research.hyperprior import HyperpriorLayout


class SingleTaskNetwork(ResearchNetwork):
    """A codec a modality, each with a latent of its own."""

    kind: ClassVar[str] = "single-task"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[HyperpriorLayout, ...]:
        """Return a layout for each modality, with its part of the latents."""
        part = latents // len(modalities)
        return tuple(
            HyperpriorLayout((name,), {name: part}, {name: (name,)}, name) for name in modalities
        )

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Return a stream for each task, its z within."""
        return tuple(Stream(name=name, carries=(name,)) for name in modalities)


network = SingleTaskNetwork.make
