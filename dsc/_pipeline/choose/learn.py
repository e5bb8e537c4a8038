"""Codecs that keep in their configuration what samples of the data have in common.

They learn from samples at fixed places of the source, before there is a plan: the plan holds what
they know, so equal data gives equal bytes, wherever shards are made and whoever goes on with them.
"""

from collections.abc import Iterable, Sequence

from dsc._codecs.base import Codec, LearningCodec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.derive import LOOKED_AT, ReadFirst, Samples, reader
from dsc._schemas import CodecRecord
from dsc._sources.base import Source


def with_learnt(
    codec_set: CodecSet,
    source: Source,
    read: ReadFirst | None = None,
    begun: Iterable[CodecRecord] | None = None,
) -> CodecSet:
    """Return a set whose codecs know what samples have in common.

    Parameters
    ----------
    source
        All samples that there will be.
    read
        Reads samples of all tasks, unless there are some already.
    begun
        The codecs of an earlier call that this one goes on with: what they know is taken, and no
        sample is looked at, but for what a weights file holds, which is learnt anew.
    """
    there = None if begun is None else {record.streams: record for record in begun}

    def learnt(codec: Codec, streams: Sequence[str]) -> Codec:
        if not isinstance(codec, LearningCodec):
            return codec
        if there is not None:
            earlier = there.get(tuple(streams))
            if earlier is None or earlier.id != codec.id:
                return codec
            if earlier.weights_sha256 is None:
                return codec.knowing(earlier.config)
        names = [task.name for task in codec.tasks]
        own = reader(source, names)  # whoever takes many samples has no use for their other tasks
        many = codec.learns_from > LOOKED_AT
        samples = Samples(len(source), own if many else read or own, codec.learns_from)
        return codec.learning(samples, len(source))

    return codec_set.changed(learnt)
