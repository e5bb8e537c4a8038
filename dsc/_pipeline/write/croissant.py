"""Describes an archive in Croissant 1.1 (``croissant.json``), for catalogues and their tools.

Every tar is a FileObject with its size and sha256; beyond `MAX_FILE_OBJECTS` files there is one
FileSet a stream instead, with a glob, and the hashes are in the shard records alone. The keys are a
RecordSet, one record a sample; a second one says what the tasks are. What lies in a pack is no
RecordSet: Croissant cannot cut a file into records. dsc writes this file and never reads it.
Nothing in it depends on when or where it was written.

It is written by hand: mlcroissant would bring pandas and rdflib to every user, for one JSON file.
The tests check the file with mlcroissant.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dsc._schemas import FileRecord, Manifest, ShardRecord, Task, required_streams

MAX_FILE_OBJECTS = 1000
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
TAR, JSON_LINES, WEIGHTS = "application/x-tar", "application/jsonlines", "application/octet-stream"
TEXT, INTEGER, FLOAT = "sc:Text", "sc:Integer", "sc:Float"

# The context of the specification; mlcroissant warns where one differs from it.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    manifest: Manifest, shards: Sequence[ShardRecord], files: Sequence[FileRecord]
) -> str:
    """Return the text of ``croissant.json``.

    Parameters
    ----------
    manifest
        The archive's; its `files` and hash are not used, because they come later.
    shards
        All shard records.
    files
        The other files to describe: codec weights, shard records.
    """
    description = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": f"{manifest.source}-dsc",
        "description": _description(manifest),
        "conformsTo": CONFORMS_TO,
        "version": f"1.{manifest.generation - 1}.0",
        "distribution": [*_distribution(manifest, shards, files)],
        "recordSet": [_samples(), _tasks(manifest)],
    }
    return json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _description(manifest: Manifest) -> str:
    splits = ", ".join(f"{count} ({name})" for name, count in manifest.splits.items())
    tasks = "; ".join(_task_text(task) for task in manifest.tasks)
    return (
        f"The dataset {manifest.source}, compressed by dsc: {splits} samples. Tasks: {tasks}. "
        "Each stream lies in tars of its own, several samples to a member; dsc.json says which "
        "streams a task needs, and dsc decodes them."
    )


def _task_text(task: Task) -> str:
    unit = f", {task.unit_m:.9g} m a count" if task.unit_m else ""
    classes = f", {len(task.classes)} classes" if task.classes else ""
    return f"{task.name} ({task.kind.value}, {task.dtype}{unit}{classes})"


def _distribution(
    manifest: Manifest, shards: Sequence[ShardRecord], files: Sequence[FileRecord]
) -> Iterator[dict[str, Any]]:
    for file in files:
        if file.path.endswith(".jsonl"):
            yield _file_object(file, JSON_LINES, "The shard records: size and hash of every tar.")
        else:
            yield _file_object(file, WEIGHTS, "Weights and tables of a learned codec.")
    yield _file_set("keys", "keys/*.jsonl", JSON_LINES, "The keys of the samples, shard by shard.")
    count = len(shards) * (len(manifest.streams) + 1)
    if count <= MAX_FILE_OBJECTS:
        yield from _file_objects(manifest, shards)
        return
    for stream in manifest.streams:
        about = _stream_text(stream.carries, stream.requires)
        glob = f"{stream.name}/*-{stream.name}-*.tar"
        yield _file_set(f"streams/{stream.name}", glob, TAR, about)


def _file_objects(manifest: Manifest, shards: Iterable[ShardRecord]) -> Iterator[dict[str, Any]]:
    about = {s.name: _stream_text(s.carries, s.requires) for s in manifest.streams}
    for shard in shards:
        yield _file_object(shard.keys, JSON_LINES, "")
        for name, text in about.items():
            yield _file_object(shard.streams[name], TAR, text)


def _stream_text(carries: Sequence[str], requires: Sequence[str]) -> str:
    carried = f"Bitstreams of {', '.join(carries)}" if carries else "Bitstreams that others need"
    return carried + (f"; they need {', '.join(requires)}." if requires else ".")


def _file_object(file: FileRecord, kind: str, about: str) -> dict[str, Any]:
    described = {"description": about} if about else {}
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": kind,
        "sha256": file.sha256,
        **described,
    }


def _file_set(name: str, glob: str, kind: str, about: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": about,
        "encodingFormat": kind,
        "includes": glob,
    }


def _samples() -> dict[str, Any]:
    key = {"fileSet": {"@id": "keys"}, "extract": {"column": "key"}}
    split = {
        "fileSet": {"@id": "keys"},
        "extract": {"fileProperty": "filename"},
        "transform": {"regex": "^(.*)-keys-[0-9]+\\.jsonl$"},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "One record a sample, in the order of the archive.",
        "key": {"@id": "samples/key"},
        "field": [
            _field("samples/key", "Unique over the archive.", TEXT) | {"source": key},
            _field("samples/split", "The split that it is in.", TEXT) | {"source": split},
        ],
    }


def _tasks(manifest: Manifest) -> dict[str, Any]:
    fields = {
        "name": ("Name of the task.", TEXT),
        "kind": ("image, depth, normal, label, class or vector.", TEXT),
        "dtype": ("NumPy dtype of an array.", TEXT),
        "channels": ("1 for (H, W), 3 for (H, W, 3), 0 for a scalar; a vector's length.", INTEGER),
        "unit_m": ("Metres a count, of depth; 0 for others.", FLOAT),
        "streams": ("The streams to read, with commas.", TEXT),
    }
    rows = [
        {
            "tasks/name": task.name,
            "tasks/kind": task.kind.value,
            "tasks/dtype": task.dtype,
            "tasks/channels": task.channels,
            "tasks/unit_m": task.unit_m or 0.0,
            "tasks/streams": ",".join(required_streams(manifest.streams, [task.name])),
        }
        for task in manifest.tasks
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "tasks",
        "name": "tasks",
        "description": "What each task is, and which streams it takes.",
        "key": {"@id": "tasks/name"},
        "field": [_field(f"tasks/{name}", *about) for name, about in fields.items()],
        "data": rows,
    }


def _field(name: str, about: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name,
        "description": about,
        "dataType": kind,
    }
