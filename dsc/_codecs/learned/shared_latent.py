"""`shared-latent`: one stream ``shared`` and one a task, each requiring ``shared``.

The shared latent comes from the features of all tasks together. Training must drop tasks and charge
subsets, or nothing pushes what is common into it.
"""

from typing import ClassVar

from dsc._codecs.learned.conditional_codec import ConditionalCodec, default_weights

__all__ = ["SharedLatentCodec", "default_weights"]


class SharedLatentCodec(ConditionalCodec):
    """The codec; see `dsc._codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = "shared-latent"
