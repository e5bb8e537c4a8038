"""Selection of a replay buffer's codec and quality by proxies, without a sweep.

``select_codec`` is the whole of it; `proxies` has what it judges by, `judge` does the
work.
"""

from dsc._replay.selection.result import CodecSelection, ScoredCandidate
from dsc._replay.selection.select import select_codec

__all__ = ["CodecSelection", "ScoredCandidate", "select_codec"]
