"""`chained`: depth first; normals see it in analysis, entropy model and synthesis.

Depth alone costs what its own codec would. It tells how surfaces are tilted and where their edges
are: its decoded planes and their gradients guide the transforms of normals, which are predicted
from them; the difference is coded. Rgb requires nothing: whoever wants it alone would pay more for
depth than that saves. Codec files of the first version have another graph, which they say.
"""

from typing import ClassVar

from dsc._codecs.learned.conditional_codec import ConditionalCodec


class ChainedCodec(ConditionalCodec):
    """The codec; see `dsc._codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = "chained"
