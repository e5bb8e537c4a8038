"""Recordings of robots as the ``lerobot`` package keeps them: rows in Parquet, cameras in MP4.

- `info`: ``meta/info.json``, which says what a frame has and what files are called.
- `episodes`: ``meta/episodes``, which says where each episode's rows and video frames lie.
- `frames`: which row is which frame of which episode, read from the rows themselves.
- `video`: frames of an MP4 by their number in it, exactly.
- `clips`: which frames of which MP4 an episode has.
- `cameras`: what videos are, as tasks.
- `depth`: depth in 12-bit codes of a logarithm, as metres.
- `source`: what ``dsc compress lerobot`` opens.
"""
