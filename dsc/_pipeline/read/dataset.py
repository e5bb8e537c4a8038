"""Random access to an archive's samples: by index, key, slice or batch, decoded.

Only the streams that the chosen tasks require are read, side by side over a network. The packs that
were used last are kept, so reading in order costs one read a pack; one sample of a remote archive
takes at most two requests a stream once the index of its shard is known. A dataset can be pickled,
forked and shared by threads. Of a selection its samples count from 0, in the order asked for.
"""

import copy
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, overload

import numpy as np

from dsc._codecs.base import Array
from dsc._columns.column import Ints
from dsc._columns.where import Predicate
from dsc._pipeline.read.ahead import DecodedAhead
from dsc._pipeline.read.at_rate import AtRate, streams_read
from dsc._pipeline.read.decoded_cache import DecodedCache
from dsc._pipeline.read.decoding import Decoded, SampleDecoder
from dsc._pipeline.read.duplicates import Duplicates, find_duplicates, threshold
from dsc._pipeline.read.epoch import SharedEpoch
from dsc._pipeline.read.on_damage import COARSER, NEAREST, check_on_damage, check_stands_in
from dsc._pipeline.read.paths import find_tasks
from dsc._pipeline.read.search import Neighbours, Query, find_nearest, query_vectors
from dsc._pipeline.read.selection import Selection, Subset, all_of, choose, nothing_chosen
from dsc._pipeline.read.sequences import Recording, recordings
from dsc._pipeline.read.vectors import Vectors, find_vectors, read_units
from dsc._pipeline.read.window import WindowOption, Windows, WindowSpec, no_window_complete
from dsc._pipeline.read.windowed import FrameReader
from dsc._schemas import (
    Manifest,
    Origin,
    SequencePlace,
    Task,
)
from dsc._schemas.group import Linked
from dsc._schemas.levels import Levels, finer_levels
from dsc._schemas.rate import Rate
from dsc._schemas.sample import NO_WINDOWS, Sample
from dsc._schemas.size import parse_bytes
from dsc._storage.cache.pack_cache import PackCache
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.samples import DENSE, Payloads, SamplePlace, SampleReader
from dsc._transforms.randomness import drawing, generator
from dsc.errors import (
    BitstreamError,
    CorruptArchiveError,
    UnknownSampleError,
    UsageError,
)

INDEX, KEY = "__index__", "__key__"


class Dataset:
    """The samples of an archive, or some of them: a map-style dataset as torch's loaders take it.

    Parameters
    ----------
    archive
        The archive.
    tasks
        Names or aliases of the tasks to read, in order (a list, or text with commas), machine
        paths (``rgb:cls``) among them; None for all.
    native
        Return the integers of the source's files instead of metres and unit vectors.
    cache
        Where packs of a remote archive are kept, if anywhere.
    decoded_bytes
        The most that decoded arrays may take that are kept in this process.
    rate
        The part of the frames of recordings that is read; of other frames nothing is.
    levels
        How many of a task's levels are read, coarse first, where its codec has any: ``"rgb=1"``, or
        ``1`` for the coarsest of every task that has some; None for all.
    on_damage
        Whether damage is an error (``fail``), the ``nearest`` frame stands for a damaged one, or a
        ``coarser`` level for what is damaged of a finer one.

    Raises
    ------
    UnknownTaskError
        When the archive lacks a task; the message lists those it has.
    """

    def __init__(
        self,
        archive: Archive,
        tasks: Sequence[str] | str | None = None,
        native: bool = False,
        cache: PackCache | None = None,
        decoded_bytes: int = 0,
        rate: Rate = 1,
        on_damage: str = "fail",
        levels: Levels | None = None,
    ) -> None:
        archive, names = find_tasks(archive, tasks)
        self.streams: tuple[str, ...] = ()
        self._at_rate: AtRate | None = None
        if names:
            archive, self.streams, self._at_rate = streams_read(archive, names, rate, levels)
        found = {task.name: task for task in archive.manifest.tasks}
        self.native, self._on_damage = native, check_on_damage(on_damage)
        self.tasks: tuple[Task, ...] = tuple(found[name] for name in names)
        check_stands_in(archive, self.tasks, on_damage)
        self._by_name = {task.name: task for task in self.tasks}
        self._archive, self._cache = archive, cache
        self._decoded_bytes = decoded_bytes
        self._chosen: Ints | None = None  # indices in the archive; None for all, in order
        self._rises = True  # whether they come in the archive's order
        self._transform: Callable[..., Any] | None = None
        self._seed, self._with_keys = 0, False
        self._epoch: SharedEpoch | None = None
        self._windows: Windows | None = None
        self._begin()

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        tasks: Sequence[str] | str | None = None,
        native: bool = False,
        cache: str | os.PathLike[str] | None = None,
        cache_limit: int | str = "10GB",
        cache_decoded: int | str = 0,
        *,
        rate: Rate = 1,
        levels: Levels | None = None,
        on_damage: str = "fail",
        split: str | Sequence[str] | None = None,
        where: str | Predicate | None = None,
        keys: Iterable[str] | str | None = None,
        indices: Iterable[int] | None = None,
        subset: Subset | None = None,
        limit: int | None = None,
        transform: Callable[..., Any] | None = None,
        seed: int = 0,
        with_keys: bool = False,
        window: WindowOption | None = None,
        window_edges: str = "clamp",
    ) -> Self:
        """Open an archive by path or URL.

        Parameters
        ----------
        url
            A path, ``http(s)://`` or any other fsspec URL.
        tasks
            Names or aliases of the tasks to read, in order (a list, or text with commas); None for
            all. ``rgb:cls`` is the picture as networks that classify see it best, under the name
            ``rgb_cls``, and ``rgb:seg`` as those do that segment; ``rgb:cls:0.5`` makes half of
            the correction. See docs/machine_paths.md.
        native
            Return the integers of the source's files instead of metres and unit vectors.
        cache
            Directory in which packs of a remote archive are kept; None keeps none.
        cache_limit
            The most that the directory may hold: bytes, or text such as ``"10GB"``.
        cache_decoded
            Bytes of memory, or text such as ``"20GB"``, in which decoded arrays are kept, in the
            source's integers: as many samples as fit, none of which leaves again. Threads share it;
            each process that the dataset is handed to has one of its own.
        rate
            The part of the frames of recordings that is read, as ``"1/16"`` or ``"1/4"``: the
            samples of these frames are here, and no byte of another is read. Of tasks that are not
            coded in layers, those of these samples.
        levels
            How many of a task's levels are read, coarse first: ``"rgb=1"`` or ``{"rgb": 1}``, or
            ``1`` for the coarsest of every task that has some; no byte of finer ones is read. None
            for all. See docs/coarse_first.md.
        on_damage
            What to do where a frame of a recording is damaged, or one that it is predicted from:
            ``fail``, or give the ``nearest``, the intact frame of the same group that stands
            closest. Each sample then has ``__nearest__``, a dict: of each such task how many
            frames away that is. ``coarser``: of a task with levels of which finer ones are damaged
            the others are decoded, and each sample has ``__coarser__``, a dict: of each such task
            how many levels that were. What neither helps fails as ever.
        split
            Only samples of this split, or of several (in a list, or text with commas).
        where
            Only samples for which a condition holds: an expression over columns, as
            ``"scene == 'kitchen' and score > 0.5"``, or a function of one row; see `dsc.stream`.
        keys
            Only the samples of these keys, in this order.
        indices
            Only the samples of these indices in the archive, in this order.
        subset
            Only this fraction of the samples, or ``(fraction, seed)``, by a hash of each key.
        limit
            Only the first so many of what all the others leave.
        transform
            Applied to each sample, a dict of arrays with ``__index__``, its index in the archive;
            what it returns is the item, whatever it is. One that takes ``(sample, rng)`` is given a
            NumPy generator that depends on `seed`, the epoch (`set_epoch`) and the sample only.
        seed
            Of that generator.
        with_keys
            Whether each sample has its key, a str, as ``__key__``.
        window
            Of archives with recordings: with each sample the frames around it, as offsets in
            frames, ``(-8, 0, 8)``, or in time, ``("-0.25s", 0, "0.25s")``. Every task then has n
            values, (n, ...) in this order; ``{"rgb": (-1, 0), "action": (0, 1, 2)}`` gives the
            tasks that it names windows of their own and the others none. Frames are counted by
            their numbers in the recording; a time is the nearest frame's, within half the
            recording's median step. See `batch` for what a sample has beside.
        window_edges
            What stands for frames before the first and after the last one of a recording:
            ``clamp``, the first or last one; ``missing``, nothing; ``skip``: samples of which any
            frame is not there are left out. Frames that the recording lost are missing.

        Raises
        ------
        UsageError
            When the directory cannot be a cache: it is none, or lies in an archive. When a
            selection cannot be made, or leaves nothing; the message lists what there is. When a
            window is none, or the archive knows no recordings.
        ArchiveNotFoundError
            When there is no archive.
        UnsupportedVersionError, CorruptArchiveError
            When its manifest cannot be read.
        """
        kept = cache and PackCache(cache, parse_bytes(cache_limit, "cache_limit"))
        decoded = parse_bytes(cache_decoded, "cache_decoded")
        archive = Archive.open(os.fspath(url))
        made = cls(archive, tasks, native, kept or None, decoded, rate, on_damage, levels)
        made._seed, made._with_keys = seed, with_keys
        spec = WindowSpec.of(window, window_edges)
        if spec is not None and on_damage != "fail":
            raise UsageError(
                f"on_damage={on_damage!r} goes with single frames, not with window={window!r}"
            )
        if spec is not None:
            made._windows = Windows.open(made._archive, spec, made.tasks)
            made._begin()
        if transform is not None:
            made._transform, made._epoch = transform, SharedEpoch()
            made._draw = drawing(transform)
        selection = Selection.of(split, where, keys, indices, subset, limit)
        skips = spec is not None and spec.edges == "skip"
        whole = selection.is_whole and split is None and not skips and made._at_rate is None
        return made if whole else made._selected(selection)

    def select(
        self,
        where: str | Predicate | None = None,
        *,
        split: str | Sequence[str] | None = None,
        keys: Iterable[str] | str | None = None,
        indices: Iterable[int] | None = None,
        subset: Subset | None = None,
        limit: int | None = None,
    ) -> Self:
        """Return some of these samples, as a dataset with the same options.

        Parameters
        ----------
        where
            As of `open`; it, and all that follow, choose among the samples that are here.
        split
            Of one split, or of several.
        keys
            The samples of these keys, in this order.
        subset
            A fraction of them, by a hash of each key.
        limit
            The first so many of what all the others leave.
        indices
            Places in this dataset, from 0; negative ones count from the end.

        Raises
        ------
        UsageError
            When they cannot be made out, or leave nothing.
        """
        if indices is not None:
            indices = [self._index(index) for index in indices]
        return self._selected(Selection.of(split, where, keys, indices, subset, limit))

    def _selected(self, selection: Selection) -> Self:
        self._after_fork()
        archive, among = self._archive, None
        asked = selection
        if self._chosen is not None:
            among = np.zeros(len(archive), bool)
            among[self._chosen] = True
            asked = replace(selection, limit=None)  # the first ones in the order that is here
        reader = PackReader(archive, self._cache)
        complete = None if self._windows is None else self._windows.filter(archive)
        chosen = choose(archive, reader, asked, all_of(self._at_rate, complete), among)
        order = selection.order(archive, chosen)
        if self._chosen is not None and not selection.has_order:
            order = self._chosen[chosen[self._chosen]]
        if not len(order) and complete is not None and selection.is_whole:
            raise no_window_complete(archive)
        if not len(order):
            raise nothing_chosen(archive, selection, reader, among)
        made = copy.copy(self)
        made._chosen = order[: selection.limit]
        made._rises = bool((np.diff(made._chosen) > 0).all())
        made._ahead = DecodedAhead()
        return made

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch a transform's generator is for, in workers of a data loader, too.

        Call it before each loop; without it all epochs draw alike.
        """
        if epoch < 0:
            raise UsageError(f"set_epoch({epoch}): epochs count from 0")
        if self._epoch is not None:
            self._epoch.set(epoch)

    def _begin(self) -> None:
        """Start with nothing held: what belongs to a process or thread is not handed on."""
        self._pid = os.getpid()
        reader = PackReader(self._archive, self._cache)
        names, finer = [task.name for task in self.tasks], frozenset[str]()
        if self._on_damage == COARSER and names:
            finer = finer_levels(self._archive.manifest, names)
        is_nearest = self._on_damage == NEAREST
        self._samples = SampleReader(reader, self.streams, is_nearest, finer)
        self._ahead = DecodedAhead()
        decoded = DecodedCache(self._decoded_bytes) if self._decoded_bytes else None
        self._draw = None if self._transform is None else drawing(self._transform)
        self._decoder = SampleDecoder(
            self._archive,
            self.tasks,
            native=self.native,
            cache=decoded,
            coarser=self._on_damage == COARSER,
        )
        self._frames: FrameReader | None = None
        if self._windows is not None:
            packs = PackReader(self._archive, self._cache)
            self._frames = FrameReader(packs, self._windows, self.streams, self.native, decoded)

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_pid", "_samples", "_ahead", "_decoder", "_frames", "_draw")
        return {name: value for name, value in self.__dict__.items() if name not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _after_fork(self) -> None:
        # a connection, or a lock that another thread held, must not be used in a forked process
        if self._pid != os.getpid():
            self._archive = self._archive.fresh()
            self._begin()

    @property
    def manifest(self) -> Manifest:
        """The archive's manifest."""
        return self._archive.manifest

    def __len__(self) -> int:
        """Return the number of samples: of the selection, or else over all splits."""
        return len(self._archive) if self._chosen is None else len(self._chosen)

    def __repr__(self) -> str:
        names = ", ".join(task.name for task in self.tasks)
        return f"<dsc.Dataset {self._archive.root.url}: {len(self):,} samples of {names}>"

    @property
    def indices(self) -> Ints:
        """Each sample's index in the archive, int64 (n,)."""
        return np.arange(len(self._archive)) if self._chosen is None else self._chosen.copy()

    def keys(self) -> Iterator[str]:
        """Yield the keys of all samples, in order."""
        self._after_fork()
        if self._chosen is not None:
            yield from (self._archive.key(index) for index in self._chosen.tolist())
            return
        for shard in range(len(self._archive.shards)):
            yield from self._archive.keys(shard)

    def origin(self, index: int) -> Origin:
        """Say what a sample was called in the source, and its files there; see `Origin`."""
        self._after_fork()
        return self._archive.origin(self._index(index))

    def place(self, index: int) -> SequencePlace | None:
        """Say where a sample stands: recording, number of the frame, time; None if in none."""
        self._after_fork()
        return self._archive.place(self._index(index))

    def sequences(self) -> dict[str, Recording]:
        """Return the recordings by name: of each, which of these samples are its frames.

        Empty where there are none. All keys are read, so ask once.
        """
        self._after_fork()
        return recordings(self._archive, self._chosen)

    def split_of(self, index: int) -> str:
        """Return the split that a sample is of."""
        self._after_fork()
        shard, _, _ = self._archive.locate(self._index(index))
        return self._archive.shards[shard].split

    @overload
    def __getitem__(self, item: int | str) -> Any: ...
    @overload
    def __getitem__(self, item: slice) -> list[Any]: ...
    def __getitem__(self, item: int | str | slice) -> Any:
        """Read one sample by its number or key, or several by a slice.

        Returns
        -------
        Sample
            As `batch` describes it, or what the transform makes of it.

        Raises
        ------
        IndexError, KeyError
            When there is no such sample.
        CorruptArchiveError, BitstreamError
            When it is damaged; the message names file, pack and key.
        """
        if isinstance(item, slice):
            return self.batch(range(*item.indices(len(self))))
        if isinstance(item, str):
            return self._read([self._index_of(item)])[0]
        return self.batch([item])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Read several samples together: what torch's data loaders and `Subset` call."""
        return self.batch(indices)

    def __iter__(self) -> Iterator[Any]:
        """Read all samples in order."""
        in_order = self._is_dense
        for index in range(len(self)):
            yield self._read([self._index(index)], in_order)[0]

    def batch(self, indices: Sequence[int]) -> list[Any]:
        """Read and decode several samples together.

        Parameters
        ----------
        indices
            Any numbers of samples, in any order; negative ones count from the end.

        Returns
        -------
        list of Sample
            For each index the arrays by task: depth in metres, float32 (H, W), NaN where nothing
            was measured; normals float32 (H, W, 3) of unit length; disparity with invalid values
            float32 (H, W) counts, NaN where invalid; everything else in dtype and shape of the
            source; text a str, JSON what it says, bytes `bytes`. With `native`, all as in the
            source. None where the sample lacks the task, or could not be coded when the archive was
            made. With a transform, what it makes of each.

            With windows, n of them by task, stacked (n, ...), or a list where shapes vary. Where
            no frame is, NaN stands in floats of what is measured, 0 in images, the invalid value
            in integers that have one; None where the task is of no frame at all. Beside them are
            ``__sequence__``, the name of the recording (None of none), ``__window__``, bool (n,):
            which frames are there and have every task, false also where the first or last frame
            stands for one beyond it; and ``__frames__``, int64 (n,): the numbers of the frames
            that stand there, -1 where none does. Where tasks have windows of their own:
            ``__window_NAME__`` and ``__frames_NAME__``.
        """
        return self._read([self._index(index) for index in indices])

    def payloads(self, indices: Sequence[int]) -> list[Payloads]:
        """Read the bitstreams that the tasks require, undecoded."""
        self._after_fork()
        places = [SamplePlace(*self._archive.locate(self._index(index))) for index in indices]
        return self._samples.read(places)

    def nearest(self, query: Query, k: int = 10, task: str | None = None) -> Neighbours:
        """Find the samples whose embeddings are most like a picture's, a vector's or a sample's.

        Of the archive only the embeddings are read, and all those of this dataset's samples, so
        several queries at once take hardly longer than one. A sample without one is never found.

        Parameters
        ----------
        query
            A picture, uint8 (H, W, 3) or (H, W), or the path of its file: the backbone that
            computed the embeddings computes its own. One vector (N,) or several (Q, N). Or the key
            of a sample of the archive, which does not find itself.
        k
            How many samples.
        task
            Name of the embedding, where there are several; it need not be among those opened.

        Returns
        -------
        Neighbours
            ``keys``, ``indices`` in this dataset and cosine ``similarities``, arrays (k,), best
            first; (Q, k) of several queries. ``task`` is the embedding that was compared.

        Raises
        ------
        UsageError
            When `k` is no whole number from 1 on; when the archive has no embedding, or several and
            none is named; when the query has another length, NaN or zeros alone; when the backbone
            here has other weights than what computed the embeddings.
        MissingPackageError
            When what the backbone needs is not installed.
        UnknownSampleError
            When there is no sample of that key.
        SampleError, OSError
            When the file of a picture cannot be read.
        """
        if not isinstance(k, int | np.integer) or k < 1:
            raise UsageError(f"nearest(k={k!r}): a whole number, at least 1")
        self._after_fork()
        compared = find_vectors(self._archive, task)
        own = None
        if isinstance(query, str):
            own = self._archive.index_of(query)
            query = self._vector(own, query, compared)
        queries = query_vectors(query, compared)
        found = find_nearest(self._units(compared, own), queries, k)
        return Neighbours.of(self._archive, compared.name, self._chosen, *found)

    def duplicates(self, above: float | None = None, task: str | None = None) -> Duplicates:
        """Find the samples that are near-duplicates by their embeddings.

        Every pair is compared, so the time grows with the square of the samples: 100,000 take some
        ten minutes on one core. Of the archive only the embeddings are read, all of which are held
        in memory.

        Parameters
        ----------
        above
            The least cosine similarity of a pair, above 0, 1 at most. Samples that hang together
            by such pairs are a group. None for 0.9, or 0.8 of embeddings kept at a quality below
            80, which makes copies less alike.
        task
            Name of the embedding, where there are several; it need not be among those opened.

        Returns
        -------
        Duplicates
            Its ``groups``, each with ``keys``, ``indices`` in this dataset and ``splits``; and
            ``across``, how many samples of a split are in a group with some of another.

        Raises
        ------
        UsageError
            When the archive has no embedding, or several and none is named, or the threshold is
            out of range.
        """
        self._after_fork()
        compared = find_vectors(self._archive, task)
        least = threshold(above, self.manifest, compared.name)
        units = self._units(compared)
        return find_duplicates(self._archive, units, self.indices, compared.name, least)

    def _units(self, task: Task, without: int | None = None) -> Iterator[Vectors]:
        """Read the vectors of these samples, but for one, at its index in the archive."""
        among = np.zeros(len(self._archive), bool)
        among[self.indices] = True
        if without is not None:
            among[without] = False
        return read_units(self._archive, PackReader(self._archive, self._cache), task, among)

    def _vector(self, index: int, key: str, task: Task) -> Array:
        """Read the vector of one sample of the archive."""
        found = Dataset(self._archive, [task.name], True, self._cache)[index][task.name]
        if found is None:
            raise UsageError(f"{self._archive.root.url}: sample {key} has no {task.name}")
        vector: Array = found
        return vector

    def _index(self, index: int) -> int:
        """Return the index in the archive of a sample of this dataset."""
        index, count = operator.index(index), len(self)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of {count} in {self._archive.root.url}")
        return index % count if self._chosen is None else int(self._chosen[index])

    def _index_of(self, key: str) -> int:
        self._after_fork()
        index = self._archive.index_of(key)
        if self._chosen is not None and index not in self._chosen:
            raise UnknownSampleError(
                f"{self._archive.root.url}: sample {key!r} is not in this selection of {len(self)}"
            )
        return index

    @property
    def _is_dense(self) -> bool:
        """Whether reading in order reads most of what lies between the first and the last."""
        chosen = self._chosen
        if chosen is None:
            return True
        return self._rises and DENSE * len(chosen) > chosen[-1] - chosen[0]

    def _read(self, indices: Sequence[int], in_order: bool = False) -> list[Any]:
        """Read samples by their indices in the archive."""
        self._after_fork()
        if self._frames is not None:
            return [self._item(one) for one in self._frames.read(indices, in_order)]
        kept = self._ahead.take(indices)
        wanted = [index for index, one in zip(indices, kept, strict=True) if one is None]
        decoded = iter(self._decode(wanted, in_order) if wanted else ())
        return [self._item(next(decoded) if one is None else one) for one in kept]

    def _decode(self, indices: Sequence[int], in_order: bool) -> list[Decoded]:
        """Read and decode samples; in order, the rest of their group, too."""
        wanted = [index for index in indices if not self._decoder.holds(index)]
        places = [SamplePlace(*self._archive.locate(index)) for index in wanted]
        is_next = self._samples.has_groups and (in_order or self._samples.follows(places))
        payloads = dict(zip(wanted, self._samples.read(places, in_order), strict=True))
        later = self._rest_of_group(payloads, in_order) if is_next and payloads else {}
        both, read = [*indices, *later], payloads | later if later else payloads
        found = self._decoder.decode(both, [read.get(index) for index in both])
        for one in found[: len(indices)]:
            if isinstance(one, BitstreamError):
                raise one
        whole = [one for one in found if not isinstance(one, BitstreamError)]
        self._ahead.keep(whole[len(indices) :])
        return whole[: len(indices)]

    def _rest_of_group(
        self, payloads: Mapping[int, Payloads], in_order: bool
    ) -> dict[int, Payloads]:
        """Read those samples that follow in the last one's group and will be asked for."""
        last = max(payloads)
        found = [one for one in payloads[last].values() if isinstance(one, Linked)]
        stop = min(last + 1 + max((one.after for one in found), default=0), len(self._archive))
        if self._chosen is None:
            following = list(range(last + 1, stop))
        elif self._rises:
            start, end = np.searchsorted(self._chosen, [last + 1, stop])
            following = self._chosen[start:end].tolist()
        else:
            return {}
        wanted = [index for index in following if not self._decoder.holds(index)]
        places = [SamplePlace(*self._archive.locate(index)) for index in wanted]
        read = self._samples.read_each(places, in_order)
        return {
            index: one
            for index, one in zip(wanted, read, strict=True)
            if not isinstance(one, CorruptArchiveError)  # it is an error when it is asked for
        }

    def _item(self, one: Decoded) -> Any:
        lengths = NO_WINDOWS if self._windows is None else self._windows.lengths
        sample = Sample.of(one.arrays, self._by_name, lengths)
        sample.update(one.told(self._on_damage))
        if self._with_keys:
            sample[KEY] = self._archive.key(one.index)
        if self._draw is None:
            return sample
        sample[INDEX] = one.index
        epoch = 0 if self._epoch is None else self._epoch.get()
        return self._draw(sample, generator(self._seed, epoch, one.index))
