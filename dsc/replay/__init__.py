"""Replay: byte-budgeted buffers of compressed exemplars, and what learns with them.

`dsc.replay.buffer.ReplayBuffer` is the buffer; what stays in it is a policy's choice
(`dsc.replay.policy`), how it lies on disk is `dsc.replay.store`'s.
"""
