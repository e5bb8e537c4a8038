"""Opens each library's reader as its users do, and gives batches of the same samples.

A batch is a dict of uint8 images (B, 3, H, W) and float32 depth (B, H, W) in metres with NaN, or
lists of bytes. With workers, all go through torch's DataLoader; without, through none where the
library needs none. What rivals do not decode themselves is decoded by `decode_field`, with PIL or
imagecodecs.
"""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dsc.errors import UsageError

DEPTH_UNIT_M = 1 / 512  # of Taskonomy's files, which the rendered views follow
DEPTH_INVALID = 65535
RAW, PIL = "bytes", "pil"


@dataclass(frozen=True)
class Read:
    """How a data set is read.

    Attributes
    ----------
    library
        ``dsc``, ``webdataset``, ``mosaicml`` or ``litdata``.
    where
        Local directory or URL.
    fields
        Fields of a rival's samples; tasks of dsc's.
    decode
        For dsc as in `dsc.stream`; for the others ``bytes``, ``pil`` or ``imagecodecs``.
    workers
        Processes of the data loader; 0 reads in this one.
    batch_size
        Samples a batch.
    shuffle
        Whether an epoch is shuffled.
    device, memory, cache_decoded
        For dsc: where pixels are made; bytes of packs that a process keeps, and of decoded samples.
    scratch
        Directory for copies of remote files.
    unit_m, invalid
        Of a rival's depth files: metres a count, and the values that mean that nothing was
        measured.
    """

    library: str
    where: str
    fields: tuple[str, ...]
    decode: str = RAW
    workers: int = 0
    batch_size: int = 64
    shuffle: bool = False
    device: str | None = None
    memory: int = 256 << 20
    cache_decoded: int = 0
    scratch: str = ""
    unit_m: float = DEPTH_UNIT_M
    invalid: Sequence[int] = (DEPTH_INVALID,)


def open_reader(read: Read) -> Iterable[Any]:
    """Return an iterable of batches: one epoch each time it is iterated.

    Raises
    ------
    UsageError
        When the library is not known.
    """
    openers: dict[str, Callable[[Read], Iterable[Any]]] = {
        "dsc": _open_dsc,
        "webdataset": _open_webdataset,
        "mosaicml": _open_mosaicml,
        "litdata": _open_litdata,
    }
    if read.library not in openers:
        raise UsageError(f"library {read.library!r}; known: {', '.join(openers)}")
    return openers[read.library](read)


def batch_length(batch: Any) -> int:
    """Count the samples of a batch, and touch every field of it."""
    index = batch.get("__index__") if hasattr(batch, "get") else None
    if index is not None:
        return len(index)
    return min(len(value) for value in batch.values())


def decode_field(name: str, data: bytes, read: Read) -> Any:
    """Decode an image file to a uint8 array (H, W, 3), or to depth in metres (H, W)."""
    if read.decode == PIL:
        from PIL import Image

        image = Image.open(io.BytesIO(data))
        array = np.asarray(image if name == "depth.png" else image.convert("RGB"))
    else:
        import imagecodecs

        decode = imagecodecs.jpeg_decode if name.endswith(".jpg") else imagecodecs.png_decode
        array = decode(data)
    return _metres(array, read) if name == "depth.png" else array


def _metres(depth: Any, read: Read) -> Any:
    metres = depth.astype(np.float32) * np.float32(read.unit_m)
    for value in read.invalid:
        metres[depth == value] = np.nan
    return metres


def _open_dsc(read: Read) -> Iterable[Any]:
    import dsc

    stream: Iterable[Any] = dsc.stream(
        read.where,
        list(read.fields),
        batch_size=read.batch_size,
        shuffle=read.shuffle,
        decode=read.decode,
        device=read.device,
        workers=read.workers,
        memory=read.memory,
        cache_decoded=read.cache_decoded,
    )
    return stream


def _open_webdataset(read: Read) -> Iterable[Any]:
    wds = import_module("webdataset")
    tars = sorted(Path(read.where).glob("*.tar")) if "://" not in read.where else []
    urls = [str(path) for path in tars] or read.where
    data = wds.WebDataset(urls, shardshuffle=False, empty_check=False)
    data = data.map(partial(_pick, read))
    data = data.batched(read.batch_size, collation_fn=_collate, partial=True)
    return _loader(data, read, batch_size=None)


def _open_mosaicml(read: Read) -> Iterable[Any]:
    streaming = import_module("streaming")
    streaming.base.util.clean_stale_shared_memory()
    remote = read.where if "://" in read.where else None
    data = streaming.StreamingDataset(
        remote=remote,
        local=read.scratch if remote else read.where,
        batch_size=read.batch_size,
        shuffle=read.shuffle,
    )
    collate = partial(_pick_all, read)
    return _loader(data, read, batch_size=read.batch_size, collate_fn=collate)


def _open_litdata(read: Read) -> Iterable[Any]:
    litdata = import_module("litdata")
    options: dict[str, Any] = {}
    if "://" in read.where:
        # its S3 client refuses plain HTTP, which is all that loopback needs
        client = import_module("litdata.streaming.downloader")._OBSTORE_CLIENT_OPTIONS
        client["allow_http"] = True
        options["storage_options"] = {"endpoint_url": os.environ["S3_ENDPOINT_URL"]}
        options["cache_dir"] = read.scratch
    data = litdata.StreamingDataset(read.where, shuffle=read.shuffle, drop_last=False, **options)
    collate = partial(_pick_all, read)
    return litdata.StreamingDataLoader(  # type: ignore[no-any-return]
        data,
        batch_size=read.batch_size,
        num_workers=read.workers,
        collate_fn=collate,
        persistent_workers=read.workers > 0,
    )


def _loader(data: Any, read: Read, **options: Any) -> Iterable[Any]:
    if not read.workers and options.get("batch_size") is None:
        return data  # type: ignore[no-any-return]
    from torch.utils.data import DataLoader

    return DataLoader(
        data, num_workers=read.workers, persistent_workers=read.workers > 0, **options
    )


def _pick_all(read: Read, samples: Sequence[Any]) -> dict[str, Any]:
    return _collate([_pick(read, sample) for sample in samples])


def _pick(read: Read, sample: Any) -> dict[str, Any]:
    # webdataset's tars hold bitstreams as `<stream>.bin`
    values = {name: sample[name if name in sample else f"{name}.bin"] for name in read.fields}
    values = {  # litdata gives views of its chunk, which no process can hand on
        name: bytes(value) if isinstance(value, memoryview) else value
        for name, value in values.items()
    }
    if read.decode == RAW:
        return values
    return {name: _decoded(name, value, read) for name, value in values.items()}


def _decoded(name: str, value: Any, read: Read) -> Any:
    if isinstance(value, bytes):
        return decode_field(name, value, read)
    if hasattr(value, "convert"):  # an image of PIL's, opened but not decoded
        return np.asarray(value.convert("RGB"))
    return value  # litdata's own decoder: a tensor (3, H, W)


def _collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import torch

    batch: dict[str, Any] = {}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        if isinstance(values[0], np.ndarray):
            stacked = torch.from_numpy(np.stack(values))
            batch[name] = stacked.permute(0, 3, 1, 2) if stacked.ndim == 4 else stacked
        else:
            batch[name] = torch.stack(values) if torch.is_tensor(values[0]) else values
    return batch
