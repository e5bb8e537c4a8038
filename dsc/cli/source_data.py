"""What commands that read a dataset share: where it lies, its layout's options, what failed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsc.cli.output import note

if TYPE_CHECKING:
    from dsc.schemas import FailedSample

LISTED = 20  # failed samples that are spelled out for people; --json has all


def find_data(source: str, root: str | None, sample: int | None) -> str | None:
    """Find the data where nobody said where it is.

    Raises
    ------
    UsageError
        When the layout is unknown, or there is nothing in the usual places.
    """
    from dsc.errors import UsageError
    from dsc.pipeline.sources import SOURCES

    if source not in SOURCES:
        advice = ""
        if Path(source).exists():
            advice = f"; for the data in that directory: dsc compress LAYOUT --root {source}"
        raise UsageError(f"no layout {source!r}; known: {', '.join(SOURCES)}{advice}")
    if root is not None or sample is not None or source in ("sample", "clevr"):
        return root
    usual = [Path(source), Path("data") / source]
    for directory in usual:
        if directory.is_dir():
            note(f"--root not given, reading ./{directory}")
            return str(directory)
    raise UsageError(
        f"where is the {source} data? No --root was given, and neither ./{usual[0]} nor "
        f"./{usual[1]} is there. Give --root DIR"
        + (", or render views with --sample N" if source == "taskonomy" else "")
    )


def layout_options(**given: Any) -> dict[str, Any]:
    """Give those of a layout's options that were given."""
    found = {**given, "kinds": _kinds(given.get("kinds"))}
    return {name: value for name, value in found.items() if value is not None}


def _kinds(text: str | None) -> dict[str, str] | None:
    from dsc.errors import UsageError

    if text is None:
        return None
    parts = [part.rpartition("=") for part in text.split(",") if part.strip()]
    if not all(name and value for name, _, value in parts):
        raise UsageError(f"--kinds {text}: write task=kind with commas, for example height=depth")
    return {name.strip(): value.strip() for name, _, value in parts}


def list_failed(failed: "Sequence[FailedSample]", samples: int) -> None:
    """Name the samples that could not be read."""
    note(f"{len(failed)} of {samples} samples could not be read and are missing in the archive:")
    for sample in failed[:LISTED]:
        note(f"  {sample.key}: {sample.error}")
    if len(failed) > LISTED:
        note(f"  and {len(failed) - LISTED} more; --json lists all")
