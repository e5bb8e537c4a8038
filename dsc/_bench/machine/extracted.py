"""What a network made of pictures, stored in their place: feature maps, or embeddings.

A codec that learns from samples learns from the pictures that train, never from those measured, as
for a data set of `LEARNT_FOR` pictures: what it learnt is shared by all, and counted apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dsc._backbones.extract import make_extractor
from dsc._bench.machine.carriers import RGB, Carried, coded_by
from dsc._bench.machine.network import Network
from dsc._bench.machine.operations import mmac_of
from dsc._bench.machine.pictures import Array, PictureSet
from dsc._bench.rate_distortion.candidates import Coder, ComparedCodec
from dsc._codecs.base import LearningCodec
from dsc._schemas import Task, TaskKind
from dsc._schemas.extractor import EMBEDDING
from dsc._schemas.quality import DEFAULT_QUALITY

LEARNT_FOR = 10_000
MOST_LEARNT_FROM = 1024
QUALITIES = (1, 15, 30, 45, 60, 80, 100)


def feature_task(network: Network) -> Task:
    """Return the task of feature maps of a network's layer, of any size."""
    channels = network.layer.channels
    extractor = make_extractor(network.backbone.name, RGB.name, network.layer.name)
    return Task(
        name="feature", kind=TaskKind.FEATURE, dtype="float32", channels=channels,
        shape=(channels, -1, -1), extractor=extractor,
    )  # fmt: skip


def embedding_task(network: Network) -> Task:
    """Return the task of a network's embeddings."""
    backbone = network.backbone
    extractor = make_extractor(backbone.name, RGB.name)
    return Task(
        name=EMBEDDING, kind=TaskKind.EMBEDDING, dtype="float32",
        channels=backbone.embedding_size, extractor=extractor,
    )  # fmt: skip


class Extracted:
    """Feature maps or embeddings, coded by a codec of theirs; see `carriers.Carrier`.

    Parameters
    ----------
    codec
        The codec.
    network
        What extracts.
    task
        `feature_task` or `embedding_task`.

    Raises
    ------
    CodecError
        When the codec does not code the task.
    """

    def __init__(self, codec: ComparedCodec, network: Network, task: Task) -> None:
        self.name = codec.name
        self.enters = EMBEDDING if task.kind is TaskKind.EMBEDDING else network.layer.name
        self._codec, self._network, self._task = codec, network, task
        self._coder = codec.make([task])
        self.learns = isinstance(self._coder, LearningCodec)
        self._ready: tuple[str, list[Array], Coder] | None = None

    def qualities(self, asked: Sequence[int] | None) -> tuple[int, ...]:
        """Return the qualities that are measured."""
        return tuple(sorted(set(asked))) if asked else QUALITIES

    def identity(self) -> Mapping[str, Any]:
        """Say in JSON what decides its bytes, beside the pictures that train."""
        return self._codec.identity([self._task])

    def code(self, data: PictureSet, quality: int) -> Carried:
        """Extract, learn from what trains, encode and decode."""
        values, coder = self._prepared(data)
        return coded_by(coder, self._task.name, values, quality)

    def shared_bytes(self, data: PictureSet) -> int:
        """Return the size of what all pictures share: weights, and what was learnt."""
        return len(self._prepared(data)[1].weights() or b"")

    def codec_mmac(self, data: PictureSet) -> float:
        """Count the operations of the codec's own networks to encode and decode a picture."""
        values, coder = self._prepared(data)
        return mmac_of(lambda: coded_by(coder, self._task.name, values[-1:], DEFAULT_QUALITY))

    def _prepared(self, data: PictureSet) -> tuple[list[Array], Coder]:
        """Return what is stored of every picture, and what stores it; the last set's are kept."""
        if self._ready is None or self._ready[0] != data.digest:
            values = self._extracted(data)
            self._ready = (data.digest, values, self._learnt(values[: data.train]))
        return self._ready[1], self._ready[2]

    def _extracted(self, data: PictureSet) -> list[Array]:
        whole = self._network.maps(data.pictures, data.side).astype("float32")
        return list(self._network.embeddings(whole) if self.enters == EMBEDDING else whole)

    def _learnt(self, values: Sequence[Array]) -> Coder:
        if not isinstance(self._coder, LearningCodec):
            return self._coder
        step = -(-len(values) // MOST_LEARNT_FROM)
        samples = [{self._task.name: value} for value in values[::step]]
        learnt: Coder = self._coder.learning(samples, LEARNT_FOR)
        return learnt
