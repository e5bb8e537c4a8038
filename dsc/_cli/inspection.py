"""``dsc info``, ``dsc ls``, ``dsc verify``: what is in an archive, and whether it is intact."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsc._cli.options import ArchiveArgument, JsonOption, TasksOption, takes_options
from dsc._cli.printing.against import show_comparison
from dsc._cli.printing.choice import quality_text, show_choice, show_reached
from dsc._cli.printing.output import emit, note, print_json, say, show_table
from dsc._cli.printing.progress import progress
from dsc._cli.printing.summary import show_summary
from dsc._cli.printing.text import bytes_text, counted
from dsc._cli.selecting import SelectionArguments

if TYPE_CHECKING:
    from dsc._pipeline.read.distortion import Distortion
    from dsc._pipeline.read.duplicates import Duplicates
    from dsc._pipeline.read.sequences import Recording
    from dsc._pipeline.read.summary import Summary
    from dsc._pipeline.read.values import ValueSummary
    from dsc._schemas import Manifest, SequencePlace, ShardRecord, Task
    from dsc._storage.read.archive import Archive
    from dsc._storage.read.verify import Problem


LISTED = 8  # recordings

AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        help="Also compare every sample with the data that the archive was made of: its "
        "directory, file or URL, or the name of its source (sample, or folder where this machine "
        "remembers where it lies). May be given several times, for what was appended.",
        metavar="SOURCE",
    ),
]

DistortionOption = Annotated[
    bool,
    typer.Option(
        "--distortion",
        help="Also decode some samples and compare them with their originals: mean, median and "
        "worst by task and metric.",
    ),
]
ValuesOption = Annotated[
    bool,
    typer.Option(
        "--values",
        help="Also sum up the tasks that are no maps: counts of classes, ranges of numbers and "
        "times, lengths and examples of texts.",
    ),
]
DuplicatesOption = Annotated[
    bool,
    typer.Option(
        "--duplicates",
        help="Also compare the embeddings of all samples, two by two: groups of near-duplicates, "
        "and how many samples of a split have one in another.",
    ),
]
AboveOption = Annotated[
    float | None,
    typer.Option(
        help="The least cosine similarity of near-duplicates, 0 to 1. Default: 0.9, or 0.8 of "
        "embeddings kept at a quality below 80.",
        metavar="COSINE",
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "-n",
        "--samples",
        help="How many samples --distortion and --values look at, evenly spread; 0 for all. "
        "Default: 48, and 10000.",
        min=0,
    ),
]
SourceRootOption = Annotated[
    str | None,
    typer.Option(
        "--source-root",
        "--root",
        help="Where the originals for --distortion lie. Not needed where they lie as when this "
        "machine made the archive, nor for rendered views.",
        metavar="DIR",
    ),
]


def info(
    archive: ArchiveArgument,
    distortion: DistortionOption = False,
    values: ValuesOption = False,
    duplicates: DuplicatesOption = False,
    samples: SamplesOption = None,
    source_root: SourceRootOption = None,
    tasks: TasksOption = None,
    above: AboveOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what an archive holds: tasks, streams, codecs, splits, sizes.

    Only the manifest and the shard records are read, so it is quick over a
    network too; --distortion, --values and --duplicates read samples as well.

    [bold]Examples[/bold]

      dsc info demo
      dsc info https://example.org/taskonomy-dsc --json
      dsc info demo --distortion --samples 200
      dsc info demo --values --tasks scene,caption
      # do train and test share pictures?
      dsc info demo --duplicates --above 0.95
    """
    from dsc._pipeline.read.paths import paths_of
    from dsc._pipeline.read.summary import summarise
    from dsc._storage.read.archive import Archive
    from dsc.errors import UsageError

    sampled = {"--samples": samples, "--source-root": source_root}
    given = [name for name, value in sampled.items() if value is not None]
    if given and not (distortion or values):
        raise UsageError(f"{', '.join(given)}: for --distortion or --values; give one of them, too")
    if tasks is not None and not (distortion or values or duplicates):
        raise UsageError(
            "--tasks: for --distortion, --values or --duplicates; give one of them, too"
        )
    if above is not None and not duplicates:
        raise UsageError("--above: for --duplicates; give it, too")
    opened = Archive.open(archive)
    summary = summarise(opened)
    manifest = opened.manifest
    value = {
        "archive": archive,
        **summary.to_json(),
        "manifest": manifest.model_dump(mode="json"),
        "shards": len(opened.shards),
        "machine_paths": [str(path) for path in paths_of(opened)],
    }
    recorded = _recordings(opened)
    if recorded is not None:
        value["recordings"] = [one.to_json() for one in recorded]
    measured = _measure(opened, samples, source_root, tasks) if distortion else None
    found = _values(opened, samples, tasks) if values else None
    alike = _duplicates(archive, above, tasks) if duplicates else None
    if measured is not None:
        value["distortion"] = measured.to_json()
    if found is not None:
        value["values"] = [one.to_json() for one in found]
    if alike is not None:
        value["duplicates"] = alike.to_json()
    read = Sampled(measured, found, alike)
    emit(json_, value, lambda: _show_all(archive, opened, summary, read, recorded))


def _measure(
    opened: "Archive", samples: int | None, source_root: str | None, tasks: str | None
) -> "Distortion":
    from dsc._pipeline.read.distortion import SAMPLES, measure_distortion

    count = SAMPLES if samples is None else samples
    with progress("compare", "samples") as report:
        return measure_distortion(
            opened, samples=count, source_root=source_root, tasks=tasks, progress=report
        )


def _values(opened: "Archive", samples: int | None, tasks: str | None) -> "list[ValueSummary]":
    from dsc._pipeline.read.values import SAMPLES, summarise_values

    count = SAMPLES if samples is None else samples
    with progress("values", "columns") as report:
        return summarise_values(opened, samples=count, tasks=tasks, progress=report)


def _duplicates(archive: str, above: float | None, task: str | None) -> "Duplicates":
    from dsc._pipeline.read.dataset import Dataset

    return Dataset.open(archive, tasks=[]).duplicates(above, task)


@dataclass(frozen=True)
class Sampled:
    """What was found in samples, as far as that was asked for."""

    distortion: "Distortion | None"
    values: "list[ValueSummary] | None"
    duplicates: "Duplicates | None"


def _show_all(
    where: str,
    opened: "Archive",
    summary: "Summary",
    read: Sampled,
    recorded: "list[Recording] | None",
) -> None:
    from dsc._cli.printing.duplicates import show_duplicates
    from dsc._cli.printing.sampled import show_distortion, show_values

    _show_info(where, opened, summary)
    if recorded:
        _show_recordings(recorded)
    if read.values is not None:
        show_values(read.values)
    if read.distortion is not None:
        show_distortion(read.distortion)
    if read.duplicates is not None:
        show_duplicates(read.duplicates)


def _recordings(opened: "Archive") -> "list[Recording] | None":
    """Return the recordings of a local archive; None of a remote one, whose keys stay unread."""
    if opened.root.local is None:
        return None
    if not opened.has_recordings:
        return []
    from dsc._pipeline.read.sequences import recordings

    return list(recordings(opened).values())


def _show_recordings(recorded: "list[Recording]") -> None:
    frames = sum(map(len, recorded))
    say(f"{counted(len(recorded), 'recording')}, {counted(frames, 'frame')}")
    _show_entries([one.to_json() for one in recorded[:LISTED]])
    if len(recorded) > LISTED:
        say(f"and {len(recorded) - LISTED:,} more: dsc ls --sequences")


def _seen_of(manifest: "Manifest", task: str) -> str:
    """Say of which pictures a task was computed: those of a source, or what the archive decodes."""
    from dsc._pipeline.write.own import OwnSamples

    decoded = [
        one.generation
        for one in manifest.appended
        if task in one.tasks and one.source == OwnSamples.name
    ]
    if not decoded:
        return "of its source's pictures"
    later = any(one.samples and one.generation > decoded[0] for one in manifest.appended)
    since = ", in later generations of their sources'" if later else ""
    return f"of the archive's decoded pictures{since}"


def _show_info(where: str, opened: "Archive", summary: "Summary") -> None:
    from dsc._codecs.encoder import effort_text, encoder_text
    from dsc._pipeline.read.whereabouts import recall_all

    manifest = opened.manifest
    show_summary(where, summary)
    say("")
    splits = ", ".join(f"{name} {count}" for name, count in manifest.splits.items())
    asked = [f"quality {quality_text(manifest.quality)}", effort_text(manifest.codecs)]
    say("; ".join([f"source {manifest.source}", f"splits {splits}", *filter(None, asked)]))
    sizes = (
        f"{counted(len(opened.shards), 'shard')} of up to {counted(manifest.shard_size, 'sample')}"
    )
    say(f"{sizes}, packs of {manifest.pack_size}")
    columns = [
        task
        for stream in manifest.streams
        if stream.compressed and not stream.requires and opened.is_column(stream.name)
        for task in stream.carries
    ]
    if columns:
        say(f"columns, read with one request a shard: {', '.join(columns)}")
    _show_paths(opened)
    _show_levels(summary)
    made = f"format {manifest.format_version}, generation {manifest.generation}"
    say(f"written by {manifest.created_by}, {made}, plan {manifest.plan_sha256[:12]}")
    say(f"encoded by {encoder_text(manifest.encoder) if manifest.encoder else 'unknown versions'}")
    for one in manifest.appended:
        what = ", ".join(one.tasks) if one.tasks else counted(one.samples, "sample")
        encoder = f", encoded by {encoder_text(one.encoder)}" if one.encoder else ""
        origin = f"from {one.source}, by {one.created_by}{encoder}"
        say(f"generation {one.generation} added {what} ({origin})")
    if manifest.source_report is not None:
        for text in manifest.source_report.notes:
            say(text)
        for found in manifest.source_report.tasks.values():
            for text in found.warnings:
                say(f"warning: {text}")
        left_out = manifest.source_report.left_out
        if left_out:
            count = sum(one.files for one in left_out)
            say(f"{count} files of the source were not read; --json lists them with the reason")
    places = {str(noted["root"]) for noted in recall_all(manifest) if noted.get("root")}
    for place in sorted(places):
        say(f"its source lies at {place}, as this machine remembers")
    if manifest.n_failed:
        say(f"{manifest.n_failed} samples could not be read when it was made: dsc ls --failed")
    for task in manifest.tasks:
        if task.extractor is not None:
            say(f"{task.name}: computed by {task.extractor}, {_seen_of(manifest, task.name)}")
    rows = [_task_row(task) for task in manifest.tasks]
    show_table(("task", "kind", "dtype", "shape", "unit", "invalid"), rows)
    graph = [
        [
            s.name,
            ", ".join(s.carries) or "–",
            ", ".join(s.requires) or "–",
            bytes_text(manifest.totals[s.name].payload_bytes),
        ]
        for s in manifest.streams
    ]
    show_table(("stream", "carries", "requires", "payload"), graph)
    show_reached(manifest)
    if manifest.choice is not None:
        show_choice(manifest.choice)


def _show_paths(opened: "Archive") -> None:
    from dsc._pipeline.read.paths import paths_of
    from dsc._schemas.machine_path import PATHS

    found = [f"{path} for {PATHS[path.path]}" for path in paths_of(opened)]
    if found:
        say(f"machine paths, which --tasks takes where files are decoded: {', '.join(found)}")


def _show_levels(summary: "Summary") -> None:
    for row in summary.rows:
        if row.level_bytes:
            costs = [f"{n}: {bytes_text(size)}" for n, size in enumerate(row.level_bytes, 1)]
            say(f"levels of {row.name}, coarse first, that --levels takes: {', '.join(costs)}")


def _task_row(task: "Task") -> list[str]:
    unit = f"{task.unit_m:.6g} m a count" if task.unit_m else ""
    classes = f"{len(task.classes)} classes" if task.classes else ""
    shape = "(H, W)" if task.channels == 1 else f"(H, W, {task.channels})"
    if not task.is_map:
        shape = str(task.value_shape).replace("-1", "any")
    invalid = ", ".join(map(str, task.invalid))
    kind = f"{task.kind.value}, exact" if task.is_exact else task.media_type or task.kind.value
    return [task.name, kind, task.dtype, shape, unit or classes, invalid]


@takes_options
def ls(
    archive: ArchiveArgument,
    selection: SelectionArguments,
    number: Annotated[
        int, typer.Option("-n", "--number", help="How many lines; 0 for all.", min=0)
    ] = 20,
    shards: Annotated[bool, typer.Option("--shards", help="List shards, not samples.")] = False,
    streams: Annotated[
        bool, typer.Option("--streams", help="List the files of the streams, not samples.")
    ] = False,
    sequences: Annotated[
        bool,
        typer.Option("--sequences", help="List recordings: their frames and how long they are."),
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="List the samples that could not be read.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """List an archive's samples by index and key, its recordings, its shards, or its files.

    [bold]Examples[/bold]

      dsc ls demo -n 5
      dsc ls demo --where "len(caption) > 80" --split val
      dsc ls walks --sequences
      dsc ls walks --sequence seq-01 --where "frame < 300"
      dsc ls demo --shards
      dsc ls demo --streams
    """
    from dsc._storage.read.archive import Archive
    from dsc.errors import UsageError

    if shards + streams + failed + sequences > 1:
        raise UsageError(
            "--shards, --streams, --sequences and --failed each list something else: give one"
        )
    given = selection.given
    if given and (shards or streams or failed):
        raise UsageError(
            f"--{next(iter(given))} is of samples: leave out what else is to be listed"
        )
    opened = Archive.open(archive)
    kind, lister = "samples", _samples
    if shards:
        kind, lister = "shards", _shards
    elif streams:
        kind, lister = "files", _files
    elif failed:
        kind, lister = "failed", _failed
    found = _selected(opened, given) if given else lister(opened)
    if sequences:
        kind, found = "sequences", _sequences(opened, given)
    entries, rates = list(islice(found, number or None)), _rates(opened)
    listed = {"archive": archive, kind: entries} | ({"rates": rates} if rates else {})
    emit(json_, listed, lambda: _show_listed(entries, rates))


def _rates(opened: "Archive") -> dict[str, str]:
    """Return which part of the frames is here, of tasks of which not all are."""
    from dsc._schemas.rate import rate_here

    manifest = opened.manifest
    here = {t.name: rate_here(manifest.streams, manifest.codecs, t.name) for t in manifest.tasks}
    return {name: f"1/{step}" for name, step in here.items() if step > 1}


def _show_listed(entries: list[dict[str, Any]], rates: dict[str, str]) -> None:
    _show_entries(entries)
    for name, rate in rates.items():
        say(f"of {name} every {rate.removeprefix('1/')}th frame is here: rate {rate}")


def _samples(opened: "Archive") -> Iterator[dict[str, Any]]:
    for number, shard in enumerate(opened.shards):
        keys, places = opened.keys(number), opened.places(number)
        for index, (key, place) in enumerate(zip(keys, places, strict=True), opened.start(number)):
            yield _sample(index, key, shard, place)


def _sample(
    index: int, key: str, shard: "ShardRecord", place: "SequencePlace | None"
) -> dict[str, Any]:
    listed = {"index": index, "key": key, "split": shard.split, "shard": shard.n}
    if place is None:
        return listed
    return {**listed, "sequence": place.sequence, "frame": place.frame, "time_ns": place.time_ns}


def _selected(opened: "Archive", given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """List chosen samples, in the order asked for."""
    from dsc._pipeline.read.dataset import Dataset

    for index in Dataset(opened, []).select(**given).indices.tolist():
        shard = opened.shards[opened.locate(index)[0]]
        yield _sample(index, opened.key(index), shard, opened.place(index))


def _sequences(opened: "Archive", given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """List the recordings, or those of chosen samples, with what was chosen of them."""
    from dsc._pipeline.read.dataset import Dataset
    from dsc._pipeline.read.sequences import recordings

    chosen = Dataset(opened, []).select(**given).indices if given else None
    for one in recordings(opened, chosen).values():
        first = int(one.indices[0])
        yield {**one.to_json(), "index": first if chosen is None else int(chosen[first])}


def _shards(opened: "Archive") -> Iterator[dict[str, Any]]:
    for shard in opened.shards:
        yield {
            "split": shard.split,
            "shard": shard.n,
            "first": shard.first_index,
            "samples": shard.samples,
            "payload_bytes": sum(stream.payload_bytes for stream in shard.streams.values()),
            "stored_bytes": sum(stream.bytes for stream in shard.streams.values()),
            "failed": len(shard.failed),
        }


def _files(opened: "Archive") -> Iterator[dict[str, Any]]:
    for shard in opened.shards:
        for name, stream in shard.streams.items():
            yield {
                "path": stream.path,
                "stream": name,
                "bytes": stream.bytes,
                "payload_bytes": stream.payload_bytes,
                "missing": stream.n_missing,
                "sha256": stream.sha256,
            }


def _failed(opened: "Archive") -> Iterator[dict[str, Any]]:
    for shard in opened.shards:
        for sample in shard.failed:
            yield {"key": sample.key, "error": sample.error}


def _show_entries(entries: list[dict[str, Any]]) -> None:
    if not entries:
        say("none")
        return
    hidden = ("sha256",)  # 64 letters a line help nobody; --json has them
    every = dict.fromkeys(name for entry in entries for name in entry if name not in hidden)
    columns = [n for n in every if any(entry.get(n) is not None for entry in entries)]
    rows = [[_cell(name, entry.get(name)) for name in columns] for entry in entries]
    heads = [name.removesuffix("_bytes").removesuffix("_ns") for name in columns]
    show_table(heads, rows)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("_ns"):
        return f"{value / 1e9:.3f} s"
    return bytes_text(value) if name.endswith("bytes") else str(value)


def verify(
    archive: ArchiveArgument,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also decode every sample of every task.")
    ] = False,
    against: AgainstOption = None,
    json_: JsonOption = False,
) -> None:
    """Check every byte of an archive and list all damage; exit code 1 when there is any.

    Sizes, hashes and checksums of all files, and that all streams hold the
    same samples. With --deep every bitstream is decoded too, which takes as
    long as reading the whole dataset. With --against every sample is set
    beside the source's own: tasks that lose nothing must be equal, value for
    value, and JPEG files that are kept, byte for byte; of the others the
    distortion is told. The exit code is 1 where something is not given back.

    [bold]Examples[/bold]

      dsc verify demo
      dsc verify demo --deep --json
      dsc verify scans-dsc --against /data/scans
      # views that were rendered, rendered again
      dsc verify demo --against sample
    """
    from dsc._pipeline.read.against import compare_with_source
    from dsc._pipeline.read.verify import verify_deep
    from dsc._storage.read.archive import Archive
    from dsc._storage.read.verify import verify_archive

    with progress("verify", "files") as report:
        problems = verify_archive(archive, progress=report)
    if deep:
        with progress("decode", "samples") as report:
            problems += verify_deep(archive, progress=report)
    compared = None
    if against and not problems:
        with progress("compare", "samples") as report:
            compared = compare_with_source(Archive.open(archive), against, progress=report)
    is_ok = not problems and (compared is None or compared.ok)
    listed = [{"path": problem.path, "detail": problem.detail} for problem in problems]
    value = {"archive": archive, "ok": is_ok, "deep": deep, "problems": listed}
    if compared is not None:
        value["against"] = compared.to_json()
    if json_:
        print_json(value)
    else:
        _show_problems(archive, problems, deep)
        if compared is not None:
            show_comparison(compared)
    if not is_ok:
        raise typer.Exit(1)


def _show_problems(where: str, problems: "list[Problem]", deep: bool) -> None:
    if not problems:
        say(f"{where}: intact" + (", and every sample decodes" if deep else ""))
        return
    for problem in problems:
        say(f"{problem.path}: {problem.detail}")
    found = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    note(f"{where}: {found}; fetch or copy these files again")
