"""A wheel has the whole package and nothing else; `make wheel-test` installs one and runs it."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from tests.places import ROOT

pytest.importorskip("build", reason="builds a wheel (extra `dev`)")
pytest.importorskip("setuptools", reason="builds without isolation, so that no network is needed")

SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
UNWANTED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so")
COMPILED = "dsc/_kernels/compiled.abi3.so"


def build(tree: Path, *kinds: str, **environment: str) -> None:
    """Build what `kinds` name into `tree`/dist, from a copy of the sources in `tree`."""
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    for folder in ("dsc", "tests", "benchmarks"):  # what must not get in is there, too
        shutil.copytree(ROOT / folder, tree / folder, ignore=UNWANTED)
    command = [sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(
        command,
        check=False,
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("dist")
    build(tree, "--sdist", "--wheel")
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def package_files() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dsc").rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix not in (".c", ".h", ".so")
    }


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return message_from_string(wheel.read(name).decode())


def test_a_wheel_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    expected = package_files()
    assert {"dsc/py.typed", "dsc/__main__.py"} <= expected
    assert any(name.endswith(".safetensors") for name in expected)
    assert not expected - set(wheel.namelist())


def test_a_wheel_has_nothing_else(wheel: zipfile.ZipFile) -> None:
    others = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert not others - package_files() - {COMPILED}


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")
def test_one_wheel_has_compiled_kernels_for_all_versions_of_python(
    dist: Path, wheel: zipfile.ZipFile
) -> None:
    (path,) = dist.glob("*.whl")
    assert "-cp311-abi3-" in path.name
    assert COMPILED in wheel.namelist()


def test_a_source_distribution_has_what_kernels_are_built_from(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    kernels = ROOT / "dsc" / "_kernels"
    sources = [*kernels.glob("*.c"), *kernels.glob("*.h"), ROOT / "setup.py"]
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names


def test_without_a_compiler_a_wheel_is_built_that_works(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    build(tree, "--wheel", CC="/bin/false")
    (path,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        assert COMPILED not in opened.namelist()
        opened.extractall(tmp_path / "installed")
    code = "from dsc import _kernels; print(_kernels.__file__, _kernels.description())"
    told = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
    ).stdout
    assert told.startswith(str(tmp_path / "installed"))
    assert "compiled ones were not built" in told


def test_a_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = metadata(wheel)
    assert (said["Name"], said["Version"]) == ("dsc", project["version"])
    assert said["Requires-Python"] == project["requires-python"]
    assert set(said.get_all("Provides-Extra") or ()) == set(project["optional-dependencies"])
    (points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "dsc = dsc._cli:main" in wheel.read(points).decode()


def test_all_places_name_one_version() -> None:
    import dsc

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == dsc.__version__
    assert f"\nversion: {dsc.__version__}\n" in citation
    assert f"## {dsc.__version__}" in (ROOT / "CHANGELOG.md").read_text()
