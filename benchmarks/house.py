"""Draws up the structure of the package in figures, of one revision or two side by side.

    python -m benchmarks.house                 # the working tree
    python -m benchmarks.house --at REV        # a revision beside the working tree

Rooms are the packages below ``dsc`` and, within a room, its packages and modules. An arrow is one
room's import of another, inside functions and for type checking too. Rooms lie on floors, each
above all that it imports; an arrow that has to run against that order runs back up.
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

WINDOW = 6  # equal lines in a row that count as written twice
INSIDE = ("pipeline", "replay", "storage")

Graph = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, its text, and the modules of the package that it imports."""

    name: str
    text: str
    imports: frozenset[str]


def read_package(package: Path) -> dict[str, Module]:
    """Read all modules below a package's directory, by dotted name."""
    paths = {_dotted(path, package): path for path in sorted(package.rglob("*.py"))}
    found = {}
    for name, path in paths.items():
        text = path.read_text(encoding="utf-8")
        named = {_module(target, paths) for target in targets(text)} - {None, name}
        found[name] = Module(name, text, frozenset(target for target in named if target))
    return found


def targets(text: str) -> Iterator[str]:
    """Yield the dotted names that a module's absolute imports may mean, the longest first."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_graph(modules: Mapping[str, Module], within: str) -> dict[str, Counter[str]]:
    """Count the imports between the rooms directly inside a package, by room."""
    graph: dict[str, Counter[str]] = {}
    for module in modules.values():
        if (room := _room(module.name, within)) is None:
            continue
        graph.setdefault(room, Counter())
        for target in module.imports:
            other = _room(target, within)
            if other is not None and other != room:
                graph[room][other] += 1
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Find the circles: strongly connected components of two nodes or more (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, {}):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def back_up(graph: Graph) -> list[tuple[str, str]]:
    """List the arrows that run back up: those to cut, lightest first, until no circle is left."""
    left = {node: dict(targets) for node, targets in graph.items()}
    cut: list[tuple[str, str]] = []
    while tied := circles(left):
        inside = set(tied[0])
        arrows = [(n, a, b) for a in inside for b, n in left[a].items() if b in inside]
        _, a, b = min(arrows)
        del left[a][b]
        cut.append((a, b))
    return cut


def written_twice(modules: Mapping[str, Module]) -> int:
    """Count the lines that stand in a run of `WINDOW` lines which stands elsewhere too."""
    places: defaultdict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for module in modules.values():
        lines = [line.strip() for line in module.text.splitlines()]
        lists = _lists_of_names(module.text)
        code = [(n, line) for n, line in enumerate(lines) if line and n not in lists]
        for at in range(len(code) - WINDOW + 1):
            run = code[at : at + WINDOW]
            places[tuple(line for _, line in run)].append((module.name, at))
    twice = {
        (name, at + k)
        for found in places.values()
        if len(found) > 1
        for name, at in found
        for k in range(WINDOW)
    }
    return len(twice)


def public_names(modules: Mapping[str, Module]) -> int:
    """Count top-level names without an underscore, in modules whose path has none either."""
    total = 0
    for module in modules.values():
        parts = [part for part in module.name.split(".") if not part.startswith("__")]
        if any(part.startswith("_") for part in parts):
            continue
        total += len({name for name in _defined(module.text) if not name.startswith("_")})
    return total


def figures(modules: Mapping[str, Module]) -> dict[str, str]:
    """Return the rows of the table, by what they say."""
    lines = {name: module.text.count("\n") for name, module in modules.items()}
    by_room: Counter[str] = Counter()
    for name, n in lines.items():
        by_room[_room(name, "dsc") or "(front)"] += n
    room, most = by_room.most_common(1)[0]
    files = {name: dict.fromkeys(module.imports, 1) for name, module in modules.items()}
    whole = rooms_graph(modules, "dsc")
    rows = {
        "files": str(len(modules)),
        "lines": f"{sum(lines.values()):,}",
        "lines a file, median": f"{median(lines.values()):.0f}",
        "largest room": f"{room} {most / sum(lines.values()):.1%}",
        "circles of files": str(len(circles(files))),
        "rooms / arrows / back up": _arrows(whole),
        "lines written twice": f"{written_twice(modules):,}",
        "public names": f"{public_names(modules):,}",
    }
    for name in INSIDE:
        within = f"dsc._{name}" if f"dsc._{name}" in modules else f"dsc.{name}"
        rows[f"{name}: rooms / arrows / back up"] = _arrows(rooms_graph(modules, within))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--at", help="a revision to set beside the working tree")
    at = parser.parse_args().at
    root = Path(__file__).parents[1]
    columns = {"working tree": figures(read_package(root / "dsc"))}
    if at is not None:
        with tempfile.TemporaryDirectory() as folder:
            check_out(root, at, Path(folder))
            columns = {at: figures(read_package(Path(folder) / "dsc")), **columns}
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for row in columns["working tree"]:
        print(f"| {row} | " + " | ".join(column[row] for column in columns.values()) + " |")


def _arrows(graph: Graph) -> str:
    arrows = sum(len(targets) for targets in graph.values())
    return f"{len(graph)} / {arrows} / {len(back_up(graph))}"


def check_out(root: Path, revision: str, folder: Path) -> None:
    """Put the package as it was at a revision into a folder."""
    command = ["git", "-C", str(root), "archive", revision, "dsc"]
    archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def _dotted(path: Path, package: Path) -> str:
    name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _module(target: str, known: Mapping[str, Path]) -> str | None:
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target or None


def _room(name: str, within: str) -> str | None:
    """Return the room of a module; None where it is not inside, or is the package's own file."""
    inside = name.startswith(within + ".")
    return name[len(within) + 1 :].split(".", maxsplit=1)[0] if inside else None


def _lists_of_names(text: str) -> set[int]:
    """Return the numbers of the lines that only import names or list them in ``__all__``."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        lists = isinstance(node, ast.Assign) and _assigns_all(node)
        if lists or isinstance(node, ast.Import | ast.ImportFrom):
            found |= set(range(node.lineno - 1, node.end_lineno or node.lineno))
    return found


def _defined(text: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and _assigns_all(node):
            yield from ast.literal_eval(node.value)


def _assigns_all(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


if __name__ == "__main__":
    main()
