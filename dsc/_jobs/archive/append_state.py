"""The state of an archive before an append: untouched, added to but not finished, or just finished.

A plan lies in ``.dsc/plan.json`` from before the first shard until all else is cleared up. It
names the manifest that it adds to, so it tells by itself whether it can still be finished.
"""

from dataclasses import dataclass

from dsc._codecs.encoder import check_same_encoder
from dsc._pipeline.write.commit import clear_work, sweep
from dsc._pipeline.write.commit_append import check_base, check_cards, discard
from dsc._pipeline.write.plan import Plan, differences
from dsc._storage.format.names import PLAN
from dsc._storage.read.archive import Archive
from dsc.errors import CorruptArchiveError, PlanMismatchError


@dataclass(frozen=True)
class Left:
    """What an earlier append has left.

    Attributes
    ----------
    begun
        The plan of one that can be finished.
    added
        The tasks that one has added which was killed right after its commit.
    """

    begun: Plan | None = None
    added: tuple[str, ...] = ()


def look(archive: Archive, restart: bool) -> Left:
    """Look at what an earlier append has left; what can never be finished is cleared away.

    Parameters
    ----------
    restart
        Whether what could be finished is cleared away, too.

    Raises
    ------
    CorruptArchiveError
        When its plan cannot be read.
    """
    try:
        plan = _read_plan(archive)
    except CorruptArchiveError as error:
        if not restart:
            raise CorruptArchiveError(f"{error}; --restart throws it away") from None
        discard(archive)
        return Left()
    if plan is None:
        return Left()
    base = plan.growth.base_sha256 if plan.growth else None
    if base == archive.manifest.sha256 and not restart:
        return Left(begun=plan)
    discard(archive)
    last = archive.manifest.appended[-1:]
    return Left(added=last[0].tasks if last and last[0].plan_sha256 == plan.sha256 else ())


def claim_append(plan: Plan, archive: Archive) -> None:
    """Make the archive's work directory this plan's, unless it is so already.

    Raises
    ------
    PlanMismatchError
        When another append was begun, or this one with other versions of the encoders.
    UsageError
        When a file that an append writes again was edited.
    """
    root = archive.root
    check_cards(archive)
    begun = _read_plan(archive)
    if begun is None:
        clear_work(root)  # records without a plan are nobody's
        root.write(PLAN, plan.to_json().encode())
        check_base(plan, root)
    elif begun.sha256 != plan.sha256:
        found = "\n".join(f"  {line}" for line in differences(plan, begun))
        raise PlanMismatchError(
            f"{root.url}: another append was begun here and not finished:\n{found}\n"
            "Repeat its options to finish it, or throw away what it has made with --restart"
        )
    else:
        check_same_encoder(plan.encoder, begun.encoder, f"{root.url}: an append", "--restart")
    sweep(root, only_parts=True)


def _read_plan(archive: Archive) -> Plan | None:
    root = archive.root
    try:
        return Plan.from_json(root.read(PLAN), root.where(PLAN))
    except FileNotFoundError:
        return None
