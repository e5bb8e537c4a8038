"""What users may rely on is listed, documented, and all that the documentation names."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import dsc
from dsc.errors import UsageError
from tests.places import ROOT

PACKAGE = Path(dsc.__file__).parent
DOCS = ROOT / "docs"
# the front door: a name that comes or goes here is a change that docs/versions.md speaks of
PUBLIC = {
    "dsc": [
        "Dataset",
        "DscError",
        "LatentBatch",
        "LatentEmbedding",
        "ReplayBuffer",
        "SampleStream",
        "__version__",
        "append",
        "compress",
        "decode",
        "export",
        "fetch",
        "load_codec",
        "open",
        "pull",
        "push",
        "stream",
        "unpack",
    ],
    "dsc.backbones": [
        "Backbone",
        "Extractor",
        "Layer",
        "Preprocessing",
        "StagedBackbone",
        "backbone_names",
        "extract",
        "hash_weights",
        "load_backbone",
        "load_extractor",
        "prepare",
        "tail_of",
    ],
    "dsc.codecs": [
        "AdaptableCodec",
        "Array",
        "CODECS",
        "Codec",
        "EffortCodec",
        "JointCodec",
        "LatentCodec",
        "Own",
        "Rule",
        "Sample",
        "SplitCodec",
        "check_array",
        "codec_class",
        "codec_from_config",
        "codec_names",
        "make_codec",
    ],
    "dsc.errors": [
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
    ],
    "dsc.metrics": [
        "absrel",
        "angles_deg",
        "delta_125",
        "identical",
        "mean_angle_deg",
        "measure",
        "ms_ssim",
        "psnr_db",
        "rmse_m",
    ],
    "dsc.ray_data": [
        "read_archive",
    ],
    "dsc.replay": [
        "BufferReport",
        "ClassBalanced",
        "CodecSelection",
        "ExemplarDataset",
        "ExemplarTable",
        "Herding",
        "LabelledImages",
        "Policy",
        "PolicyChoice",
        "RateAdaptive",
        "Recipe",
        "ReplayBuffer",
        "Reservoir",
        "RunConfig",
        "Sweep",
        "adapt_encoder",
        "load_images",
        "load_split",
        "select_codec",
        "sweep",
    ],
    "dsc.replay.avalanche": [
        "CompressedExemplarsBuffer",
    ],
    "dsc.replay.images": [
        "LabelledImages",
        "hold_out",
        "load_images",
        "load_split",
    ],
    "dsc.schemas": [
        "Bound",
        "BoundKind",
        "CodecRecord",
        "DType",
        "Effort",
        "FailedSample",
        "FileRecord",
        "LeftOut",
        "Manifest",
        "Metric",
        "Origin",
        "Quality",
        "SequencePlace",
        "ShardRecord",
        "SourceReport",
        "Stream",
        "StreamRecord",
        "StreamTotals",
        "Target",
        "Task",
        "TaskKind",
        "TaskReport",
    ],
    "dsc.sources": [
        "CheckedSource",
        "IncompleteSource",
        "RecordedSource",
        "ReportingSource",
        "SOURCES",
        "SequenceSource",
        "Source",
        "SourceSample",
        "SplitSource",
        "TracedSource",
        "open_source",
        "options_of",
        "source_names",
        "with_file",
        "write_sample",
    ],
    "dsc.training": [
        "DataSpec",
        "Machine",
        "Pace",
        "TrainConfig",
        "TrainReport",
        "train",
    ],
    "dsc.transforms": [
        "Albumentations",
        "CenterCrop",
        "ColorJitter",
        "Compose",
        "HorizontalFlip",
        "Meaning",
        "Pad",
        "RandomCrop",
        "RandomResizedCrop",
        "Resize",
        "Seeded",
        "Torchvision",
        "VerticalFlip",
        "generator",
    ],
    "dsc.version": [
        "__version__",
    ],
}
EXTRAS = {"dsc.replay.avalanche": "avalanche", "dsc.ray_data": "ray"}  # what they need besides
INTERNAL_PAGES = {"architecture.md", "contributing.md"}  # and the decisions
NOT_VERBS = {"give", "gives"}


def public_module(name: str) -> ModuleType:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    return importlib.import_module(name)


def objects() -> Iterator[tuple[str, str]]:
    yield from ((module, name) for module, names in PUBLIC.items() for name in names)


@pytest.mark.parametrize("module", PUBLIC)
def test_the_front_door_is_the_list(module: str) -> None:
    assert sorted(public_module(module).__all__) == sorted(PUBLIC[module])


@pytest.mark.parametrize(("module", "name"), list(objects()), ids=str)
def test_a_public_name_says_what_it_is(module: str, name: str) -> None:
    value = getattr(public_module(module), name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return  # a table or an alias of a type
    text = inspect.getdoc(value)
    assert text, "no docstring"
    assert "dsc._" not in text, "sends the reader to what is internal"
    first = text.split()[0]
    if inspect.isroutine(value):
        assert re.fullmatch(r"[A-Z][a-z]+", first), f"begins with {first!r}"
        assert first.lower() not in NOT_VERBS
        assert not first.endswith("s") or first.endswith("ss"), f"{first!r} is no imperative"
        parameters = [p for p in inspect.signature(value).parameters if p not in ("self", "cls")]
        if len(parameters) > 2:
            assert re.search(r"^Parameters\n-+$", text, re.MULTILINE), "no section Parameters"


def functions_of(value: object) -> Iterator[Callable[..., object]]:
    yield value  # type: ignore[misc]  # of a class its docstring, with the signature of __init__
    if inspect.isclass(value):
        members = (getattr(member, "__func__", member) for member in vars(value).values())
        yield from (member for member in members if inspect.isfunction(member))


@pytest.mark.parametrize(("module", "name"), list(objects()), ids=str)
def test_parameters_documented_in_one_line_are_alike(module: str, name: str) -> None:
    """The reference shows the type and default of the first one for all of them."""
    value = getattr(public_module(module), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    for function in functions_of(value):
        text = inspect.getdoc(function) or ""
        section = re.search(r"^Parameters\n-+\n(.*?)(?:\n\n\S|\Z)", text, re.MULTILINE | re.DOTALL)
        for line in re.findall(r"^\S.*,.*$", section[1] if section else "", re.MULTILINE):
            known = inspect.signature(function).parameters
            named = [known[word.strip(" *")] for word in line.split(",")]
            alike = {(str(one.annotation), str(one.default)) for one in named}
            assert len(alike) == 1, f"{function.__qualname__}: {line}"


def test_public_modules_are_there_without_an_import_of_their_own() -> None:
    code = "import dsc; dsc.transforms.RandomCrop, dsc.sources.Source, dsc.replay.__name__"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'transform'"):
        _ = dsc.transform


def test_every_module_beside_the_front_door_has_an_underscore_in_its_path() -> None:
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if not any(part.startswith("_") for part in name.split(".")):
            assert name in PUBLIC, f"{name}: neither public nor internal"


def test_a_public_module_only_passes_names_on() -> None:
    for module in PUBLIC:
        if module in ("dsc", "dsc.errors", "dsc.version"):
            continue  # loads lazily; is the one place of its classes; holds one value
        tree = ast.parse(Path(public_path(module)).read_text(encoding="utf-8"))
        for node in tree.body:
            allowed = ast.ImportFrom | ast.Import | ast.Assign | ast.Expr
            assert isinstance(node, allowed), f"{module}:{node.lineno} defines something"


def public_path(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


# ---- the reference


def reference() -> dict[str, list[str]]:
    """Read which names the pages of docs/api show, by module."""
    found: dict[str, list[str]] = {}
    for page in sorted((DOCS / "api").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for module, block in re.findall(r"^::: ([\w.]+)\n((?: .*\n|\n(?= ))*)", text, re.MULTILINE):
            members = re.findall(r"^ {8}- (\w+)$", block, re.MULTILINE)
            found.setdefault(module, []).extend(members)
    return found


def test_the_reference_shows_every_public_name() -> None:
    shown = reference()
    for module, names in PUBLIC.items():
        if module != "dsc.version":
            assert sorted(shown[module]) == sorted(names), module
    assert set(shown) == set(PUBLIC) - {"dsc.version"}


# ---- what the pages name


PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAME = re.compile(r"(?<![\w/.\-])dsc\.[A-Za-z_][\w.]*\w")
FILES = (".json", ".py", ".md", ".yml", ".csv")
ENTRY_POINTS = ("dsc.rules",)  # a group of them, and no module


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_names_in_the_documentation_resolve(path: Path) -> None:
    for name in NAME.findall(path.read_text(encoding="utf-8")):
        if name.endswith(FILES) or name in ENTRY_POINTS:
            continue
        assert resolves(name), f"{page_name(path)} names {name}, which is not there"


def resolves(name: str) -> bool:
    module, rest = name, []
    while module:
        try:
            value = importlib.import_module(module)
            break
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("dsc"):
                return True  # an extra that is not installed
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
        except UsageError:
            return True  # the same, said by dsc
    for part in rest:
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_only_pages_about_the_inside_name_internal_modules(path: Path) -> None:
    if path.name in INTERNAL_PAGES or path.parent.name == "decisions":
        return
    text = path.read_text(encoding="utf-8")
    internal = re.findall(r"\bdsc\._\w+[\w.]*", text)
    allowed = {"dsc._storage"} if path.name == "versions.md" else set()  # its example
    assert set(internal) <= allowed
