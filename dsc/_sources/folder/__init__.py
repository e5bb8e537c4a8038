"""Directories of files: which layout they follow."""
