"""Dataset layouts by name, what a source of your own must do, and what it may do beside that.

A package of your own adds a layout by an entry point of the group ``dsc.sources``;
``examples/third_party_source`` is a whole one.
"""

from dsc._schemas.from_file import with_file
from dsc._sources.base import (
    CheckedSource,
    IncompleteSource,
    RecordedSource,
    ReportingSource,
    SequenceSource,
    Source,
    SourceSample,
    SplitSource,
    TracedSource,
)
from dsc._sources.registry import SOURCES, open_source, options_of, source_names
from dsc._sources.rendered.sample import write_sample

__all__ = [
    "SOURCES",
    "CheckedSource",
    "IncompleteSource",
    "RecordedSource",
    "ReportingSource",
    "SequenceSource",
    "Source",
    "SourceSample",
    "SplitSource",
    "TracedSource",
    "open_source",
    "options_of",
    "source_names",
    "with_file",
    "write_sample",
]
