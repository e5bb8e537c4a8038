"""Replay: byte-budgeted buffers of compressed exemplars, and what learns with them.

`dsc._replay.buffer.buffer.ReplayBuffer` is the buffer; what stays in it is a policy's choice
(`dsc._replay.policies.base`), how it lies on disk is `dsc._replay.buffer.store`'s.
"""
