"""The random numbers of a sample: decided by seed, epoch and sample, never by who reads it."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dsc.errors import UsageError

Draw = Callable[[Mapping[str, Any], np.random.Generator], Any]

WORD = (1 << 64) - 1
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def generator(seed: int, epoch: int, index: int, archive: int = 0) -> np.random.Generator:
    """Return the generator that a stream gives a transform for a sample in an epoch.

    For loops of one's own over `dsc.open`, which have no epochs by themselves. It costs 10 µs.

    Parameters
    ----------
    seed, epoch
        Of the order.
    index
        Of the sample, in its archive.
    archive
        Number of the archive in a mixture.

    Returns
    -------
    numpy.random.Generator
        Of Philox (Salmon et al., 2011), whose key is seed and epoch and whose counter begins at the
        sample, so that no two samples share numbers.
    """
    key = np.array([seed & WORD, epoch & WORD], np.uint64)
    counter = np.array([0, 0, index & WORD, archive & WORD], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def drawing(transform: Callable[..., Any]) -> Draw:
    """Return a transform as one of a sample and a generator, which it is given if it takes one.

    It takes one if a parameter is called ``rng``, or if a second one must be given.

    Raises
    ------
    UsageError
        When it must be given more than that.
    """
    try:
        parameters = inspect.signature(transform).parameters
    except (TypeError, ValueError):  # of a builtin
        return lambda sample, _: transform(sample)
    named = parameters.get("rng")
    needed = [
        one.name for one in parameters.values()
        if one.default is one.empty and (one.kind in POSITIONAL or one.kind is one.KEYWORD_ONLY)
    ]  # fmt: skip
    if len([name for name in needed if name != "rng"]) > (1 if named else 2):
        raise UsageError(
            f"transform={_name(transform)} must be given {', '.join(needed)}: a stream gives it "
            "the sample, and a generator if a second parameter asks for one; set the others by "
            "functools.partial"
        )
    if named is not None and named.kind is not named.POSITIONAL_ONLY:
        return lambda sample, rng: transform(sample, rng=rng)
    if len(needed) == 2:
        return transform
    return lambda sample, _: transform(sample)


def _name(transform: Callable[..., Any]) -> str:
    return getattr(transform, "__name__", type(transform).__name__)
