"""What is derived from points: subsets, channel bits, tables and plots."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from dsc._bench.rate_distortion import speed
from dsc._bench.rate_distortion.candidates import ComparedCodec
from dsc._bench.rate_distortion.channels import channel_bits, symbol_bits
from dsc._bench.rate_distortion.curves import Curve
from dsc._bench.rate_distortion.datasets import source_set
from dsc._bench.rate_distortion.plots import draw_all
from dsc._bench.rate_distortion.points import Point
from dsc._bench.rate_distortion.report import SetReport
from dsc._bench.rate_distortion.speed import count_parameters, measure_speed
from dsc._bench.rate_distortion.subsets import subset_costs
from dsc._bench.rate_distortion.tables import (
    equal_table,
    glance_table,
    label_table,
    markdown,
    subset_table,
)
from dsc._codecs.learned.codec_file import export_codec
from dsc._coding.entropy import SymbolDecoder, SymbolEncoder, build_tables
from dsc._schemas import Quality, Task, TaskKind
from dsc._training.networks import make_network

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")
PIXELS = 8000


def joint_point(quality: int, psnr: float, absrel: float, scale: float = 1.0) -> Point:
    """A joint codec's point: shared 0.1, rgb 0.4, depth 0.05 bpp, times `scale`."""
    sizes = {n: int(scale * b) for n, b in (("shared", 100), ("rgb", 400), ("depth", 50))}
    return Point(
        data="toy", codec="shared-latent", quality=quality, samples=1,
        pixels={"rgb": PIXELS, "depth": PIXELS}, stream_bytes=sizes,
        needs={"rgb": ["shared", "rgb"], "depth": ["shared", "depth"]},
        alone_bpp={"rgb": 0.5 * scale, "depth": 0.15 * scale},
        own_bpp={"rgb": 0.4 * scale, "depth": 0.05 * scale},
        metrics={"rgb": {"psnr_db": psnr}, "depth": {"absrel": absrel}},
    )  # fmt: skip


def single_point(codec: str, task: str, quality: int, bpp: float, **metrics: float) -> Point:
    return Point(
        data="toy", codec=codec, quality=quality, samples=1, pixels={task: PIXELS},
        stream_bytes={task: round(bpp * PIXELS / 8)}, needs={task: [task]},
        alone_bpp={task: bpp}, own_bpp={task: bpp}, metrics={task: metrics},
    )  # fmt: skip


def toy_report() -> SetReport:
    """Joint codec, two classical codecs; webp halves jpeg's bits on rgb, jpeg webp's on depth."""
    points = [joint_point(q, 30.0 + q / 10, 0.02 * 2 ** (-q / 20), q / 60) for q in (20, 40, 60)]
    for step, quality in enumerate((10, 40, 70, 90)):
        for codec, rgb, depth in (("jpeg", 0.4, 0.1), ("webp", 0.2, 0.2)):
            points += [
                single_point(codec, "rgb", quality, rgb * 2**step, psnr_db=30.0 + 4 * step),
                single_point(codec, "depth", quality, depth * 2**step, absrel=0.02 / 4**step),
            ]
    points += [
        single_point("jxl", "label", 100, 0.08, identical=1.0),
        single_point("webp", "label", 100, 0.1, identical=1.0),
        single_point("jpeg", "label", 100, 0.01, identical=0.5),
    ]
    names = ("shared-latent", "jpeg", "webp", "jxl")
    return SetReport(
        name="toy", title="Toy", samples=1, total=5, size=(80, 100), tasks=(RGB, DEPTH, LABEL),
        candidates=tuple(ComparedCodec(name, name) for name in names), points=tuple(points),
        operating=60,
        channels={"shared-latent": {"shared": {"hyper": [0.01], "latent": [0.05, 0.0]}}},
    )  # fmt: skip


def test_a_subset_counts_each_stream_once_and_is_set_beside_the_best_codec_a_task() -> None:
    report = toy_report()
    costs = {cost.tasks: cost for cost in report.subsets()["shared-latent"]}
    assert list(costs) == [("rgb",), ("depth",), ("rgb", "depth")]
    both = costs["rgb", "depth"]
    assert both.together_bpp == pytest.approx(0.55)
    assert both.alone_bpp == pytest.approx(0.65)
    # at 36 dB webp is on 0.2 · 2^1.5 bpp; at AbsRel 0.0025 jpeg is on 0.1 · 2^1.5
    assert both.classical_bpp == pytest.approx(0.3 * 2**1.5, rel=1e-3)
    assert both.classical == {"rgb": "webp", "depth": "jpeg"}
    assert both.single_bpp is None


def test_a_codec_that_does_not_reach_the_distortion_is_not_compared() -> None:
    curves = {("jpeg", "rgb"): Curve.of(TaskKind.IMAGE, [(0.1, 20), (0.2, 22), (0.3, 24)])}
    costs = subset_costs(joint_point(60, 36.0, 0.002), (RGB, DEPTH), curves, None, ["jpeg"])
    assert all(cost.classical_bpp is None and cost.classical == {} for cost in costs)


def test_single_task_codecs_are_added_up_at_the_joint_codecs_distortion() -> None:
    absrel = (0.02, 0.005, 0.00125)
    curves = {
        ("independent", "rgb"): Curve.of(TaskKind.IMAGE, [(0.3, 34), (0.6, 36), (1.2, 38)]),
        ("independent", "depth"): Curve.of(
            TaskKind.DEPTH, [(0.05 * 2**at, value) for at, value in enumerate(absrel)]
        ),
    }
    point = joint_point(60, 36.0, 0.005)
    costs = subset_costs(point, (RGB, DEPTH), curves, "independent", [])
    assert costs[-1].single_bpp == pytest.approx(0.6 + 0.1)


def test_tables_name_the_fewest_bits_and_mark_what_is_not_exact() -> None:
    report = toy_report()
    at_34 = next(row for row in equal_table(report).splitlines() if row.startswith("| rgb"))
    assert "**0.333** (0.267) | 0.800 | 0.400 | 0.83" in at_34
    assert "NOT EXACT" in label_table([report])
    assert "**0.0100** NOT EXACT" in label_table([report])
    assert "−50 %" in glance_table([report])  # webp's rgb against jpeg, the only anchor left
    assert "0.550" in subset_table(report)
    text = markdown([report], {"cpu": "a processor", "versions": {"dsc": "0"}})
    assert "## Toy: 1 of 5 samples, 100×80" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_every_plot_is_drawn_900_pixels_wide_as_png_and_svg(tmp_path: Path) -> None:
    import imagecodecs

    files = draw_all(toy_report(), tmp_path)
    stems = {"rd-toy", "subsets-toy", "channels-toy"}
    assert {path.name for path in files} == {f"{s}.{x}" for s in stems for x in ("png", "svg")}
    for stem in stems:
        picture = imagecodecs.png_decode((tmp_path / f"{stem}.png").read_bytes())
        assert picture.shape[1] == 900
        assert picture[..., :3].std() > 5
        assert "<svg" in (tmp_path / f"{stem}.svg").read_text()


def test_symbol_bits_are_minus_log2_of_the_table_and_an_escapes_plain_bits() -> None:
    tables = build_tables([np.array([0.25, 0.5, 0.125]), np.array([0.5, 0.5])], [-1, 0])
    symbols = np.array([-1, 0, 1, 9, 0, 1], np.int32)
    indexes = np.array([0, 0, 0, 0, 1, 1], np.uint8)
    bits = symbol_bits(symbols, indexes, tables)
    assert bits == pytest.approx([2, 1, 3, 3 + 20, 1, 1], abs=0.01)
    coder = SymbolEncoder()
    coder.put(np.repeat(symbols, 500), np.repeat(indexes, 500), tables)
    assert 8 * len(coder.finish()) == pytest.approx(500 * bits.sum(), rel=0.01)


@pytest.mark.parametrize("kind", ["shared-latent", "chained", "independent", "layered"])
def test_channel_bits_add_up_to_the_streams_own_bytes(kind: str) -> None:
    """Untrained tiny networks, coded in four steps: position by position."""
    data = source_set("sample", None, "rgb,depth", n=1, size=64)
    torch.manual_seed(0)
    weights = export_codec(make_network(kind, ("rgb", "depth"), "tiny"), {})
    from dsc._codecs.registry import codec_class

    codec = codec_class(kind)(data.schemas(), weights)
    streams = codec.encode_batch([data.read(0)], Quality(default=90))
    methods = SymbolDecoder.__init__, SymbolDecoder.get
    found = channel_bits(codec, streams, data.tasks, 64 * 64)
    assert (SymbolDecoder.__init__, SymbolDecoder.get) == methods
    assert set(found) == set(streams[0])
    for name, bits in found.items():
        assert 0 < bits.total <= 8 * len(streams[0][name]) <= 1.02 * bits.total + 8 * 24
    rgb = "rgb.1" if kind == "layered" else "rgb"
    symbols = codec.unpack_latents(streams[0], data.tasks, 64 * 64).streams[rgb].symbols
    busy = np.abs(symbols).sum((1, 2))
    assert len(found[rgb].latent) == len(busy)
    assert found[rgb].latent[busy.argmax()] > found[rgb].latent[busy.argmin()]


def test_on_a_gpu_synthesis_alone_is_timed_and_the_network_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[int, str]] = []

    class Stub:
        def unpack_latents(self, streams: object, tasks: object, max_pixels: int) -> str:
            return "latents"

        def synthesize(self, latents: list[str], tasks: object, device: str) -> None:
            ran.append((len(latents), device))

        unpack_batch = synthesize_tensors = unpack_latents  # a `LatentCodec` has them too

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert speed.gpu_mpix_s(object(), [{}], ["rgb"], 1000, rounds=2) is None  # no two halves
    assert not ran
    found = speed.gpu_mpix_s(Stub(), [{}, {}], ["rgb"], 1000, rounds=2)
    assert found is not None
    assert found > 0
    assert ran == [(16, "cuda")] * 3 + [(1, "cpu")]


def test_probability_tables_are_no_parameters() -> None:
    tensors = {"exit.weight": np.zeros((3, 4)), "tables.scale.lows": np.zeros(10)}
    assert count_parameters(safetensors.numpy.save(tensors)) == 12


def test_speed_counts_multiply_accumulates_and_parameters() -> None:
    data = source_set("sample", None, "rgb", n=1, size=64)
    learned = ComparedCodec("shared-latent", "shared-latent")
    found = measure_speed(data, learned, data.schemas(), 60, rounds=1)
    assert found["encode_mpix_s"] > 0
    assert found["decode_mpix_s"]["rgb"] > 0
    # the exit alone, 128 to 192 channels a block of 8 × 8 pixels, is 384 a pixel
    assert 0.384 < found["decode_kmac_px"]["rgb"] < 100
    weights = learned.make(data.schemas()).weights()
    assert weights is not None
    assert found["file_bytes"] == len(weights)
    assert found["parameters"] == count_parameters(weights)
    classical = measure_speed(data, ComparedCodec("jpeg", "jpeg"), data.schemas(), 60, rounds=1)
    assert classical["parameters"] is None
    assert classical["decode_kmac_px"] == {"rgb": None}
