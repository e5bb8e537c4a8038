"""Frames that are decoded with their group, before their turn; each leaves when it is taken."""

from collections.abc import Callable, Sequence

from dsc._pipeline.read.decoding import Decoded
from dsc.errors import BitstreamError

FrameKey = tuple[int, int]  # archive of the mixture, index in the archive
Frame = Decoded | BitstreamError
Finish = Callable[[], list[Frame]]


class Together:
    """Samples that are decoded together; whoever wants the first of them waits for all.

    Parameters
    ----------
    indices
        Of the samples in their archive.
    finish
        Waits for them and gives them, or what is wrong with each, in this order.
    """

    def __init__(self, indices: Sequence[int], finish: Finish) -> None:
        self._indices, self._finish = tuple(indices), finish
        self._frames: dict[int, list[Frame]] | None = None  # one that comes twice is there twice

    def take(self, indices: Sequence[int]) -> list[Frame]:
        """Return some of them, each once; what is taken is kept no longer."""
        if self._frames is None:
            self._frames = {index: [] for index in self._indices}
            for index, frame in zip(self._indices, self._finish(), strict=True):
                self._frames[index].append(frame)
        return [self._frames[index].pop() for index in indices]


class FrameBuffer:
    """Frames whose turn comes later.

    Parameters
    ----------
    most
        How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[FrameKey, Together] = {}

    def __contains__(self, key: FrameKey) -> bool:
        return key in self._kept

    @property
    def room(self) -> int:
        """How many more there may be."""
        return max(self._most - len(self._kept), 0)

    def put(self, key: FrameKey, together: Together) -> None:
        """Keep a frame that is being decoded."""
        self._kept[key] = together

    def take(self, key: FrameKey) -> Finish:
        """Return what gives a frame that is here, and keep it no longer."""
        together = self._kept.pop(key)
        return lambda: together.take([key[1]])

    def clear(self) -> None:
        """Forget all frames."""
        self._kept.clear()
