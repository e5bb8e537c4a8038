"""The plan of a compression: everything that determines an archive's bytes, hashed.

Two runs of one plan give the same bytes in every file, wherever and in how many pieces they run.
What only decides whether a run succeeds (workers, retries, what happens to samples that cannot be
read) is therefore not part of it.

Sizes that nobody gives are chosen in `dsc._pipeline.write.sizes`.

Which shards it writes is arithmetic. A dataset that is compressed for the first time is one run of
equal shards. An archive that grows adds a run behind those of its split; a new task follows the
runs that stand, one shard of new streams for each shard that is there. Jobs are numbered from 0
over all runs; within a split, shards keep the numbers that they have in the archive.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dsc._codecs.encoder import check_same_encoder, effort_of
from dsc._pipeline.choose.coding import Coding, encoder_versions
from dsc._pipeline.options import ShardingOptions
from dsc._pipeline.write.packing import (
    Sizes,
    look_at_payloads,
    pack_short,
    pack_streams,
    packed_sizes,
    resolve_columns,
)
from dsc._pipeline.write.samples import CodedSample, Probed
from dsc._pipeline.write.sizes import (
    MAX_COLUMN_SHARD,
    MAX_SHARD,
    Advance,
    Coder,
    choose_pack_size,
    choose_shard_size,
    code_here,
    first_indices,
    groups_to_probe,
    probe_indices,
    stream_sizes,
)
from dsc._schemas import (
    FORMAT_VERSION,
    CodecRecord,
    Manifest,
    Quality,
    ShardRecord,
    Stream,
    Task,
)
from dsc._schemas.base import Schema, canonical_json
from dsc._schemas.choice import Choice
from dsc._schemas.manifest import SHA256, SPLIT, format_version_of
from dsc._sources.base import Source, origin_of, splits_of
from dsc._storage.format.keys import hash_keys, new_factor
from dsc.errors import PlanMismatchError, UsageError
from dsc.version import __version__

USUAL = ShardingOptions()
BLOCK = 1 << 16
OTHER = "other"
LONGEST_SPLIT = 64  # it stands in the names of files
OTHER_CHOICE = "choice: what --codec auto was asked, or what it measured"
OTHER_DATA = "source: the data, its place or its options (they are known only by hash)"


@dataclass(frozen=True)
class ShardPlace:
    """One shard.

    Attributes
    ----------
    n
        Its number within the split.
    first_index
        Index in the split of its first sample.
    indices
        Where its samples stand in the source of the plan.
    """

    split: str
    n: int
    first_index: int
    indices: range


class Run(Schema):
    """Shards of one split that follow each other, all of one size but for the last.

    Attributes
    ----------
    n, first_index
        Number of the first shard, and index of its first sample, within the split.
    samples
        In all shards together.
    """

    split: str = Field(pattern=SPLIT)
    n: int = Field(default=0, ge=0)
    first_index: int = Field(default=0, ge=0)
    samples: int = Field(ge=1)
    shard_size: int = Field(ge=1)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.samples // self.shard_size)

    def place(self, k: int, start: int) -> ShardPlace:
        """Return shard `k` of the run, whose samples stand from `start` on in the source."""
        first = k * self.shard_size
        stop = min(first + self.shard_size, self.samples)
        indices = range(start + first, start + stop)
        return ShardPlace(self.split, self.n + k, self.first_index + first, indices)


class Adds(StrEnum):
    """What an append adds."""

    SAMPLES = "samples"
    TASKS = "tasks"


class Growth(Schema):
    """What a plan adds to an archive that is there.

    Attributes
    ----------
    base_sha256
        The hash that the archive's manifest states of itself: the archive must be this very one.
    generation
        The generation that the plan makes.
    first_slot
        Slot of the plan's first codec in the archive's list.
    runs
        The shards that are written, or added to.
    """

    adds: Adds
    base_sha256: str = Field(pattern=SHA256)
    generation: int = Field(ge=2)
    first_slot: int = Field(default=0, ge=0)
    runs: tuple[Run, ...] = Field(min_length=1)


BESIDE_THE_HASH: Mapping[str, Any] = {"encoder": {}, "noise": {}}


class Plan(Schema):
    """What is compressed, and how.

    Attributes
    ----------
    created_by
        Version of dsc: another one may write other bytes.
    source
        What `Source.describe` gave.
    split, samples
        Name of the split, and samples in all.
    splits
        Samples of each split, in the source's order, where the source has several.
    shard_size, pack_size
        Samples a shard and a pack; the last ones may hold fewer.
    choice
        How the codecs were chosen, where that was left to dsc.
    growth
        What it adds to an archive that is there; None when it makes a new one.
    encoder
        Versions of the libraries that encode, by name; no part of the hash, because a finished
        archive is the same plan's whatever made it.
    noise
        What was said of noisy pictures, and of files that are none, by task, for who goes on; no
        part of the hash either.
    """

    format_version: int = FORMAT_VERSION
    created_by: str
    source: dict[str, Any]
    split: str = Field(pattern=SPLIT)
    samples: int = Field(ge=1)
    splits: Mapping[str, int] = Field(default_factory=dict)
    tasks: tuple[Task, ...] = Field(min_length=1)
    streams: tuple[Stream, ...]
    codecs: tuple[CodecRecord, ...]
    quality: Quality
    shard_size: int = Field(ge=1)
    pack_size: int = Field(ge=1, le=1 << 20)
    choice: Choice | None = None
    growth: Growth | None = None
    encoder: Mapping[str, str] = Field(default_factory=dict)
    noise: Mapping[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what was not asked for: plans without it keep their hashes."""
        whole: dict[str, Any] = handler(self)
        unset: dict[str, Any] = {"choice": None, "growth": None, "splits": {}, **BESIDE_THE_HASH}
        return {k: v for k, v in whole.items() if k not in unset or v != unset[k]}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values; what was worked out of the old ones is not copied."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("sha256", "runs", "file_bytes"):
            copied.__dict__.pop(name, None)
        return copied

    @cached_property
    def file_bytes(self) -> bytes:
        """The plan as it lies in an output."""
        return self.to_json().encode()

    @cached_property
    def sha256(self) -> str:
        """Hash of the canonical JSON without the encoder and what was warned of."""
        if not self.encoder and not self.noise:
            return hashlib.sha256(self.file_bytes).hexdigest()
        return self.model_copy(update=BESIDE_THE_HASH).sha256

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The shards that it writes."""
        if self.growth is not None:
            return self.growth.runs
        size = self.shard_size
        return tuple(
            Run(split=split, samples=n, shard_size=size) for split, n in self.sizes.items()
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Samples of each split."""
        return dict(self.splits) or {self.split: self.samples}

    @property
    def shards(self) -> int:
        """Number of shards."""
        return sum(run.shards for run in self.runs)

    @property
    def first_slot(self) -> int:
        """Slot, in the archive's list, of its first codec."""
        return self.growth.first_slot if self.growth else 0

    def place(self, n: int) -> ShardPlace:
        """Say which shard job `n` writes, and of which samples."""
        return find_place(self.runs, n)

    def shard_of(self, index: int) -> int:
        """Return the number of the shard job that writes a sample of the source."""
        first = 0
        for run in self.runs:
            if index < run.samples:
                return first + index // run.shard_size
            first, index = first + run.shards, index - run.samples
        raise IndexError("there are not so many samples")

    def range(self, n: int) -> range:
        """Return the indices of the samples of a shard."""
        return self.place(n).indices


@dataclass(frozen=True)
class Planned:
    """A plan, and the coding that carries it out: with the dictionaries that the plan chose."""

    plan: Plan
    coding: Coding


def make_plan(
    source: Source,
    coding: Coding,
    sharding: ShardingOptions = USUAL,
    split: str | None = None,
    on_error: str = "fail",
    probed: Probed | None = None,
    code: Coder = code_here,
    advance: Advance = lambda _: None,
    is_checked: bool = False,
    columns: Sequence[str] | str | None = None,
) -> Planned:
    """Plan the compression of a source, and choose how packs compress.

    Parameters
    ----------
    sharding
        Samples a shard and a pack; chosen (`sizes`) where None. A pack is never larger
        than a shard.
    split
        Name of the split; by default the source's own, or ``train``.
    on_error
        Whether a probed sample that cannot be encoded is an error (``fail``) or passed over.
    probed
        Gets the probed samples, so that nobody encodes them again.
    code, advance
        What encodes them, and what it tells of each.
    is_checked
        Whether `check_plannable` has passed already; it lists every key.
    columns
        Tasks whose shards are to be one pack each, names or aliases.

    Raises
    ------
    UsageError
        When a size or the split is out of range, the source is empty, or a task can be no column.
    UnknownTaskError
        When a column is not there.
    SampleError
        When a probed sample cannot be read or encoded, unless `on_error` is ``skip``.
    """
    samples = len(source)
    named, splits = split, {} if split else named_splits(source)
    split = split or next(iter(splits), "train")
    shard_size, pack_size = sharding.shard_size, sharding.pack
    if not is_checked:
        check_plannable(source, sharding, named)
    resolved = resolve_columns(columns, coding)
    packed = list(coding.codec_set.packed())
    payloads = look_at_payloads(source, coding, on_error, packed) if packed else {}
    follows = coding.codec_set.dependent_streams
    coded: list[CodedSample] = []
    if shard_size is None or pack_size is None or follows:
        probed = Probed() if probed is None else probed
        asked = ShardingOptions(shard_size=sharding.shard_size) if follows else sharding
        indices = indices_to_probe(source, coding.is_ordered, asked, named)
        groups = groups_to_probe(
            source, coding, indices, splits or {split: samples}, shard_size, pack_size
        )
        code(source, coding, on_error, groups, probed, advance)
        coded = [probed.coded[index] for group in groups for index in group]
        found = stream_sizes(coded, coding.codec_set.lanes)
        found |= packed_sizes(payloads, coding)
        most = MAX_COLUMN_SHARD if len(packed) == len(coding.codec_set.slots) else MAX_SHARD
        together = coding.codec_set.group_size
        usual = choose_shard_size(samples, found, most, together)
        shard_size = shard_size or max(usual, pack_size or 1)
        largest = max(found.values(), default=0.0)
        pack_size = pack_size or choose_pack_size(largest, together)
    pack_size = min(pack_size, shard_size)
    sizes = Sizes(shard_size, pack_size, samples)
    coding, streams = pack_streams(coding, payloads, sizes, resolved)
    streams = pack_short(streams, follows, coded, sizes)
    codecs = coding.codec_set.records()
    plan = Plan(
        format_version=format_version_of(coding.tasks, streams),
        created_by=created_by(),
        source=source.describe(),
        split=split,
        samples=samples,
        splits=splits if len(splits) > 1 else {},
        tasks=coding.tasks,
        streams=streams,
        codecs=codecs,
        quality=coding.quality,
        shard_size=shard_size,
        pack_size=pack_size,
        choice=None if coding.choice is None else coding.choice.stored(),
        encoder=encoder_versions(codecs, coding.quality),
    )
    return Planned(plan, coding)


def check_plannable(source: Source, sharding: ShardingOptions, split: str | None) -> None:
    """Refuse what can never be planned: no samples, two of one key, sizes out of range.

    Raises
    ------
    UsageError
        When it is so.
    """
    if not len(source):
        raise UsageError(f"source {source.name} holds no sample; point --root at the data")
    _check_sizes(sharding.shard_size, sharding.pack)
    check_split(next(iter(named_splits(source)), "train") if split is None else split)
    check_keys(source)


def indices_to_probe(
    source: Source, is_ordered: bool, sharding: ShardingOptions, split: str | None
) -> list[int]:
    """Choose the samples by which sizes are chosen; none where all sizes are given.

    Parameters
    ----------
    is_ordered
        Whether the bytes of a sample depend on those before it.
    split
        The one that all samples go to; None for the source's own.
    """
    if sharding.shard_size is not None and sharding.pack is not None:
        return []
    if not is_ordered:
        return probe_indices(len(source))
    first = next(iter((splits_of(source) if split is None else {}).values()), len(source))
    return first_indices(len(source), first, sharding.shard_size)


def named_splits(source: Source) -> dict[str, int]:
    """Return the splits of a source, as an archive names them: what is in none is in `OTHER`."""
    return {split or OTHER: size for split, size in splits_of(source).items()}


def check_keys(source: Source) -> None:
    """Refuse a source two of whose samples have one key.

    Raises
    ------
    UsageError
        Naming the key and where both samples come from.
    """
    count, factor = len(source), new_factor()
    parts = [
        hash_keys([source.key(index) for index in range(start, min(start + BLOCK, count))], factor)
        for start in range(0, count, BLOCK)
    ]
    hashes = np.concatenate(parts)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    for at in same.tolist():
        first, second = sorted((int(order[at]), int(order[at + 1])))
        if source.key(first) == source.key(second):
            names = " and ".join(_whence(source, index) for index in (first, second))
            raise UsageError(
                f"two samples have the key {source.key(first)!r}: {names}; rename one, or leave it "
                "out with --ignore"
            )


def _whence(source: Source, index: int) -> str:
    found = origin_of(source, index)
    return f"sample {index}" if found is None else next(iter(found.files.values()), found.name)


def _check_sizes(shard_size: int | None, pack_size: int | None) -> None:
    if shard_size is not None and shard_size < 1:
        raise UsageError(f"--shard-size {shard_size}: at least 1 sample")
    if pack_size is not None and not 1 <= pack_size <= 1 << 20:
        raise UsageError(f"--pack {pack_size}: 1 to {1 << 20} samples")


def check_split(split: str) -> None:
    """Refuse a name that no split can have, with a `UsageError`."""
    if not re.fullmatch(SPLIT, split) or len(split) > LONGEST_SPLIT:
        raise UsageError(
            f"--split {split!r}: a split's name is of a to z, 0 to 9 and _, begins with a letter "
            f"or digit, and has at most {LONGEST_SPLIT} of them; for example train"
        )


def created_by() -> str:
    """Name this dsc and its version."""
    return f"dsc {__version__}"


def check_same_plan(plan: Plan, old: Plan | Manifest, where: str) -> None:
    """Check that an output was made, or begun, by this plan.

    Raises
    ------
    PlanMismatchError
        When it was not, the message lists each field that differs, old and new; or when it was
        begun, and with other versions of the encoders.
    """
    old_sha256 = old.sha256 if isinstance(old, Plan) else old.plan_sha256
    if old_sha256 == plan.sha256:
        if isinstance(old, Plan):
            check_same_encoder(plan.encoder, old.encoder, where, "--overwrite")
        return
    found = "\n".join(f"  {line}" for line in differences(plan, old))
    begun = isinstance(old, Plan)
    raise PlanMismatchError(
        f"{where} holds {'part of ' if begun else ''}an archive made by another plan:\n{found}\n"
        "Choose another --out, repeat the earlier options, or replace it with --overwrite"
        + ("" if begun else "; to add samples or a task to it, use dsc append")
    )


def differences(plan: Plan, old: Plan | Manifest) -> list[str]:
    """List the fields in which a plan differs from an earlier one, as ``field: old -> new``."""
    new_json = plan.model_copy(update=BESIDE_THE_HASH).model_dump(mode="json")
    if isinstance(old, Plan):
        old_json = old.model_copy(update=BESIDE_THE_HASH).model_dump(mode="json")
    else:  # a finished archive remembers less, and the rest by hash
        old_json = old.model_dump(mode="json", include={*new_json, "choice"} - {"source"})
        old_json |= {"source": {"name": old.source}}
        old_json |= {"split": ",".join(old.splits), "samples": sum(old.splits.values())}
        new_json |= {"split": ",".join(plan.sizes)}
        for json in (new_json, old_json):
            json.pop("splits", None)
        new_json["source"] = {"name": plan.source.get("name")}
    for codec in (*new_json["codecs"], *old_json["codecs"]):
        codec["config"] = {**codec["config"], "effort": effort_of(codec["id"], codec["config"])}
    other_choice = old_json.pop("choice", None) != new_json.pop("choice", None)
    return [*_compare("", old_json, new_json), *[OTHER_CHOICE] * other_choice] or [OTHER_DATA]


def _compare(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _compare(f"{path}.{name}".lstrip("."), old.get(name), new.get(name))
    elif isinstance(old, list) and isinstance(new, list):
        both = [_by_name(old), _by_name(new)]
        if list(both[0]) != list(both[1]):
            yield f"{path}: {', '.join(both[0]) or 'none'} -> {', '.join(both[1]) or 'none'}"
        else:
            for name in both[0]:
                yield from _compare(f"{path}.{name}", both[0][name], both[1][name])
    elif old != new:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _by_name(values: list[Any]) -> dict[str, Any]:
    """Key a list's entries by the name they carry, so that a message can name them."""
    named = [value if isinstance(value, dict) else {} for value in values]
    return {
        str(entry.get("name") or entry.get("id") or _short(value)): value
        for entry, value in zip(named, values, strict=True)
    }


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def find_place(runs: Iterable[Run], n: int) -> ShardPlace:
    """Return the place of job `n`.

    Raises
    ------
    IndexError
        When the runs have no such shard.
    """
    k, start = n, 0
    for run in runs:
        if 0 <= k < run.shards:
            return run.place(k, start)
        k -= run.shards
        start += run.samples
    raise IndexError(f"shard {n}: there are not so many")


def runs_of(shards: Sequence[ShardRecord]) -> tuple[Run, ...]:
    """Put the shards of an archive, in their order, into as few runs as can be."""
    runs: list[Run] = []
    for shard in shards:
        last = runs[-1] if runs else None
        if last is not None and _continues(last, shard):
            runs[-1] = last.model_copy(update={"samples": last.samples + shard.samples})
        else:
            runs.append(
                Run(
                    split=shard.split,
                    n=shard.n,
                    first_index=shard.first_index,
                    samples=shard.samples,
                    shard_size=shard.samples,
                )
            )
    return tuple(runs)


def next_run(shards: Sequence[ShardRecord], split: str, samples: int, shard_size: int) -> Run:
    """Return the run of new samples that follows what a split holds; the split may be new."""
    own = [shard for shard in shards if shard.split == split]
    return Run(
        split=split,
        n=len(own),
        first_index=sum(shard.samples for shard in own),
        samples=samples,
        shard_size=shard_size,
    )


def _continues(run: Run, shard: ShardRecord) -> bool:
    whole = run.samples % run.shard_size == 0
    follows = (shard.split, shard.n) == (run.split, run.n + run.shards)
    return whole and follows and shard.samples <= run.shard_size
