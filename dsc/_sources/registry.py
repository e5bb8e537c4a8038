"""Dataset layouts that dsc can read, by name; a layout is imported when it is asked for."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from dsc._sources.base import Source, SourceSample
from dsc.errors import UsageError

__all__ = [
    "SOURCES",
    "Source",
    "SourceSample",
    "open_source",
    "options_of",
    "source_from_description",
]

SOURCES: dict[str, str] = {
    "taskonomy": "dsc._sources.taskonomy:TaskonomySource.open",
    "nyuv2": "dsc._sources.nyuv2.source:open_nyuv2",
    "folder": "dsc._sources.folder.source:FolderSource.open",
    "hdf5": "dsc._sources.hdf5.source:Hdf5Source.open",
    "sample": "dsc._sources.rendered.sample:SampleSource.open",
    "clevr": "dsc._sources.rendered.clevr:ClevrSource.open",
}


def open_source(name: str, root: str | None = None, **options: Any) -> Source:
    """Open a dataset.

    Parameters
    ----------
    name
        One of `SOURCES`.
    root
        Directory, file or fsspec URL of the data; the source ``sample`` has none.
    options
        What the layout takes (see its module); None means unset.

    Raises
    ------
    UsageError
        When the layout or an option is unknown, or the root is missing.
    SourceNotFoundError
        When no data of this layout lies at `root`.
    """
    if name not in SOURCES:
        raise UsageError(f"unknown source {name!r}; known: {', '.join(SOURCES)}")
    opener = _opener(SOURCES[name])
    takes = list(inspect.signature(opener).parameters)
    given = {option: value for option, value in options.items() if value is not None}
    unknown = [option for option in given if option not in takes or option == "root"]
    if unknown:
        known = ", ".join(_spelled(option) for option in takes if option != "root") or "none"
        extra = ", ".join(map(_spelled, unknown))
        raise UsageError(f"source {name} has no option {extra}; it takes: {known}")
    if "root" not in takes:
        if root is not None:
            raise UsageError(f"source {name} renders its data and takes no --root ({root})")
        return opener(**given)
    if root is None:
        raise UsageError(
            f"source {name} needs --root, the directory that holds the data; to try dsc without "
            "data, render views: `dsc compress taskonomy --sample N`"
        )
    return opener(root, **given)


def options_of(name: str) -> tuple[str, ...]:
    """List the options that a layout takes; none where there is no such layout."""
    if name not in SOURCES:
        return ()
    return tuple(option for option in inspect.signature(_opener(SOURCES[name])).parameters)


def source_from_description(description: Mapping[str, Any]) -> Source:
    """Open again what `Source.describe` described, and make sure that it is the same.

    Raises
    ------
    UsageError
        When the files have changed since: samples would be taken for others.
    """
    source = open_source(
        description["name"], description.get("root"), **description.get("options", {})
    )
    wanted = description.get("fingerprint")
    if wanted is not None and source.describe().get("fingerprint") != wanted:
        raise UsageError(
            f"the {description['name']} data at {description.get('root')} is not what it was when "
            f"this work began (now {len(source)} samples): files were added, removed or renamed. "
            "Restore them, or start anew with --overwrite"
        )
    return source


def _spelled(option: str) -> str:
    return "--sample" if option == "n" else f"--{option.replace('_', '-')}"


def _opener(spec: str) -> Callable[..., Source]:
    module, _, path = spec.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    opener: Callable[..., Source] = found
    return opener
