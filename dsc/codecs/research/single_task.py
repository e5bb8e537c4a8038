"""One codec a modality, which knows of no other: what the multi-task kinds are measured by."""

from typing import ClassVar

from dsc.codecs.research.base import ResearchNetwork
from dsc.codecs.research.hyperprior import Layout
from dsc.schemas import Stream


class SingleTaskNetwork(ResearchNetwork):
    """See the module; `dsc.codecs.learned.network.Network` is the interface."""

    kind: ClassVar[str] = "single-task"

    @classmethod
    def layouts(cls, modalities: tuple[str, ...], latents: int) -> tuple[Layout, ...]:
        """Give a layout for each modality, with its part of the latents."""
        part = latents // len(modalities)
        return tuple(Layout((name,), {name: part}, {name: (name,)}, name) for name in modalities)

    @classmethod
    def graph(cls, modalities: tuple[str, ...]) -> tuple[Stream, ...]:
        """Give a stream for each task, its z within."""
        return tuple(Stream(name=name, carries=(name,)) for name in modalities)


network = SingleTaskNetwork.make
