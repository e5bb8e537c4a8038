"""Finds out whether something can be written at a place before the work for it begins."""

import errno
import tempfile
from contextlib import suppress
from pathlib import Path

from dsc.errors import UsageError

_REFUSALS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EINVAL, errno.EOPNOTSUPP,
)  # fmt: skip


def is_refusal(error: OSError) -> bool:
    """Tell whether an error says that this place cannot be written to, now or later."""
    return error.errno in _REFUSALS


def missing_folders(folder: Path) -> list[Path]:
    """List a directory and those above it that are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def check_folder(folder: Path, option: str) -> None:
    """Check that files can be written to a directory, or to one that can be made there.

    It is tried, because permissions do not tell of read-only and special file systems; nothing is
    left behind.

    Parameters
    ----------
    option
        What the user wrote, for the message: ``--out results``.

    Raises
    ------
    UsageError
        When nothing can be written there; the message says why.
    """
    folder = folder.absolute()
    made = missing_folders(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{option}: {folder} is a file; give a directory")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if not is_refusal(error):
            raise
        raise UsageError(
            f"{option}: nothing can be written to {folder} ({error.strerror})"
        ) from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def check_file(path: Path, option: str) -> None:
    """Check that a file can be written, or replaced; see `check_folder`.

    Raises
    ------
    UsageError
        When it cannot be; the message says why.
    """
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a directory; give the name of a file")
    check_folder(path.parent, option)
