"""What a derived map lacks to be as near to the source as a picture of its own: a picture.

The difference from the source in steps of some counts, about 128, clipped to 8 bits, as a picture
of `av1`: ``u16 step``, little-endian, and the picture's bitstream. Steps and quality are those at
which the sum is as near as was asked, in the fewest bytes that a short search finds. Values that
mean "nothing measured" stay.
"""

import struct
from collections.abc import Callable

import numpy as np

from dsc._codecs.base import Array
from dsc._codecs.classical.av1 import Av1Codec
from dsc._schemas import Effort, Task, TaskKind

ZERO = 128
STEPS = 1.2  # a step is the error asked for divided by this: the fewest bytes, within 5 %
LOOKS = 5  # encodes that look less long: a quality is found within 3
QUALITIES = (10, 96)
AROUND = (-2, 0, 2)  # qualities about the one found at which it is encoded as the effort says
STEP = struct.Struct("<H")

Accepts = Callable[[Array], bool]


def encode_difference(
    task: Task, original: Array, derived: Array, aim: float, accepts: Accepts, effort: Effort
) -> bytes | None:
    """Code a picture that makes a map as near to the source as asked.

    Parameters
    ----------
    task
        Of integers of 8 or 16 bits, of 1 or 3 channels.
    aim
        Root mean square in counts that is asked for.
    accepts
        Tells whether a corrected map is near enough.

    Returns
    -------
    bytes | None
        None where nothing that is found is near enough.
    """
    wide = original.astype(np.int64) - derived
    wide[task.invalid_mask(derived)] = 0
    step = max(1, round(aim / STEPS))
    return _search(task, wide, derived, step, accepts, effort)


def apply_difference(task: Task, data: bytes, derived: Array, max_pixels: int) -> Array:
    """Return the corrected map; a new array.

    Raises
    ------
    ValueError, struct.error, BitstreamError
        When the bytes are no picture of this map's size.
    """
    (step,) = STEP.unpack_from(data)
    codec, own = _coder(task, Effort.DEFAULT)
    picture = codec.decode_task(own, data[STEP.size :], max_pixels)
    if picture.shape != derived.shape or not step:
        raise ValueError(f"a picture {picture.shape} in steps of {step}, for {derived.shape}")
    return _sum(task, derived, picture, step)


def can_have_difference(task: Task) -> bool:
    """Tell whether the maps of a task are what pictures of differences can be made of."""
    return task.dtype in ("uint8", "uint16") and task.channels in (1, 3)


def _search(
    task: Task, wide: Array, derived: Array, step: int, accepts: Accepts, effort: Effort
) -> bytes | None:
    """Find the lowest quality that is near enough by halving; encode it as the effort says."""
    picture = (np.rint(wide / step) + ZERO).clip(0, 255).astype(np.uint8)

    def code(quality: int, effort: Effort) -> bytes | None:
        codec, own = _coder(task, effort)
        data = codec.encode_task(own, picture, quality)
        decoded = codec.decode_task(own, data, picture.shape[0] * picture.shape[1])
        return STEP.pack(step) + data if accepts(_sum(task, derived, decoded, step)) else None

    (low, high), best = QUALITIES, None
    for _ in range(LOOKS):
        middle = (low + high) // 2
        data = code(middle, Effort.FAST)
        low, high, best = (middle, high, best) if data is None else (low, middle, data)
    for more in AROUND if best is not None and effort is not Effort.FAST else ():
        data = code(high + more, effort)
        if data is not None:
            return data
    return best


def _sum(task: Task, derived: Array, picture: Array, step: int) -> Array:
    difference = (picture.astype(np.int32) - ZERO) * step
    corrected = (derived + difference).clip(0, np.iinfo(derived.dtype).max).astype(derived.dtype)
    nothing = task.invalid_mask(derived)
    corrected[nothing] = derived[nothing]
    return corrected


def _coder(task: Task, effort: Effort) -> tuple[Av1Codec, Task]:
    own = Task(name=task.name, kind=TaskKind.IMAGE, dtype="uint8", channels=task.channels)
    return Av1Codec([own]).at_effort(effort), own
