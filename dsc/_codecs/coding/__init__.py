"""Integers into bytes: entropy coding, integer networks, varints."""
