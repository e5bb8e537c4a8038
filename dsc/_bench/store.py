"""What has been measured, kept on disk, so that a benchmark goes on where it was stopped.

One JSON line a result: ``{"key": ..., "value": ...}``, appended and flushed when it is there. A key
is a hash of everything that decides the result, so that a line never has to be taken back. A last
line that was cut off by a crash is ignored.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsc._schemas.base import canonical_json


class Store:
    """Results by key, on disk.

    Parameters
    ----------
    path
        The file; made with the first result.
    fresh
        Whether what it holds is thrown away.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        if fresh:
            path.unlink(missing_ok=True)
        if path.is_file():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.splitlines():
                entry = json.loads(line)
                self._found[entry["key"]] = entry["value"]
            if len(whole) < len(data):
                path.write_bytes(whole)

    def get(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the result of what `identity` describes."""
        return self._found.get(key_of(identity))

    def put(self, identity: Mapping[str, Any], value: dict[str, Any]) -> None:
        """Keep a result."""
        key = key_of(identity)
        self._found[key] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value}) + "\n")

    def get_or_make(
        self, identity: Mapping[str, Any], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return what is there, else make and keep it."""
        found = self.get(identity)
        if found is None:
            found = make()
            self.put(identity, found)
        return found


def key_of(identity: Mapping[str, Any]) -> str:
    """Hash a description in JSON."""
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:32]
