"""What `dsc bench stream` measures, on a data set of a few tiny views."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsc._bench.server import serve
from dsc._bench.stream.children import child
from dsc._bench.stream.faults import SAMPLES, measure_faults
from dsc._bench.stream.material import TASKS, image_files
from dsc._bench.stream.readers import DEPTH_INVALID, Read, batch_length, open_reader
from dsc._bench.stream.rivals import is_installed, write_rival
from dsc._bench.stream.scale import measure_scale
from dsc._bench.stream.sizes import Sizes
from dsc._bench.stream.speed import Entry, measure_speed
from dsc._bench.stream.traffic import measure_traffic
from dsc._bench.stream.workshop import Workshop

pytest.importorskip("PIL", reason="pip install pillow")
TINY = Sizes(
    distinct=2, pixels=64, samples=2048, images=64, rounds=1, seconds=0.05, batch_size=16,
    scale=(1024,), scale_batches=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("bench"), TINY, 1)
    yield made
    made.close()


def test_webdataset_and_dsc_give_the_same_samples_in_the_same_order(
    shop: Workshop, tmp_path: Path
) -> None:
    pytest.importorskip("webdataset")
    write_rival("webdataset", shop.material, TASKS, 130, tmp_path)
    archive = str(shop.archive("av1", 130))
    tars = str(tmp_path / "data")
    own = [batch["rgb"] for batch in open_reader(Read("dsc", archive, ("rgb",)))]
    others = [batch["rgb"] for batch in open_reader(Read("webdataset", tars, ("rgb",)))]
    assert own == others
    assert [len(batch) for batch in own] == [64, 64, 2]


def test_image_files_come_as_batches_of_pixels_and_metres(shop: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    import numpy as np
    import torch

    tars, read = str(tmp_path / "data"), ("rgb.png", "depth.png")
    truth = dict(shop.material.source().read(1, ["rgb", "depth_zbuffer"]).arrays)
    truth["depth_zbuffer"][20:40, 10:30] = DEPTH_INVALID
    shop.material.path("depth.png", 1).write_bytes(image_files(truth)["depth.png"])
    write_rival("webdataset", shop.material, ("rgb.png", "depth.png"), 20, tmp_path)
    found = {
        how: next(iter(open_reader(Read("webdataset", tars, read, how, batch_size=20))))
        for how in ("pil", "imagecodecs")
    }
    for batch in found.values():
        assert batch_length(batch) == 20
        assert batch["rgb.png"].shape == (20, 3, 64, 64)
        assert (batch["rgb.png"][1].permute(1, 2, 0).numpy() == truth["rgb"]).all()
        metres = batch["depth.png"][1].numpy()
        valid = truth["depth_zbuffer"] != DEPTH_INVALID
        assert (np.isfinite(metres) == valid).all()
        assert np.allclose(metres[valid], truth["depth_zbuffer"][valid] / 512)
        assert batch["depth.png"].dtype == torch.float32


@pytest.mark.slow
def test_one_task_costs_its_own_bytes_and_others_read_everything(shop: Workshop) -> None:
    found = measure_traffic(shop)
    rows = {row["name"]: row for row in found["rows"]}
    assert len(rows) == 6
    required = found["required"]["stored"]
    for name in ("dsc, in order", "dsc, shuffled", "dsc, shuffled, 2 workers"):
        assert rows[name]["samples"] == TINY.samples
        # tiny views: the manifest and the records are what comes on top
        assert required <= rows[name]["sent"] <= 1.02 * required + 12_000
    for library, name in (("webdataset", "webdataset"), ("mosaicml", "mosaicml-streaming"),
                          ("litdata", "litdata")):  # fmt: skip
        row = rows[name]
        if not is_installed(library):
            assert row["error"] == f"not installed (pip install {name})"
        elif "error" in row:  # another library's reader may need what is not here, such as curl
            assert row["error"].startswith("failed: ")
        else:
            assert row["samples"] == TINY.samples
            assert row["sent"] >= row["total"] > 3 * required


@pytest.mark.slow
def test_rates_come_from_rounds_and_a_missing_library_is_a_row_that_says_so(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dsc._bench.stream.workshop.is_installed", lambda library: library != "litdata"
    )
    entries = [
        Entry("dsc bytes", "dsc", ("rgb",), "bytes"),
        Entry("dsc pixels", "dsc", ("rgb", "depth_zbuffer"), "pixels"),
        Entry("no such task", "dsc", ("smell",), "bytes"),
        Entry("litdata", "litdata", ("rgb",), "bytes"),
    ]
    found = {row["name"]: row for row in measure_speed(shop, entries, "dsc bytes")["rows"]}
    assert found["litdata"]["error"] == "not installed (pip install litdata)"
    assert "smell" in found["no such task"]["error"]
    for cores in ("1", "2"):
        assert found["dsc bytes"][cores]["ratio"] == 1.0
        row = found["dsc pixels"][cores]
        assert row["rate"] == row["rates"][0] > 0
        assert row["ratio"] == row["rate"] / found["dsc bytes"][cores]["rate"]


@pytest.mark.slow
def test_the_cost_of_scale_is_told_part_by_part(shop: Workshop) -> None:
    found = measure_scale(shop, 1024)
    assert "error" not in found, found
    assert (found["samples"], found["read"]) == (1024, 2 * 64)
    assert 0 < found["imported_bytes"] <= found["opened_bytes"] <= found["peak_bytes"]
    assert found["worker_peak_bytes"] > 0
    assert min(found[name] for name in ("open_s", "first_s", "rest_s", "manifest_bytes")) > 0


@pytest.mark.slow
def test_faults_are_counted_and_no_sample_is_lost(shop: Workshop) -> None:
    found = measure_faults(shop)
    rows = list(found["rows"])
    assert [row.get("error") for row in rows] == [None] * 5
    for row in rows:
        assert row["delivered"] + row["report"]["n_skipped"] == SAMPLES
        assert (row["twice"], row["wrong"]) == (0, 0)
    assert [row["report"]["n_skipped"] for row in rows] == [0, 0, 0, 1, 64]
    dropped, failed = rows[1], rows[2]
    assert dropped["dropped"] > 0
    assert failed["failed"] > 0
    assert dropped["report"]["reads"]["retries"] >= dropped["dropped"]


def test_a_payload_that_is_not_the_samples_own_is_counted_as_wrong(
    shop: Workshop, tmp_path: Path
) -> None:
    shutil.copytree(shop.archive("av1", 130), tmp_path / "a")
    sums = {"rgb": [0, 0]}
    with serve(tmp_path) as (url, _), child() as process:
        found = process.ask("exact", url=f"{url}/a", options={"tasks": "rgb"}, sums=sums)
    assert (found["delivered"], found["wrong"]) == (130, 130)
