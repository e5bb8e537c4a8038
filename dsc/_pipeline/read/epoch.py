"""An epoch's number that a process and the workers that it starts have in common."""

from multiprocessing.context import get_spawning_popen
from multiprocessing.sharedctypes import RawValue
from typing import Any


class SharedEpoch:
    """A number that one process sets, and workers that it has started, however, see from then on.

    A copy that is pickled for other ends than a process that is being started has a number of its
    own.
    """

    def __init__(self, epoch: int = 0) -> None:
        self._number = RawValue("q", epoch)

    def get(self) -> int:
        """Return the number."""
        return int(self._number.value)

    def set(self, epoch: int) -> None:
        """Set the number, everywhere."""
        self._number.value = epoch

    def __getstate__(self) -> dict[str, Any]:
        return {"number": self._number if get_spawning_popen() is not None else self.get()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        number = state["number"]
        self._number = RawValue("q", number) if isinstance(number, int) else number
