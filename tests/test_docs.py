"""The documentation is true: links and files are there, code runs, messages are real."""

import ast
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import dsc
from tests.places import ROOT
from tests.test_architecture import FLOORS, FRONT_DOOR, room_of

DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
]
# which test runs the Python of a page; a page that is not named may have none
RUN_BY = {
    "README.md": "tests/test_docs.py",
    "docs/quickstart.md": "tests/test_docs.py",
    "docs/embeddings.md": "tests/examples/test_embeddings_page.py",
    "docs/features.md": "tests/examples/test_features_page.py",
    "docs/derived.md": "tests/codecs/derived/test_rules.py",
    "docs/recordings.md": "tests/pipeline/read/test_sequences.py",
    "docs/coarse_first.md": "tests/copies/test_levels.py",
    "docs/machine_paths.md": "tests/pipeline/read/test_paths.py",
    "docs/streaming.md": "tests/examples/test_guide.py",
    "docs/training_without_pixels.md": "tests/examples/test_without_pixels.py",
    "docs/replay.md": "tests/replay/buffer/test_replay_doc.py",
    "docs/class_incremental.md": "tests/replay/learners/test_class_incremental_doc.py",
    "docs/replay_select.md": "tests/replay/selection/test_selection_doc.py",
    "docs/codec_that_keeps_learning.md": "tests/replay/experiment/test_keeps_learning_doc.py",
    "docs/avalanche.md": "tests/replay/avalanche/test_avalanche.py",
    "docs/ray.md": "tests/jobs/ray_data/test_ray_data.py",
    "docs/moving.md": "tests/examples/test_moving.py",
    "docs/sharing.md": "tests/copies/test_sharing_page.py",
    "docs/for_trainers.md": "tests/examples/test_people.py",
    "docs/for_learners.md": "tests/examples/test_people.py",
    "docs/format.md": "tests/storage/format/test_format_doc.py",
}
README_LINES = 120


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_the_site_and_the_index_of_decisions_name_every_page() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    index = (DOCS / "decisions" / "index.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        assert page.relative_to(DOCS).as_posix() in site, "add it to the nav of mkdocs.yml"
        assert page.parent.name != "decisions" or page.name == "index.md" or page.name in index


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target or target.startswith(("#", "mailto:")):
            continue
        found = path.parent / target.partition("#")[0]
        assert found.exists(), f"{name_of(path)} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_files_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    ours = r"`((?:dsc|tests|examples|benchmarks|docs)/[\w./-]+|\.ci/run)`"
    for name in re.findall(ours, text):
        assert (ROOT / name).exists(), f"{name_of(path)} names {name}"


def defined(path: Path) -> set[str]:
    """Return the names that a file defines: functions, classes, methods as `Class.method`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            found |= {f"{node.name}.{part.name}" for part in inner}
    return found


NAMED = re.compile(r"`(dsc/[\w/]+\.py)`:\s+(`[\w.]+`(?:(?:,|\sand)\s+`[\w.]+`)*)")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_names_that_are_said_to_be_in_a_file_are_there(path: Path) -> None:
    for file, names in NAMED.findall(path.read_text(encoding="utf-8")):
        for name in re.findall(r"`([\w.]+)`", names):
            assert name in defined(ROOT / file), f"{name_of(path)}: {file} defines no {name}"


def test_three_walks_have_twelve_steps_at_most() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    walks = re.split(r"^### Through ", page, flags=re.MULTILINE)[1:]
    assert len(walks) == 3
    for walk in walks:
        steps = re.findall(r"^\d+\. (.*(?:\n   .*)*)", walk, re.MULTILINE)
        assert 6 <= len(steps) <= 12
        assert all(NAMED.match(step) for step in steps), "each step begins with a file and a name"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_code_of_the_pages_is_run_by_a_test(path: Path) -> None:
    if not blocks(path):
        return
    runner = RUN_BY.get(name_of(path))
    assert runner, f"{name_of(path)} has Python that no test runs"
    assert (ROOT / runner).is_file()


@pytest.mark.parametrize("target", re.findall(r"make ([\w-]+)", (ROOT / "README.md").read_text()))
def test_commands_of_the_readme_are_targets(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each `dsc ...` that a page shows, in a block or within a text."""
    text = re.sub(r"\\\n\s*", " ", text)  # a line that goes on in the next
    fences = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^(?:\$ )?(dsc [a-z].*)$", "\n".join(fences), re.MULTILINE)
    for line in [*lines, *re.findall(r"`(dsc [a-z][^`]*)`", text)]:
        yield re.sub(r"\s+", " ", line.partition(" #")[0].rstrip(" &")).split(" ")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_options_that_pages_name_are_there(path: Path) -> None:
    from typer.main import get_command

    from dsc._cli import app

    for words in commands(path.read_text(encoding="utf-8")):
        command: Any = get_command(app)
        rest = words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        known = {name for option in command.params for name in option.opts} | {"--help"}
        unknown = [word for word in rest if word.startswith("--") and word not in known]
        if hasattr(command, "commands"):  # a group: what follows is no command of it
            unknown = rest
        assert not unknown, f"{name_of(path)}: `{' '.join(words)}`: no {unknown}"


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "views"
    dsc.compress("sample", out, sample=24, size=32, tasks="rgb,depth", codec="rgb=webp,depth=jxl")
    return out


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_python_of_the_first_pages_runs(
    page: str, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(views, "views")
    scope: dict[str, Any] = {}
    for block in blocks(ROOT / page):
        code = block.replace("http://localhost:8000", "views")
        exec(compile(code, page, "exec"), scope)
    assert scope["batch"]["rgb"].shape == (8, 3, 32, 32)
    assert scope["batch"]["depth"].shape == (8, 32, 32)


# ---- the drawing of the rooms


def drawing() -> str:
    """Draw the floors of the package from the top down, behind each room its inner rooms."""
    package = Path(dsc.__file__).parent
    names = [path.stem for path in sorted(package.iterdir()) if not path.stem.startswith("_")]
    public = [name for name in names if room_of(f"dsc.{name}") == FRONT_DOOR and name != "py"]
    lines = []
    for room in (room for floor in reversed(FLOORS) for room in floor):
        if room == FRONT_DOOR:
            inner = ["dsc", *(f"dsc.{name}" for name in public)]
        else:
            inner = sorted(path.parent.name for path in (package / room).glob("*/__init__.py"))
        lines.append(f"{room:12} {'  '.join(inner)}".rstrip())
    return "\n".join(lines)


def test_the_drawing_of_the_rooms_is_the_code() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    drawn = re.search(r"```text\n(.*?)\n```", page, re.DOTALL)
    assert drawn
    assert drawn[1] == drawing(), f"docs/architecture.md should show:\n{drawing()}"


# ---- messages


@cache
def texts() -> str:
    """Return all strings of the package: of an f-string the parts that do not vary."""
    found = []
    for path in Path(dsc.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_headings_of_troubleshooting_are_parts_of_real_messages() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^### ([^\n]*)\n\n```\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert len(entries) > 15
    for heading, message in entries:
        assert heading in message, heading
        if heading != "Cannot connect to host":  # aiohttp's own words
            assert heading in texts(), f"no message says {heading!r} any more"
