"""The state of an output before and during a run: untouched, begun, or finished.

A plan lies in ``.dsc/plan.json`` before the first shard is written, so a later run knows whether
what it finds is its own. An old archive is destroyed only by ``--overwrite``, only when the new
plan stands, and manifest first: at no moment does a manifest name files that are gone.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dsc._pipeline.options import ShardingOptions
from dsc._pipeline.write.leftovers import clear_work, remove_leftovers, strangers
from dsc._pipeline.write.plan import Plan, check_same_plan
from dsc._pipeline.write.shard_job import JobRecord, check_record
from dsc._schemas import CodecRecord, Manifest
from dsc._schemas.choice import Choice
from dsc._storage.files.place import absolute
from dsc._storage.files.root import Root
from dsc._storage.files.writable import check_not_hub
from dsc._storage.format.names import LOCK, MANIFEST, PLAN, WORK
from dsc._storage.format.sole_writer import sole_writer
from dsc.errors import CorruptArchiveError, UsageError

HASH_THREADS = 4


@dataclass(frozen=True)
class Output:
    """What lies at an output: the manifest of a finished archive, or the plan of a begun one."""

    root: Root
    manifest: Manifest | None = None
    plan: Plan | None = None

    @property
    def choice(self) -> Choice | None:
        """How the codecs were chosen there, where that was left to dsc."""
        found = self.manifest or self.plan
        return found.choice if found else None

    @property
    def codecs(self) -> tuple[CodecRecord, ...] | None:
        """The codecs there; None where nothing is."""
        found = self.manifest or self.plan
        return found.codecs if found else None

    def sharding(self, asked: ShardingOptions) -> ShardingOptions:
        """Return the sizes asked for, and where none are asked for, those in use there."""
        found = self.manifest or self.plan
        if found is None:
            return asked
        size = found.shard_size if asked.shard_size is None else asked.shard_size
        return ShardingOptions(
            shard_size=size, pack=found.pack_size if asked.pack is None else asked.pack
        )


def open_output(url: str | os.PathLike[str], overwrite: bool) -> Output:
    """Look at an output.

    Parameters
    ----------
    overwrite
        Whether what is there is to be replaced; then it is not read.

    Raises
    ------
    UsageError
        When no archive can be written there.
    CorruptArchiveError, UnsupportedVersionError
        When an archive or plan is there that cannot be read.
    """
    root = writable(url)
    if overwrite:
        return Output(root)
    try:
        manifest = Manifest.from_file_bytes(root.read(MANIFEST), root.where(MANIFEST))
        return Output(root, manifest=manifest)
    except (FileNotFoundError, NotADirectoryError):
        pass
    try:
        return Output(root, plan=Plan.from_json(root.read(PLAN), root.where(PLAN)))
    except (FileNotFoundError, NotADirectoryError):
        return Output(root)


@contextmanager
def sole_output(output: Output, overwrite: bool) -> Iterator[Output]:
    """Hold the lock of an output, and yield what lies there now that nobody else writes.

    A finished archive that is not to be replaced is only read, and takes no lock.

    Raises
    ------
    UsageError
        When another process writes there; or nothing can be written there.
    """
    if output.manifest is not None:
        yield output
        return
    with sole_writer(output.root, "dsc compress"):
        yield open_output(output.root.url, overwrite)


def writable(url: str | os.PathLike[str], option: str = "--out ") -> Root:
    """Return the root of an archive that is to be written.

    Raises
    ------
    UsageError
        When nothing can be written there.
    """
    if not os.fspath(url):
        raise UsageError(f"{option}'': give a directory or s3://")
    root = Root(absolute(os.fspath(url)))
    if root.url.startswith(("http://", "https://")):
        raise UsageError(
            f"{option}{root.url}: HTTP cannot be written to; give a directory or s3://"
        )
    check_not_hub(root, f"{option}{root.url}")
    if root.local is not None and root.local.is_file():
        raise UsageError(f"{option}{root.url} is a file; give a directory")
    return root


def claim(output: Output, plan: Plan, overwrite: bool) -> Manifest | None:
    """Make an output this plan's, unless it is so already.

    Returns
    -------
    Manifest or None
        The manifest when the archive is finished: then there is nothing to do.

    Raises
    ------
    PlanMismatchError
        When the output was made, or begun, by another plan.
    UsageError
        When files lie there that are not of an archive.
    """
    root = output.root
    if output.manifest is not None:
        check_same_plan(plan, output.manifest, root.url)
        _clear_left(root)
        return output.manifest
    if output.plan is not None:
        check_same_plan(plan, output.plan, root.url)
        remove_leftovers(root, only_parts=True)
        return None
    if overwrite:
        root.remove(MANIFEST)
        root.remove(PLAN)
        remove_leftovers(root, keep=[LOCK])
    foreign = strangers(root)
    if foreign:
        raise UsageError(
            f"--out {root.url} holds files that are not of an archive ({', '.join(foreign[:4])}); "
            "give an empty or new directory"
        )
    root.write(PLAN, plan.file_bytes)
    return None


def _clear_left(root: Root) -> None:
    """Clear away what a run has left that was killed right after its commit."""
    if root.list(WORK) and not _is_growing(root):
        # a finished archive is only read: who may not write there, or not now, leaves it
        with suppress(UsageError), sole_writer(root, "dsc compress"):
            clear_work(root)


def _is_growing(root: Root) -> bool:
    """Tell whether an append is under way, or was begun; what it has made is its own affair."""
    try:
        return Plan.from_json(root.read(PLAN), root.where(PLAN)).growth is not None
    except (FileNotFoundError, CorruptArchiveError):
        return False


def finished_shards(plan: Plan, root: Root) -> Iterator[JobRecord]:
    """Yield the records of the shards that are done, every file's hash checked."""
    begun = len(root.list(str(Path(PLAN).parent / "records")))
    if not begun:
        return
    # hashing leaves Python's lock and remote reads wait for the network: threads pay for both
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        for record in pool.map(partial(check_record, plan, root), range(plan.shards)):
            if record is not None:
                yield record
