"""Images, normals and labels: what each format takes, refuses, and how quality acts."""

import struct

import imagecodecs
import numpy as np
import pytest

from dsc._codecs.classical.jxl import butteraugli_distance
from dsc._codecs.classical.png import png_file
from dsc._codecs.registry import make_codec
from dsc._schemas import Effort, Quality, Task
from dsc.errors import BitstreamError, CodecError
from tests.codecs.conformance import make_sample
from tests.codecs.test_classical import COLOURS, EDGES, LABEL, LABEL16, NORMAL, RGB, SHADING

LOSSY_CODECS = ["jpeg", "webp", "avif", "av1", "jxl"]


def coded(codec_id: str, task: Task, array: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
    """Return the stream's bytes and the decoded array."""
    codec = make_codec(codec_id, [task])
    streams = codec.encode_batch([{task.name: array}], Quality(default=quality))
    (decoded,) = codec.decode_batch(streams, [task.name], array.size)
    return len(streams[0][task.name]), decoded[task.name]


def psnr_db(a: np.ndarray, b: np.ndarray, peak: int = 255) -> float:
    return 10 * np.log10(peak**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9))


def angle_deg(task: Task, a: np.ndarray, b: np.ndarray) -> float:
    valid = ~task.invalid_mask(a)
    cosine = (task.to_physical(a)[valid] * task.to_physical(b)[valid]).sum(axis=-1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


@pytest.mark.parametrize("codec_id", LOSSY_CODECS)
@pytest.mark.parametrize("task", [RGB, SHADING], ids=["rgb", "gray"])
def test_quality_buys_fidelity_with_bytes(codec_id, task):
    image = make_sample([task], (96, 128))[task.name]
    results = [coded(codec_id, task, image, quality) for quality in (15, 50, 95)]
    sizes = [size for size, _ in results]
    fidelity = [psnr_db(image, decoded) for _, decoded in results]
    assert sizes == sorted(sizes)
    assert fidelity == sorted(fidelity)
    assert fidelity[-1] > 36
    assert 2 * sizes[0] < sizes[-1]


def deep_maps() -> dict[str, np.ndarray]:
    """Return 16-bit maps of ranges and shapes that are unlike photographs'."""
    y, x = np.mgrid[:96, :128]
    waves = np.sin(x / 9) * np.cos(y / 7)
    peaks = np.exp(-((x % 32 - 16) ** 2 + (y % 24 - 12) ** 2) / 3)
    return {
        "0 to 100": np.rint(50 + 50 * waves),
        "two counts": 30_000 + (waves > 0),
        "a narrow range far up": np.rint(65_000 + 300 * waves),
        "sparse peaks": np.rint(1_100 * peaks * (x > 40)),
        "a row": np.rint(2_000 + 900 * waves[:1]),
        "a column": np.rint(2_000 + 900 * waves[:, :1]),
        "one pixel": np.full((1, 1), 77),
        "one count": np.full((9, 11), 65_535),
    }


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize("case", deep_maps())
def test_16_bit_maps_of_any_range_and_shape_come_back_by_av1(case, effort):
    image = deep_maps()[case].astype(np.uint16)
    codec = make_codec("av1", [EDGES]).at_effort(effort)
    span = int(image.max()) - int(image.min())
    errors = []
    for quality in (20, 60, 95):
        streams = codec.encode_batch([{EDGES.name: image}], Quality(default=quality))
        (decoded,) = codec.decode_batch(streams, [EDGES.name], image.size)
        assert decoded[EDGES.name].shape == image.shape
        difference = decoded[EDGES.name].astype(float) - image
        errors.append(float(np.sqrt(np.mean(difference**2))))
    assert errors[1] <= 0.03 * span
    assert errors[2] <= max(0.006 * span, 0.5)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("codec_id", ["avif", "av1", "jxl"])
def test_16_bit_images_are_coded_over_their_own_range(codec_id):
    image = make_sample([EDGES], (96, 128))["edge_texture"] // 64  # a dim map: 10 of 16 bits
    size, decoded = coded(codec_id, EDGES, image, 95)
    assert psnr_db(image, decoded, 1023) > 36
    assert size < image.nbytes / 2


@pytest.mark.parametrize(("codec_id", "limit"), [("jpeg", 4), ("webp", 6), ("avif", 3), ("jxl", 4)])
def test_normals_keep_their_direction(codec_id, limit):
    normal = make_sample([NORMAL], (96, 128))["normal"]
    size, decoded = coded(codec_id, NORMAL, normal, 90)
    assert angle_deg(NORMAL, normal, decoded) < limit
    assert size < normal.nbytes / 4


@pytest.mark.parametrize("codec_id", LOSSY_CODECS)
def test_a_valid_normal_next_to_none_stays_valid(codec_id):
    normal = np.full((32, 32, 3), (128, 127, 127), np.uint8)
    normal[:8, :8] = 127
    _, decoded = coded(codec_id, NORMAL, normal, 10)
    assert np.array_equal(NORMAL.invalid_mask(decoded), NORMAL.invalid_mask(normal))


def test_each_task_has_its_own_quality():
    codec = make_codec("avif", [RGB, NORMAL])
    sample = make_sample(codec.tasks, (64, 64))
    low, high = (
        codec.encode_batch([sample], Quality(default=20, tasks={"normal": quality}))[0]
        for quality in (20, 90)
    )
    assert low["rgb"] == high["rgb"]
    assert len(low["normal"]) < len(high["normal"])


def test_jxl_at_quality_100_is_exact():
    for task in (RGB, EDGES, NORMAL):
        image = make_sample([task], (40, 40))[task.name]
        assert np.array_equal(coded("jxl", task, image, 100)[1], image)


def test_jxl_distance_is_that_of_cjxl():
    # The figures that `cjxl -q` prints, and the two pieces meet at 30.
    assert butteraugli_distance(90) == pytest.approx(1.0)
    assert butteraugli_distance(68) == pytest.approx(2.98)
    assert butteraugli_distance(30) == pytest.approx(6.4)
    assert butteraugli_distance(29) == pytest.approx(6.506, abs=0.01)
    distances = [butteraugli_distance(quality) for quality in range(1, 100)]
    assert distances == sorted(distances, reverse=True)
    assert 0 < distances[-1] < distances[0] <= 25


@pytest.mark.parametrize("codec_id", ["png", "webp", "jxl", "jxl-lossless"])
@pytest.mark.parametrize("quality", [1, 100])
def test_labels_are_lossless_at_any_quality(codec_id, quality):
    for task in (LABEL, LABEL16, COLOURS):
        labels = make_sample([task], (64, 64))[task.name]
        assert np.array_equal(coded(codec_id, task, labels, quality)[1], labels)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("height", [1, 96, 130, 500])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_files_of_narrow_maps_are_whole(width, height, dtype):
    """Their rows' filters are as many bytes as their values, which do not get smaller."""
    rng = np.random.default_rng(width)
    for shape in ((height, width), (height, width, 3)):
        noise = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
        for level in (1, 6, 9):
            assert np.array_equal(imagecodecs.png_decode(png_file(noise, level)), noise)
    task = LABEL if dtype == np.uint8 else LABEL16
    labels = rng.integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)
    assert np.array_equal(coded("png", task, labels, 60)[1], labels)


REFUSED = [
    ("jpeg", LABEL, "jxl, webp or png"),
    ("avif", LABEL16, "jxl, webp or png"),
    ("jpeg", EDGES, "jxl, avif or png"),
    ("webp", EDGES, "jxl, avif or png"),
    ("webp", COLOURS.model_copy(update={"dtype": "uint16"}), "jxl or png"),
    ("png", Task(name="scene", kind="class", dtype="int64", channels=0), "use vector"),
    ("jxl", Task(name="depth", kind="depth", dtype="float32", unit_m=1), "not float32"),
    ("jxl", Task(name="depth", kind="depth", dtype="uint16", channels=3), "3 channels"),
    ("png", Task(name="flow", kind="image", dtype="uint16", channels=2), "2 channels"),
    ("vector", LABEL, "use exact, jxl or png"),
    ("vector", Task(name="scene", kind="class", dtype="float32", channels=0), "vector"),
    ("vector", Task(name="none", kind="vector", dtype="float32", channels=0), "no values"),
]


@pytest.mark.parametrize(("codec_id", "task", "advice"), REFUSED)
def test_what_a_format_cannot_hold_is_refused_with_advice(codec_id, task, advice):
    with pytest.raises(CodecError, match=f"task {task.name}: {codec_id} .*{advice}"):
        make_codec(codec_id, [task])


def test_an_image_that_the_format_cannot_hold_is_a_codec_error():
    long = np.zeros((1, 16384, 3), np.uint8)  # WebP ends at 16383
    with pytest.raises(CodecError, match="task rgb: webp cannot code"):
        make_codec("webp", [RGB]).encode_batch([{"rgb": long}], Quality())
    with pytest.raises(CodecError, match="longer than 65535"):
        make_codec("png", [LABEL]).encode_batch(
            [{LABEL.name: np.zeros((1, 65536), np.uint8)}], Quality()
        )


@pytest.mark.parametrize("config", [{}, {"tasks": 3}, {"tasks": [{"name": "rgb"}]}])
def test_a_configuration_that_makes_no_sense_is_a_codec_error(config):
    with pytest.raises(CodecError, match="not a configuration"):
        type(make_codec("png", [RGB])).from_config(config, None)


@pytest.mark.parametrize("codec_id", ["png", *LOSSY_CODECS])
def test_an_image_file_larger_than_its_header_is_refused_undecoded(codec_id):
    codec = make_codec(codec_id, [RGB])
    streams = codec.encode_batch([{"rgb": np.zeros((900, 700, 3), np.uint8)}], Quality())
    tag, image = streams[0]["rgb"][:1], streams[0]["rgb"][5:]
    lying = tag + struct.pack("<HH", 8, 8) + image
    # The wordings of what compares sizes before it decodes; another one of ours comes after.
    early = r"shape=\(900, 700, 3\)|the picture is 900×700, expected 8×8"
    with pytest.raises(BitstreamError, match=early):
        codec.decode_batch([{"rgb": lying}], ["rgb"], 64)


def test_an_image_of_no_pixels_is_a_bitstream_error():
    for size in ((0, 8), (8, 0)):
        with pytest.raises(BitstreamError, match="pixels"):
            make_codec("png", [RGB]).decode_batch(
                [{"rgb": struct.pack("<BHH", 0, *size)}], ["rgb"], 64
            )


def test_the_image_inside_is_an_ordinary_file():
    image = make_sample([RGB], (40, 56))["rgb"]
    streams = make_codec("png", [RGB]).encode_batch([{"rgb": image}], Quality())
    assert np.array_equal(imagecodecs.png_decode(streams[0]["rgb"][5:]), image)


@pytest.mark.parametrize("codec_id", ["png", *LOSSY_CODECS])
def test_a_stream_of_another_codec_is_a_bitstream_error(codec_id):
    other = "png" if codec_id != "png" else "jxl"
    streams = make_codec(other, [RGB]).encode_batch([make_sample([RGB], (16, 16))], Quality())
    with pytest.raises(BitstreamError, match=f"no {codec_id} bitstream"):
        make_codec(codec_id, [RGB]).decode_batch(streams, ["rgb"], 256)
