"""Taskonomy and Omnidata: files ``point_P_view_V_domain_D.(png|npy)`` in any published layout.

The directory part of a path is the view's building (or component and building) once the parts
that only name the domain are taken out, so all of these give the key
``allensville__point_0_view_3``:

    rgb/allensville/point_0_view_3_domain_rgb.png
    allensville_rgb/point_0_view_3_domain_rgb.png
    allensville_rgb/rgb/point_0_view_3_domain_rgb.png
    allensville/rgb/point_0_view_3_domain_rgb.png

Where directory and file name disagree, the directory is right: Omnidata keeps its valid masks as
``mask_valid/.../point_0_view_3_domain_depth_zbuffer.png``.

Depth counts are 1/512 m, unless `depth_unit` says otherwise, for all or for one component. When
several units meet in one dataset, all depth is given in the coarsest of them (off by at most half
a count), because an archive has one unit a task.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsc._files.passed_over import PassedOver
from dsc._files.tree import FileTree, nothing_found
from dsc._schemas import LeftOut, Task, TaskKind
from dsc._sources.file_source import FileSource, probe_task
from dsc._sources.file_table import FileTable, TableBuilder
from dsc._sources.meaning.decide import Meaning, room_warnings
from dsc._sources.meaning.decode import Conversion, read_array
from dsc._sources.meaning.evidence import Evidence
from dsc._sources.meaning.options import EVERYTHING, TaskOptions, unwanted, wanted_tasks
from dsc._sources.meaning.units import DepthUnit, parse_depth_unit
from dsc.errors import UsageError

DEPTH_UNIT_M = 1 / 512
INVALID_DEPTH = 65535
DTYPES = ("uint8", "uint16", "int32", "int64", "float32", "float64")
LAYOUTS = (
    "rgb/<building>/point_0_view_0_domain_rgb.png",
    "<building>_rgb/point_0_view_0_domain_rgb.png",
    "<component>/rgb/point_0_view_0_domain_rgb.png",
    "rgb/<component>/<building>/point_0_view_0_domain_rgb.png",
    "rgb/point_0_view_0_domain_rgb.png",
)
_FILE = re.compile(r"point_(\d{1,9}_view_\d{1,9})_domain_([A-Za-z0-9_]+)\.(png|npy|json)")
_CAMERA = ("point_info", "fixatedpose", "nonfixatedpose")
# what the published files of two domains are called, beside directories with the domain's name
_FILE_NAMES = {"segmentsemantic": "segment_semantic", "class_places": "class_scene"}


def _image(name: str, channels: int) -> Task:
    dtype, top = ("uint8", 255) if channels == 3 else ("uint16", 65535)
    return Task.model_validate(
        {"name": name, "kind": "image", "dtype": dtype, "channels": channels}
        | {"valid_range": (0, top)}
    )


def _depth(name: str) -> Task:
    return Task(
        name=name,
        kind=TaskKind.DEPTH,
        dtype="uint16",
        unit_m=DEPTH_UNIT_M,
        valid_range=(0, INVALID_DEPTH - 1),
        invalid=(INVALID_DEPTH,),
    )


def _label(name: str) -> Task:
    return Task(name=name, kind=TaskKind.LABEL, dtype="uint8", valid_range=(0, 255))


DOMAINS: dict[str, Task] = {
    task.name: task
    for task in (
        _image("rgb", 3),
        _depth("depth_zbuffer"),
        _depth("depth_euclidean"),
        Task(
            name="normal",
            kind=TaskKind.NORMAL,
            dtype="uint8",
            channels=3,
            valid_range=(0, 255),
            invalid=(127,),
        ),
        _image("reshading", 3),
        _image("principal_curvature", 3),
        *(_image(f"edge_{what}", 1) for what in ("texture", "occlusion")),
        *(_image(f"keypoints{what}", 1) for what in ("2d", "3d")),
        *(_label(f"segment_unsup{what}") for what in ("2d", "25d")),
        *(_label(name) for name in ("mask_valid", "segment_semantic", "semantic")),
        *(
            Task(name=name, kind=TaskKind.VECTOR, dtype="float32")
            for name in ("class_object", "class_scene")
        ),
    )
}


class TaskonomySource(FileSource):
    """A directory of Taskonomy views, opened."""

    name: ClassVar[str] = "taskonomy"

    @classmethod
    def open(
        cls,
        root: str,
        depth_unit: object = None,
        tasks: Sequence[str] | str | None = None,
        ignore: Sequence[str] | str = (),
    ) -> Self:
        """List the views under `root`.

        Parameters
        ----------
        root
            Directory or fsspec URL that holds any of `LAYOUTS`.
        depth_unit
            Metres a count of depth, as a number or ``1/4096``; or by component (any directory on
            the way to the file), as ``{"hm3d": 1/4096}`` or ``hm3d=1/4096``.
        tasks, ignore
            The domains that are wanted, and patterns of paths that are left out.

        Raises
        ------
        SourceNotFoundError
            When there is no such file under `root`.
        UsageError
            When `depth_unit` cannot be understood, or two files claim one task of one view.
        SampleError
            When none of a task's first files can be read.
        """
        units = parse_depth_unit(depth_unit)
        options = TaskOptions.parse(tasks=tasks, ignore=ignore)
        tree = FileTree(root)
        tree.require_root(cls.name, root)
        table, left_out = list_views(tree, options)
        if not len(table):
            raise nothing_found(cls.name, f"no view under {root}", LAYOUTS, tree)
        _check_components(units, table)
        wanted = wanted_tasks(options, [name for name in DOMAINS if name in table.files])
        left_out += unwanted(table.counts(), wanted, options)
        table = table.without([name for name in table.files if name not in wanted])
        meanings = [_meaning(tree, table, name, units) for name in DOMAINS if name in table.files]
        given = {"depth_unit": units, **options.to_json()}
        return cls(tree, table, meanings, given, left_out, ["layout taskonomy"])

    def _decode(self, data: bytes, task: Task, path: str, where: str) -> NDArray[Any]:
        array = read_array(data, task, where, self.meanings[task.name].conversion)
        if task.kind is not TaskKind.DEPTH:
            return array
        own_m, unit_m = _unit_m(self.options.get("depth_unit"), path), task.unit_m or DEPTH_UNIT_M
        return array if own_m == unit_m else _rescale(array, own_m / unit_m)


def list_views(
    tree: FileTree, options: TaskOptions = EVERYTHING
) -> tuple[FileTable, list[LeftOut]]:
    """List every view under a tree, and what is left aside."""
    builder = TableBuilder()
    places: dict[str, tuple[str, str, bool]] = {}
    left_out: list[LeftOut] = []
    rest = PassedOver()
    for directory, names in tree.walk(left_out):
        places.clear()
        head = f"{directory}/" if directory else ""
        for name in names:
            match = _FILE.fullmatch(name)
            pattern = options.ignores(f"{head}{name}") if options.ignore else None
            if match is None or pattern:
                rest.add_file(
                    f"{head}{name}", f"--ignore {pattern}" if pattern else "no view's file"
                )
                continue
            stem, domain, suffix = match.groups()
            if domain not in places:
                places[domain] = _place(directory, domain)
            task, group, known = places[domain]
            if known and suffix == ("npy" if DOMAINS[task].kind is TaskKind.VECTOR else "png"):
                builder.add(group, stem, task, f"{head}point_", f"_domain_{domain}.{suffix}")
            elif known:
                rest.add_file(
                    f"{head}{name}", f"not a file of {task}", task if suffix != "json" else ""
                )
            elif task in _CAMERA:
                rest.add_file(f"{head}{name}", f"{task}: camera data")
            else:
                rest.add_file(f"{head}{name}", f"{task}: no domain that dsc knows", task)
    return builder.build(key_tail="point_"), [*options.excuse(left_out), *rest.left_out()]


def _place(directory: str, file_domain: str) -> tuple[str, str, bool]:
    """Tell the domain of a file, its building, and whether dsc knows the domain."""
    parts = [part for part in directory.split("/") if part]
    domain = _directory_domain(parts) or _FILE_NAMES.get(file_domain, file_domain)
    names = {domain, *(alias for alias, name in _FILE_NAMES.items() if name == domain)}
    kept = []
    for part in parts:
        ending = next((name for name in names if part.endswith(f"_{name}")), None)
        if part not in names:
            kept.append(part[: -len(ending) - 1] if ending else part)
    return domain, "/".join(kept), domain in DOMAINS


def _directory_domain(parts: list[str]) -> str | None:
    known = {**{name: name for name in (*DOMAINS, *_CAMERA)}, **_FILE_NAMES}
    for part in reversed(parts):
        if part in known:
            return known[part]
    for part in reversed(parts):
        endings = [name for name in known if part.endswith(f"_{name}") and part != f"_{name}"]
        if endings:
            return known[max(endings, key=len)]
    return None


def _meaning(tree: FileTree, table: FileTable, name: str, units: DepthUnit | None) -> Meaning:
    """Complete a domain's task by what its files hold: the unit, or dtype and channels."""
    found = probe_task(tree, table, name)
    task = DOMAINS[name]
    why, conversion = f"domain {name}", Conversion(indexes=task.kind is TaskKind.LABEL)
    if task.kind is TaskKind.DEPTH:
        return _depth_meaning(table, task, found, units)
    if task.kind is TaskKind.NORMAL:
        nothing = tuple(dict.fromkeys((*task.invalid, *found.no_direction)))
        task = task.model_copy(update={"invalid": nothing})
    if task.kind in (TaskKind.LABEL, TaskKind.VECTOR) or task.dtype != "uint8":
        task = _as_found(task, found, tree.where(table.some_paths(name, 1)[0]))
    return Meaning(task, why, found.shape, found.dtype, conversion)


def _depth_meaning(
    table: FileTable, task: Task, found: Evidence, units: DepthUnit | None
) -> Meaning:
    used = np.unique(table.files[task.name][table.files[task.name] >= 0])
    heads = [table.templates[int(template)][0] for template in used]
    unit_m = max(_unit_m(units, head) for head in heads)
    task = task.model_copy(update={"unit_m": unit_m})
    warnings: tuple[str, ...] = ()
    if units is None:
        warnings = room_warnings(task.name, found, unit_m, found.far * unit_m)
    return Meaning(task, f"domain {task.name}", found.shape, found.dtype, warnings=warnings)


def _as_found(task: Task, found: Evidence, where: str) -> Task:
    channels = found.channels if task.is_map else int(np.prod(found.shape, dtype=np.int64))
    if found.dtype not in DTYPES or (task.is_map and channels not in (1, 3)):
        raise UsageError(
            f"{where}: {found.dtype} of shape {found.shape} cannot be {task.name}; convert these "
            "files, or leave them out with --tasks or --ignore"
        )
    as_found: dict[str, Any] = {"dtype": found.dtype, "channels": channels}
    if task.is_map:
        as_found["valid_range"] = (0, 65535 if found.dtype == "uint16" else 255)
    return Task.model_validate(task.model_dump() | as_found)


def _unit_m(units: DepthUnit | None, path: str) -> float:
    """Return the depth unit of the component or building that a path lies in."""
    if isinstance(units, Mapping):
        parts = _parts(path)
        return next((unit for name, unit in units.items() if name in parts), DEPTH_UNIT_M)
    return DEPTH_UNIT_M if units is None else units


def _parts(path: str) -> list[str]:
    directory = path.rpartition("/")[0]
    return _place(directory, "")[1].split("/")


def _check_components(units: DepthUnit | None, table: FileTable) -> None:
    """Refuse a unit for a component that is not there: a slip would scale depth silently."""
    there = {part for group in table.groups for part in group.split("/")}
    for name in units if isinstance(units, Mapping) else ():
        if name not in there:
            some = ", ".join(sorted(there)[:8]) or "none"
            raise UsageError(
                f"--depth-unit {name}=...: no directory {name} lies below the root; found: {some}"
            )


def _rescale(depth: NDArray[Any], factor: float) -> NDArray[Any]:
    # `factor` is below 1, for the dataset's unit is the coarsest: nothing can overflow
    counts = np.rint(depth.astype(np.float64) * factor).astype(depth.dtype)
    return np.where(depth == INVALID_DEPTH, depth, counts)
