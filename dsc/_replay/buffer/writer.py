"""The one writer of a replay buffer: opens it with its options, and makes each update a new file.

All options are checked against those of the buffer that is there; a codec or quality may change
from one opening to the next, all else may not.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dsc._replay.buffer.choosing import Choice, CodecLike, QualityLike, choose, choose_by, learnt
from dsc._replay.buffer.embedded import stays_picture
from dsc._replay.buffer.file import BufferFile, part_of, write_buffer
from dsc._replay.buffer.format import (
    BufferContents,
    BufferMeta,
    ExemplarRows,
    SlotRecord,
    random_keys,
)
from dsc._replay.buffer.offered import OfferedSamples
from dsc._replay.buffer.reader import BufferReader
from dsc._replay.buffer.snapshot import BufferSnapshot
from dsc._replay.buffer.tasks import Side, check_backbone, new_tasks
from dsc._replay.buffer.update import Spool, UpdateTools, absorb, capacity, offer, settle
from dsc._replay.policies.base import Policy
from dsc._replay.policies.registry import make_policy, policy_from_config
from dsc._schemas import Task
from dsc._schemas.size import parse_bytes
from dsc._storage.files.lock import Lock
from dsc.errors import StateMismatchError, UsageError

DEFAULT_POLICY = "reservoir"


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
    backbone: str | None = None
    side: Side = None
    pictures: float | None = None


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
        slots = [slot for other in others for slot in other.meta.slots]
        with self.transaction():
            for other in others:
                self._reader.show(absorb(self._reader.snapshot, self._tools(slots), other))

    def add(self, offered: OfferedSamples) -> None:
        """Offer samples to the policy; the first ones may say with which codecs."""
        with self.transaction():
            self._take(choose_by(self.snapshot.meta, offered))
            meta = self.snapshot.meta
            if meta.pictures is not None:
                random = random_keys(meta.seed, meta.seen, len(offered))
                offered = offered.either(stays_picture(random, meta.pictures))
            self._learn(offered)
            self._reader.show(offer(self._reader.snapshot, self._tools(), offered))

    def _learn(self, offered: OfferedSamples) -> None:
        """Let codecs that are to learn of the first samples do so."""
        now = self.snapshot
        if now.meta.learns:
            room = capacity(now.meta, self._reader.decoder_bytes(now.meta))
            codecs = now.slots.codecs(now.meta.slot_to_fill)
            self._take(learnt(now.meta, codecs, offered, room))

    def resize(self, budget: int | str) -> None:
        """Change the budget; the policy chooses what goes."""
        now = self.snapshot
        meta = now.meta.model_copy(update={"budget": parse_bytes(budget, "budget")})
        with self.transaction():
            self._reader.show(settle(now.having(meta), self._tools(), ExemplarRows.empty()))

    def use(self, codec: CodecLike | None, quality: QualityLike | None) -> None:
        """Encode what comes from now on with this codec, at this quality."""
        self._take(choose(self.snapshot.meta, codec, quality))

    def _take(self, choice: Choice) -> None:
        """Go on with a choice of codecs."""
        now = self.snapshot
        if choice.encoding is not None:
            self._reader.new_weights |= choice.encoding.files
            now.slots.add(choice.encoding)
        self._reader.show(now.having(choice.meta))

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
        choice = choose(meta, options.codec, options.quality)
        meta = choice.meta
        if choice.encoding is not None:
            self._reader.new_weights = dict(choice.encoding.files)
        capacity(meta, sum(map(len, self._reader.new_weights.values())))
        self._write(BufferContents(meta, ExemplarRows.empty(), {}), iter(()))

    def _tools(self, slots: Sequence[SlotRecord] = ()) -> UpdateTools:
        """Return what an update works with; `slots` are those that it may bring."""
        if self._spool is None or self._policy is None:
            raise UsageError("no update is under way")
        meta = self._reader.snapshot.meta
        meta = meta.model_copy(update={"slots": (*meta.slots, *slots)})
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
    tasks, plain = new_tasks(options.tasks, options.backbone, options.side, options.pictures)
    return BufferMeta(
        budget=parse_bytes(options.budget, "budget"),
        count_decoder=bool(options.count_decoder),
        seed=seed,
        seeds=(seed,),
        policy=make_policy(options.policy or DEFAULT_POLICY).config(),
        tasks=tasks,
        plain=plain,
        pictures=options.pictures,
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
        "pictures": options.pictures,
    }
    for name, value in asked.items():
        found = getattr(meta, name)
        if value is not None and value != found:
            hint = "; resize() changes it" if name == "budget" else ""
            raise StateMismatchError(
                f"{path}: {name}={_shown(value)}, but this buffer was made with {_shown(found)}"
                f"{hint}. Leave the option out, or start another buffer"
            )
    check_backbone(path, meta.tasks, options.backbone, options.side)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(getattr(item, "name", str(item)) for item in value)
    return str(value)
