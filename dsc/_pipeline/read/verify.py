"""Deep verification: decodes every task of every sample and lists what does not decode.

Checksums tell whether bytes are those that were written; this tells whether this machine, with this
dsc, gets arrays out of them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from dsc._codecs.base import check_array
from dsc._codecs.derived.rules import rule_class
from dsc._codecs.registry import check_there, codec_class
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Task, carrying_streams
from dsc._schemas.sample import Sample
from dsc._storage.format.names import MANIFEST
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import Problem
from dsc.errors import ArchiveNotFoundError, DscError, without_advice

BATCH = 8
DecodeProgress = Callable[[int, int], None]


def verify_deep(url: str, *, progress: DecodeProgress | None = None) -> list[Problem]:
    """Decode everything.

    Parameters
    ----------
    url
        Path or URL of an archive.
    progress
        Called with (samples decoded, samples in all).

    Returns
    -------
    list of Problem
        One for each task of a sample that cannot be decoded, or whose array is not what the task
        says; the path is that of the stream's file.

    Raises
    ------
    ArchiveNotFoundError
        When there is no archive at all.
    UnknownCodecError
        When a codec or rule of the archive is not there: nothing then says whether its streams are
        whole.
    MissingPackageError
        Likewise, when it is a network and torch is not installed.
    """
    try:
        archive = Archive.open(url)
    except ArchiveNotFoundError:
        raise
    except DscError as error:
        return [Problem(MANIFEST, without_advice(error))]
    for record in archive.manifest.codecs:
        check_there(record.id, f"{url} needs")
        codec_class(record.id)  # what it needs and is not installed is no damage
        if isinstance(record.config.get("rule"), str):
            rule_class(record.config["rule"])  # of another package, likewise
    together = Dataset(archive, native=True)
    alone = {task.name: Dataset(archive, [task.name], native=True) for task in together.tasks}
    problems: dict[Problem, None] = {}
    for start in range(0, len(archive), BATCH):
        indices = range(start, min(start + BATCH, len(archive)))
        if _any_problem(archive, together, indices):
            found = (_problem(archive, alone[name], i) for i in indices for name in alone)
            problems.update(dict.fromkeys(problem for problem in found if problem is not None))
        if progress is not None:
            progress(indices.stop, len(archive))
    return list(problems)


def _any_problem(archive: Archive, dataset: Dataset, indices: Sequence[int]) -> bool:
    """Tell, by one batched decode, whether something in a batch needs a closer look."""
    try:
        samples, payloads = dataset.batch(indices), dataset.payloads(indices)
        return any(map(partial(_fault, archive, dataset), samples, payloads))
    except Exception:
        return True


def _problem(archive: Archive, dataset: Dataset, index: int) -> Problem | None:
    """Decode one task of one sample, and say what is wrong with it."""
    try:
        detail = _fault(archive, dataset, dataset[index], dataset.payloads([index])[0])
    except DscError as error:
        detail = without_advice(error)
    except Exception as error:  # whatever a codec's library raises: the others must be looked at
        detail = f"{type(error).__name__}: {error}"
    if detail is None:
        return None
    task = dataset.tasks[0]
    shard = archive.shards[archive.locate(index)[0]]
    carrier = carrying_streams(archive.manifest.streams, task.name)[0]
    text = detail if "sample" in detail else f"sample {index}, task {task.name}: {detail}"
    return Problem(shard.streams[carrier].path, text)


def _fault(
    archive: Archive,
    dataset: Dataset,
    sample: Sample,
    payloads: Mapping[str, memoryview | bytes | None],
) -> str | None:
    """Say what is wrong with a decoded sample; None when nothing is."""
    for task in dataset.tasks:
        array = sample[task.name]
        carriers = archive.carriers(task.name)
        present = [name for name in carriers if payloads[name] is not None]
        if array is None and present:
            return f"task {task.name}: stream {present[0]} is there but gives no array"
        if array is not None:
            fault = _misfit(dataset, task, array)
            if fault is not None:
                return fault
    sizes = {
        array.shape[:2]
        for task in dataset.tasks
        if task.is_map and (array := sample[task.name]) is not None
    }
    return f"tasks differ in size: {sorted(sizes)}" if len(sizes) > 1 else None


def _misfit(dataset: Dataset, task: Task, array: NDArray[Any]) -> str | None:
    try:
        check_array(task, array)
        task.to_physical(array)  # text may be no text
    except (DscError, ValueError) as error:
        return str(error)
    pixels = task.pixels(array.shape)
    most = dataset.manifest.max_pixels
    return f"task {task.name}: {pixels} pixels, the manifest says {most}" if pixels > most else None
