"""What a layout of files is: it says of every file which task of which sample it is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dsc._sources.meaning.decide import Stated

Listing = Mapping[str, list[str]]  # names of the files that can be read, by directory
PICTURE = "rgb"  # the task of pictures whose names say none
STRAY = "belongs to no task of this layout"


@dataclass(frozen=True)
class FilePlace:
    """Where a file belongs.

    Attributes
    ----------
    task
        Name of its task.
    group, stem
        What tells its sample from all others, and is the same for all of the sample's tasks: the
        directories that do not name the task, and the file's name less the task's word and ending.
    split
        Split of the data set, empty where there is none.
    label
        Name of the sample's class, where the directories say it.
    """

    task: str
    group: str
    stem: str
    split: str = ""
    label: str | None = None


@dataclass(frozen=True)
class SetAside:
    """A file that a layout knows and that is no task's: why, and the task that it looks like."""

    why: str
    task: str = ""


@dataclass(frozen=True)
class SharedPlace:
    """Where a file belongs that is of all samples of a group and of the groups below it.

    Attributes
    ----------
    task, group
        Name of its task, and the directories that its samples lie in.
    """

    task: str
    group: str


Placer = Callable[[str, str], FilePlace | SetAside | None]


@dataclass(frozen=True)
class Layout:
    """How a data set's files are laid out.

    Attributes
    ----------
    name
        What ``--layout`` calls it.
    place
        Returns a file's place, from its directory and name; a `SetAside`, or None, for what is no
        task's.
    why
        What it was recognised by, for people.
    known
        What the layout itself says of its tasks.
    pair
        Joins the files of one sample where their stems differ, as time stamps do: takes all files
        that have a place, returns those that are kept, with their places. None where equal stems
        join them.
    arrays
        Endings of files that hold one array and make a sample although they are no pictures.
    sequence
        What a sample's name says of its recording and frame, as ``--sequence-by`` has it; empty
        where samples are no frames.
    shared
        Returns the place of a file that all samples of a recording or scene share, such as that of
        a camera's intrinsics; None for every other file.
    times
        Where a recording's time stamps lie, one a line, from the directory of a frame's file;
        empty where nowhere.
    """

    name: str
    place: Placer
    why: str = ""
    known: Mapping[str, Stated] = field(default_factory=dict)
    pair: Callable[[list[tuple[FilePlace, str]]], Iterable[tuple[FilePlace, str]]] | None = None
    arrays: tuple[str, ...] = ()
    sequence: str = ""
    times: str = ""
    shared: Callable[[str, str], SharedPlace | None] | None = None
