"""The datasource behind `dsc.ray_data.read_archive`: read tasks and their blocks.

The archive's records travel once, through Ray's object store, so all readers hold on to the
generation that was opened, even while the archive grows. A worker keeps codecs, indexes and the
keys of the last shards from one read task to the next, and no packs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.data.extensions import (
    ArrowPythonObjectArray,
    ArrowTensorArray,
    ArrowVariableShapedTensorArray,
)

from dsc._codecs.base import Array
from dsc._jobs.ray_data.plan import INDEX, KEY, ReadPlan
from dsc._pipeline.read.decoding import SampleDecoder, SamplePayloads
from dsc._schemas import Task, TaskKind
from dsc._storage.format.pack import Pack
from dsc._storage.read.archive import Archive
from dsc._storage.read.lanes import LanePack, lanes_among
from dsc._storage.read.pack_reader import PackId, PackReader, salvage
from dsc.errors import BitstreamError, CorruptArchiveError, CorruptPackError

BLOCK_BYTES = 32 << 20  # of a table, about
READ_BYTES = 8 << 20  # of packs that are read at once, about


class ArchiveDatasource(Datasource):  # type: ignore[misc]  # ray has no types
    """An archive, as `ray.data` reads it.

    Parameters
    ----------
    plan
        What is read.
    """

    def __init__(self, plan: ReadPlan) -> None:
        super().__init__()
        self._plan = plan
        self._shared: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shared": None}  # an object reference is good in one Ray only

    def estimate_inmemory_data_size(self) -> int:
        """Return the size of all rows in memory, in bytes; an upper bound where sizes differ."""
        return self._plan.source.samples * self._plan.row_bytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[Any]:
        """Return at most `parallelism` read tasks that together read every sample once."""
        if self._shared is None:
            self._shared = ray.put(self._plan)
        return [
            ReadTask(
                _reading(self._shared, run),
                BlockMetadata(
                    num_rows=self._plan.rows(run),
                    size_bytes=self._plan.rows(run) * self._plan.row_bytes,
                    exec_stats=None,
                    input_files=self._plan.files(run),
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for run in self._plan.runs(parallelism)
        ]

    def supports_projection_pushdown(self) -> bool:
        """Tell Ray that columns which nobody uses need not be read."""
        return True

    def get_projection_map(self) -> dict[str, str]:
        """Name the columns that are read."""
        return {name: name for name in self._plan.columns}

    def apply_projection(self, projection_map: dict[str, str] | None) -> "ArchiveDatasource":
        """Return the datasource that reads these columns only; None means all of them."""
        if projection_map is None:
            return self
        return ArchiveDatasource(self._plan.only(list(projection_map)))


def _reading(shared: Any, run: range) -> Callable[[], Iterator[Any]]:
    def read() -> Iterator[Any]:
        yield from read_run(*_opened(shared), run)

    return read


@lru_cache(maxsize=4)  # datasets that are joined take turns in a worker
def _opened(shared: Any) -> tuple[ReadPlan, PackReader, SampleDecoder]:
    """Get the plan in a worker, and what reads and decodes."""
    return open_plan(ray.get(shared))


def open_plan(plan: ReadPlan) -> tuple[ReadPlan, PackReader, SampleDecoder]:
    """Return a plan with what reads and decodes for it."""
    archive = plan.source.archive
    decoder = SampleDecoder(
        archive, plan.source.tasks, as_latents=False, native=plan.native, missing_is_error=False
    )
    return plan, PackReader(archive), decoder


def read_run(
    plan: ReadPlan, reader: PackReader, decoder: SampleDecoder, run: range
) -> Iterator[Any]:
    """Read a run of packs as Arrow tables of about `BLOCK_BYTES`.

    Raises
    ------
    CorruptArchiveError, BitstreamError
        When a sample is damaged; the message names file and key.
    """
    rows = max(BLOCK_BYTES // plan.row_bytes, 1)
    for packs in _groups(plan, run):
        first = int(plan.source.packs.first[packs.start])
        samples = _read(plan, reader, packs)
        for start in range(0, len(samples), rows):
            part = samples[start : start + rows]
            indices = range(first + start, first + start + len(part))
            yield _table(plan, decoder, indices, part)


def _groups(plan: ReadPlan, run: range) -> Iterator[range]:
    """Cut a run into packs of one shard that are read at once."""
    shard = plan.source.packs.shard
    most = max(int(READ_BYTES // max(plan.source.pack_bytes, 1)), 1)
    start = run.start
    for at in range(run.start + 1, run.stop + 1):
        if at == run.stop or shard[at] != shard[start] or at - start == most:
            yield range(start, at)
            start = at


def _read(plan: ReadPlan, reader: PackReader, packs: range) -> list[SamplePayloads]:
    """Read the bitstreams of the samples of a few packs of one shard."""
    index, streams = plan.source.packs, plan.source.streams
    shard = int(index.shard[packs.start])
    numbers = index.pack[packs.start : packs.stop].tolist()
    found = _read_packs(reader, [PackId(shard, name, n) for name in streams for n in numbers])
    samples: list[SamplePayloads] = []
    for n, count in zip(numbers, index.counts[packs.start : packs.stop].tolist(), strict=True):
        payloads = {name: found[shard, name, n].payloads for name in streams}
        own: list[SamplePayloads] = [
            {name: payloads[name][k] for name in streams} for k in range(count)
        ]
        samples += _linked(reader.archive, shard, n, payloads, own)
    return samples


def _linked(
    archive: Archive,
    shard: int,
    pack: int,
    payloads: Mapping[str, Sequence[memoryview | None]],
    samples: list[SamplePayloads],
) -> list[SamplePayloads]:
    """Put the payloads of groups together, in the samples of a pack."""
    first = pack * archive.manifest.pack_size

    def key(k: int) -> str:
        return archive.keys(shard)[first + k]

    for number, lane in enumerate(lanes_among(archive.lanes, list(payloads))):
        found = LanePack(lane, [payloads[name] for name in lane], (shard, pack, number), key)
        linked = [found.linked(k) for k in range(len(samples))]
        samples = [
            {**sample, one[0]: one[1]} if isinstance(one, tuple) else sample
            for sample, one in zip(samples, linked, strict=True)
        ]
    return samples


def _read_packs(reader: PackReader, wanted: Sequence[PackId]) -> dict[tuple[int, str, int], Pack]:
    """Read packs together; where one is damaged each by itself, to name file and key."""
    with suppress(CorruptArchiveError):
        return reader.read_many(wanted)
    found = {}
    for one in wanted:
        try:
            found.update(reader.read_many([one]))
        except CorruptArchiveError as error:
            place = one.pack * reader.archive.manifest.pack_size + _damaged_place(reader, one)
            key = reader.archive.keys(one.shard)[place]
            raise type(error)(f"{error}; it is of sample {key}") from error
    return found


def _damaged_place(reader: PackReader, one: PackId) -> int:
    """Return the place in its pack of the first damaged payload; 0 where all of it is damaged."""
    with suppress(CorruptArchiveError):
        for place, payload in enumerate(salvage(reader, *one).payloads):
            if isinstance(payload, CorruptPackError):
                return place
    return 0


def _table(
    plan: ReadPlan, decoder: SampleDecoder, indices: range, samples: Sequence[SamplePayloads]
) -> Any:
    made: dict[str, Any] = {}
    archive = plan.source.archive
    if KEY in plan.columns:
        made[KEY] = pa.array([archive.key(index) for index in indices], pa.string())
    if INDEX in plan.columns or not plan.columns:  # a table without columns has no rows
        made[INDEX] = pa.array(indices, pa.int64())
    if plan.decode == "bytes":
        made |= {name: _bytes_column(samples, name) for name in plan.source.streams}
    else:
        lacking = plan.source.lacking_tasks()
        arrays = _decode(decoder, indices, samples)
        for task in plan.source.tasks:
            column = [sample[task.name] for sample in arrays]
            if plan.is_feature(task):
                column = [one if one is None else one.astype(np.float32) for one in column]
            made[task.name] = _task_column(task, column, task.name in lacking)
    return pa.table({name: made[name] for name in plan.columns or made})


def _decode(
    decoder: SampleDecoder, indices: range, samples: Sequence[SamplePayloads]
) -> list[Mapping[str, Array | None]]:
    arrays: list[Mapping[str, Array | None]] = []
    for found in decoder.decode(indices, samples):
        if isinstance(found, BitstreamError):
            raise found
        arrays.append(found.arrays)
    return arrays


def _bytes_column(samples: Sequence[SamplePayloads], stream: str) -> Any:
    payloads = [sample[stream] for sample in samples]
    return pa.array([None if p is None else bytes(p) for p in payloads], pa.large_binary())


def _task_column(task: Task, arrays: Sequence[Array | None], may_lack: bool) -> Any:
    if task.is_blob:
        return _blob_column(task, arrays)
    if task.value_shape == () and not task.is_map:
        values = [None if array is None else array.item() for array in arrays]
        return pa.array(values, pa.from_numpy_dtype(np.dtype(task.dtype)))
    present = [array for array in arrays if array is not None]
    if may_lack or len(present) < len(arrays):
        return ArrowPythonObjectArray.from_objects(list(arrays))
    if len({array.shape for array in present}) == 1:
        return ArrowTensorArray.from_numpy(np.stack(present))
    return ArrowVariableShapedTensorArray.from_numpy(present)


def _blob_column(task: Task, values: Sequence[Any]) -> Any:
    """Return texts as strings, files and native bytes as binary, JSON as what it says."""
    if task.kind is TaskKind.TEXT and any(isinstance(value, str) for value in values):
        return pa.array(values, pa.large_string())
    if task.kind is TaskKind.JSON and not any(isinstance(v, np.ndarray) for v in values):
        return ArrowPythonObjectArray.from_objects(list(values))
    return pa.array([None if v is None else bytes(v) for v in values], pa.large_binary())
