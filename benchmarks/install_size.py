"""How large an installation of dsc is, package by package, as `make wheel-test` asks.

    PYTHON benchmarks/install_size.py [--at-most MB] [--without PACKAGE]

It needs nothing but the Python that it is about: the sizes of the files of dsc and of all that dsc
requires, without extras. Fails when they are more, or when the package can be imported.
"""

import argparse
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

SHOWN = 8


def main() -> None:
    """Print the sizes, and check what was asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--at-most", type=float, help="MB that all may take together")
    parser.add_argument("--without", help="a package that must not be there")
    asked = parser.parse_args()
    sizes = {name: size_of(found) / 1e6 for name, found in required("dsc").items()}
    largest = sorted(sizes, key=lambda name: -sizes[name])
    for name in largest[:SHOWN]:
        print(f"{name:16} {sizes[name]:6.1f} MB")
    whole = sum(sizes.values())
    print(f"{'all ' + str(len(sizes)):16} {whole:6.1f} MB")
    if asked.at_most is not None and whole > asked.at_most:
        sys.exit(f"{whole:.0f} MB are more than {asked.at_most:.0f} MB")
    if asked.without and find_spec(asked.without) is not None:
        sys.exit(f"{asked.without} is installed")


def required(root: str) -> dict[str, Distribution]:
    """Return a package and all that it requires here, without extras."""
    found: dict[str, Distribution] = {}
    waiting = [root]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another system, or version of Python
            continue
        for line in found[name].requires or ():
            if "extra ==" not in line:
                waiting.append(re.split(r"[^\w.-]", line)[0])
    return found


def size_of(package: Distribution) -> int:
    """Return the bytes of a package's files, as the installer listed them."""
    paths = {Path(str(file.locate())).resolve() for file in package.files or ()}
    return sum(path.stat().st_size for path in paths if path.is_file())


if __name__ == "__main__":
    main()
