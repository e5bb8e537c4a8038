"""Data sets that are rendered when they are read, to try dsc without data."""
