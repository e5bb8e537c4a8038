"""Maps that follow from depth and normals as av1 decodes them, beside av1's own pictures of them.

    python -m benchmarks.derived_geometry [--views 12] [--sizes 256,512] [--qualities 30,60,90]

Rules are found on eight rendered views. A line for each size, quality and map: how many values of
the worst view are equal where parents are originals, the errors (root mean square of counts) of the
map from decoded parents and of av1's picture of it, in how many views the first is no larger, the
bytes of that picture, and the processor time that a map takes to derive.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from time import thread_time

import numpy as np

from benchmarks.derived_filters import coded, rmse
from dsc._bench.markdown import markdown_table
from dsc._codecs.base import Array
from dsc._codecs.derived.rule import Rule
from dsc._codecs.derived.rules import find_rule
from dsc._codecs.registry import make_codec
from dsc._schemas import Quality
from dsc._sources.base import read_sample
from dsc._sources.registry import open_source
from dsc._sources.taskonomy import DOMAINS

PARENTS = ("depth_zbuffer", "normal")
CHILDREN = ("depth_euclidean", "edge_occlusion", "mask_valid", "reshading")
FOUND_ON = 8

View = Mapping[str, Array]


def main() -> None:
    """Render views, derive and code their maps, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--sizes", default="256,512")
    parser.add_argument("--qualities", default="30,60,90")
    options = parser.parse_args()
    rows: list[list[str]] = []
    for size in map(int, options.sizes.split(",")):
        views = rendered(options.views, size)
        rules = {name: rule for name in CHILDREN if (rule := found(name, views)) is not None}
        qualities = [Quality(default=int(word)) for word in options.qualities.split(",")]
        for quality in qualities:
            decoded = [decode(view, quality) for view in views]
            rows += [
                [str(size), str(quality.default), name, *line(name, rule, views, decoded, quality)]
                for name, rule in rules.items()
            ]
    head = [
        "size",
        "quality",
        "map",
        "equal",
        "derived RMSE",
        "av1 RMSE",
        "no farther",
        "av1 bytes",
        "ms",
    ]
    print(markdown_table(head, rows))


def rendered(count: int, size: int) -> list[View]:
    """Render rooms with all maps."""
    names = (*PARENTS, *CHILDREN)
    source = open_source("sample", n=count, size=size, tasks=",".join(names))
    return [read_sample(source, n, names).arrays for n in range(count)]


def found(name: str, views: Sequence[View]) -> Rule | None:
    """Find the rule of a map."""
    return find_rule(DOMAINS[name], [DOMAINS[parent] for parent in PARENTS], views[:FOUND_ON])


def decode(view: View, quality: Quality) -> View:
    """Return what the parents decode to."""
    return {
        name: coded(make_codec("av1", [DOMAINS[name]]), view[name], quality)[0] for name in PARENTS
    }


def line(
    name: str, rule: Rule, views: Sequence[View], decoded: Sequence[View], quality: Quality
) -> list[str]:
    """Return what the table says of a map."""
    equal, derived, alone, sizes, times = zip(
        *measured(name, rule, views, decoded, quality), strict=True
    )
    nearer = sum(first <= second for first, second in zip(derived, alone, strict=True))
    return [
        f"{min(equal):.3%}", f"{fmean(derived):.2f}", f"{fmean(alone):.2f}",
        f"{nearer} of {len(views)}", f"{fmean(sizes):,.0f}", f"{median(times):.1f}",
    ]  # fmt: skip


def measured(
    name: str, rule: Rule, views: Sequence[View], decoded: Sequence[View], quality: Quality
) -> Iterator[tuple[float, float, float, int, float]]:
    """Yield the share of equal values, both errors, bytes and milliseconds of each view."""
    exact = DOMAINS[name].is_exact
    codec = make_codec("label-context" if exact else "av1", [DOMAINS[name]])
    for view, parents in zip(views, decoded, strict=True):
        child = view[name]
        own = rule.fit(child, view)
        start = thread_time()
        derived = rule.derive(parents, own)
        took_ms = (thread_time() - start) * 1e3
        picture, size = coded(codec, child, quality)
        equal = float(np.mean(rule.derive(view, own) == child))
        yield equal, rmse(derived, child), rmse(picture, child), size, took_ms


if __name__ == "__main__":
    main()
