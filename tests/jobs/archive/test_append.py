"""An archive grows by samples and by tasks, and what was there stays as it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._copies.export.run import export
from dsc._copies.fetch import fetch
from dsc._jobs.archive.append import append
from dsc._jobs.archive.compress import compress
from dsc._pipeline.choose import decide
from dsc._pipeline.read.dataset import Dataset
from dsc._pipeline.read.summary import summarise
from dsc._pipeline.read.verify import verify_deep
from dsc._pipeline.view.view import write_view
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_manifest
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import IncompleteError, SampleError
from tests.jobs.faults import tree
from tests.jobs.growing import SIZES, FewTasks, Later, add_label, add_samples, begin
from tests.jobs.sources import PixelSource, reads

REPLACED = {"dsc.json", "README.md", "croissant.json"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.0)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generation 4: 10 samples, 13 more, labels of the first 18, and 7 more samples."""
    out = tmp_path_factory.mktemp("grown") / "out"
    begin(out)
    add_samples(out, 23)
    add_label(out, 18)
    add_samples(out, 30)
    return out


def data_of(root: Path) -> dict[str, bytes]:
    """Return every tar, index and keys file with its bytes."""
    return {path: data for path, data in tree(root).items() if "/" in path}


def test_a_grown_dataset_gets_the_files_of_a_whole_compression(tmp_path: Path) -> None:
    begin(tmp_path / "parts", 8)
    report = add_samples(tmp_path / "parts", 23)
    begin(tmp_path / "whole", 23)
    assert data_of(tmp_path / "parts") == data_of(tmp_path / "whole")
    assert (report.samples, report.there, report.tasks) == (15, 8, ())
    assert report.manifest.generation == 2
    assert report.manifest.splits == {"train": 23}


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_new_samples_are_encoded_at_the_effort_of_the_archive(tmp_path: Path, effort: str) -> None:
    asked = {"codec": "rgb=avif,depth=png", "effort": effort}
    begin(tmp_path / "parts", 8, **asked)
    add_samples(tmp_path / "parts", 16)
    begin(tmp_path / "whole", 16, **asked)
    begin(tmp_path / "usual", 16, codec=asked["codec"])
    assert data_of(tmp_path / "parts") == data_of(tmp_path / "whole")
    assert data_of(tmp_path / "parts") != data_of(tmp_path / "usual")


def test_a_new_task_gets_the_files_of_a_whole_compression(tmp_path: Path) -> None:
    begin(tmp_path / "parts", 10, "rgb")
    report = add_label(tmp_path / "parts", 10)
    begin(tmp_path / "whole", 10, "rgb,label")
    assert data_of(tmp_path / "parts") == data_of(tmp_path / "whole")
    assert (report.samples, report.tasks, report.missing) == (0, ("label",), 0)


def test_nothing_that_is_there_is_written_again(tmp_path: Path) -> None:
    begin(tmp_path)
    for add in (add_samples, add_label):
        before = tree(tmp_path)
        stats = {path: (tmp_path / path).stat() for path in before}
        add(tmp_path)
        after = tree(tmp_path)
        for path, data in before.items():
            if path not in REPLACED:
                assert after[path] == data
                now = (tmp_path / path).stat()
                assert (now.st_ino, now.st_mtime_ns) == (
                    stats[path].st_ino,
                    stats[path].st_mtime_ns,
                )
        assert set(before) < set(after)


def test_new_samples_follow_a_shard_that_is_not_full(tmp_path: Path) -> None:
    begin(tmp_path, 10)
    add_samples(tmp_path, 17)
    archive = Archive.open(tmp_path)
    assert [shard.samples for shard in archive.shards] == [4, 4, 2, 4, 3]
    assert [(shard.n, shard.first_index) for shard in archive.shards] == [
        (0, 0), (1, 4), (2, 8), (3, 10), (4, 14),
    ]  # fmt: skip
    assert verify_archive(tmp_path) == []


@pytest.mark.parametrize("index", [0, 9, 10, 17, 20, 22, 23, 29])
def test_every_sample_of_every_generation_can_be_read(grown: Path, index: int) -> None:
    sample = Dataset.open(grown, native=True)[f"view_{index:05d}"]
    original = PixelSource(n=30).arrays(index)
    for name in ("rgb", "depth"):
        np.testing.assert_array_equal(sample[name], original[name])
    if 18 <= index < 23:  # the source of the labels had 18 samples
        assert sample["label"] is None
    elif "label" in original:
        np.testing.assert_array_equal(sample["label"], original["label"])


def test_a_sample_keeps_its_index_through_all_generations(grown: Path) -> None:
    assert list(Dataset.open(grown).keys()) == [f"view_{index:05d}" for index in range(30)]


def test_the_manifest_tells_what_was_added(grown: Path) -> None:
    manifest = Archive.open(grown).manifest
    added = [(one.generation, one.samples, one.tasks) for one in manifest.appended]
    assert added == [(2, 13, ()), (3, 0, ("label",)), (4, 7, ())]
    assert [task.name for task in manifest.tasks] == ["rgb", "depth", "label"]
    assert len(manifest.codecs) == 2  # png codes rgb and depth in one slot
    assert manifest.totals["label"].n_missing == 5 + 5
    assert manifest.source_bytes["label"] == 20 * 96
    stored = sum(p.stat().st_size for p in (grown / "label").iterdir())
    assert manifest.totals["label"].stored_bytes == stored


def test_an_archive_that_has_grown_is_intact_and_decodes(grown: Path) -> None:
    assert verify_archive(grown) == []
    assert verify_deep(str(grown)) == []


def test_damage_in_a_later_generation_is_found(grown: Path, tmp_path: Path) -> None:
    for name in (
        "shards.jsonl",
        "shards.000002.jsonl",
        "label/train-label-000004.tar",
        "README.md",
    ):
        broken = Path(shutil.copytree(grown, tmp_path / name.replace("/", "_")))
        data = bytearray((broken / name).read_bytes())
        data[len(data) // 2] ^= 1
        (broken / name).write_bytes(data)
        assert [problem.path for problem in verify_archive(broken)] == [name]


def test_all_that_reads_archives_reads_later_generations(grown: Path, tmp_path: Path) -> None:
    with serve(grown) as (url, traffic):
        report = fetch(url, "label", tmp_path / "copy")
        assert traffic.total("rgb") == 0
    assert report.manifest.generation == 4
    assert verify_archive(tmp_path / "copy") == []
    copied, whole = Dataset.open(tmp_path / "copy"), Dataset.open(grown, "label")
    for index in range(30):
        np.testing.assert_equal(copied[index]["label"], whole[index]["label"])
    assert export(grown, "rgb", tmp_path / "files").written == 30
    page = write_view(str(grown), str(tmp_path / "page.html"), samples=2, measured=2)
    assert page.shown == 2
    assert summarise(Archive.open(grown)).samples == 30
    batches = dsc.stream(grown, tasks="depth", batch_size=7, shuffle=True)
    streamed = [int(index) for batch in batches for index in batch["__index__"]]
    assert sorted(streamed) == list(range(30))
    wds = pytest.importorskip("webdataset")
    tars = [str(grown / f"depth/train-depth-{n:06d}.tar") for n in range(9)]
    found = wds.WebDataset(tars, shardshuffle=False, empty_check=False).compose(dsc.unpack)
    assert [sample["__index__"] for sample in found] == list(range(30))


def test_a_copy_gets_the_growth_by_fetching_again(tmp_path: Path) -> None:
    begin(tmp_path / "a")
    fetch(tmp_path / "a", "depth", tmp_path / "copy")
    add_samples(tmp_path / "a")
    add_label(tmp_path / "a")
    report = fetch(tmp_path / "a", "depth,label", tmp_path / "copy")
    assert report.kept_bytes > 0
    assert len(Dataset.open(tmp_path / "copy")) == 23
    assert verify_archive(tmp_path / "copy") == []


def test_an_open_dataset_goes_on_with_its_generation(tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin(out)
    with serve(out) as (url, _):
        open_ones = [Dataset.open(url, native=True), Dataset.open(out, native=True)]
        open_ones[0][0]
        told: list[int] = []

        def look(done: int, total: int, info: dict[str, Any]) -> None:
            told.append(done)
            for dataset in open_ones:
                check_first_ten(dataset)

        add_samples(out, progress=look)
        add_label(out, progress=look)
        assert len(told) > 4
        for dataset in open_ones:
            check_first_ten(dataset)
        assert len(Dataset.open(url)) == 23


def check_first_ten(dataset: Dataset) -> None:
    assert len(dataset) == 10
    for index, sample in enumerate(dataset):
        assert list(sample) == ["rgb", "depth"]
        np.testing.assert_array_equal(sample["rgb"], PixelSource().arrays(index)["rgb"])


def test_a_reader_between_manifest_and_records_finds_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path)
    old = (tmp_path / "dsc.json").read_bytes()
    add_label(tmp_path)
    read = Root.read
    monkeypatch.setattr(
        Root, "read", lambda self, path, *a: old if path == "dsc.json" else read(self, path, *a)
    )
    archive = Archive.open(tmp_path)
    assert (archive.manifest.generation, len(archive)) == (1, 10)
    assert set(archive.shards[0].streams) == {"rgb", "depth"}


def test_a_verification_during_an_append_finds_nothing(tmp_path: Path) -> None:
    begin(tmp_path)
    found: list[Any] = []

    def look(*_: Any) -> None:
        (tmp_path / "rgb" / f"train-rgb-000009.tar.{'a' * 32}.part").touch()
        found.extend(verify_archive(tmp_path))

    add_samples(tmp_path, progress=look)
    assert found == []


def test_an_archive_that_grows_while_it_is_verified_is_looked_at_again(tmp_path: Path) -> None:
    begin(tmp_path)
    once = []

    def grow(done: int, total: int) -> None:
        if not once:
            once.append(add_samples(tmp_path))

    assert verify_archive(tmp_path, progress=grow) == []


def test_nothing_new_changes_nothing(tmp_path: Path) -> None:
    begin(tmp_path)
    before = tree(tmp_path)
    report = add_samples(tmp_path, 10)
    assert report.is_empty
    assert (report.there, report.untouched) == (10, ("label",))
    assert report.manifest.generation == 1
    assert tree(tmp_path) == before
    assert not (tmp_path / ".dsc").exists()


def test_an_append_that_is_repeated_has_nothing_to_add(tmp_path: Path) -> None:
    begin(tmp_path)
    add_samples(tmp_path)
    add_label(tmp_path)
    before = tree(tmp_path)
    assert add_samples(tmp_path).is_empty
    assert add_label(tmp_path).is_empty
    assert tree(tmp_path) == before


def test_samples_that_the_source_of_a_task_lacks_are_missing_and_counted(tmp_path: Path) -> None:
    begin(tmp_path, 10)
    report = append(tmp_path, Later(n=23, first=6), tasks="label", codec="jxl")
    assert report.missing == 6
    dataset = Dataset.open(tmp_path, "label", native=True)
    assert [sample["label"] is None for sample in dataset] == [True] * 6 + [
        False,
        True,
        False,
        False,
    ]
    np.testing.assert_array_equal(dataset[9]["label"], PixelSource().arrays(9)["label"])
    assert verify_archive(tmp_path) == []


def test_a_new_task_has_codec_and_quality_of_its_own(tmp_path: Path) -> None:
    begin(tmp_path, 6, "rgb", codec="webp", quality=30)
    append(
        tmp_path,
        PixelSource(n=6),
        tasks="depth",
        codec="jxl",
        target="depth=2%",
        quality="depth=70",
    )
    manifest = add_samples(tmp_path, 12, source=FewTasks(n=12, only=("rgb", "depth"))).manifest
    quality = manifest.quality
    assert (quality.default, quality.of("rgb"), quality.of("depth")) == (30, 30, 70)
    assert [codec.id for codec in manifest.codecs] == ["webp", "jxl"]
    reached = {one.task: one.samples for one in manifest.reached}
    assert reached == {"depth": 12}  # the samples that came later were held to it, too
    assert verify_deep(str(tmp_path)) == []


def test_a_bound_holds_for_a_new_task_and_for_later_samples(tmp_path: Path) -> None:
    begin(tmp_path, 5, "rgb")
    append(tmp_path, PixelSource(n=5), tasks="depth", codec="jxl", max_error="depth=3counts")
    append(tmp_path, PixelSource(n=9), tasks=["rgb", "depth"])
    for index, sample in enumerate(Dataset.open(tmp_path, "depth", native=True)):
        original = PixelSource().arrays(index)["depth"].astype(int)
        valid = original > 0
        assert np.abs(original - sample["depth"])[valid].max() <= 3


def test_codecs_that_dsc_chose_for_a_new_task_are_told(tmp_path: Path) -> None:
    begin(tmp_path, 6, "rgb")
    chosen: list[Any] = []
    given: dict[str, Any] = {"codec": "auto", "auto_samples": 2, "on_choice": chosen.append}
    manifest = append(tmp_path, Later(n=9, first=2), tasks="label", **given).manifest
    assert manifest.choice is None
    assert manifest.appended[0].choice is not None
    assert dict(manifest.appended[0].choice.codecs) == dict(chosen[0].codecs)
    assert verify_archive(tmp_path) == []


def test_a_choice_of_codecs_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "stopped"):
        begin(tmp_path / name, 6, "rgb")
    given: dict[str, Any] = {"tasks": "label", "codec": "auto", "auto_samples": 2}
    append(tmp_path / "whole", PixelSource(n=6), **given)

    def stop(done: int, total: int, info: dict[str, Any]) -> None:
        if info["shards_done"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        append(tmp_path / "stopped", PixelSource(n=6), progress=stop, **given)
    monkeypatch.setattr(decide, "choose_by_trying", None)  # it would fail if it were called
    append(tmp_path / "stopped", PixelSource(n=6), **given)
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


def test_a_learned_codec_of_a_new_task_brings_its_weights(tmp_path: Path) -> None:
    view: dict[str, Any] = {"size": 64}
    compress("taskonomy", tmp_path, sample=2, tasks="rgb", codec="png", **view, **SIZES)
    joint: dict[str, Any] = {"tasks": "depth,normals", "codec": "shared-latent"}
    manifest = append(tmp_path, "taskonomy", sample=2, **joint, **view).manifest
    weights = [file.path for file in manifest.files if file.path.startswith("codecs/")]
    assert weights == [f"codecs/{manifest.codecs[1].weights_sha256}.safetensors"]
    assert weights[0] in (tmp_path / "croissant.json").read_text()
    before = (tmp_path / weights[0]).stat()
    append(tmp_path, "taskonomy", sample=3, **view)
    after = (tmp_path / weights[0]).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert verify_archive(tmp_path) == []
    assert verify_deep(str(tmp_path)) == []
    assert Dataset.open(tmp_path, "depth")[2]["depth"] is not None


def test_an_archive_from_before_there_was_a_description_gets_one(tmp_path: Path) -> None:
    begin(tmp_path)
    manifest = Archive.open(tmp_path).manifest
    (tmp_path / "croissant.json").unlink()
    kept = tuple(file for file in manifest.files if file.path != "croissant.json")
    write_manifest(Root(tmp_path), manifest.model_copy(update={"files": kept}))
    assert verify_archive(tmp_path) == []
    add_label(tmp_path)
    assert (tmp_path / "croissant.json").exists()
    assert verify_archive(tmp_path) == []


def test_new_samples_may_lack_a_task_on_request(tmp_path: Path) -> None:
    begin(tmp_path, 6)
    report = append(tmp_path, FewTasks(n=9), missing="none")
    assert report.samples == 3
    assert Dataset.open(tmp_path)[8]["depth"] is None
    assert report.manifest.totals["depth"].n_missing == 3
    assert verify_archive(tmp_path) == []


def test_new_samples_may_be_a_split_of_their_own(tmp_path: Path) -> None:
    begin(tmp_path, 6)
    append(tmp_path, PixelSource(n=9), tasks="rgb,depth", split="test")
    append(tmp_path, PixelSource(n=11), split="train")
    add_label(tmp_path, 11)
    archive = Archive.open(tmp_path)
    places = [(shard.split, shard.n, shard.first_index) for shard in archive.shards]
    assert places == [("train", 0, 0), ("train", 1, 4), ("test", 0, 0), ("train", 2, 6)]
    assert archive.manifest.splits == {"train": 8, "test": 3}
    assert list(Dataset.open(tmp_path).keys()) == [f"view_{index:05d}" for index in range(11)]
    assert verify_archive(tmp_path) == []
    assert 'path: ["label/test-label-*.tar"]' in (tmp_path / "README.md").read_text()


def test_a_damaged_sample_costs_its_shard_only_and_can_be_skipped_later(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    begin(out)
    before = tree(out)
    with pytest.raises(
        IncompleteError, match=r"1 of 4 shards.*\n.*train 4: .*view_00015"
    ) as caught:
        add_samples(out, source=PixelSource(damaged=(15,)))
    assert "call dsc.append again" in str(caught.value)
    assert {path: tree(out)[path] for path in before} == before
    assert verify_archive(out) == []
    report = add_samples(out, source=PixelSource(damaged=(15,), log=log), on_error="skip")
    assert reads(log) == [14, 15, 16, 17]
    assert [failed.key for failed in report.failed] == ["view_00015"]
    assert report.manifest.n_failed == 1
    assert set(Dataset.open(out)["view_00015"].values()) == {None}


def test_a_sample_that_fails_for_a_new_task_keeps_its_others(tmp_path: Path) -> None:
    begin(tmp_path, 6, on_error="skip")
    report = add_label(tmp_path, 6, source=PixelSource(n=6, damaged=(3,)), on_error="skip")
    assert report.manifest.n_failed == 1
    sample = Dataset.open(tmp_path)[3]
    assert sample["label"] is None
    assert sample["rgb"] is not None


def test_failures_of_one_sample_are_one_failed_sample(tmp_path: Path) -> None:
    source = PixelSource(n=6, damaged=(3,))
    compress(source, tmp_path, tasks="rgb", codec="png", on_error="skip", **SIZES)
    report = add_label(tmp_path, source=source, on_error="skip")
    assert report.manifest.n_failed == 1
    assert len(report.failed) == 1


def test_a_remote_archive_grows(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    begin(tmp_path / "here")
    begin("memory://growing")
    try:
        for out in (tmp_path / "here", "memory://growing"):
            add_samples(out)
            add_label(out)
        found = {
            path.removeprefix("/growing/"): memory.cat_file(path)
            for path in memory.find("/growing")
        }
    finally:
        memory.rm("/growing", recursive=True)
    assert found == tree(tmp_path / "here")


@pytest.mark.ray
def test_ray_workers_give_the_bytes_of_this_process(ray_session: Any, tmp_path: Path) -> None:
    for name, more in (("here", {}), ("there", {"workers": 2})):
        begin(tmp_path / name)
        add_samples(tmp_path / name, **more)
        add_label(tmp_path / name, **more)
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


def test_the_readers_of_the_document_read_an_archive_that_has_grown(grown: Path) -> None:
    from tests.storage.format.test_format_doc import reader

    archive, read = Archive.open(grown), reader()
    for index in (0, 9, 10, 22, 29):
        for stream in ("rgb", "label"):
            found = archive.payloads(index, [stream])[stream]
            assert read(grown, stream, index) == (None if found is None else bytes(found))


def test_the_manifest_of_generation_1_has_no_trace_of_growth(tmp_path: Path) -> None:
    begin(tmp_path)
    assert "appended" not in json.loads((tmp_path / "dsc.json").read_text())


@pytest.mark.parametrize("add", [add_samples, add_label])
def test_the_first_sample_is_looked_at_before_anything_is_written_and_read_once(
    tmp_path: Path, add: Any
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    begin(out)
    before = tree(out)
    first = 10 if add is add_samples else 0
    with pytest.raises(SampleError, match=rf"view_000{first:02}.*--on-error skip"):
        add(out, source=PixelSource(log=log, damaged=(first,)))
    assert reads(log) == [first]
    assert tree(out) == before
    log.unlink()
    # rules by which a label map may follow from what is there would look at samples, too
    options = {} if add is add_samples else {"derive": "never"}
    add(out, source=PixelSource(log=log), **options)
    assert sorted(reads(log)) == list(range(first, 23 if first else 10))
