"""``dsc search``: the samples of an archive that are most like a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dsc._cli.options import ArchiveArgument, JsonOption, takes_options
from dsc._cli.printing.output import emit, say, show_table
from dsc._cli.selecting import SelectionArguments

if TYPE_CHECKING:
    from dsc._pipeline.read.dataset import Dataset
    from dsc._pipeline.read.search import Neighbours


@takes_options
def search(
    archive: ArchiveArgument,
    image: Annotated[
        str,
        typer.Argument(
            help="File of a picture, or the key of a sample of the archive.", metavar="IMAGE"
        ),
    ],
    selection: SelectionArguments,
    number: Annotated[
        int, typer.Option("-k", "--number", help="How many samples.", metavar="K", min=1)
    ] = 10,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", help="The embedding to compare, where there are several.", metavar="NAME"
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Find the samples of an archive that are most like a picture, or like one of its samples.

    Embeddings are compared, by the cosine of their angle, and nothing else
    of the archive is read, so it works over a network too. The picture is
    seen by the backbone that computed the archive's embeddings; without any,
    dsc append ARCHIVE --embed efficientnet-lite0 computes them.

    [bold]Examples[/bold]

      dsc search photos cat.jpg
      dsc search photos IMG_2041 -k 20
      dsc search https://example.org/photos-dsc cat.jpg --split train --json
    """
    from dsc._pipeline.read.dataset import Dataset
    from dsc.errors import UnknownSampleError

    opened = Dataset.open(archive, tasks=[], **selection.given)
    query = Path(image) if Path(image).is_file() else image
    try:
        found = opened.nearest(query, number, task)
    except UnknownSampleError as error:
        raise UnknownSampleError(f"{image} is no file, and no sample's key: {error}") from None
    rows = list(_rows(opened, found))
    value = {"archive": archive, "query": image, "task": found.task, "neighbours": rows}
    emit(json_, value, lambda: _show(rows))


def _rows(opened: "Dataset", found: "Neighbours") -> "list[dict[str, Any]]":
    columns = (found.keys.tolist(), found.indices.tolist(), found.similarities.tolist())
    return [
        {
            "rank": rank,
            "similarity": similarity,
            "key": key,
            "index": int(opened.indices[index]),
            "split": opened.split_of(index),
        }
        for rank, (key, index, similarity) in enumerate(zip(*columns, strict=True), 1)
    ]


def _show(rows: "list[dict[str, Any]]") -> None:
    if not rows:
        say("no sample has an embedding to compare with")
        return
    cells = [[str(r["rank"]), f"{r['similarity']:.4f}", r["key"], r["split"]] for r in rows]
    show_table(("rank", "similarity", "key", "split"), cells)
