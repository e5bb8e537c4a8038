"""What an error means for the work that is left: try again, go on without, or stop."""

import errno
from enum import Enum

from dsc.errors import DscError, PlanMismatchError, SelfTestError, UsageError

RETRIES = 3  # beyond the first attempt
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class Verdict(Enum):
    """What an error of one piece of work (a shard) means."""

    RETRY = "it may pass"
    FAILED = "this shard cannot be made; others can"
    FATAL = "no shard can be made"


def judge(error: BaseException) -> Verdict:
    """Tell what an error means for the run.

    A failing disk or network may recover, a full disk does not; a damaged sample is its shard's
    matter; everything else, such as a bug, would meet every shard.
    """
    if isinstance(error, UsageError | PlanMismatchError | SelfTestError):
        return Verdict.FATAL
    if isinstance(error, DscError):
        return Verdict.FAILED
    if isinstance(error, OSError):
        return Verdict.FATAL if is_full_disk(error) else Verdict.RETRY
    return Verdict.FATAL


def may_pass(error: BaseException) -> bool:
    """Tell whether the same work may succeed when it is tried again."""
    return judge(error) is Verdict.RETRY


def is_full_disk(error: BaseException) -> bool:
    """Tell whether an error says that the disk or the quota is full."""
    return isinstance(error, OSError) and error.errno in FULL_DISK
