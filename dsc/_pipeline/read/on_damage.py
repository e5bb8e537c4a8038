"""What is done where a bitstream is damaged, or one that it is predicted from."""

from collections.abc import Sequence

from dsc._schemas import Task, carrying_streams
from dsc._schemas.levels import has_scales
from dsc._storage.files.place import redact
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

NEAREST, COARSER = "nearest", "coarser"
ON_DAMAGE = ("fail", NEAREST, COARSER)
NEAREST_KEY = "__nearest__"
"""What a sample has beside its tasks: of which the frame is another one, how many frames away."""
COARSER_KEY = "__coarser__"
"""What a sample has beside its tasks: of which finer levels are damaged, how many were decoded."""


def check_on_damage(on_damage: str) -> str:
    """Return the option's value.

    Raises
    ------
    UsageError
        When it is none of `ON_DAMAGE`.
    """
    if on_damage not in ON_DAMAGE:
        raise UsageError(f"on_damage={on_damage!r}: one of {', '.join(ON_DAMAGE)}")
    return on_damage


def check_stands_in(archive: Archive, tasks: Sequence[Task], on_damage: str) -> None:
    """Refuse ``nearest`` of tasks whose frames lie in scales, of which each may be damaged.

    Raises
    ------
    UsageError
        When one of the tasks is such a one; the message says what does.
    """
    manifest = archive.manifest
    scaled = {name for one in manifest.codecs if has_scales(one) for name in one.streams}
    own = [t.name for t in tasks if scaled & {*carrying_streams(manifest.streams, t.name)}]
    if on_damage == NEAREST and own:
        raise UsageError(
            f"{redact(archive.root.url)}: on_damage='nearest': frames of {', '.join(own)} lie in "
            "scales, and what is damaged of them leaves coarser frames; read them with "
            "on_damage='coarser'"
        )
