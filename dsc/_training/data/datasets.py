"""Opens the data that ``--data`` names: any registered layout, or an archive of dsc.

A data set is written ``[LAYOUT:]PLACE[,option=value ...]``: ``nyuv2:/data/nyu,split=train``,
``sample:1000``, ``/data/photographs``, ``/data/some-archive,share=0.3``. Without a layout, a
directory with a ``dsc.json`` is an archive and any other one a ``folder``. Beside the layout's own
options there are ``share`` and ``border`` (`dsc._training.config.DataSpec`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ValidationError

from dsc._codecs.learned.planes import modality_of
from dsc._pipeline.read.dataset import Dataset
from dsc._schemas import Task, resolve_task
from dsc._sources.registry import Source, SourceSample, is_source, open_source
from dsc._storage.files.root import Root
from dsc._storage.format.names import MANIFEST
from dsc._storage.read.archive import Archive
from dsc._training.config import DataSpec
from dsc.errors import UnknownTaskError, UsageError

ARCHIVE = "archive"
MODALITIES = ("rgb", "depth", "normal")
NYU_BORDER = 8
RENDERED = ("sample", "clevr")  # their place is the number of views
# Views of seed 0 are what `--views N` and the tests render; those are not trained on unasked.
RENDER_SEED = 1


def parse_data(text: str) -> DataSpec:
    """Read one ``--data`` option; see the module.

    Raises
    ------
    UsageError
        When it cannot be read.
    """
    place, *parts = (part.strip() for part in text.split(","))
    pairs = [part.partition("=") for part in parts]
    if not place or not all(name and value for name, _, value in pairs):
        raise UsageError(
            f"--data {text}: write [LAYOUT:]PLACE[,option=value ...], for example "
            "nyuv2:/data/nyu,split=train,share=0.4 or sample:1000"
        )
    options = {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
    layout, colon, rest = place.partition(":")
    if not colon or (not is_source(layout) and layout != ARCHIVE):
        layout, rest = (ARCHIVE if _is_archive(place) else "folder"), place
    if layout in RENDERED:
        options = {"seed": str(RENDER_SEED), **options, "n": rest}
    if layout == "nyuv2":
        options = {"border": str(NYU_BORDER), "split": "train", **options}
    own = {name: options.pop(name) for name in ("share", "border") if name in options}
    try:
        return DataSpec.model_validate(
            {"layout": layout, "place": None if layout in RENDERED else rest,
             "options": options, **own},
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--data {text}: {first['loc'][0]}: {first['msg']}") from None


def _is_archive(place: str) -> bool:
    return Root(place).exists(MANIFEST)


def open_data(spec: DataSpec) -> Source:
    """Open one data set.

    Raises
    ------
    UsageError
        When layout or options do not fit; `SourceNotFoundError` when there is no data.
    """
    if spec.layout == ARCHIVE:
        if spec.options:
            raise UsageError(f"an archive takes no {', '.join(spec.options)}")
        return ArchiveSource(str(spec.place))
    options: dict[str, Any] = dict(spec.options)
    if "kinds" in options:
        pairs = [part.partition(":") for part in options["kinds"].split("+")]
        options["kinds"] = {task: kind for task, _, kind in pairs}
    try:
        return open_source(spec.layout, spec.place, **options)
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"--data {spec}: {error}") from None


def choose_tasks(source: Source, names: Sequence[str] | None, where: DataSpec) -> dict[str, Task]:
    """Choose what a data set trains: its first task of each modality, of those asked for.

    Returns
    -------
    dict
        Task by modality, in the networks' order. Tasks that no network codes (labels, classes)
        are left out unless they were asked for.

    Raises
    ------
    UsageError
        When a task was asked for that no network codes, or nothing is left to train.
    """
    found = {task.name: task for task in source.tasks}
    asked = tuple(found) if names is None else _present(names, list(found))
    chosen: dict[str, Task] = {}
    for name in asked:
        modality = modality_of(found[name])
        if modality is None and names is not None:
            raise UsageError(
                f"--tasks {name}: {found[name].kind} maps are not coded by a network; leave it out"
            )
        if modality is not None:
            chosen.setdefault(modality, found[name])
    if not chosen:
        raise UsageError(
            f"--data {where}: none of its tasks ({', '.join(found)}) can be trained on"
            + (f" for --tasks {','.join(names)}" if names else "")
        )
    return {modality: chosen[modality] for modality in MODALITIES if modality in chosen}


def _present(names: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    """Resolve those names that this data set has; others may have the rest."""
    kept = []
    for name in names:
        try:
            kept.append(resolve_task(name, available))
        except UnknownTaskError:
            continue
    return tuple(dict.fromkeys(kept))


class ArchiveSource:
    """The samples of an archive, decoded; see `dsc._sources.base.Source`.

    Parameters
    ----------
    url
        Directory or URL of the archive.

    Raises
    ------
    ArchiveNotFoundError
        When there is no archive.
    """

    name: ClassVar[str] = ARCHIVE

    def __init__(self, url: str) -> None:
        self._archive = Archive.open(url)
        self._readers: dict[tuple[str, ...], Dataset] = {}
        self._keys: list[str] = []

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The archive's tasks."""
        return self._archive.manifest.tasks

    def __len__(self) -> int:
        """Return the number of samples, over all splits."""
        return len(self._archive)

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        if not self._keys:
            shards = range(len(self._archive.shards))
            self._keys = [key for shard in shards for key in self._archive.keys(shard)]
        return self._keys[index]

    def read(self, index: int, tasks: Sequence[str]) -> SourceSample:
        """Decode these tasks of one sample, to native arrays; a task that it lacks is left out.

        Raises
        ------
        CorruptArchiveError, BitstreamError
            When it is damaged; the message names file, pack and key.
        """
        names = tuple(tasks)
        if names not in self._readers:
            self._readers[names] = Dataset(self._archive, names, native=True)
        sample = self._readers[names][index]
        arrays = {name: array for name, array in sample.items() if array is not None}
        return SourceSample(self.key(index), arrays, {})

    def describe(self) -> dict[str, Any]:
        """Return the archive's place and the hash of its manifest."""
        import hashlib

        seal = hashlib.sha256(self._archive.manifest.to_json().encode()).hexdigest()
        return {"name": self.name, "root": self._archive.root.url, "fingerprint": seal}


def fingerprints(sources: Sequence[Source]) -> list[str]:
    """Name what the data are, so that a resumed run can tell whether they are still the same."""
    described: list[Mapping[str, Any]] = [source.describe() for source in sources]
    return [str(one.get("fingerprint") or one.get("options")) for one in described]
