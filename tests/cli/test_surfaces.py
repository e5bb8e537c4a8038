"""`dsc compress --codec surfaces`: for all tasks, for some, and for those that it lacks."""

from pathlib import Path

import pytest

from dsc._cli.printing.text import bytes_text, ratio_text
from dsc._storage.read.archive import Archive

VIEWS = ("compress", "sample", "--views", 2, "--size", 48, "--tasks")
GEOMETRY = "depth_zbuffer,normal,segment_semantic"


@pytest.mark.parametrize(
    ("tasks", "spec"),
    [
        (GEOMETRY, "surfaces"),
        (f"rgb,{GEOMETRY}", "surfaces"),
        (f"rgb,{GEOMETRY}", "depth_zbuffer=surfaces,normal=surfaces,segment_semantic=surfaces"),
    ],
)
def test_the_word_is_of_all_tasks_that_it_is_for(
    dsc, tasks: str, spec: str, tmp_path: Path
) -> None:
    ran = dsc(*VIEWS, tasks, "--codec", spec, "--out", tmp_path / "a")
    assert ran.code == 0, ran.err
    streams = {one.name: one for one in Archive.open(tmp_path / "a").manifest.streams}
    assert streams["normal"].requires == ("segment_semantic", "geometry")
    assert ("rgb" in streams) == ("rgb" in tasks)


@pytest.mark.parametrize(
    ("tasks", "spec", "said"),
    [
        ("rgb", "surfaces", "surfaces codes none of rgb: surfaces codes two or more maps"),
        ("normal", "surfaces", "codes none of normal: surfaces codes two or more maps"),
        ("rgb,depth_zbuffer", "rgb=surfaces,depth_zbuffer=surfaces", "not rgb (image)"),
        ("rgb,depth_zbuffer", "depth_zbuffer=surfaces", "not depth_zbuffer (depth). Code others"),
    ],
)
def test_other_tasks_are_refused_with_what_to_do(
    dsc, tasks: str, spec: str, said: str, tmp_path: Path
) -> None:
    ran = dsc(*VIEWS, tasks, "--codec", spec, "--out", tmp_path / "a")
    assert ran.code == 2, ran.err
    assert said in " ".join(ran.err.split())
    assert not (tmp_path / "a").exists()


def test_a_file_that_few_samples_share_is_spoken_of(dsc, tmp_path: Path) -> None:
    tasks = f"rgb,{GEOMETRY}"
    ran = dsc(*VIEWS, tasks, "--codec", "surfaces", "--out", tmp_path / "a")
    found = dsc("info", tmp_path / "a", "--json").json()
    files, streams = found["codec_bytes"], found["stored_bytes"]
    assert files > streams
    whole = found["source_bytes"] / (files + streams)
    fewest = -(-20 * files // streams)
    for line in (
        f"beside the streams: codec files {bytes_text(files)} (once), keys and manifest",
        f"warning: the codec files are {100 * files / streams:.0f} % of the streams",
        f"with them, all are {ratio_text(whole)}",
        f"from {fewest:,} samples like these on they are a tenth or less; without --codec",
    ):
        assert line in ran.out
        assert line in dsc("info", tmp_path / "a").out


def test_an_archive_without_codec_files_is_not_warned_of(dsc, tmp_path: Path) -> None:
    ran = dsc(*VIEWS, f"rgb,{GEOMETRY}", "--out", tmp_path / "a")
    assert ran.code == 0, ran.err
    assert "beside the streams: keys and manifest" in ran.out
    assert "codec files" not in ran.out
