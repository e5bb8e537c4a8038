"""Every error that dsc raises on purpose, under one root.

A class also derives from the builtin that fits, so that code which knows nothing of dsc still
catches it. A message names the file, the sample and the value, and says what to do. The exit code
of the command line comes from here: 1 means that data is damaged or incomplete, 2 that the call
was wrong.
"""

__all__ = [
    "ArchiveNotFoundError",
    "BitstreamError",
    "CodecError",
    "CorruptArchiveError",
    "CorruptCheckpointError",
    "CorruptPackError",
    "DivergedError",
    "DscError",
    "ExemplarIndexError",
    "ExportError",
    "IncompleteError",
    "MissingPackageError",
    "MissingTaskError",
    "PlanMismatchError",
    "RunClaimedError",
    "SampleError",
    "SelfTestError",
    "SourceNotFoundError",
    "StateMismatchError",
    "TaskMismatchError",
    "UnknownCodecError",
    "UnknownSampleError",
    "UnknownTaskError",
    "UnsafeArchiveError",
    "UnsupportedVersionError",
    "UsageError",
    "WrongPlaceError",
]

LIST_DAMAGE = "run `dsc verify` to list all damage"
"""The advice at the end of a message about damage; `dsc verify` itself leaves it out."""


def without_advice(error: BaseException) -> str:
    """Return a message about damage as `dsc verify` shows it."""
    return str(error).replace(f"; {LIST_DAMAGE}", "")


class DscError(Exception):
    """Root of all errors of dsc."""

    exit_code = 1

    def __str__(self) -> str:  # KeyError would print the repr of its message
        return str(self.args[0]) if self.args else ""


class UsageError(DscError, ValueError):
    """An option or argument that cannot be honoured."""

    exit_code = 2


class MissingPackageError(UsageError, ImportError):
    """A package is not installed that only some uses need; the message names the extra."""


class UnknownTaskError(UsageError, KeyError):
    """A task was asked for that the source, archive or codec does not have."""


class UnknownCodecError(UsageError, KeyError):
    """A codec id or codec file was asked for that is not known."""


class StateMismatchError(UsageError):
    """A stream's state that cannot be honoured: of other data, or of another version."""


class SourceNotFoundError(UsageError, FileNotFoundError):
    """No data of the expected layout lies where the user pointed."""


class ArchiveNotFoundError(UsageError, FileNotFoundError):
    """No archive (no ``dsc.json``) lies where the user pointed."""


class PlanMismatchError(UsageError, FileExistsError):
    """The output already holds an archive, or part of one, made by another plan."""


class SampleError(DscError, ValueError):
    """One sample of the source cannot be read or encoded."""


class UnknownSampleError(UsageError, KeyError):
    """A key was asked for that no sample of the archive has."""


class MissingTaskError(DscError, KeyError):
    """A sample lacks a task that was asked for."""


class CodecError(DscError, ValueError):
    """A codec was given what it cannot encode."""


class BitstreamError(DscError, ValueError):
    """A bitstream cannot be decoded: it is damaged, or made by another codec."""


class SelfTestError(DscError, RuntimeError):
    """A codec's self-test is not reproduced on this machine, so it must not decode."""


class CorruptArchiveError(DscError, ValueError):
    """A file of an archive is not what its checksum, header or record says."""


class CorruptPackError(CorruptArchiveError):
    """A pack's header, table or payload is damaged."""


class UnsafeArchiveError(CorruptArchiveError):
    """An archive asks for what no honest archive needs: links, absolute names, giant sizes."""


class UnsupportedVersionError(DscError, ValueError):
    """An archive or bitstream of a format version that this dsc does not know."""


class TaskMismatchError(CorruptArchiveError):
    """Streams of one shard do not hold the same samples."""


class IncompleteError(DscError, RuntimeError):
    """Work ended with something missing; what is done is kept and the call can be repeated."""


class DivergedError(DscError, ArithmeticError):
    """A training run whose loss left all bounds; what it had reached before is kept."""


class ExportError(DscError, RuntimeError):
    """A codec file that does not keep what training promised."""


class CorruptCheckpointError(CorruptArchiveError):
    """A checkpoint that cannot be read."""


class ExemplarIndexError(UsageError, IndexError):
    """A number that no exemplar of the buffer has."""


class RunClaimedError(DscError, RuntimeError):
    """Another process computes this run."""


class WrongPlaceError(UsageError):
    """A worker on whose machine no run of the sweep can be computed."""
