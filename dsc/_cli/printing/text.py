"""How numbers and names are spelled for people, and lists that they spell are read."""

import os


def bytes_text(count: float) -> str:
    """Spell a number of bytes with three digits and a decimal unit: ``12.3 kB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            break
        value /= 1000
    digits = 0 if unit == "B" or value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:.{digits}f} {unit}"


def counted(count: int, word: str) -> str:
    """Spell a number of things: ``1 sample``, ``3 samples``."""
    return f"{count} {word}{'s' * (count != 1)}"


def seconds_text(seconds: float) -> str:
    """Spell a duration: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def ratio_text(ratio: float | None) -> str:
    """Spell a compression ratio: ``7.9 ×``; a dash where there is none."""
    if ratio is None:
        return "–"
    return f"{ratio:.2f} ×" if ratio < 9.995 else f"{ratio:.1f} ×"


def archive_name(where: str) -> str:
    """Name an archive by the last part of its path or URL, for files that are made of it."""
    if "://" in where:
        from urllib.parse import urlsplit

        name = urlsplit(where).path.rstrip("/").rpartition("/")[2]
    else:
        name = os.path.basename(os.path.abspath(where))  # `.` and `..` have names, too
    return name or "archive"


def words(text: str | None) -> list[str] | None:
    """Return the words between commas."""
    return None if text is None else [word for part in text.split(",") if (word := part.strip())]
