"""dsc's replay buffer as a storage policy of Avalanche; needs the extra ``avalanche``."""

from dsc._replay.avalanche.storage import CompressedExemplarsBuffer

__all__ = ["CompressedExemplarsBuffer"]
