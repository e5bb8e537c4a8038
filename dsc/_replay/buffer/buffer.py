"""`ReplayBuffer`: as many exemplars as fit in a number of bytes, in one file, for any loop.

The budget holds after every operation. An update is committed when the call returns (or when its
`transaction` ends): a process killed before leaves the old buffer, one killed after the new. One
writer, any number of readers; a reader goes on with the file it opened until `reload`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from dsc._codecs.base import Codec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._replay.buffer.file import BufferFile
from dsc._replay.buffer.lock import write_lock
from dsc._replay.buffer.meta import BufferMeta
from dsc._replay.buffer.offered import Images, check_offered
from dsc._replay.buffer.opening import Options, check_same, new_meta, slot_to_write
from dsc._replay.buffer.packing import Contents
from dsc._replay.buffer.reader import BufferReader
from dsc._replay.buffer.rows import Rows
from dsc._replay.buffer.spool import Spool
from dsc._replay.buffer.store import part_of, write_buffer
from dsc._replay.buffer.update import Work, capacity, offer, settle
from dsc._replay.buffer.view import View
from dsc._replay.buffer.view_slots import without_unused_slots
from dsc._replay.policies.base import Policy
from dsc._replay.policies.registry import make_policy, policy_from_config
from dsc._schemas import Quality, Task
from dsc._schemas.size import parse_bytes
from dsc._storage.files.lock import Lock
from dsc.errors import UsageError


class ReplayBuffer(BufferReader):
    """Creates a buffer, or opens the one that is there for writing.

    Parameters
    ----------
    path
        The HDF5 file.
    budget
        Bytes, as a number or ``"5MB"``; needed for a new buffer. Payloads, labels, index and
        everything else in the file that grows with exemplars count.
    codec
        What encodes new exemplars: a word as for ``--codec`` (``webp``, ``my.safetensors``,
        ``rgb=webp,depth=jxl``), a codec, or a `CodecSet`. A new buffer's default is ``webp``; one
        that is there goes on with its last. Exemplars keep the codec they came with.
    quality
        1 to 100, or by task as for ``--quality``; 50 by default.
    policy
        ``reservoir``, ``class-balanced``, ``herding``, ``rate-adaptive``, or an object like those
        of `dsc._replay.policies.base`.
    seed
        Of the random keys. Buffers that are to be merged need different ones.
    tasks
        What an exemplar holds, as `Task` values; None for plain RGB images.
    count_decoder
        Whether the weights of the codecs count against the budget too: of their decoders, where
        these can be told apart.
    cache
        Bytes of decoded exemplars to keep in memory, in each process.

    Raises
    ------
    UsageError
        When an option makes no sense, or another writer has the buffer.
    StateMismatchError
        When the buffer that is there was made with other options.
    UnknownCodecError, CorruptArchiveError
        When exemplars of the buffer that is there could not be decoded.
    """

    _lock: Lock | None = None
    _spool: Spool | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        budget: int | str | None = None,
        codec: str | Codec | CodecSet | None = None,
        *,
        quality: int | str | Quality | None = None,
        policy: str | Policy | None = None,
        seed: int | None = None,
        tasks: Sequence[Task] | None = None,
        count_decoder: bool | None = None,
        cache: int | str = 0,
    ) -> None:
        options = Options(budget, policy, seed, tasks, count_decoder)
        super().__init__(path, cache)
        self._lock = write_lock(self.path)
        try:
            part_of(self.path).unlink(missing_ok=True)  # of an update that was killed
            if self.path.exists():
                check_same(self.path, self._view.meta, options)
            else:
                self._create(new_meta(options), codec, quality)
            meta = self._view.meta
            self._policy = (
                policy_from_config(meta.policy) if policy is None else make_policy(policy)
            )
            self.use(codec, quality)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], readonly: bool = True, cache: int | str = 0
    ) -> Self:
        """Open a buffer that is there; any number of processes may read it.

        Raises
        ------
        SourceNotFoundError
            When there is none.
        UnknownCodecError, CorruptArchiveError
            When its exemplars could not be decoded.
        """
        made = cls.__new__(cls)
        BufferReader.__init__(made, path, cache)
        made.reload()
        return made if readonly else cls(path, cache=cache)

    @classmethod
    def merge(
        cls,
        paths: Sequence[str | os.PathLike[str]],
        out: str | os.PathLike[str],
        budget: int | str | None = None,
        seed: int | None = None,
        codec: str | Codec | CodecSet | None = None,
    ) -> Self:
        """Merge buffers that saw different data into what one buffer would have kept.

        Parameters
        ----------
        paths
            Buffers of one policy (reservoir, class-balanced or rate-adaptive) and the same tasks,
            made with different seeds.
        out
            The new buffer, which is given back open for writing.
        budget
            Of the new buffer; by default the largest of theirs.
        seed
            Of what is added later; by default one that follows from theirs.
        codec
            What encodes later, or again for rate-adaptive; needed where its encoder is in none of
            the files. By default that of the first buffer.

        Raises
        ------
        UsageError
            When they do not fit together, or `out` is there.
        """
        from dsc._replay.buffer.merge import absorb, merged_meta

        views = [cls.open(path)._view for path in paths]
        meta = merged_meta([(str(p), v) for p, v in zip(paths, views, strict=True)], budget, seed)
        if Path(out).exists():
            raise UsageError(f"{out} is there already; give another name")
        made = cls.__new__(cls)
        BufferReader.__init__(made, out)
        made._lock = write_lock(made.path)
        try:
            made._policy = policy_from_config(meta.policy)
            for view in views:
                made._new_weights |= view.weight_files()
            state = made._policy.merged([view.state for view in views])
            made._write(Contents(meta, Rows.empty(), state), iter(()))
            if codec is not None:
                made.use(codec)
            with made.transaction():
                for view in views:
                    made._now = absorb(made._view, made._work(), view)
        except BaseException:
            made.path.unlink(missing_ok=True)
            made.close()
            raise
        return made

    def add(
        self,
        images: Images | Mapping[str, Images],
        labels: Any,
        *,
        keys: Sequence[str] | None = None,
        features: Any = None,
    ) -> None:
        """Offer samples; what stays is the policy's choice.

        Parameters
        ----------
        images
            (N, H, W, 3) uint8, or N arrays of any sizes; gray ones become three equal channels. For
            a buffer with tasks, a mapping from each task's name to N native arrays, None where
            a sample lacks it.
        labels
            N integers, in any order.
        keys
            N names, which count against the budget; always or never.
        features
            (N, D), for policy ``herding``.

        Raises
        ------
        UsageError
            When something does not fit; nothing is changed.
        """
        meta = self._writable().meta
        offered = check_offered(meta.tasks, meta.plain, images, labels, keys, features)
        if len(offered):
            with self.transaction():
                self._now = offer(self._view, self._work(), offered)

    def resize(self, budget: int | str) -> None:
        """Change the budget; for a smaller one the policy chooses what goes.

        After a larger one, what was dropped does not come back: a reservoir stays a uniform
        sample of all that was seen, and fills up as more comes.
        """
        meta = self._writable().meta
        meta = meta.model_copy(update={"budget": parse_bytes(budget, "budget")})
        with self.transaction():
            self._now = settle(self._view.having(meta), self._work(), Rows.empty())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several updates one: all are written at its end, or none when it raises.

        Meanwhile this object reads what will be written, and others what was.
        """
        before = self._writable()
        if self._spool is not None or self._file is None:
            yield
            return
        file, base = self._file, int(before.rows.sizes.sum()) + 1
        spool = self._spool = Spool(self.path.parent, base)
        self._now = replace(
            before,
            read=lambda at, size: spool.read(at, size) if at >= base else file.read(at, size),
        )
        try:
            yield
            self._commit()
        except BaseException:
            self._now = before
            self._cache.moved({address: address for address in before.rows.addresses.tolist()})
            raise
        finally:
            self._spool = None
            spool.close()

    def _commit(self) -> None:
        view = without_unused_slots(self._view)
        meta = view.meta.model_copy(update={"generation": view.meta.generation + 1})
        self._write(Contents(meta, view.rows, view.state), view.payloads())

    def _write(self, contents: Contents, payloads: Iterator[bytes]) -> None:
        found = {sha: self._weights(sha) for sha in contents.meta.weight_hashes}
        weights = {sha: data for sha, data in found.items() if data is not None}
        write_buffer(self.path, contents, weights, payloads)
        file = BufferFile(self.path)
        new = dict(
            zip(
                contents.rows.addresses.tolist(),
                file.contents.rows.addresses.tolist(),
                strict=True,
            )
        )
        self._cache.moved(new)
        slots = self._slots_for(file.contents.meta)
        self._file, self._now = file, View(file.contents, file.read, slots)
        self._new_weights = {}

    def _create(self, meta: BufferMeta, codec: str | Codec | CodecSet | None, quality: Any) -> None:
        encoding, current = slot_to_write(meta, codec, quality)
        if encoding is not None:
            self._new_weights = dict(encoding.files)
            meta = meta.model_copy(update={"current": current, "encoders": encoding.encoders})
        capacity(meta, sum(map(len, self._new_weights.values())))
        self._write(Contents(meta, Rows.empty(), {}), iter(()))

    def use(
        self,
        codec: str | Codec | CodecSet | None = None,
        quality: int | str | Quality | None = None,
    ) -> None:
        """Encode what comes from now on with this codec, at this quality, as if opened with them.

        What is there stays as it is. A codec whose decoder is in the buffer already (the same one
        with a newly trained encoder) adds nothing to the file, and goes on at the quality in use.
        """
        view = self._writable()
        encoding, current = slot_to_write(view.meta, codec, quality)
        encoders = view.meta.encoders
        if encoding is not None:
            self._new_weights |= encoding.files
            view.slots.add(encoding)
            encoders = encoders | encoding.encoders
        meta = view.meta.model_copy(update={"current": current, "encoders": encoders})
        self._now = view.having(meta)

    def _work(self) -> Work:
        if self._spool is None:
            raise UsageError("no update is under way")
        return Work(self._policy, self._spool, self._decoder_bytes(self._view.meta))

    def _writable(self) -> View:
        view = self._view
        if self._lock is None or not self._lock.held:
            raise UsageError(
                f"{self.path}: open for reading only (in a worker process, always); write with "
                "ReplayBuffer(path) in one process"
            )
        return view

    def close(self) -> None:
        """Let others write; this object cannot be used any more."""
        self._closed, self._now, self._file = True, None, None
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
