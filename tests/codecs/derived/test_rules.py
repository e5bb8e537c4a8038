"""Rules by id: dsc's own, and those of installed packages by their entry points."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._codecs.derived.rule import Own, Rule
from dsc._codecs.derived.rules import MEMBERS, RULES, find_rule, rule_class, rule_names
from dsc._pipeline.read.verify import verify_deep
from dsc._schemas import Task, TaskKind
from dsc._sources.base import read_sample
from dsc._sources.registry import open_source
from dsc.errors import UnknownCodecError, UsageError
from tests.third_party import declare

IMAGE = Task(name="light", kind=TaskKind.IMAGE, dtype="uint8")
INVERSE = Task(name="dark", kind=TaskKind.IMAGE, dtype="uint8")

MODULE = "tests.codecs.derived.test_rules"


class Negative:
    """A map that is 255 less another one."""

    id: ClassVar[str] = "negative@1"
    own_count = 0

    def __init__(self, parent: str) -> None:
        self.inputs = (parent,)

    @classmethod
    def find(cls, child: Task, parents: Sequence[Task], samples: Sequence[Any]) -> Self | None:
        for parent in parents:
            if all(np.array_equal(s[child.name], 255 - s[parent.name]) for s in samples):
                return cls(parent.name)
        return None

    @classmethod
    def from_params(cls, child: Task, inputs: Sequence[Task], params: Mapping[str, int]) -> Self:
        return cls(inputs[0].name)

    def params(self) -> dict[str, int]:
        return {}

    def fit(self, child: Any, inputs: Mapping[str, Any]) -> Own:
        return ()

    def derive(self, inputs: Mapping[str, Any], own: Own) -> Any:
        return 255 - inputs[self.inputs[0]]


class Nameless(Negative):
    id: ClassVar[str] = "another@1"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make it look as if a package that declares a rule were installed."""

    def add(package: str, declared: str) -> None:
        site = tmp_path / package
        declare(site, package, f"[dsc.rules]\n{declared}\n")
        monkeypatch.setattr(sys, "path", [str(site), *sys.path])

    return add


@pytest.mark.parametrize("rule_id", RULES)
def test_a_rule_of_our_own_is_registered_under_its_id(rule_id: str) -> None:
    found = rule_class(rule_id)
    assert found.id == rule_id
    assert rule_id.rpartition("@")[2].isdigit()


def test_an_unknown_rule_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(UnknownCodecError, match=r"the rule 'sharpen@1', .*known: .*newer dsc"):
        rule_class("sharpen@1")


def test_a_rule_of_another_package_is_found_by_its_values(
    install: Callable[[str, str], None],
) -> None:
    install("dsc-negative", f"negative@1 = {MODULE}:Negative")
    assert rule_names() == (*RULES, "negative@1")
    light = np.arange(12, dtype=np.uint8).reshape(3, 4)
    samples = [{"light": light, "dark": 255 - light}]
    rule = find_rule(INVERSE, [INVERSE, IMAGE], samples)
    assert isinstance(rule, Rule)
    assert (rule.id, rule.inputs, rule.params()) == ("negative@1", ("light",), {})
    assert np.array_equal(rule.derive(samples[0], ()), samples[0]["dark"])
    assert find_rule(IMAGE, [INVERSE], [{"light": light, "dark": light}]) is None


def test_deep_verification_says_once_that_a_rule_is_not_there(
    install: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0)
    for n in range(2):
        light = noise.integers(0, 255, (16, 16)).astype(np.uint8)
        for name, values in (("light", light), ("dark", 255 - light)):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "data" / name / f"{n}.png"
            path.write_bytes(imagecodecs.png_encode(values))
    kinds = {"light": "image", "dark": "image"}
    install("dsc-negative", f"negative@1 = {MODULE}:Negative")
    dsc.compress("folder", tmp_path / "a", root=tmp_path / "data", kinds=kinds, exact=True)
    assert verify_deep(str(tmp_path / "a")) == []
    monkeypatch.undo()
    with pytest.raises(UnknownCodecError, match=r"the rule 'negative@1', which this dsc has not"):
        verify_deep(str(tmp_path / "a"))


def test_the_rule_of_the_page_finds_and_gives_gray() -> None:
    page = (Path(__file__).parents[3] / "docs/derived.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "derived.md", "exec"), names)
    (declared,) = re.findall(r'^"(.*)" = "my_rules:(.*)"$', page, re.MULTILINE)
    assert names[declared[1]].id == declared[0]
    assert all(callable(getattr(names[declared[1]], name)) for name in MEMBERS)
    rgb = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    gray = np.round(rgb @ (0.299, 0.587, 0.114)).astype(np.uint8)
    tasks = [Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3), INVERSE]
    rule = names["Luminance"].find(INVERSE, tasks, [{"rgb": rgb, "dark": gray}, {"rgb": rgb}])
    assert (rule.inputs, rule.params(), rule.fit(gray, {"rgb": rgb})) == (("rgb",), {}, ())
    again = type(rule).from_params(INVERSE, tasks[:1], {})
    assert np.array_equal(again.derive({"rgb": rgb}, ()), gray)
    assert names["Luminance"].find(INVERSE, tasks, [{"rgb": rgb, "dark": 255 - gray}]) is None


def test_a_rule_under_another_id_is_refused(install: Callable[[str, str], None]) -> None:
    install("dsc-nameless", f"nameless@1 = {MODULE}:Nameless")
    with pytest.raises(UsageError, match="'nameless@1' of dsc-nameless calls itself 'another@1'"):
        rule_class("nameless@1")


def test_what_is_no_rule_is_refused(install: Callable[[str, str], None]) -> None:
    install("dsc-none", "none@1 = fractions:Fraction")
    with pytest.raises(UsageError, match=r"of dsc-none lacks find, from_params, params, fit, der"):
        rule_class("none@1")


def test_a_rule_that_two_packages_declare_is_refused(
    install: Callable[[str, str], None],
) -> None:
    for package in ("dsc-one", "dsc-two"):
        install(package, f"negative@1 = {MODULE}:Negative")
    with pytest.raises(UsageError, match=r"is declared by dsc-(one|two) and dsc-"):
        rule_class("negative@1")


@pytest.mark.parametrize(
    ("name", "rule_id", "params"),
    [
        ("edge_texture", "edge_texture@1", {"sigma_1000": 3000}),
        ("keypoints2d", "keypoints2d@1", {}),
    ],
)
def test_filters_that_the_renderer_made_are_found(
    name: str, rule_id: str, params: dict[str, int]
) -> None:
    names = ["rgb", "depth_zbuffer", "edge_texture", "keypoints2d"]
    source = open_source("sample", n=2, size=96, tasks=names)
    samples = [read_sample(source, index, names).arrays for index in range(2)]
    tasks = {task.name: task for task in source.tasks}
    rule = find_rule(tasks[name], list(tasks.values()), samples)
    assert rule is not None
    assert (rule.id, rule.inputs, rule.params()) == (rule_id, ("rgb",), params)
    for sample in samples:
        assert abs(rule.derive(sample, ()).astype(int) - sample[name]).max() <= 1
