"""Noise of pictures is estimated, and told from texture; what it does to a quality is said."""

import json
import re

import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._jobs.archive.compress import compress
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._pipeline.choose.coding import Coding
from dsc._pipeline.choose.noise import may_be_noisy, noise_of, noise_warning
from dsc._schemas import Quality, Target, Task
from dsc._sources.registry import open_source
from tests.cli.conftest import run_dsc
from tests.places import DATA

RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)


def noisy(image: np.ndarray, counts: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, counts, image.shape)
    return np.rint(image + noise).clip(0, 255).astype(np.uint8)


def views(count: int, noise: float = 0.0) -> list[np.ndarray]:
    source = open_source("rendered", frames=8, size=192, camera="walk", noise=noise)
    return [source.read(k, ["rgb"]).arrays["rgb"] for k in range(count)]


def coding(quality: str = "60", codec: str | None = None, target: str = "") -> Coding:
    asked = Quality.parse(quality, ["rgb"])
    targets = Target.parse(target, [RGB]) if target else {}
    return Coding(
        (RGB,), CodecSet.from_spec(codec, [RGB]), asked.model_copy(update={"targets": targets})
    )


@pytest.mark.parametrize("counts", [5, 8, 12, 25])
def test_white_noise_is_estimated_to_a_quarter(counts):
    y, x = np.mgrid[:160, :200]
    smooth = 120 + 40 * np.sin(x / 17) * np.cos(y / 23)
    for image in (smooth, np.stack([smooth] * 3, axis=2)):
        assert noise_of(noisy(image, counts)) == pytest.approx(counts, rel=0.25)


def test_what_is_clean_or_textured_has_no_noise():
    y, x = np.mgrid[:160, :200]
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(160, 200)).cumsum(0).cumsum(1)
    for image in (
        np.full((160, 200), 90),
        x + y // 2,
        (x // 9 + y // 9) % 2 * 200,
        (x + y) % 2 * 120 + 60,
        127 + 120 * np.sin(x / 2.0) * np.sin(y / 3.0),
        127 + 100 * rough / np.abs(rough).max(),
        noisy(np.full((160, 200), 90), 1.5),
    ):
        assert noise_of(image.clip(0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1), (9, 9), (1, 4000), (32, 32, 3), (24, 40)])
def test_pictures_that_are_too_small_say_nothing(shape):
    assert noise_of(noisy(np.full(shape, 127), 20)) is None


def test_black_and_white_are_no_noise():
    image = np.random.default_rng(0).integers(0, 2, (160, 200)).astype(np.uint8) * 255
    assert noise_of(image) is None


def test_a_noisy_recording_is_warned_of_and_a_clean_one_is_not():
    said = noise_warning(coding(), RGB, views(2, noise=10.0))
    assert said is not None
    assert re.match(
        r"rgb: noise of about \d+ counts of 255 in the calmest parts of the green channel, which",
        said,
    )
    assert "quality 60" in said
    assert "--target rgb=34dB" in said
    assert noise_warning(coding(), RGB, views(2)) is None
    assert noise_warning(coding("97"), RGB, views(2, noise=10.0)) is None  # little is lost
    assert noise_warning(coding(), RGB, [*views(1, noise=10.0), *views(2)]) is None  # one of three
    assert noise_warning(coding(), RGB, []) is None


def test_the_words_say_which_channel_was_measured():
    """Green is noisy here, red and blue are not; a gray picture has no channels."""
    clean = views(2)
    green = [np.dstack([one[..., 0], noisy(one[..., 1], 10), one[..., 2]]) for one in clean]
    assert noise_of(green[0]) == pytest.approx(10, rel=0.25)
    red = np.dstack([noisy(clean[0][..., 0], 10), clean[0][..., 1:]])
    assert noise_of(red) is None
    gray = Task(name="gray", kind="image", dtype="uint8", channels=1)
    asked = Coding((gray,), CodecSet.from_spec(None, [gray]), Quality())
    said = noise_warning(asked, gray, [one[..., 1] for one in green])
    assert "counts of 255 in the calmest parts, which" in str(said)


def test_only_pictures_that_are_coded_with_loss_are_looked_at():
    assert may_be_noisy(coding()) == [RGB]
    assert may_be_noisy(coding(codec="webp")) == [RGB]
    assert may_be_noisy(coding(codec="png")) == []
    assert may_be_noisy(coding(target="rgb=34dB")) == []


@pytest.mark.data
def test_photographs_and_a_kinects_pictures_are_clean():
    kodak = sorted((DATA / "kodak").glob("*.png"))
    scenes = sorted((DATA / "sevenscenes").glob("*.color.jpg"))[::20]
    natural = sorted((DATA / "natural").glob("*.JPEG"))[::9]
    if not (kodak and scenes and natural):
        pytest.skip(f"no pictures under {DATA}; set DSC_TEST_DATA")
    for paths, most in ((kodak, 0), (scenes, 0), (natural, 1)):
        found = [noise_of(imagecodecs.imread(str(path))) for path in paths]
        assert sum(one is not None for one in found) <= most
    first = imagecodecs.imread(str(kodak[1]))
    assert noise_of(noisy(first, 8)) == pytest.approx(8, rel=0.25)


def test_compress_and_info_say_so_in_a_line(tmp_path):
    words = ["--frames", 6, "--size", 128, "--tasks", "rgb", "--noise", 12]
    done = run_dsc("compress", "rendered", *words, "--out", tmp_path / "a")
    (line,) = [one for one in done.err.splitlines() if one.startswith("warning: rgb: noise")]
    assert "--target rgb=34dB" in line
    assert line in run_dsc("info", tmp_path / "a").out.splitlines()
    (warning,) = dsc.open(tmp_path / "a").manifest.source_report.tasks["rgb"].warnings
    assert line == f"warning: {warning}"
    clean = run_dsc("compress", "rendered", *words[:-2], "--out", tmp_path / "b")
    assert clean.code == 0
    assert "noise" not in clean.err


def compress_noisy(out):
    source = open_source("rendered", frames=8, size=128, noise=12.0)
    return compress(source, out, tasks="rgb", shard_size=4, codec="av1")


def stop_at_the_commit(out, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dsc._jobs.archive.compress.commit", stop)
        with pytest.raises(KeyboardInterrupt):
            compress_noisy(out)


def test_a_call_that_goes_on_ends_in_the_same_report_and_looks_at_nothing(tmp_path, monkeypatch):
    whole = compress_noisy(tmp_path / "a")
    assert whole.source_report.tasks["rgb"].warnings
    stop_at_the_commit(tmp_path / "b", monkeypatch)
    monkeypatch.delattr("dsc._jobs.archive.compress.look_at_first")
    monkeypatch.delattr("dsc._jobs.archive.compress.first_warnings")
    compress_noisy(tmp_path / "b")
    assert (tmp_path / "b" / "dsc.json").read_bytes() == (tmp_path / "a" / "dsc.json").read_bytes()


def test_a_plan_of_before_that_says_nothing_of_noise_goes_on(tmp_path, monkeypatch):
    stop_at_the_commit(tmp_path, monkeypatch)
    path = tmp_path / ".dsc" / "plan.json"
    plan = json.loads(path.read_bytes())
    assert list(plan.pop("noise")) == ["rgb"]
    path.write_text(json.dumps(plan))
    manifest = compress_noisy(tmp_path)
    assert manifest.source_report.tasks["rgb"].warnings == ()
    assert run_dsc("verify", tmp_path).code == 0


ODD = {
    "one pixel": np.full((1, 1, 3), 99),
    "three rows": np.random.default_rng(0).integers(0, 256, (3, 200, 3)),
    "black": np.zeros((64, 80, 3)),
    "flat and gray": np.full((64, 80), 130),
    "textured": np.kron(np.random.default_rng(0).integers(60, 200, (20, 24)), np.ones((5, 5)))[
        ..., None
    ].repeat(3, 2),
    "textured and gray": np.add.outer(np.arange(90) ** 2 % 97, np.arange(120) ** 2 % 89) + 20,
    "16 bits": np.random.default_rng(0).normal(30000, 3000, (80, 96)),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_pictures_give_no_warning(case, tmp_path):
    (tmp_path / "data" / "picture").mkdir(parents=True)
    image = ODD[case].astype(np.uint16 if case == "16 bits" else np.uint8)
    imagecodecs.imwrite(str(tmp_path / "data" / "picture" / "a.png"), image)
    done = run_dsc("compress", "folder", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "noise" not in done.err
    assert dsc.open(tmp_path / "out")[0]["picture"].shape == image.shape
