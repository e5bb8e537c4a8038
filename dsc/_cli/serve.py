"""``dsc serve``: a local page that browses a whole archive."""

from typing import TYPE_CHECKING, Annotated

import typer

from dsc._cli.options import ArchiveArgument, JsonOption
from dsc._cli.printing.output import emit, note, say
from dsc._cli.printing.text import counted

if TYPE_CHECKING:
    from dsc._browse.content import Content
    from dsc._browse.server import BrowseServer

PORT = 8377
HostOption = Annotated[
    str,
    typer.Option(
        help="Where to listen. Any other than the default lets other machines look, too.",
        metavar="HOST",
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        help=f"Port; 0 for any that is free. Default: {PORT}, or a free one where that is taken.",
        min=0,
        max=65535,
    ),
]
SourceRootOption = Annotated[
    str | None,
    typer.Option(
        "--source-root",
        "--root",
        help="Where the archive's source lies, to set originals beside. Not needed where it is "
        "as when this machine made the archive, nor for rendered views.",
        metavar="DIR",
    ),
]
OpenOption = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def serve(
    archive: ArchiveArgument,
    host: HostOption = "127.0.0.1",
    port: PortOption = None,
    source_root: SourceRootOption = None,
    open_: OpenOption = False,
    json_: JsonOption = False,
) -> None:
    """Browse an archive in a browser: all samples, every task, until Ctrl-C.

    A grid by split, folder, value or condition; each sample task by task, with
    zoom, and with originals and error maps where they are at hand; bytes a sample.
    Only what is seen is read and decoded, so large and remote archives open
    at once. Nothing is written. Other machines cannot reach the page unless
    --host says so.

    [bold]Examples[/bold]

      dsc serve demo
      dsc serve https://example.org/taskonomy-dsc --port 9000
      ssh -L 8377:localhost:8377 cluster dsc serve /data/taskonomy-dsc
    """
    from dsc._browse.content import Content
    from dsc._browse.server import open_server
    from dsc._storage.read.archive import Archive

    content = Content(Archive.open(archive), source_root)
    if source_root is not None:
        content.pictures.look()
    else:
        content.look_for_originals()
    with open_server(content, host, PORT if port is None else port, port is not None) as server:
        value = {"archive": archive, "url": server.url, "samples": len(content.archive)}
        emit(json_, value, lambda: _show(archive, content, server))
        _warn(host)
        if open_:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            note("stopped")


def _show(archive: str, content: "Content", server: "BrowseServer") -> None:
    say(f"{archive}: {counted(len(content.archive), 'sample')} at {server.url}")
    say("Ctrl-C ends it.")


def _warn(host: str) -> None:
    from dsc._browse.server import is_loopback

    if not is_loopback(host):
        note(
            f"warning: listening on {host}: everybody who reaches this machine can look at the "
            "archive, and at its originals"
        )
