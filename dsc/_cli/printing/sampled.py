"""Prints what was measured on some samples: distortion, and what tasks hold that are no maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dsc._cli.printing.output import say, show_table
from dsc._cli.printing.text import bytes_text, counted

if TYPE_CHECKING:
    from dsc._pipeline.read.distortion import Distortion, MeasuredMetric
    from dsc._pipeline.read.values import ValueSummary

MEASURED = ("task", "metric", "samples", "mean", "median", "worst", "of sample")
MOST_COUNTS = 12
MOST_LETTERS = 60


def show_distortion(found: "Distortion") -> None:
    """Print one row a task and metric: mean, median, and the worst sample with its key."""
    of = f" of {found.looked_at} looked at" if found.compared < found.looked_at else ""
    say(f"distortion of {counted(found.compared, 'sample')}{of}, evenly spread; {found.note}")
    show_table(MEASURED, [_measured(one) for one in found.metrics])


def _measured(one: "MeasuredMetric") -> list[str]:
    from dsc._pipeline.metrics import amount_text, metric_name

    def text(value: float | None) -> str:
        return amount_text(one.metric, value)

    if one.exact == one.samples:
        values = ["exact", "exact", "exact"]
    else:
        values = [text(one.mean), text(one.median), text(one.worst)]
    name = metric_name(one.metric)
    return [one.task, name, str(one.samples), *values, one.worst_key or ""]


def show_values(found: "Sequence[ValueSummary]") -> None:
    """Print what each task holds, a line or a few a task."""
    if not found:
        say("values: every task is a map; --distortion compares them with their originals")
        return
    for one in found:
        lacking = f", {one.missing} of the archive lack it" if one.missing else ""
        say(f"{one.task} ({one.kind}): {counted(one.there, 'sample')}{lacking}")
        for line in _lines(one):
            say(f"    {line}")


def _lines(one: "ValueSummary") -> list[str]:
    lines = []
    if one.counts:
        lines.append(_counts(one.counts))
    if one.numbers:
        lines.append(_range(one.numbers))
    lines += [f"{name}: {_range(entry)}" for name, entry in one.entries.items()]
    if one.lengths:
        in_bytes = one.kind == "bytes"
        ends = [
            bytes_text(one.lengths[name]) if in_bytes else f"{one.lengths[name]:.0f}"
            for name in ("least", "most", "median")
        ]
        unit = "" if in_bytes else " characters"
        lines.append(f"{ends[0]} to {ends[1]}{unit}, median {ends[2]}")
    if one.different is not None:
        lines.append(f"{one.different} different")
    shown = one.examples[:1] if one.kind == "json" else one.examples
    lines += [f"for example {_quoted(text)}" for text in shown]
    return lines


def _counts(counts: dict[str, int]) -> str:
    listed = [f"{name} {count}" for name, count in list(counts.items())[:MOST_COUNTS]]
    more = len(counts) - MOST_COUNTS
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")


def _range(numbers: dict[str, Any]) -> str:
    odd = f"{numbers['not_finite']} not finite" if "not_finite" in numbers else ""
    if "least" not in numbers:
        return odd
    least, median, most = (_number(numbers[name]) for name in ("least", "median", "most"))
    return ", ".join(filter(None, [f"{least} to {most}", f"median {median}", odd]))


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _quoted(text: str) -> str:
    short = text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…"
    return ascii_safe(repr(short))


def ascii_safe(text: str) -> str:
    """Return a text that any terminal can print: what is no Unicode is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
