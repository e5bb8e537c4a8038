"""What lies where a copy goes: nothing, an earlier state of the same archive, or another one."""

from dataclasses import dataclass

from dsc._copies.contents import Contents, is_whole_archive
from dsc._schemas import Manifest
from dsc._storage.files.place import redact
from dsc._storage.files.root import Root
from dsc._storage.format.names import MANIFEST
from dsc.errors import CorruptArchiveError, PlanMismatchError, UnsupportedVersionError


@dataclass(frozen=True)
class Target:
    """A place, as a message calls it, and the manifest that is there."""

    option: str
    manifest: Manifest | None = None

    @property
    def tasks(self) -> set[str]:
        """The tasks that it holds."""
        return {task.name for task in self.manifest.tasks} if self.manifest else set()

    @property
    def streams(self) -> set[str]:
        """The streams that it holds."""
        return {stream.name for stream in self.manifest.streams} if self.manifest else set()

    @property
    def is_whole(self) -> bool:
        """Whether there is an archive that is no copy of some tasks."""
        return self.manifest is not None and is_whole_archive(self.manifest)

    def replaced(self, contents: Contents) -> set[str]:
        """List files that its manifest names and that the copy has with other bytes.

        Before one of them is written the manifest must go. Of one archive these are records only:
        shards and codecs are never written again.
        """
        named = contents.named()
        there = self.manifest.files if self.manifest else ()
        return {file.path for file in there if named.get(file.path, file) != file}


def look_at(root: Root, option: str, ours: Manifest, overwrite: bool | None = None) -> Target:
    """Read the manifest of a place where a copy of an archive is to go.

    Parameters
    ----------
    option
        How the place is called in messages.
    ours
        The manifest of the archive.
    overwrite
        Whether another archive may be there; then it counts as none. None where nobody can say so.

    Raises
    ------
    PlanMismatchError
        When it holds another archive, or a state of this one that is not an earlier one.
    """
    option = redact(option)
    try:
        data = root.read(MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return Target(option)
    advice = "give another place" if overwrite is None else "give another place, or --overwrite it"
    try:
        found = Manifest.from_file_bytes(data, root.where(MANIFEST))
    except (CorruptArchiveError, UnsupportedVersionError) as error:
        if overwrite:
            return Target(option)
        raise PlanMismatchError(
            f"{option}: there is an archive that cannot be read ({error}); {advice}"
        ) from None
    problem = _differs(found, ours)
    if problem and not overwrite:
        raise PlanMismatchError(f"{option}: {problem}; {advice}")
    return Target(option, None if problem else found)


def _differs(found: Manifest, ours: Manifest) -> str:
    if found.plan_sha256 != ours.plan_sha256:
        return (
            f"it holds another archive (of {found.source}, plan {found.plan_sha256[:12]}; this one "
            f"is {ours.plan_sha256[:12]})"
        )
    if ours.appended == found.appended[: len(ours.appended)] != found.appended:
        return (
            f"it has grown by itself (generation {found.generation}); this archive is generation "
            f"{ours.generation}, and nothing older is put in its place"
        )
    if ours.appended[: len(found.appended)] != found.appended:
        return (
            f"it has grown by itself (generation {found.generation}) and is no copy of this "
            "archive any more"
        )
    more = [task.name for task in found.tasks if task not in ours.tasks]
    if more or (is_whole_archive(found) and not is_whole_archive(ours)):
        has = f"has {', '.join(more)}, which this one lacks" if more else "is the whole archive"
        return f"what is there {has}; a copy of some tasks is not put in its place"
    return ""
