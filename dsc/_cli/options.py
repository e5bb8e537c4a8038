"""The options that several commands have, each declared once; former spellings, which still work.

An option means the same in every command that has it, and stands in the same panel. What only one
command has stands beside that command.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from copy import copy
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer
from typer.models import OptionInfo

from dsc._cli.output import JSON_WANTED
from dsc._pipeline.options import Leaf, gather, leaves

FIRST = "Options"  # the panel that rich shows first, and that --help stands in
ADVANCED = "Advanced"

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


def _note_json(context: typer.Context, value: bool) -> bool:
    context.meta[JSON_WANTED] = value
    return value


ArchiveArgument = Annotated[
    str, typer.Argument(help="Path or URL of an archive.", metavar="ARCHIVE")
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object on stdout, for machines.",
        callback=_note_json,
        is_eager=True,
    ),
]
TasksOption = Annotated[
    str | None,
    typer.Option(
        help="Tasks, with commas; aliases such as depth and normals work. Default: all.",
        metavar="A,B",
    ),
]


def takes(kind: type[T]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Equip a command with the options of a dataclass (`dsc._pipeline.options`), as one value.

    The command below takes that value first, and declares only what is no part of it (``--json``).
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        known = list(leaves(kind))
        signature = inspect.signature(command)
        _, *declared = signature.parameters.values()
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in declared]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            rest = {one.name: values.pop(one.name) for one in own}
            for leaf in known:
                former = values.pop(f"{leaf.name}_formerly", None)
                value = values[leaf.name] if former is None else former
                read = leaf.option.read
                values[leaf.name] = value if read is None or value is None else read(value)
            command(gather(kind, values), **rest)

        made = [one for leaf in known for one in _parameters(leaf)]
        run.__signature__ = signature.replace(parameters=[*made, *own])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in (*made, *own)}
        return run

    return decorate


def _parameters(leaf: Leaf) -> Iterator[inspect.Parameter]:
    """Yield the parameters of an option: itself, and hidden, what it was called before."""
    known, default = leaf.option, leaf.default
    if not known.name.startswith("-"):
        argument = typer.Argument(help=known.help, metavar=known.name)
        yield _parameter(leaf.name, Annotated[known.kind, argument], inspect.Parameter.empty)
        return
    declared = typer.Option(
        known.name,
        help=known.help,
        metavar=known.metavar,
        min=known.least,
        rich_help_panel=None if known.is_first else ADVANCED,
    )
    optional = known.kind if default is not None else known.kind | None
    yield _parameter(leaf.name, Annotated[optional, declared], default)
    if known.formerly is not None:
        hidden = _hidden(Annotated[known.kind, declared], known.formerly)
        yield _parameter(f"{leaf.name}_formerly", hidden, None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def formerly(**spellings: str) -> Callable[[Command], Command]:
    """Accept former spellings of options: hidden from help, and working as they did.

    ``@formerly(resize="--size")`` over a command with a parameter ``resize`` takes ``--size``, too.

    Parameters
    ----------
    spellings
        A former spelling by the name of a parameter, whose annotation has a `typer.Option`.
    """

    def accept(command: Command) -> Command:
        signature = inspect.signature(command)
        hidden = {f"{name}_formerly": name for name in spellings}

        @functools.wraps(command)
        def run(**given: Any) -> Any:
            for old, name in hidden.items():
                if (value := given.pop(old)) is not None:
                    given[name] = value
            return command(**given)

        more = [
            inspect.Parameter(
                old,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=_hidden(signature.parameters[name].annotation, spellings[name]),
            )
            for old, name in hidden.items()
        ]
        known = list(signature.parameters.values())
        run.__signature__ = signature.replace(parameters=[*known, *more])  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return accept


def _hidden(annotation: Any, spelling: str) -> Any:
    """Return the annotation of a parameter under a former spelling, which help leaves out."""
    if get_origin(annotation) is not Annotated:
        raise TypeError(f"{spelling}: the option is not declared by typer.Option")
    kind, info = get_args(annotation)
    former: OptionInfo = copy(info)
    former.default, former.param_decls = spelling, ()
    former.hidden = True
    return Annotated[kind | None, former]
