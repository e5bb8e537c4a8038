"""Decoded pictures of `av1-small`, restored by a small integer network.

`codec` is `av1-small-restored`, `network` what it computes, `weights` the file of its weights.
"""
