"""Dataset layouts by name, and what a source of your own must do."""

from dsc._sources.base import ReportingSource, Source, SourceSample
from dsc._sources.registry import SOURCES, open_source, options_of
from dsc._sources.rendered.sample import write_sample

__all__ = [
    "SOURCES",
    "ReportingSource",
    "Source",
    "SourceSample",
    "open_source",
    "options_of",
    "write_sample",
]
