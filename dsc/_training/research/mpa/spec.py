"""How large a codec is."""

from dataclasses import dataclass

from dsc.errors import UsageError


@dataclass(frozen=True)
class CodecSpec:
    """Sizes of a codec.

    Attributes
    ----------
    widths, blocks
        Channels, and number of blocks, at 1/4, 1/8 and 1/16 of the picture's sides.
    latents
        Channels of the latent, at most those at 1/16.
    hyper_width, hyper_latents
        Channels inside the hyperprior, and of its latent.

    Raises
    ------
    UsageError
        When there are more latents than the deepest stage has channels.
    """

    widths: tuple[int, int, int] = (48, 64, 192)
    blocks: tuple[int, int, int] = (1, 2, 2)
    latents: int = 160
    hyper_width: int = 64
    hyper_latents: int = 32

    def __post_init__(self) -> None:
        if self.latents > self.widths[-1]:
            raise UsageError(
                f"{self.latents} latents: at most {self.widths[-1]}, the width of the deepest stage"
            )
