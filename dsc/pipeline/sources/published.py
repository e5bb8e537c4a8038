"""Layouts of published data sets, recognised by their own names."""

from collections.abc import Callable

from dsc.pipeline.sources.layouts import Layout, Listing

PUBLISHED: dict[str, Callable[[Listing], Layout | None]] = {}


def recognise(listing: Listing) -> Layout | None:
    """Give the published layout that a listing has; None when it has none."""
    for find in PUBLISHED.values():
        found = find(listing)
        if found is not None:
            return found
    return None
