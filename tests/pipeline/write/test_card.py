"""The card of an archive is what the Hub reads, and is true."""

import fnmatch
from pathlib import Path
from typing import Any

import pytest

from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.write.card import card, size_category
from dsc._schemas import Stream, required_streams
from dsc._storage.read.archive import Archive
from tests.archives import build_archive
from tests.jobs.growing import Later, add_label, begin

yaml = pytest.importorskip("yaml", reason="PyYAML reads the front matter: pip install pyyaml")


def front_matter(text: str) -> dict[str, Any]:
    start, matter, rest = text.split("---\n", 2)
    assert start == ""
    assert rest.startswith("\n# ")
    found: dict[str, Any] = yaml.safe_load(matter)
    return found


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits, three tasks."""
    out = tmp_path_factory.mktemp("card") / "out"
    begin(out)
    append(out, Later(n=15, first=10), tasks="rgb,depth", split="test")
    add_label(out, 15)
    return out


def test_each_task_has_a_configuration_whose_globs_are_its_files(grown: Path) -> None:
    manifest = Archive.open(grown).manifest
    configs = front_matter((grown / "README.md").read_text())["configs"]
    assert [config["config_name"] for config in configs] == ["rgb", "depth", "label"]
    assert [config.get("default", False) for config in configs] == [True, False, False]
    tars = sorted(path.relative_to(grown).as_posix() for path in grown.rglob("*.tar"))
    for config in configs:
        streams = required_streams(manifest.streams, [config["config_name"]])
        for files in config["data_files"]:
            found = {tar for glob in files["path"] for tar in fnmatch.filter(tars, glob)}
            wanted = {
                shard.streams[name].path
                for shard in Archive.open(grown).shards
                if shard.split == files["split"]
                for name in streams
            }
            assert found == wanted
            assert found
        assert {files["split"] for files in config["data_files"]} == {"train", "test"}


def test_a_configuration_names_the_streams_that_its_task_requires(tmp_path: Path) -> None:
    manifest = build_archive(tmp_path)
    depth = Stream(name="depth", carries=("depth",), requires=("rgb",))
    chained = manifest.model_copy(update={"streams": (manifest.streams[0], depth)})
    configs = front_matter(card(chained, Archive.open(tmp_path).shards))["configs"]
    paths = [config["data_files"][0]["path"] for config in configs]
    assert paths == [
        ["rgb/train-rgb-*.tar"],
        ["rgb/train-rgb-*.tar", "depth/train-depth-*.tar"],
    ]


def test_the_metadata_is_of_the_hubs_own_words_and_has_no_licence(grown: Path) -> None:
    found = front_matter((grown / "README.md").read_text())
    assert set(found) == {"pretty_name", "size_categories", "task_categories", "tags", "configs"}
    assert found["size_categories"] == ["n<1K"]
    assert found["task_categories"] == ["depth-estimation", "image-segmentation"]
    assert {"dsc", "webdataset", "depth", "segmentation"} == set(found["tags"])


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"),
        (100_000, "100K<n<1M"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B"),
        (10**12 - 1, "100B<n<1T"), (10**12, "n>1T"),
    ],
)  # fmt: skip
def test_sizes_have_the_names_of_the_hub(samples: int, words: str) -> None:
    assert size_category(samples) == words


def test_names_that_yaml_would_take_for_something_else_stay_names(tmp_path: Path) -> None:
    manifest = build_archive(tmp_path)
    for name in ("no", "1e5", "null", "0x1f"):
        task = manifest.tasks[0].model_copy(update={"name": name})
        stream = Stream(name=name, carries=(name,))
        odd = manifest.model_copy(
            update={
                "source": 'a "source": x',
                "tasks": (task,),
                "streams": (stream,),
                "totals": {name: manifest.totals["rgb"]},
                "splits": {name: 4},
            }
        )
        found = front_matter(card(odd, Archive.open(tmp_path).shards))
        assert found["configs"][0]["config_name"] == name
        assert found["configs"][0]["data_files"][0]["split"] == name
        assert found["pretty_name"] == 'a "source": x, compressed'


def test_the_table_counts_what_is_there(grown: Path) -> None:
    manifest, text = Archive.open(grown).manifest, (grown / "README.md").read_text()
    assert "15 samples (test, train) in 5 shards" in text
    for name in ("rgb", "depth", "label"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
        assert f"| {manifest.totals[name].payload_bytes} |" in row
        assert f"| {manifest.source_bytes[name]} |" in row


def test_the_card_says_nothing_of_when_or_where(tmp_path: Path) -> None:
    given: dict[str, Any] = {"sample": 2, "size": 32, "codec": "png", "tasks": "rgb"}
    for name in ("a", "b"):
        compress("taskonomy", tmp_path / name, **given)
    texts = [(tmp_path / name / "README.md").read_text() for name in ("a", "b")]
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
