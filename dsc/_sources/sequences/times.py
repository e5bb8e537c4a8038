"""Time stamps as integer nanoseconds, read from their decimal text: never through a float."""

import calendar
import re
from datetime import datetime

SECOND = 1_000_000_000  # nanoseconds
STAMP = r"\d+(?:\.\d+)?"
_UNITS = {13: 1_000_000, 16: 1_000, 19: 1}  # digits of a whole number, and its unit in nanoseconds
_DECIMAL = re.compile(r"(\d+)(?:\.(\d+))?")


def nanoseconds(stamp: str) -> int:
    """Read a time stamp.

    One with a decimal point is in seconds; a whole number of 13, 16 or 19 digits is in milli-,
    micro- or nanoseconds, as the clocks of computers count them, any other in seconds.

    Raises
    ------
    ValueError
        When it is none, or says less than a nanosecond.
    """
    found = _DECIMAL.fullmatch(stamp)
    if found is None:
        raise ValueError(f"{stamp!r} is no time stamp; seconds such as 12.5 are, or nanoseconds")
    whole, fraction = found[1], (found[2] or "").rstrip("0")
    if found[2] is None and len(whole) in _UNITS:
        return int(whole) * _UNITS[len(whole)]
    if len(fraction) > 9:
        raise ValueError(f"{stamp!r} says less than a nanosecond")
    return int(whole) * SECOND + int(fraction.ljust(9, "0"))


def nanoseconds_of_date(text: str) -> int:
    """Read a date and time of day such as ``2011-09-26 13:02:25.964389445``, from 1970 on.

    Raises
    ------
    ValueError
        When it is none, or says less than a nanosecond.
    """
    whole, _, fraction = text.partition(".")
    try:
        date = datetime.fromisoformat(whole)
    except ValueError:
        raise ValueError(f"{text!r} is no date and time such as 2011-09-26 13:02:25.5") from None
    return calendar.timegm(date.timetuple()) * SECOND + nanoseconds(f"0.{fraction or 0}")
