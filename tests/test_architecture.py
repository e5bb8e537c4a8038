"""Packages import only downward, heavy libraries only where they belong and only when needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dsc

PACKAGE = Path(dsc.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {
    "errors": 0,
    "version": 0,
    "_hashing": 0,  # one hash of integers, for orders of samples and keys of exemplars
    "_plugins": 1,  # how codecs and sources find those of other packages
    "_schemas": 1,
    "_codecs": 2,
    "_storage": 2,
    "_renderer": 3,
    "_sources": 4,
    "_pipeline": 5,
    "_training": 6,
    "_replay": 7,
    "_jobs": 8,
    "_bench": 10,
    "_cli": 11,
}
FRONT_DOOR = 9  # the modules that users import: they import everything below, benches above
RESEARCH = "_training/research/"  # comparison networks; they write no archives
HEAVY = ("torch", "ray", "compressai")


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def package_of(path: Path) -> str:
    return relative(path).split("/")[0].removesuffix(".py")


def level_of(room: str) -> int | None:
    """The level of a room; None of what is none, a name in `dsc` itself or a new room."""
    if room in LEVELS:
        return LEVELS[room]
    public = not room.startswith("_")
    is_there = (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
    return FRONT_DOOR if public and is_there else None


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of all imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parts = ["dsc", *relative(path).split("/")[: -node.level]]
                module = ".".join([*parts, *filter(None, [node.module])])
            else:
                module = node.module or ""
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_from_packages_below_its_own(path: Path) -> None:
    own = package_of(path)
    if own in ("__init__", "__main__"):
        return  # the front door: names of every package, loaded when they are used
    level = level_of(own)
    assert level is not None, f"dsc/{own} has no level in this test"
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] != "dsc" or len(parts) < 2:
            continue
        other = parts[1]
        below = level_of(other)
        if below is not None and other != own:
            assert below < level, f"{relative(path)}:{line}: {own} imports {module}"


def test_only_training_code_imports_compressai() -> None:
    found = {
        relative(path)
        for path in MODULES
        for _, module in imports(path)
        if module.split(".")[0] == "compressai"
    }
    assert all(path.startswith(RESEARCH) for path in found)


def test_only_a_name_leads_to_the_research_networks() -> None:
    for path in MODULES:
        if not relative(path).startswith(RESEARCH):
            assert not [m for _, m in imports(path) if m.startswith("dsc._training.research")], path


def test_only_jobs_import_ray() -> None:
    found = {
        package_of(path)
        for path in MODULES
        for _, module in imports(path)
        if module.split(".")[0] == "ray"
    }
    assert found <= {"_jobs"}


def test_schemas_and_storage_know_no_torch() -> None:
    for path in MODULES:
        if package_of(path) in ("errors", "_schemas", "_storage"):
            assert not [m for _, m in imports(path) if m.split(".")[0] == "torch"], relative(path)


def test_library_code_has_no_assert() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert not found


def loaded_after(code: str) -> set[str]:
    report = "import sys; print('\\n' + ' '.join(m for m in sys.modules if '.' not in m))"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.splitlines()[-1].split())


def test_importing_dsc_loads_nothing_heavy() -> None:
    assert not loaded_after("import dsc") & set(HEAVY)


def test_the_command_lines_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from dsc._cli import main\n"
        "sys.argv = ['dsc', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    loaded = loaded_after(code)
    assert "dsc" in loaded
    assert not loaded & set(HEAVY)
