"""Sizes as people write them: ``5MB``, ``1.5 GiB``, ``4096``.

Ours, because pydantic's ``ByteSize`` takes ``5 MBit`` for 625 kB and knows no ``32Ki``.
"""

import re

from dsc.errors import UsageError

_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(size: int | str, what: str = "size") -> int:
    """Return a number of bytes; ``kB MB GB TB`` are powers of 1000, ``KiB MiB GiB TiB`` of 1024.

    Parameters
    ----------
    what
        Name of the option, for the message.

    Raises
    ------
    UsageError
        When it is negative or not a size.
    """
    match = _SIZE.fullmatch(str(size))
    if match is None:
        raise UsageError(f"{what}={size!r}: write bytes or a size such as 500kB, 32MB or 10GiB")
    value, prefix, binary = match.groups()
    return int(float(value) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])
