"""What lies beside the frames of a recording and is of all of them: time stamps, one a line."""

import posixpath
from collections.abc import Iterable

from dsc._files.tree import FileTree
from dsc._sources.sequences.times import nanoseconds_of_date
from dsc.errors import SampleError


def read_times(tree: FileTree, frames: Iterable[str], times: str) -> dict[int, int] | None:
    """Read the list of times beside a frame: line n, from 0, is of frame n; empty lines of none.

    Parameters
    ----------
    frames
        Paths of the frame's files.
    times
        Where the list lies, from the directory of one of them; empty for nowhere.

    Raises
    ------
    SampleError
        When a line is no date and time.
    """
    directories = dict.fromkeys(path.rpartition("/")[0] for path in frames)
    for directory in directories if times else ():
        path = posixpath.normpath(posixpath.join(directory, times))
        if path.startswith(".."):
            continue
        try:
            data = tree.read(path)
        except FileNotFoundError:
            continue
        lines = data.decode("utf-8", "replace").splitlines()
        return {
            n: _time(line, f"{tree.where(path)}:{n + 1}") for n, line in enumerate(lines) if line
        }
    return None


def _time(line: str, where: str) -> int:
    try:
        return nanoseconds_of_date(line.strip())
    except ValueError as error:
        raise SampleError(
            f"{where}: {error}; mend the file, or leave times out by saying with --sequence-by "
            "how names tell recordings"
        ) from None
