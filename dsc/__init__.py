"""Multi-modal vision datasets as sharded archives whose tasks are fetched and decoded apart.

The names below are loaded when they are first used, so that ``import dsc`` stays light.

- `compress`: turn a dataset into an archive.
- `append`: add new samples, or a new task, to an archive.
- `open`: read an archive, by index, by key, in batches; the result is a `Dataset`.
- `stream`: stream some tasks into a training loop, shuffled, resumable, decoded; the result is a
  `SampleStream`.
- `ReplayBuffer`: compressed exemplars of old classes under a budget in bytes.
- `export`: decode an archive into files: as its source had them, for webdataset, COCO.
- `fetch`: copy only some tasks' bitstreams of an archive, local or remote.
- `push`, `pull`: carry an archive to a store or the Hugging Face Hub, and back.
- `unpack`, `decode`: the stages that let stock webdataset, and Hugging Face datasets, read an
  archive: its bitstreams, or samples.
- `load_codec`: the codec of an archive, or one by name.
- `LatentEmbedding`: a layer from a learned codec's latents, which come as a `LatentBatch`, to
  features, to train without synthesis.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsc.errors import DscError
from dsc.version import __version__

if TYPE_CHECKING:
    from dsc._codecs.latents import LatentBatch
    from dsc._codecs.learned.embedding import LatentEmbedding
    from dsc._copies.export.run import export
    from dsc._copies.fetch import fetch
    from dsc._copies.pull import pull
    from dsc._copies.push import push
    from dsc._jobs.archive.append import append
    from dsc._jobs.archive.compress import compress
    from dsc._pipeline.read.dataset import Dataset
    from dsc._pipeline.read.load_codec import load_codec
    from dsc._pipeline.read.stock import decode
    from dsc._replay.buffer.buffer import ReplayBuffer
    from dsc._storage.read.unpack import unpack
    from dsc._stream.open import stream
    from dsc._stream.sample_stream import SampleStream

    open = Dataset.open  # noqa: A001 - `dsc.open` is the name that users expect
    """Open an archive by path or URL; see `Dataset.open`."""

__all__ = [
    "Dataset",
    "DscError",
    "LatentBatch",
    "LatentEmbedding",
    "ReplayBuffer",
    "SampleStream",
    "__version__",
    "append",
    "compress",
    "decode",
    "export",
    "fetch",
    "load_codec",
    "open",
    "pull",
    "push",
    "stream",
    "unpack",
]

_PUBLIC = {
    "Dataset": "dsc._pipeline.read.dataset:Dataset",
    "LatentBatch": "dsc._codecs.latents:LatentBatch",
    "LatentEmbedding": "dsc._codecs.learned.embedding:LatentEmbedding",
    "ReplayBuffer": "dsc._replay.buffer.buffer:ReplayBuffer",
    "SampleStream": "dsc._stream.sample_stream:SampleStream",
    "append": "dsc._jobs.archive.append:append",
    "compress": "dsc._jobs.archive.compress:compress",
    "decode": "dsc._pipeline.read.stock:decode",
    "export": "dsc._copies.export.run:export",
    "fetch": "dsc._copies.fetch:fetch",
    "load_codec": "dsc._pipeline.read.load_codec:load_codec",
    "open": "dsc._pipeline.read.dataset:Dataset.open",
    "pull": "dsc._copies.pull:pull",
    "push": "dsc._copies.push:push",
    "stream": "dsc._stream.open:stream",
    "unpack": "dsc._storage.read.unpack:unpack",
}


_MODULES = (
    "backbones",
    "codecs",
    "metrics",
    "ray_data",
    "replay",
    "schemas",
    "sources",
    "training",
    "transforms",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:  # so that `dsc.transforms.RandomCrop` needs no import of its own
        return import_module(f"dsc.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dsc' has no attribute {name!r}")
    module, _, path = _PUBLIC[name].partition(":")
    from dsc._extras import needing

    with needing("torch", f"dsc.{name}"):
        value: Any = import_module(module)
    for attribute in path.split("."):
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
