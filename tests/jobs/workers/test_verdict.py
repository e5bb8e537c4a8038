"""What an error means for the work that is left."""

import errno

import pytest

from dsc._jobs.workers.verdict import Verdict, judge
from dsc.errors import (
    CorruptArchiveError,
    PlanMismatchError,
    SampleError,
    SourceNotFoundError,
)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionResetError(), Verdict.RETRY),
        (OSError(errno.EIO, "I/O error"), Verdict.RETRY),
        (OSError(errno.ENOSPC, "full"), Verdict.FATAL),
        (OSError(errno.EDQUOT, "quota"), Verdict.FATAL),
        (SampleError("damaged"), Verdict.FAILED),
        (CorruptArchiveError("the disk lies"), Verdict.FAILED),
        (PlanMismatchError("taken over"), Verdict.FATAL),
        (SourceNotFoundError("gone"), Verdict.FATAL),
        (TypeError("a bug"), Verdict.FATAL),
    ],
)
def test_an_error_means(error: BaseException, verdict: Verdict) -> None:
    assert judge(error) is verdict
