"""Bad input gets one clear message that says what to do, the right exit code, and no traceback."""

import errno
import os
import shutil
import tomllib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from dsc._bench.server import serve
from dsc._cli.failure import explain
from dsc._extras import EXTRAS
from dsc.errors import CorruptPackError, UnknownSampleError
from tests.cli.conftest import Command, Ran
from tests.places import ROOT


@pytest.fixture
def files(views: Path, tmp_path: Path) -> Path:
    """A copy of the views that a test may damage."""
    return Path(shutil.copytree(views, tmp_path / "files"))


def picture(root: Path, task: str, index: int) -> Path:
    return root / task / "procedural" / f"point_{index}_view_0_domain_{task}.png"


def compress(dsc: Command, root: Path, out: Path, *words: object) -> Ran:
    return dsc("compress", "taskonomy", "--root", root, "--codec", "png", "--out", out, *words)


def says(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    for word in words:
        assert word in ran.err
    assert "Traceback" not in ran.err
    assert "error: " in ran.err


def test_no_data_at_root_says_what_was_looked_for(dsc: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = compress(dsc, tmp_path / "empty", tmp_path / "a")
    says(ran, 2, str(tmp_path / "empty"), "point_0_view_0_domain_rgb.png", "--views")
    says(compress(dsc, tmp_path / "gone", tmp_path / "a"), 2, "does not exist", "--views")


def test_no_root_at_all_says_what_is_missing(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = dsc("compress", "taskonomy", "--tasks", "rgb,depth")
    says(ran, 2, "--root", "./taskonomy", "./data/taskonomy", "--views")


def test_unknown_layout_lists_the_known_ones(dsc: Command, views: Path) -> None:
    says(dsc("compress", "kitti"), 2, "kitti", "taskonomy", "nyuv2", "folder", "hdf5")
    says(dsc("compress", views), 2, f"--root {views}")


def test_unknown_task_lists_those_found(dsc: Command, views: Path, tmp_path: Path) -> None:
    ran = compress(dsc, views, tmp_path / "a", "--tasks", "rgb,flow")
    says(ran, 2, "'flow'", "rgb, depth_zbuffer, normal, segment_semantic, class_scene")


def test_unknown_task_of_an_archive_lists_those_found(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    for command in ("fetch", "export", "view"):
        ran = dsc(command, archive, "--tasks", "flow", "--out", tmp_path / "x")
        says(ran, 2, "'flow'", "depth_zbuffer", str(archive))


def test_mixed_sizes_name_sample_and_sizes(dsc: Command, files: Path, tmp_path: Path) -> None:
    small = np.zeros((16, 24), np.uint16)
    picture(files, "depth_zbuffer", 2).write_bytes(imagecodecs.png_encode(small))
    ran = compress(dsc, files, tmp_path / "a", "--tasks", "rgb,depth")
    says(ran, 1, "point_2_view_0", "rgb 32x32", "depth_zbuffer 24x16")


def test_truncated_file_fails_by_name(dsc: Command, files: Path, tmp_path: Path) -> None:
    cut = picture(files, "rgb", 1)
    cut.write_bytes(cut.read_bytes()[:300])
    ran = compress(dsc, files, tmp_path / "a", "--tasks", "rgb,depth")
    says(ran, 1, cut.name, "point_1_view_0", "--on-error skip")
    assert not (tmp_path / "a" / "dsc.json").exists()


def test_truncated_file_is_skipped_counted_and_listed(
    dsc: Command, files: Path, tmp_path: Path
) -> None:
    cut = picture(files, "rgb", 1)
    cut.write_bytes(cut.read_bytes()[:300])
    words = ("--tasks", "rgb,depth", "--on-error", "skip")
    ran = compress(dsc, files, tmp_path / "a", *words)
    assert ran.code == 1
    assert "1 of 4 samples could not be read" in ran.err
    assert cut.name in ran.err
    ran = compress(dsc, files, tmp_path / "a", *words, "--json")
    assert ran.code == 1
    assert [sample["key"] for sample in ran.json()["failed"]] == ["procedural__point_1_view_0"]
    assert dsc("verify", tmp_path / "a", "--deep").code == 0
    failed = dsc("ls", tmp_path / "a", "--failed", "--json").json()["failed"]
    assert [sample["key"] for sample in failed] == ["procedural__point_1_view_0"]


def test_output_of_another_plan_is_refused(
    dsc: Command, archive: Path, views: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    says(compress(dsc, views, out), 2, str(out), "--overwrite", "another plan")
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == before


def test_output_that_is_a_file_is_refused(dsc: Command, views: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    says(compress(dsc, views, tmp_path / "a"), 2, str(tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "mine"


def test_options_that_cannot_be_honoured_are_bad_usage(
    dsc: Command, views: Path, archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    says(compress(dsc, views, out, "--quality", "best"), 2, "best", "1 to 100")
    says(compress(dsc, views, out, "--on-error", "ignore"), 2, "ignore", "skip")
    says(compress(dsc, views, out, "--workers", 2, "--address", "local"), 2, "--address")
    says(compress(dsc, views, out, "--views", 3), 2, "--views", "--root")
    says(compress(dsc, views, out, "--kinds", "rgb"), 2, "--kinds", "task=kind")
    says(dsc("ls", archive, "--shards", "--streams"), 2, "--shards")
    assert dsc("compress").code == 2
    assert dsc("nonsense").code == 2
    assert not out.exists()


def test_no_archive_is_bad_usage(dsc: Command, tmp_path: Path) -> None:
    for command in ("info", "ls", "verify"):
        says(dsc(command, tmp_path), 2, str(tmp_path), "dsc.json")


def test_damage_is_listed_and_exits_1(dsc: Command, archive: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    tars = sorted((out / "rgb").glob("*.tar"))
    for tar in tars[:2]:
        data = bytearray(tar.read_bytes())
        data[700] ^= 1
        tar.write_bytes(data)
    (out / "normal" / "train-normal-000001.tar").unlink()
    ran = dsc("verify", out, "--json")
    assert ran.code == 1
    found = {problem["path"] for problem in ran.json()["problems"]}
    assert {f"rgb/{tar.name}" for tar in tars[:2]} <= found
    assert "normal/train-normal-000001.tar" in found
    text = dsc("verify", out)
    assert text.code == 1
    assert all(path in text.out for path in found)


def test_what_does_not_decode_is_listed_by_sample_and_task(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    from tests.archives import forge

    out = Path(shutil.copytree(archive, tmp_path / "a"))
    forge(out, manifest=lambda manifest: manifest.update(max_pixels=100))
    assert dsc("verify", out).code == 0
    ran = dsc("verify", out, "--deep", "--json")
    assert ran.code == 1
    details = [problem["detail"] for problem in ran.json()["problems"]]
    assert len(details) == 5 * 4
    assert any("point_3_view_0" in d and "normal" in d for d in details)


def test_damage_met_while_reading_exits_1(dsc: Command, archive: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    tar = out / "rgb" / "train-rgb-000001.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    ran = dsc("export", out, "--tasks", "rgb", "--out", tmp_path / "files")
    says(ran, 1, tar.name, "dsc verify")


@pytest.mark.parametrize("place", [600, 700, 1100])
def test_verify_does_not_send_people_to_verify(
    dsc: Command, archive: Path, tmp_path: Path, place: int
) -> None:
    out = Path(shutil.copytree(archive, tmp_path / "a"))
    for tar in out.rglob("*.tar"):
        data = bytearray(tar.read_bytes())
        data[place] ^= 1
        tar.write_bytes(data)
    for words in ((), ("--deep",)):
        ran = dsc("verify", out, *words)
        assert ran.code == 1
        assert "fetch or copy these files again" in ran.err
        assert "dsc verify" not in ran.out + ran.err


def test_no_output_shows_the_signature_of_a_url(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    with serve(archive) as (address, traffic):
        traffic.signature, url, out = "sig=secret", f"{address}/?sig=secret", tmp_path / "d"
        ran = [
            dsc(*words, *json)
            for json in ((), ("--json",))
            for words in (
                ("info", url), ("ls", url), ("verify", url), ("ls", f"{address}/none?sig=secret"),
                ("fetch", url, "--tasks", "depth", "--out", out),
                ("fetch", url, "--tasks", "flow", "--out", out),
                ("info", f"{address}?sig=secretly"),
                ("compress", "folder", "--root", f"{address}/no?sig=secret", "--out", out),
            )
        ]  # fmt: skip
        assert [one.code for one in ran] == [0, 0, 0, 2, 0, 2, 1, 2] * 2
    assert not any("secret" in one.out + one.err for one in ran)


def test_full_disk_says_so_and_how_to_go_on() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/out.part")
    message, code = explain(full)
    assert code == 1
    assert all(word in message for word in ("disk is full", "/data/out.part", "same command"))


def test_every_error_has_a_message_and_a_code() -> None:
    assert explain(CorruptPackError("pack 3 is damaged")) == ("pack 3 is damaged", 1)
    assert explain(PermissionError(13, "Permission denied", "/x"))[1] == 1
    message, code = explain(ZeroDivisionError("division by zero"))
    assert "DSC_DEBUG=1" in message
    assert code == 1


def test_only_errors_of_our_own_are_told_as_such() -> None:
    assert explain(UnknownSampleError("no sample 'x'")) == ("no sample 'x'", 2)
    for error in (KeyError("rgb"), IndexError("rgb"), ValueError("rgb"), LookupError("rgb")):
        message, code = explain(error)
        assert (message.split(":")[0], code) == (f"unexpected {type(error).__name__}", 1)
        assert "a fault of dsc" in message


def test_a_key_that_dsc_itself_misses_is_no_damaged_data(
    dsc: Command, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def summarise(archive: object) -> None:
        {}["rgb"]

    monkeypatch.setattr("dsc._pipeline.read.summary.summarise", summarise)
    ran = dsc("info", archive, "--json")
    assert ran.json()["error"].startswith("unexpected KeyError: 'rgb'")
    assert ran.code == 1


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("ray", "pip install 'dsc[ray]'"),
        ("matplotlib.pyplot", "pip install 'dsc[bench]'"),
        ("compressai.layers", "pip install 'dsc[research]'"),
        ("h5py", "install dsc anew"),
        ("xyz.abc", "install xyz with pip"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(module: str, advice: str) -> None:
    message, code = explain(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert message.startswith(f"No module named {module!r}: ")
    assert advice in message
    assert code == 2
    own = ModuleNotFoundError("No module named 'dsc._pipeline.gone'", name="dsc._pipeline.gone")
    assert "a fault of dsc" in explain(own)[0]


def test_extras_bring_what_is_said_of_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        lines = " ".join(extras.get(extra, [package]))
        assert package in lines or package.replace("_", "-") in lines, (package, extra)


def test_debug_shows_where_it_happened(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from dsc._cli import app

    monkeypatch.setenv("DSC_DEBUG", "1")
    result = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert type(result.exception).__name__ == "ArchiveNotFoundError"


@pytest.mark.parametrize("command", ["info", "ls", "verify", "fetch", "export", "view"])
def test_what_is_no_archive_is_said_in_one_line(
    dsc: Command, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "begun/.dsc", "odd/dsc.json"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "begun/.dsc/plan.json").touch()
    (tmp_path / "file").touch()
    out = ("--out", tmp_path / "out") if command in ("fetch", "export", "view") else ()
    for place, why in (
        ("nowhere", "no such directory"),
        ("file", "is a file, and an archive is a directory"),
        ("file/x", "no such directory"),
        ("empty", "no dsc.json there"),
        ("odd", "no dsc.json there"),
        ("begun", "not finished; run the same command"),
        (archive / "dsc.json", f"give {archive}"),
        ("", "is empty"),
    ):
        ran = dsc(command, place, *out, "--json")
        assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
        assert why in ran.json()["error"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("foldr", "did you mean folder?"),
        ("HDF5", "did you mean hdf5?"),
        ("Taskonomy", "did you mean taskonomy?"),
        ("zzz", "known: taskonomy"),
        ("", "known: taskonomy"),
        ("my data", "folder --root 'my data'"),
        ("x.h5", "hdf5 --root x.h5"),
        ("https://example.org/x.hdf5", "hdf5 --root https://example.org/x.hdf5"),
        ("demo", "is an archive already; dsc info demo"),
    ],
)
@pytest.mark.parametrize("command", ["compress", "append"])
def test_a_source_that_is_no_layout_gets_the_words_that_are_meant(
    dsc: Command, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: str, source: str, why: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").mkdir()
    (tmp_path / "x.h5").touch()
    (tmp_path / "demo").symlink_to(archive)
    ran = dsc(command, *(["demo"] if command == "append" else []), source)
    assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
    assert why in ran.err


def test_a_root_that_cannot_be_data_is_refused(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "x.h5").touch()
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "out")
    for source, root, why in (
        ("folder", tmp_path / "file.txt", "is a file"),
        ("taskonomy", tmp_path / "x.h5", f"dsc compress hdf5 --root {tmp_path / 'x.h5'}"),
        ("folder", "", "--root is empty"),
        ("folder", tmp_path / "empty", "no image under"),
        ("folder", tmp_path / "nowhere", "does not exist"),
    ):
        ran = dsc("compress", source, "--root", root, *out)
        assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
        assert why in ran.err
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    says(dsc("compress", "folder", "--root", tmp_path / "empty", *out), 2, "no permission")
    assert not (tmp_path / "out").exists()


def test_an_output_without_a_name_is_refused(dsc: Command, archive: Path, views: Path) -> None:
    for words in (
        ("compress", "taskonomy", "--root", views),
        ("fetch", archive),
        ("export", archive),
        ("view", archive),
    ):
        ran = dsc(*words, "--out", "")
        assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err


def test_messages_of_sources_are_in_words_of_the_command_line(
    dsc: Command, views: Path, tmp_path: Path
) -> None:
    (tmp_path / "nyu_images").mkdir()
    imagecodecs.imwrite(tmp_path / "nyu_images/0.png", np.zeros((8, 8, 3), np.uint8))
    nyu = ("compress", "nyuv2", "--root", tmp_path)
    for words, why in (
        ((*nyu, "--split", "foo"), "--split foo: nyuv2 has train, test, all"),
        ((*nyu, "--depth-unit", "a=1"), "--depth-unit"),
        ((*nyu, "--layout", "classes"), "source nyuv2 has no option --layout"),
        (("compress", "sample", "--views", 2, "--size", 3), "--size 3: "),
        (("compress", "taskonomy", "--root", views, "--depth-unit", "x=1"), "--depth-unit x="),
    ):
        ran = dsc(*words, "--out", tmp_path / "out")
        assert ran.code == 2, ran.err
        assert why in ran.err


def test_advice_for_a_broken_link_works_when_typed(
    dsc: Command, photo_folder: Path, tmp_path: Path
) -> None:
    (photo_folder / "rgb/9.png").symlink_to(tmp_path / "gone.png")
    words = ("compress", "folder", "--root", photo_folder, "--out", tmp_path / "out")
    ran = dsc(*words)
    assert ran.code == 2
    assert "--tasks" not in ran.err
    assert dsc(*words, "--ignore", ran.err.rpartition("--ignore ")[2].split()[0]).code == 0


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    (tmp_path / "in/rgb").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    (tmp_path / "in/rgb/1.png").write_bytes(imagecodecs.png_encode(pixels))
    return tmp_path / "in"


def test_lists_beside_the_data_are_spoken_of_where_nothing_says_what_splits_are(
    dsc: Command, tmp_path: Path
) -> None:
    picture = imagecodecs.png_encode(np.zeros((8, 8, 3), np.uint8))
    for name in ("rgb/a.png", "rgb/b.png"):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_bytes(picture)
    (tmp_path / "x/train.txt").write_text("a\n")
    (tmp_path / "x/test.txt").write_text("b\n")
    words = ("compress", "folder", "--root", tmp_path / "x", "--codec", "png", "--out")
    ran = dsc(*words, tmp_path / "one")
    assert "--split-file train.txt,test.txt" in ran.err
    ran = dsc(*words, tmp_path / "two", "--split-file", "test.txt,train.txt")
    assert ran.code == 0
    assert "if these list" not in ran.err


def test_an_unknown_codec_gets_the_names_that_can_be_given(dsc: Command, tmp_path: Path) -> None:
    words = ("compress", "taskonomy", "--views", 1, "--size", 32, "--out", tmp_path / "a")
    ran = dsc(*words, "--codec", "nosuch")
    assert ran.code == 2
    known = " ".join(ran.err.split()).partition("known: ")[2].split(", ")
    assert {"av1", "jpeg-exact", "surfaces", "auto"} <= set(known)
    assert not {"derived", "residual"} & set(known)
    assert dsc(*words, "--codec", "residual").code == 2


@pytest.mark.parametrize("option", ["--root", "--out", "--codec"])
def test_the_home_of_nobody_is_a_path_like_any_other(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb/a.png").write_bytes(imagecodecs.png_encode(np.zeros((8, 8, 3), np.uint8)))
    words = {"--root": tmp_path, "--out": tmp_path / "a", "--codec": "png"}
    words[option] = "~nobody-of-that-name/x.safetensors"
    ran = dsc("compress", "folder", *(word for pair in words.items() for word in pair))
    assert ran.code == (0 if option == "--out" else 2), ran.err
    assert (tmp_path / words[option]).is_dir() == (option == "--out")
