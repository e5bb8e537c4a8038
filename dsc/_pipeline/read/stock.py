"""Decodes what other loaders read out of an archive's tars: webdataset, and Hugging Face datasets.

They know tars and no archive: a sample of theirs is a pack, or what `dsc.unpack` makes of one. The
codecs, the keys and the streams that a task requires besides are the archive's, so `dsc.decode`
takes the archive.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, overload

from dsc._pipeline.read.decoding import SampleDecoder
from dsc._pipeline.read.paths import find_tasks
from dsc._schemas import Stream, carrying_streams, required_streams
from dsc._schemas.rate import layers_of
from dsc._storage.files.place import absolute, redact
from dsc._storage.format.pack import decode_pack
from dsc._storage.read.archive import Archive
from dsc._storage.read.pack_reader import PackReader
from dsc._storage.read.samples import Payloads, SamplePlace, SampleReader
from dsc.errors import BitstreamError, UnknownSampleError, UsageError

KEY, INDEX, URL, PACK = "__key__", "__index__", "__url__", ".pack"
OWN = (KEY, INDEX, URL)
TAR = re.compile(r"(?:^|/)([a-z0-9][a-z0-9_]*)-([a-z0-9_.]+)-(\d{6,})\.tar(?![\w.])")


def decode(
    archive: str | os.PathLike[str],
    tasks: Sequence[str] | str | None = None,
    native: bool = False,
) -> "StockDecoder":
    """Return what decodes samples that stock loaders read out of an archive's tars.

    With webdataset it is a stage: ``WebDataset(urls).compose(dsc.decode(archive))``. With Hugging
    Face datasets it maps batches, because a pack is one example of theirs:
    ``dataset.map(dsc.decode(archive), batched=True, batch_size=1,
    remove_columns=dataset.column_names)``. It can be pickled, and works in workers.

    Parameters
    ----------
    archive
        Path or URL of the archive that the tars are of, or of a copy of some of its tasks.
    tasks
        Names or aliases of the tasks to decode, as a sequence or with commas; None for those that
        the sample's stream carries, or where it carries none, those that require it. Streams that
        they require and the sample lacks are read from the archive, pack by pack: in the order of
        the tars that is one read a pack.
    native
        Whether values stay as in the source's files, as `open` gives them with ``native=True``.

    Returns
    -------
    callable
        Takes an iterable of packs (``{"__key__", "__url__", "<stream>.pack"}``), or of what
        `unpack` makes of them, and gives an iterator over samples: ``__key__`` (the sample's own),
        ``__index__`` (in the archive, as `open` counts), ``__url__``, and by task what `open`
        gives, None where the sample lacks it. Takes a batch, a list by name, of either, and gives
        a batch of samples; takes one sample of `unpack`, too. (webdataset's ``map`` puts the old
        ``__key__`` back: use ``compose``.) Other fields are passed on, those of a pack to each of
        its samples.

    Raises
    ------
    ArchiveNotFoundError
        When there is no archive.
    UnknownTaskError
        When it lacks a task.
    UsageError
        When a sample is not of this archive; when it is called.
    CorruptPackError, BitstreamError
        When a pack or bitstream is damaged; when it is called.
    """
    opened, names = find_tasks(Archive.open(absolute(os.fspath(archive))), tasks)
    return StockDecoder(opened, None if tasks is None else names, native)


class StockDecoder:
    """What `decode` returns.

    Parameters
    ----------
    archive
        The archive.
    tasks
        Names of the tasks; None for those of the sample's streams.
    native
        Whether values stay as in the source's files.
    """

    def __init__(self, archive: Archive, tasks: tuple[str, ...] | None, native: bool) -> None:
        self._archive, self._tasks, self._native = archive, tasks, native
        self._begin()

    def _begin(self) -> None:
        """Start with nothing held: what belongs to a process is not handed on."""
        self._pid = os.getpid()
        shards = self._archive.shards
        starts = accumulate((shard.samples for shard in shards), initial=0)
        self._starts = dict(zip(range(len(shards)), starts, strict=False))
        self._numbers = {(shard.split, shard.n): at for at, shard in enumerate(shards)}
        self._decoders: dict[tuple[str, ...], SampleDecoder] = {}
        self._readers: dict[tuple[str, ...], SampleReader] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_archive", "_tasks", "_native")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __repr__(self) -> str:
        return f"<dsc.decode {redact(self._archive.root.url)}>"

    @overload
    def __call__(self, source: Mapping[str, Any]) -> dict[str, Any]: ...
    @overload
    def __call__(self, source: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]: ...
    def __call__(
        self, source: Mapping[str, Any] | Iterable[Mapping[str, Any]]
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Decode all that comes, a batch, or one sample; see `decode`."""
        if not isinstance(source, Mapping):
            return self._each(source)
        self._after_fork()
        if isinstance(source.get(KEY), list):
            return self._batch(source)
        packs = [name for name in source if name.endswith(PACK)]
        if packs:
            raise UsageError(
                f"{packs[0]} is a pack of many samples: give an iterable, .compose(dsc.decode(...))"
                ", or batches, .map(dsc.decode(...), batched=True, batch_size=1)"
            )
        return self._one(source)

    def _each(self, source: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in source:
            self._after_fork()
            for sample in self._samples(row):
                if not self._is_in_another_tar(sample):
                    yield self._one(sample)

    def _is_in_another_tar(self, sample: Mapping[str, Any]) -> bool:
        """Tell whether a sample's payload is in another layer than the one that this is of.

        Who reads the tars of all layers gets each sample once.
        """
        layers = layers_of(self._archive.manifest.codecs)
        found = [name for name in sample if self._is_stream(name)]
        return bool(found) and all(name in layers and sample[name] is None for name in found)

    def _after_fork(self) -> None:
        if self._pid != os.getpid():  # connections of a parent are not used in a forked process
            self._archive = self._archive.fresh()
            self._begin()

    def _batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Decode a batch: a list by name, of packs or of samples."""
        rows = (dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True))
        found = [
            self._one(sample)
            for row in rows
            for sample in self._samples(row)
            if not self._is_in_another_tar(sample)
        ]
        return {name: [one.get(name) for one in found] for name in self._names(found, batch)}

    def _names(self, found: Sequence[Mapping[str, Any]], batch: Mapping[str, Any]) -> list[str]:
        if found:
            return list(dict.fromkeys(name for one in found for name in one))
        streams = [name.removesuffix(PACK) for name in batch]
        return [*OWN, *self._wanted(streams)]

    def _samples(self, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the samples of a pack; a sample is one already."""
        packs = {name: data for name, data in row.items() if name.endswith(PACK)}
        if not packs:
            yield dict(row)
            return
        others = {name: value for name, value in row.items() if name not in packs}
        for name, data in packs.items():
            if data is None:
                continue
            stream = name.removesuffix(PACK)
            where = f"{row.get(URL, '')}:{row.get(KEY, '')}"
            pack = decode_pack(data, where, self._archive.dictionary)
            first = self._find(stream, pack.first_index, row.get(URL), str(row.get(KEY)))
            for at, payload in enumerate(pack.payloads):
                yield others | {INDEX: pack.first_index + at, "_at": first + at, stream: payload}

    def _one(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        archive = self._archive
        payloads = {name: sample[name] for name in sample if self._is_stream(name)}
        if not payloads:
            raise UsageError(
                f"{redact(archive.root.url)}: a sample of {', '.join(map(str, sample))} has none "
                "of this archive's streams; give the archive that the tars are of"
            )
        at = sample.get("_at")
        if at is None:
            at = self._find(next(iter(payloads)), sample.get(INDEX), sample.get(URL))
        tasks = self._wanted(payloads)
        given = self._complete(at, tasks, payloads)
        (found,) = self._decoder(tasks).decode([at], [given])
        if isinstance(found, BitstreamError):
            raise found
        others = {name: sample[name] for name in sample if name not in (*payloads, *OWN, "_at")}
        own = {KEY: archive.key(at), INDEX: at, URL: sample.get(URL)}
        return own | others | {name: found.arrays[name] for name in tasks}

    def _is_stream(self, name: str) -> bool:
        return any(stream.name == name for stream in self._archive.manifest.streams)

    def _wanted(self, streams: "Sequence[str] | Mapping[str, Any]") -> tuple[str, ...]:
        """Return the tasks to decode of a sample that has these streams."""
        if self._tasks is not None:
            return self._tasks
        manifest = self._archive.manifest
        names = [task.name for task in manifest.tasks]
        for streams_of in (carrying_streams, _requiring):
            found = [name for name in names if {*streams_of(manifest.streams, name)} & {*streams}]
            if found:
                return tuple(found)
        return ()

    def _complete(self, at: int, tasks: tuple[str, ...], payloads: Mapping[str, Any]) -> Payloads:
        """Return every bitstream that tasks require: the sample's, and others from the archive."""
        needed = required_streams(self._archive.manifest.streams, tasks) if tasks else ()
        grouped = {name for lane in self._archive.lanes for name in lane}
        lacking = tuple(name for name in needed if name not in payloads or name in grouped)
        held: Payloads = {
            name: None if data is None else memoryview(data) for name, data in payloads.items()
        }
        if not lacking:
            return held
        reader = self._readers.get(lacking)
        if reader is None:
            reader = self._readers[lacking] = SampleReader(PackReader(self._archive), lacking)
        (read,) = reader.read([SamplePlace(*self._archive.locate(at))])
        return held | read

    def _decoder(self, tasks: tuple[str, ...]) -> SampleDecoder:
        decoder = self._decoders.get(tasks)
        if decoder is None:
            known = {task.name: task for task in self._archive.manifest.tasks}
            wanted = [known[name] for name in tasks]
            decoder = SampleDecoder(self._archive, wanted, native=self._native)
            self._decoders[tasks] = decoder
        return decoder

    def _find(self, stream: str, index: Any, url: Any, first_key: str | None = None) -> int:
        """Return the index in the archive of a sample, of which the index in its split is known.

        The tar's name tells the split and the shard; where a loader has copied the tar to a name of
        its own, the key of the pack's first sample does, or the archive's only split.
        """
        archive, where = self._archive, redact(self._archive.root.url)
        tars = [match for match in TAR.finditer(str(url or "")) if match[2] == stream]
        if tars and isinstance(index, int):
            found = self._in_shard(tars[-1][1], int(tars[-1][3]), index)
        elif first_key is not None:
            found = self._by_key(first_key)
        elif isinstance(index, int) and len(archive.manifest.splits) == 1:
            found = index if index < len(archive) else None
        else:
            raise UsageError(
                f"{where}: a sample of {url} does not tell its split: keep __url__ and __index__, "
                f"with the tar's own name (SPLIT-{stream}-000000.tar)"
            )
        if found is None or first_key not in (None, archive.key(found)):
            raise UsageError(
                f"{where}: it holds no sample {index} of {url}; give the archive that the tars are "
                "of"
            )
        return found

    def _in_shard(self, split: str, n: int, index: int) -> int | None:
        number = self._numbers.get((split, n))
        if number is None:
            return None
        shard = self._archive.shards[number]
        within = index - shard.first_index
        return self._starts[number] + within if 0 <= within < shard.samples else None

    def _by_key(self, key: str) -> int | None:
        try:
            return self._archive.index_of(key)
        except UnknownSampleError:
            return None


def _requiring(streams: Sequence[Stream], task: str) -> tuple[str, ...]:
    return required_streams(streams, [task])
