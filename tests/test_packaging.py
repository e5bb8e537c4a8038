"""A wheel has the whole package and nothing else; `make wheel-test` installs one and runs it."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_string
from email.message import Message

import pytest

from tests.places import ROOT

pytest.importorskip("build", reason="builds a wheel (extra `dev`)")
pytest.importorskip("setuptools", reason="builds without isolation, so that no network is needed")

SOURCES = ("pyproject.toml", "README.md", "LICENSE")
UNWANTED = shutil.ignore_patterns("__pycache__", "*.pyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    tree = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    for folder in ("dsc", "tests", "benchmarks"):  # what must not get in is there, too
        shutil.copytree(ROOT / folder, tree / folder, ignore=UNWANTED)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(command, check=False, cwd=tree, capture_output=True, text=True)
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def package_files() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dsc").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
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
    assert not others - package_files()


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
