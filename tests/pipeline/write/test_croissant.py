"""The description of an archive is Croissant 1.1, as its own library reads it, and is true."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dsc._copies.fetch import fetch
from dsc._jobs.archive.append import append
from dsc._pipeline.write import croissant as described
from dsc._pipeline.write.croissant import CONFORMS_TO, croissant
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from tests.archives import build_archive
from tests.jobs.growing import Later, add_label, begin


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits, three tasks."""
    out = tmp_path_factory.mktemp("croissant") / "out"
    begin(out)
    append(out, Later(n=15, first=10), tasks="rgb,depth", split="test")
    add_label(out, 15)
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, grown: Path) -> Path:
    """The same, described as an archive of very many files."""
    out = Path(shutil.copytree(grown, tmp_path_factory.mktemp("croissant") / "many"))
    archive = Archive.open(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(described, "MAX_FILE_OBJECTS", 3)
        text = croissant(archive.manifest, archive.shards, ())
    (out / "croissant.json").write_text(text)
    return out


def read(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "croissant.json").read_text())
    return found


def test_every_file_object_is_a_file_with_that_hash_and_size(grown: Path) -> None:
    objects = [one for one in read(grown)["distribution"] if one["@type"] == "cr:FileObject"]
    for one in objects:
        data = (grown / one["contentUrl"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(data).hexdigest()
        assert one["contentSize"] == f"{len(data)} B"
    kinds = {one["contentUrl"]: one["encodingFormat"] for one in objects}
    tars = {path.relative_to(grown).as_posix() for path in grown.rglob("*.tar")}
    assert {path for path, kind in kinds.items() if kind == "application/x-tar"} == tars
    lines = {path for path, kind in kinds.items() if kind == "application/jsonlines"}
    keys = {path.relative_to(grown).as_posix() for path in (grown / "keys").iterdir()}
    assert lines == keys | {"shards.000003.jsonl"}


def test_very_many_files_are_sets_with_globs_that_find_them(many: Path) -> None:
    sets = read(many)["distribution"]
    assert {one["@type"] for one in sets} == {"cr:FileSet"}
    assert [one["@id"] for one in sets] == ["keys", "streams/rgb", "streams/depth", "streams/label"]
    found = {path for one in sets for path in many.glob(one["includes"])}
    assert found == {*many.rglob("*.tar"), *(many / "keys").iterdir()}


def test_the_version_counts_what_was_added(grown: Path, tmp_path: Path) -> None:
    build_archive(tmp_path)
    archive = Archive.open(tmp_path)
    assert json.loads(croissant(archive.manifest, archive.shards, ()))["version"] == "1.0.0"
    assert read(grown)["version"] == "1.2.0"
    assert read(grown)["conformsTo"] == CONFORMS_TO


def test_it_names_weights_and_no_licence(tmp_path: Path) -> None:
    manifest = build_archive(tmp_path)
    weights = [file for file in manifest.files if file.path.startswith("codecs/")]
    found = json.loads(croissant(manifest, Archive.open(tmp_path).shards, weights))
    assert weights[0].path in [one.get("contentUrl") for one in found["distribution"]]
    assert "license" not in found


def test_a_copy_of_some_tasks_has_no_description_of_others(grown: Path, tmp_path: Path) -> None:
    fetch(grown, "depth", tmp_path / "copy")
    assert not (tmp_path / "copy" / "croissant.json").exists()
    assert verify_archive(tmp_path / "copy") == []


@pytest.mark.parametrize("which", ["grown", "many"])
def test_mlcroissant_finds_no_fault_and_reads_keys_and_tasks(
    which: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="pip install mlcroissant")
    root: Path = request.getfixturevalue(which)
    dataset = mlc.Dataset(str(root / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    # what dsc cannot know: who made the data, when, and under which licence
    unknown = ("license", "citeAs", "datePublished")
    assert all(any(word in one for word in unknown) for one in issues.warnings)
    assert "is not standard" not in caplog.text
    samples = list(dataset.records("samples"))
    archive = Archive.open(root)
    wanted = [
        (key, shard.split)
        for number, shard in enumerate(archive.shards)
        for key in archive.keys(number)
    ]
    found = [(one["samples/key"].decode(), one["samples/split"].decode()) for one in samples]
    assert sorted(found) == sorted(wanted)
    tasks = {one["tasks/name"]: one for one in dataset.records("tasks")}
    assert list(tasks) == ["rgb", "depth", "label"]
    assert tasks["depth"]["tasks/kind"] == "depth"
    assert tasks["depth"]["tasks/unit_m"] == 0.001
    assert tasks["rgb"]["tasks/streams"] == "rgb"
