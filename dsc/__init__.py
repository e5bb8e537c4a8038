"""Multi-modal vision datasets as sharded archives whose tasks are fetched and decoded apart.

The names below are loaded when they are first used, so that ``import dsc`` stays light.

compress
    Turn a dataset into an archive.
append
    Add new samples, or a new task, to an archive.
open
    Read an archive: by index, by key, in batches.
stream
    Stream some tasks into a training loop: shuffled, resumable, decoded.
ReplayBuffer
    Compressed exemplars of old classes under a budget in bytes.
fetch
    Copy only some tasks' bitstreams of an archive, local or remote.
unpack
    The stage that lets stock webdataset read an archive.
LatentEmbedding
    A layer from a learned codec's latents to features, to train without synthesis.
load_codec
    The codec of an archive, or one by name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsc.errors import DscError

if TYPE_CHECKING:
    from dsc.codecs.learned.latent_embedding import LatentEmbedding
    from dsc.jobs.append import append
    from dsc.jobs.driver import compress
    from dsc.pipeline.fetch import fetch
    from dsc.pipeline.load_codec import load_codec
    from dsc.pipeline.reader import Dataset
    from dsc.pipeline.streaming.open_stream import stream
    from dsc.replay.buffer import ReplayBuffer
    from dsc.storage.pack import unpack

    open = Dataset.open  # noqa: A001 - `dsc.open` is the name that users expect

__version__ = "0.1.0"

__all__ = [
    "DscError",
    "LatentEmbedding",
    "ReplayBuffer",
    "__version__",
    "append",
    "compress",
    "fetch",
    "load_codec",
    "open",
    "stream",
    "unpack",
]

_PUBLIC = {
    "LatentEmbedding": "dsc.codecs.learned.latent_embedding:LatentEmbedding",
    "ReplayBuffer": "dsc.replay.buffer:ReplayBuffer",
    "append": "dsc.jobs.append:append",
    "compress": "dsc.jobs.driver:compress",
    "fetch": "dsc.pipeline.fetch:fetch",
    "load_codec": "dsc.pipeline.load_codec:load_codec",
    "open": "dsc.pipeline.reader:Dataset.open",
    "stream": "dsc.pipeline.streaming.open_stream:stream",
    "unpack": "dsc.storage.pack:unpack",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dsc' has no attribute {name!r}")
    module, _, path = _PUBLIC[name].partition(":")
    value: Any = import_module(module)
    for attribute in path.split("."):
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
