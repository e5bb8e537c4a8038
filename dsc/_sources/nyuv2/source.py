"""NYU Depth v2: a folder of image files, or the official labelled ``.mat``.

The folder has one file a frame and task, numbered from 0 (the official number minus 1), with
``train.txt``, ``test.txt`` and ``classes40.txt`` beside them where they are known:

    nyu_images/<i>.jpg     rgb
    nyu_depths/<i>.png     depth, 8 bits, metres = value / 25.5, filled in: nothing is missing
    nyu_labels40/<i>.png   label, class number

The key of frame i is ``nyu_000123``, in both forms.
"""

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from dsc._files.directories import join_path
from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import LeftOut, Task, TaskKind
from dsc._schemas.task import spelled
from dsc._sources.base import Source
from dsc._sources.file_source import FileSource, probe_task
from dsc._sources.file_table import FileTable, TableBuilder
from dsc._sources.meaning.decide import Meaning
from dsc._sources.meaning.decode import Conversion
from dsc._sources.meaning.names import is_task_word
from dsc._sources.meaning.options import TaskOptions, unwanted, wanted_tasks
from dsc._sources.nyuv2.frames import frame_key, frame_unit_m, read_split
from dsc._sources.nyuv2.mat import NyuV2MatSource
from dsc.errors import UsageError

DEPTH_UNIT_M = 1 / 25.5
DIRECTORIES = {"nyu_images": "rgb", "nyu_depths": "depth", "nyu_labels40": "label"}
LAYOUTS = ("nyu_images/0.jpg, nyu_depths/0.png, nyu_labels40/0.png", "nyu_depth_v2_labeled.mat")
SPLITS = ("train", "test", "all")
LISTS = ("train.txt", "test.txt", "classes40.txt")  # which are read, but are no frames
_FRAME = re.compile(r"(0|[1-9]\d{0,5})\.(?:png|jpe?g)", re.IGNORECASE)


def open_nyuv2(
    root: str,
    split: str = "all",
    depth_unit: object = None,
    tasks: Sequence[str] | str | None = None,
    ignore: Sequence[str] | str = (),
) -> Source:
    """Open either form: a folder of image files, or a ``.mat`` (or a folder that holds one).

    Parameters
    ----------
    root
        Directory, ``.mat`` file, or fsspec URL of one.
    split
        ``train`` or ``test`` (as listed in ``train.txt`` and ``test.txt``), or ``all``.
    depth_unit
        Metres a count of depth: 1/25.5 for the folder; 1/1000 for the ``.mat``, whose
        floating-point metres become 16-bit counts.
    tasks, ignore
        The tasks that are wanted, and patterns of paths that are left out.

    Raises
    ------
    SourceNotFoundError
        When there is neither under `root`.
    UsageError
        When the split is unknown or not listed.
    """
    if split not in SPLITS:
        raise UsageError(f"--split {split}: nyuv2 has {', '.join(SPLITS)}")
    options = TaskOptions.parse(tasks=tasks, ignore=ignore)
    tree = FileTree(root)
    tree.require_root("nyuv2", root)
    if tree.url.endswith(".mat"):
        return _open_mat(*tree.parent(), split, depth_unit, options)
    left_out: list[LeftOut] = []
    listing = dict(tree.walk(left_out))
    if any(directory in listing for directory in DIRECTORIES):
        return NyuV2Source.open_folder(tree, listing, split, depth_unit, options, left_out)
    mats = [name for name in listing.get("", ()) if name.endswith(".mat") and "splits" not in name]
    if not mats:
        raise nothing_found("nyuv2", f"no frame under {root}", LAYOUTS, tree)
    return _open_mat(tree, mats[0], split, depth_unit, options)


def _open_mat(
    tree: FileTree, name: str, split: str, depth_unit: object, options: TaskOptions
) -> Source:
    return NyuV2MatSource.open_mat(tree, name, split, depth_unit, options)


class NyuV2Source(FileSource):
    """The frames of a folder, opened."""

    name: ClassVar[str] = "nyuv2"

    @classmethod
    def open_folder(
        cls,
        tree: FileTree,
        listing: dict[str, list[str]],
        split: str,
        depth_unit: object,
        options: TaskOptions,
        left_out: Sequence[LeftOut] = (),
    ) -> Self:
        """Make the source of a listed folder."""
        table, rest = _list_frames(listing, options)
        unit_m = frame_unit_m(depth_unit)
        makers: dict[str, Callable[[], Task]] = {
            "rgb": _image_task,
            "depth": lambda: _depth_task(unit_m or DEPTH_UNIT_M),
            "label": lambda: _label_task(tree, listing),
        }
        wanted = wanted_tasks(options, [name for name in makers if name in table.files])
        others = list(unwanted(table.counts(), wanted, options))
        table = table.without([name for name in table.files if name not in wanted])
        if split != "all":
            frames = set(read_split(tree, split))
            table = table.select(
                [row for row in range(len(table)) if int(table.stem(row)) in frames]
            )
        if not len(table):
            raise nothing_found("nyuv2", f"no frame of split {split} under {tree.url}", LAYOUTS)
        meanings = [
            _meaning(tree, table, maker()) for name, maker in makers.items() if name in table.files
        ]
        given = {"split": split, "depth_unit": unit_m, **options.to_json()}
        found = [*options.excuse(left_out), *rest.left_out(), *others]
        return cls(tree, table, meanings, given, found, ["layout nyuv2"])

    def key(self, index: int) -> str:
        """Return the key of a frame: its number from 0."""
        return frame_key(int(self.table.stem(self._check(index))))


def _list_frames(
    listing: dict[str, list[str]], options: TaskOptions
) -> tuple[FileTable, PassedOver]:
    builder, rest = TableBuilder(), PassedOver()
    for directory, names in listing.items():
        task = DIRECTORIES.get(directory)
        for name in names:
            path = join_path(directory, name)
            match = _FRAME.fullmatch(name) if task else None
            pattern = options.ignores(path) if options.ignore else None
            if match and task and not pattern:
                builder.add("", match[1], task, f"{directory}/", name[match.end(1) :])
            elif path not in LISTS:
                why = f"--ignore {pattern}" if pattern else "no frame's file"
                rest.add_file(path, why, "" if pattern else task or _looks_like(directory))
    return builder.build(), rest


def _looks_like(directory: str) -> str:
    """Return the task that a directory of another name looks like: nyu_labels beside nyu_images."""
    last = directory.rpartition("/")[2]
    return spelled(last) if is_task_word(last) else ""


def _meaning(tree: FileTree, table: FileTable, task: Task) -> Meaning:
    found = probe_task(tree, table, task.name)
    conversion = Conversion(indexes=task.kind is TaskKind.LABEL)
    return Meaning(task, f"NYUv2's {task.name}", found.shape, found.dtype, conversion)


def _image_task() -> Task:
    return Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3, valid_range=(0, 255))


def _depth_task(unit_m: float) -> Task:
    return Task(
        name="depth", kind=TaskKind.DEPTH, dtype="uint8", unit_m=unit_m, valid_range=(1, 255)
    )


def _label_task(tree: FileTree, listing: dict[str, list[str]]) -> Task:
    classes: tuple[str, ...] = ()
    if "classes40.txt" in listing.get("", ()):
        lines = tree.read("classes40.txt").decode().splitlines()
        classes = tuple(line.split("\t")[-1].strip() for line in lines if line.strip())
    top = len(classes) - 1 if classes else 255
    return Task(
        name="label", kind=TaskKind.LABEL, dtype="uint8", valid_range=(0, top), classes=classes
    )
