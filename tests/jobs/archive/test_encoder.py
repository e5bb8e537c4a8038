"""Archives say which encoders wrote them, and what one began is finished by the same."""

from pathlib import Path
from typing import Any

import pytest

from dsc._codecs import encoder
from dsc._codecs.encoder import LIBRARIES, effort_of, effort_text, encoder_of, encoder_text
from dsc._codecs.registry import CODECS, codec_class
from dsc._jobs.archive.compress import compress
from dsc._pipeline.write.plan import Plan
from dsc._schemas import CodecRecord, Manifest
from dsc._storage.format.names import PLAN
from dsc._storage.read.archive import Archive
from dsc.errors import PlanMismatchError
from tests.cli.conftest import run_dsc
from tests.jobs.archive.test_compress import stop_after
from tests.jobs.growing import SIZES, add_label, add_samples, begin
from tests.jobs.sources import PixelSource

Patch = pytest.MonkeyPatch


def other_encoder(monkeypatch: Patch, version: str = "2031.1.1") -> None:
    """Let imagecodecs, and what is in it, be of another version."""
    real = encoder.library_version

    def library_version(name: str) -> str:
        return version if name in ("imagecodecs", *encoder.ASKED) else real(name)

    monkeypatch.setattr(encoder, "library_version", library_version)


def half_made(out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin(out, progress=stop_after(1))
    assert not (out / "dsc.json").exists()


def test_every_codec_says_what_it_encodes_with() -> None:
    assert set(LIBRARIES) == set(CODECS) - {"residual"}
    found = encoder_of([CodecRecord(id="residual", config={"base": {"id": "av1", "config": {}}})])
    assert {"imagecodecs", "libavif", "brotli"} <= set(found)
    assert all(value[0].isdigit() for value in found.values())
    assert "torch" in encoder_of([CodecRecord(id="independent")])
    assert list(encoder_of([CodecRecord(id="raw")])) == ["imagecodecs"]


def test_the_effort_is_told_where_a_configuration_leaves_it_out() -> None:
    for name in set(CODECS) - {"av1-fast"}:
        own = getattr(codec_class(name), "effort_before", None)
        assert effort_of(name, {}) == (None if own is None else str(own)), name
    assert effort_of("av1-fast", {}) == "fast"
    assert effort_of("another", {}) is None
    assert effort_of("residual", {"base": {"id": "av1", "config": {"effort": "fast"}}}) == "fast"
    av1, fast_labels = (
        CodecRecord(id="av1"),
        CodecRecord(id="label-context", config={"effort": "fast"}),
    )
    assert effort_text([CodecRecord(id="vector"), av1]) == "effort best"
    assert effort_text([av1, fast_labels]) == "effort best of av1, fast of label-context"
    assert effort_text([CodecRecord(id="raw")]) == ""


def test_plan_and_manifest_name_the_encoder_and_info_shows_it(tmp_path: Path) -> None:
    half_made(tmp_path)
    plan = Plan.from_json((tmp_path / PLAN).read_bytes(), "plan")
    begin(tmp_path)
    manifest = Archive.open(tmp_path).manifest
    assert plan.encoder == manifest.encoder == encoder_of(manifest.codecs)
    said = " ".join(run_dsc("info", tmp_path).out.split())
    assert f"encoded by {encoder_text(manifest.encoder)}" in said
    assert "libpng" in said


def test_an_archive_that_says_no_encoder_keeps_its_bytes(tmp_path: Path) -> None:
    begin(tmp_path)
    manifest = Archive.open(tmp_path).manifest.model_copy(update={"encoder": {}}).sealed()
    data = manifest.to_file_bytes()
    assert b"encoder" not in data
    assert Manifest.from_file_bytes(data, "here") == manifest
    (tmp_path / "dsc.json").write_bytes(data)
    assert "encoded by unknown versions" in run_dsc("info", tmp_path).out


def test_another_encoder_does_not_go_on_in_a_half_made_archive(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    half_made(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    mine = encoder_of([])["imagecodecs"]
    other_encoder(monkeypatch)
    with pytest.raises(PlanMismatchError) as caught:
        begin(tmp_path)
    said = str(caught.value)
    assert f"imagecodecs: {mine} -> 2031.1.1" in said
    assert "pip install 'imagecodecs==" in said
    assert "--overwrite" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    begin(tmp_path, overwrite=True)
    assert Archive.open(tmp_path).manifest.encoder["imagecodecs"] == "2031.1.1"


def test_a_half_made_archive_of_an_unknown_encoder_is_not_gone_on_with(tmp_path: Path) -> None:
    half_made(tmp_path)
    plan = Plan.from_json((tmp_path / PLAN).read_bytes(), "plan")
    (tmp_path / PLAN).write_text(plan.model_copy(update={"encoder": {}}).to_json())
    with pytest.raises(PlanMismatchError, match=r"does not say which encoder(?s:.)*--overwrite"):
        begin(tmp_path)


def test_a_worker_with_another_encoder_writes_no_shard(tmp_path: Path, monkeypatch: Patch) -> None:
    real, asked = encoder.library_version, []

    def library_version(name: str) -> str:
        asked.append(name)  # the plan asks once for each library, then the shards do
        return real(name) if asked.count(name) == 1 else "2031.1.1"

    monkeypatch.setattr(encoder, "library_version", library_version)
    with pytest.raises(PlanMismatchError, match=r"libpng: .* -> 2031.1.1"):
        compress(PixelSource(n=8), tmp_path, codec="png", **SIZES)


def test_a_finished_archive_is_finished_whatever_encoder_is_here(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    begin(tmp_path)
    before = (tmp_path / "dsc.json").read_bytes()
    other_encoder(monkeypatch)
    begin(tmp_path)
    assert (tmp_path / "dsc.json").read_bytes() == before


def test_a_finished_archive_grows_under_another_encoder_and_says_so(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    begin(tmp_path)
    first = dict(Archive.open(tmp_path).manifest.encoder)
    other_encoder(monkeypatch)
    add_samples(tmp_path, 14)
    manifest = Archive.open(tmp_path).manifest
    assert manifest.encoder == first
    assert manifest.appended[0].encoder["imagecodecs"] == "2031.1.1"
    said = " ".join(run_dsc("info", tmp_path).out.split())
    assert "encoded by imagecodecs 2031.1.1" in said
    assert f"encoded by {encoder_text(first)}" in said


@pytest.mark.parametrize("add", [add_samples, add_label])
def test_another_encoder_does_not_go_on_with_an_append(
    tmp_path: Path, monkeypatch: Patch, add: Any
) -> None:
    begin(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        add(tmp_path, progress=stop_after(1))
    with monkeypatch.context() as patch:
        other_encoder(patch)
        with pytest.raises(PlanMismatchError, match=r"-> 2031.1.1(?s:.)*--restart"):
            add(tmp_path)
        add(tmp_path, restart=True)
    assert Archive.open(tmp_path).manifest.appended[0].encoder["imagecodecs"] == "2031.1.1"


def test_a_search_that_another_version_began_is_not_finished_by_this_one(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    asked: dict[str, Any] = {"codec": "jpeg", "tasks": "rgb", "target": "rgb=9dB", **SIZES}

    def search_version(value: str | None) -> None:
        def versions(codecs: Any, quality: Any) -> dict[str, str]:
            found = {} if value is None else {"quality-search": value}
            return encoder_of(codecs) | found

        for module in ("plan", "shard_job"):
            monkeypatch.setattr(f"dsc._pipeline.write.{module}.encoder_versions", versions)

    with monkeypatch.context():
        search_version(None)
        with pytest.raises(KeyboardInterrupt):
            compress(PixelSource(n=6), tmp_path, progress=stop_after(1), **asked)
    monkeypatch.undo()
    with pytest.raises(PlanMismatchError, match=r"quality-search: none -> 2(.|\n)*--overwrite"):
        compress(PixelSource(n=6), tmp_path, **asked)
    manifest = compress(PixelSource(n=6), tmp_path, overwrite=True, **asked)
    assert manifest.encoder["quality-search"] == "2"
    plain = compress(PixelSource(n=6), tmp_path / "b", codec="jpeg", tasks="rgb", **SIZES)
    assert "quality-search" not in plain.encoder
