"""What is done where a frame of a recording is damaged, or one that it is predicted from."""

from dsc.errors import UsageError

NEAREST = "nearest"
ON_DAMAGE = ("fail", NEAREST)
NEAREST_KEY = "__nearest__"
"""What a sample has beside its tasks: of which the frame is another one, how many frames away."""


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
