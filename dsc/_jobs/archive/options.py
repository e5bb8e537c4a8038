"""All that a caller may ask of ``compress`` and ``append``: two values, made of the same parts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from dsc._pipeline.options import (
    USUAL_QUALITY,
    CodingOptions,
    ColumnOptions,
    Helps,
    Option,
    ShardingOptions,
    SourceOptions,
    WorkOptions,
    gather,
    given,
    spelled,
)
from dsc.errors import UsageError

MISSING_TASKS = ("error", "none")


@dataclass(frozen=True, kw_only=True)
class CompressOptions:
    """What a compression is asked for.

    Attributes
    ----------
    out
        Directory or fsspec URL of the archive; None for ``./SOURCE-dsc``.
    overwrite
        Whether what lies at `out` is replaced.
    """

    out: Annotated[
        str | None,
        Option(
            "--out",
            "Directory or fsspec URL of the archive. Default: ./SOURCE-dsc.",
            metavar="ARCHIVE",
            is_first=True,
        ),
    ] = None
    data: SourceOptions
    coding: CodingOptions = field(default=CodingOptions(quality=USUAL_QUALITY))
    sharding: ShardingOptions = field(default=ShardingOptions())
    columns: ColumnOptions = field(default=ColumnOptions())
    work: WorkOptions = field(default=WorkOptions())
    overwrite: Annotated[
        bool, Option("--overwrite", "Replace what is at --out.", kind=bool, goes_on=False)
    ] = False

    @classmethod
    def called(cls, keywords: Mapping[str, Any]) -> Self:
        """Make the options from the keywords of `dsc.compress`, its ``**layout`` among them."""
        return gather(cls, _flat(keywords))

    @property
    def place(self) -> str:
        """Where the archive is to lie."""
        return f"./{self.data.source}-dsc" if self.out is None else self.out

    def again(self) -> str:
        """Say how to go on: the command, without ``--overwrite``, which would begin anew."""
        return _again("compress", spelled(self), "without overwrite")


@dataclass(frozen=True, kw_only=True)
class AppendOptions:
    """What an append is asked for.

    Attributes
    ----------
    archive
        Directory or fsspec URL of the archive.
    coding
        How a new task is coded.
    missing
        What happens when new samples lack a task of the archive: ``error``, or ``none`` to add
        them without.
    restart
        Whether to throw away what an unfinished append with other options has made.
    """

    archive: Annotated[
        str,
        Option(
            "ARCHIVE",
            "Path or URL of an archive.",
        ),
    ]
    data: Annotated[
        SourceOptions,
        Helps(
            source="What kind of data it is, as of dsc compress: taskonomy, folder, ... Without "
            "it, --embed and --features compute of the pictures that the archive has.",
            tasks="Tasks that the archive lacks, with commas: they are added to the samples that "
            "are there. Default: the archive's own, for new samples.",
            split="Split of the new samples, which may be a new one; of nyuv2, test and train "
            "choose the frames. Default: the archive's, if it has one only.",
        ),
    ] = field(default=SourceOptions(source=None))
    missing: Annotated[
        str,
        Option(
            "--missing",
            "What happens when new samples lack a task of the archive: error refuses them, none "
            "adds them without it.",
            metavar="error|none",
        ),
    ] = "error"
    coding: Annotated[
        CodingOptions, Helps(quality="Of a new task, 1 (smallest) to 100 (best). Default: 60.")
    ] = field(default=CodingOptions())
    columns: ColumnOptions = field(default=ColumnOptions())
    work: WorkOptions = field(default=WorkOptions())
    restart: Annotated[
        bool,
        Option(
            "--restart",
            "Throw away what an unfinished append with other options has made.",
            kind=bool,
            goes_on=False,
        ),
    ] = False

    @classmethod
    def called(cls, keywords: Mapping[str, Any]) -> Self:
        """Make the options from the keywords of `dsc.append`, its ``**layout`` among them."""
        return gather(cls, _flat(keywords))

    def check(self) -> None:
        """Refuse what an append cannot do, with a `UsageError`."""
        if self.data.source is None:
            self._check_own()
        if self.missing not in MISSING_TASKS:
            raise UsageError(f"--missing {self.missing}: {' or '.join(MISSING_TASKS)}")

    def _check_own(self) -> None:
        """Refuse what says something of data, where the archive's own samples are the data."""
        computing = given(self.data.compute)
        if not computing:
            raise UsageError(
                "what is to be added? SOURCE says what kind of data it is, as of dsc compress; or "
                "--embed efficientnet-lite0 computes embeddings of the pictures that are there"
            )
        told = [name for name in given(self.data) if name not in computing]
        if told:
            raise UsageError(
                f"{', '.join(told)}: without SOURCE, {computing[0]} sees the archive's own "
                "pictures; leave these options out, or name the data before them"
            )

    def again(self) -> str:
        """Say how to go on: the command, without ``--restart``, which would begin anew."""
        return _again("append", spelled(self), "without restart")


def _flat(keywords: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in keywords.items() if name != "layout"}
    return {**own, **keywords["layout"]}


def _again(command: str, words: list[str] | None, anew: str) -> str:
    if words is None:
        return f"call dsc.{command} again with the same arguments, {anew}"
    return shlex.join(["dsc", command, *words])
