"""Where the benchmark's data sets lie; each is made when it is first needed.

The views and their bitstreams are kept in the output directory, so that a second run need not code
them again; data sets that repeat them go to a scratch directory that ends with the run.
"""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from dsc._bench.stream.archives import write_archive
from dsc._bench.stream.children import child
from dsc._bench.stream.material import Material, prepare
from dsc._bench.stream.rivals import PACKAGES, is_installed
from dsc._bench.stream.sizes import Sizes


class Workshop:
    """Makes the data sets of the benchmark, each when it is first asked for.

    Parameters
    ----------
    out
        The benchmark's output directory.
    sizes
        How much is measured.
    processes
        Processes to render and code in.
    """

    def __init__(self, out: Path, sizes: Sizes, processes: int) -> None:
        self.out, self.sizes, self._processes = out, sizes, processes
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def material(self) -> Material:
        """The views, rendered and coded."""
        sizes = self.sizes
        made = Material(
            (self.out / f"views-{sizes.distinct}x{sizes.pixels}").absolute(),
            sizes.distinct,
            sizes.pixels,
        )
        prepare(made, self._processes)
        return made

    @property
    def scratch(self) -> Path:
        """A directory for this run alone."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="dsc-bench-")
        return Path(self._scratch.name)

    def archive(self, codec: str, samples: int) -> Path:
        """Return an archive: ``av1`` (all tasks, default codecs) or ``independent``."""
        folder = self.scratch / "dsc" / f"{codec}-{samples}"
        if not (folder / "dsc.json").exists():
            made = self.material
            write_archive(
                folder,
                made.tasks(codec),
                made.codec_set(codec),
                made.payloads(codec),
                samples,
                made.size**2,
            )
        return folder

    def rival(self, library: str, fields: Sequence[str], samples: int) -> Path:
        """Return a data set of another library's, written by itself.

        Raises
        ------
        ChildError
            When it cannot write it.
        """
        out = self.scratch / library / f"{'+'.join(fields)}-{samples}"
        if not out.exists():
            made = self.material
            with child() as process:
                process.ask(
                    "write",
                    library=library,
                    material={
                        "folder": str(made.folder),
                        "distinct": made.distinct,
                        "size": made.size,
                    },
                    fields=list(fields),
                    samples=samples,
                    out=str(out),
                )
        return out / "data"

    def fresh(self, name: str) -> Path:
        """Return an empty directory."""
        folder = self.scratch / "fresh"
        folder.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))

    def close(self) -> None:
        """Remove the scratch directory."""
        if self._scratch is not None:
            self._scratch.cleanup()
        self._scratch = None


def absent(library: str) -> str:
    """Say that a library is not installed; nothing when it is."""
    if is_installed(library):
        return ""
    return f"not installed (pip install {PACKAGES[library]})"


def error_row(name: str, text: str) -> dict[str, Any]:
    """Return the row of what could not be measured."""
    return {"name": name, "error": text}
