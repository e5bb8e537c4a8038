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
from typing import Any

import typer
from typer.core import TyperGroup

from dsc.cli.output import JSON_WANTED, note, print_json
from dsc.errors import DscError

INTERRUPTED = 130
RESUMABLE = ("compress", "append", "fetch", "export", "bench", "replay")
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
    """Give the message and exit code for an error.

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
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; {_missing(str(error.name))}", 2
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0]), 1
    return (
        f"unexpected {type(error).__name__}: {error}; DSC_DEBUG=1 shows where. "
        "This is a fault of dsc, please report it",
        1,
    )


def _missing(module: str) -> str:
    if not module.startswith("compressai"):
        return "install what is missing, for example with `pip install 'dsc[all]'`"
    return (
        "the source paper's networks need it: `pip install 'dsc[research]'`, in an environment of "
        "its own, because it holds NumPy below 2. dsc's own networks (chained, independent, "
        "shared-latent) train without it"
    )


def _belongs_to_typer(error: Exception) -> bool:
    # its usage errors, Exit and Abort are printed and coded by Typer; a closed pipe too
    ours = type(error).__module__.split(".")[0] not in ("typer", "click")
    return not ours or isinstance(error, BrokenPipeError)


def _end(ctx: Any, message: str, code: int, prefix: str = "error: ") -> None:
    if ctx.meta.get(JSON_WANTED):
        print_json({"error": message, "exit_code": code})
    note(f"{prefix}{message}")
    raise typer.Exit(code)
