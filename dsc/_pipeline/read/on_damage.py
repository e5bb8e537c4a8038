"""What is done where a bitstream is damaged, or one that it is predicted from."""

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
