"""Finds out whether something can be written at a place before the work for it begins."""

import errno
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dsc._storage.files.atomic import atomic_write
from dsc._storage.files.root import Root, check_relative
from dsc.errors import UnsafeArchiveError, UsageError

LONGEST_NAME = 255 - len(f".{'0' * 32}.part")  # bytes; while it is written it bears a longer one

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


def check_root(root: Root, option: str) -> None:
    """Check that files can be written below a root, as far as that is known without writing any.

    Raises
    ------
    UsageError
        When nothing can be written there; the message says why.
    """
    if not root.url:
        raise UsageError(f"{option}'': give a directory")
    if root.url.startswith(("http://", "https://")):
        raise UsageError(f"{option}: HTTP cannot be written to; give a directory or s3://")
    check_not_hub(root, option)
    if root.local is not None:
        check_folder(root.local, option)


def check_not_hub(root: Root, option: str) -> None:
    """Refuse a repository of the Hugging Face Hub: each file would be a commit, which it limits.

    Raises
    ------
    UsageError
        When it is one.
    """
    if is_hub(root):
        raise UsageError(
            f"{option}: the Hub takes files in commits, of which it allows few an hour; give a "
            "directory, and send an archive there with `dsc push`"
        )


def is_hub(root: Root) -> bool:
    """Tell whether a place is a repository of the Hub (a bucket there is a store like others)."""
    return root.url.startswith("hf://") and not root.url.startswith("hf://buckets/")


@dataclass(frozen=True)
class OutputFile:
    """A file that some work ends in, at a path of any name or an fsspec URL; it can be written."""

    place: Path | Root
    name: str

    @classmethod
    def find(cls, out: str | os.PathLike[str], option: str) -> "OutputFile":
        """Check a place, before the work.

        Parameters
        ----------
        option
            The option that names it, for a message: ``--out``.

        Raises
        ------
        UsageError
            When no file of that name can be written there; the message says why.
        """
        text = os.fspath(out)
        named = f"{option} {text}"
        if "://" in text and not text.startswith("file://"):
            folder, _, name = text.rpartition("/")
            root = Root(folder)
            check_root(root, named)
            try:
                check_relative(name)
            except UnsafeArchiveError:
                raise UsageError(
                    f"{named}: on a server, names are of ASCII letters without colons"
                ) from None
            return cls(root, name)
        path = Path(os.path.expanduser(text.removeprefix("file://"))).absolute()
        if not text or path.is_dir() or text.endswith("/"):
            raise UsageError(f"{named} is a directory; give the name of a file")
        check_folder(path.parent, named)
        if len(os.fsencode(path.name)) > LONGEST_NAME:
            raise UsageError(f"{named}: names are at most {LONGEST_NAME} bytes long")
        return cls(path, path.name)

    def write(self, data: bytes) -> None:
        """Write the whole file atomically."""
        if isinstance(self.place, Root):
            self.place.write(self.name, data)
        else:
            atomic_write(self.place, data)
