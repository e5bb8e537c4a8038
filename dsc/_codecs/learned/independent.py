"""`independent`: one stream a task, none requires another: what each task costs by itself."""

from typing import ClassVar

from dsc._codecs.learned.conditional_codec import ConditionalCodec


class IndependentCodec(ConditionalCodec):
    """The codec; see `dsc._codecs.learned.conditional_codec` for its bitstreams."""

    id: ClassVar[str] = "independent"
