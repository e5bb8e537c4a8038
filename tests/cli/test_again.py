"""The line that says how to go on is the command that was given, with every option of it."""

import inspect
import shlex
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.main import get_command

from dsc._cli import app
from dsc._jobs.archive.append import append as append_call
from dsc._jobs.archive.compress import compress as compress_call
from dsc._jobs.archive.options import AppendOptions, CompressOptions
from dsc._jobs.archive.tally import Watch
from dsc._pipeline.options import DEFAULT_MINUTES, DEFAULT_SAMPLES, LayoutOptions, leaves
from dsc._schemas import Quality
from dsc.errors import UsageError
from tests.cli.conftest import Command, run_dsc

Asked = CompressOptions | AppendOptions
BEGINS_ANEW = {"overwrite", "restart"}  # the line goes on; they would throw away what is there
PRINTS = {"json_", "help"}
WRITTEN = {  # options whose value is read before the work begins
    "depth_unit": st.sampled_from(["0.001", "1/4096", "hm3d=1/4096,replica=0.001"]),
    "kinds": st.sampled_from(["left=image", "left=image,a b=depth"]),
    "missing": st.sampled_from(["error", "none"]),
    "on_error": st.sampled_from(["fail", "skip"]),
    "split": st.sampled_from(["train", "x_2"]),
}
CHOSEN = {"depth_unit": "1/4096", "kinds": "left=image", "missing": "none", "on_error": "skip"}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


def options_of(command: str) -> list[Any]:
    found: Any = get_command(app)
    left_out = BEGINS_ANEW | PRINTS
    params = found.commands[command].params
    return [p for p in params if p.name not in left_out and not getattr(p, "hidden", False)]


def parsed(command: str, words: list[str]) -> dict[str, Any]:
    """Return the value of every parameter, as the command itself reads them."""
    found: Any = get_command(app)
    parameters: dict[str, Any] = found.commands[command].make_context(command, list(words)).params
    return {name: v for name, v in parameters.items() if name not in BEGINS_ANEW | PRINTS}


def is_number(option: Any) -> bool:
    both = [*leaves(CompressOptions), *leaves(AppendOptions)]
    return any(leaf.option.kind in (int, float) for leaf in both if leaf.name == option.name)


def value_of(option: Any) -> st.SearchStrategy[list[str]]:
    """Draw the words that give an option."""
    name = option.opts[0]
    if option.is_flag:
        return st.sampled_from([[word] for word in (*option.opts, *option.secondary_opts)])
    numbers = st.integers(1, 999).filter(lambda n: n not in (DEFAULT_SAMPLES, DEFAULT_MINUTES))
    one = numbers.map(str) if is_number(option) else WRITTEN.get(option.name, TEXT)
    if option.multiple:
        several = st.lists(one, min_size=1, max_size=3)
        return several.map(lambda values: [word for v in values for word in (name, v)])
    return one.map(lambda value: [name, value])


@st.composite
def calls(draw: st.DrawFn, command: str) -> list[str]:
    """Draw a command line with any of its options, the values of any text."""
    options = [o for o in options_of(command) if o.param_type_name == "option"]
    chosen = draw(st.lists(st.sampled_from(options), unique=True))
    words = [word for option in chosen for word in draw(value_of(option))]
    where = ["my archive"] if command == "append" else []
    return [command, *where, "folder", *(["--root", "/my data"] * ("--root" not in words)), *words]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What commands ask for, instead of doing it."""
    asked: list[Asked] = []

    def take(request: Asked, *rest: Any) -> None:
        asked.append(request)
        raise UsageError("asked")

    monkeypatch.setattr("dsc._jobs.archive.compress.run", take)
    monkeypatch.setattr("dsc._jobs.archive.append.run", take)
    return asked


@pytest.mark.parametrize("command", ["compress", "append"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_line_to_go_on_asks_for_what_was_asked_for(
    requests: list[Asked], command: str, data: st.DataObject
) -> None:
    words = data.draw(calls(command))
    ran = run_dsc(*words)
    assert "asked" in ran.err, ran.err
    again = shlex.split(requests[-1].again())
    assert again[:2] == ["dsc", command]
    before, after = parsed(command, words[1:]), parsed(command, again[2:])
    before["out"] = before.get("out") or "./folder-dsc"
    after.setdefault("out", before["out"])
    assert after == before


@pytest.mark.parametrize("command", ["compress", "append"])
def test_each_option_stands_in_the_line(dsc: Command, requests: list[Asked], command: str) -> None:
    for option in options_of(command):
        if option.param_type_name != "option":
            continue
        name, where = option.opts[0], ["a"] if command == "append" else []
        if option.is_flag:
            words = [name]
        else:
            words = [name, CHOSEN.get(option.name, "7" if is_number(option) else "x")]
        dsc(command, *where, "folder", *(["--root", "d"] * (name != "--root")), *words)
        assert shlex.join(words) in requests[-1].again(), name


def test_what_begins_anew_is_not_in_the_line(dsc: Command, requests: list[Asked]) -> None:
    dsc("compress", "folder", "--root", "d", "--overwrite", "--json")
    assert requests[-1].again() == "dsc compress folder --out ./folder-dsc --root d --quality 60"
    dsc("append", "--root", "d", "--restart", "--", "-a", "folder")
    assert requests[-1].again() == "dsc append ./-a folder --root d"


@pytest.mark.parametrize(
    ("call", "kind"), [(compress_call, CompressOptions), (append_call, AppendOptions)]
)
def test_the_keywords_of_a_call_are_the_options(call: Any, kind: type) -> None:
    takes = inspect.signature(call).parameters
    layouts = {leaf.name for leaf in leaves(LayoutOptions)}
    watched = {one.name for one in fields(Watch)}
    options = {leaf.name: leaf.default for leaf in leaves(kind) if leaf.name not in layouts}
    assert set(takes) - watched - {"layout"} == set(options)
    usual = {
        "auto_samples": DEFAULT_SAMPLES,
        "auto_minutes": DEFAULT_MINUTES,
        "effort": "default",
    }
    for name, default in options.items():
        if takes[name].default is not inspect.Parameter.empty:
            assert takes[name].default in (default, usual.get(name)), name


def test_options_of_a_layout_that_are_switches_are_spelled_as_such() -> None:
    def again(**layout: Any) -> str:
        asked = {"archive": "a", "source": "folder", "root": "d", "layout": layout}
        return AppendOptions.called(asked).again()

    assert again(recursive=True, alpha=False, names=["a b", "c"]) == (
        "dsc append a folder --root d --no-alpha --recursive --names 'a b,c'"
    )
    assert again(kinds={"left": "image"}) == "dsc append a folder --root d --kinds left=image"


def test_what_no_command_can_say_is_not_left_out_of_one() -> None:
    asked = {"source": "folder", "out": "a", "quality": Quality(tasks={"rgb": 80}), "layout": {}}
    assert CompressOptions.called(asked).again() == (
        "call dsc.compress again with the same arguments, without overwrite"
    )
