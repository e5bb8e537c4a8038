"""Turns what goes wrong into one clear message on stderr and an exit code, without a traceback.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | data is damaged or incomplete, or the disk or network failed |
| 2 | the call was wrong |
| 130 | interrupted with Ctrl-C |

``DSC_DEBUG=1`` shows the traceback. With ``--json`` the message is also on stdout, as
``{"error": ..., "exit_code": ...}``.
"""

import errno
import os
import re
from typing import Any

import typer
from typer.core import TyperGroup

from dsc._cli.printing.output import JSON_WANTED, note, print_json
from dsc._extras import EXTRAS, package_of
from dsc.errors import DscError

INTERRUPTED = 130
RESUMABLE = ("compress", "append", "fetch", "push", "pull", "export", "bench", "replay")
STATE_IS_KEPT = "what is finished is kept; run the same command again and it goes on from there"


class FailureGroup(TyperGroup):
    """The group of all commands: whatever they raise ends here."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; see the module."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            kept = STATE_IS_KEPT if ctx.invoked_subcommand in RESUMABLE else "nothing was changed"
            _end(ctx, str(interrupt) or kept, INTERRUPTED, prefix="interrupted: ")
        except Exception as error:
            if _belongs_to_typer(error) or os.environ.get("DSC_DEBUG") == "1":
                raise
            message, code = explain(error)
            _end(ctx, message, code)


def explain(error: Exception) -> tuple[str, int]:
    """Return the message and exit code for an error.

    Parameters
    ----------
    error
        Anything that a command raised.

    Returns
    -------
    message
        What happened and what to do, of one paragraph.
    code
        1 or 2; see the module.
    """
    if isinstance(error, DscError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" (writing {error.filename})" if error.filename else ""
        return (
            f"the disk is full{where}: make room, then run the same command again; "
            "what is finished is kept",
            1,
        )
    if isinstance(error, OSError):
        return str(error), 1
    if isinstance(error, ModuleNotFoundError) and package_of(error) != "dsc":
        return f"{error}: {_installing(package_of(error))}", 2
    return (
        f"unexpected {type(error).__name__}: {error}; DSC_DEBUG=1 shows where. "
        "This is a fault of dsc, please report it",
        1,
    )


def _installing(package: str) -> str:
    """Say how to install a package: by the extra that brings it, or anew with dsc itself."""
    if package == "compressai":
        return (
            "the source paper's networks need it: pip install 'dsc[research]', in an environment "
            "of its own, because it holds NumPy below 2; dsc's own networks train without it"
        )
    if package in EXTRAS:
        return f"pip install 'dsc[{EXTRAS[package]}]'"
    if package in _always_there():
        return "it comes with dsc, whose installation is damaged; install dsc anew"
    return f"install {package or 'it'} with pip"


def _always_there() -> set[str]:
    """List the packages that every installation of dsc has."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("dsc") or []
    except PackageNotFoundError:  # run out of a checkout
        lines = []
    return {re.split(r"[^\w.-]", line)[0] for line in lines if "extra" not in line}


def _belongs_to_typer(error: Exception) -> bool:
    # its usage errors, Exit and Abort are printed and coded by Typer; a closed pipe too
    ours = type(error).__module__.split(".")[0] not in ("typer", "click")
    return not ours or isinstance(error, BrokenPipeError)


def _end(ctx: Any, message: str, code: int, prefix: str = "error: ") -> None:
    if ctx.meta.get(JSON_WANTED):
        print_json({"error": message, "exit_code": code})
    note(f"{prefix}{message}")
    raise typer.Exit(code)
