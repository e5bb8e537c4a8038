"""Checks every byte of an archive and lists all damage; it never stops at the first."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from dsc._schemas import FileRecord, Manifest, StreamRecord
from dsc._schemas.group import Lane
from dsc._storage.files.root import Root
from dsc._storage.format.names import MANIFEST, NEXT, OWN, PART, PLAN, WORK, member_name
from dsc._storage.format.pack import Pack
from dsc._storage.read.archive import Archive, read_checked
from dsc._storage.read.lanes import LanePack
from dsc._storage.read.tar_index import READ_BLOCK, idx_of, scan_file
from dsc.errors import ArchiveNotFoundError, CorruptArchiveError, DscError, without_advice

OTHERS = (".git/", ".gitattributes", ".cache/huggingface/")  # of git, and of the Hub's own tools
VerifyProgress = Callable[[int, int], None]  # files checked, files in all


@dataclass(frozen=True)
class Problem:
    """One piece of damage: which file, and what is wrong with it."""

    path: str
    detail: str


def verify_archive(url: object, *, progress: VerifyProgress | None = None) -> list[Problem]:
    """Check all files of an archive against the manifest, the shard records and themselves.

    Sizes and hashes of every file; the structure of every tar; header, table and payload checksums
    of every pack; that all streams of a shard hold the same samples; that what payloads of groups
    need is there; every index against the tar; the manifest's sums; every key unique; no file that
    nothing names, save those of work under way, of which there is a plan in ``.dsc``: an append
    writes shards that no manifest names yet, and a README that only the next one does.

    Parameters
    ----------
    url
        The archive.
    progress
        Called with (files checked, files in all).

    Returns
    -------
    list of Problem
        Empty when the archive is intact.

    Raises
    ------
    ArchiveNotFoundError
        When there is no archive at all.
    """
    root = url if isinstance(url, Root) else Root(str(url))
    try:
        archive = Archive.open(root)
    except ArchiveNotFoundError:
        raise
    except DscError as error:
        return [Problem(MANIFEST, without_advice(error))]
    checks = list(_checks(archive))
    problems: list[Problem] = []
    for done, (path, check) in enumerate(checks, 1):
        try:
            check()
        except (DscError, OSError) as error:
            problems.append(Problem(path, without_advice(error)))
        if progress is not None:
            progress(done, len(checks))
    problems += _wrong_totals(archive) + _strangers(archive) + _repeated_keys(archive)
    if problems and _has_grown(archive):  # what looks wrong may belong to the new generation
        return verify_archive(root, progress=progress)
    return problems


def _has_grown(archive: Archive) -> bool:
    where = archive.root.where(MANIFEST)
    try:
        now = Manifest.from_file_bytes(archive.root.read(MANIFEST), where)
    except (DscError, OSError):
        return False
    return now.generation > archive.manifest.generation


def _checks(archive: Archive) -> Iterator[tuple[str, Callable[[], None]]]:
    for record in archive.manifest.files:
        yield record.path, lambda record=record: _check_small(archive, record)  # type: ignore[misc]
    for codec in archive.manifest.codecs:
        yield MANIFEST, lambda codec=codec: _discard(archive.codec_file(codec))  # type: ignore[misc]
    for number, shard in enumerate(archive.shards):
        yield shard.keys.path, lambda number=number: _discard(archive.keys(number))  # type: ignore[misc]
        for stream, found in shard.streams.items():
            yield found.path, lambda n=number, s=stream, r=found: _check_stream(archive, n, s, r)  # type: ignore[misc]
        for lane in archive.lanes:
            path = shard.streams[lane[0]].path
            yield path, lambda n=number, own=lane: _check_groups(archive, n, own)  # type: ignore[misc]


def _check_small(archive: Archive, record: FileRecord) -> None:
    try:
        read_checked(archive.root, record)
    except CorruptArchiveError:
        coming = coming_files(archive).get(record.path, record)
        if coming == record:
            raise
        read_checked(archive.root, coming)


def coming_files(archive: Archive) -> dict[str, FileRecord]:
    """List the files that the next generation names, while an append is about to commit it."""
    root = archive.root
    try:
        coming = Manifest.from_file_bytes(root.read(NEXT), root.where(NEXT))
    except (DscError, OSError):
        return {}
    if coming.generation != archive.manifest.generation + 1:
        return {}
    return {file.path: file for file in coming.files}


def _discard(value: object) -> None:
    del value


def _check_stream(archive: Archive, number: int, stream: str, record: StreamRecord) -> None:
    """Check one tar; raises what is wrong with it."""
    where = archive.root.where(record.path)
    size = archive.root.size(record.path)
    found = hash_file(archive.root, record)
    if size != record.bytes or found != record.sha256:
        raise CorruptArchiveError(
            f"{where}: sha256 {found[:16]} ({size} bytes), expected {record.sha256[:16]} "
            f"({record.bytes} bytes); {_first_damage(archive, number, stream)}"
        )
    members = scan_file(archive.root, record)
    rebuilt = idx_of(members)
    idx = f"{record.path}.idx"
    if archive.root.exists(idx) and archive.root.read(idx, 0, len(rebuilt) + 1) != rebuilt:
        raise CorruptArchiveError(f"{where}.idx: not what the tar says; delete it, it is rebuilt")
    firsts = archive.keys(number)[:: archive.pack_size(stream)]
    for member, key in zip(members, firsts, strict=False):  # the packs themselves are counted below
        if member.name != member_name(key, stream):
            raise CorruptArchiveError(
                f"{where}: member {member.name!r}, expected {member_name(key, stream)!r}"
            )
    missing = payload_bytes = 0
    for pack in archive.iter_packs(number, stream):
        missing += sum(payload is None for payload in pack.payloads)
        payload_bytes += pack.stored_bytes
    if (missing, payload_bytes) != (record.n_missing, record.payload_bytes):
        raise CorruptArchiveError(
            f"{where}: {missing} missing and {payload_bytes} payload bytes, the record says "
            f"{record.n_missing} and {record.payload_bytes}"
        )


def _check_groups(archive: Archive, number: int, lane: Lane) -> None:
    """Check that what each payload of a group needs is there, in its stream or those before."""
    keys, first = archive.keys(number), archive.shards[number].first_index
    for parts in _intact_packs(archive, number, lane):
        start = parts[0].first_index - first
        names = keys[start : start + len(parts[0].payloads)]
        own = LanePack(lane, [part.payloads for part in parts], None, names.__getitem__)
        for k, key in enumerate(names):
            held = [n for n, part in zip(lane, parts, strict=True) if part.payloads[k] is not None]
            linked = own.linked(k)
            lack = linked[1].lack if isinstance(linked, tuple) else ""
            if len(held) > 1:
                lack = f"it has a payload in {' and in '.join(held)}"
            if lack:
                where = archive.root.where(archive.record(number, held[0]).path)
                raise CorruptArchiveError(f"{where}: sample {key}: {lack}")


def _intact_packs(archive: Archive, number: int, lane: Lane) -> Iterator[tuple[Pack, ...]]:
    """Yield the packs of a lane up to the first that is damaged: its own check lists that."""
    with suppress(DscError, OSError):
        yield from zip(*(archive.iter_packs(number, name) for name in lane), strict=True)


def _first_damage(archive: Archive, number: int, stream: str) -> str:
    """Say which pack is the first damaged one, for the message."""
    try:
        for _ in archive.iter_packs(number, stream):
            pass
    except (DscError, OSError) as error:
        return f"first damage: {without_advice(error)}"
    return "all packs are intact, so the damage lies between them"


def hash_file(root: Root, record: FileRecord) -> str:
    """Return the sha256 of a file, read in blocks."""
    digest = hashlib.sha256()
    at = 0
    while block := root.read(record.path, at, at + READ_BLOCK):
        digest.update(block)
        at += len(block)
        if len(block) < READ_BLOCK or at > record.bytes:
            break
    return digest.hexdigest()


def _wrong_totals(archive: Archive) -> list[Problem]:
    """Compare the manifest's sums with those over the shard records."""
    problems = []
    for stream, totals in archive.manifest.totals.items():
        records = [shard.streams[stream] for shard in archive.shards if stream in shard.streams]
        found = (
            sum(record.payload_bytes for record in records),
            sum(record.n_missing for record in records),
        )
        if found != (totals.payload_bytes, totals.n_missing):
            detail = (
                f"stream {stream}: {totals.payload_bytes} payload bytes and {totals.n_missing} "
                f"missing, the shards have {found[0]} and {found[1]}"
            )
            problems.append(Problem(MANIFEST, detail))
    return problems


def _strangers(archive: Archive) -> list[Problem]:
    """List files that nothing names (only where listing is possible)."""
    named = {MANIFEST, *(record.path for record in archive.manifest.files)}
    for shard in archive.shards:
        named.add(shard.keys.path)
        for record in shard.streams.values():
            named |= {record.path, f"{record.path}.idx"}
    if archive.root.url.startswith("http"):
        return []
    under_way = archive.root.exists(PLAN)
    return [
        Problem(
            path,
            "left by a writer that was killed; remove it"
            if path.endswith(".part")
            else "the archive does not name this file; remove it if it is not yours",
        )
        for path in archive.root.list()
        if path not in named
        and not path.startswith((f"{WORK}/", *OTHERS))
        and not (under_way and (OWN.fullmatch(path) or PART.fullmatch(path)))
    ]


def _repeated_keys(archive: Archive) -> list[Problem]:
    seen: dict[str, int] = {}
    problems = []
    for number, shard in enumerate(archive.shards):
        try:
            keys = archive.keys(number)
        except (DscError, OSError):
            continue  # already listed
        for key in keys:
            if key in seen:
                first = archive.shards[seen[key]].keys.path
                problems.append(Problem(shard.keys.path, f"key {key!r} is also in {first}"))
            seen[key] = number
    return problems
