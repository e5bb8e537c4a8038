"""The version of dsc, as archives and codec files name it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
