"""Decoded pictures of `av1-small`, restored by a small integer network."""
