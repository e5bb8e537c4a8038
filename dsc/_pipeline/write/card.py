"""Writes an archive's ``README.md``: a dataset card for people and for the Hugging Face Hub.

The front matter has a configuration a task, whose globs name the tars of every stream that the task
requires, so that the Hub's own tools fetch no other. What dsc cannot know, a licence first of all,
is left out. dsc writes this file and never reads it. Nothing in it depends on when or where it was
written.
"""

import json
from collections.abc import Iterator, Sequence

from dsc._schemas import Manifest, ShardRecord, Task, TaskKind, carrying_streams, required_streams

CATEGORIES = {
    TaskKind.DEPTH: "depth-estimation",
    TaskKind.LABEL: "image-segmentation",
    TaskKind.CLASS: "image-classification",
    TaskKind.FEATURE: "image-feature-extraction",
}
TAGS = {TaskKind.DEPTH: "depth", TaskKind.NORMAL: "surface-normals", TaskKind.LABEL: "segmentation"}
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def card(manifest: Manifest, shards: Sequence[ShardRecord]) -> str:
    """Return the text of ``README.md``.

    Parameters
    ----------
    manifest
        The archive's; its `files` and hash are not used, because they come later.
    """
    return "\n".join([*_front_matter(manifest), "", *_text(manifest, shards), ""])


def size_category(samples: int) -> str:
    """Name the size of a dataset as the Hub does: ``n<1K``, ``1K<n<10K``, ... ``n>1T``."""
    for at, name in enumerate(SIZES):
        if samples < 10 ** (3 + at):
            return f"{SIZES[at - 1]}<n<{name}" if at else f"n<{name}"
    return f"n>{SIZES[-1]}"


def _front_matter(manifest: Manifest) -> Iterator[str]:
    """Yield the YAML; every name is quoted, because ``no`` and ``1e5`` are names, too."""
    kinds = list(dict.fromkeys(task.kind for task in manifest.tasks))
    yield "---"
    yield f"pretty_name: {_quoted(f'{manifest.source}, compressed')}"
    yield f"size_categories: [{_quoted(size_category(sum(manifest.splits.values())))}]"
    categories = [CATEGORIES[kind] for kind in kinds if kind in CATEGORIES]
    if categories:
        yield f"task_categories: [{', '.join(map(_quoted, categories))}]"
    tags = ["dsc", "webdataset", *(TAGS[kind] for kind in kinds if kind in TAGS)]
    yield f"tags: [{', '.join(map(_quoted, tags))}]"
    yield "configs:"
    for at, task in enumerate(manifest.tasks):
        yield f"- config_name: {_quoted(task.name)}"
        if not at:
            yield "  default: true"
        yield "  data_files:"
        streams = required_streams(manifest.streams, [task.name])
        for split in manifest.splits:
            globs = [f"{name}/{split}-{name}-*.tar" for name in streams]
            yield f"  - split: {_quoted(split)}"
            yield f"    path: [{', '.join(map(_quoted, globs))}]"
    yield "---"


def _quoted(text: str) -> str:
    return json.dumps(text)  # a string of JSON is one of YAML


def _text(manifest: Manifest, shards: Sequence[ShardRecord]) -> Iterator[str]:
    name, failed = manifest.tasks[0].name, sum(len(shard.failed) for shard in shards)
    splits = ", ".join(manifest.splits)
    yield f"# {manifest.source}, compressed"
    yield ""
    yield (
        f"{sum(manifest.splits.values())} samples ({splits}) in {len(shards)} shards, written by "
        f"{manifest.created_by}. Samples that could not be read: {failed}."
    )
    yield ""
    yield from _table(manifest)
    yield from _follows(manifest)
    yield from (
        "",
        "Read it, one task or several:",
        "",
        "```python",
        "import dsc",
        "",
        f'views = dsc.open("URL_OR_DIRECTORY", tasks=["{name}"])',
        f'array = views[0]["{name}"]',
        f'for batch in dsc.stream("URL_OR_DIRECTORY", tasks=["{name}"], batch_size=64):',
        f'    batch["{name}"]',
        "```",
        "",
        "```",
        "dsc info URL_OR_DIRECTORY",
        f"dsc fetch URL_OR_DIRECTORY --tasks {name} --out DIRECTORY",
        "dsc verify DIRECTORY --deep",
        "```",
        "",
        "The tars open in stock webdataset, "
        '`WebDataset(urls).compose(dsc.decode("URL_OR_DIRECTORY"))`, and in Hugging Face datasets, '
        '`load_dataset("webdataset", data_files=tars)`, whose batches `dsc.decode` maps.',
        "",
        "`croissant.json` describes the archive for catalogues. Both files are generated, and "
        "`dsc.json` holds their hashes: `dsc verify` reports a change.",
    )


def _table(manifest: Manifest) -> Iterator[str]:
    totals = manifest.totals
    yield "| task | kind | unit | streams to read | source bytes | bytes of its own stream |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for task in manifest.tasks:
        needed = ", ".join(required_streams(manifest.streams, [task.name]))
        own = carrying_streams(manifest.streams, task.name)
        yield (
            f"| {task.name} | {task.kind.value} | {_unit(task)} | {needed} | "
            f"{manifest.source_bytes.get(task.name, 0)} | "
            f"{sum(totals[stream].payload_bytes for stream in own)} |"
        )


def _follows(manifest: Manifest) -> Iterator[str]:
    """Say which tasks are computed from others when they are read."""
    found = [(codec.streams, codec.follows) for codec in manifest.codecs if codec.follows]
    if found:
        yield ""
        yield "Computed from other tasks when it is read, for the difference or nothing at all:"
        yield ""
    for streams, follows in found:
        yield f"- {', '.join(streams)} follows from {follows}"


def _unit(task: Task) -> str:
    if task.unit_m is not None:
        return f"{task.unit_m:.9g} m a count"
    return f"{task.dtype}" + (f", {len(task.classes)} classes" if task.classes else "")
