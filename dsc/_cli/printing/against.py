"""Prints how an archive compares with its source: a row a task, then what is not given back."""

from typing import TYPE_CHECKING

from dsc._cli.printing.output import note, say, show_table
from dsc._cli.printing.text import counted

if TYPE_CHECKING:
    from dsc._pipeline.read.against import ComparedTask, Comparison

COLUMNS = ("task", "codec", "samples", "beside the source")


def show_comparison(found: "Comparison") -> None:
    """Print one row a task, and every reason for which this is no proof."""
    say(f"beside {found.note}: {counted(found.samples, 'sample')}")
    rows = [[one.task, one.codec, str(one.samples), _verdict(one)] for one in found.tasks]
    show_table(COLUMNS, rows)
    for one in found.tasks:
        if one.detail and one.verdict != "lossy":
            say(f"{one.task}: {one.detail}")
    if not found.is_in_order:
        say("the source has these samples in another order")
    _keys(found.archive_only, found.archive_keys, "only in the archive")
    _keys(found.source_only, found.source_keys, "only in the source")
    for text in found.unreadable:
        say(text)
    more = found.n_unreadable - len(found.unreadable)
    if more > 0:
        say(f"and {more} more that the source cannot read")
    if found.ok:
        lossy = [one.task for one in found.tasks if one.verdict == "lossy"]
        if lossy and len(lossy) == len(found.tasks):
            say("every task is lossy: what comes back is as near to the source as the table says")
            return
        but = f", but for {', '.join(lossy)}" if lossy else ""
        say(f"the archive gives its source back, value for value{but}")
    else:
        note("the archive does not give all of its source back")


def _keys(count: int, keys: tuple[str, ...], what: str) -> None:
    if count:
        more = f" and {count - len(keys)} more" if count > len(keys) else ""
        say(f"{counted(count, 'sample')} {what}: {', '.join(keys)}{more}")


def _verdict(one: "ComparedTask") -> str:
    from dsc._pipeline.metrics import amount_text, metric_name

    if one.verdict == "differs":
        text = f"differs in {counted(one.differing, 'sample')}"
    elif one.verdict != "lossy" or one.metric is None:
        text = str(one.verdict)
    else:
        mean, worst = (amount_text(one.metric, value) for value in (one.mean, one.worst))
        text = f"lossy: {metric_name(one.metric)} {mean} in the mean, {worst} at {one.worst_key}"
    if one.files is None:
        return text
    return f"{text}, {one.files_equal} of {counted(one.files, 'JPEG file')} byte for byte"
