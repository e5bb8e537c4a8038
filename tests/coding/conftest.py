"""Fixtures of the tests of coders."""

from tests.codecs.conftest import both_kernels, one_thread

__all__ = ["both_kernels", "one_thread"]
