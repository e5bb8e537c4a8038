"""Compiled kernels: loops over pixels and symbols in C, each with a twin in Python.

`compiled` is the extension module that `setup.py` builds from the C files of this room; its
functions are typed in `compiled.pyi`. Whoever calls one asks `in_use` first, and else does the same
in Python: the twin is the reference, and both give the same integers. The kernels are not there
where there was no compiler at installation, and not used with DSC_KERNELS=off in the environment.

A kernel takes arrays that are C-contiguous and of the dtype that it names, checks every shape and
length before it touches one, and works without the interpreter's lock. It raises `TypeError` for an
array of another kind (a mistake of ours), `ValueError` for bytes that are no bitstream.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

try:
    from dsc._kernels import compiled as compiled  # passed on
except ImportError:
    built = False
else:
    built = True

_wanted = os.environ.get("DSC_KERNELS", "").lower() not in ("0", "off", "no")


def in_use() -> bool:
    """Tell whether the compiled kernels are there and wanted."""
    return built and _wanted


@contextmanager
def twins() -> Iterator[None]:
    """Use the twins in Python inside the block, whatever there is: to measure and to compare."""
    global _wanted  # noqa: PLW0603
    before, _wanted = _wanted, False
    try:
        yield
    finally:
        _wanted = before


def description() -> str:
    """Say in a line which kernels are in use."""
    if not built:
        return (
            "kernels in Python: the compiled ones were not built, label maps, masks and learned "
            "codecs take many times as long; install a C compiler, then dsc again"
        )
    if not _wanted:
        return "kernels in Python, as DSC_KERNELS asks"
    return f"compiled kernels ({compiled.instructions()})"
