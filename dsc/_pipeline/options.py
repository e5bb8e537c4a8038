"""What a caller may ask of a compression or an append, as small frozen values.

Each option is one field, and says how people give it: its spelling on the command line, its help,
its unit. The command line (`dsc._cli.options.takes_options`), the values that the work is done with
(`gather`) and the line that says how to go on (`spelled`) are made of the fields, so a new option
is one field here, and the place that uses it. The Python calls (`dsc.compress`, `dsc.append`) write
their keywords out, for type checkers; a test holds them to the fields.

Nothing here imports more than the standard library: the command line reads it before it works.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from numbers import Number
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc._schemas import Quality
    from dsc._sources.registry import Source

DEFAULT_SAMPLES = 32  # that codecs are tried on at most, where dsc chooses them
DEFAULT_MINUTES = 2.0  # that this may take
USUAL_QUALITY = "60"
ON_ERROR = ("fail", "skip")
OTHERS = "other"  # the field of a part that takes what is no option

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """How people give the value of a field.

    Attributes
    ----------
    name
        Spelling on the command line: ``--pack``; without dashes, a word in its place (``SOURCE``).
    help
        What it does, in plain sentences.
    metavar
        What stands for its value in help.
    is_first
        Whether everybody needs it; help shows the others under "Advanced".
    kind
        Type of its value on the command line.
    least
        The smallest number that it takes.
    usual
        What None stands for.
    formerly
        An earlier spelling, which still works.
    read
        Makes the value of what the command line was given.
    goes_on
        Whether a call that goes on with the work has to repeat it.
    """

    name: str
    help: str
    metavar: str | None = None
    is_first: bool = False
    kind: type = str
    least: int | None = None
    usual: Any = None
    formerly: str | None = None
    read: Callable[[str], Any] | None = None
    goes_on: bool = True


@dataclass(frozen=True)
class Leaf:
    """One option of a group of options, found by `leaves`: its name in Python and its default."""

    name: str
    option: Option
    default: Any


class Helps:
    """Other help for some options of a part, by their names in Python."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts


def leaves(kind: type, usual: Any = MISSING) -> Iterator[Leaf]:
    """Yield the options of a dataclass and of its parts, in their order.

    Parameters
    ----------
    usual
        A value of it whose options are the defaults, where the dataclass has others.
    """
    for one in fields(kind):
        known, helps = _declared(one)
        default = one.default if usual is MISSING else getattr(usual, one.name)
        if is_dataclass(_kind(one)):
            for leaf in leaves(_kind(one), default):
                text = helps.get(leaf.name, leaf.option.help)
                yield replace(leaf, option=replace(leaf.option, help=text))
        elif known is not None:
            yield Leaf(one.name, known, default)


def gather(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass of options, and its parts, from values by name.

    What is no option goes to the field of a part that takes the others (`LayoutOptions.other`).

    Raises
    ------
    TypeError
        When there is a value for no option, and no part takes others.
    """
    names = {leaf.name for leaf in leaves(kind)}
    others = {name: value for name, value in values.items() if name not in names}
    made = _gathered(kind, {n: v for n, v in values.items() if n in names}, others)
    if others:
        raise TypeError(f"{kind.__name__} has no option {', '.join(others)}")
    return made


def spelled(options: Any) -> list[str] | None:
    """Spell options as the command line takes them, those left out that say what is usual anyway.

    None when there is a value that no command can say, such as an open source.
    """
    places: list[str] = []
    words: list[str] = []
    for known, default, value in _values(options):
        if not known.goes_on or value is None or value in (default, known.usual):
            continue
        if not isinstance(value, str | Number | os.PathLike | list | tuple | Mapping):
            return None
        text = _word(value)
        if known.name.startswith("--"):
            words += _option(known.name, text)
        else:
            places.append(f"./{text}" if str(text).startswith("-") else str(text))
    return [*places, *words]


def given(options: Any) -> list[str]:
    """Name the options that have another value than by default, as the command line spells them."""
    return [known.name for known, usual, v in _values(options) if v is not None and v != usual]


def _gathered(kind: type[T], values: Mapping[str, Any], others: dict[str, Any]) -> T:
    made: dict[str, Any] = {}
    for one in fields(kind):  # type: ignore[arg-type]
        if is_dataclass(_kind(one)):
            usual = {leaf.name: leaf.default for leaf in leaves(_kind(one), one.default)}
            usual = {name: value for name, value in usual.items() if value is not MISSING}
            made[one.name] = _gathered(_kind(one), {**usual, **values}, others)
        elif one.name == OTHERS:
            made[one.name] = dict(others)
            others.clear()
        elif one.name in values:
            made[one.name] = values[one.name]
    return kind(**made)


def _values(options: Any) -> Iterator[tuple[Option, Any, Any]]:
    """Yield every option of a value: how it is given, its default, its value."""
    for one in fields(options):
        value, (known, _) = getattr(options, one.name), _declared(one)
        if is_dataclass(_kind(one)):
            yield from _values(value)
        elif known is not None:
            yield known, one.default, value
        elif one.name == OTHERS:
            for name, other in value.items():
                yield Option(f"--{name.replace('_', '-')}", ""), None, other


def _kind(one: Field[Any]) -> Any:
    """Return the type of a field, without what is noted of it."""
    return get_args(one.type)[0] if get_origin(one.type) is Annotated else one.type


def _declared(one: Field[Any]) -> tuple[Option | None, Mapping[str, str]]:
    """Return what is noted of a field: its option, or other help for the options below it."""
    notes = get_args(one.type)[1:] if get_origin(one.type) is Annotated else ()
    known = next((note for note in notes if isinstance(note, Option)), None)
    return known, next((note.texts for note in notes if isinstance(note, Helps)), {})


def _word(value: Any) -> Any:
    """Spell a list or mapping as the command line does: with commas, as ``name=value``."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={part}" for name, part in value.items())
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _option(name: str, value: Any) -> list[str]:
    """Spell an option: a switch by its name alone."""
    if isinstance(value, bool):
        return [name if value else f"--no-{name.removeprefix('--')}"]
    return [name, str(value)]


def read_kinds(text: str) -> dict[str, str]:
    """Read ``left=image,height=depth``.

    Raises
    ------
    UsageError
        When a part has no name or no kind.
    """
    parts = [part.rpartition("=") for part in text.split(",") if part.strip()]
    if not all(name and value for name, _, value in parts):
        raise UsageError(f"--kinds {text}: write task=kind with commas, for example height=depth")
    return {name.strip(): value.strip() for name, _, value in parts}


@dataclass(frozen=True, kw_only=True)
class LayoutOptions:
    """What a layout is told beside the place of its data; see the modules of `dsc._sources`.

    Attributes
    ----------
    other
        Options of a layout that the command line does not know, by name.
    """

    size: Annotated[
        int | None,
        Option(
            "--size",
            "Width and height of rendered views, in pixels. Default: 256. Of rendered recordings "
            "the width, the height being three quarters of it. Default: 320.",
            metavar="PX",
            kind=int,
        ),
    ] = None
    frames: Annotated[
        int | None,
        Option(
            "--frames",
            "Frames of each rendered recording, 30 a second. Default: 64.",
            metavar="N",
            kind=int,
        ),
    ] = None
    sequences: Annotated[
        int | None,
        Option(
            "--sequences",
            "How many recordings to render, each of a room of its own. Default: 1.",
            metavar="N",
            kind=int,
        ),
    ] = None
    camera: Annotated[
        str | None,
        Option(
            "--camera",
            "How the camera of rendered recordings moves: walk (in a hand, through the room), "
            "orbit (around its middle), or fixed, before which things move. Default: walk.",
            metavar="walk|orbit|fixed",
        ),
    ] = None
    noise: Annotated[
        float | None,
        Option(
            "--noise",
            "Noise in the pictures of rendered recordings, as a sensor has it: its standard "
            "deviation in counts of 255. Default: 0.",
            metavar="COUNTS",
            kind=float,
        ),
    ] = None
    depth_unit: Annotated[
        Any,
        Option(
            "--depth-unit",
            "How many metres one count of a depth file is, where the layout's own unit does not "
            "hold: 0.001 or 1/4096. Give it by task, or by component of taskonomy: hm3d=1/4096. "
            "Depth is stored in the same unit.",
            metavar="M",
        ),
    ] = None
    layout: Annotated[
        str | None,
        Option(
            "--layout",
            "How the files are laid out, where dsc cannot tell. For folder: directories, suffixes, "
            "classes, or the name of a published data set; for hdf5: rows, frames or groups; for "
            "webdataset: keys, or tars where each has names of its own.",
            metavar="NAME",
        ),
    ] = None
    kinds: Annotated[
        Any,
        Option(
            "--kinds",
            "What tasks of folder, hdf5, webdataset and rows are, where neither name nor values "
            "tell: left=image,height=depth. Kinds: image, depth, normal, label, class, vector, "
            "disparity, flow, array (exact numbers); of rows and of files also text, json, "
            "bytes (as they are), scalar, time, matrix.",
            metavar="TASK=KIND",
            read=read_kinds,
        ),
    ] = None
    file_unit: Annotated[
        Any,
        Option(
            "--file-unit",
            "What the values in depth files are, where they are neither metres nor counts of "
            "--depth-unit: mm; depth=1/5000; disp=disparity:BASELINE_M:FOCAL_PX; inverse.",
            metavar="U",
        ),
    ] = None
    invalid: Annotated[
        Any,
        Option(
            "--invalid",
            "Values that mean that nothing was measured: depth=0+65535,normal=128.",
            metavar="TASK=V+V",
        ),
    ] = None
    alpha: Annotated[
        Any,
        Option(
            "--alpha",
            "What becomes of the alpha channel of pictures: drop it, or keep it as a task of its "
            "own (mask). Default: pictures with alpha are refused.",
            metavar="drop|mask",
        ),
    ] = None
    ignore: Annotated[
        Any,
        Option(
            "--ignore",
            "Paths (previews/*) or tasks to leave out, with commas.",
            metavar="A,B",
        ),
    ] = None
    fields: Annotated[
        Any,
        Option(
            "--fields",
            "Which columns of rows (huggingface, table) are which tasks, with commas: "
            "rgb=image_path,caption=text,key=id,split=part. The names key and split say where keys "
            "and splits come from. Default: every column is a task.",
            metavar="TASK=COLUMN",
        ),
    ] = None
    key_column: Annotated[
        str | None,
        Option(
            "--key-column",
            "The column of rows that keys are made of, no two alike; none numbers the rows.",
            metavar="NAME",
        ),
    ] = None
    files: Annotated[
        str | None,
        Option(
            "--files",
            "Directory or URL that the paths in a table start from. Default: the table's own.",
            metavar="DIR",
        ),
    ] = None
    other: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Return what was given, by name."""
        known = {one.name: getattr(self, one.name) for one in fields(self) if one.name != OTHERS}
        return {name: v for name, v in {**known, **self.other}.items() if v is not None}


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Which tasks a frozen network computes of pictures; see `dsc._jobs.archive.computing`.

    Attributes
    ----------
    embed
        Backbones whose embeddings are tasks, with commas; each may have the task's name before it.
    features
        Backbones and layers whose feature maps are tasks, likewise.
    of
        The task whose pictures they see; None for rgb, or the only image there is.
    side
        Pixels of the square that pictures are resized to, or ``own``; None for what the backbone
        was trained with.
    """

    embed: Annotated[
        str | None,
        Option(
            "--embed",
            "Also compute an embedding of each picture, a vector by which pictures are searched, "
            "compared and classified: efficientnet-lite0, or a backbone that another package "
            "adds. The task is called embedding, or as you say: looks=efficientnet-lite0.",
            metavar="[TASK=]NAME",
            is_first=True,
        ),
    ] = None
    features: Annotated[
        str | None,
        Option(
            "--features",
            "Also compute feature maps of each picture at a layer of a backbone, to train heads "
            "on: efficientnet-lite0:block10. The task is called features, or as you say: "
            "deep=efficientnet-lite0:block15.",
            metavar="[TASK=]NAME:LAYER",
        ),
    ] = None
    of: Annotated[
        str | None,
        Option(
            "--of",
            "The task whose pictures --embed and --features see. Default: rgb, or the only image "
            "there is.",
            metavar="TASK",
        ),
    ] = None
    side: Annotated[
        str | int | None,
        Option(
            "--side",
            "Width and height that --embed and --features see pictures at, in pixels, or own for "
            "the size that each has, filled up to whole strides. Default: what the backbone was "
            "trained with.",
            metavar="PX|own",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Which dataset, where it lies, and what of it is wanted.

    Attributes
    ----------
    source
        Name of a layout (`dsc._sources.registry`), or an open source; None for the archive's own
        samples, where an append computes something of them.
    tasks
        Names or aliases; None for all.
    root
        Directory, file or URL of the data.
    sample
        How many views to render instead of reading data.
    """

    source: Annotated[
        "str | Source | None",
        Option(
            "SOURCE",
            "What kind of data it is: taskonomy (Omnidata too), nyuv2, folder (your own files), "
            "coco, hdf5, webdataset (tars), huggingface (Parquet, save_to_disk, hf://), lerobot, "
            "table (CSV, JSON lines or Parquet with paths); or rendered on the spot: rendered "
            "(recordings: --frames, --camera), clevr, and sample, which is taskonomy with "
            "--views.",
        ),
    ]
    tasks: Annotated[
        Sequence[str] | str | None,
        Option(
            "--tasks",
            "Tasks, with commas; aliases such as depth and normals work. Default: all. Rendered "
            "data have further ones by name: depth_euclidean, reshading, edge_texture, "
            "edge_occlusion, keypoints2d, mask_valid.",
            metavar="A,B",
            is_first=True,
        ),
    ] = None
    root: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "--root",
            "Directory or fsspec URL of the data, or a file of it. Default: ./SOURCE or "
            "./data/SOURCE.",
            metavar="DIR",
            is_first=True,
        ),
    ] = None
    sample: Annotated[
        int | None,
        Option(
            "--views",
            "Render this many indoor views instead of reading data.",
            formerly="--sample",
            metavar="N",
            is_first=True,
            kind=int,
            least=1,
        ),
    ] = None
    split: Annotated[
        str | None,
        Option(
            "--split",
            "Which splits to take, with commas, where the source has splits (or of nyuv2) or they "
            "are stated; elsewhere, what to call the split. Default: all of them, or train.",
            metavar="NAME",
        ),
    ] = None
    split_file: Annotated[
        Any,
        Option(
            "--split-file",
            "Files that list the samples of splits, one a line: train=a.txt,val=b.txt, or "
            "train.txt,val.txt. Lines are names, keys, paths, or directories of samples.",
            metavar="NAME=FILE",
        ),
    ] = None
    split_by: Annotated[
        str | None,
        Option(
            "--split-by",
            "What puts samples into splits: hash:train=0.9,val=0.1 (drawn by keys, of recordings "
            "by their names, the same for ever); hash-folder:train=0.9,val=0.1 (directories stay "
            "together); folder:1 (the first directory of a name); name:train=a*+b*,val=c*; "
            "task:NAME (a class or text says it).",
            metavar="RULE",
        ),
    ] = None
    split_rest: Annotated[
        str | None,
        Option(
            "--split-rest",
            "What becomes of samples in no split: the name of one, or drop. Default: refused.",
            metavar="NAME|drop",
        ),
    ] = None
    cut_sequences: Annotated[
        bool,
        Option(
            "--cut-sequences",
            "Let --split-file and --split-by put frames of one recording into several splits. "
            "Default: a recording is in one split as a whole.",
            kind=bool,
        ),
    ] = False
    sequence_by: Annotated[
        str | None,
        Option(
            "--sequence-by",
            "What makes samples frames of recordings, by their names: dir (each directory is one, "
            "frames are numbered by the last number of a name); {sequence}/frame-{frame}; "
            "{sequence}/{time} (time stamps); a regular expression with the groups sequence, frame "
            "and time; none (code each alone). Default: as the layout says.",
            metavar="RULE",
        ),
    ] = None
    compute: ComputeOptions = field(default=ComputeOptions())
    layout: LayoutOptions = field(default=LayoutOptions())


@dataclass(frozen=True, kw_only=True)
class CodingOptions:
    """Which codecs are to code the tasks, and how well; `dsc._pipeline.choose.decide` decides.

    Attributes
    ----------
    codec
        As `dsc._pipeline.choose.codec_spec` reads it; None for the usual codecs.
    quality
        1 to 100, for all or by task, or whole; None for 60.
    target
        A distortion that each sample is to reach, by task.
    max_error
        The largest error of a valid pixel, by task.
    effort
        How long encoders may look for fewer bytes: ``fast``, ``default`` or ``best``.
    access
        What frames of recordings are predicted from: ``balanced`` or ``tree``.
    derive
        Whether tasks that follow from others are computed instead of stored: ``auto`` or ``never``.
    exact
        Whether every task comes back value for value.
    auto_samples
        How many samples codecs are tried on at most, where that is left to dsc.
    auto_minutes
        When trying codecs ends with the best so far; 0 for no limit.
    """

    codec: Annotated[
        str | None,
        Option(
            "--codec",
            "One codec for all tasks, or one each: avif; rgb=avif,depth=jxl; "
            "shared-latent,label=png; or a codec file: my.safetensors. With auto, dsc tries all "
            "of them on samples of the data and takes the cheapest at equal distortion. Default: "
            "av1-seq for images, depth and labels of recordings, else av1 for images, normals and "
            "depth, label-context (of few samples label-scan) for label maps, exact for what no "
            "image format holds.",
            metavar="SPEC",
            is_first=True,
        ),
    ] = None
    quality: Annotated[
        "str | int | Quality | None",
        Option(
            "--quality",
            "1 (smallest) to 100 (best), for all tasks or each: 60 or rgb=60,depth=80. A stream "
            "that tasks share has a quality too: shared=70. Label maps are always lossless.",
            metavar="Q",
            is_first=True,
        ),
    ] = None
    target: Annotated[
        str | None,
        Option(
            "--target",
            "What each sample is to reach in the fewest bytes, instead of a quality: rgb=38dB or "
            "rgb=0.98msssim; depth=0.5% (AbsRel) or depth=2cm (RMSE); normal=1deg.",
            metavar="T",
            is_first=True,
        ),
    ] = None
    max_error: Annotated[
        str | None,
        Option(
            "--max-error",
            "The largest error that any valid pixel may have, kept by a second stream: depth=1%, "
            "depth=5mm, or in counts for images: gray=2. Where no codec is named for the task, dsc "
            "takes the cheaper of the usual one and jxl, at the quality that is cheapest on a few "
            "crops. Floats that are no maps are rounded, within a number of their own: pose=1e-4.",
            metavar="E",
            is_first=True,
        ),
    ] = None
    effort: Annotated[
        str | None,
        Option(
            "--effort",
            "How long encoders may look for fewer bytes: fast, default, or best, which takes "
            "several times as long. What a quality means stays; depth with holes may be read more "
            "slowly with best.",
            metavar="fast|default|best",
            is_first=True,
            usual="default",
        ),
    ] = None
    access: Annotated[
        str | None,
        Option(
            "--access",
            "What the frames of a recording are predicted from: balanced, the fewest bytes, or "
            "tree, so that one frame alone is read and decoded sooner. Default: balanced.",
            metavar="balanced|tree",
        ),
    ] = None
    derive: Annotated[
        str | None,
        Option(
            "--derive",
            "Whether a task that follows from others (edges and key points of an image, Euclidean "
            "depth, shading) is computed when it is read: auto, where a rule is found that gives "
            "the samples' values, or never. Fetching it alone then takes what it follows from. "
            "Default: auto.",
            metavar="auto|never",
        ),
    ] = None
    exact: Annotated[
        bool,
        Option(
            "--exact",
            "Let every task come back value for value, and JPEG files and frames of videos as they "
            "are, in the fewest bytes that dsc knows for that; dsc verify --against proves it.",
            is_first=True,
            kind=bool,
        ),
    ] = False
    auto_samples: Annotated[
        int | None,
        Option(
            "--auto-samples",
            "Samples to try codecs on at most, where dsc chooses them; fewer where the choice is "
            f"clear. Default: {DEFAULT_SAMPLES}.",
            metavar="N",
            kind=int,
            least=1,
            usual=DEFAULT_SAMPLES,
        ),
    ] = None
    auto_minutes: Annotated[
        float | None,
        Option(
            "--auto-minutes",
            "When to end trying codecs with the best so far; 0 for no limit. Default: "
            f"{DEFAULT_MINUTES:g}.",
            metavar="MIN",
            kind=float,
            least=0,
            usual=DEFAULT_MINUTES,
        ),
    ] = None

    def check(self) -> None:
        """Refuse what contradicts that nothing is lost, with a `UsageError`."""
        usual = self.quality is None or str(self.quality) == USUAL_QUALITY
        said = {"--quality": not usual, "--target": self.target, "--max-error": self.max_error}
        against = [name for name, value in said.items() if value]
        if self.exact and against:
            raise UsageError(
                f"--exact: every value comes back, so {against[0]} has nothing to say; leave one "
                "of them out"
            )

    @property
    def tried(self) -> int:
        """How many samples codecs are tried on."""
        return DEFAULT_SAMPLES if self.auto_samples is None else self.auto_samples

    @property
    def minutes(self) -> float:
        """How many minutes codecs are tried; 0 for no limit."""
        return DEFAULT_MINUTES if self.auto_minutes is None else self.auto_minutes


@dataclass(frozen=True, kw_only=True)
class ShardingOptions:
    """How many samples a file and a pack hold; None leaves it to `dsc._pipeline.write.plan`.

    Attributes
    ----------
    shard_size
        Samples a shard, at least 1.
    pack
        Samples a pack, 1 to 2^20.
    """

    shard_size: Annotated[
        int | None,
        Option(
            "--shard-size",
            "Samples in a shard, the unit of work and of resuming. Default: chosen from the data.",
            metavar="N",
            kind=int,
        ),
    ] = None
    pack: Annotated[
        int | None,
        Option(
            "--pack",
            "Samples in a pack, which is one member of a tar and is read whole. Default: packs of "
            "64 to 256 KiB. With 1, every sample is a member.",
            metavar="P",
            kind=int,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Which tasks are kept so that all their values of a shard come with one request.

    Attributes
    ----------
    columns
        Tasks that are no maps, names or aliases; None for those that are small anyway.
    """

    columns: Annotated[
        Sequence[str] | str | None,
        Option(
            "--columns",
            "Tasks of small values to keep as columns, with commas: scene,caption. All their "
            "values of a shard come with one request, so that samples are chosen by them quickly. "
            "Default: those that take no more than 256 KiB a shard.",
            metavar="A,B",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Where the work runs, and what a sample that cannot be read means; nothing changes the bytes.

    Attributes
    ----------
    workers
        Worker processes on this machine; 0 works in this process.
    address
        A Ray cluster instead.
    on_error
        ``fail``, or ``skip`` to leave such samples out and list them.
    """

    workers: Annotated[
        int,
        Option(
            "--workers",
            "Worker processes on this machine; 0 works in this process.",
            metavar="N",
            is_first=True,
            kind=int,
            least=0,
        ),
    ] = 0
    address: Annotated[
        str | None, Option("--address", "Address of a Ray cluster to work on.", metavar="RAY")
    ] = None
    on_error: Annotated[
        str,
        Option(
            "--on-error",
            "What a sample that cannot be read means. fail: its shard cannot be made. skip: it is "
            "left out and listed, and the exit code is 1.",
            metavar="fail|skip",
        ),
    ] = "fail"

    def check(self) -> None:
        """Refuse values that contradict each other, with a `UsageError`."""
        if self.on_error not in ON_ERROR:
            raise UsageError(f"--on-error {self.on_error}: {' or '.join(ON_ERROR)}")
        if self.workers < 0:
            raise UsageError(f"--workers {self.workers}: 0 (in this process) or more")
        if self.workers and self.address:
            raise UsageError(
                "--workers works on this machine, --address on a cluster: give one of them"
            )
