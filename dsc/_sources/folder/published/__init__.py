"""Layouts of published data sets, recognised from their own names of directories and files.

Each is data: a `dsc._sources.folder.published.form.Form`. ``docs/layouts.md`` lists what is
recognised of each.
"""

from collections.abc import Callable

from dsc._sources.folder.layout import Layout, Listing
from dsc._sources.folder.published.driving import DRIVING
from dsc._sources.folder.published.elsewhere import refuse_elsewhere
from dsc._sources.folder.published.scenes import SCENES
from dsc._sources.folder.published.segments import SEGMENTS
from dsc._sources.folder.published.stamps import STAMPS

PUBLISHED: dict[str, Callable[[Listing], Layout | None]] = {
    form.name: form for form in (*SCENES, *STAMPS, *DRIVING, *SEGMENTS)
}


def recognise(listing: Listing, root: str) -> Layout | None:
    """Return the published layout that a listing of all files has; None when it has none.

    Raises
    ------
    UsageError
        When the files are those of a data set that has a source of its own.
    """
    refuse_elsewhere(listing, root)
    for find in PUBLISHED.values():
        found = find(listing)
        if found is not None:
            return found
    return None
