"""Opens a stream: ``dsc.stream``."""

import os
from collections.abc import Iterable, Mapping, Sequence

from dsc._columns.where import Predicate
from dsc._extras import needing
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.read.decoding import check_one_latent_codec, latent_tasks
from dsc._pipeline.read.on_damage import check_stands_in
from dsc._pipeline.read.selection import Subset
from dsc._pipeline.read.window import WindowOption
from dsc._schemas.levels import Levels
from dsc._schemas.rate import Rate
from dsc._storage.cache.pack_cache import PackCache
from dsc._stream.groups import USUAL
from dsc._stream.options import CollateFn, StreamOptions, Transform
from dsc._stream.order import GROUPED, OrderSpec
from dsc._stream.sample_stream import SampleStream
from dsc._stream.source import StreamSource
from dsc._stream.topology import find_topology
from dsc.errors import UsageError

PER_RANK = (12, 6, 4, 3, 2, 1)  # lanes a rank; workers that divide them have packs of their own
WINDOW_PACKS = 16
PLAIN_WINDOW = 4096
FEWEST_GROUPS, MOST_GROUPS = 4, 64  # that are mixed with each other

Url = str | os.PathLike[str]


def stream(
    url: Url | Sequence[Url] | Mapping[Url, float],
    tasks: Sequence[str] | str | None = None,
    batch_size: int = 64,
    *,
    rate: Rate = 1,
    levels: Levels | None = None,
    split: str | Sequence[str] | None = None,
    where: str | Predicate | None = None,
    keys: Iterable[str] | str | Mapping[Url, Iterable[str]] | None = None,
    indices: Iterable[int] | Mapping[Url, Iterable[int]] | None = None,
    subset: Subset | None = None,
    limit: int | None = None,
    window: WindowOption | int | None = None,
    window_edges: str = "clamp",
    shuffle: bool | str = False,
    seed: int = 0,
    shuffle_window: int | None = None,
    lanes: int | None = None,
    drop_last: bool = False,
    pad: bool | None = None,
    rank: int | None = None,
    world: int | None = None,
    decode: str = "pixels",
    device: str | None = None,
    native: bool = False,
    output: str = "torch",
    transform: Transform | None = None,
    collate_fn: CollateFn | None = None,
    with_keys: bool = False,
    temperature: float | None = None,
    missing: str = "error",
    on_error: str = "fail",
    on_damage: str = "fail",
    mixed_sizes: str = "error",
    workers: int = 0,
    threads: int | None = None,
    prefetch: int | str = "32MB",
    memory: int | str = "256MB",
    cache: Url | None = None,
    cache_limit: int | str = "10GB",
    cache_decoded: int | str = 0,
    buffer: int | str = "1GB",
    timeout: float | None = None,
) -> SampleStream:
    """Stream tasks of an archive into a training loop; only their bytes are read.

    Parameters
    ----------
    url
        An archive by path or URL; or several with weights, ``{url: weight}``: samples are then
        drawn in these proportions, each archive without repeats until it is used up. Of a list of
        archives the weights are their numbers of samples, see `temperature`.
    tasks
        Names or aliases, as a sequence or with commas; None for all. ``rgb:cls`` and ``rgb:seg``
        are the picture as networks see it best, as of `dsc.open`.
    batch_size
        Samples a batch of this rank.
    rate
        The part of the frames of recordings that is read, as ``"1/16"`` or ``"1/4"``: the samples
        of these frames are the epoch, and no byte of another is read. `missing` says what becomes
        of those among them that lack a task.
    levels
        How many of a task's levels are read, coarse first: ``"rgb=1"`` or ``{"rgb": 1}``, or ``1``
        for the coarsest of every task that has some, as of `dsc.open`.
    split
        Which split, or several (in a list, or text with commas); None when there is only one.
    where
        Only samples for which a condition holds: an expression over columns, as
        ``"scene == 'kitchen' and score > 0.5"``, or a function of one row, a mapping of the columns
        that it looks up. Every task that is no map is a column, and so are ``key``, ``index``,
        ``split`` and ``source``; only their streams are read, once, when the stream is opened.
        Comparisons with what a sample lacks are False; ``x is None`` tests for it. See
        docs/streaming.md.
    keys
        Only the samples of these keys. Of a mixture by URL, ``{url: keys}``; all samples of the
        archives that it does not name.
    indices
        Only the samples of these indices in the archive (``__index__`` of a batch), likewise.
    subset
        Only this fraction of the samples, 0 to 1, or ``(fraction, seed)``: chosen by a hash of each
        key, so that it is the same ones in whatever order, and 10 % are part of 20 %.
    limit
        Only the first so many of what all the others leave (of each archive of a mixture).
    window
        Of archives with recordings: with each sample the frames around it, as offsets in frames,
        ``(-8, 0, 8)``, or in time, ``("-0.25s", 0, "0.25s")``. Every task then has n values, and
        batches have ``__sequence__``, ``__window__`` (B, n) and ``__frames__`` (B, n);
        ``{"rgb": (-1, 0), "action": (0, 1, 2)}`` gives some tasks windows of their own. As of
        `dsc.open`. Frames are of the recording, whatever samples were chosen.
    window_edges
        What stands for frames before the first and after the last one of a recording: ``clamp``,
        ``missing`` or ``skip`` (such samples are no part of the epoch).
    shuffle
        Whether each epoch has an order of its own; otherwise samples come in the archive's order.
        ``"group"``: of recordings that were coded together, frames are mixed as far as each needs
        be decoded once: groups (16 frames, as they were coded) are permuted, and frames mixed among
        as many groups as `buffer` holds.
    seed
        Decides, with the epoch's number, the order of each epoch.
    shuffle_window
        Samples that are shuffled with each other at a time, in each lane. Default: of 16 packs, or
        fewer so that all lanes together take at most half of `memory`. Only with `shuffle`. A whole
        number as `window` means this.
    lanes
        Parts of an epoch that are read side by side. The order depends on them, and not on ranks
        or workers; with as many ranks × workers as divide it, each reads packs of its own.
        Default: 12 a rank for a large archive, fewer for a small one. Only with `shuffle`.
    drop_last
        Leave out the last samples that do not fill a batch on every rank.
    pad
        Otherwise: give all ranks equally many samples, by giving up to ``world - 1`` twice
        (default), or share them out so that ranks differ by one at most (False: each sample once).
    rank, world
        Of how many readers this is which. Default: torch.distributed's when it is initialised, Ray
        Train's, torchrun's, else 0 of 1.
    decode
        ``pixels``; ``latents``: integers of a learned codec, without synthesis, as
        ``batch["latents"]`` (`LatentBatch`); ``bytes``: lists of bitstreams by stream;
        ``features``: as pixels, but feature maps and embeddings come as float32, and tasks that
        are not named are all but the pictures that these were computed from.
    device
        Where batches go, and where learned codecs synthesise, one call a batch; entropy decoding
        stays in the workers.
    native
        Return the integers of the source's files instead of metres and unit vectors.
    output
        ``torch``: tensors, channels first; or ``numpy``: arrays of `dsc.open`, stacked, channels
        last, in their dtypes. torch need not be installed for these.
    transform
        Applied to each sample, a dict of NumPy arrays as of `dsc.open` with ``__index__``, before
        it is batched, in the worker. It returns a dict of whatever is to be batched, the same
        names for every sample; ``__index__`` need not be among them. One that takes ``(sample,
        rng)`` is given a NumPy generator that depends on seed, epoch and sample only: what it draws
        is the same for any ranks and workers, and after going on. `dsc.transforms` has some.
    collate_fn
        Makes the batch, in the worker: given the list of samples, as a transform gets or has made
        them (NumPy arrays, channels last), it returns whatever the loop is to have.
    with_keys
        Whether batches, and the samples that `transform` and `collate_fn` get, have each sample's
        key: ``batch["__key__"]``, a list of str.
    temperature
        Of a list of archives: the weight of each is its number of samples, those that take part, to
        the power of ``1 / temperature``. 1 (default) draws from all alike, larger ones more from
        small archives, ``float("inf")`` as much from each.
    missing
        What to do with samples that lack a task: ``error``, ``skip`` them (they are found when the
        stream is opened and are no part of the epoch), or ``none``: such tasks come as lists with
        None. Samples that could not be coded when the archive was made, and were left empty by
        ``--on-error skip``, are never part of the epoch. `SampleStream.left_out` counts both.
    on_error
        What to do with damaged samples: ``fail``, or ``skip`` them, which makes a batch smaller;
        they are counted and named in ``report``.
    on_damage
        What to do where a frame of a recording is damaged, or one that it is predicted from:
        ``fail`` (then `on_error` decides), or give the ``nearest``, the intact frame of the same
        group that stands closest. Batches then have ``__nearest__``, a list of dicts, one a sample:
        of each such task how many frames away that is; ``report.n_nearest`` counts them. Or, of a
        task with levels (docs/coarse_first.md), decode a ``coarser`` one where finer ones are
        damaged: ``__coarser__`` is such a list, of how many levels were decoded, and
        ``report.n_coarser`` counts them.
    mixed_sizes
        What to do with maps of several sizes in a batch: ``error``; ``list``: maps come as lists of
        tensors; or ``pad``: each is in the upper left corner of one as large as the largest, beside
        nothing: NaN in metres, normals and other floats of what is measured, 0 in images, in
        integers the task's first invalid value, in labels without one the largest of the source's
        dtype (255, 65535; -1 if it has a sign). ``__mask__`` (B, H, W) bool is true where the first
        map is; maps whose sizes are others have a ``__mask_NAME__`` each.
    workers
        Processes that read and decode.
    threads
        Threads of each process that decode, ahead of the loop. Default: as many as this process has
        processors, at most 8; with `workers`, or in a worker of a data loader, none: such a process
        decodes when it is asked for a batch. Codecs with a network decode in the loop's thread.
    prefetch
        Bytes that each process reads ahead from a remote archive.
    memory
        Bytes of compressed packs that each process keeps.
    cache
        A directory in which packs of remote archives are kept, for all processes of a machine;
        None keeps none.
    cache_limit
        The most that the directory may hold: bytes, or text such as ``"10GB"``.
    cache_decoded
        Bytes of memory, or text such as ``"20GB"``, in which decoded arrays are kept for later
        epochs, in the source's integers: as many samples as fit, none of which leaves again. Worker
        processes share it out among them, so that threads (``workers=0``) make more of it. Latents
        and ``decode="bytes"`` are not kept. `SampleStream.report` counts what it did.
    buffer
        Bytes of memory in which each process keeps frames that were decoded with their group, until
        their turn (``shuffle="group"``). Where they do not fit, frames are decoded when their turn
        comes, each with those that it needs.
    timeout
        Seconds that a server may be silent before the request is made again (default 30); after
        four requests that failed, reading ends with an error.

    Returns
    -------
    SampleStream
        An iterable of batches: dicts of tensors by task, and ``__index__`` (B,), each sample's
        index in the archive. Images uint8 (B, 3, H, W) in channels_last memory; depth float32
        (B, H, W), metres, NaN where nothing was measured; normals float32 (B, 3, H, W), unit
        vectors; label maps and disparity (B, H, W); flow and other arrays (B, C, H, W), or
        (B, H, W) without channels; classes (B,). torch hardly computes with uint16, uint32 and
        uint64: such values come as int32, int64 and int64 (but for native depth). With
        ``output="numpy"``: arrays (B, H, W, C) and (B, H, W), no dtype changed.

    Raises
    ------
    ArchiveNotFoundError, CorruptArchiveError, UnsupportedVersionError
        When an archive cannot be opened.
    UnknownTaskError
        When an archive lacks a task.
    MissingPackageError
        When torch is needed and not installed.
    UsageError
        When an option cannot be honoured.
    """
    return open_stream(url, StreamOptions.among(locals()))


def open_stream(
    url: Url | Sequence[Url] | Mapping[Url, float], options: StreamOptions
) -> SampleStream:
    """Open a stream; see `stream`."""
    kind = _kind(options)
    topology = find_topology(options.rank, options.world)
    weights = _weights(url, options)
    sources = [
        StreamSource.open(
            place,
            options.tasks,
            wanted,
            options.missing,
            options.timeout,
            options.rate,
            options.window_spec,
            options.decode == "features",
            options.levels,
        )
        for place, wanted in options.selections(list(weights)).items()
    ]
    options = options.without_selection()  # what was chosen goes to workers, not how
    _check_alike(sources)
    _check_samples(sources)
    _check_latents(sources, options)
    for source in sources:
        check_stands_in(source.archive, source.tasks, options.on_damage)
    if options.cache is not None:
        PackCache(options.cache, options.cache_bytes)  # refuse a wrong directory now
    spec = choose_order(sources, options, topology.world)
    shares = [
        source.samples ** (1 / (options.temperature or 1)) if weight is None else weight
        for source, weight in zip(sources, weights.values(), strict=True)
    ]
    return kind(sources, shares, options, spec, topology)


def _kind(options: StreamOptions) -> type[SampleStream]:
    if options.output == "numpy":
        return SampleStream
    with needing("torch", "a stream of tensors", "stream with output='numpy'"):
        from dsc._stream.tensor_stream import TensorStream
    return TensorStream


def _weights(
    url: Url | Sequence[Url] | Mapping[Url, float], options: StreamOptions
) -> dict[str, float | None]:
    """Return the weight of each archive; None for that of its number of samples."""
    given = options.temperature
    if given is not None and not given > 0:
        raise UsageError(f"temperature={given}: above 0; 1 draws from all samples alike")
    if isinstance(url, Mapping):
        weights = {os.fspath(u): float(w) for u, w in url.items()}
        if not weights or min(weights.values()) <= 0:
            raise UsageError(f"weights {weights}: at least one archive, and every weight above 0")
        if given is not None:
            raise UsageError(
                f"temperature={given} makes weights of numbers of samples, and weights are given: "
                "give the archives in a list, or leave temperature out"
            )
        return dict(weights)
    if not isinstance(url, str | os.PathLike):
        places = [os.fspath(one) for one in url]
        twice = [place for place in places if places.count(place) > 1]
        if not places or twice:
            problem = f"{twice[0]} is given twice" if twice else "no archive is given"
            raise UsageError(f"a list of archives: {problem}")
        return dict.fromkeys(places)
    if given is not None:
        raise UsageError(f"temperature={given} is of several archives, given in a list")
    return {os.fspath(url): 1.0}


def choose_order(sources: Sequence[StreamSource], options: StreamOptions, world: int) -> OrderSpec:
    """Choose the order of all epochs: window and lanes, where they were not given."""
    seed, chunk = options.seed, options.batch_size
    if not options.shuffle:
        return OrderSpec(seed=seed, shuffle=0, lanes=1, window=PLAIN_WINDOW, chunk=chunk)
    samples = sum(source.samples for source in sources)
    window, lanes = options.shuffle_window, options.lanes
    if window is None:
        pack_bytes = max(source.pack_bytes for source in sources)
        fit = max(int(options.memory_bytes / 2 / (PER_RANK[0] * max(pack_bytes, 1.0))), 1)
        size = max(source.archive.manifest.pack_size for source in sources)
        found = max(source.pack_samples for source in sources)
        # where few samples of a pack take part, a window of as many samples has more packs
        window = min(size * WINDOW_PACKS, found * fit)
    if lanes is None:
        fitting = (n for n in PER_RANK if samples // (world * n) >= window)
        lanes = world * next(fitting, 1)
        if samples // lanes < min(window, chunk * 4):
            lanes = 1  # a small archive is mixed as a whole
    if len(sources) > 1:
        lanes = min(lanes, *(source.samples for source in sources))
    if not options.is_grouped:
        return OrderSpec(seed=seed, shuffle=1, lanes=lanes, window=window, chunk=chunk)
    for source in sources:
        _ = source.group_of  # refused where there are no recordings
    lanes, groups = _groups(sources, options, lanes, world)
    return OrderSpec(
        seed=seed, shuffle=GROUPED, lanes=lanes, window=window, chunk=chunk, groups=groups
    )


def _groups(
    sources: Sequence[StreamSource], options: StreamOptions, lanes: int, world: int
) -> tuple[int, int]:
    """Choose how many groups are mixed in each lane, and fewer lanes where too few would be.

    A group that has begun is there half on average. Lanes that were asked for stay.
    """
    frame_bytes = max(source.frame_bytes for source in sources)
    room = options.buffer_bytes / max(frame_bytes * USUAL / 2, 1) * world  # groups
    if options.lanes is None:
        fewer = (n for n in range(lanes, 0, -1) if lanes % n == 0 and n % world == 0)
        lanes = next((n for n in fewer if room / n >= FEWEST_GROUPS), min(lanes, world))
    return lanes, int(min(max(room / lanes, FEWEST_GROUPS), MOST_GROUPS))


def _check_alike(sources: Sequence[StreamSource]) -> None:
    """Check that a task means the same in all archives."""
    first = sources[0]
    for other in sources[1:]:
        if len(other.tasks) != len(first.tasks):
            names = [", ".join(task.name for task in source.tasks) for source in (first, other)]
            raise UsageError(
                f"{first.archive.root.url} has {names[0]}, {other.archive.root.url} has "
                f"{names[1]}; name the tasks that both have"
            )
        for mine, theirs in zip(first.tasks, other.tasks, strict=True):
            ours = [(t.name, t.kind, t.dtype, t.channels, t.shape) for t in (mine, theirs)]
            if ours[0] != ours[1]:
                raise UsageError(
                    f"{other.archive.root.url}: task {theirs.name} ({theirs.kind}, {theirs.dtype}, "
                    f"{theirs.channels} channels) does not mix with {mine.name} ({mine.kind}, "
                    f"{mine.dtype}, {mine.channels} channels) of {first.archive.root.url}"
                )


def _check_samples(sources: Sequence[StreamSource]) -> None:
    for source in sources:
        if not source.samples:
            names = ", ".join(task.name for task in source.tasks)
            failed = sum(len(shard.failed) for shard in source.archive.shards)
            could = f"; {failed} could not be coded when it was made" if failed else ""
            raise UsageError(f"{source.archive.root.url}: no sample has all of {names}{could}")


def _check_latents(sources: Sequence[StreamSource], options: StreamOptions) -> None:
    """Refuse latents that cannot be had, or be batched; no codec is loaded for it."""
    if options.decode != "latents" and options.device is None:
        return
    for source in sources:
        by_slot = latent_tasks(CodecSet.from_archive(source.archive), source.tasks)
        if options.decode == "latents":
            check_one_latent_codec(source.archive, source.tasks)
        if by_slot and source.windows is not None:
            raise UsageError(
                f"device={options.device!r} synthesises whole batches, after the workers, which "
                "window= does not: leave device out"
            )
        if by_slot and len(sources) > 1:
            raise UsageError(
                "latents of several archives do not go into one batch; stream each by itself, or "
                "decode pixels without device"
            )
        if by_slot and options.mixed_sizes == "pad":
            raise UsageError(
                f"device={options.device!r} synthesises whole batches, after the workers, which "
                "mixed_sizes='pad' does not: take mixed_sizes='list', or no device"
            )
        if by_slot and options.transform and options.gives_arrays:
            raise UsageError(
                f"device={options.device!r} synthesises whole batches, after the workers: apply "
                "the transform to the batches instead"
            )
