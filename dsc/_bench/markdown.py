"""Tables in Markdown, as the benchmarks print them."""

from collections.abc import Sequence


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table without the columns that are empty; nothing when there is no row."""
    used = [at for at in range(len(head)) if any(row[at] for row in rows)]
    if not used:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line[at] for at in used)} |" for line in lines) + "\n"
