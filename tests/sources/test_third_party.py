"""Other packages' layouts: found by their entry points, imported when asked for, used like ours."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import dsc
from dsc.errors import SampleError, SourceNotFoundError, UsageError
from dsc.sources import open_source, options_of, source_names
from tests.places import ROOT
from tests.third_party import declare, run

EXAMPLE = ROOT / "examples" / "third_party_source"
DECLARED = "[dsc.sources]\nnpz = dsc_npz:NpzSource.open\n"
SAMPLES = 3


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, as if it were installed; what is declared beside it is found, too."""
    site = tmp_path / "site"
    declare(site, "dsc-npz", DECLARED)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "dsc_npz", raising=False)
    return site


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path / "scans"
    root.mkdir()
    for index in range(SAMPLES):
        rgb = rng.integers(0, 256, (16, 24, 3), np.uint8)
        depth = rng.integers(1, 5000, (16, 24), np.uint16)
        np.savez(root / f"scan_{index}.npz", rgb=rgb, depth=depth)
    return root


def test_a_layout_of_another_package_is_compressed_like_our_own(
    installed: Path, scans: Path, tmp_path: Path
) -> None:
    dsc.compress("npz", tmp_path / "a", root=scans, depth_unit="1/512", codec="exact")
    archive = dsc.open(tmp_path / "a", ["depth"], native=True)
    assert list(archive.keys()) == [f"scan_{index}" for index in range(SAMPLES)]
    assert [task.unit_m for task in archive.tasks] == [1 / 512]
    with np.load(scans / "scan_2.npz") as file:
        np.testing.assert_array_equal(archive["scan_2"]["depth"], file["depth"])


def test_what_stands_beside_the_pixels_comes_along(
    installed: Path, scans: Path, tmp_path: Path
) -> None:
    with np.load(scans / "scan_1.npz") as file:
        maps = dict(file)
    pose, meta = np.eye(4), '{"room": "kitchen"}'
    np.savez(scans / "scan_1.npz", **maps, caption="a réd chair", pose=pose, meta=meta)
    dsc.compress("npz", tmp_path / "a", root=scans)
    first, second = dsc.open(tmp_path / "a")[:2]
    assert (first["caption"], first["pose"], first["meta"]) == (None, None, None)
    assert (second["caption"], second["meta"]) == ("a réd chair", {"room": "kitchen"})
    np.testing.assert_array_equal(second["pose"], pose)
    np.savez(scans / "scan_1.npz", **maps, meta="{")
    with pytest.raises(SampleError, match=r"scan_1, task meta"):
        dsc.compress("npz", tmp_path / "b", root=scans)


def test_the_command_line_takes_its_options_and_goes_on_with_it(
    installed: Path, scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    given = ("compress", "npz", "--root", str(scans), "--out", str(out), "--codec", "exact")
    sizes = ("--depth-unit", "1/512", "--shard-size", "1", "--pack", "1", "--tasks", "rgb,depth")
    whole = (scans / "scan_2.npz").read_bytes()
    (scans / "scan_2.npz").write_bytes(bytes(len(whole)))
    stopped = run([installed, EXAMPLE], *given, *sizes)
    assert stopped.returncode == 1
    assert "scan_2.npz: not a whole .npz file" in stopped.stderr
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    assert made
    (scans / "scan_2.npz").write_bytes(whole)
    again = run([installed, EXAMPLE], *given, *sizes)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    assert len(dsc.open(out)) == SAMPLES


def test_the_command_line_refuses_an_option_that_it_does_not_take(
    installed: Path, scans: Path
) -> None:
    refused = run([installed, EXAMPLE], "compress", "npz", "--root", str(scans), "--alpha", "drop")
    assert refused.returncode == 2
    assert "source npz has no option --alpha; it takes: --depth-unit" in refused.stderr


def test_work_that_was_interrupted_goes_on_and_notices_changed_files(
    installed: Path, scans: Path
) -> None:
    from dsc._sources.registry import source_from_description

    source = open_source("npz", str(scans))
    described = source.describe()
    assert source_from_description(described).describe() == described
    assert pickle.loads(pickle.dumps(source)).key(1) == source.key(1)
    (scans / "scan_1.npz").unlink()
    with pytest.raises(UsageError, match="not what it was when"):
        source_from_description(described)


def test_its_names_and_options_are_listed_and_nothing_is_imported_for_that(
    installed: Path,
) -> None:
    assert source_names()[-1] == "npz"
    assert "dsc_npz" not in sys.modules
    with pytest.raises(UsageError, match=r"unknown source 'npy'; known: taskonomy, .*, npz"):
        open_source("npy")
    assert "dsc_npz" not in sys.modules
    assert options_of("npz") == ("root", "depth_unit")


def test_an_unknown_layout_of_the_command_line_lists_those_installed(installed: Path) -> None:
    refused = run([installed, EXAMPLE], "compress", "npy", "--root", ".")
    assert refused.returncode == 2
    assert "npz" in refused.stderr
    assert "did you mean npz?" in refused.stderr.replace("\n", " ")


def test_a_name_of_our_own_is_not_taken(installed: Path, tmp_path: Path) -> None:
    declare(installed, "dsc-other", "[dsc.sources]\nfolder = dsc_npz:NpzSource.open\n")
    assert source_names().count("folder") == 1
    with pytest.raises(SourceNotFoundError, match=r"folder: .*does not exist"):
        open_source("folder", str(tmp_path / "nothing"))
    assert "dsc_npz" not in sys.modules


def test_one_name_of_two_packages_is_refused_and_both_are_named(
    installed: Path, scans: Path
) -> None:
    declare(installed, "dsc-other", DECLARED)
    with pytest.raises(UsageError, match="declared by dsc-npz and dsc-other"):
        open_source("npz", str(scans))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("dsc_missing:open", "'bad' of dsc-bad: dsc_missing:open cannot be imported"),
        ("dsc_npz:missing", "'bad' of dsc-bad: dsc_npz:missing cannot be imported"),
        ("dsc_npz:NpzSource.open", "source bad calls itself 'npz'"),
        ("dsc_raises:open", r"'bad' of dsc-bad: .*\(RuntimeError: no licence\)"),
        ("dsc_openers:NUMBER", "source bad of dsc-bad cannot be opened: 5 is not a callable"),
        ("dsc_openers:nothing", "source bad calls itself None"),
    ],
)
def test_a_declaration_that_is_wrong_names_its_package(
    installed: Path, scans: Path, value: str, message: str
) -> None:
    declare(installed, "dsc-bad", f"[dsc.sources]\nbad = {value}\n")
    (installed / "dsc_raises.py").write_text("raise RuntimeError('no licence')\n")
    (installed / "dsc_openers.py").write_text("NUMBER = 5\ndef nothing(root): pass\n")
    with pytest.raises(UsageError, match=message):
        open_source("bad", str(scans))
