"""The files of the machine paths' networks, which come with dsc."""

import hashlib

from dsc._coding import weights_file

KIND = "dsc machine-path 1"


def shipped_file(path: str) -> bytes:
    """Return the weights file of a path that comes with dsc."""
    return weights_file.shipped_file(f"machine-{path}.safetensors")


def weights_sha256(path: str) -> str:
    """Return the hash of a path's weights file."""
    return hashlib.sha256(shipped_file(path)).hexdigest()
