"""Packages import only downward, heavy libraries only where they belong and only when needed."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import dsc
from benchmarks.house import circles, read_package, rooms_graph
from tests.archives import build_archive

PACKAGE = Path(dsc.__file__).parent
PATHS = sorted(PACKAGE.rglob("*.py"))
HOUSE = read_package(PACKAGE)

FRONT_DOOR = "front door"  # all that users import

# From the ground up: a room imports only from rooms of the lines before its own.
FLOORS = (
    ("errors", "version", "_hashing", "_kernels"),
    ("_extras", "_plugins", "_schemas", "_threads"),
    ("_renderer", "_backbones", "_coding", "_storage", "_transforms", "_columns"),
    ("_codecs",),
    ("_files",),
    ("_sources",),
    ("_pipeline",),
    ("_copies", "_stream", "_training"),
    ("_replay",),
    ("_jobs",),
    (FRONT_DOOR,),
    ("_bench", "_browse"),
    ("_cli",),
)
# Inside a room likewise, one file or inner room after the other.
INNER = {
    "_coding": "varint jpeg_xl fill entropy weights_file integer steps mixing context",
    "_backbones": "base weights pictures staged efficientnet timm_models registry extract",
    "_codecs": (
        "latents base canvas registry split maps classical label sequence derived "
        "surfaces embedding klt encoder residual restored machine learned"
    ),
    "_storage": "files format cache read",
    "_files": "formats directories passed_over likely local remote packed tree",
    "_sources": (
        "base reindexed computed keys meaning sequences splits registry file_table report "
        "file_source rows hdf5 folder webdataset coco lerobot taskonomy nyuv2 rendered"
    ),
    "_pipeline": "metrics options choose read write view",
    "_copies": "contents target download stores bring hub fetch pull push export",
    "_training": (
        "config networks data objective schedule average divergence evaluate export log "
        "checkpoint frozen guidance loop session adapt models research"
    ),
    "_replay": "scenario policies buffer learners experiment selection avalanche",
    "_browse": "groups pictures sizes content server",
    "_jobs": "workers archive training replay ray_data",
}
MOST_INNER = {"_pipeline": 7, "_replay": 7, "_storage": 5}
RESEARCH = "_training/research/"  # comparison networks; they write no archives
HEAVY = ("torch", "ray", "compressai")
# what help needs nothing of, and each takes a tenth of a second or more than its own part of it
SLOW_TO_LOAD = (
    "aiohttp", "asyncio", "fsspec", "h5py", "imagecodecs", "importlib.metadata", "jinja2", "numpy",
    "safetensors", "tenacity",
)  # fmt: skip


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(name: str) -> str:
    """The room of a module's dotted name; that of all public modules is the front door."""
    room = f"{name}.".split(".")[1]
    if room == "__main__":
        return "_cli"
    private = room.startswith("_")
    return room if private or room in ("errors", "version") else FRONT_DOOR


def floor_of(room: str) -> int:
    floors = [n for n, rooms in enumerate(FLOORS) if room in rooms]
    assert floors, f"dsc/{room} has no floor in this test"
    return floors[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of all imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{relative(path)}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("name", sorted(HOUSE))
def test_a_module_imports_only_from_rooms_below_its_own(name: str) -> None:
    own = room_of(name)
    for target in HOUSE[name].imports:
        other = room_of(target)
        assert other == own or floor_of(other) < floor_of(own), f"{name} imports {target}"


@pytest.mark.parametrize("room", INNER)
def test_inside_a_room_imports_run_downward_too(room: str) -> None:
    order = INNER[room].split()
    graph = rooms_graph(HOUSE, f"dsc.{room}")
    assert sorted(graph) == sorted(order), "the list in this test is not what is there"
    for inner, targets in graph.items():
        up = [target for target in targets if order.index(target) > order.index(inner)]
        assert not up, f"{room}/{inner} imports from {up}"


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not circles({name: dict.fromkeys(module.imports, 1) for name, module in HOUSE.items()})


def test_no_room_is_a_fifth_of_the_house_or_has_too_many_inner_rooms() -> None:
    lines: Counter[str] = Counter()
    for name, module in HOUSE.items():
        lines[room_of(name)] += module.text.count("\n")
    room, most = lines.most_common(1)[0]
    assert most < lines.total() / 5, f"{room} is {most / lines.total():.0%} of the house"
    for room, limit in MOST_INNER.items():
        assert len(rooms_graph(HOUSE, f"dsc.{room}")) <= limit, room


def test_only_training_code_imports_compressai() -> None:
    found = {
        relative(path)
        for path in PATHS
        for _, module in imports(path)
        if module.split(".")[0] == "compressai"
    }
    assert all(path.startswith(RESEARCH) for path in found)


def test_only_a_name_leads_to_the_research_networks() -> None:
    for path in PATHS:
        if not relative(path).startswith(RESEARCH):
            assert not [m for _, m in imports(path) if m.startswith("dsc._training.research")], path


def test_only_jobs_import_ray() -> None:
    found = {
        room_of(f"dsc.{relative(path)}".replace("/", "."))
        for path in PATHS
        for _, module in imports(path)
        if module.split(".")[0] == "ray"
    }
    assert found <= {"_jobs"}


def test_schemas_and_storage_know_no_torch() -> None:
    for path in PATHS:
        if room_of(f"dsc.{relative(path)}".replace("/", ".")) in ("errors", "_schemas", "_storage"):
            assert not [m for _, m in imports(path) if m.split(".")[0] == "torch"], relative(path)


def test_library_code_has_no_assert() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in PATHS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert not found


def loaded_after(code: str) -> set[str]:
    report = "import sys; print('\\n' + ' '.join(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.splitlines()[-1].split())


def test_importing_dsc_loads_nothing_heavy() -> None:
    loaded = loaded_after("import dsc")
    assert not loaded & {*HEAVY, *SLOW_TO_LOAD, "pydantic", "rich", "typer"}
    own = {name for name in loaded if name.startswith("dsc.")}
    assert own == {"dsc.errors", "dsc.version"}


def loaded_by_command(*words: str) -> set[str]:
    code = (
        "import sys\n"
        "from dsc._cli import main\n"
        f"sys.argv = {['dsc', *words]}\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    return loaded_after(code)


def test_the_command_lines_help_loads_nothing_heavy() -> None:
    loaded = loaded_by_command("--help")
    assert "dsc" in loaded
    assert not loaded & {*HEAVY, *SLOW_TO_LOAD, "pydantic"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("dsc.")}
    assert rooms <= {"_cli", "_extras", "_storage", "errors", "version"}


@pytest.mark.parametrize("command", ["info", "ls"])
def test_a_look_at_an_archive_loads_what_reads_its_manifest(command: str, tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 4)
    loaded = loaded_by_command(command, str(tmp_path / "a"))
    assert "dsc._storage.read.archive" in loaded
    assert not loaded & {*HEAVY, *SLOW_TO_LOAD} - {"importlib.metadata"}  # pydantic loads that
    others = {"dsc._cli.compress", "dsc._cli.train", "dsc._cli.bench", "dsc._cli.replay"}
    assert not loaded & {*others, "dsc._jobs", "dsc._sources", "dsc._training"}


def test_no_class_name_means_three_things() -> None:
    where: dict[str, list[str]] = {}
    for module in HOUSE.values():
        for node in ast.parse(module.text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(module.name)
    assert not {name: modules for name, modules in where.items() if len(modules) > 2}
