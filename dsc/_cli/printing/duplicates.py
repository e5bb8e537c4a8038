"""Prints near-duplicates: how many there are, which splits share them, and the groups."""

from typing import TYPE_CHECKING

from dsc._cli.printing.output import say, show_table
from dsc._cli.printing.text import counted

if TYPE_CHECKING:
    from dsc._pipeline.read.duplicates import DuplicateGroup, Duplicates

LISTED = 20  # groups, and samples of each; --json lists all
MOST_KEYS = 6


def show_duplicates(found: "Duplicates") -> None:
    """Print counts over all splits, samples that a split shares with another, and groups."""
    of = f"of {counted(found.samples, 'sample')} by {found.task}, from {found.above:g} on"
    if not found.groups:
        say(f"no near-duplicates {of}")
        return
    samples = sum(map(len, found.groups))
    say(f"near-duplicates: {counted(len(found.groups), 'group')} with {samples:,} {of}")
    for (one, other), count in found.across.items():
        say(f"{one}: {counted(count, 'sample')} with near-duplicates in {other}")
    rows = [_row(group) for group in found.groups[:LISTED]]
    show_table(("keys", "samples", "splits"), rows)
    if len(found.groups) > LISTED:
        say(f"and {counted(len(found.groups) - LISTED, 'group')} more; --json lists all")


def _row(group: "DuplicateGroup") -> list[str]:
    more = len(group) - MOST_KEYS
    keys = ", ".join(group.keys[:MOST_KEYS]) + (f" and {more:,} more" if more > 0 else "")
    return [keys, str(len(group)), ", ".join(dict.fromkeys(group.splits))]
