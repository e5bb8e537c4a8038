"""Dataset layouts that dsc can read, by name; a layout is imported when it is asked for.

Other packages add layouts by entry points of the group ``dsc.sources``, each of which names an
opener: a callable ``(root, **options) -> Source``, or without ``root`` where the data lies nowhere.
What options it has is read from its signature; ``examples/third_party_source`` is a whole one.
"""

import inspect
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from dsc import _plugins
from dsc._schemas import Task
from dsc._sources.base import Source, SourceSample
from dsc._sources.computed import COMPUTED, with_computed
from dsc._sources.sequences.source import SEQUENCED, in_sequences
from dsc._sources.splits.rules import SplitRules
from dsc._sources.splits.source import PARTED, part
from dsc.errors import UsageError

__all__ = [
    "SOURCES",
    "Source",
    "SourceSample",
    "is_source",
    "open_source",
    "options_of",
    "source_from_description",
    "source_names",
]

SOURCES: dict[str, str] = {
    "taskonomy": "dsc._sources.taskonomy:TaskonomySource.open",
    "nyuv2": "dsc._sources.nyuv2.source:open_nyuv2",
    "folder": "dsc._sources.folder.source:FolderSource.open",
    "coco": "dsc._sources.coco.source:CocoSource.open",
    "hdf5": "dsc._sources.hdf5.source:Hdf5Source.open",
    "webdataset": "dsc._sources.webdataset.source:WebDatasetSource.open",
    "huggingface": "dsc._sources.rows.source:HuggingfaceSource.open",
    "lerobot": "dsc._sources.lerobot.source:LeRobotSource.open",
    "table": "dsc._sources.rows.table:TableSource.open",
    "sample": "dsc._sources.rendered.sample:SampleSource.open",
    "clevr": "dsc._sources.rendered.clevr:ClevrSource.open",
    "rendered": "dsc._sources.rendered.recording:RecordingSource.open",
}
"""Of each layout of dsc's own: its name, and the callable that opens it."""


def open_source(name: str, root: str | None = None, **options: Any) -> Source:
    """Open a dataset.

    Parameters
    ----------
    name
        One of `source_names`.
    root
        Directory, file or fsspec URL of the data; the source ``sample`` has none.
    options
        What the layout takes, `options_of` it; None means unset.

    Raises
    ------
    UsageError
        When the layout or an option is unknown, the root is missing, or the layout is another
        package's and cannot be imported, is declared by two, cannot be called, or opens something
        of another name.
    SourceNotFoundError
        When no data of this layout lies at `root`.
    """
    opener = _opener(name)
    takes = _parameters(name, opener)
    given = {option: value for option, value in options.items() if value is not None}
    unknown = [option for option in given if option not in takes or option == "root"]
    if unknown:
        known = ", ".join(_spelled(option) for option in takes if option != "root") or "none"
        extra = ", ".join(map(_spelled, unknown))
        raise UsageError(f"source {name} has no option {extra}; it takes: {known}")
    if "root" not in takes:
        if root is not None:
            raise UsageError(f"source {name} renders its data and takes no --root ({root})")
        return _named(name, opener(**given))
    if root is None:
        raise UsageError(
            f"source {name} needs --root, the directory that holds the data; to try dsc without "
            "data, render views: `dsc compress taskonomy --views N`"
        )
    return _named(name, opener(root, **given))


def source_names() -> tuple[str, ...]:
    """List the layouts there are: dsc's own, then those of installed packages."""
    return (*SOURCES, *_plugins.plugin_names(_plugins.SOURCES, SOURCES))


def is_source(name: str) -> bool:
    """Tell whether there is a layout of that name, dsc's own or an installed package's."""
    return name in SOURCES or name in source_names()


def options_of(name: str) -> tuple[str, ...]:
    """List the options that a layout takes; none where there is no such layout."""
    return tuple(_parameters(name, _opener(name))) if is_source(name) else ()


def source_from_description(description: Mapping[str, Any]) -> Source:
    """Open again what `Source.describe` described, and make sure that it is the same.

    Raises
    ------
    UsageError
        When the files have changed since: samples would be taken for others.
    """
    source = reopen(description)
    wanted = description.get("fingerprint")
    if wanted is not None and source.describe().get("fingerprint") != wanted:
        raise UsageError(
            f"the {description['name']} data at {description.get('root')} is not what it was when "
            f"this work began (now {len(source)} samples): files were added, removed or renamed. "
            "Restore them, or start anew with --overwrite"
        )
    return source


def reopen(description: Mapping[str, Any]) -> Source:
    """Open what `Source.describe` described, as it is now, ordered, parted, computed as it was.

    Raises
    ------
    UsageError
        When it can no longer be opened or parted so; and what `open_source` raises.
    """
    root = description.get("root")
    source = open_source(description["name"], root, **description.get("options", {}))
    sequenced, parted = description.get(SEQUENCED), description.get(PARTED)
    if sequenced is not None:
        source = in_sequences(source, sequenced.get("by"))
    if parted is not None:
        source = part(source, SplitRules.parse(**parted), root)
    computed = [Task.model_validate(task) for task in description.get(COMPUTED, ())]
    return with_computed(source, computed)


def _spelled(option: str) -> str:
    return "--views" if option == "n" else f"--{option.replace('_', '-')}"


def _parameters(name: str, opener: Callable[..., Source]) -> list[str]:
    """List what an opener takes: `root`, where it has one, and its options."""
    try:
        return list(inspect.signature(opener).parameters)
    except (TypeError, ValueError) as error:
        package = _plugins.plugin_package(_plugins.SOURCES, name)
        raise UsageError(f"source {name} of {package} cannot be opened: {error}") from error


def _named(name: str, source: Source) -> Source:
    """Check that a source calls itself what it was opened by: workers open it by its own name."""
    own_name = getattr(source, "name", None)
    if own_name != name:
        raise UsageError(
            f"source {name} calls itself {own_name!r}, and could not be opened again by that "
            "name; its package must declare it by the name that it has"
        )
    return source


def _opener(name: str) -> Callable[..., Source]:
    opener: Callable[..., Source] | None
    if name in SOURCES:
        opener = resolve_name(SOURCES[name])
    else:
        opener = _plugins.load_plugin(_plugins.SOURCES, name)
    if opener is None:
        raise UsageError(
            f"unknown source {name!r}; known: {', '.join(source_names())}. A data set that is "
            "directories of files is a folder: `dsc compress folder --root DIR`"
        )
    return opener
