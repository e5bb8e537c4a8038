"""`dsc bench machine`: what it writes, that it goes on where it stopped, and what it refuses."""

import json
from pathlib import Path

import pytest

from dsc._bench.machine import datasets, seen
from tests.cli.conftest import Command


@pytest.mark.slow
def test_quick_measures_every_task_without_data(dsc: Command, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    ran = dsc("bench", "machine", "--quick", "--out", out, "--codecs", "jpeg,av1,embedding",
              "--no-retrain", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads((out / "machine.json").read_text())
    assert [part["task"] for part in found["parts"]] == list(datasets.TASKS)
    for part in found["parts"]:
        assert part["pictures"] + part["train"] == 64
        rows = {row["name"]: row["points"] for row in part["rows"]}
        dense = part["task"] in ("segmentation", "detection")
        assert list(rows) == ["uncompressed", "jpeg", "av1", *([] if dense else ["embedding"])]
        for points in (rows["jpeg"], rows["av1"]):
            assert points[0]["bpp"] < points[1]["bpp"]
    whole, *_, last, _ = found["parts"][0]["rows"]
    assert whole["points"][0]["metrics"] == {"kl": pytest.approx(0, abs=1e-6), "agreement": 1.0}
    assert last["points"][0]["metrics"]["kl"] > last["points"][1]["metrics"]["kl"] > 0
    text = (out / "machine.md").read_text()
    assert "storing the answer" not in text  # said in the method, in its own words
    assert "stores the answer" in text
    assert {path.name for path in out.glob("machine.*")} >= {"machine.png", "machine.svg"}


def test_what_is_measured_is_not_measured_again_unless_asked(
    dsc: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "QUICK", (4, 4))
    monkeypatch.setattr(datasets, "QUICK_PX", 64)
    looks: list[str] = []
    plain = seen.look

    def counted(network: object, coded: object, enters: str, side: int | None) -> seen.Seen:
        looks.append(enters)
        return plain(network, coded, enters, side)  # type: ignore[arg-type]

    monkeypatch.setattr(seen, "look", counted)
    words = ("bench", "machine", "--quick", "--out", tmp_path / "bench", "--codecs", "jpeg")
    assert dsc(*words, "--tasks", "classification").code == 0
    assert len(looks) == 3  # uncompressed, and two qualities
    assert dsc(*words, "--tasks", "classification").code == 0
    assert len(looks) == 3
    assert dsc(*words, "--tasks", "segmentation").code == 0  # also of pictures that train
    assert len(looks) == 6
    assert dsc(*words, "--tasks", "detection").code == 0  # of the same pictures
    assert len(looks) == 6
    assert dsc(*words, "--tasks", "classification", "--fresh").code == 0
    assert len(looks) == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--codecs", "jpeg9000"), "jpeg9000"),
        (("--codecs", "av1-seq"), "groups of frames"),
        (("--tasks", "smell"), "classification, probes, segmentation, detection"),
        (("--tasks", ","), "no task"),
        (("--tasks", "segmentation", "--data", "/nowhere"), "/nowhere"),
        (("--backbone", "resnet-9000"), "efficientnet-lite0"),
        (("--layer", "block99"), "block10"),
        (("--qualities", "0"), "1 to 100"),
        (("--seeds", "0"), "--seeds"),
        (("--root", "/nowhere"), "/nowhere"),
        (("--source", "clevr", "--tasks", "detection"), "leave detection out"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_measured(
    dsc: Command, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    ran = dsc("bench", "machine", "--out", tmp_path / "out", *words)
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_labels_of_an_own_source_are_segmented(dsc: Command, tmp_path: Path) -> None:
    ran = dsc("bench", "machine", "--out", tmp_path / "out", "--source", "clevr", "--samples", 6,
              "--tasks", "segmentation,probes", "--codecs", "jpeg", "--qualities", 40,
              "--no-retrain", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    (part,) = ran.json()["parts"]
    assert (part["task"], part["pictures"], part["train"]) == ("segmentation", 3, 3)
    assert "probes: " in ran.err
    point = part["rows"][1]["points"][0]
    assert set(point["metrics"]) == {"as_is"}
