"""What other packages add to dsc: codecs, rules, layouts, backbones, by their entry points.

A package that declares, in its ``pyproject.toml``::

    [project.entry-points."dsc.sources"]
    npz = "dsc_npz:open_npz"

is found by that name as soon as it is installed. Nothing of it is imported before the name is asked
for, and installed packages are looked through only when a name is none of dsc's own or a message
lists all names, so that ``import dsc`` and ``dsc --help`` cost nothing. A name of dsc's own always
means dsc's own: an archive must be read by what wrote it, whatever else is installed.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dsc.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BACKBONES = "dsc.backbones"
CODECS = "dsc.codecs"
RULES = "dsc.rules"
SOURCES = "dsc.sources"


def plugin_names(group: str, own: Collection[str]) -> tuple[str, ...]:
    """List the names that installed packages add to a group, sorted.

    Parameters
    ----------
    group
        `BACKBONES`, `CODECS`, `RULES` or `SOURCES`.
    own
        Names of dsc's own, which a package cannot take: they are left out.
    """
    return tuple(sorted(name for name in _declared(group) if name not in own))


def load_plugin(group: str, name: str) -> Any | None:
    """Import and return what a package declares under a name; None where none does.

    Callers look among dsc's own names first.

    Raises
    ------
    UsageError
        When two packages declare the name, or what it names cannot be imported, whatever its module
        raises; the message names the packages.
    """
    found = _declared(group).get(name, ())
    if not found:
        return None
    if len(found) > 1:
        packages = " and ".join(sorted(map(_package, found)))
        raise UsageError(f"{group} {name!r} is declared by {packages}; uninstall all but one")
    where = f"{group} {name!r} of {_package(found[0])}: {found[0].value}"
    try:
        loaded = found[0].load()
    except (Exception, SystemExit) as error:  # another's module may do anything when it is imported
        raise UsageError(
            f"{where} cannot be imported ({type(error).__name__}: {error}); "
            "install that package anew, or what it needs"
        ) from error
    if loaded is None:
        raise UsageError(f"{where} is None; its package must declare what is there")
    return loaded


def plugin_package(group: str, name: str) -> str | None:
    """Name the package that declares a name; None where none does."""
    found = _declared(group).get(name, ())
    return _package(found[0]) if found else None


def _declared(group: str) -> "Mapping[str, tuple[EntryPoint, ...]]":
    return _declared_on(group, tuple(sys.path))


@cache
def _declared_on(group: str, path: tuple[str, ...]) -> "Mapping[str, tuple[EntryPoint, ...]]":
    """Find the entry points by name; `path` is what Python searches, for the cache alone."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=group):
        found[point.name].append(point)
    return {name: tuple(points) for name, points in found.items()}


def _package(point: "EntryPoint") -> str:
    return point.dist.name if point.dist is not None else point.module
