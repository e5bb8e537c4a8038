"""Data sets that have sources of their own: a folder of their files is sent there."""

import re

from dsc._sources.folder.layout import Listing
from dsc.errors import UsageError

_VIEW = re.compile(r"point_\d+_view_\d+_domain_\w+\.(png|npy|json)")
_NYU = {"nyu_images", "nyu_depths"}


def refuse_elsewhere(listing: Listing, root: str) -> None:
    """Send the files of Taskonomy, Omnidata and NYUv2 to their own sources.

    Raises
    ------
    UsageError
        When at least half of the files are theirs; the message gives the command.
    """
    total = sum(map(len, listing.values()))
    nyu = sum(len(names) for directory, names in listing.items() if directory in _NYU)
    if 2 * nyu > total and set(listing) >= _NYU:
        raise _elsewhere("NYU Depth v2", "nyuv2", root)
    views = sum(bool(_VIEW.fullmatch(name)) for names in listing.values() for name in names)
    if 2 * views > total:
        raise _elsewhere("Taskonomy or Omnidata", "taskonomy", root)


def _elsewhere(what: str, source: str, root: str) -> UsageError:
    return UsageError(
        f"{root}: these are files of {what}, which has a source that knows its units: "
        f"`dsc compress {source} --root {root}`. To read them as any folder all the same, say "
        "--layout directories"
    )
