"""Codecs that keep in their configuration what samples of the data have in common.

They learn from samples at fixed places of the source, before there is a plan: the plan holds what
they know, so equal data gives equal bytes, wherever shards are made and whoever goes on with them.
"""

from collections.abc import Iterable, Sequence

from dsc._codecs.base import Codec, LearningCodec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.derive import ReadFirst, Samples, reader
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
        sample is looked at.
    """
    there = None if begun is None else {record.streams: record for record in begun}

    def learnt(codec: Codec, streams: Sequence[str]) -> Codec:
        if not isinstance(codec, LearningCodec):
            return codec
        if there is not None:
            earlier = there.get(tuple(streams))
            same = earlier is not None and earlier.id == codec.id
            return codec.knowing(earlier.config) if earlier is not None and same else codec
        names = [task.name for task in codec.tasks]
        samples = Samples(len(source), read or reader(source, names))
        return codec.learning(samples, len(source))

    return codec_set.changed(learnt)
