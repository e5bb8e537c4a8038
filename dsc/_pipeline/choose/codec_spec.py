"""Reads a ``--codec`` option: which codec codes which task.

The option is a word for every task that the codec can take, ``task=word`` for single tasks, or
both: ``avif``, ``rgb=avif,depth=jxl``, ``shared-latent,label=png``. A word is a codec id or a codec
file (``my.safetensors``), whose metadata says which codec it is of. What no word is for, and what a
codec for all tasks cannot take, goes to the default for its kind (`default_codec`). The word
``auto`` stands for a choice that `dsc._pipeline.choose.auto` makes by trying;
``auto+my.safetensors`` tries a codec file as well. The path of a codec file that is there may hold
``=``, ``,`` and ``+``.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dsc._codecs.base import Codec, JointCodec
from dsc._codecs.registry import codec_class, is_codec, make_codec, nameable_codecs
from dsc._schemas import Task, TaskKind, resolve_task
from dsc.errors import CodecError, UnknownCodecError, UnknownTaskError, UsageError

AUTO = "auto"
FILE_SUFFIX = ".safetensors"
OF_RECORDINGS = "av1-seq"
OF_NORMALS = "normal-palette"
OF_NUMBERS = {TaskKind.EMBEDDING: "embedding", TaskKind.FEATURE: "feature-klt"}
# kinds of tasks whose frames in a recording are coded together
FILMED = (TaskKind.IMAGE, TaskKind.DEPTH, TaskKind.LABEL)


@dataclass(frozen=True)
class Spec:
    """A ``--codec`` option, read: the word for all tasks, words by task, files that auto tries."""

    text: str
    general: str | None = None
    chosen: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | None, available: Sequence[str]) -> "Spec":
        """Read an option; None or an empty text names nothing.

        Raises
        ------
        UsageError
            When it names two codecs for all tasks.
        UnknownCodecError, UnknownTaskError
            When it names a codec or task that is not there.
        """
        general: str | None = None
        chosen: dict[str, str] = {}
        extra: list[str] = []
        for part in _parts(text or "", available):
            name, word = _named(part, available)
            if word.startswith(f"{AUTO}+"):
                extra += map(_expanded, _tried(word))
                word = AUTO
            word = _expanded(word)
            for known in [word] * (word != AUTO) + extra:
                codec_id_of(known)
            if name is not None:
                chosen[name] = word
            elif general is None:
                general = word
            else:
                raise UsageError(
                    f"--codec {text}: both {general} and {word} for all tasks; give one of them, "
                    "and others as task=codec"
                )
        return cls(text or "", general, chosen, tuple(extra))

    def automatic(self, tasks: Sequence[Task], bounded: Sequence[str]) -> tuple[Task, ...]:
        """List the tasks whose codec is to be chosen by trying.

        These are the maps with the word ``auto``, and those with a bound and no word (`below`).
        """
        below = self.below(bounded)
        return tuple(
            t for t in tasks if t.is_map and (t.name in below or self._word(t.name) == AUTO)
        )

    def below(self, bounded: Sequence[str]) -> tuple[str, ...]:
        """Name the bounded tasks without a word: the quality below a bound is chosen by trying."""
        return tuple(name for name in bounded if self._word(name) is None)

    def _word(self, name: str) -> str | None:
        return self.chosen.get(name, self.general)


def _parts(text: str, available: Sequence[str]) -> list[str]:
    """Split an option at its commas, but not at those in the path of a codec file."""

    def is_whole(part: str) -> bool:
        try:
            _, word = _named(part.strip(), available)
        except UnknownTaskError:
            return False
        return all(map(_is_there, _tried(word) if word.startswith(f"{AUTO}+") else [word]))

    return [stripped for part in _split(text, ",", is_whole) if (stripped := part.strip())]


def _tried(word: str) -> list[str]:
    """Return what ``auto+...`` tries beside the codecs that come with dsc."""
    return _split(word.removeprefix(f"{AUTO}+"), "+", _is_there)


def _split(text: str, separator: str, is_whole: Callable[[str], bool]) -> list[str]:
    """Split a text, the shortest whole parts first; what is never whole ends at the separator."""
    pieces, found = text.split(separator), []
    while pieces:
        joined = (separator.join(pieces[:count]) for count in range(1, len(pieces) + 1))
        part = next(filter(is_whole, joined), pieces[0])
        found.append(part)
        del pieces[: part.count(separator) + 1]
    return found


def _named(part: str, available: Sequence[str]) -> tuple[str | None, str]:
    """Take ``task=word`` apart; a path may have an equals sign, too.

    Raises
    ------
    UnknownTaskError
        When there is a name that is of no task.
    """
    name, equals, word = (piece.strip() for piece in part.partition("="))
    is_path = part.endswith(FILE_SUFFIX) and not _is_there(word) and _is_there(part)
    if not equals or is_path or not re.fullmatch(r"\w+", name):
        return None, part
    return resolve_task(name, available), word


def _is_there(word: str) -> bool:
    return (
        word == AUTO
        or is_codec(word)
        or (word.endswith(FILE_SUFFIX) and Path(_expanded(word)).is_file())
    )


def _expanded(word: str) -> str:
    """Return the path of a codec file without ``~``, which no shell expands after ``task=``."""
    return os.path.expanduser(word) if word.startswith("~") else word


def choose_codecs(
    spec: str | Spec | None,
    tasks: Sequence[Task],
    is_packed: bool = True,
    is_recorded: bool = False,
) -> dict[str, str]:
    """Choose a word for every task, none of them ``auto``.

    Parameters
    ----------
    spec
        See the module; None or an empty text leaves all to the default.
    tasks
        The tasks to code, in order.
    is_packed
        Whether bitstreams go into packs, which compress what the codec `plain` leaves.
    is_recorded
        Whether the samples are frames of recordings.

    Raises
    ------
    UsageError
        When the option names two codecs for all tasks, or one that codes none of them.
    UnknownCodecError, UnknownTaskError
        When it names a codec or task that is not there.
    """
    if not isinstance(spec, Spec):
        spec = Spec.parse(spec, [task.name for task in tasks])
    general = None if spec.general == AUTO else spec.general
    chosen = {
        task.name: spec.chosen[task.name]
        for task in tasks
        if spec.chosen.get(task.name, AUTO) != AUTO
    }
    rest = [task for task in tasks if task.name not in chosen]
    taken = {task.name for task in takes(general, rest)} if general else set()
    if general and rest and not taken:
        raise UsageError(
            f"--codec {spec.text}: {general} codes none of {', '.join(task.name for task in rest)}"
            + (_what_is_exact(rest, general) or _what_it_lacks(rest, general))
        )
    for task in rest:
        usual = default_codec(task, is_packed, is_recorded)
        chosen[task.name] = general if general and task.name in taken else usual
    return chosen


def _what_is_exact(tasks: Sequence[Task], word: str) -> str:
    """Say how a task that is exact on a guess can be coded as a picture after all."""
    guessed = [task.name for task in tasks if task.exact]
    if not guessed:
        return ""
    name = guessed[0]
    return (
        f"; {', '.join(guessed)} may hold ids and must come back exactly: if it holds pictures, "
        f"say --kinds {name}=image, or --codec {name}={word}"
    )


def _what_it_lacks(tasks: Sequence[Task], word: str) -> str:
    """Say why a codec takes none of these: them together, or the first by itself."""
    try:
        make(word, tasks if is_joint(word) else tasks[:1])
    except CodecError as error:
        return f": {error}"
    return ""


def default_codec(task: Task, is_packed: bool = True, is_recorded: bool = False) -> str:
    """Return the codec of a task that none was named for: the cheapest measured for its kind.

    What must be exact, or is in numbers that no image format holds, is stored without loss.
    """
    if is_recorded and task.kind in FILMED and can_code(OF_RECORDINGS, [task]):
        return OF_RECORDINGS
    if task.kind is TaskKind.LABEL and can_code("label-context", [task]):
        return "label-context"
    is_normal = task.kind is TaskKind.NORMAL and is_packed and not is_recorded
    if is_normal and can_code(OF_NORMALS, [task]):
        return OF_NORMALS
    if not is_packed and task.kind in (TaskKind.CLASS, TaskKind.VECTOR):
        return "vector"
    return classical_codec(task)


def classical_codec(task: Task) -> str:
    """Return the classical codec that is best for a task's kind."""
    if not task.is_map:
        return "plain" if task.is_exact else OF_NUMBERS.get(task.kind, "plain")
    channels = (1,) if task.kind is TaskKind.DEPTH else (1, 3)
    if task.dtype not in ("uint8", "uint16") or task.channels not in channels:
        return "exact"
    if task.kind is TaskKind.LABEL:
        return "jxl"
    if task.is_exact:
        return "jxl-lossless" if task.kind is TaskKind.IMAGE else "exact"
    return "av1"


def takes(word: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """List the tasks that a codec can code together."""
    if not tasks:  # and nothing is imported for them
        return ()
    kind: object = codec_class(codec_id_of(word))
    if not isinstance(kind, JointCodec):
        return tuple(task for task in tasks if can_code(word, [task]))
    chosen = kind.supported(tasks)
    if not chosen or not word.endswith(FILE_SUFFIX) or can_code(word, chosen):
        return chosen
    return tuple(task for task in chosen if can_code(word, [task]))  # a file may know fewer


def is_joint(word: str) -> bool:
    """Tell whether a codec codes several tasks together; others code each one alone."""
    return isinstance(codec_class(codec_id_of(word)), JointCodec)


def can_code(word: str, tasks: Sequence[Task]) -> bool:
    """Tell whether a codec can be made for these tasks together."""
    try:
        make(word, tasks)
    except CodecError:
        return False
    return True


def make(word: str, tasks: Sequence[Task]) -> Codec:
    """Make the codec that a word names, for these tasks.

    Raises
    ------
    CodecError
        When it cannot code one of them.
    BitstreamError
        When the codec file is damaged.
    """
    if not word.endswith(FILE_SUFFIX):
        return make_codec(word, tasks)
    config = {"tasks": [task.model_dump(mode="json") for task in tasks]}
    return codec_class(codec_id_of(word)).from_config(config, Path(word).read_bytes())


def codec_id_of(word: str) -> str:
    """Return the registry id of the codec that a word names.

    Raises
    ------
    UnknownCodecError
        When it is neither a registered codec nor the file of one.
    """
    if not word.endswith(FILE_SUFFIX):
        if not is_codec(word):
            known = ", ".join(nameable_codecs())
            raise UnknownCodecError(
                f"unknown codec {word!r}; known: {known}, {AUTO}, or a codec file (*{FILE_SUFFIX})"
            )
        return word
    metadata = _file_metadata(word)
    kind = _kind_of(metadata).split()
    found = kind[1] if len(kind) > 2 and kind[0] == "dsc" else ""  # a decoder's part says so last
    if not is_codec(found):  # one kind of file for several codecs: the model says which
        try:
            found = str(json.loads(metadata["model"])["kind"])
        except (KeyError, TypeError, ValueError):
            found = ""
    if not is_codec(found):
        raise UnknownCodecError(
            f"--codec {word}: a file of kind {_kind_of(metadata)!r}, which is no codec known "
            f"here ({', '.join(nameable_codecs())}); give a file that `dsc train` exported"
        )
    return found


def _kind_of(metadata: Mapping[str, str]) -> str:
    """Return the kind that a file says, in an entry of its own or among its facts; else ``""``."""
    try:
        facts = json.loads(metadata.get("dsc", "{}"))
    except ValueError:
        facts = {}
    return str(metadata.get("kind") or (isinstance(facts, dict) and facts.get("kind")) or "")


def _file_metadata(path: str) -> dict[str, str]:
    """Read the metadata of a safetensors file."""
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except FileNotFoundError:
        raise UnknownCodecError(f"--codec {path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise UnknownCodecError(f"--codec {path}: not a codec file: {error}") from None
