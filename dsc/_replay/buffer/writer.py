"""The one writer of a replay buffer: opens it with its options, and makes each update a new file.

All options are checked against those of the buffer that is there; a codec or quality may change
from one opening to the next, all else may not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dsc._codecs.base import Codec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._replay.buffer.file import BufferFile, part_of, write_buffer
from dsc._replay.buffer.format import BufferContents, BufferMeta, ExemplarRows, SlotRecord
from dsc._replay.buffer.offered import IMAGE, OfferedSamples
from dsc._replay.buffer.reader import BufferReader
from dsc._replay.buffer.slots import Encoding, make_codecs
from dsc._replay.buffer.snapshot import BufferSnapshot
from dsc._replay.buffer.update import Spool, UpdateTools, absorb, capacity, offer, settle
from dsc._replay.policies.base import Policy
from dsc._replay.policies.registry import make_policy, policy_from_config
from dsc._schemas import Quality, Task
from dsc._schemas.size import parse_bytes
from dsc._storage.files.lock import Lock
from dsc.errors import StateMismatchError, UsageError

DEFAULT_POLICY, DEFAULT_CODEC, DEFAULT_QUALITY = "reservoir", "webp", 50
CodecLike = str | Codec | CodecSet
QualityLike = int | str | Quality


@dataclass(frozen=True)
class BufferOptions:
    """Options of `ReplayBuffer`; None where nothing was asked for."""

    budget: int | str | None = None
    codec: CodecLike | None = None
    quality: QualityLike | None = None
    policy: str | Policy | None = None
    seed: int | None = None
    tasks: Sequence[Task] | None = None
    count_decoder: bool | None = None


class BufferWriter:
    """Writes a buffer, and shows its reader what is written.

    Parameters
    ----------
    reader
        Of the buffer's file, which need not be there yet.

    Raises
    ------
    UsageError
        When another writer has the buffer.
    """

    def __init__(self, reader: BufferReader) -> None:
        self._reader = reader
        self._lock = write_lock(reader.path)
        self._policy: Policy | None = None
        self._spool: Spool | None = None

    def open(self, options: BufferOptions) -> None:
        """Begin a buffer, or go on with the one that is there.

        Raises
        ------
        UsageError
            When an option makes no sense.
        StateMismatchError
            When the buffer that is there was made with other options.
        """
        path = self._reader.path
        part_of(path).unlink(missing_ok=True)  # of an update that was killed
        if path.exists():
            check_same(path, self._reader.snapshot.meta, options)
        else:
            self._create(new_meta(options), options)
        config = self._reader.snapshot.meta.policy
        asked = options.policy
        self._policy = policy_from_config(config) if asked is None else make_policy(asked)
        self.use(options.codec, options.quality)

    def merge(
        self, meta: BufferMeta, others: Sequence[BufferSnapshot], codec: CodecLike | None
    ) -> None:
        """Begin a buffer with what others hold, as far as its policy keeps it."""
        self._policy = policy_from_config(meta.policy)
        if not self._policy.mergeable:
            raise UsageError(
                f"{self._policy.name} buffers cannot be merged; use reservoir or class-balanced"
            )
        for other in others:
            self._reader.new_weights |= other.weight_files()
        state = self._policy.merged([other.state for other in others])
        self._write(BufferContents(meta, ExemplarRows.empty(), state), iter(()))
        if codec is not None:
            self.use(codec, None)
        with self.transaction():
            for other in others:
                self._reader.show(absorb(self._reader.snapshot, self._tools(), other))

    def add(self, offered: OfferedSamples) -> None:
        """Offer samples to the policy."""
        with self.transaction():
            self._reader.show(offer(self._reader.snapshot, self._tools(), offered))

    def resize(self, budget: int | str) -> None:
        """Change the budget; the policy chooses what goes."""
        now = self.snapshot
        meta = now.meta.model_copy(update={"budget": parse_bytes(budget, "budget")})
        with self.transaction():
            self._reader.show(settle(now.having(meta), self._tools(), ExemplarRows.empty()))

    def use(self, codec: CodecLike | None, quality: QualityLike | None) -> None:
        """Encode what comes from now on with this codec, at this quality."""
        now = self.snapshot
        encoding, current = slot_to_write(now.meta, codec, quality)
        encoders = now.meta.encoders
        if encoding is not None:
            self._reader.new_weights |= encoding.files
            now.slots.add(encoding)
            encoders = encoders | encoding.encoders
        meta = now.meta.model_copy(update={"current": current, "encoders": encoders})
        self._reader.show(now.having(meta))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several updates one: all are written at its end, or none when it raises."""
        before, file = self.snapshot, self._reader.file
        if self._spool is not None or file is None:
            yield
            return
        base = int(before.rows.sizes.sum()) + 1
        spool = self._spool = Spool(self._reader.path.parent, base)

        def read(at: int, size: int) -> bytes:
            return spool.read(at, size) if at >= base else file.read(at, size)

        self._reader.show(replace(before, read=read))
        try:
            yield
            self._commit()
        except BaseException:
            self._reader.show_again(before)
            raise
        finally:
            self._spool = None
            spool.close()

    @property
    def snapshot(self) -> BufferSnapshot:
        """What the buffer holds now.

        Raises
        ------
        UsageError
            When this process may not write.
        """
        now = self._reader.snapshot
        if not self._lock.held:
            raise read_only(self._reader.path)
        return now

    def close(self) -> None:
        """Let others write."""
        self._lock.release()

    def _create(self, meta: BufferMeta, options: BufferOptions) -> None:
        encoding, current = slot_to_write(meta, options.codec, options.quality)
        if encoding is not None:
            self._reader.new_weights = dict(encoding.files)
            meta = meta.model_copy(update={"current": current, "encoders": encoding.encoders})
        capacity(meta, sum(map(len, self._reader.new_weights.values())))
        self._write(BufferContents(meta, ExemplarRows.empty(), {}), iter(()))

    def _tools(self) -> UpdateTools:
        if self._spool is None or self._policy is None:
            raise UsageError("no update is under way")
        meta = self._reader.snapshot.meta
        return UpdateTools(self._policy, self._spool, self._reader.decoder_bytes(meta))

    def _commit(self) -> None:
        now = self._reader.snapshot.without_unused_slots()
        meta = now.meta.model_copy(update={"generation": now.meta.generation + 1})
        self._write(BufferContents(meta, now.rows, now.state), now.payloads())

    def _write(self, contents: BufferContents, payloads: Iterator[bytes]) -> None:
        reader = self._reader
        found = {sha: reader.weights(sha) for sha in contents.meta.weight_hashes}
        weights = {sha: data for sha, data in found.items() if data is not None}
        write_buffer(reader.path, contents, weights, payloads)
        reader.go_on_with(BufferFile(reader.path), contents.rows.addresses)


def read_only(path: Path) -> UsageError:
    """Say that this object or process may not write."""
    return UsageError(
        f"{path}: open for reading only (in a worker process, always); write with "
        "ReplayBuffer(path) in one process"
    )


def write_lock(path: Path) -> Lock:
    """Take the right to write to a buffer, held until it is released; readers need none.

    Forked children (the workers of a DataLoader) do not hold it: they only read. On a file system
    without locks, an update still replaces the file whole.

    Raises
    ------
    UsageError
        When another writer has it.
    """
    held = Lock.take(path.with_name(f".{path.name}.lock"))
    if held is None:
        raise UsageError(
            f"{path}: another process or object is writing to this buffer; close it, or "
            "open this one with ReplayBuffer.open(path, readonly=True)"
        )
    return held


def new_meta(options: BufferOptions) -> BufferMeta:
    """Begin a buffer.

    Raises
    ------
    UsageError
        When there is no budget, or an option makes no sense.
    """
    if options.budget is None:
        raise UsageError("a new buffer needs budget=, for example ReplayBuffer(path, budget='5MB')")
    seed = options.seed or 0
    plain = options.tasks is None
    tasks = (IMAGE,) if options.tasks is None else tuple(options.tasks)
    names = [task.name for task in tasks if isinstance(task, Task)]
    if not tasks or len(set(names)) != len(tasks):
        raise UsageError(
            "tasks= takes Task values of different names, for example "
            "[Task(name='rgb', kind='image', dtype='uint8', channels=3)]"
        )
    return BufferMeta(
        budget=parse_bytes(options.budget, "budget"),
        count_decoder=bool(options.count_decoder),
        seed=seed,
        seeds=(seed,),
        policy=make_policy(options.policy or DEFAULT_POLICY).config(),
        tasks=tasks,
        plain=plain,
    )


def check_same(path: Path, meta: BufferMeta, options: BufferOptions) -> None:
    """Refuse options that differ from those of the buffer that is there.

    Raises
    ------
    StateMismatchError
        Naming both.
    """
    asked = {
        "budget": None if options.budget is None else parse_bytes(options.budget, "budget"),
        "policy": None if options.policy is None else make_policy(options.policy).config(),
        "seed": options.seed,
        "tasks": None if options.tasks is None else tuple(options.tasks),
        "count_decoder": options.count_decoder,
    }
    for name, value in asked.items():
        found = getattr(meta, name)
        if value is not None and value != found:
            hint = "; resize() changes it" if name == "budget" else ""
            raise StateMismatchError(
                f"{path}: {name}={_shown(value)}, but this buffer was made with {_shown(found)}"
                f"{hint}. Leave the option out, or start another buffer"
            )


def slot_to_write(
    meta: BufferMeta, codec: CodecLike | None, quality: QualityLike | None
) -> tuple[Encoding | None, SlotRecord]:
    """Choose with what new exemplars are encoded.

    Where only one of them is given, the other one stays, but another codec begins at the default
    quality.

    Returns
    -------
    The codecs, None where those of the slot are in the buffer with all they need; and the slot.
    """
    current = meta.current
    if codec is None and current is not None:
        return None, _at(current, quality, meta.tasks)
    codecs = make_codecs(DEFAULT_CODEC if codec is None else codec, meta.tasks)
    encoding = Encoding.of(codecs)
    if current is not None and current.streams == codecs.streams():
        if current.codecs == codecs.records() != encoding.records:
            return None, _at(current, quality, meta.tasks)  # an older version's, whole in the file
        if current.codecs == encoding.records:
            return encoding, _at(current, quality, meta.tasks)
    asked = quality_of(DEFAULT_QUALITY if quality is None else quality, meta.tasks)
    return encoding, encoding.slot(asked)


def _at(record: SlotRecord, quality: QualityLike | None, tasks: Sequence[Task]) -> SlotRecord:
    if quality is None:
        return record
    return record.model_copy(update={"quality": quality_of(quality, tasks)})


def quality_of(quality: QualityLike, tasks: Sequence[Task]) -> Quality:
    """Read a quality: a number from 1 to 100, a text as for ``--quality``, or a value.

    Raises
    ------
    UsageError
        When it is none of these, or a target: a buffer's budget is bytes.
    """
    if not isinstance(quality, Quality):
        quality = Quality.parse(str(quality), [task.name for task in tasks])
    if quality.is_checked:
        raise UsageError("a replay buffer takes qualities, not targets or bounds of the error")
    return quality


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(getattr(item, "name", str(item)) for item in value)
    return str(value)
