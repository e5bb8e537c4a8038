"""Remembers, on this machine alone, where the data lies that archives were made of.

An archive holds no path of the machine that made it: equal input gives equal bytes, and whoever
gets it learns nothing of whose disk that was. So the place is noted beside all archives, in a
directory of the user's own: one small file an archive, named by the hash of its plan, which copies
(`dsc fetch`) keep. Nothing else is in it than what `Source.describe` gives: layout, root, options,
fingerprint. It is never read by anything that writes an archive.

The directory is ``$XDG_STATE_HOME/dsc/sources``, else ``~/.local/state/dsc/sources``. ``DSC_STATE``
names another one instead of the part before ``sources``; ``off`` remembers and recalls nothing.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsc._schemas import Manifest
from dsc._storage.files.place import absolute, parse_place
from dsc.errors import DscError

KEPT = 4096  # places of 170 bytes or so; the oldest leave
MOST_BYTES = 1 << 20
PLAN_HASH = re.compile(r"[0-9a-f]{64}")


def state_directory() -> Path | None:
    """Return where places are noted; None where they are not to be."""
    said = os.environ.get("DSC_STATE")
    if said is not None:
        return None if said.lower() in ("", "0", "off", "no") else Path(said) / "sources"
    base = os.environ.get("XDG_STATE_HOME") or ""
    with suppress(RuntimeError):  # a process may have no home
        home = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
        return home / "dsc" / "sources"
    return None


def remember(plan_sha256: str, description: Mapping[str, Any]) -> None:
    """Note where the data of a plan lies; in silence not, where that cannot be.

    A URL with a signature or a password is a secret: what holds one is not noted.

    Parameters
    ----------
    plan_sha256
        Hash of the plan.
    description
        What `Source.describe` gave.
    """
    folder = state_directory()
    root = description.get("root")
    if folder is None or _holds_secret(description):
        return
    noted = dict(description)
    if root is not None:
        noted["root"] = absolute(str(root))
    with suppress(OSError, TypeError, ValueError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f".{plan_sha256}.{os.getpid()}"
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(noted, file)
        part.replace(folder / f"{plan_sha256}.json")
        _forget_oldest(folder)


def recall(plan_sha256: str) -> dict[str, Any] | None:
    """Return what was noted of a plan; None where nothing was, or it cannot be read."""
    folder = state_directory()
    if folder is None or not PLAN_HASH.fullmatch(plan_sha256):
        return None
    with suppress(OSError, ValueError):
        with (folder / f"{plan_sha256}.json").open(encoding="utf-8") as file:
            found = json.loads(file.read(MOST_BYTES))
        if isinstance(found, dict) and isinstance(found.get("name"), str):
            return found
    return None


def recall_all(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what was noted of an archive and of what was appended to it, as far as anything was.

    A place that several of them came from is given once.
    """
    plans = [manifest.plan_sha256, *(one.plan_sha256 for one in manifest.appended)]
    found = [noted for plan in plans if (noted := recall(plan)) is not None]
    by_place = {json.dumps(one, sort_keys=True): one for one in found}
    return list(by_place.values())


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_secret, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_secret, value))
    if not isinstance(value, str) or "://" not in value:
        return False
    try:
        place = parse_place(value)
    except DscError:
        return True
    return bool(place.query or place.user or place.password or "@" in value.partition("://")[2])


def _forget_oldest(folder: Path) -> None:
    noted = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in noted[KEPT:]:
        path.unlink(missing_ok=True)
