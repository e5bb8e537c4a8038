"""Writes the tables of a `dsc bench speed` into docs/benchmarks.md, between its two marks.

    python -m benchmarks.speed_page --out bench

The page is a function of the results (`speed.json` in `--out`); nothing of it is typed by hand.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsc._bench.speed.tables import MATRIX, glance_table, matrix_table, measured_on

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="what dsc bench speed wrote to")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    result = json.loads((asked.out / "speed.json").read_text(encoding="utf-8"))
    page = put(asked.page.read_text(encoding="utf-8"), tables(result))
    asked.page.write_text(page, encoding="utf-8")
    print(f"{asked.page}: written from {asked.out / 'speed.json'}")


def tables(result: Mapping[str, Any]) -> str:
    """Return what the page shows of a `speed.json`."""
    parts = result["parts"]
    text = [measured_on(result["environment"]), glance_table(parts)]
    for name in dict.fromkeys(part["data"] for part in parts if part["part"] == "codecs"):
        text += [f"{name}, {MATRIX}:\n", matrix_table(parts, name)]
    return "\n".join(text)


def put(page: str, text: str) -> str:
    """Return a page with `text` between the marks."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"the page lacks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


if __name__ == "__main__":
    main()
