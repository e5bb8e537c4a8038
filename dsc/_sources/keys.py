"""Keys of samples, made of the names of their files, and the order that samples come in.

A key has 7-bit letters, digits, ``_`` and ``-``, at most `KEY_LIMIT` of them. Names that had to be
changed or cut for that get a hash of themselves, so that different names give different keys.
"""

import hashlib
import re

KEY_LIMIT = 80  # letters
GROUP_LIMIT = 48  # of which a group's part has so many at most
SPLIT_ORDER = ("train", "val", "test", "dev")
_PLAIN = re.compile(r"[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*")
_DIGITS = re.compile(r"\d+")
_SEPARATOR = "__"


def split_rank(split: str) -> int:
    """Return the place of a split in the usual order; of other names, behind all of these."""
    return SPLIT_ORDER.index(split) if split in SPLIT_ORDER else len(SPLIT_ORDER)


def natural_order(text: str) -> tuple[str, str]:
    """Return a sort key by which numbers inside names count as numbers."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(20), text), text


def group_prefix(group: str) -> str:
    """Return what the keys of a group's samples begin with: its directories, joined by ``__``."""
    if not group:
        return ""
    return fit(_SEPARATOR.join(plain(part) for part in group.split("/")), GROUP_LIMIT) + _SEPARATOR


def join_key(prefix: str, stem: str) -> str:
    """Return the key of a sample; different (prefix, stem) give different keys."""
    return fit(prefix + plain(stem), KEY_LIMIT)


def plain(name: str) -> str:
    """Spell a name in a key's letters; a name that had to be changed gets a hash of itself.

    ``__`` separates the parts of a key, so a name that has it counts as one to be changed.
    """
    if _PLAIN.fullmatch(name) and name[0] != "-":
        return name
    spelled = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "x"
    return f"{spelled}-{_short_hash(name)}"


def fit(text: str, limit: int) -> str:
    """Cut a name to `limit` letters; what was cut off stays told apart by a hash."""
    return text if len(text) <= limit else f"{text[: limit - 9]}-{_short_hash(text)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
