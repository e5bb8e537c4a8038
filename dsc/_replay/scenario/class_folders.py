"""Folders, zips and tars of ``<class>/<file>``: which classes there are, and the pictures of each.

The classes are those of torchvision's ImageFolder: each directory at the top, in the plain order of
the names, with all pictures below it in the order of directory and name.
"""

import os
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dsc._files.packed import find_packed, is_packed
from dsc._files.passed_over import printable
from dsc._files.tree import FileTree
from dsc._storage.files.place import parse_place
from dsc._storage.format.names import MANIFEST
from dsc.errors import SourceNotFoundError, UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".jxl", ".tif", ".tiff")
NOT_READ = (".bmp", ".gif", ".pgm", ".ppm")  # what ImageFolder reads besides
TRAIN_NAMES, TEST_NAMES = ("train",), ("test", "val")


def open_tree(place: str | Path) -> FileTree | None:
    """Return the folder, zip or tar that a place is; None for an archive of dsc.

    Raises
    ------
    SourceNotFoundError
        When it is neither.
    """
    found = parse_place(os.fspath(place))
    if find_packed(found) is not None:
        return FileTree(os.fspath(place))
    if found.local is None or (found.local / MANIFEST).exists():
        return None
    if found.local.is_dir():
        return FileTree(found.local)
    if zipfile.is_zipfile(found.local):
        return FileTree(f"zip://{found.local}")
    raise SourceNotFoundError(
        f"{place}: neither a folder nor a zip or tar of <class>/<file>, nor an archive of dsc"
    )


def list_classes(tree: FileTree) -> dict[str, list[str]]:
    """Return the pictures of every class, as ImageFolder orders them; none where there are none.

    Raises
    ------
    SourceNotFoundError
        When no class has a picture.
    UsageError
        When the directories are ``train`` and ``test``, not classes.
    """
    listing = dict(tree.walk())
    head = _head(tree, listing)
    below = f"{head}/" if head else ""
    found: dict[str, list[str]] = {name: [] for name in sorted(tree.directories(head))}
    for directory in sorted(listing):
        if directory.startswith(below) and directory != head:
            name = directory[len(below) :].partition("/")[0]
            pictures = sorted(filter(is_picture, listing[directory]))
            found.setdefault(name, []).extend(f"{directory}/{picture}" for picture in pictures)
    _check_classes(tree, found)
    beside = [name for name in listing.get(head, ()) if is_picture(name)]
    if beside:
        warnings.warn(
            f"{tree.url}: {len(beside)} pictures lie beside the class folders and are not read "
            f"({', '.join(map(printable, beside[:3]))})",
            stacklevel=4,
        )
    return {printable(name): pictures for name, pictures in found.items()}


def find_part(tree: FileTree | None, names: Iterable[str]) -> FileTree | None:
    """Return the first of `names` in a folder, zip or tar; None where none is there."""
    if tree is None:
        return None
    listing = dict(tree.walk())
    head = _head(tree, listing)
    directories = tree.directories(head)
    files = listing.get(head, []) if tree.local is not None else []  # no zip in a zip
    for name in names:
        packed = [file for file in files if is_packed(file) and file.split(".")[0] == name]
        if name in directories or packed:
            found = name if name in directories else packed[0]
            return tree.below(f"{head}/{found}" if head else found)
    return None


def refuse_unread(tree: FileTree, names: Sequence[str]) -> None:
    """Refuse pictures of a format that ImageFolder reads and dsc does not.

    Raises
    ------
    UsageError
        Naming the first.
    """
    unread = [name for name in names if name.lower().endswith(NOT_READ)]
    if unread:
        raise UsageError(
            f"{tree.where(unread[0])}: dsc does not read this format ({len(unread)} such files); "
            "convert them, for example with `magick mogrify -format png FILES`"
        )


def is_picture(name: str) -> bool:
    """Tell whether a file of this name is a picture, read or not."""
    return name.lower().endswith((*SUFFIXES, *NOT_READ))


def _head(tree: FileTree, listing: Mapping[str, Sequence[str]]) -> str:
    """Return the directory whose directories are the classes.

    Single ones around it are no class.
    """
    head = ""
    while True:
        below = tree.directories(head)
        inner = f"{head}/{below[0]}" if head and below else "".join(below[:1])
        here = (*listing.get(head, ()), *listing.get(inner, ()))
        classes = any(is_picture(name) or is_packed(name) for name in here)  # train.zip beside val
        if len(below) != 1 or classes or not tree.directories(inner):
            return head
        head = inner


def _check_classes(tree: FileTree, found: Mapping[str, Sequence[str]]) -> None:
    if not any(found.values()):
        raise SourceNotFoundError(f"{tree.url}: no <class>/<file> of {', '.join(SUFFIXES)} in it")
    if len(found) > 1 and set(found) <= {*TRAIN_NAMES, *TEST_NAMES}:
        raise UsageError(
            f"{tree.url}: {' and '.join(found)} are parts of a set and no classes; name one, such "
            f"as {tree.where(next(iter(found)))}"
        )
