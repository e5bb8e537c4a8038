"""Recordings: codecs of groups beside stills, files and videos; ``dsc bench sequences``.

`run` is the command. `recording` takes consecutive frames of a source; `contenders` are dsc's
codecs and the files and videos that people keep recordings in; `measuring` codes each at several
qualities, and times it; `equal` compares bytes at one distortion; `access` counts what one frame
takes; `tables` shows what was found.
"""
