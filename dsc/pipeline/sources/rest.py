"""What a source leaves out, collected while files are sorted into tasks and samples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dsc.pipeline.sources.options import Options
from dsc.pipeline.sources.passed_over import printable
from dsc.schemas import LeftOut

MOST_DIRECTORIES = 8


class Rest:
    """Collects files that are not read, alike ones together."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[str]] = {}
        self._count: Counter[tuple[str, str, str]] = Counter()

    def add(self, path: str, reason: str, task: str = "") -> None:
        """Note a file, and the task that it looks like, if any."""
        directory, _, name = path.rpartition("/")
        pattern = f"{directory}/*{ending_of(name)}".lstrip("/")
        group = (reason, task, pattern)
        self._count[group] += 1
        if self._count[group] == 1:
            self._found[group] = [path]

    def listed(self) -> list[LeftOut]:
        """Give what was noted; files of one directory, ending and reason are one entry.

        So are those of all directories, where they are more than `MOST_DIRECTORIES`.
        """
        self._fold()
        return [
            LeftOut(
                what=printable(paths[0] if self._count[group] == 1 else group[2]),
                files=self._count[group],
                reason=group[0],
                task=group[1],
            )
            for group, paths in sorted(self._found.items())
        ]

    def _fold(self) -> None:
        alike: Counter[tuple[str, str, str]] = Counter()
        for reason, task, pattern in self._count:
            alike[reason, task, pattern.rpartition("/")[2]] += 1
        for group in list(self._count):
            reason, task, pattern = group
            name = pattern.rpartition("/")[2]
            if alike[reason, task, name] > MOST_DIRECTORIES:
                wider = reason, task, f"**/{name}"
                self._count[wider] += self._count.pop(group)
                self._found.setdefault(wider, self._found.pop(group))


def unwanted(
    files: Mapping[str, int], wanted: Sequence[str], options: Options
) -> Iterator[LeftOut]:
    """List the tasks that nobody asked for; `files` counts those of every task."""
    for name, count in files.items():
        if name not in wanted:
            pattern = options.ignores("", name)
            reason = f"--ignore {pattern}" if pattern else "not in --tasks"
            yield LeftOut(what=f"task {name}", files=count, reason=reason)


def ending_of(name: str) -> str:
    """Give a file name's ending with its dot, or the whole name where it has none."""
    name = name.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return f".{ending}" if dot and stem else name
