"""From the headers of tars to samples: what lies together and has one name is one.

Names are parted as webdataset does: at the first dot of a file's name. What webdataset passes over
without a word (names without a dot, what begins and ends with ``__``, links) is left out here with
the reason; what it would mix up, two files of one ending or two samples of one name, is refused.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

from dsc._files.passed_over import PassedOver, printable, why_hidden
from dsc._files.remote import raise_failure
from dsc._files.tree import FileTree
from dsc._sources.meaning.options import TaskOptions
from dsc._sources.webdataset.members import Member, scan_members
from dsc._sources.webdataset.places import TAR, Tars
from dsc._sources.webdataset.table import TableBuilder, TarTable
from dsc.errors import SampleError, SourceNotFoundError, UsageError

LAYOUTS = ("keys", "tars")
CONNECTIONS = 8
_PARTS = re.compile(r"((?:.*/|)[^./][^./]*)[.]([^/]+)", re.DOTALL)
_META = re.compile(r"__.*__", re.DOTALL)


class Found(NamedTuple):
    """A sample of a tar: its name, and of each of its files the ending, place and size."""

    name: str
    files: list[tuple[str, int, int]]


def index_tars(tars: Tars, layout: str, options: TaskOptions, rest: PassedOver) -> TarTable:
    """Scan the headers of all tars, several at once where they are remote.

    Parameters
    ----------
    layout
        ``keys``: names are unique over all tars. ``tars``: each tar has names of its own, and its
        path is put before them.
    rest
        Gets what is no file of a sample.

    Raises
    ------
    SampleError
        When a tar is cut or damaged.
    UsageError
        When two files are one field of a sample, or two samples have one name.
    SourceNotFoundError
        When a tar is not there.
    """
    builder = TableBuilder()
    for path, members in _scanned(tars):
        builder.begin_tar(path)
        for sample in _samples(path, members, options, rest):
            builder.add(sample.name, sample.files)
    by_tar = [f"{_stem(path)}/" for path in tars.paths] if layout == "tars" else []
    table = builder.build(by_tar)
    twins = table.twins()
    if twins is not None:
        raise UsageError(_two_samples(table, *twins))
    return table


def _scanned(tars: Tars) -> Iterator[tuple[str, list[Member]]]:
    """Yield the members of each tar, in the order of the tars."""

    def scan(path: str) -> tuple[str, list[Member]]:
        return path, list(_scan(tars.tree, path))

    if tars.tree.local is not None or len(tars.paths) < 2:
        yield from map(scan, tars.paths)
        return
    with ThreadPoolExecutor(min(CONNECTIONS, len(tars.paths))) as pool:
        yield from pool.map(scan, tars.paths)


def _scan(tree: FileTree, path: str) -> Iterator[Member]:
    file: BinaryIO | None = None
    try:
        file = tree.open(path)
        yield from scan_members(file, tree.where(path))
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"webdataset: {tree.where(path)} is not there; --root names it"
        ) from None
    except SampleError:
        raise_failure(file)  # tarfile takes a network that fails for the end of a tar
        raise
    finally:
        if file is not None:
            file.close()


def _samples(
    path: str, members: list[Member], options: TaskOptions, rest: PassedOver
) -> Iterator[Found]:
    """Put the members of a tar together that follow one another and have one name.

    Raises
    ------
    UsageError
        When a sample has two files of one ending, or begins twice.
    """
    began: set[str] = set()
    now: Found | None = None
    for member in members:
        parted = _PARTS.fullmatch(member.name)
        why = _why_not(member, parted, options, path)
        if parted is None or why:
            like = "" if why != member.why_not or not parted else parted[2].lower()
            rest.add_file(f"{path}/{member.name}", why, task=like)
            continue
        name, ending = parted[1], parted[2]
        if now is None or name != now.name:
            if now is not None:
                yield now
            now = Found(name, [])
            if name in began:
                raise UsageError(_comes_again(path, name, member, members))
            began.add(name)
        if any(ending.lower() == other.lower() for other, _, _ in now.files):
            raise UsageError(
                f"{path}: two files {printable(member.name)} (the second at byte {member.offset:,})"
                f": sample {printable(name)} has its field {ending.lower()} twice; make the tar "
                "again with one of them"
            )
        now.files.append((ending, member.offset, member.size))
    if now is not None:
        yield now


def _why_not(
    member: Member, parted: "re.Match[str] | None", options: TaskOptions, path: str
) -> str:
    """Say why a member is no file of a sample; empty where it is one."""
    base = member.name.rpartition("/")[2]
    hidden = why_hidden(base)
    if hidden is not None:
        return hidden
    if _META.fullmatch(member.name):
        return "webdataset passes over names that begin and end with __"
    if parted is None:
        return "its name has no dot, so it is no field"
    pattern = options.ignores(f"{path}/{member.name}") if options.ignore else None
    return f"--ignore {pattern}" if pattern else member.why_not


def _comes_again(path: str, name: str, member: Member, members: list[Member]) -> str:
    first = next(
        one for one in members if (p := _PARTS.fullmatch(one.name)) is not None and p[1] == name
    )
    return (
        f"{path}: sample {printable(name)} begins twice, with {printable(first.name)} at byte "
        f"{first.offset:,} and with {printable(member.name)} at byte {member.offset:,}: files of a "
        "sample must lie together; make the tar again, for example with `tar --sort=name`"
    )


def _two_samples(table: TarTable, first: int, second: int) -> str:
    where = " and ".join(printable(table.where(index)) for index in (first, second))
    same = table.tar(first) == table.tar(second)
    advice = "" if same else ", or say --layout tars: each tar then has names of its own"
    return (
        f"two samples have one name: {where}; rename one of them, leave a tar out with --ignore"
        f"{advice}"
    )


def _stem(path: str) -> str:
    return path[: -len(TAR)] if path.lower().endswith(TAR) else path
