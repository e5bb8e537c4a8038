"""Other packages' codecs: found by their entry points, imported when asked for, used like ours."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc.codecs import codec_class, codec_names, make_codec
from dsc.errors import UnknownCodecError, UsageError
from dsc.schemas import Task, TaskKind
from tests.codecs.conformance import CodecConformance
from tests.places import ROOT
from tests.third_party import declare, run

EXAMPLE = ROOT / "examples" / "third_party_codec"
DECLARED = "[dsc.codecs]\nflate = dsc_flate:FlateCodec\n"
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="int32")
VIEWS = {"n": 3, "size": 32}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example, as if it were installed; what is declared beside it is found, too."""
    site = tmp_path / "site"
    declare(site, "dsc-flate", DECLARED)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.syspath_prepend(str(EXAMPLE))
        patch.delitem(sys.modules, "dsc_flate", raising=False)
        yield site
    sys.modules.pop("dsc_flate", None)


@pytest.fixture
def archive(installed: Path, tmp_path: Path) -> Path:
    out = tmp_path / "a"
    dsc.compress("sample", out, tasks=["rgb", "depth"], codec="depth=flate", **VIEWS)
    return out


def views(out: Path) -> dict[str, np.ndarray]:
    """The same views, coded by a codec of our own that loses nothing."""
    dsc.compress("sample", out, tasks=["depth"], codec="exact", **VIEWS)
    opened = dsc.open(out, ["depth"], native=True)
    return {key: opened[key]["depth"] for key in opened.keys()}  # noqa: SIM118 - keys in order


def test_an_archive_is_made_opened_and_streamed_with_it(archive: Path, tmp_path: Path) -> None:
    expected = views(tmp_path / "exact")
    opened = dsc.open(archive, ["depth"], native=True)
    assert list(opened.keys()) == list(expected)
    for key, depth in expected.items():
        np.testing.assert_array_equal(opened[key]["depth"], depth)
    streamed = [
        depth
        for batch in dsc.stream(archive, ["depth"], batch_size=2, native=True)
        for depth in batch["depth"].numpy()
    ]
    np.testing.assert_array_equal(np.stack(streamed), np.stack(list(expected.values())))


def test_the_command_line_compresses_and_checks_with_it(
    installed: Path, archive: Path, tmp_path: Path
) -> None:
    paths, out = [installed, EXAMPLE], tmp_path / "b"
    given = ("--views", "3", "--size", "32", "--tasks", "rgb,depth", "--codec", "depth=flate")
    made = run(paths, "compress", "sample", *given, "--out", str(out))
    assert made.returncode == 0, made.stderr
    tars = [sorted(path.rglob("*.tar")) for path in (archive, out)]
    assert tars[0]
    assert [a.read_bytes() for a in tars[0]] == [b.read_bytes() for b in tars[1]]
    checked = run(paths, "verify", str(out), "--deep")
    assert checked.returncode == 0, checked.stderr
    told = run(paths, "info", str(out))
    assert "dsc-flate 0.1.0" in told.stdout


def test_without_its_package_an_archive_says_what_to_install(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = run([], "verify", str(archive), "--deep")
    assert read.returncode == 2
    said = " ".join(read.stderr.split())
    assert "needs the codec 'flate'" in said
    assert "install the package that brings it" in said
    told = run([], "info", str(archive))
    assert told.returncode == 0
    assert "dsc-flate 0.1.0" in told.stdout
    others = run([], "ls", str(archive))
    assert others.returncode == 0
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith(("site", "_codec"))])
    assert dsc.open(archive, ["rgb"])[0]["rgb"].shape == (32, 32, 3)
    with pytest.raises(UnknownCodecError, match=r"'flate'.*install the package"):
        dsc.open(archive, ["depth"])[0]


def test_its_name_is_listed_and_nothing_is_imported_for_that(installed: Path) -> None:
    assert codec_names()[-1] == "flate"
    with pytest.raises(UnknownCodecError, match=r"unknown codec 'flat'; known: raw, .*, flate"):
        codec_class("flat")
    assert "dsc_flate" not in sys.modules
    assert make_codec("flate", [DEPTH]).tasks == (DEPTH,)
    assert "dsc_flate" in sys.modules


def test_an_id_of_our_own_is_not_taken(installed: Path) -> None:
    declare(installed, "dsc-other", "[dsc.codecs]\npng = dsc_flate:FlateCodec\n")
    assert codec_names().count("png") == 1
    assert codec_class("png").__module__ == "dsc._codecs.classical.png"
    assert "dsc_flate" not in sys.modules


def test_one_id_of_two_packages_is_refused_and_both_are_named(installed: Path) -> None:
    declare(installed, "dsc-other", DECLARED)
    with pytest.raises(UsageError, match="declared by dsc-flate and dsc-other"):
        make_codec("flate", [DEPTH])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("dsc_missing:Codec", "'bad' of dsc-bad: dsc_missing:Codec cannot be imported"),
        ("dsc_flate:FlateCodec", "codec 'bad' of dsc-bad calls itself 'flate'"),
        ("dsc_flate:SIZE", "codec 'bad' of dsc-bad lacks for_tasks, from_config"),
        ("dsc_syntax:Codec", r"'bad' of dsc-bad: dsc_syntax:Codec cannot .*SyntaxError"),
        ("dsc_raises:Codec", r"'bad' of dsc-bad: .*\(RuntimeError: no licence\)"),
        ("dsc_exits:Codec", r"'bad' of dsc-bad: dsc_exits:Codec cannot .*SystemExit"),
        ("dsc_parts:NONE", "'bad' of dsc-bad: dsc_parts:NONE is None"),
        ("dsc_parts:Nameless", "codec 'bad' of dsc-bad calls itself None"),
    ],
)
def test_a_declaration_that_is_wrong_names_its_package(
    installed: Path, value: str, message: str
) -> None:
    declare(installed, "dsc-bad", f"[dsc.codecs]\nbad = {value}\n")
    (installed / "dsc_syntax.py").write_text("def broken(:\n")
    (installed / "dsc_raises.py").write_text("raise RuntimeError('no licence')\n")
    (installed / "dsc_exits.py").write_text("raise SystemExit(3)\n")
    (installed / "dsc_parts.py").write_text(
        "from dsc_flate import FlateCodec\nNONE = None\n"
        "Nameless = type('Nameless', (), {**vars(FlateCodec)})\ndel Nameless.id\n"
    )
    with pytest.raises(UsageError, match=message):
        make_codec("bad", [DEPTH])


def test_the_examples_own_test_passes(installed: Path) -> None:
    from subprocess import run as call

    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir"]
    ran = call([*words, EXAMPLE, EXAMPLE], capture_output=True, text=True, check=False, cwd=EXAMPLE)
    assert ran.returncode == 0, ran.stdout


class TestConformance(CodecConformance):
    """The example keeps what every codec promises."""

    @pytest.fixture
    def codec(self, installed: Path):
        return make_codec("flate", [RGB, DEPTH, LABEL])

    def is_exact(self, codec, task):
        return True
