"""`ReplayBuffer`: as many exemplars as fit in a number of bytes, in one file, for any loop.

The budget holds after every operation. An update is committed when the call returns (or when its
`transaction` ends): a process killed before leaves the old buffer, one killed after the new. One
writer, any number of readers; a reader goes on with the file it opened until `reload`.

A buffer is a `BufferReader`, which has the file, and a `BufferWriter` where it is open for writing.
"""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsc._codecs.base import Array, Codec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._replay.buffer.choosing import choose_by
from dsc._replay.buffer.dataset import ExemplarDataset
from dsc._replay.buffer.offered import Images, check_offered
from dsc._replay.buffer.reader import BufferReader
from dsc._replay.buffer.snapshot import BufferReport
from dsc._replay.buffer.update import merged_meta
from dsc._replay.buffer.writer import BufferOptions, BufferWriter, read_only
from dsc._replay.policies.base import Policy
from dsc._schemas import Quality, Task
from dsc.errors import UsageError


class ReplayBuffer:
    """As many exemplars as fit in a number of bytes: creates a buffer, or opens one for writing.

    It is a map-style data set: ``buffer[i]`` is (image, label), the image uint8 (H, W, 3); with a
    `backbone` (embedding, label), float32 (D,); with `tasks` or `pictures` (mapping from task to
    native array, label).

    Parameters
    ----------
    path
        The HDF5 file.
    budget
        Bytes, as a number or ``"5MB"``; needed for a new buffer. Payloads, labels, index and
        everything else in the file that grows with exemplars count.
    codec
        What encodes new exemplars: a word as for ``--codec`` (``webp``, ``my.safetensors``,
        ``rgb=webp,depth=jxl``), a codec, or a `CodecSet`. By default the first images that are
        offered decide, once: ``av1-small`` where their shorter side is at most 256 pixels, ``webp``
        where it is more; embeddings go to ``embedding``. A buffer that is there goes on with its
        last codec. Exemplars keep the codec they came with. A codec that a word names and that can
        learn, as ``embedding`` does, learns from the first `add` of 256 samples or more.
    quality
        1 to 100, or by task as for ``--quality``; 50 by default.
    policy
        ``reservoir``, ``class-balanced``, ``herding``, ``rate-adaptive``, or an object like those
        of `dsc.replay.Policy`.
    seed
        Of the random keys. Buffers that are to be merged need different ones.
    tasks
        What an exemplar holds, as `Task` values; None for plain RGB images.
    count_decoder
        Whether the weights of the codecs, and tables that they have learnt, count against the
        budget too: of their decoders, where these can be told apart.
    cache
        Bytes of decoded exemplars to keep in memory, in each process.
    backbone
        Whose embeddings exemplars are, as for ``dsc append --embed``: ``efficientnet-lite0``,
        ``timm:NAME``. They are offered as vectors, or as pictures that the buffer embeds.
    side
        Pixels of the square that the backbone sees: the whole shorter side of a picture is resized
        to it, as ``--backbone-side`` of ``dsc replay run``. None for what it was trained with.
    pictures
        Which share of the samples, above 0 and below 1, is kept as pictures and not as embeddings.
        The random key of a sample decides, so that resumed and merged buffers are the same.

    Raises
    ------
    UsageError
        When an option makes no sense, or another writer has the buffer.
    StateMismatchError
        When the buffer that is there was made with other options, or its embeddings are by other
        weights than the backbone has here.
    MissingPackageError
        When what the backbone needs is not installed.
    UnknownCodecError, CorruptArchiveError
        When exemplars of the buffer that is there could not be decoded.
    """

    _reader: BufferReader
    _writer: BufferWriter | None = None

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
        backbone: str | None = None,
        side: int | str | None = None,
        pictures: float | None = None,
    ) -> None:
        options = BufferOptions(
            budget, codec, quality, policy, seed, tasks, count_decoder, backbone, side, pictures
        )
        self._reader = BufferReader(path, cache)
        self._writer = BufferWriter(self._reader)
        try:
            self._writer.open(options)
        except BaseException:
            self.close()
            raise

    @classmethod
    def _of(cls, reader: BufferReader, writer: BufferWriter | None = None) -> Self:
        """Make a buffer of its parts."""
        made = cls.__new__(cls)
        made._reader, made._writer = reader, writer
        return made

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], readonly: bool = True, cache: int | str = 0
    ) -> Self:
        """Open a buffer that is there; any number of processes may read it.

        Parameters
        ----------
        path
            The HDF5 file.
        readonly
            False to open it for writing, as ``ReplayBuffer(path)`` does.
        cache
            Bytes of decoded exemplars to keep in memory, in each process.

        Raises
        ------
        SourceNotFoundError
            When there is none.
        UnknownCodecError, CorruptArchiveError
            When its exemplars could not be decoded.
        """
        reader = BufferReader(path, cache)
        reader.reload()
        return cls._of(reader) if readonly else cls(path, cache=cache)

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
        readers = [BufferReader(path) for path in paths]
        others = [reader.snapshot for reader in readers]
        named = [(str(path), other) for path, other in zip(paths, others, strict=True)]
        meta = merged_meta(named, budget, seed)
        if Path(out).exists():
            raise UsageError(f"{out} is there already; give another name")
        reader = BufferReader(out)
        writer = BufferWriter(reader)
        try:
            writer.merge(meta, others, codec)
        except BaseException:
            reader.path.unlink(missing_ok=True)
            writer.close()
            raise
        return cls._of(reader, writer)

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
            a buffer with a backbone also its embeddings, (N, D) floats. For a buffer with tasks, a
            mapping from each task's name to N native arrays, None where a sample lacks it; where
            `pictures` has a share, with or without the embeddings of the pictures.
        labels
            N integers, in any order.
        keys
            N names, which count against the budget; always or never.
        features
            (N, D), for policy ``herding``.

        Raises
        ------
        UsageError
            When something does not fit, or the backbone here has other weights than the one whose
            embeddings the buffer holds; nothing is changed.
        MissingPackageError
            When pictures are to be embedded, and what the backbone needs is not installed.
        """
        writer = self._writable()
        meta = writer.snapshot.meta
        offered = check_offered(meta.tasks, meta.plain, images, labels, keys, features)
        if len(offered):
            writer.add(offered)

    def resize(self, budget: int | str) -> None:
        """Change the budget, bytes or ``"5MB"``; for a smaller one the policy chooses what goes.

        After a larger one, what was dropped does not come back: a reservoir stays a uniform
        sample of all that was seen, and fills up as more comes.
        """
        self._writable().resize(budget)

    def use(
        self,
        codec: str | Codec | CodecSet | None = None,
        quality: int | str | Quality | None = None,
    ) -> None:
        """Encode what comes from now on with this codec, at this quality, as if opened with them.

        Parameters
        ----------
        codec
            As for the buffer itself; None for the one in use.
        quality
            1 to 100, or by task as for ``--quality``; None for the one in use.

        Notes
        -----
        What is there stays as it is. A codec whose decoder is in the buffer already (the same one
        with a newly trained encoder) adds nothing to the file, and goes on at the quality in use.
        """
        self._writable().use(codec, quality)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several updates one: all are written at its end, or none when it raises.

        Meanwhile this object reads what will be written, and others what was.
        """
        with self._writable().transaction():
            yield

    def reload(self) -> None:
        """Go on with the newest state of the file.

        Raises
        ------
        StateMismatchError
            When this object was sent here by another process and the buffer has changed since.
        """
        self._reader.reload()

    def __len__(self) -> int:
        return len(self._reader.snapshot.rows)

    def __repr__(self) -> str:
        return f"<dsc.ReplayBuffer {self.path}: {len(self):,} exemplars, {self.budget:,} bytes>"

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Decode one exemplar: ((H, W, 3) uint8, label), or (task -> native array, label)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, int]]:
        """Decode several exemplars together; `torch.utils.data.DataLoader` calls this."""
        return self._reader.items(indices)

    def dataset(
        self,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        indices: Sequence[int] | None = None,
    ) -> ExemplarDataset:
        """Return the exemplars that are there now, or some of them, with transforms.

        Parameters
        ----------
        transform
            Called with each image, uint8 (H, W, 3), or with a mapping of tasks to arrays.
        target_transform
            Called with each label.
        indices
            Which exemplars; None for all that are there now.
        """
        return ExemplarDataset(self, indices, transform, target_transform)

    def through_codec(self, images: Images) -> tuple[list[Array], NDArray[np.int64]]:
        """Encode and decode images as the buffer would, without keeping them.

        Parameters
        ----------
        images
            As for `add`; where the buffer holds embeddings, these are what comes back.

        Returns
        -------
        The decoded images, and the bytes of each payload, (N,) int64.

        Raises
        ------
        UsageError
            When an exemplar is more than one array.
        """
        now = self._reader.snapshot
        if len(now.meta.tasks) > 1:
            listed = ", ".join(task.name for task in now.meta.tasks)
            raise UsageError(f"{self.path}: exemplars are not one array each ({listed})")
        labels = np.zeros(len(images), int)
        offered = check_offered(now.meta.tasks, True, images, labels, None, None)
        choice = choose_by(now.meta, offered)
        if choice.encoding is not None:
            now.slots.add(choice.encoding)
        return now.having(choice.meta).through_codec(offered)

    def report(self) -> BufferReport:
        """Count the bytes by part, and the exemplars by class and codec."""
        return self._reader.report()

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._reader.path

    @property
    def targets(self) -> NDArray[np.int64]:
        """Labels, (N,) int64."""
        return self._reader.snapshot.rows.labels.copy()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys given with the images, N; empty texts where none were given."""
        return tuple(key.decode() for key in self._reader.snapshot.rows.keys)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What an exemplar holds."""
        return self._reader.snapshot.meta.tasks

    @property
    def budget(self) -> int:
        """The budget in bytes."""
        return self._reader.snapshot.meta.budget

    @property
    def seen(self) -> int:
        """Samples that were ever offered, those of merged buffers included."""
        return self._reader.snapshot.meta.offered

    @property
    def generation(self) -> int:
        """Number of the last update."""
        return self._reader.snapshot.meta.generation

    @property
    def nbytes(self) -> int:
        """Bytes of payloads, labels, index and all else in the file that grows with exemplars."""
        return self._reader.snapshot.nbytes

    @property
    def nbytes_with_decoder(self) -> int:
        """The same and the weights of the codecs: of their decoders, where these are apart."""
        return self.nbytes + self._reader.decoder_bytes(self._reader.snapshot.meta)

    def _writable(self) -> BufferWriter:
        if self._writer is None:
            self._reader.snapshot  # noqa: B018 - a closed one says so
            raise read_only(self.path)
        return self._writer

    def close(self) -> None:
        """Let others write; this object cannot be used any more."""
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_reader": copy.copy(self._reader)}  # what is copied or sent opens the file anew
