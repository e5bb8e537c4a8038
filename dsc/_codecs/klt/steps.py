"""The quantiser's step at each quality, in integers that are the same everywhere."""

ONE = 4096  # a step of the model's unit, the root mean square of all coefficients
OCTAVE = 4  # parts of a doubling, in which scales and steps are compared
# of each quality, in 1/4096 of the unit: 6 at 1, 1.6 at 60, 0.2 at 100, geometric between
STEPS = (
    24576, 24032, 23499, 22979, 22470, 21972, 21485, 21009, 20544, 20088, 19643, 19208, 18783,
    18367, 17960, 17562, 17173, 16792, 16420, 16057, 15701, 15353, 15013, 14680, 14355, 14037,
    13726, 13422, 13125, 12834, 12550, 12272, 12000, 11734, 11474, 11220, 10971, 10728, 10490,
    10258, 10031, 9809, 9591, 9379, 9171, 8968, 8769, 8575, 8385, 8199, 8018, 7840, 7666, 7496,
    7330, 7168, 7009, 6854, 6702, 6554, 6222, 5906, 5607, 5323, 5054, 4798, 4554, 4324, 4105, 3897,
    3699, 3512, 3334, 3165, 3005, 2853, 2708, 2571, 2441, 2317, 2200, 2088, 1982, 1882, 1787, 1696,
    1610, 1529, 1451, 1378, 1308, 1242, 1179, 1119, 1062, 1009, 957, 909, 863, 819,
)  # fmt: skip


def step_number(quality: int) -> int:
    """Return a step's place among quarters of octaves: the floor of 4 log2 of the step."""
    power: int = STEPS[quality - 1] ** OCTAVE
    return power.bit_length() - 1 - OCTAVE * (ONE.bit_length() - 1)
