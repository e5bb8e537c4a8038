"""The carriers that are compared: what each codec that was asked for stores of a picture."""

from collections.abc import Callable, Iterator, Sequence

from dsc._bench.machine.carriers import Carrier, Pixels, Uncompressed
from dsc._bench.machine.extracted import Extracted, embedding_task, feature_task
from dsc._bench.machine.network import Network
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._codecs.registry import OF_GROUPS
from dsc.errors import CodecError, UsageError


def carriers_of(codecs: Sequence[ComparedCodec], network: Network) -> list[Carrier]:
    """Make the carriers that are compared, the uncompressed pictures first.

    A codec stores pictures where it can, else feature maps, else embeddings.

    Raises
    ------
    UsageError
        When a codec codes none of them, or its codec file is for another layer.
    """
    return [Uncompressed(), *(_carrier(codec, network) for codec in codecs)]


def _carrier(codec: ComparedCodec, network: Network) -> Carrier:
    if codec.codec in OF_GROUPS:
        raise UsageError(f"--codecs {codec.name}: codes groups of frames, no single pictures")
    refusals = []
    for make in _makers(codec, network):
        try:
            return make()
        except CodecError as error:
            refusals.append(str(error))
    raise UsageError(
        f"--codecs {codec.name}: codes neither pictures nor what {network.backbone.name} makes of "
        f"them: {'; '.join(refusals)}"
    )


def _makers(codec: ComparedCodec, network: Network) -> Iterator[Callable[[], Carrier]]:
    yield lambda: Pixels(codec)
    yield lambda: Extracted(codec, network, feature_task(network))
    yield lambda: Extracted(codec, network, embedding_task(network))
