"""Several codecs behave like one, and each task has exactly one."""

import pickle
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from dsc._codecs import registry
from dsc._codecs.classical.png import PngCodec
from dsc._codecs.classical.vector import VectorCodec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.codec_spec import Spec, choose_codecs
from dsc._schemas import Quality, Stream, Task, TaskKind
from dsc._threads import single_thread
from dsc.errors import CodecError, UnknownCodecError, UnknownTaskError, UsageError
from tests.jobs.sources import DEPTH, LABEL, RGB, PixelSource

NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3)
EDGES = Task(name="edge_texture", kind=TaskKind.IMAGE, dtype="uint16")
SCENE = Task(name="class_scene", kind=TaskKind.VECTOR, dtype="float32", channels=4)
ALL = (RGB, DEPTH, NORMAL, LABEL, EDGES, SCENE)


class JointCodec:
    """Codes all its tasks in one stream, with weights; counts how often it is made."""

    id: ClassVar[str] = "shared-latent"
    made: ClassVar[int] = 0

    def __init__(self, tasks: Sequence[Task], weights: bytes) -> None:
        type(self).made += 1
        self.tasks, self._weights = tuple(tasks), weights
        self.threads: int | None = None

    @classmethod
    def for_tasks(cls, tasks: Sequence[Task]) -> Self:
        return cls(tasks, b"weights")

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        return cls([Task.model_validate(task) for task in config["tasks"]], weights or b"")

    @staticmethod
    def supported(tasks: Sequence[Task]) -> tuple[Task, ...]:
        return tuple(task for task in tasks if task.name in ("rgb", "depth"))

    def config(self) -> dict[str, Any]:
        return {"tasks": [task.model_dump(mode="json") for task in self.tasks]}

    def weights(self) -> bytes:
        return self._weights

    def streams(self) -> tuple[Stream, ...]:
        own = (Stream(name=t.name, carries=(t.name,), requires=("shared",)) for t in self.tasks)
        return (Stream(name="shared"), *own)

    def encode_batch(self, samples: Any, quality: Quality) -> list[dict[str, bytes]]:
        torch = sys.modules.get("torch")
        self.threads = torch.get_num_threads() if torch else None
        return [
            {"shared": b"s", **{name: array.tobytes() for name, array in sample.items()}}
            for sample in samples
        ]

    def decode_batch(self, streams: Any, tasks: Any, max_pixels: int) -> list[dict[str, Any]]:
        return [
            {t: np.frombuffer(s[t], np.uint8) for t in tasks if t in s and s["shared"] == b"s"}
            for s in streams
        ]


@pytest.fixture
def joint(monkeypatch: pytest.MonkeyPatch) -> type[JointCodec]:
    """The joint codec under the id of a shipped one, whose network these tests do not need."""
    monkeypatch.setattr(JointCodec, "made", 0)
    monkeypatch.setitem(registry.CODECS, "shared-latent", f"{__name__}:JointCodec")
    return JointCodec


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        (None, ["av1", "av1", "normal-palette", "label-context", "av1", "plain"]),
        (
            "shared-latent",
            [*["shared-latent"] * 2, "normal-palette", "label-context", "av1", "plain"],
        ),
        ("png", ["png"] * 5 + ["plain"]),
        ("png,depth=jxl", ["png", "jxl", "png", "png", "png", "plain"]),
        ("rgb=avif,label=png", ["avif", "av1", "normal-palette", "png", "av1", "plain"]),
        (" depth = png , jxl ", ["jxl", "png", "jxl", "jxl", "jxl", "plain"]),
    ],
)
def test_an_option_gives_each_task_one_codec(
    joint: type[JointCodec], spec: str | None, chosen: list[str]
) -> None:
    found = choose_codecs(spec, ALL)
    assert [found[task.name] for task in ALL] == chosen


def test_a_task_that_the_codec_cannot_take_goes_to_the_default_for_its_kind() -> None:
    found = choose_codecs("jpeg", ALL)
    assert (found["rgb"], found["label"]) == ("jpeg", "label-context")
    assert found["class_scene"] == "plain"


def test_labels_are_lossless_whatever_codec_is_asked_for() -> None:
    array = PixelSource().arrays(0)["label"]
    for spec in ("jpeg", "webp", "avif", "jxl", "png"):
        codecs = CodecSet.from_spec(spec, [RGB, LABEL])
        coded = codecs.encode_batch([{"label": array}], Quality(default=1))
        decoded = codecs.decode_batch(coded, ["label"], array.size)
        assert np.array_equal(decoded[0]["label"], array)


def test_aliases_name_tasks() -> None:
    zbuffer = DEPTH.model_copy(update={"name": "depth_zbuffer"})
    assert choose_codecs("png,depth=jxl", [RGB, zbuffer])["depth_zbuffer"] == "jxl"


WEIGHTS = files("dsc._codecs") / "weights" / "shared-latent.safetensors"


@pytest.mark.parametrize(
    "path",
    ["my.safetensors", "run=3/my.safetensors", "a,b/my=1,2.safetensors", "rgb=/x+y/ö z.safetensors",
     "label=png,/my.safetensors"],
)  # fmt: skip
@pytest.mark.parametrize("is_relative", [True, False])
def test_the_path_of_a_codec_file_may_hold_what_separates_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, is_relative: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / path
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(WEIGHTS.read_bytes())
    given, names = path if is_relative else str(there), ["rgb", "depth", "label"]
    assert Spec.parse(f"depth=png,label={given},rgb=jxl", names).chosen == {
        "depth": "png",
        "label": given,
        "rgb": "jxl",
    }
    assert Spec.parse(f"auto+{given},depth=png", names).extra == (given,)
    if not (is_relative and path.startswith("label=png")):  # which says something else
        assert Spec.parse(f"{given}, depth=png", names).general == given


def test_a_codec_file_at_home_is_found_after_an_equals_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.safetensors").write_bytes(WEIGHTS.read_bytes())
    found = Spec.parse("label=~/my.safetensors", ["label"])
    assert found.chosen == {"label": str(tmp_path / "my.safetensors")}


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("/data/run=3/my.safetensors", UnknownCodecError, "/data/run=3/my.safetensors: no such"),
        ("rgb=/a=b/my.safetensors", UnknownCodecError, "/a=b/my.safetensors: no such"),
        ("zip", UnknownCodecError, "png"),
        ("rgb=zip", UnknownCodecError, "zip"),
        ("normal=png", UnknownTaskError, "rgb, depth, label"),
        ("png,jxl", UsageError, "png and jxl"),
        ("rgb=vector", UsageError, "rgb"),
        ("vector", UsageError, "codes none"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_bad_usage(
    spec: str, error: type[UsageError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        CodecSet.from_spec(spec, [RGB, DEPTH, LABEL])
    assert caught.value.exit_code == 2


def test_slots_and_records_agree(joint: type[JointCodec]) -> None:
    codecs = CodecSet.from_spec("shared-latent,label=png", [RGB, LABEL, DEPTH, SCENE])
    assert codecs.slots == {"shared": 0, "rgb": 0, "depth": 0, "label": 1, "class_scene": 2}
    assert [record.id for record in codecs.records()] == ["shared-latent", "png", "plain"]
    for slot, record in enumerate(codecs.records()):
        assert all(codecs.slots[name] == slot for name in record.streams)
    assert codecs.weight_files() == (b"weights",)
    assert codecs.records()[0].weights_sha256 is not None


def test_what_is_encoded_together_is_decoded_apart() -> None:
    tasks = (RGB, DEPTH, LABEL, SCENE)
    codecs = CodecSet.of([PngCodec([RGB, LABEL]), PngCodec([DEPTH]), VectorCodec([SCENE])])
    samples = [
        PixelSource().arrays(index) | {"class_scene": np.arange(4, dtype=np.float32)}
        for index in range(4)
    ]
    coded = codecs.encode_batch(samples, Quality())
    assert [set(c) for c in coded] == [set(s) for s in samples]  # sample 2 has no label
    for task in tasks:
        decoded = codecs.decode_batch(coded, [task.name], 96)
        for sample, arrays in zip(samples, decoded, strict=True):
            assert set(arrays) == {task.name} & set(sample)
            assert all(np.array_equal(array, sample[name]) for name, array in arrays.items())


def test_bytes_of_a_sample_do_not_depend_on_its_batch() -> None:
    codecs = CodecSet.from_spec("png", [RGB, DEPTH, LABEL])
    samples = [PixelSource().arrays(index) for index in range(5)]
    alone = [codecs.encode_batch([sample], Quality())[0] for sample in samples]
    assert codecs.encode_batch(samples, Quality()) == alone


def test_decoding_makes_only_the_codecs_that_it_needs(joint: type[JointCodec]) -> None:
    written = CodecSet.from_spec("shared-latent,label=png", [RGB, LABEL])
    coded = written.encode_batch([PixelSource().arrays(0)], Quality())
    opened = CodecSet(written.records(), written.streams(), lambda record: b"weights")
    joint.made = 0
    opened.decode_batch(coded, ["label"], 96)
    assert joint.made == 0
    opened.decode_batch(coded, ["rgb"], 96)
    opened.decode_batch(coded, ["rgb"], 96)
    assert joint.made == 1


def test_a_pickled_set_gives_the_same_bytes(joint: type[JointCodec]) -> None:
    codecs = CodecSet.from_spec("shared-latent,label=png", [RGB, DEPTH, LABEL])
    sample = [PixelSource().arrays(0)]
    before = codecs.encode_batch(sample, Quality())
    joint.made = 0
    copied = pickle.loads(pickle.dumps(codecs))
    assert joint.made == 0
    assert copied.encode_batch(sample, Quality()) == before
    assert copied.weight_files() == codecs.weight_files()


def test_two_codecs_for_one_stream_or_task_are_refused(joint: type[JointCodec]) -> None:
    with pytest.raises(CodecError, match="rgb"):
        CodecSet.of([PngCodec([RGB]), PngCodec([RGB, LABEL])])
    shared = RGB.model_copy(update={"name": "shared"})
    with pytest.raises(UsageError, match="stream shared"):
        CodecSet.from_spec("shared-latent,shared=png", [RGB, shared])


def test_what_a_codec_would_lose_is_an_error(joint: type[JointCodec]) -> None:
    sample = [PixelSource().arrays(0)]
    for wrong in ({"shared": b"", "rgb": b"", "stray": b""}, {"shared": b""}):
        codec = joint.for_tasks([RGB])
        codec.encode_batch = lambda samples, quality, wrong=wrong: [wrong]  # type: ignore[method-assign]
        with pytest.raises(CodecError, match=r"stray|no stream for tasks \['rgb'\]"):
            CodecSet.of([codec]).encode_batch(sample, Quality())


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownTaskError, match="rgb, label"):
        CodecSet.from_spec("png", [RGB, LABEL]).decode_batch([{}], ["normal"], 96)


class FakeTorch:
    threads = 7

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, count: int) -> None:
        self.threads = count


def test_codecs_encode_on_one_thread_and_the_setting_comes_back(
    joint: type[JointCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    codec = joint.for_tasks([RGB])
    CodecSet.of([codec]).encode_batch([{"rgb": PixelSource().arrays(0)["rgb"]}], Quality())
    assert codec.threads == 1
    assert torch.threads == 7
    with pytest.raises(RuntimeError), single_thread():
        raise RuntimeError
    assert torch.threads == 7
