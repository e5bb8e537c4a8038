"""What a view is: pictures in, one row each out, and equal pictures always give equal rows."""

from typing import Any, Protocol

from numpy.typing import NDArray

from dsc._replay.scenario.images import Images

Rows = NDArray[Any]
"""(N, ...): pictures (H, W, 3) uint8, or features, float32 or float16."""


class View(Protocol):
    """What a learner is shown of pictures, those it trains on, replays and is tested on alike."""

    def of(self, images: Images) -> Rows:
        """Return a row for each picture.

        Parameters
        ----------
        images
            (N, H, W, 3) uint8.
        """
        ...


class PixelView:
    """Pictures as they are."""

    def of(self, images: Images) -> Rows:
        """Return the pictures."""
        return images
