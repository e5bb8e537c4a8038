"""Learning rate and guidance by step, and how many steps fit into the minutes asked for.

A function of the step alone: torch's `lr_scheduler` keeps a state, which a resumed run would have
to find in a checkpoint.
"""

import math

WARM_UP = 200
LAST = 0.02  # of the peak
UNGUIDED = 1 / 3  # part of the steps over which guidance fades out


def lr_share(step: int, steps: int) -> float:
    """Return the part of the peak learning rate at a step: a warm-up, then a cosine to `LAST`.

    Parameters
    ----------
    step, steps
        Number of the step from 0, and of all steps.
    """
    warm_up = max(1, min(WARM_UP, steps // 10))
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    return min(1.0, (step + 1) / warm_up) * (LAST + (1 - LAST) * cosine)


def guidance_share(step: int, steps: int) -> float:
    """Return the part of a teacher's guidance at a step: all, then a cosine to nothing.

    Parameters
    ----------
    step, steps
        Number of the step from 0, and of all steps.
    """
    faded = (step / steps - (1 - UNGUIDED)) / UNGUIDED
    return 0.5 * (1 + math.cos(math.pi * min(max(faded, 0.0), 1.0)))


def steps_within(minutes: float, step_s: float, reading_s: float) -> int:
    """Return the number of steps that minutes allow.

    Parameters
    ----------
    step_s
        Seconds that a step takes when its samples are in memory.
    reading_s
        Seconds that reading samples will take beside the steps.
    """
    return max(1, int((minutes * 60 - min(reading_s, minutes * 30)) / max(step_s, 1e-6)))
