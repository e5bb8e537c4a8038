"""How options become parameters of commands, and the options that several commands have.

`takes_options` gives a command dataclasses whose fields are its options; `formerly` accepts former
spellings. An option means the same in every command that has it, and stands in the same panel. What
only one command has stands beside that command.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, get_origin

import typer
from typer.models import OptionInfo

from dsc._cli.printing.output import JSON_WANTED, note
from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc._pipeline.options import Leaf

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


class OptionGroup:
    """A base of dataclasses whose options only the command line has, declared by `typer.Option`.

    Attributes
    ----------
    panel
        The panel of help that all of them stand in; None where each names its own.
    """

    panel: ClassVar[str | None] = None


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Equip a command with the options of those of its parameters that are dataclasses.

    Each field is an option, and the command gets the dataclass as one value. What the Python calls
    take, too, is declared by `Option` (`dsc._pipeline.options`), what only the command line takes
    by `typer.Option` (`OptionGroup`).
    """
    signature = inspect.signature(command)
    declared = signature.parameters.values()
    groups: dict[str, Any] = {
        one.name: one.annotation for one in declared if is_dataclass(one.annotation)
    }

    @functools.wraps(command)
    def run(**values: Any) -> None:
        made = {name: _taken(kind, values) for name, kind in groups.items()}
        command(**made, **values)

    flat = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in declared
        for option in (_options(one.annotation) if one.name in groups else [one])
    ]
    run.__signature__ = signature.replace(parameters=flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _taken(kind: type[T], values: dict[str, Any]) -> T:
    """Make a dataclass of its options, which are taken out of the values."""
    from dsc._pipeline.options import gather, leaves

    if issubclass(kind, OptionGroup):
        return kind(**{one.name: values.pop(one.name) for one in fields(kind)})  # type: ignore[arg-type]
    read = {}
    for leaf in leaves(kind):
        value, former = values.pop(leaf.name), values.pop(f"{leaf.name}_formerly", None)
        if former is not None and value not in (None, leaf.default, former):
            old, new = leaf.option.formerly, leaf.option.name
            raise UsageError(f"{old} {former} and {new} {value} are one option: give {new} alone")
        value = value if former is None else former
        reads = leaf.option.read
        read[leaf.name] = value if reads is None or value is None else reads(value)
    return gather(kind, read)


def _options(kind: type) -> Iterator[inspect.Parameter]:
    """Yield the parameters that typer makes the options of a dataclass of."""
    from dsc._pipeline.options import leaves

    if not issubclass(kind, OptionGroup):
        for leaf in leaves(kind):
            yield from _parameters(leaf)
        return
    for one in fields(kind):  # type: ignore[arg-type]
        value, declared = get_args(one.type)
        option = copy(declared)
        option.rich_help_panel = kind.panel or declared.rich_help_panel
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        yield _parameter(one.name, Annotated[value, option], default)


def _parameters(leaf: "Leaf") -> Iterator[inspect.Parameter]:
    """Yield the parameters of an option: itself, and hidden, what it was called before."""
    known, default = leaf.option, leaf.default
    if not known.name.startswith("-"):
        argument = typer.Argument(help=known.help, metavar=known.name)
        if default is MISSING:
            yield _parameter(leaf.name, Annotated[known.kind, argument], inspect.Parameter.empty)
        else:
            yield _parameter(leaf.name, Annotated[known.kind | None, argument], default)
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
        hidden = _hidden(Annotated[known.kind, declared], known.formerly, known.name)
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
                annotation=_hidden(
                    signature.parameters[name].annotation,
                    spellings[name],
                    f"--{name.replace('_', '-')}",
                ),
            )
            for old, name in hidden.items()
        ]
        known = list(signature.parameters.values())
        run.__signature__ = signature.replace(parameters=[*known, *more])  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return accept


def _hidden(annotation: Any, spelling: str, now: str) -> Any:
    """Return the annotation of a parameter under a former spelling, which help leaves out.

    Whoever writes it is told what it is called now: errors speak of that alone.
    """
    if get_origin(annotation) is not Annotated:
        raise TypeError(f"{spelling}: the option is not declared by typer.Option")
    kind, info = get_args(annotation)

    def told(value: Any) -> Any:
        if value is not None:
            note(f"{spelling} is called {now} now")
        return value

    former: OptionInfo = copy(info)
    former.default, former.param_decls = spelling, ()
    former.hidden, former.callback = True, told
    return Annotated[kind | None, former]
