"""An archive as a `ray.data` dataset: `read_archive`."""

import os
from collections.abc import Sequence
from typing import Any, get_args

from dsc._jobs.ray_data.plan import Decode, ReadPlan
from dsc._pipeline.read.selection import Selection
from dsc._stream.source import StreamSource
from dsc.errors import UsageError


def read_archive(
    url: str | os.PathLike[str],
    tasks: Sequence[str] | str | None = None,
    *,
    split: str | None = None,
    native: bool = False,
    decode: Decode = "pixels",
    parallelism: int = -1,
) -> Any:
    """Read an archive with `ray.data`.

    Parameters
    ----------
    url
        Path or URL of an archive; every machine of the cluster must see it.
    tasks
        Names or aliases, as a sequence or with commas; None for all. Only the streams that they
        require are read, and after `select_columns` only those of what was selected.
    split
        Which split; None when there is only one.
    native
        Return the integers of the source's files instead of metres and unit vectors.
    decode
        ``pixels``: arrays by task; ``features``: as these, but feature maps and embeddings come as
        float32, and tasks that are not named are all but the pictures that these were computed
        from; ``bytes``: the bitstreams, by stream.
    parallelism
        Read tasks, at most one a pack; -1 leaves their number to Ray.

    Returns
    -------
    ray.data.Dataset
        One row a sample: ``__key__``; ``__index__``, its index in the archive; then, under the
        tasks' own names, what ``dsc.open(url, tasks)[index]`` gives. Arrays (H, W), (H, W, 3) or
        (N,) are tensor columns, in NumPy batches one array, or an array of arrays where sizes
        differ; classes are integers. What a sample lacks is None: tasks that some sample of the
        archive lacks are columns of Python objects, classes and bitstreams are Arrow columns with
        nulls (of which Ray makes NaN in NumPy batches of classes).

    Raises
    ------
    UsageError
        When ray.data is not installed, or an argument cannot be honoured.
    ArchiveNotFoundError, CorruptArchiveError, UnsupportedVersionError, UnknownTaskError
        When the archive cannot be opened or lacks a task.

    Notes
    -----
    Running the dataset raises CorruptArchiveError or BitstreamError where a sample is damaged;
    they name file and key. With ``DataContext.max_errored_blocks`` Ray goes on without what the
    damaged read task had not yet given; a parallelism of at least the number of packs makes that
    one pack.
    """
    if decode not in get_args(Decode):
        raise UsageError(f"decode={decode!r}: one of {', '.join(get_args(Decode))}")
    if decode == "bytes" and native:
        raise UsageError("native=True goes with decode='pixels' or 'features', not 'bytes'")
    if parallelism != -1 and parallelism < 1:
        raise UsageError(f"parallelism={parallelism}: at least 1, or -1 to leave it to Ray")
    try:
        import ray.data

        from dsc._jobs.ray_data.datasource import ArchiveDatasource
    except ImportError as error:
        raise UsageError(f"reading with ray.data: {error}; pip install 'dsc[ray-data]'") from None
    source = StreamSource.open(
        os.fspath(url), tasks, Selection.of(split), as_features=decode == "features"
    )
    plan = ReadPlan.of(source, native, decode)
    blocks = None if parallelism == -1 else parallelism
    return ray.data.read_datasource(ArchiveDatasource(plan), override_num_blocks=blocks)
